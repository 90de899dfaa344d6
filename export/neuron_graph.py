"""Convert a network of another framework to a NIR graph, each neuron with its own parameters.

NIR's LIF is v <- v + k (r x + v_leak - v) with k = dt / tau. Neurons that spike have r = 1, which
every framework reads in the same way, and their membrane in units of k / gain; those with a
filtered input have w_in = tau_syn / dt and r = tau_mem / dt, without which snnTorch and
SpikingJelly refuse them, and their membrane in units of 1 / gain. A readout has r = gain / k, so
that its v is unscaled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import nir
import numpy as np

from spikeport.errors import ModuleReadingError
from spikeport.export.batch_norm import fold_batch_norm
from spikeport.export.float_graph import conv_node, fold_norms, unused
from spikeport.export.nir import FloatNetwork, Semantics
from spikeport.export.nir.fields import Shape
from spikeport.export.nir.graph import DEFAULT_DT_S, Edge
from spikeport.export.nir.shapes import output_shape
from spikeport.network import (
    AvgPoolLayer,
    BatchNormLayer,
    ConvLayer,
    FlattenLayer,
    ForeignLayer,
    ForeignModel,
    LinearLayer,
    NeuronLayer,
    ScaleLayer,
    SumPoolLayer,
    normalized_map,
)

fail = ModuleReadingError.fail


def export_foreign(model: ForeignModel) -> FloatNetwork:
    """The float network that computes the same as the model, step by step.

    Raises:
        InputError: a layer has no counterpart in NIR; the message names it.
    """
    nodes, edges = _Graph(model).build()
    return FloatNetwork(
        nir.NIRGraph(nodes, edges, type_check=False),
        DEFAULT_DT_S,
        model.steps,
        (model.input,),
        Semantics(**model.rules),  # type: ignore[arg-type]
        provenance=model.origin,
    )


class _Graph:
    def __init__(self, model: ForeignModel) -> None:
        self.model = model
        self.taken = {model.input.name, *(layer.name for layer in model.layers)}
        readers = Counter(name for layer in model.layers for name in layer.inputs)
        maps = {one.name for one in model.layers if isinstance(one, ConvLayer | LinearLayer)}
        apart = {
            one.name
            for one in model.layers
            if isinstance(one, BatchNormLayer)
            and (normalized_map(one.inputs, maps) is None or readers[one.inputs[0]] != 1)
        }
        self.maps, self.stands_for = fold_norms(
            [layer for layer in model.layers if layer.name not in apart]
        )
        shape = np.array(model.input.shape)
        self.nodes: dict[str, Any] = {model.input.name: nir.Input({"input": shape})}
        self.shapes: dict[str, Shape] = {model.input.name: model.input.shape}
        self.edges: list[Edge] = []

    def build(self) -> tuple[dict[str, Any], list[Edge]]:
        for layer in self.model.layers:
            if layer.name not in self.stands_for:
                sources = tuple(self.stands_for.get(name, name) for name in layer.inputs)
                self._add_layer(layer, sources)
        last = self.stands_for.get(self.model.output, self.model.output)
        output = unused("output", self.taken)
        self._add(output, nir.Output({"output": np.array(self.shapes[last])}), (last,))
        return self.nodes, self.edges

    def _add_layer(self, layer: ForeignLayer, sources: tuple[str, ...]) -> None:
        match layer:
            case ConvLayer():
                node = conv_node(layer, *self.maps[layer.name])
            case LinearLayer():
                if any(len(self.shapes.get(name, ())) > 1 for name in sources):
                    fail(f"layer '{layer.name}': receives {self.shapes[sources[0]]}, must be flat")
                node = nir.Affine(*self.maps[layer.name])
            case BatchNormLayer():
                node = _norm_node(layer, self.shapes[sources[0]])
            case FlattenLayer():
                node = nir.Flatten({"input": None}, 0, -1)
            case AvgPoolLayer():
                sizes = layer.kernel_size, layer.stride, layer.padding
                node = nir.AvgPool2d(*(np.array(size) for size in sizes))
            case SumPoolLayer():
                sizes = layer.kernel_size, layer.stride, (0, 0)
                node = nir.SumPool2d(*(np.array(size) for size in sizes))
            case ScaleLayer():
                node = nir.Scale(np.broadcast_to(layer.scale, self.shapes[sources[0]]).copy())
            case NeuronLayer():
                earlier = next(name for name in sources if name in self.shapes)
                node = neuron_node(layer, self.shapes[earlier])
            case _:
                raise AssertionError(f"layer '{layer.name}' has no node")
        self._add(layer.name, node, sources)

    def _add(self, name: str, node: Any, sources: Iterable[str]) -> None:
        known = {self.shapes[source] for source in sources if source in self.shapes}
        if len(known) > 1:
            fail(f"layer '{name}': its inputs differ in shape: {sorted(known)}")
        self.taken.add(name)
        self.nodes[name] = node
        self.edges.extend((source, name) for source in sources)
        self.shapes[name] = output_shape(name, node, next(iter(known)))


def _norm_node(layer: BatchNormLayer, shape: Shape) -> Any:
    """A batch norm that follows no map of its own, as a map of each channel."""
    if len(shape) == 1:
        return nir.Affine(
            *fold_batch_norm(LinearLayer(layer.name, layer.inputs, np.eye(shape[0]), None), layer)
        )
    ones = np.ones((shape[0], 1, *(1,) * (len(shape) - 1)))
    each = ConvLayer(layer.name, layer.inputs, ones, None, groups=shape[0])
    return conv_node(each, *fold_batch_norm(each, layer))


def neuron_node(layer: NeuronLayer, shape: Shape) -> Any:
    """The NIR node of neurons; see the module's docstring for its units."""
    dt = DEFAULT_DT_S

    def full(value: Any) -> Any:
        return np.broadcast_to(np.asarray(value, np.float64), shape).copy()

    def tau(lost: Any) -> Any:
        return full(dt / lost)

    spikes = layer.v_threshold is not None
    lost = 1 - layer.keep
    if not np.all(lost > 0):
        return _integrator(layer, full)
    if layer.keep_syn is not None:
        lost_syn = 1 - layer.keep_syn
        if not np.all(lost_syn > 0):
            fail(f"layer '{layer.name}': keeps all of its synaptic current, must lose some")
        taus = {"tau_syn": tau(lost_syn), "tau_mem": tau(lost), "w_in": full(1 / lost_syn)}
        if not spikes:
            return nir.CubaLI(r=full(layer.gain / lost), v_leak=full(layer.v_leak), **taus)
        levels = ("v_leak", "v_threshold", "v_reset")
        scaled = {name: full(getattr(layer, name) / layer.gain) for name in levels}
        return nir.CubaLIF(r=full(1 / lost), **scaled, **taus)
    if not spikes:
        return nir.LI(tau=tau(lost), r=full(layer.gain / lost), v_leak=full(layer.v_leak))
    assert layer.v_threshold is not None  # it spikes
    unit = lost / layer.gain
    return nir.LIF(
        tau=tau(lost),
        r=full(1),
        v_leak=full(unit * layer.v_leak),
        v_threshold=full(unit * layer.v_threshold),
        v_reset=full(unit * layer.v_reset),
    )


def _integrator(layer: NeuronLayer, full: Any) -> Any:
    if not np.all(layer.keep == 1):
        fail(f"layer '{layer.name}': some neurons leak and others do not; NIR has a node for each")
    if layer.keep_syn is not None:
        fail(f"layer '{layer.name}': filters its input but does not leak, which no NIR neuron does")
    if layer.v_threshold is None:
        if np.any(layer.gain != 1):
            fail(f"layer '{layer.name}': is an integrator with a gain, which must be 1")
        return nir.I(r=full(1))
    return nir.IF(
        r=full(1),
        v_threshold=full(layer.v_threshold / layer.gain),
        v_reset=full(layer.v_reset / layer.gain),
    )
