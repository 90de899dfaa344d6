"""Convert a trained model to a NIR graph that all frameworks interpret in the same way.

The graph avoids everything that frameworks interpret differently: they ignore `r`, so r = 1; some
lack BatchNorm, AvgPool2d or LI nodes, so the first is folded, the second is a SumPool2d whose
1/area is included in the following weights, and a linear readout is a plain Affine before the
Output, with the mean over time as its score. Folding is done in float64; arrays are float32, which
all frameworks can load.

Rounding must not decide whether a membrane that equals its threshold (a tie) fires. The charge of a
LIF node is v + k (I - v) with k = dt / tau, so the weights before it would have to be multiplied by
1 / k. They are multiplied by the nearest power of two g instead, which is exact, and the threshold
becomes g k v_threshold; dt is rounded to float32 like tau, so that k is exact if the decay is. The
threshold is then moved by `TIE_STEPS` float32 steps: down if ties fire, up if they do not.
Frameworks that compare with `>` and frameworks that compare with `>=` then see the same spikes.

NIR has no field for v before the first step. With reset by subtraction v_reset has no other use, so
it becomes g k v_init, and the rule `start` of the network is "v_reset". It is not moved with the
threshold: for IF g k = 1 and it is the v_init of training exactly, else its rounding to float32 is
covered by the steps that move the threshold, like that of every other charge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import UnsupportedError, ValueRangeError
from spikeport.export.batch_norm import WeightAndBias, fold_batch_norm, weight_and_bias
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.fields import Shape
from spikeport.export.nir.graph import DEFAULT_DT_S, Edge
from spikeport.export.nir.semantics import Semantics, StartValue
from spikeport.export.nir.shapes import output_shape
from spikeport.network import (
    AvgPoolLayer,
    BatchNormLayer,
    ConvLayer,
    ForeignLayer,
    Layer,
    LIFLayer,
    LILayer,
    LinearLayer,
    OffsetLayer,
    Reset,
    TrainedModel,
    normalized_map,
)

fail = UnsupportedError.fail

TIE_STEPS = 2
"""Number of float32 steps (relative 1.2e-7 to 2.4e-7) by which a threshold is moved away from
values that tie with it: more than the rounding error of k I, less than any other difference in
float32."""

Maps = dict[str, WeightAndBias]
Array = NDArray[np.float64]


def export_model(model: TrainedModel, dt_s: float = DEFAULT_DT_S) -> FloatNetwork:
    """Convert a model to a NIR graph that computes the same function.

    v <- decay v + x becomes LIF with tau = dt / (1 - decay) and r = 1, its membrane in units of
    g (1 - decay) (see above); the weights before LI are multiplied by 1 / (1 - decay), so that its
    score does not change; decay 1 becomes IF with r = 1, a gain of 1 per step. The comparison is
    that of training. If a layer has a v_init, v_reset is where v starts.

    Args:
        dt_s: time step in seconds, rounded to float32.

    Raises:
        InputError: the model contains something without an exact counterpart, such as an average
            pool that feeds something other than one linear layer, or a v_init with reset to zero;
            the message names the layer.
    """
    if not dt_s > 0:
        ValueRangeError.fail(f"dt_s is {dt_s}, must be positive seconds")
    dt_s = float(np.float32(dt_s))
    layers = {layer.name: layer for layer in model.layers}
    _check_names(model, layers)
    maps, stands_for = fold_norms(model.layers)
    plan = _Plan(model, layers, maps, stands_for, dt_s)
    nodes, edges = _build(plan)
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    reset = _common(model.layers, "reset", Reset.ZERO)
    strict = _common(model.layers, "strict", True)
    start = _start(model.layers)
    semantics = Semantics(reset=reset, strict=strict, start=start)
    return FloatNetwork(
        graph,
        dt_s,
        model.steps,
        (model.input,),
        semantics,
        provenance=model.provenance,
        rewrites=model.rewrites,
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """The model with batch norms folded; `stands_for` maps a batch norm to the layer before it."""

    model: TrainedModel
    layers: dict[str, Layer]
    maps: Maps
    stands_for: dict[str, str]
    dt_s: float

    def inputs(self, layer: Layer) -> tuple[str, ...]:
        """The layers that a layer receives weighted sums or spikes from."""
        given = (self.stands_for.get(name, name) for name in layer.inputs)
        return tuple(n for n in given if not isinstance(self.layers.get(n), OffsetLayer))

    def offset(self, layer: Layer) -> Array:
        """The constants that neurons receive."""
        found = [self.layers.get(name) for name in layer.inputs]
        return sum((each.bias for each in found if isinstance(each, OffsetLayer)), np.zeros(()))

    def consumers(self, name: str) -> list[Layer]:
        return [
            layer
            for layer in self.layers.values()
            if not isinstance(layer, BatchNormLayer | OffsetLayer) and name in self.inputs(layer)
        ]

    @property
    def output(self) -> str:
        return self.stands_for.get(self.model.output, self.model.output)


def _check_names(model: TrainedModel, layers: dict[str, Layer]) -> None:
    if len(layers) != len(model.layers) or model.input.name in layers:
        fail("model: layer names must be unique and differ from the input's")
    known = {model.input.name}
    for layer in model.layers:
        for name in layer.inputs:
            if name not in known:
                fail(f"layer '{layer.name}': input '{name}' does not come before it")
        if not layer.inputs:
            fail(f"layer '{layer.name}' has no input")
        known.add(layer.name)
    if isinstance(layers.get(model.output), AvgPoolLayer | None):
        fail(f"model: output '{model.output}' must be an LIF layer, an LI layer or a linear map")


def fold_norms(layers: Iterable[Layer | ForeignLayer]) -> tuple[Maps, dict[str, str]]:
    """Weights and biases of linear maps with batch norms folded, and what stands for each norm.

    Raises:
        InputError: a batch norm does not follow exactly one linear map that feeds nothing else.
    """
    maps: Maps = {}
    linear: dict[str, ConvLayer | LinearLayer] = {}
    stands_for: dict[str, str] = {}
    readers = [name for layer in layers for name in layer.inputs]
    for layer in layers:
        if isinstance(layer, ConvLayer | LinearLayer):
            maps[layer.name] = weight_and_bias(layer)
            linear[layer.name] = layer
        elif isinstance(layer, BatchNormLayer):
            source = normalized_map(layer.inputs, maps)
            if source is None or readers.count(source) != 1:
                fail(
                    f"layer '{layer.name}' (batch norm) must follow one conv or linear layer that "
                    f"feeds nothing else, but its inputs are {list(layer.inputs)}"
                )
            maps[source] = fold_batch_norm(linear[source], layer)
            stands_for[layer.name] = source
    return maps, stands_for


def _common(layers: Iterable[Layer], field: str, default: Any) -> Any:
    """The value of `field`, which all LIF layers must share."""
    found = {getattr(layer, field): layer.name for layer in layers if isinstance(layer, LIFLayer)}
    if len(found) > 1:
        names = ", ".join(f"'{name}' {value}" for value, name in found.items())
        fail(f"model: layers differ in {field} ({names}), but a float network has only one")
    return next(iter(found), default)


def _start(layers: Iterable[Layer]) -> StartValue:
    """Where neurons start: at 0, or at the v_reset that a reset by subtraction does not use."""
    started = [layer for layer in layers if isinstance(layer, LIFLayer) and layer.v_init]
    for layer in started:
        if layer.reset is Reset.ZERO:
            fail(
                f"layer '{layer.name}': v_init is {layer.v_init}, must be 0 with reset zero, whose "
                "v_reset is where a spike resets v to and cannot also be where v starts"
            )
    return StartValue.V_RESET if started else StartValue.ZERO


def _build(plan: _Plan) -> tuple[dict[str, Any], list[Edge]]:
    model = plan.model
    nodes: dict[str, Any] = {model.input.name: nir.Input({"input": np.array(model.input.shape)})}
    shapes: dict[str, Shape] = {model.input.name: model.input.shape}
    edges: list[Edge] = []

    def add(name: str, node: Any, sources: Iterable[str]) -> None:
        given = {shapes[source] for source in sources}
        if len(given) > 1:
            fail(f"layer '{name}': its inputs differ in shape: {sorted(given)}")
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        shapes[name] = output_shape(name, node, next(iter(given)))

    for layer in model.layers:
        sources = plan.inputs(layer)
        match layer:
            case ConvLayer():
                add(layer.name, conv_node(layer, *_arrays(plan, layer.name)), sources)
            case LinearLayer():
                if any(len(shapes[source]) > 1 for source in sources):
                    flat = unused(f"{layer.name}_flatten", plan.layers, nodes)
                    add(flat, nir.Flatten({"input": None}, 0, -1), sources)
                    sources = (flat,)
                add(layer.name, nir.Affine(*_arrays(plan, layer.name)), sources)
            case AvgPoolLayer():
                add(layer.name, _sum_pool(plan, layer), sources)
            case LIFLayer() | LILayer():
                for source in sources:
                    if source not in plan.maps:
                        kind = type(layer).__name__.removesuffix("Layer")
                        fail(
                            f"layer '{layer.name}' ({kind}): receives '{source}'; only conv and "
                            "linear layers can carry its gain"
                        )
                add(layer.name, _neuron(plan, layer, shapes[sources[0]]), sources)
    output = unused("output", plan.layers, nodes)
    add(output, nir.Output({"output": np.array(shapes[plan.output])}), (plan.output,))
    return nodes, edges


def unused(name: str, *taken: Iterable[str]) -> str:
    """The name, with `_` added until it is in none of `taken`."""
    while any(name in group for group in taken):
        name += "_"
    return name


def _tau(layer: LIFLayer | LILayer, dt_s: float) -> np.float32:
    if not 0 <= layer.decay <= 1:
        fail(f"layer '{layer.name}': decay is {layer.decay}, must lie in 0..1")
    return np.float32(np.inf if layer.decay == 1 else dt_s / (1 - layer.decay))


def _charge(layer: LIFLayer | LILayer, dt_s: float) -> float:
    """k, the gain from input to v per step: dt / tau with tau as written, or 1 for IF."""
    return 1.0 if layer.decay == 1 else dt_s / float(_tau(layer, dt_s))


def _gain(layer: Layer, dt_s: float) -> float:
    """The factor for the weights before a layer: 1 / k for LI, a power of two for LIF."""
    match layer:
        case LILayer():
            return 1 / _charge(layer, dt_s)
        case LIFLayer():
            return float(2.0 ** np.rint(-np.log2(_charge(layer, dt_s))))
    return 1.0


def _threshold(layer: LIFLayer, dt_s: float) -> np.float32:
    """The threshold in units of the node's membrane, moved away from values that tie with it."""
    scaled = np.float32(layer.v_threshold * _gain(layer, dt_s) * _charge(layer, dt_s))
    for _ in range(TIE_STEPS):
        scaled = np.nextafter(scaled, np.float32(np.inf if layer.strict else 0))
    return scaled


