"""Lowering: convert a flat NIR graph to populations and connections, still in real numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
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
from spikeport.export.nir.neuron_dynamics import Dynamics, neuron_dynamics, neuron_shape
from spikeport.export.quantize.fold import MAPS, Folded, fold
from spikeport.export.quantize.lowered import (
    FloatConnection,
    FloatInjection,
    FloatPopulation,
    LoweredNetwork,
)
from spikeport.network import Coding, Input, Readout, ReadoutKind, Shape
from spikeport.text import quoted

Array = NDArray[np.float64]
NodePath = tuple[str, ...]


def lower(network: FloatNetwork) -> LoweredNetwork:
    """Convert a float network to populations and connections, without any rounding.

    Populations are named after the neuron nodes, connections after the maps. A map that ends in an
    Output becomes an integrating population named after the Output and read by its membrane.
    Feedback edges and Delay nodes delay the connections they are part of.

    Raises:
        InputError: lists everything in the graph that the chip cannot express.
    """
    build = _Build(network)
    _check_names(build)
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
        reset=network.reset,
        strict=network.strict,
        notes=tuple(build.notes),
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
            name: neuron_dynamics(name, node, self.network.dt_s, self.complain)
            for name, node in sorted(neurons.items())
        }

    def complain(self, reason: str) -> None:
        if reason not in self.complaints:
            self.complaints.append(reason)

    def note(self, fact: str) -> None:
        if fact not in self.notes:
            self.notes.append(fact)


def _check_names(build: _Build) -> None:
    for name in sorted(build.nodes):
        if not is_name(name):
            build.complain(f"node {quoted(name)}: name must be {NAME_RULE}")


def _add_neurons(build: _Build, name: str) -> None:
    dynamics = build.dynamics[name]
    bias = _connect(build, name, dynamics.gain)
    offset = np.zeros(dynamics.leak.shape) if bias is None else bias
    if dynamics.keep_u > 0 and offset.any():
        build.complain(
            f"node '{name}': a bias of up to {np.abs(offset).max():g} enters through the "
            "synaptic filter tau_syn, but the chip adds a bias after it"
        )
    build.populations.append(
        FloatPopulation(
            name=name,
            shape=dynamics.leak.shape,
            keep_u=dynamics.keep_u,
            keep_v=dynamics.keep_v,
            bias=offset + dynamics.leak,
            threshold=dynamics.threshold,
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
    bias = _connect(build, name, None)
    if bias is None:
        build.complain(f"node '{name}': no neurons or map with a counterpart lead to this Output")
        return
    build.populations.append(FloatPopulation(name, bias.shape, 0.0, 1.0, bias, None))
    build.readouts[name] = Readout(name, ReadoutKind.MEMBRANE)


def _check_membranes(build: _Build) -> None:
    for source, target in sorted(build.network.graph.edges):
        silent = source in build.dynamics and build.dynamics[source].threshold is None
        if silent and not isinstance(build.nodes[target], nir.Output):
            build.complain(
                f"node '{source}': {type(build.nodes[source]).__name__} never spikes, its "
                f"membrane can be read out but not sent on to '{target}'"
            )


def _connect(build: _Build, node: str, gain: Array | None) -> Array | None:
    """Add everything that leads into `node`; return the sum of biases, None if nothing does."""
    biases: dict[NodePath, Array] = {}
    for source, *between in _paths(build, node, ()):
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
        maps = [i for i, name in enumerate(middle) if isinstance(build.nodes[name], MAPS)]
        biased = middle[maps[0] :] if maps else (source, *middle)
        biases[biased] = folded.bias
        if folded.bias.any() and _delay(build, (*biased, node)):
            build.note(
                f"node '{biased[0]}': its bias acts from the first step on, but in the float graph "
                "it is late by the delay after it"
            )
        build.connections.append(
            FloatConnection(
                name=biased[0] if maps else f"{source}_to_{node}",
                source=source,
                target=node,
                weight=folded.weight,
                stride=folded.stride,
                padding=folded.padding,
                dilation=folded.dilation,
                groups=folded.groups,
                pool=folded.pool,
                delay=_delay(build, (source, *middle, node)),
            )
        )
    if len({bias.shape for bias in biases.values()}) > 1:
        build.complain(f"node '{node}': its inputs differ in shape")
        return None
    return np.sum(list(biases.values()), axis=0) if biases else None


def _inject(build: _Build, source: str, node: str, folded: Folded) -> None:
    if not folded.direct or folded.pool is not None:
        build.complain(
            f"input '{source}': coding 'bias' must go one to one into neurons, "
            f"but a map or pool leads from it to '{node}'"
        )
        return
    if any(i.target == node for i in build.injections):
        build.complain(f"node '{node}': more than one input of coding 'bias'")
    gains = np.diag(folded.weight) if folded.weight.ndim == 2 else folded.weight.reshape(-1)
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
    delay = sum(edge in build.feedback for edge in pairwise(steps))
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


def _named_apart(connections: list[FloatConnection]) -> tuple[FloatConnection, ...]:
    """Split a map between several pairs into several connections, each with its own name."""
    count = Counter(c.name for c in connections)
    long = [
        f"{c.name}_{c.source}_to_{c.target}" if count[c.name] > 1 else c.name for c in connections
    ]
    safe = safe_names(long)
    return tuple(replace(c, name=safe[name]) for c, name in zip(connections, long, strict=True))
