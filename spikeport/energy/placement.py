"""`Placement`: what is known of a network's place on a chip, for energy and latency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from spikeport.errors import EnergyError


@dataclass(frozen=True, slots=True)
class Hops:
    """Mean mesh distance of a packet, by direction."""

    east_west: float = 0.0
    north_south: float = 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Populations on cores, and the way of their spikes.

    Attributes:
        cores: per core, the share of each population's neurons that it holds, in 0..1; the shares
            of a population add up to 1.
        chips: number of chips that the cores belong to.
        packets: per connection, mean number of cores that a message is sent to, 1 by default.
        hops: per connection, mean distance of one of its packets, none by default.
    """

    cores: Sequence[Mapping[str, float]]
    chips: int = 1
    packets: Mapping[str, float] = field(default_factory=dict)
    hops: Mapping[str, Hops] = field(default_factory=dict)

    def cores_of(self, population: str) -> int:
        """Number of cores that hold a part of the population."""
        return sum(1 for core in self.cores if core.get(population, 0) > 0)

    def check(self, populations: Iterable[str], connections: Iterable[str]) -> None:
        """Check that it is a placement of a network with these parts.

        Raises:
            InputError: a share, a number of packets or a distance is negative or not finite; the
                shares of a population do not add up to 1; a name is unknown; there is no chip.
        """
        if self.chips < 1:
            raise EnergyError(f"placement: chips is {self.chips}, must be at least 1")
        known, wires = set(populations), set(connections)
        for name in {name for core in self.cores for name in core} - known:
            raise EnergyError(f"placement: population '{name}' is not in the network")
        for name in (self.packets.keys() | self.hops.keys()) - wires:
            raise EnergyError(f"placement: connection '{name}' is not in the network")
        for name in known:
            shares = [core.get(name, 0.0) for core in self.cores]
            _check_numbers(f"placement: share of population '{name}'", shares)
            if abs(sum(shares) - 1) > 1e-9:
                raise EnergyError(
                    f"placement: shares of population '{name}' add up to {sum(shares):g}, must be 1"
                )
        for name, number in self.packets.items():
            _check_numbers(f"placement: packets per message of connection '{name}'", [number])
        for name, hops in self.hops.items():
            directions = [hops.east_west, hops.north_south]
            _check_numbers(f"placement: hops of connection '{name}'", directions)


def _check_numbers(subject: str, numbers: Sequence[float]) -> None:
    for number in numbers:
        if not (math.isfinite(number) and number >= 0):
            raise EnergyError(f"{subject} is {number}, must be finite and not negative")