def _arrays(plan: _Plan, name: str) -> tuple[Any, Any]:
    """Weight and bias, including the gain of following neurons and 1/area of preceding pools."""
    gains = {_gain(reader, plan.dt_s) for reader in plan.consumers(name)}
    if plan.output == name:
        gains.add(1.0)
    if len(gains) > 1:
        fail(f"layer '{name}' feeds layers of different gain {sorted(gains)}, use a copy for each")
    sources = [plan.layers.get(source) for source in plan.inputs(plan.layers[name])]
    areas = {
        int(np.prod(source.kernel_size)) if isinstance(source, AvgPoolLayer) else 1
        for source in sources
    }
    if len(areas) > 1:
        fail(f"layer '{name}': its inputs are averaged over different areas {sorted(areas)}")
    gain, area = next(iter(gains), 1.0), next(iter(areas))
    weight, bias = plan.maps[name]
    return (weight * (gain / area)).astype(np.float32), (bias * gain).astype(np.float32)


def conv_node(layer: ConvLayer, weight: Any, bias: Any) -> nir.Conv1d | nir.Conv2d:
    """The node of a convolution along one or two axes."""
    if weight.ndim == 3:
        return nir.Conv1d(
            input_shape=None,
            weight=weight,
            stride=layer.stride[1],
            padding=layer.padding[1],
            dilation=layer.dilation[1],
            groups=layer.groups,
            bias=bias,
        )
    return nir.Conv2d(
        input_shape=None,
        weight=weight,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=bias,
    )


