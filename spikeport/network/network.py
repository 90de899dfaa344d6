"""`DeployedNetwork`: the frozen integer network from which every later stage is derived.

A graph of populations joined by connections, all in the integers of a Loihi core. Logical time:
a spike of step t crosses a connection of delay d and acts at step t + d. In each step a neuron
receives (all in int32, wrapping modulo 2^32)

    a = sum over connections of ((W * s) << exponent)

and updates its state by the equations of its model: `neurons/lif.py` and the others in
`neurons.registry`.

`simulators/reference.py` runs this scalar by scalar and is the specification.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from spikeport.checks import MAX_STEPS, NAME_RULE, fail, is_name, texts, whole
from spikeport.errors import InputError
from spikeport.network.arithmetic import LOIHI, Arithmetic, check_arithmetic
from spikeport.network.connections import (
    KINDS,
    Connection,
    injections_among,
    weighted_among,
)
from spikeport.network.connections.base import WeightedConnection, check_weights
from spikeport.network.connections.bias import BiasInjection
from spikeport.network.connections.linear_map import check_shapes
from spikeport.network.inputs import Coding, Input, check_range
from spikeport.network.neurons.model import AnyPopulation, check_widths
from spikeport.network.neurons.registry import MODELS
from spikeport.network.readout import Readout
from spikeport.storage.canonical import Arrays, canonical_bytes, part_form, sha256, stated_fields
from spikeport.text import quoted

_PARTS: Mapping[str, tuple[type, ...]] = {
    "inputs": (Input,),
    "populations": MODELS,
    "connections": (*KINDS, BiasInjection),
    "readouts": (Readout,),
}
"""The types of parts that each field of a network holds."""


@dataclass(frozen=True, eq=False)
class DeployedNetwork:
    """A spiking network in chip integers: frozen, in canonical form, exactly comparable.

    Inputs, populations and connections are kept sorted by name, whatever order they are given in.
    Equality and `content_hash` cover everything but `provenance`.

    A field with a single part may be passed without a tuple.

    Attributes:
        steps: T, the logical steps of a sample.
        readouts: the prediction is the argmax of the first one's scores, the lowest index on ties.
        provenance: free-text facts about the origin of the network.
        arithmetic: widths of its numbers. Only the reference simulator runs others than Loihi's,
            which may not be wider.

    Raises:
        InputError: a part breaks a rule; the message names the part, its value and the rule.
    """

    inputs: tuple[Input, ...]
    populations: tuple[AnyPopulation, ...]
    connections: tuple[Connection, ...]
    readouts: tuple[Readout, ...]
    steps: int
    provenance: Mapping[str, str] = field(default_factory=dict)
    arithmetic: Arithmetic = LOIHI

    def __post_init__(self) -> None:
        for name, kinds in _PARTS.items():
            given = _parts_of(f"network: {name}", getattr(self, name), kinds)
            if name != "readouts":
                given = tuple(sorted(given, key=lambda part: part.name))
            object.__setattr__(self, name, given)
        object.__setattr__(self, "provenance", dict(self.provenance))
        _check(self)
        _order(self)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical form, without provenance."""
        return sha256(self._content_bytes())

    def canonical_form(self) -> tuple[dict[str, Any], Arrays]:
        """Plain JSON data and arrays (named `part.field`), the same for equal networks."""
        arrays: Arrays = {}
        data: dict[str, Any] = {"steps": self.steps}
        if self.arithmetic != LOIHI:
            data["arithmetic"] = dict(stated_fields(self.arithmetic))
        for group in _PARTS:
            data[group] = [part_form(part, arrays) for part in getattr(self, group)]
        return data, arrays

    def _content_bytes(self) -> bytes:
        return canonical_bytes(*self.canonical_form())

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Population names so that every delay-free connection points forward."""
        return _order(self)

    @cached_property
    def sources(self) -> Mapping[str, Input | AnyPopulation]:
        """All possible sources of a connection, by name."""
        parts: tuple[Input | AnyPopulation, ...] = (*self.inputs, *self.populations)
        return {part.name: part for part in parts}

    @cached_property
    def by_name(self) -> Mapping[str, AnyPopulation]:
        """Populations by name."""
        return {part.name: part for part in self.populations}

    @cached_property
    def _by_target(self) -> Mapping[str, tuple[Connection, ...]]:
        found: dict[str, list[Connection]] = {}
        for part in self.connections:
            found.setdefault(part.target, []).append(part)
        return {target: tuple(parts) for target, parts in found.items()}

    @property
    def output_count(self) -> int:
        """Number of outputs of the first readout, from which predictions are made."""
        return self.by_name[self.readouts[0].population].size

    def incoming(self, population: str) -> tuple[Connection, ...]:
        """Connections that end in `population`."""
        return self._by_target.get(population, ())

    @cached_property
    def weighted_connections(self) -> tuple[WeightedConnection, ...]:
        """Connections that carry weights."""
        return weighted_among(self.connections)

    @cached_property
    def injections(self) -> tuple[BiasInjection, ...]:
        """Connections that write biases."""
        return injections_among(self.connections)

    @cached_property
    def _weighted_by_source(self) -> Mapping[str, tuple[WeightedConnection, ...]]:
        found: dict[str, list[WeightedConnection]] = {}
        for part in self.weighted_connections:
            found.setdefault(part.source, []).append(part)
        return {source: tuple(parts) for source, parts in found.items()}

    def weighted_from(self, source: str) -> tuple[WeightedConnection, ...]:
        """Connections that carry weights and start at `source`."""
        return self._weighted_by_source.get(source, ())

    def weighted_into(self, population: str) -> tuple[WeightedConnection, ...]:
        """Connections that carry weights and end in `population`."""
        return weighted_among(self.incoming(population))

    def injections_into(self, population: str) -> tuple[BiasInjection, ...]:
        """Connections that write biases of `population`."""
        return injections_among(self.incoming(population))

    def message_range(self, source: str) -> tuple[int, int]:
        """Lowest and highest message of an input or a population."""
        part = self.sources[source]
        return (part.low, part.high) if isinstance(part, Input) else (0, 1)

    def lines(self, source: str) -> int:
        """Lines per neuron of a source: 1, or the binary digits of an input's values."""
        part = self.sources[source]
        return part.digits if isinstance(part, Input) else 1

    def replace(self, **changes: object) -> DeployedNetwork:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeployedNetwork):
            return NotImplemented
        return self is other or self._content_bytes() == other._content_bytes()

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __repr__(self) -> str:
        neurons = sum(p.size for p in self.populations)
        return (
            f"DeployedNetwork({len(self.populations)} populations, {neurons} neurons, "
            f"{len(self.connections)} connections, T={self.steps}, {self.content_hash[:12]})"
        )


