"""Features that a target does not support: in general (`Limitation`), and in a given network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spikeport.network import DeployedNetwork


@dataclass(frozen=True, slots=True)
class UnsupportedFeature:
    """A number or feature of one part of a network that is beyond a target's limit.

    Attributes:
        part: the part that has it, "population 'lif1'".
        quantity: what is limited, "input axons of a neuron".
        value: what the part has.
        limit: what the target has: the largest number, or in words.
        remedy: what to do about it: a command, an option, or a change of the network.
        source: where the limit is documented.
        stops: the network cannot run there unchanged; otherwise it can, as described by `remedy`.
        verified: whether the limit was checked in the source itself.
    """

    part: str
    quantity: str
    value: int | str
    limit: int | str
    remedy: str
    source: str
    stops: bool = False
    verified: bool = True

    @property
    def construct(self) -> str:
        """The quantity with its value."""
        return f"{self.quantity} {self.value}"

    def __str__(self) -> str:
        return f"{self.part}: {self.construct} (limit: {self.limit}); {self.remedy}"


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
        rounded: it concerns integers that quantization chooses, such as weights, so that a network
            cannot be judged by it before.
    """

    text: str
    find: Find = _refused_when_run
    rounded: bool = False

    def __str__(self) -> str:
        return self.text


def find_unsupported(
    network: DeployedNetwork, limitations: Iterable[Limitation]
) -> tuple[UnsupportedFeature, ...]:
    """All features of `network` that fall under one of a target's limitations."""
    return tuple(feature for one in limitations for feature in one.find(network))
