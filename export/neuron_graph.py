"""Convert a network of another framework to a NIR graph, each neuron with its own parameters.

NIR's LIF is v <- v + k (r x + v_leak - v) with k = dt / tau. Neurons that spike have r = 1, which
every framework reads in the same way, and their membrane in units of k / gain; a filtered input has
w_in = tau_syn / dt and r = gain tau_mem / dt, and a readout r = gain / k, so that v is unscaled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nir
import numpy as np

from spikeport.checks import fail
from spikeport.export.float_graph import conv_node, fold_norms, unused
from spikeport.export.nir import FloatNetwork, Semantics
from spikeport.export.nir.fields import Shape
from spikeport.export.nir.graph import DEFAULT_DT_S, Edge
from spikeport.export.nir.shapes import output_shape
from spikeport.network import (
    AvgPoolLayer,
    BatchNormLayer,
    ConvLayer,
    ForeignLayer,
    ForeignModel,
    LinearLayer,
    NeuronLayer,
    ScaleLayer,
    SumPoolLayer,
)


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
        self.maps, self.stands_for = fold_norms(model.layers)
        shape = np.array(model.input.shape)
        self.nodes: dict[str, Any] = {model.input.name: nir.Input({"input": shape})}
        self.shapes: dict[str, Shape] = {model.input.name: model.input.shape}
        self.edges: list[Edge] = []

    def build(self) -> tuple[dict[str, Any], list[Edge]]:
        for layer in self.model.layers:
            if not isinstance(layer, BatchNormLayer):
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
                if any(len(self.shapes[name]) > 1 for name in sources):
                    flat = unused(f"{layer.name}_flatten", self.taken)
                    self._add(flat, nir.Flatten({"input": None}, 0, -1), sources)
                    sources = (flat,)
                node = nir.Affine(*self.maps[layer.name])
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
        fields = {
            "tau_syn": tau(lost_syn),
            "tau_mem": tau(lost),
            "r": full(layer.gain / lost),
            "v_leak": full(layer.v_leak),
            "w_in": full(1 / lost_syn),
        }
        if not spikes:
            return nir.CubaLI(**fields)
        limits = {"v_threshold": full(layer.v_threshold), "v_reset": full(layer.v_reset)}
        return nir.CubaLIF(**fields, **limits)
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
