"""`UnsupportedFeature`: a construct of a network that a target does not have by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnsupportedFeature:
    """What one part of a network asks of a target that the target does not have.

    Attributes:
        part: what has it, "population 'lif1'".
        construct: what it has, with its value, "a delay of 63".
        why: the target's limit, or what it takes to run it there all the same.
        source: where that is known from.
        stops: the network cannot run there as it is; else it can, by what `why` says.
    """

    part: str
    construct: str
    why: str
    source: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.part} has {self.construct}: {self.why}"


def refusal(target: str, unsupported: Iterable[UnsupportedFeature]) -> str:
    """One message with all that stops a network, empty if nothing does."""
    stopping = "; ".join(str(gap) for gap in unsupported if gap.stops)
    return f"{target} cannot run this network: {stopping}" if stopping else ""
