"""The rules that join the parts of a `DeployedNetwork`, and the order they give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeport.network import fixed_point as fx
from spikeport.network.part_rules import MAX_STEPS, fail, texts, whole
from spikeport.network.parts import (
    BiasInjection,
    Coding,
    Connection,
    Conv1d,
    Dense,
    Input,
    WeightedConnection,
)
from spikeport.text import quoted

if TYPE_CHECKING:
    from spikeport.network.network import DeployedNetwork

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def parts_of(subject: str, given: Any, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """The parts of a field, in order; a single part may be given without a tuple."""
    if isinstance(given, kinds):
        return (given,)
    if isinstance(given, str) or not isinstance(given, Iterable):
        fail(f"{subject} is {given!r}, must be {_names(kinds)}")
    parts = tuple(given)
    for part in parts:
        if not isinstance(part, kinds):
            fail(f"{subject} holds {part!r}, must be {_names(kinds)}")
    return parts


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


def network(net: DeployedNetwork) -> None:
    """Names unique and safe, ends known, shapes meeting, T and readouts sensible."""
    object.__setattr__(net, "steps", whole("network: steps (T)", net.steps, 1, MAX_STEPS))
    texts("network: provenance", net.provenance)
    parts = (*net.inputs, *net.populations, *net.connections)
    for name, count in Counter(part.name for part in parts).items():
        if not _NAME.fullmatch(name):
            fail(f"name {quoted(name)} must be 1 to 64 letters, digits or '_', not a digit first")
        if count > 1:
            fail(f"name '{name}' is used {count} times, names must be unique")
    for what, group in (("input", net.inputs), ("population", net.populations)):
        if not group:
            fail(f"network: has no {what}, needs at least one")
    for part in net.connections:
        _ends(net, part)
    if not net.readouts:
        fail("network: has no readout, needs at least one")
    for name, count in Counter(readout.population for readout in net.readouts).items():
        if count > 1:
            fail(f"readout: population '{name}' is read {count} times, once is the rule")
    for readout in net.readouts:
        if readout.population not in net.by_name:
            fail(f"readout: population '{readout.population}' does not exist")


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
        _injection(net, part)
        return
    if injected:
        fail(f"{subject}: input '{part.source}' has coding 'bias', which crosses no synapses")
    _synapses(part, source.shape, target.shape)


def _injection(net: DeployedNetwork, part: BiasInjection) -> None:
    source, target = net.sources[part.source], net.by_name[part.target]
    subject = f"connection '{part.name}'"
    if source.shape != target.shape:
        fail(f"{subject}: input shape {source.shape} must equal the target's {target.shape}")
    feeds = [c for c in net.connections if c.target == part.target and isinstance(c, BiasInjection)]
    inputs = {i.name: i for i in net.inputs}
    low = int(target.bias.min()) + sum(inputs[c.source].low for c in feeds)
    high = int(target.bias.max()) + sum(inputs[c.source].high for c in feeds)
    if low < fx.BIAS_MANTISSA_MIN or high > fx.BIAS_MANTISSA_MAX:
        fail(
            f"{subject}: bias mantissas of '{part.target}' could span {low}..{high}, must lie in "
            f"{fx.BIAS_MANTISSA_MIN}..{fx.BIAS_MANTISSA_MAX} (13 bits)"
        )


def _synapses(part: WeightedConnection, source: tuple[int, ...], target: tuple[int, ...]) -> None:
    subject = f"connection '{part.name}'"
    if part.pool is not None:
        if len(source) != 3:
            fail(f"{subject}: a sum-pool needs a source (C, H, W), got {source}")
        source = part.pool.output_shape(source)
        if min(source) < 1:
            fail(f"{subject}: the sum-pool leaves nothing of its source: {source}")
    if isinstance(part, Dense):
        expected = (int(np.prod(target)), int(np.prod(source)))
        if part.weight.shape != expected:
            fail(f"{subject}: weight has shape {part.weight.shape}, must be {expected}")
        return
    if len(source) != part.weight.ndim - 1:
        axes = "(C, L)" if isinstance(part, Conv1d) else "(C, H, W)"
        fail(f"{subject}: a convolution needs a source {axes}, got {source}")
    if source[0] != part.weight.shape[1] * part.groups:
        fail(
            f"{subject}: source has {source[0]} channels, weight {part.weight.shape} with "
            f"groups {part.groups} needs {part.weight.shape[1] * part.groups}"
        )
    made = part.output_shape(source)
    if made != target:
        fail(f"{subject}: gives shape {made}, but '{part.target}' has {target}")


def order(net: DeployedNetwork) -> tuple[str, ...]:
    """Topological order over delay-free connections, by name where free to choose."""
    needs: dict[str, set[str]] = {part.name: set() for part in net.populations}
    feeds: dict[str, set[str]] = {part.name: set() for part in net.populations}
    for c in net.connections:
        if getattr(c, "delay", 0) == 0 and c.source in needs:
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
