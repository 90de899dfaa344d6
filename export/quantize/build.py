"""A lowered network under construction, and what leads into its populations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.float_graph import unused
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.neuron_dynamics import Dynamics, neuron_dynamics, neuron_shape
from spikeport.export.quantize.fold import MAPS, Folded, fold, weights
from spikeport.export.quantize.lowered import (
    FORGETS,
    FloatConnection,
    FloatInjection,
    FloatPopulation,
    Role,
)
from spikeport.export.quantize.paths import POPULATIONS, Path, paths_into
from spikeport.export.quantize.split import Parts
from spikeport.network import Coding, Input, Readout, Shape
from spikeport.network.linear_maps import Elementwise, Kernel, features

Array = NDArray[np.float64]


@dataclass(slots=True)
class Build:
    """A network under construction; collects all complaints before giving up."""

    network: FloatNetwork
    pools: bool
    nodes: dict[str, Any] = field(init=False)
    order: tuple[str, ...] = field(init=False)
    feeds: Mapping[str, tuple[str, ...]] = field(init=False)
    inputs: dict[str, Input] = field(init=False)
    shapes: dict[str, Shape] = field(init=False)
    dynamics: dict[str, Dynamics] = field(init=False)
    parts: dict[str, Parts] = field(init=False)
    taken: set[str] = field(init=False)
    constant: str = ""
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
        self.nodes, self.order = graph.nodes, plan.order
        self.feeds = checked.sources
        self.inputs = {part.name: part for part in self.network.inputs}
        neurons = {n: node for n, node in graph.nodes.items() if isinstance(node, POPULATIONS)}
        self.shapes = {name: part.shape for name, part in self.inputs.items()}
        self.shapes |= {name: neuron_shape(node) for name, node in neurons.items()}
        self.dynamics = {
            name: neuron_dynamics(
                name, node, self.network.dt_s, self.network.semantics, self.complain
            )
            for name, node in sorted(neurons.items())
        }
        self.parts = {part.name: Parts(part.shape, (part.name,)) for part in self.network.inputs}
        self.taken = set(graph.nodes)

    def complain(self, reason: str) -> None:
        """Add a reason why the graph cannot be deployed, once."""
        if reason not in self.complaints:
            self.complaints.append(reason)

    def note(self, fact: str) -> None:
        """Add a difference between the chip and the graph, once."""
        if fact not in self.notes:
            self.notes.append(fact)

    def rewrite(self, sentence: str) -> None:
        """Add what was replaced by an exact equivalent, once."""
        if sentence not in self.rewrites:
            self.rewrites.append(sentence)


@dataclass(frozen=True, slots=True, eq=False)
class Bias:
    """The bias of a map as it arrives at neurons, from step `delay` on."""

    node: str
    values: Array
    delay: int


def connect(build: Build, node: str, gain: Array | None, shape: Shape) -> tuple[list[Bias], Shape]:
    """Add everything that leads into `node`, of the given shape in the graph.

    Returns:
        The biases, and the shape of the population: flattening between a convolution and its
        neurons is moved behind them.
    """
    biases: dict[tuple[tuple[str, int], ...], Bias] = {}
    found: list[tuple[Path, Folded]] = []
    for path in paths_into(build.network, node, build.complain):
        if path.source not in build.shapes:
            continue
        before = build.shapes[path.source]
        folded = fold(path.nodes, before, gain, build.complain, pools=build.pools)
        if folded is None:
            continue
        if path.source in build.inputs and build.inputs[path.source].coding is Coding.BIAS:
            _inject(build, path, node, folded)
        else:
            found.append((path, folded))
        for place, values in folded.biases.items():
            name, _ = path.nodes[place]
            biases[path.onwards(place)] = Bias(name, values, path.bias_delay(place))
    flat = [features(folded.map) for _, folded in found]
    made = next((maps for maps in flat if maps is not None), shape)
    for path, folded in found:
        _add_connection(build, path, node, folded, made)
    return list(biases.values()), made


def add_biases(build: Build, name: str, values: Array, delay: int) -> None:
    """Send biases through the synaptic filter of `name`, by a neuron that fires at every step."""
    if not build.constant:
        build.constant = unused("constant", build.taken)
        build.taken.add(build.constant)
        build.parts[build.constant] = Parts((1,), (build.constant,))
        always = np.full(1, 2.0)
        build.populations.insert(
            0, FloatPopulation(build.constant, (1,), 0.0, FORGETS, always, 1.0, role=Role.CONSTANT)
        )
    weight, source = values.reshape(-1, 1), build.constant
    called = f"{source}_to_{name}" + (f"_delay_{delay}" if delay else "")
    build.connections.append(
        FloatConnection(called, source, name, weight, delay=delay, biases=True)
    )
    build.rewrite(
        f"the bias of '{name}' enters through its synaptic filter, from '{source}', a neuron that "
        "fires at every step"
    )


def _add_connection(build: Build, path: Path, node: str, folded: Folded, shape: Shape) -> None:
    """Add the connection of one path into a population of `shape`."""
    try:
        parts = weights(folded.map, shape)
    except InputError as reason:
        build.complain(f"node '{node}': {reason}")
        return
    for sentence in folded.rewrites:
        build.rewrite(sentence)
    maps = (name for name, _ in path.nodes if isinstance(build.nodes[name], MAPS))
    name = next(maps, f"{path.source}_to_{node}")
    if isinstance(folded.map, Kernel) and parts.weight.ndim == 2:
        build.rewrite(
            f"'{name}' became a matrix, because '{node}' receives features of several shapes"
        )
    if path.split:
        if not parts.weight.any():
            return
        build.rewrite(f"'{name}' became a connection for each delay of its neurons")
    build.connections.append(
        FloatConnection(
            name=f"{name}_delay_{path.delay}" if path.split else name,
            source=path.source,
            target=node,
            weight=parts.weight,
            stride=parts.stride,
            padding=parts.padding,
            dilation=parts.dilation,
            groups=parts.groups,
            pool=folded.pool,
            delay=path.delay,
        )
    )


def _inject(build: Build, path: Path, node: str, folded: Folded) -> None:
    source = path.source
    if path.delay:
        build.complain(
            f"input '{source}': coding 'bias' acts at once, but a Delay node leads to '{node}'; "
            "declare it with coding 'graded'"
        )
    if build.dynamics[node].keep_u.any():
        build.complain(
            f"input '{source}': coding 'bias' is added to v, but in '{node}' it enters through the "
            "synaptic filter tau_syn; declare it with coding 'graded'"
        )
    if not isinstance(folded.map, Elementwise) or folded.pool is not None:
        build.complain(
            f"input '{source}': coding 'bias' must go one to one into neurons, "
            f"but a map or pool leads from it to '{node}'; declare it with coding 'graded'"
        )
        return
    if any(i.target == node for i in build.injections):
        build.complain(f"node '{node}': more than one input of coding 'bias'; add them up")
    gains = folded.map.factor.reshape(-1)
    if np.ptp(gains) > 1e-9 * np.abs(gains).max() or gains[0] <= 0:
        build.complain(
            f"input '{source}': coding 'bias' reaches '{node}' with factors "
            f"{gains.min():g}..{gains.max():g}, must be one positive factor; declare it with "
            "coding 'graded'"
        )
    name = f"{source}_to_{node}"
    build.injections.append(FloatInjection(name, source, node, float(gains[0])))
