"""The layers allowed in a spiking network: valid options, and output shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn

from spikeport.errors import ModuleReadingError
from spikeport.network import Shape
from spikeport.network.geometry import IntPair, window_count
from spikeport.trainer.neurons import LI, LIF, Activation, QuantizedReLU

Convolution = nn.Conv1d | nn.Conv2d
Map = Convolution | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Dropout = nn.Dropout | nn.Dropout2d
AvgPool = nn.AvgPool1d | nn.AvgPool2d


class Channels(nn.Module):
    """Some of the channels of its input: x[:, start:stop:step]."""

    def __init__(self, start: int, stop: int, step: int = 1) -> None:
        super().__init__()
        self.start, self.stop, self.step = start, stop, step

    @property
    def chosen(self) -> slice:
        """Their numbers."""
        return slice(self.start, self.stop, self.step)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, ...) with these channels only."""
        return x[:, self.chosen]

    def extra_repr(self) -> str:
        """The parameters, for printing."""
        return f"{self.start}:{self.stop}:{self.step}"


class Offset(nn.Module):
    """A constant for each neuron, whatever its input: only in a network made for deployment."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *bias.shape) of x (B, ...)."""
        bias: Tensor = self.get_buffer("bias")
        return bias.expand(len(x), *bias.shape)


Op: TypeAlias = (
    Map
    | Norm
    | Dropout
    | AvgPool
    | nn.MaxPool2d
    | nn.Identity
    | nn.Flatten
    | Channels
    | Offset
    | LIF
    | LI
    | Activation
)
"""`nn.Identity` is a sum: like every layer, it adds up its inputs."""
CONVOLUTIONS: Mapping[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
"""By number of axes; only this table, `map_axes` and `planar` tell them apart."""
_LAYOUTS = {1: "(C, L)", 2: "(C, H, W)"}


def unsupported(op: object) -> str | None:
    """Why a layer or its options cannot be used in a spiking network; None if they can."""
    match op:
        case nn.Conv1d() | nn.Conv2d():
            if op.padding_mode != "zeros":
                return f"padding_mode is '{op.padding_mode}', must be 'zeros'"
        case nn.AvgPool1d() | nn.AvgPool2d():
            if not op.count_include_pad and any(sides(op.padding, 2)):
                return "count_include_pad is False, an average pool must count its padding"
        case nn.MaxPool2d():
            if op.ceil_mode or op.return_indices:
                return "a max-pool must use whole windows only and return no indices"
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if not (op.affine and op.track_running_stats):
                return "a batch norm must have gamma, beta and running statistics"
        case nn.Flatten():
            if (op.start_dim, op.end_dim) != (1, -1):
                return "must flatten all but the batch axis"
        case nn.Linear() | nn.Dropout() | nn.Dropout2d() | nn.Identity() | LIF() | LI():
            return None
        case Channels() | Offset() | QuantizedReLU():
            return None
        case nn.ReLU():
            if op.inplace:
                return "inplace is True, must be False: other layers may use its input"
        case nn.MaxPool1d():
            return "max-pools along one axis are not supported; use an average pool"
        case _:
            activation = type(op).__module__ == "torch.nn.modules.activation"
            instead = "; use LIF" if activation else ""
            return f"{type(op).__name__} is not a layer that a spiking network can contain{instead}"
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
            if op.padding == "same":
                return (op.out_channels, *given[1:])
            padding = tuple(before for before, _ in zeros(op))
            made = _windows(subject, given, op.kernel_size, op.stride, padding, op.dilation)
            return (op.out_channels, *made)
        case nn.AvgPool1d() | nn.AvgPool2d():
            _axes(subject, given, _LAYOUTS[1 if isinstance(op, nn.AvgPool1d) else 2])
            options = op.kernel_size, op.stride, op.padding
            made = _windows(subject, given, *options, 1)
            if op.ceil_mode and made != _ceiled(given, *options):
                raise ModuleReadingError(
                    f"{subject}: ceil_mode adds windows that reach beyond {given}, must use whole "
                    "windows only"
                )
            return (given[0], *made)
        case nn.Flatten():
            return (math.prod(given),)
        case Offset():
            return tuple(op.get_buffer("bias").shape)
        case Channels():
            return (len(range(*op.chosen.indices(given[0]))), *given[1:])
        case nn.MaxPool2d():
            _axes(subject, given, "(C, H, W)")
            made = _windows(subject, given, op.kernel_size, op.stride, op.padding, op.dilation)
            return (given[0], *made)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if (len(given) == 3) != isinstance(op, nn.BatchNorm2d):
                raise ModuleReadingError(f"{subject}: {type(op).__name__} received shape {given}")
            _meet(subject, "channels", op.num_features, given[0])
    return given


def map_axes(op: Convolution) -> int:
    """Number of axes that a convolution moves along."""
    return len(op.kernel_size)


def planar(op: Convolution) -> tuple[IntPair, IntPair, IntPair]:
    """Stride, padding and dilation along two axes; one axis is that of columns.

    The padding is that in front, which is that behind except for some with padding "same".
    """

    def both(sides: tuple[int, ...], missing: int) -> IntPair:
        return pair((*(missing,) * (2 - map_axes(op)), *sides))

    padding = tuple(before for before, _ in zeros(op))
    return both(op.stride, 1), both(padding, 0), both(op.dilation, 1)


def pair(value: int | tuple[int, ...]) -> IntPair:
    """PyTorch's one or two sizes as a pair."""
    height, width = sides(value, 2)
    return (height, width)


def sides(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """PyTorch's one size, or one for each axis, as one for each axis."""
    return (value,) * axes if isinstance(value, int) else tuple(int(side) for side in value)


def zeros(op: Convolution) -> tuple[tuple[int, int], ...]:
    """The zeros (before, after) that a convolution adds along each axis."""
    if op.padding == "same":
        total = [d * (k - 1) for d, k in zip(op.dilation, op.kernel_size, strict=True)]
        return tuple((n // 2, n - n // 2) for n in total)
    if isinstance(op.padding, str):  # "valid"
        return ((0, 0),) * len(op.kernel_size)
    return tuple((int(n), int(n)) for n in op.padding)


def _ceiled(
    given: Shape, kernel: int | tuple[int, ...], stride: int | tuple[int, ...], padding: Any
) -> tuple[int, ...]:
    """Positions of a pool in `ceil_mode`: also windows that begin within the padded input."""
    made = []
    axes = len(given) - 1
    for n, k, s, p in zip(
        given[1:], *(sides(o, axes) for o in (kernel, stride, padding)), strict=True
    ):
        count = -(-(n + 2 * p - k) // s) + 1
        made.append(count - 1 if (count - 1) * s >= n + p else count)
    return tuple(made)


def _windows(subject: str, given: Shape, *options: int | tuple[int, ...]) -> tuple[int, ...]:
    axes = len(given) - 1
    made = tuple(map(window_count, given[1:], *(sides(option, axes) for option in options)))
    if min(made) < 1:
        raise ModuleReadingError(f"{subject}: its window does not fit into {given}")
    return made


def _axes(subject: str, given: Shape, axes: str) -> None:
    if len(given) != 1 + axes.count(","):
        raise ModuleReadingError(f"{subject}: needs an input {axes}, received {given}")


def _meet(subject: str, what: str, expected: int, found: int) -> None:
    if expected != found:
        raise ModuleReadingError(f"{subject}: expects {expected} {what}, received {found}")
