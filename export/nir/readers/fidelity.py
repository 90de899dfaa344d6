"""What becomes of a network in another reader of NIR: one word for each node, with its cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Fidelity(StrEnum):
    """What a reader makes of a node.

    EXACT: the same, step by step, up to the rounding of its float32.
    APPROXIMATE: it runs the node under another rule, so that spikes may differ.
    UNSUPPORTED: it refuses the file, or drops or misplaces the node without a word.
    """

    EXACT = "exact"
    APPROXIMATE = "approximate"
    UNSUPPORTED = "unsupported"


_ORDER = tuple(Fidelity)


def worst(words: Iterable[Fidelity]) -> Fidelity:
    """The least faithful of some words, EXACT if there are none."""
    return max(words, key=_ORDER.index, default=Fidelity.EXACT)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reader does otherwise.

    Attributes:
        cause: what the reader does.
        remedy: what changes it; empty if nothing in the network would.
    """

    word: Fidelity
    cause: str
    remedy: str = ""


def approximate(cause: str, remedy: str = "") -> Finding:
    """The reader runs the node under another rule."""
    return Finding(Fidelity.APPROXIMATE, cause, remedy)


def unsupported(cause: str, remedy: str = "") -> Finding:
    """The reader does not run the node."""
    return Finding(Fidelity.UNSUPPORTED, cause, remedy)


@dataclass(frozen=True, slots=True)
class NodeFidelity:
    """What a reader makes of one node of a network.

    Attributes:
        node: its name.
        type: NIR's name for its type.
        findings: why the word is not EXACT.
    """

    node: str
    type: str
    findings: tuple[Finding, ...] = ()

    @property
    def word(self) -> Fidelity:
        """The worst of the findings."""
        return worst(one.word for one in self.findings)

    @property
    def cause(self) -> str:
        """What the reader does, in words; empty if the node is exact."""
        return "; ".join(one.cause for one in self.findings)

    @property
    def remedy(self) -> str:
        """What would help, in words."""
        return "; ".join(dict.fromkeys(one.remedy for one in self.findings if one.remedy))

    def as_dict(self) -> dict[str, str]:
        """One text per fact."""
        facts = {"node": self.node, "type": self.type, "word": str(self.word)}
        return {**facts, "cause": self.cause, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Portability:
    """What a reader makes of a network that was written for it.

    Attributes:
        reader: its name, a key of `READERS`.
        version: the version that was examined.
        load: the Python expression that loads the file `path`.
        nodes: every node of the network, in order of computation.
    """

    reader: str
    version: str
    load: str
    nodes: tuple[NodeFidelity, ...]

    @property
    def word(self) -> Fidelity:
        """The worst word of a node."""
        return worst(one.word for one in self.nodes)

    @property
    def concerned(self) -> tuple[NodeFidelity, ...]:
        """The nodes that have this word; none if it is EXACT."""
        word = self.word
        return tuple(one for one in self.nodes if one.word is word is not Fidelity.EXACT)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "reader": self.reader,
            "version": self.version,
            "word": str(self.word),
            "load": self.load,
            "nodes": [one.as_dict() for one in self.nodes],
        }
