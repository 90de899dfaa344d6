"""The parts of a deployed network for each layer of a netx file.

netx runs a file as Lava processes: u and v are those of Lava's LIF with du = iDecay - 1 and
dv = vDecay, a bias enters as bias << 6 in every step, and weights are exact.

Source: lava-nc/lava-dl, `netx/hdf5.py`, `netx/blocks/process.py`, `netx/utils.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.checks import integers, pair, shape, whole
from spikeport.errors import GraphError, UnstatedError
from spikeport.export.netx.hdf5 import RawLayer
from spikeport.network import (
    LOIHI,
    BiasInjection,
    Coding,
    Connection,
    Conv2d,
    Dense,
    Input,
    Population,
    Shape,
    Sparse,
)
from spikeport.storage import check_elements
from spikeport.text import quoted

fail = GraphError.fail

BIAS_EXPONENT = 6
"""netx adds bias << 6, whatever a file says."""
DEFAULT_INPUT_WEIGHT = 64
"""Of an input layer without `weight`."""
NEURONS = ("CUBA", "LOIHI")
_UNREAD = ("scaleRho", "tauRho")
"""Shapes the gradients of training only."""
_NEURON_FIELDS = (
    *("type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike", "wgtExp", "theta"),
    *("messageBits", "weight_exp"),
    *_UNREAD,
)
_SIDES = ("kernelSize", "stride", "padding", "dilation")
_FIELDS = {
    "input": ("shape", "weight", "bias"),
    "dense": ("shape", "weight", "bias", "delay", "inFeatures", "outFeatures"),
    "dense_rec": (
        *("shape", "weight", "weight_rec", "bias", "delay", "delay_rec"),
        *("inFeatures", "outFeatures"),
    ),
    "conv": (
        *("shape", "weight", "bias", "delay", "inChannels", "outChannels", "groups"),
        *_SIDES,
    ),
    "pool": ("shape", "weight", "delay", *_SIDES),
    "flatten": ("shape",),
    "average": ("shape",),
}
"""The fields of each type of layer that can be read."""
Array = NDArray[np.int64]


@dataclass(slots=True)
class Parts:
    """A network in the making, one layer after the other.

    Attributes:
        file_bytes: size of the file.
        assumed: what the file does not state, one sentence each.
        source: name of the input or population that the next layer receives from.
        shape: its shape.
        flat: whether a flatten layer has made a vector of it.
        silent: whether the neurons of the last layer are said to never spike, as it has none.
    """

    file_bytes: int
    inputs: list[Input] = field(default_factory=list)
    populations: list[Population] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    source: str = ""
    shape: Shape = ()
    flat: bool = False
    silent: bool = False

    def add_input(self, sizes: Shape) -> None:
        """An input of spikes, before the first layer."""
        self.inputs.append(Input("input", sizes))
        self.source, self.shape = "input", sizes


def add_layer(parts: Parts, number: int, layer: RawLayer) -> None:
    """Add what a layer stands for.

    Raises:
        InputError: it has no counterpart, or breaks a rule; the message names the layer.
    """
    where = f"layer/{number} ({layer.type[:40]})"
    if layer.type not in _FIELDS:
        fail(f"{where}: this type of layer is not supported, must be one of {', '.join(_FIELDS)}")
    _known(where, layer.fields, _FIELDS[layer.type])
    if layer.neuron:
        _known(f"{where}: neuron", layer.neuron, _NEURON_FIELDS)
    match layer.type:
        case "input":
            _input(parts, number, where, layer)
        case "flatten":
            _flatten(parts, where, layer)
        case "dense" | "dense_rec":
            _dense(parts, number, where, layer)
        case "conv" | "pool":
            _convolution(parts, number, where, layer)


def _known(where: str, fields: Collection[str], known: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            fail(f"{where}: field {quoted(name)} is not supported, must be one of {known}")


def _input(parts: Parts, number: int, where: str, layer: RawLayer) -> None:
    if number:
        fail(f"{where}: only the first layer may be an input")
    sizes = _shape(parts, where, layer)
    if not layer.neuron:
        for name in ("weight", "bias"):
            if name in layer.fields:
                fail(f"{where}: has a {name}, but no neuron that could receive it")
        parts.add_input(sizes)
        return
    weight = layer.fields.get("weight", DEFAULT_INPUT_WEIGHT)
    weight = _scalar(f"{where}: weight", weight, 1, LOIHI.bias_mantissa_max)
    low, high = LOIHI.bias_mantissa_min, LOIHI.bias_mantissa_max
    bias = _scalar(f"{where}: bias", layer.fields.get("bias", 0), low, high)
    name = f"layer{number}"
    bounds = max(low, low - bias), min(high, high - bias)
    parts.inputs.append(Input("input", sizes, Coding.BIAS, *bounds, float(weight)))
    parts.connections.append(BiasInjection("input", name))
    parts.assumed.append(
        f"{where}: a sample x enters as the bias mantissas round({weight} x) + {bias} in every step"
    )
    _population(parts, name, where, layer, sizes, np.int64(bias))


def _flatten(parts: Parts, where: str, layer: RawLayer) -> None:
    if not parts.source:
        fail(f"{where}: is the first layer, needs one before it")
    sizes = layer.fields.get("shape")
    if sizes is not None and math.prod(np.ravel(sizes).tolist()) != math.prod(parts.shape):
        fail(f"{where}: shape is {np.ravel(sizes).tolist()}, but its source has {parts.shape}")
    parts.flat = True


def _dense(parts: Parts, number: int, where: str, layer: RawLayer) -> None:
    size = math.prod(_shape(parts, where, layer))
    weight = _weight(where, layer, "weight")
    if weight.size % size:
        fail(f"{where}: weight has shape {weight.shape}, must have {size} rows (shape)")
    weight = weight.reshape(size, -1)
    _agrees(where, layer, "inFeatures", weight.shape[1])
    _agrees(where, layer, "outFeatures", size)
    if not parts.source:
        parts.add_input((weight.shape[1],))
    if not parts.flat and sum(side > 1 for side in parts.shape) > 1:
        fail(f"{where}: its source has shape {parts.shape}; a flatten layer must come before it")
    name = f"layer{number}"
    source, columns = parts.source, math.prod(parts.shape)
    if columns != weight.shape[1]:
        fail(f"{where}: weight has shape {weight.shape}, but its source has {columns} neurons")
    rules = [("", source, weight, _delays(where, layer, "delay", weight.shape), 0)]
    if layer.type == "dense_rec":
        recurrent = _weight(where, layer, "weight_rec")
        if recurrent.size != size * size:
            fail(f"{where}: weight_rec has shape {recurrent.shape}, must be {(size, size)}")
        recurrent = recurrent.reshape(size, size)
        if rules[0][3].any() and "delay_rec" not in layer.fields:
            fail(f"{where}: has delays, but no delay_rec for its recurrent weights")
        back = _delays(where, layer, "delay_rec", recurrent.shape)
        rules.append(("again", name, recurrent, back, 1))
    for suffix, start, matrix, delays, least in rules:
        _delayed(parts, start, name, matrix, delays, least, suffix)
    _population(parts, name, where, layer, (size,), _bias(where, layer, (size,)))


def _delayed(
    parts: Parts,
    source: str,
    target: str,
    weight: Array,
    delays: Array,
    least: int,
    suffix: str,
) -> None:
    """One dense connection, or for different delays one sparse connection for each."""
    base = f"{source}_to_{target}" if not suffix else f"{target}_{suffix}"
    found = np.unique(delays)
    if len(found) == 1:
        mantissas, exponent = on_grid(weight)
        delay = int(found[0]) + least
        parts.connections.append(Dense(source, target, mantissas, exponent, delay=delay, name=base))
        return
    for delay in found.tolist():
        part = np.where(delays == delay, weight, 0)
        if not part.any():
            continue
        mantissas, exponent = on_grid(part)
        name = f"{base}_delay{delay}"
        options = {"exponent": exponent, "delay": delay + least, "name": name}
        parts.connections.append(Sparse.from_matrix(source, target, mantissas, **options))


def _convolution(parts: Parts, number: int, where: str, layer: RawLayer) -> None:
    made = _shape(parts, where, layer)
    if not parts.source:
        UnstatedError.fail(
            f"{where}: the file does not state the shape of its input: give input_shape"
        )
    if parts.flat or len(parts.shape) != 3:
        fail(f"{where}: its source has shape {parts.shape}, must be (C, H, W)")
    if np.any(layer.fields.get("delay", 0)):
        fail(f"{where}: has delays, which netx does not read from a {layer.type} layer")
    weight = _weight(where, layer, "weight")
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        fail(f"{where}: weight has shape {weight.shape}, must be (out, in, height, width)")
    groups = 1
    if layer.type == "pool":
        if weight.shape[:2] != (1, 1):
            fail(f"{where}: weight has shape {weight.shape}, must be (1, 1, height, width)")
        groups = parts.shape[0]
        weight = np.repeat(weight, groups, axis=0)
    else:
        if "groups" in layer.fields:
            groups = _scalar(f"{where}: groups", layer.fields["groups"], 1, len(weight))
        _agrees(where, layer, "inChannels", weight.shape[1] * groups)
        _agrees(where, layer, "outChannels", weight.shape[0])
    sides: dict[str, Any] = {
        side: _pair(f"{where}: {side}", layer.fields[side])
        for side in _SIDES
        if side in layer.fields
    }
    kernel = sides.pop("kernelSize", weight.shape[2:])
    if kernel != weight.shape[2:]:
        fail(f"{where}: kernelSize is {kernel}, but the weight has shape {weight.shape}")
    name = f"layer{number}"
    mantissas, exponent = on_grid(weight)
    parts.connections.append(
        Conv2d(parts.source, name, mantissas, groups=groups, exponent=exponent, **sides)
    )
    _population(parts, name, where, layer, made, _bias(where, layer, made))


def _population(
    parts: Parts, name: str, where: str, layer: RawLayer, sizes: Shape, bias: Array | np.int64
) -> None:
    neuron = layer.neuron
    parts.silent = not neuron
    if parts.silent:
        if layer.type not in ("dense", "dense_rec"):
            fail(f"{where}: group 'neuron' is missing")
        neuron = {
            "type": "CUBA",
            "iDecay": 0,
            "vDecay": LOIHI.decay_unity,
            "vThMant": LOIHI.vth_max,
        }
        parts.assumed.append(
            f"{where}: has no neuron; as in netx, its neurons sum up their input without a leak "
            f"and never spike (netx's threshold 131072 has 18 bits, here {LOIHI.vth_max})"
        )
    subject = f"{where}: neuron"
    if (kind := neuron.get("type")) not in NEURONS:
        fail(f"{subject}: type is {quoted(str(kind))}, must be one of {', '.join(NEURONS)}")
    unity = LOIHI.decay_unity
    values = {}
    for key, high in (("iDecay", unity), ("vDecay", unity), ("vThMant", LOIHI.vth_max)):
        if key not in neuron:
            fail(f"{subject}: {key} is missing")
        values[key] = _scalar(f"{subject}: {key}", neuron[key], 0, high)
    for key, value in (
        ("refDelay", 1),
        ("gradedSpike", 0),
        ("wgtExp", 0),
        ("weight_exp", 0),
    ):
        if key in neuron and np.any(np.asarray(neuron[key]) != value):
            fail(f"{subject}: {key} is {_shown(neuron[key])}, must be {value}: {_REASONS[key]}")
    vth = values["vThMant"]
    if "theta" in neuron and np.any(np.asarray(neuron["theta"]) != vth << LOIHI.activation_shift):
        parts.assumed.append(
            f"{subject}: the threshold is vThMant {vth}, as in netx, not theta "
            f"{_shown(neuron['theta'])}, which is in units of 1/64"
        )
    parts.populations.append(
        Population(
            name,
            sizes,
            vth=vth,
            decay_u=values["iDecay"],
            decay_v=values["vDecay"],
            bias=np.asarray(bias),
            bias_exponent=BIAS_EXPONENT,
        )
    )
    parts.source, parts.shape, parts.flat = name, sizes, False


_REASONS = {
    "refDelay": "netx ignores any other",
    "gradedSpike": "spikes of these neurons carry no value",
    "wgtExp": "netx ignores any other",
    "weight_exp": "netx ignores any other",
}


def on_grid(weight: Array) -> tuple[NDArray[np.int16], int]:
    """Mantissas on the chip's grid and an exponent, together exactly these weights.

    Weights that no exponent brings onto the grid are returned as they are, for the connection to
    refuse.
    """
    bits = LOIHI.weight_bits
    for shift in range(1 - LOIHI.weight_exponent_min):
        shifted = weight << shift
        if not LOIHI.off_grid(shifted, bits).any():
            return shifted.astype(np.int16), -shift
    for shift in range(1, 1 + LOIHI.weight_exponent_max):
        shifted = weight >> shift
        if (shifted << shift == weight).all() and not LOIHI.off_grid(shifted, bits).any():
            return shifted.astype(np.int16), shift
    return weight.astype(np.int16), 0


def _shape(parts: Parts, where: str, layer: RawLayer) -> Shape:
    """The shape that a layer declares, checked before anything of this size is made."""
    if "shape" not in layer.fields:
        fail(f"{where}: shape is missing")
    sizes = shape(where, np.ravel(integers(f"{where}: shape", layer.fields["shape"], np.int64)))
    check_elements(f"{where}: shape", math.prod(sizes), parts.file_bytes)
    return sizes


def _weight(where: str, layer: RawLayer, name: str) -> Array:
    if name not in layer.fields:
        fail(f"{where}: {name} is missing")
    # A first check of the range, so that shifts cannot overflow.
    return integers(f"{where}: {name}", layer.fields[name], np.int16).astype(np.int64)


def _bias(where: str, layer: RawLayer, sizes: Shape) -> Array:
    """Mantissas for each neuron: from one for all, one for each, or one for each channel."""
    given = layer.fields.get("bias", 0)
    bias = integers(f"{where}: bias", given, np.int32).astype(np.int64)
    if bias.size == 1:
        return np.full(sizes, bias.reshape(-1)[0])
    if bias.ndim == 3 and bias.shape == sizes[::-1]:
        return bias.transpose(2, 1, 0)  # (W, H, C), as netx expects it
    if bias.size != sizes[0]:
        fail(f"{where}: bias has shape {bias.shape}, must have {sizes[0]} values")
    return np.broadcast_to(bias.reshape(-1, *(1 for _ in sizes[1:])), sizes).copy()


def _delays(where: str, layer: RawLayer, name: str, sizes: tuple[int, int]) -> Array:
    """Delay of each synapse, (N_target, N_source), from one for all, per target or per source."""
    if name not in layer.fields:
        return np.zeros(sizes, np.int64)
    delays = integers(f"{where}: {name}", layer.fields[name], np.int64)
    most = LOIHI.delay_max
    if delays.min() < 0 or delays.max() > most:
        fail(f"{where}: {name} spans {delays.min()}..{delays.max()}, must lie in 0..{most}")
    if delays.size == 1:
        return np.full(sizes, delays.reshape(-1)[0])
    if delays.shape == sizes:
        return delays
    if delays.shape == (sizes[0],):
        return np.broadcast_to(delays[:, None], sizes)
    if delays.shape != (sizes[1],):
        fail(f"{where}: {name} has shape {delays.shape}, but the weight {sizes}")
    return np.broadcast_to(delays[None, :], sizes)


def _scalar(subject: str, value: Any, low: int, high: int) -> int:
    """A single integer, which a file may hold as an array of one."""
    array = np.asarray(value)
    if array.size != 1:
        fail(f"{subject} has shape {array.shape}, must be a single number")
    return whole(subject, array.reshape(-1)[0].item(), low, high)


def _pair(subject: str, value: Any) -> tuple[int, int]:
    sides = integers(subject, value, np.int64).reshape(-1).tolist()
    return pair(subject, sides[0] if len(sides) == 1 else sides)


def _agrees(where: str, layer: RawLayer, name: str, size: int) -> None:
    if name in layer.fields and np.any(np.asarray(layer.fields[name]) != size):
        shown = _shown(layer.fields[name])
        fail(f"{where}: {name} is {shown}, but its weight has {size}")


def _shown(value: Any) -> str:
    return quoted(str(np.asarray(value).tolist()))
