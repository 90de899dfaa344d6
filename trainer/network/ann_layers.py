"""Which layers and functions of an ANN are activations, and which cannot be converted.

An integrate-and-fire neuron is a ReLU of its mean input, clipped at its threshold; nothing else
that is not linear has an equivalent among rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from spikeport.trainer.network.building import KNOWN, OWN_TENSOR, called
from spikeport.trainer.network.layers import unsupported
from spikeport.trainer.neurons import LI, LIF, Activation, QuantizedReLU

_RELU = {functional.relu, torch.relu, torch.relu_, "relu", "relu_"}
_RELU6 = {functional.relu6}
_HARDTANH = {functional.hardtanh, functional.hardtanh_}
_CLAMP = {torch.clamp, torch.clamp_, torch.clip, torch.clip_, "clamp", "clamp_", "clip", "clip_"}
_CLAMP_MIN = {torch.clamp_min, torch.clamp_min_, "clamp_min", "clamp_min_"}
_CLIPPING = _RELU6 | _HARDTANH | _CLAMP | _CLAMP_MIN
DROPOUT: dict[Any, type[nn.Dropout | nn.Dropout2d]] = {
    functional.dropout: nn.Dropout,
    functional.dropout2d: nn.Dropout2d,
}
_MAXIMA = {"max", "amax", "maximum", "fmax"}
_ACTIVATION = "torch.nn.modules.activation"
_CURVED = {name.lower() for name in torch.nn.modules.activation.__all__}
_CHOICES = {"softmax", "logsoftmax", "softmin", "softmax2d"}
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)
_NORM_CALLS = {"layer_norm", "group_norm", "instance_norm", "local_response_norm", "rms_norm"}


def activation(layer: nn.Module) -> Activation | None:
    """The activation that a layer is in a network; None if it is none, or not one of an ANN.

    A ReLU is never in place, and not shared; a quantized one is the layer itself.
    """
    match layer:
        case QuantizedReLU():
            return layer
        case nn.ReLU():
            return nn.ReLU()
        case nn.Hardtanh():  # also ReLU6
            return _clipped(layer.min_val, layer.max_val)
    return None


def called_activation(node: fx.Node) -> Activation | None:
    """The activation that a call of a function or method is."""
    target: Any = node.target
    given = (*node.args[1:], None, None)
    if target in _RELU:
        return nn.ReLU()
    if target in _RELU6:
        return _clipped(0, 6)
    names: tuple[str, str]
    default: tuple[float | None, float | None]
    if target in _HARDTANH:
        names, default = ("min_val", "max_val"), (-1.0, 1.0)
    elif target in _CLAMP | _CLAMP_MIN:
        names, default = ("min", "max"), (None, None)
    else:
        return None
    low, high = (
        node.kwargs.get(name, first if value is None else value)
        for name, value, first in zip(names, given[:2], default, strict=True)
    )
    return _clipped(low, high)


def _clipped(low: Any, high: Any) -> Activation | None:
    """clip(x, low, high), if that is a ReLU."""
    if low != 0:
        return None
    if high is None or high == math.inf:
        return nn.ReLU()
    if type(high) in (int, float) and high > 0:
        return QuantizedReLU(levels=None, v_threshold=float(high))
    return None


def refused_in_ann(module: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str, str]]:
    """Layers and functions that cannot be converted: name, kind and reason with its remedy."""
    for node in graph.nodes:
        if node.op == "call_module":
            layer = module.get_submodule(str(node.target))
            if problem := _refused_layer(layer):
                yield node.name, type(layer).__name__, problem
        elif node.op in ("call_function", "call_method"):
            if problem := _refused_call(node):
                yield node.name, called(node), problem
        elif node.op == "get_attr":
            yield node.name, "tensor", OWN_TENSOR


def _refused_layer(layer: nn.Module) -> str | None:
    kind = type(layer).__name__
    if isinstance(layer, LIF | LI):
        return f"{kind} spikes already, nothing has to be converted; use from_module"
    if isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d) or activation(layer):
        return None
    if isinstance(layer, nn.Hardtanh):
        return _not_from_zero(f"{kind} clips to {layer.min_val:g}..{layer.max_val:g}")
    if "MaxPool" in kind:
        return _maximum(kind)
    if isinstance(layer, _NORMS) or "InstanceNorm" in kind:
        return _norm(kind)
    if type(layer).__module__ == _ACTIVATION:
        return _curve(kind)
    return unsupported(layer)


def _refused_call(node: fx.Node) -> str | None:
    name = called(node)
    plain = name.rstrip("_").replace("_", "")
    if "max_pool" in name or name in _MAXIMA:
        return _maximum(name)
    target: Any = node.target
    if target in KNOWN or target in DROPOUT or called_activation(node):
        return None
    if target in _CLIPPING:
        return _not_from_zero(f"{name} clips at other values")
    if name in _NORM_CALLS:
        return _norm(name)
    if plain in _CURVED:
        return _curve(name)
    return f"{name} has no equivalent among spikes; use a layer that docs/networks.md lists"


def _maximum(kind: str) -> str:
    return (
        f"{kind} takes a maximum, which integrate-and-fire neurons cannot take of rates; use an "
        "average pool, and train or fine-tune again"
    )


def _not_from_zero(what: str) -> str:
    return f"{what}, but a rate begins at 0; use ReLU or Hardtanh(0, b), and train again"


def _norm(kind: str) -> str:
    return (
        f"{kind} takes statistics of each sample, which no weights can; use a batch norm, and "
        "train again"
    )


def _curve(kind: str) -> str:
    if kind.lower().replace("_", "") in _CHOICES:
        return f"{kind} is not needed to choose the largest score; leave it to the loss"
    return (
        f"{kind} is no activation that integrate-and-fire neurons have; use ReLU, and train or "
        "fine-tune again"
    )