def _sum_pool(plan: _Plan, layer: AvgPoolLayer) -> nir.SumPool2d:
    readers = plan.consumers(layer.name)
    if not readers or not all(isinstance(reader, ConvLayer | LinearLayer) for reader in readers):
        names = [reader.name for reader in readers]
        fail(
            f"layer '{layer.name}' (average pool) must feed conv or linear layers, whose weights "
            f"include its 1/area, but feeds {names}"
        )
    return nir.SumPool2d(
        *(np.array(getattr(layer, f)) for f in ("kernel_size", "stride", "padding"))
    )


def _neuron(plan: _Plan, layer: LIFLayer | LILayer, shape: Shape) -> Any:
    tau = _tau(layer, plan.dt_s)
    ones = np.ones(shape, np.float32)
    # A constant input acts as a leak potential does.
    leak = (ones * plan.offset(layer) * _gain(layer, plan.dt_s)).astype(np.float32)
    if layer.decay == 1 and leak.any():
        fail(f"layer '{layer.name}': receives a constant, but with decay 1 it has no leak for it")
    if isinstance(layer, LILayer):
        if layer.decay == 1:
            return nir.I(r=ones)
        return nir.LI(tau=tau * ones, r=ones.copy(), v_leak=leak)
    threshold = np.full(shape, _threshold(layer, plan.dt_s), np.float32)
    unit = _gain(layer, plan.dt_s) * _charge(layer, plan.dt_s)
    start = np.full(shape, unit * layer.v_init, np.float32)
    if layer.decay == 1:
        return nir.IF(r=ones, v_threshold=threshold, v_reset=start)
    return nir.LIF(tau=tau * ones, r=ones.copy(), v_leak=leak, v_threshold=threshold, v_reset=start)