def _parts_of(subject: str, given: Any, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """The parts of a field in their order; a single part may be passed without a tuple."""
    if isinstance(given, kinds):
        return (given,)
    if isinstance(given, str) or not isinstance(given, Iterable):
        fail(f"{subject} is {given!r}, must be {_names(kinds)}")
    parts = tuple(given)
    for part in parts:
        if not isinstance(part, kinds):
            fail(f"{subject} contains {part!r}, must be {_names(kinds)}")
    return parts


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


def _check(net: DeployedNetwork) -> None:
    """Check names, ends and shapes of connections, T and the readouts."""
    object.__setattr__(net, "steps", whole("network: steps (T)", net.steps, 1, MAX_STEPS))
    texts("network: provenance", net.provenance)
    check_arithmetic(net.arithmetic)
    if net.arithmetic != LOIHI:
        _check_fit(net)
    parts = (*net.inputs, *net.populations, *net.connections)
    for name, count in Counter(part.name for part in parts).items():
        if not is_name(name):
            fail(f"name {quoted(name)} must be {NAME_RULE}")
        if count > 1:
            fail(f"name '{name}' is used {count} times, names must be unique")
    for what, group in (("input", net.inputs), ("population", net.populations)):
        if not group:
            fail(f"network: has no {what}, needs at least one")
    for part in net.connections:
        _ends(net, part)
    for name in {part.target: None for part in net.injections}:
        _biases(net, net.by_name[name])
    if not net.readouts:
        fail("network: has no readout, needs at least one")
    for name, count in Counter(readout.population for readout in net.readouts).items():
        if count > 1:
            fail(f"readout: population '{name}' is read {count} times, may be read only once")
    for readout in net.readouts:
        if readout.population not in net.by_name:
            fail(f"readout: population '{readout.population}' does not exist")


def _check_fit(net: DeployedNetwork) -> None:
    """Check that all parts fit an arithmetic narrower than Loihi's, which they already fit."""
    given: tuple[tuple[Callable[..., None], tuple[Any, ...]], ...] = (
        (check_range, net.inputs),
        (check_widths, net.populations),
        (check_weights, net.weighted_connections),
    )
    wrong = []
    for check, parts in given:
        for part in parts:
            try:
                check(part, net.arithmetic)
            except InputError as error:
                wrong.append(str(error))
    if wrong:
        fail(f"network: does not fit arithmetic '{net.arithmetic.name}': {'; '.join(wrong)}")


def _ends(net: DeployedNetwork, part: Connection) -> None:
    subject = f"connection '{part.name}'"
    if part.source not in net.sources:
        fail(f"{subject}: source '{part.source}' does not exist")
    if part.target not in net.by_name:
        fail(f"{subject}: target '{part.target}' is not a population")
    source, target = net.sources[part.source], net.by_name[part.target]
    injected = isinstance(source, Input) and source.coding is Coding.BIAS
    if isinstance(part, BiasInjection):
        if not injected:
            fail(f"{subject}: a bias injection needs an input of coding 'bias' as its source")
        if source.shape != target.shape:
            fail(f"{subject}: input shape {source.shape} must equal the target's {target.shape}")
        return
    if injected:
        fail(f"{subject}: input '{part.source}' has coding 'bias', which crosses no synapses")
    check_shapes(part, source.shape, target.shape)
    most = net.arithmetic.weight_exponent_max
    last = part.exponent + net.lines(part.source) - 1
    if last > most:
        fail(
            f"{subject}: exponent is {last} for the last binary digit of input '{part.source}', "
            f"must be at most {most}"
        )


def _biases(net: DeployedNetwork, target: AnyPopulation) -> None:
    """Check that a population's bias mantissas, with all that is injected, fit the chip."""
    parts = net.injections_into(target.name)
    ranges = [net.message_range(part.source) for part in parts]
    low = int(target.bias.min()) + sum(low for low, _ in ranges)
    high = int(target.bias.max()) + sum(high for _, high in ranges)
    arithmetic = net.arithmetic
    least, most = arithmetic.bias_mantissa_min, arithmetic.bias_mantissa_max
    if low < least or high > most:
        fail(
            f"connection '{parts[0].name}': bias mantissas of '{target.name}' could span "
            f"{low}..{high}, must lie in {least}..{most} ({arithmetic.bias_bits} bits)"
        )


def _order(net: DeployedNetwork) -> tuple[str, ...]:
    """Topological order over delay-free connections, alphabetical among equals."""
    needs: dict[str, set[str]] = {part.name: set() for part in net.populations}
    feeds: dict[str, set[str]] = {part.name: set() for part in net.populations}
    for c in net.weighted_connections:
        if c.delay == 0 and c.source in needs:
            needs[c.target].add(c.source)
            feeds[c.source].add(c.target)
    done: list[str] = []
    ready = sorted(name for name, sources in needs.items() if not sources)
    while ready:
        done += ready
        freed = []
        for name in ready:
            for target in feeds[name]:
                needs[target].discard(name)
                if not needs[target]:
                    freed.append(target)
        ready = sorted(freed)
    if waiting := needs.keys() - set(done):
        names = ", ".join(f"'{n}'" for n in sorted(waiting))
        fail(
            f"network: delay-free connections form a cycle at or upstream of {names}; "
            "every cycle needs a connection with delay >= 1"
        )
    return tuple(done)
