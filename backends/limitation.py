"""What a target does not support: in general (`Limitation`), and in a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spikeport.network import DeployedNetwork


@dataclass(frozen=True, slots=True)
class UnsupportedFeature:
    """A feature of one part of a network that a target does not support natively.

    Attributes:
        part: what has it, "population 'lif1'".
        construct: the feature with its value, "a delay of 63".
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


Find = Callable[[DeployedNetwork], Iterable[UnsupportedFeature]]
"""Every feature of a network that falls under a limitation."""


def _refused_when_run(_: DeployedNetwork) -> Iterable[UnsupportedFeature]:
    return ()


@dataclass(frozen=True, slots=True)
class Limitation:
    """One thing that a target does not support natively.

    Attributes:
        text: the limitation, and what is done about it: a line of `spikeport backends`.
        find: where a network meets it, for `spikeport check`; a backend of float graphs, which
            `check` does not take, has none.
    """

    text: str
    find: Find = _refused_when_run

    def __str__(self) -> str:
        return self.text


def find_unsupported(
    network: DeployedNetwork, limitations: Iterable[Limitation]
) -> tuple[UnsupportedFeature, ...]:
    """Every feature of `network` that meets one of a target's limitations."""
    return tuple(feature for one in limitations for feature in one.find(network))


def refusal(target: str, unsupported: Iterable[UnsupportedFeature]) -> str:
    """One message with all that stops a network, empty if nothing does."""
    stopping = "; ".join(str(feature) for feature in unsupported if feature.stops)
    return f"{target} cannot run this network: {stopping}" if stopping else ""
