"""The float network: a checked NIR graph and what NIR cannot express about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Unpack

import nir

from spikeport import checks
from spikeport.errors import GraphError, ValueRangeError
from spikeport.export.nir.graph import CheckedGraph, check_graph, check_inputs
from spikeport.export.nir.semantics import DEFAULTS, Rules, Semantics
from spikeport.network import Input

fail = GraphError.fail


@dataclass(frozen=True, slots=True, eq=False)
class FloatNetwork:
    """A network in float units, ready to be simulated, written or quantized.

    One step of a node has length `dt_s` and follows `semantics`. By default it is forward Euler,
    e.g. LIF v <- v + dt/tau (v_leak - v + r x), with a spike if v > v_threshold and then
    v <- v_reset, in the same step.

    The graph is checked once, at construction. `graph` is a checked copy of the given one: flat,
    with all shapes filled in and read-only arrays. To change a network, create another one:
    `dataclasses.replace(network, graph=changed)`.

    Attributes:
        graph: flat, node names unique; NIR's own names and units (seconds).
        steps: T.
        inputs: one per Input node of the graph: how its float values become chip integers.
        semantics: the rules of a step that NIR leaves open.
        inputs_assumed: the inputs were not declared; `read_nir` assumed 0/1 spikes.
        provenance: of a graph that was read from a file of another tool: the file, its SHA-256,
            the rules that were stated, and those that were assumed.
        rewrites: what became of layers before the graph was made, a sentence each.

    Raises:
        InputError: a node, an edge, a shape, an input or a value breaks a rule.
    """

    graph: nir.NIRGraph
    dt_s: float
    steps: int
    inputs: tuple[Input, ...]
    semantics: Semantics = DEFAULTS
    inputs_assumed: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    rewrites: tuple[str, ...] = ()
    _checked: CheckedGraph | None = field(default=None, repr=False)
    """Result of an earlier check of `graph`; ignored if it belongs to another graph."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt_s) and self.dt_s > 0):
            raise ValueRangeError(f"dt_s is {self.dt_s}, must be positive seconds")
        steps = checks.whole("network: steps (T)", self.steps, 1, checks.MAX_STEPS)
        object.__setattr__(self, "steps", steps)
        if not isinstance(self.semantics, Semantics):
            raise GraphError(f"semantics is {self.semantics!r}, must be a Semantics")
        object.__setattr__(self, "provenance", dict(self.provenance))
        checks.texts("network: provenance", self.provenance)
        rewrites = tuple(self.rewrites)
        if odd := [one for one in rewrites if not isinstance(one, str)]:
            raise GraphError(f"network: rewrites contain {odd[0]!r}, must be sentences")
        object.__setattr__(self, "rewrites", rewrites)
        inputs = (self.inputs,) if isinstance(self.inputs, Input) else tuple(self.inputs)
        object.__setattr__(self, "inputs", inputs)
        known, late = self._checked, self.semantics.late_spikes
        if known is None or not known.holds(self.graph, self.dt_s, late):
            known = check_graph(self.graph.nodes, self.graph.edges, self.dt_s, late_spikes=late)
            object.__setattr__(self, "graph", known.graph)
            object.__setattr__(self, "_checked", known)
        check_inputs(known.graph, inputs)

    @property
    def checked(self) -> CheckedGraph:
        """The graph with the results of checking it: order, sources and shapes.

        Raises:
            InputError: nodes, edges or fields of `graph` were replaced afterwards.
        """
        assert self._checked is not None  # see __post_init__
        if not self._checked.holds(self.graph, self.dt_s, self.semantics.late_spikes):
            fail(
                "network: its graph was changed after it was checked; create another network: "
                "dataclasses.replace(network, graph=network.graph)"
            )
        return self._checked

    def with_rules(self, **rules: Unpack[Rules]) -> FloatNetwork:
        """This network with some rules of its semantics changed, such as reset="subtract"."""
        return replace(self, semantics=self.semantics.changed(**rules))

    @property
    def output_count(self) -> int:
        """Number of outputs used for predictions, those of the first Output node."""
        checked = self.checked
        first = next(n for n, node in checked.graph.nodes.items() if isinstance(node, nir.Output))
        return prod(checked.shapes[first])
