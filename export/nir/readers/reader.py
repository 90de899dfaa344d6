"""What is known about one reader of NIR files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from spikeport.export.nir.graph import CheckedGraph
from spikeport.export.nir.readers.fidelity import Finding, unsupported
from spikeport.export.nir.readers.rules import Rule
from spikeport.export.nir.readers.wiring import Wiring
from spikeport.export.nir.semantics import Semantics


class Graph(Protocol):
    """A float network, or the contents of a file that may not state T."""

    @property
    def checked(self) -> CheckedGraph:
        """The graph, with order and shapes."""

    @property
    def dt_s(self) -> float | None:
        """The time step, None if it is not known."""

    @property
    def semantics(self) -> Semantics:
        """The rules of a step."""


REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(("I", "LI", "CubaLI"), "a readout of spikes, or of a linear layer"),
    "Delay": "no delay but the one step of a loop",
    "Threshold": "neurons that lose all of v in a step, LIF with tau = dt",
    "Scale": "scale the weights instead",
    "Conv1d": "Conv2d along the rows of an image",
}
"""What to use in place of nodes that few readers have."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How networks are written for a reader, and what it makes of them.

    Attributes:
        version: what was examined and run.
        load: the Python expression that loads a file `path`; {dt} stands for its time step.
        semantics: its rules of a step for a network of these kinds of nodes.
        rules: per type of node, how it is written. Other types are `other`.
        wiring: how it connects the nodes.
        dt_s: the time step that it assumes unless told otherwise; None if that of the file is used.
        takes_either_reset: it resets as the network does, if `load` says so.
        ends: the names that it requires of Input and Output.
    """

    version: str
    load: str
    semantics: Callable[[frozenset[str]], Semantics]
    rules: Mapping[str, Rule]
    other: Finding
    wiring: Wiring
    dt_s: float | None = None
    takes_either_reset: bool = False
    ends: Mapping[str, str] = field(default_factory=dict)

    def rules_for(self, kinds: frozenset[str], network: Semantics) -> Semantics:
        """Its rules of a step for a network."""
        own = self.semantics(kinds)
        return own.changed(reset=network.reset) if self.takes_either_reset else own


def dropped(name: str) -> Finding:
    """A type of node that a reader leaves out of the network without an error."""
    return unsupported(f"{name} leaves out this type of node without an error")


def unknown(name: str) -> Finding:
    """A type of node at which a reader stops with an error."""
    return unsupported(f"{name} stops at this type of node")
