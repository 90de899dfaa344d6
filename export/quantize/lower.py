"""Lowering: convert a flat NIR graph to populations and connections, still in real numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice, pairwise
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import NAME_RULE, is_name
from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.fields import NEURONS
from spikeport.export.nir.flatten import safe_names
from spikeport.export.nir.graph import delay_steps
from spikeport.export.nir.neuron_dynamics import (
    Dynamics,
    neuron_dynamics,
    neuron_shape,
    starts_above,
)
from spikeport.export.nir.semantics import ResetTiming
from spikeport.export.quantize.fold import MAPS, Folded, fold, weights
from spikeport.export.quantize.lowered import (
    FloatConnection,
    FloatInjection,
    FloatPopulation,
    LoweredNetwork,
)
from spikeport.export.quantize.reset import subtracting_at_once
from spikeport.network import Coding, Input, Readout, ReadoutKind, Reset, Shape
from spikeport.network.linear_maps import Elementwise, Kernel, features
from spikeport.text import quoted

Array = NDArray[np.float64]
NodePath = tuple[str, ...]
MAX_PATHS = 1000
"""Number of connections into one population that a graph of linear nodes may become."""


def lower(network: FloatNetwork) -> LoweredNetwork:
    """Convert a float network to populations and connections, without any rounding.

    Populations are named after the neuron nodes, connections after the maps. A map that ends in an
    Output becomes an integrating population named after the Output and read by its membrane.
    Feedback edges and Delay nodes delay the connections they are part of. A threshold that is
    subtracted one step later becomes a connection (`reset`).

    Raises:
        InputError: lists everything in the graph that the chip cannot express.
    """
    network = subtracting_at_once(network)
    build = _Build(network)
    _check_names(build)
    _check_semantics(build)
    for name in build.order:
        if name in build.dynamics:
            _add_neurons(build, name)
        elif isinstance(build.nodes[name], nir.Output):
            _add_readout(build, name)
    _check_membranes(build)
    if build.complaints:
        raise InputError(
            f"network: cannot be deployed, {len(build.complaints)} rule(s) broken:",
            *(f"- {reason}" for reason in build.complaints),
        )
    return LoweredNetwork(
        inputs=network.inputs,
        populations=tuple(build.populations),
        connections=_named_apart(build.connections),
        injections=tuple(build.injections),
        readouts=tuple(readout for _, readout in sorted(build.readouts.items())),
        steps=network.steps,
        reset=network.semantics.reset,
        strict=network.semantics.strict,
        notes=tuple(build.notes),
        rewrites=(*network.rewrites, *build.rewrites),
    )


@dataclass(slots=True)
class _Build:
    """A network under construction; collects all complaints before giving up."""

    network: FloatNetwork
    nodes: dict[str, Any] = field(init=False)
    order: tuple[str, ...] = field(init=False)
    feedback: frozenset[tuple[str, str]] = field(init=False)
    feeds: Mapping[str, tuple[str, ...]] = field(init=False)
    inputs: dict[str, Input] = field(init=False)
    shapes: dict[str, Shape] = field(init=False)
    dynamics: dict[str, Dynamics] = field(init=False)
    populations: list[FloatPopulation] = field(default_factory=list)
    connections: list[FloatConnection] = field(default_factory=list)
    injections: list[FloatInjection] = field(default_factory=list)
    readouts: dict[str, Readout] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rewrites: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        checked = self.network.checked
        graph, plan = checked.graph, checked.plan
        self.nodes, self.order, self.feedback = graph.nodes, plan.order, plan.feedback
        self.feeds = checked.sources
        self.inputs = {part.name: part for part in self.network.inputs}
        neurons = {n: node for n, node in graph.nodes.items() if isinstance(node, NEURONS)}
        self.shapes = {name: part.shape for name, part in self.inputs.items()}
        self.shapes |= {name: neuron_shape(node) for name, node in neurons.items()}
        self.dynamics = {
            name: neuron_dynamics(
                name, node, self.network.dt_s, self.network.semantics, self.complain
            )
            for name, node in sorted(neurons.items())
        }

    def complain(self, reason: str) -> None:
        if reason not in self.complaints:
            self.complaints.append(reason)

    def note(self, fact: str) -> None:
        if fact not in self.notes:
            self.notes.append(fact)

    def rewrite(self, sentence: str) -> None:
        if sentence not in self.rewrites:
            self.rewrites.append(sentence)


def _check_names(build: _Build) -> None:
    for name in sorted(build.nodes):
        if not is_name(name):
            build.complain(f"node {quoted(name)}: name must be {NAME_RULE}")


def _check_semantics(build: _Build) -> None:
    """Complain about rules that a chip does not have: it fires once, at once, and resets at once.

    Rules about decays, gains, comparison and loops are numbers of the chip, as is a start value.
    """
    semantics, timing = build.network.semantics, build.network.semantics.reset_timing
    spiking = [name for name, one in build.dynamics.items() if one.threshold is not None]
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
        if after and build.dynamics[name].keep_v == 1:
            continue  # without a decay, the order does not matter
        build.complain(
            f"node '{name}': reset_timing is {timing}, but the chip subtracts the threshold at "
            f"once, {'before' if after else 'and compares v after'} the next decay; {remedy}"
        )


def _add_neurons(build: _Build, name: str) -> None:
    dynamics = build.dynamics[name]
    bias, shape = _connect(build, name, dynamics.gain, dynamics.leak.shape)
    if dynamics.keep_u > 0 and bias.any():
        build.complain(
            f"node '{name}': a bias of up to {np.abs(bias).max():g} enters through the "
            "synaptic filter tau_syn, but the chip adds a bias after it"
        )
    if np.ptp(dynamics.start) > 0:
        build.complain(
            f"node '{name}': v starts at {dynamics.start.min():g}..{dynamics.start.max():g} "
            f"(start={build.network.semantics.start}), must start at one value in the whole layer"
        )
    if np.ptp(dynamics.unit) > 0:
        build.rewrite(
            f"the thresholds of '{name}' became one, {dynamics.threshold:g}, by factors "
            f"{dynamics.unit.min():g}..{dynamics.unit.max():g} in the weights and biases"
        )
    build.populations.append(
        FloatPopulation(
            name=name,
            shape=shape,
            keep_u=dynamics.keep_u,
            keep_v=dynamics.keep_v,
            bias=bias + dynamics.leak.reshape(shape),
            threshold=dynamics.threshold,
            start=float(dynamics.start.flat[0]),
            unit=np.broadcast_to(dynamics.unit, dynamics.leak.shape).reshape(shape),
        )
    )


def _add_readout(build: _Build, name: str) -> None:
    """Read neurons directly; integrate everything else."""
    match build.feeds[name]:
        case (source,) if source in build.dynamics:
            spiking = build.dynamics[source].threshold is not None
            kind = ReadoutKind.SPIKES if spiking else ReadoutKind.MEMBRANE
            build.readouts[name] = Readout(source, kind)
            return
    count = len(build.connections)
    bias, shape = _connect(build, name, None, build.network.checked.shapes[name])
    if len(build.connections) == count:
        build.complain(f"node '{name}': no neurons or map with a counterpart lead to this Output")
        return
    build.populations.append(FloatPopulation(name, shape, 0.0, 1.0, bias, None))
    build.readouts[name] = Readout(name, ReadoutKind.MEMBRANE)


def _check_membranes(build: _Build) -> None:
    for source, target in sorted(build.network.graph.edges):
        silent = source in build.dynamics and build.dynamics[source].threshold is None
        if silent and not isinstance(build.nodes[target], nir.Output):
            build.complain(
                f"node '{source}': {type(build.nodes[source]).__name__} never spikes, its "
                f"membrane can be read out but not sent on to '{target}'"
            )


def _connect(build: _Build, node: str, gain: Array | None, shape: Shape) -> tuple[Array, Shape]:
    """Add everything that leads into `node`, of the given shape in the graph.

    Returns:
        The sum of biases, and the shape of the population: flattening between a convolution and its
        neurons is moved behind them.
    """
    biases: dict[NodePath, Array] = {}
    found: list[tuple[str, NodePath, Folded]] = []
    paths = list(islice(_paths(build, node, ()), MAX_PATHS + 1))
    if len(paths) > MAX_PATHS:
        build.complain(
            f"node '{node}': more than {MAX_PATHS} paths through linear nodes lead there; put "
            "neurons in between"
        )
        paths = []
    for source, *between in paths:
        middle = tuple(between)
        if source not in build.shapes:
            continue
        named = tuple((name, build.nodes[name]) for name in middle)
        folded = fold(named, build.shapes[source], gain, build.complain)
        if folded is None:
            continue
        if source in build.inputs and build.inputs[source].coding is Coding.BIAS:
            _inject(build, source, node, folded)
            continue
        found.append((source, middle, folded))
        for place, bias in folded.biases.items():
            biases[middle[place:]] = bias
            if bias.any() and _biased_late(build, (*middle[place:], node)):
                build.note(
                    f"node '{middle[place]}': its bias acts from the first step on, but in the "
                    "float graph it is late by the delay after it"
                )
    flat = [features(folded.map) for _, _, folded in found]
    made = next((maps for maps in flat if maps is not None), shape)
    for source, middle, folded in found:
        _add_connection(build, (source, *middle, node), folded, made)
    return sum(biases.values(), np.zeros(shape)).reshape(made), made


def _add_connection(build: _Build, path: NodePath, folded: Folded, shape: Shape) -> None:
    """Add the connection of one path, from its source to its target, a population of `shape`."""
    source, *middle, target = path
    try:
        parts = weights(folded.map, shape)
    except InputError as reason:
        build.complain(f"node '{target}': {reason}")
        return
    for sentence in folded.rewrites:
        build.rewrite(sentence)
    name = next((n for n in middle if isinstance(build.nodes[n], MAPS)), f"{source}_to_{target}")
    if isinstance(folded.map, Kernel) and parts.weight.ndim == 2:
        build.rewrite(
            f"'{name}' became a matrix, because '{target}' receives features of several shapes"
        )
    build.connections.append(
        FloatConnection(
            name=name,
            source=source,
            target=target,
            weight=parts.weight,
            stride=parts.stride,
            padding=parts.padding,
            dilation=parts.dilation,
            groups=parts.groups,
            pool=folded.pool,
            delay=_delay(build, path),
        )
    )


def _inject(build: _Build, source: str, node: str, folded: Folded) -> None:
    if not isinstance(folded.map, Elementwise) or folded.pool is not None:
        build.complain(
            f"input '{source}': coding 'bias' must go one to one into neurons, "
            f"but a map or pool leads from it to '{node}'"
        )
        return
    if any(i.target == node for i in build.injections):
        build.complain(f"node '{node}': more than one input of coding 'bias'")
    gains = folded.map.factor.reshape(-1)
    if np.ptp(gains) > 1e-9 * np.abs(gains).max() or gains[0] <= 0:
        build.complain(
            f"input '{source}': coding 'bias' reaches '{node}' with factors "
            f"{gains.min():g}..{gains.max():g}, must be one positive factor"
        )
    name = f"{source}_to_{node}"
    build.injections.append(FloatInjection(name, source, node, float(gains[0])))


def _paths(build: _Build, node: str, after: NodePath) -> Iterator[NodePath]:
    """All paths from an Input or neurons to `node`: the source, then the nodes in between."""
    for source in build.feeds[node]:
        if source in after:
            build.complain(f"node '{source}': is on a cycle without neurons")
        elif isinstance(build.nodes[source], (*NEURONS, nir.Input)):
            yield (source, *after)
        else:
            yield from _paths(build, source, (source, *after))


def _delay(build: _Build, steps: NodePath) -> int:
    """Total delay of consecutive nodes in steps: feedback edges and Delay nodes."""
    loops = sum(edge in build.feedback for edge in pairwise(steps))
    delay = loops * build.network.semantics.loop_delay
    for name in steps:
        if isinstance(build.nodes[name], nir.Delay):
            waits = delay_steps(build.nodes[name], build.network.dt_s)
            if np.ptp(waits) > 0:
                build.complain(
                    f"node '{name}': delays span {waits.min()}..{waits.max()} steps, "
                    "must be one value for the whole layer"
                )
            delay += int(waits.max())
    return delay


def _biased_late(build: _Build, steps: NodePath) -> bool:
    """Whether a bias at the start of consecutive nodes is missing in the first steps."""
    waits = any(isinstance(build.nodes[name], nir.Delay) for name in steps)
    return bool(_delay(build, steps)) and (waits or not build.network.semantics.loop_bias)


def _named_apart(connections: list[FloatConnection]) -> tuple[FloatConnection, ...]:
    """Split a map between several pairs into several connections, each with its own name."""
    times = Counter(c.name for c in connections)
    long = [
        f"{c.name}_{c.source}_to_{c.target}" if times[c.name] > 1 else c.name for c in connections
    ]
    apart: list[str] = []
    for name in long:  # parallel connections without a map have the same name
        apart.append(next(n for n in chain([name], _numbered(name)) if n not in apart))
    safe = safe_names(apart)
    return tuple(replace(c, name=safe[name]) for c, name in zip(connections, apart, strict=True))


def _numbered(name: str) -> Iterator[str]:
    return (f"{name}_{place}" for place in count(2))
