"""The layers allowed in a spiking network: valid options, and output shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from torch import nn

from spikeport.errors import InputError
from spikeport.network import Shape
from spikeport.network.geometry import IntPair, window_count
from spikeport.trainer.neurons import LI, LIF

Convolution = nn.Conv1d | nn.Conv2d
Map = Convolution | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Dropout = nn.Dropout | nn.Dropout2d
Op: TypeAlias = Map | Norm | Dropout | nn.AvgPool2d | nn.MaxPool2d | nn.Identity | LIF | LI
"""`nn.Identity` is a sum: like every layer, it adds up its inputs."""
CONVOLUTIONS: Mapping[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
"""By number of axes; only this table, `map_axes` and `planar` tell them apart."""
_LAYOUTS = {1: "(C, L)", 2: "(C, H, W)"}


def unsupported(op: object) -> str | None:
    """Why a layer or its options cannot be used in a spiking network; None if they can."""
    match op:
        case nn.Conv1d() | nn.Conv2d():
            if op.padding_mode != "zeros" or isinstance(op.padding, str):
                return f"padding {op.padding!r} ({op.padding_mode}) must be numbers, with zeros"
        case nn.AvgPool2d():
            padded = op.padding not in (0, (0, 0)) and not op.count_include_pad
            if op.ceil_mode or padded or op.divisor_override:
                return (
                    "an average pool must include padding in its counts and use whole windows only"
                )
        case nn.MaxPool2d():
            if op.ceil_mode or op.return_indices:
                return "a max-pool must use whole windows only and return no indices"
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if not (op.affine and op.track_running_stats):
                return "a batch norm must have gamma, beta and running statistics"
        case nn.Linear() | nn.Dropout() | nn.Dropout2d() | nn.Identity() | LIF() | LI():
            return None
        case nn.AvgPool1d() | nn.MaxPool1d():
            return "pools along one axis are not supported; use a strided convolution"
        case _:
            return f"{type(op).__name__} is not a layer that a spiking network can contain"
    return None


def output_shape(name: str, op: Op, given: Shape) -> Shape:
    """Output shape of a layer for an input of shape `given`, both without time and batch.

    Raises:
        InputError: they do not fit; the message names the layer.
    """
    subject = f"layer '{name}'"
    match op:
        case nn.Linear():
            _meet(subject, "features", op.in_features, math.prod(given))
            return (op.out_features,)
        case nn.Conv1d() | nn.Conv2d():
            _axes(subject, given, _LAYOUTS[map_axes(op)])
            _meet(subject, "channels", op.in_channels, given[0])
            assert not isinstance(op.padding, str)  # checked by unsupported()
            sides = _windows(subject, given, op.kernel_size, op.stride, op.padding, op.dilation)
            return (op.out_channels, *sides)
        case nn.AvgPool2d():
            _axes(subject, given, "(C, H, W)")
            sides = _windows(subject, given, op.kernel_size, op.stride, op.padding, 1)
            return (given[0], *sides)
        case nn.MaxPool2d():
            _axes(subject, given, "(C, H, W)")
            sides = _windows(subject, given, op.kernel_size, op.stride, op.padding, op.dilation)
            return (given[0], *sides)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if (len(given) == 3) != isinstance(op, nn.BatchNorm2d):
                raise InputError(f"{subject}: {type(op).__name__} received shape {given}")
            _meet(subject, "channels", op.num_features, given[0])
    return given


def map_axes(op: Convolution) -> int:
    """Number of axes that a convolution moves along."""
    return len(op.kernel_size)


def planar(op: Convolution) -> tuple[IntPair, IntPair, IntPair]:
    """Stride, padding and dilation along two axes; one axis is that of columns."""
    assert not isinstance(op.padding, str)  # checked by unsupported()

    def both(sides: tuple[int, ...], missing: int) -> IntPair:
        return pair((*(missing,) * (2 - map_axes(op)), *sides))

    return both(op.stride, 1), both(op.padding, 0), both(op.dilation, 1)


def pair(value: int | tuple[int, ...]) -> IntPair:
    """PyTorch's one or two sizes as a pair."""
    height, width = _sides(value, 2)
    return (height, width)


def _sides(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(int(side) for side in value)


def _windows(subject: str, given: Shape, *options: int | tuple[int, ...]) -> tuple[int, ...]:
    axes = len(given) - 1
    sides = tuple(map(window_count, given[1:], *(_sides(option, axes) for option in options)))
    if min(sides) < 1:
        raise InputError(f"{subject}: its window does not fit into {given}")
    return sides


def _axes(subject: str, given: Shape, axes: str) -> None:
    if len(given) != 1 + axes.count(","):
        raise InputError(f"{subject}: needs an input {axes}, received {given}")


def _meet(subject: str, what: str, expected: int, found: int) -> None:
    if expected != found:
        raise InputError(f"{subject}: expects {expected} {what}, received {found}")
