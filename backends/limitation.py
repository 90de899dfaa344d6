"""Features that a target does not support: in general (`Limitation`), and in a given network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spikeport.network import DeployedNetwork


@dataclass(frozen=True, slots=True)
class UnsupportedFeature:
    """A feature of one part of a network that a target does not support natively.

    Attributes:
        part: the part that has it, "population 'lif1'".
        construct: the feature with its value, "a delay of 63".
        why: the target's limit, or how it can be run there nevertheless.
        source: where this is documented.
        stops: the network cannot run there unchanged; otherwise it can, as described by `why`.
    """

    part: str
    construct: str
    why: str
    source: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.part} has {self.construct}: {self.why}"


Find = Callable[[DeployedNetwork], Iterable[UnsupportedFeature]]
"""All features of a network that fall under a limitation."""


def _refused_when_run(_: DeployedNetwork) -> Iterable[UnsupportedFeature]:
    return ()


@dataclass(frozen=True, slots=True)
class Limitation:
    """A feature that a target does not support natively.

    Attributes:
        text: the limitation and its workaround: a line of `spikeport backends`.
        find: finds it in a network, for `spikeport check`; not needed for backends of float graphs,
            which `check` does not accept.
    """

    text: str
    find: Find = _refused_when_run

    def __str__(self) -> str:
        return self.text


def find_unsupported(
    network: DeployedNetwork, limitations: Iterable[Limitation]
) -> tuple[UnsupportedFeature, ...]:
    """All features of `network` that fall under one of a target's limitations."""
    return tuple(feature for one in limitations for feature in one.find(network))


def refusal(target: str, unsupported: Iterable[UnsupportedFeature]) -> str:
    """One message with everything that prevents a network from running; empty if nothing does."""
    stopping = "; ".join(str(feature) for feature in unsupported if feature.stops)
    return f"{target} cannot run this network: {stopping}" if stopping else ""
