"""`DeployedNetwork`: the frozen integer network that every later stage derives from.

A graph of populations joined by connections, all in the integers of a Loihi core. Logical time:
a spike of step t crosses a connection of delay d and acts at step t + d. One step of a population
(all in int32, wrapping modulo 2^32; tz(x, k) = sign(x) * (|x| >> k)):

    a = sum over connections of ((W * s) << exponent)
    u <- wrap24(tz(u * (4096 - decay_u), 12) + (a << 6))
    v <- clip(tz(v * (4096 - decay_v), 12) + u + (bias << bias_exponent))
    spike where v > vth << 6, then v <- 0 (reset zero) or v <- v - (vth << 6) (reset subtract)

In the `refractory` steps after that of a spike a neuron rests: u goes on, v stays as the reset left
it (even above the threshold), and there is no spike. So it is in Lava's LIFRefractory, which has a
float model only (lava-nc 0.10.0, `lava/proc/lif/models.py`, PyLifRefractoryModelFloat: after a
spike in step t, v moves again once t + refractory_period < step); its refractory_period is
`refractory`. Loihi 1 counts one more, 1 for none (brian2_loihi `refractory` 1..64, nengo-loihi
`refract_delay`). No neuron rests at the start of a sample.

`simulators/reference.py` says this scalar by scalar and is the specification.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from spikeport.network import graph_rules as rules
from spikeport.network.canonical import content_bytes, sha256
from spikeport.network.parts import BiasInjection as BiasInjection
from spikeport.network.parts import Coding as Coding
from spikeport.network.parts import Connection as Connection
from spikeport.network.parts import Conv1d as Conv1d
from spikeport.network.parts import Conv2d as Conv2d
from spikeport.network.parts import Convolution as Convolution
from spikeport.network.parts import Dense as Dense
from spikeport.network.parts import Input as Input
from spikeport.network.parts import Population as Population
from spikeport.network.parts import Readout as Readout
from spikeport.network.parts import ReadoutKind as ReadoutKind
from spikeport.network.parts import Reset as Reset
from spikeport.network.parts import Shape as Shape
from spikeport.network.parts import SumPool2d as SumPool2d
from spikeport.network.parts import WeightedConnection as WeightedConnection
from spikeport.network.parts import threshold_state as threshold_state

_PARTS: Mapping[str, tuple[type, ...]] = {
    "inputs": (Input,),
    "populations": (Population,),
    "connections": (Dense, Conv1d, Conv2d, BiasInjection),
    "readouts": (Readout,),
}
"""The types of parts that each field of a network holds."""


@dataclass(frozen=True, eq=False)
class DeployedNetwork:
    """A spiking network in chip integers; frozen, canonical and comparable exactly.

    Inputs, populations and connections are kept sorted by name, whatever order they were given
    in. Equality and `content_hash` cover everything but `provenance`.

    A field with a single part may be given without a tuple.

    Attributes:
        steps: T, the logical steps of a sample.
        readouts: predictions are the argmax of the first one's scores, the lowest index on ties.
        provenance: free text facts about where the network came from.

    Raises:
        InputError: a part breaks a rule; the message names part, value and rule.
    """

    inputs: tuple[Input, ...]
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    readouts: tuple[Readout, ...]
    steps: int
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kinds in _PARTS.items():
            given = rules.parts_of(f"network: {name}", getattr(self, name), kinds)
            if name != "readouts":
                given = tuple(sorted(given, key=lambda part: part.name))
            object.__setattr__(self, name, given)
        object.__setattr__(self, "provenance", dict(self.provenance))
        rules.network(self)
        rules.order(self)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical form, without provenance."""
        return sha256(content_bytes(self))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Population names so that every delay-free connection points forward."""
        return rules.order(self)

    @cached_property
    def sources(self) -> Mapping[str, Input | Population]:
        """Everything that a connection may start from, by name."""
        parts: tuple[Input | Population, ...] = (*self.inputs, *self.populations)
        return {part.name: part for part in parts}

    @cached_property
    def by_name(self) -> Mapping[str, Population]:
        """Populations by name."""
        return {part.name: part for part in self.populations}

    @cached_property
    def _by_target(self) -> Mapping[str, tuple[Connection, ...]]:
        found: dict[str, list[Connection]] = {}
        for part in self.connections:
            found.setdefault(part.target, []).append(part)
        return {target: tuple(parts) for target, parts in found.items()}

    def incoming(self, population: str) -> tuple[Connection, ...]:
        """Connections that end in `population`."""
        return self._by_target.get(population, ())

    @property
    def weighted_connections(self) -> tuple[WeightedConnection, ...]:
        """Connections that carry weights."""
        return tuple(c for c in self.connections if not isinstance(c, BiasInjection))

    def replace(self, **changes: object) -> DeployedNetwork:
        """A copy with some fields changed, checked anew."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeployedNetwork):
            return NotImplemented
        return self is other or content_bytes(self) == content_bytes(other)

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __repr__(self) -> str:
        neurons = sum(p.size for p in self.populations)
        return (
            f"DeployedNetwork({len(self.populations)} populations, {neurons} neurons, "
            f"{len(self.connections)} connections, T={self.steps}, {self.content_hash[:12]})"
        )
