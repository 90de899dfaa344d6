"""Lowering: convert a flat NIR graph to populations and connections, still in real numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import NAME_RULE, is_name
from spikeport.errors import UnsupportedError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.fields import NEURONS
from spikeport.export.nir.flatten import safe_names
from spikeport.export.nir.neuron_dynamics import (
    starts_above,
)
from spikeport.export.nir.semantics import ResetTiming
from spikeport.export.quantize.build import Build, add_biases, connect
from spikeport.export.quantize.lowered import (
    FORGETS,
    FloatConnection,
    FloatPopulation,
    LoweredNetwork,
    Role,
)
from spikeport.export.quantize.reset import subtracting_at_once
from spikeport.export.quantize.rounding import round_decay
from spikeport.export.quantize.split import Layer, Parts, split_connections, split_layer
from spikeport.network import Readout, ReadoutKind, Reset
from spikeport.text import quoted

Array = NDArray[np.float64]


def lower(network: FloatNetwork, *, pools: bool = True) -> LoweredNetwork:
    """Convert a float network to populations and connections, without any rounding.

    Populations are named after the neuron nodes, connections after the maps. A map that ends in an
    Output becomes an integrating population named after the Output and read by its membrane.
    Feedback edges and Delay nodes delay the connections they are part of. A threshold that is
    subtracted one step later becomes a connection (`reset`), neurons with several decays become
    several populations (`split`), and biases that enter through a synaptic filter are sent by a
    neuron that fires at every step.

    Args:
        pools: whether connections may sum windows of their source first (`fold`).

    Raises:
        InputError: lists everything in the graph that the chip cannot express.
    """
    network = subtracting_at_once(network)
    build = Build(network, pools)
    _check_names(build)
    _check_semantics(build)
    for name in build.order:
        if name in build.dynamics:
            _add_neurons(build, name)
        elif isinstance(build.nodes[name], nir.Output):
            _add_readout(build, name)
    _check_membranes(build)
    if build.complaints:
        raise UnsupportedError(
            f"network: cannot be deployed, {len(build.complaints)} rule(s) broken:",
            *(f"- {reason}" for reason in build.complaints),
        )
    return LoweredNetwork(
        inputs=network.inputs,
        populations=tuple(build.populations),
        connections=_named_apart(
            split_connections(build.connections, build.parts),
            {*build.inputs, *(part.name for part in build.populations)},
        ),
        injections=tuple(build.injections),
        readouts=tuple(readout for _, readout in sorted(build.readouts.items())),
        steps=network.steps,
        reset=network.semantics.reset,
        strict=network.semantics.strict,
        notes=tuple(build.notes),
        rewrites=(*network.rewrites, *build.rewrites),
    )


def _check_names(build: Build) -> None:
    for name in sorted(build.nodes):
        if not is_name(name):
            build.complain(f"node {quoted(name)}: name must be {NAME_RULE}")


def _check_semantics(build: Build) -> None:
    """Complain about rules that a chip does not have: it fires once, at once, and resets at once.

    Rules about decays, gains, comparison and loops are numbers of the chip, as is a start value.
    """
    semantics, timing = build.network.semantics, build.network.semantics.reset_timing
    spiking = [
        name
        for name, one in build.dynamics.items()
        if one.threshold is not None and isinstance(build.nodes[name], NEURONS)
    ]
    remedy = "give another value to deploy the network under a rule that it was not trained with"
    if spiking and semantics.multiple_spikes:
        build.complain(
            "multiple_spikes is true, but on the chip a neuron sends at most one spike per step; "
            f"{remedy}"
        )
    if spiking and semantics.late_spikes:
        build.complain(
            "late_spikes is true, but on the chip a neuron sends its spike in the step in which v "
            f"crosses the threshold; {remedy}"
        )
    if semantics.reset is Reset.ZERO or timing is ResetTiming.BEFORE_DECAY:
        return
    after = timing is ResetTiming.AFTER_DECAY
    for name in spiking:
        if after and starts_above(build.nodes[name], semantics):
            build.complain(
                f"node '{name}': v starts above v_threshold (start={semantics.start}), which "
                f"reset_timing={timing} subtracts in the first step, but the chip only after a "
                f"spike; {remedy}"
            )
            continue
        if after and (build.dynamics[name].keep_v == 1).all():
            continue  # without a decay, the order does not matter
        build.complain(
            f"node '{name}': reset_timing is {timing}, but the chip subtracts the threshold at "
            f"once, {'before' if after else 'and compares v after'} the next decay; {remedy}"
        )


def _add_neurons(build: Build, name: str) -> None:
    dynamics = build.dynamics[name]
    biases, shape = connect(build, name, dynamics.gain, dynamics.leak.shape)
    filtered = dynamics.keep_u.reshape(shape) > 0
    bias = dynamics.leak.reshape(shape)
    late: dict[int, Array] = {}
    for found in biases:
        values = found.values.reshape(shape)
        late[found.delay] = late.get(found.delay, 0.0) + np.where(filtered, values, 0.0)
        direct = np.where(filtered, 0.0, values)
        bias = bias + direct
        if found.delay and direct.any():
            build.note(_acts_early(found.node))
    for delay, values in sorted(late.items()):
        if values.any():
            add_biases(build, name, values, delay)
    if np.ptp(dynamics.unit) > 0:
        build.rewrite(
            f"the thresholds of '{name}' became one, {dynamics.threshold:g}, by factors "
            f"{dynamics.unit.min():g}..{dynamics.unit.max():g} in the weights and biases"
        )
    if dynamics.zero.any():
        build.rewrite(
            f"the membrane of '{name}' is counted from {_span(dynamics.zero)} on, with "
            f"{dynamics.threshold:g} as its threshold and 0 after a spike, by its bias"
        )

    def each(values: Array) -> Array:
        return np.broadcast_to(values, dynamics.leak.shape).reshape(shape)

    layer = Layer(
        name=name,
        shape=shape,
        keep_u=each(dynamics.keep_u),
        keep_v=each(dynamics.keep_v),
        bias=bias,
        threshold=dynamics.threshold,
        start=each(dynamics.start),
        unit=each(dynamics.unit),
        zero=each(dynamics.zero),
    )
    populations, build.parts[name] = split_layer(layer, build.taken)
    build.populations += populations
    build.taken.update(part.name for part in populations)
    if len(populations) > 1:
        if any(injection.target == name for injection in build.injections):
            build.complain(
                f"node '{name}': different decays or starts make it {len(populations)} "
                "populations, which an input of coding 'bias' cannot feed; declare it with coding "
                "'graded'"
            )
        build.rewrite(
            f"'{name}' became {len(populations)} populations, "
            f"'{populations[0].name}' to '{populations[-1].name}', one for each "
            f"{_differing(populations)}"
        )


def _acts_early(node: str) -> str:
    return (
        f"node '{node}': its bias acts from the first step on, but in the float graph it is late "
        "by the delay after it"
    )


def _differing(populations: Sequence[FloatPopulation]) -> str:
    """What differs between the populations of a node."""
    decays = {(round_decay(part.keep_u), round_decay(part.keep_v)) for part in populations}
    starts = len({part.start for part in populations}) > 1
    return "start" if len(decays) == 1 else "pair of decays and start" if starts else "decay"


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _add_readout(build: Build, name: str) -> None:
    """Read neurons directly; integrate everything else."""
    match build.feeds[name]:
        case (source,) if source in build.dynamics:
            _read(build, name, source)
            return
    count = len(build.connections)
    biases, shape = connect(build, name, None, build.network.checked.shapes[name])
    if len(build.connections) == count:
        build.complain(f"node '{name}': no neurons or map with a counterpart lead to this Output")
        return
    bias = sum((found.values.reshape(shape) for found in biases), np.zeros(shape))
    for found in biases:
        if found.delay and found.values.any():
            build.note(_acts_early(found.node))
    build.parts[name] = Parts(shape, (name,))
    build.populations.append(FloatPopulation(name, shape, 0.0, 1.0, bias, None, node=name))
    build.readouts[name] = Readout(name, ReadoutKind.MEMBRANE)


def _read(build: Build, name: str, source: str) -> None:
    """Read the neurons of a node; spikes of several populations through a relay."""
    parts, spiking = build.parts[source], build.dynamics[source].threshold is not None
    if len(parts.names) == 1:
        kind = ReadoutKind.SPIKES if spiking else ReadoutKind.MEMBRANE
        build.readouts[name] = Readout(source, kind)
        return
    if not spiking:
        build.complain(
            f"node '{source}': its membrane is read by '{name}', which the chip can do for one "
            f"population, but different decays or starts make it {len(parts.names)}; use one time "
            "constant in the whole layer"
        )
        return
    size = int(np.prod(parts.shape))
    build.parts[name] = Parts((size,), (name,))
    build.populations.append(
        FloatPopulation(
            name, (size,), 0.0, FORGETS, np.zeros(size), 0.5, role=Role.RELAY, node=source
        )
    )
    build.connections.append(FloatConnection(f"{source}_to_{name}", source, name, np.eye(size)))
    build.readouts[name] = Readout(name, ReadoutKind.SPIKES)
    build.rewrite(
        f"'{name}' reads '{source}' through {size} neurons that repeat its spikes, because a "
        "readout reads one population"
    )


def _check_membranes(build: Build) -> None:
    for source, target in sorted(build.network.graph.edges):
        silent = source in build.dynamics and build.dynamics[source].threshold is None
        if silent and not isinstance(build.nodes[target], nir.Output):
            build.complain(
                f"node '{source}': {type(build.nodes[source]).__name__} never spikes, its "
                f"membrane can be read out but not sent on to '{target}'; use neurons that spike"
            )


def _named_apart(
    connections: Sequence[FloatConnection], taken: Collection[str]
) -> tuple[FloatConnection, ...]:
    """Split a map between several pairs into several connections, each with its own name."""
    times = Counter(c.name for c in connections)
    long = [
        f"{c.name}_{c.source}_to_{c.target}" if times[c.name] > 1 else c.name for c in connections
    ]
    apart: list[str] = []
    for name in long:  # parallel connections without a map have the same name
        apart.append(
            next(n for n in chain([name], _numbered(name)) if n not in apart and n not in taken)
        )
    safe = safe_names(apart)
    return tuple(replace(c, name=safe[name]) for c, name in zip(connections, apart, strict=True))


def _numbered(name: str) -> Iterator[str]:
    return (f"{name}_{place}" for place in count(2))
