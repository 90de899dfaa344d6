"""The rules that each part of a `DeployedNetwork` keeps by itself, each with its one error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport import fixed_point as fx
from spikeport.errors import InputError

if TYPE_CHECKING:
    from spikeport.parts import Population, SumPool2d, Synapses

MAX_STEPS = 2**31 - 1
"""T, the logical steps of a sample."""

_Kind = TypeVar("_Kind", bound=StrEnum)


def fail(message: str) -> NoReturn:
    """Raise the one error of a broken rule."""
    raise InputError(message)


def integer(subject: str, value: Any, low: int, high: int) -> int:
    """An integer within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        fail(f"{subject} is {value!r}, must be an integer")
    if not low <= value <= high:
        fail(f"{subject} is {value}, must lie in {low}..{high}")
    return int(value)


def texts(subject: str, value: Mapping[Any, Any]) -> None:
    """Texts by name, as files keep them."""
    for name, text in value.items():
        if not (isinstance(name, str) and isinstance(text, str)):
            fail(f"{subject}: {name!r} is {text!r}, must be texts by name")


def choice(subject: str, kinds: type[_Kind], value: Any) -> _Kind:
    """A member of an enumeration, given as such or by its value."""
    try:
        return kinds(value)
    except ValueError:
        allowed = ", ".join(f"'{kind.value}'" for kind in kinds)
        fail(f"{subject} is {value!r}, must be one of {allowed}")


def shape(name: str, value: Any) -> tuple[int, ...]:
    """(N,), (C, L) or (C, H, W) with positive sizes."""
    value = (value,) if isinstance(value, int | np.integer) else tuple(value)
    if len(value) not in (1, 2, 3):
        fail(f"'{name}': shape {value} must be (N,), (C, L) or (C, H, W)")
    return tuple(integer(f"'{name}': shape {value}: size", n, 1, 2**31 - 1) for n in value)


def side(subject: str, value: Any) -> int:
    """A non-negative integer that counts along one axis."""
    return integer(subject, value, 0, 2**15)


def pair(subject: str, value: Any) -> tuple[int, int]:
    """Two non-negative integers; one integer stands for both."""
    value = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(value) != 2:
        fail(f"{subject} is {value}, must be one or two integers")
    return (side(subject, value[0]), side(subject, value[1]))


def scale(name: str, value: float) -> None:
    """A positive finite number."""
    if not (math.isfinite(value) and value > 0):
        fail(f"'{name}': scale is {value}, must be positive and finite")


def input_range(name: str, coding: str, low: int, high: int) -> None:
    """The allowed values of an input fit what its coding can carry."""
    limits = {
        "spikes": (0, 1),
        "graded": (fx.PAYLOAD_MIN, fx.PAYLOAD_MAX),
        "bias": (fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX),
    }[coding]
    integer(f"input '{name}' ({coding}): low", low, *limits)
    integer(f"input '{name}' ({coding}): high", high, *limits)
    if low > high:
        fail(f"input '{name}': low {low} is above high {high}")


def integers(subject: str, value: ArrayLike, dtype: type[np.integer]) -> NDArray[Any]:
    """A read-only C-ordered integer array of `dtype`; floats are refused, never rounded."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        bad = "" if array.dtype.kind != "f" or np.isfinite(array).all() else " with NaN or infinity"
        fail(f"{subject} has type {array.dtype}{bad}, must be integers")
    info = np.iinfo(dtype)
    if array.size and (array.min() < info.min or array.max() > info.max):
        fail(f"{subject} spans {array.min()}..{array.max()}, must fit {info.min}..{info.max}")
    frozen = np.array(array, dtype=dtype, order="C")
    frozen.setflags(write=False)
    return frozen


def bias(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Mantissas, broadcast from a scalar, one per neuron."""
    array = integers(f"population '{name}': bias", value, np.int32)
    if array.shape not in ((), shape):
        fail(f"population '{name}': bias has shape {array.shape}, must be {shape}")
    full = np.array(np.broadcast_to(array, shape))
    low, high = fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX
    if full.min() < low or full.max() > high:
        worst = full.min() if full.min() < low else full.max()
        fail(f"population '{name}': bias mantissa {worst} must lie in {low}..{high} (13 bits)")
    full.setflags(write=False)
    return full


def population(part: Population) -> None:
    """Scalars of a population within their register widths."""
    subject = f"population '{part.name}'"
    integer(f"{subject}: decay_u", part.decay_u, 0, fx.DECAY_UNITY)
    integer(f"{subject}: decay_v", part.decay_v, 0, fx.DECAY_UNITY)
    integer(f"{subject}: vth", part.vth, 0, fx.VTH_MAX)
    integer(f"{subject}: bias_exponent", part.bias_exponent, 0, fx.BIAS_EXPONENT_MAX)
    integer(f"{subject}: v_init", part.v_init, -fx.STATE_MAX, fx.STATE_MAX)
    integer(f"{subject}: refractory", part.refractory, 0, fx.REFRACTORY_MAX)
    scale(part.name, part.scale)


def pool(part: SumPool2d) -> None:
    """Windows that do not overlap: otherwise a spike would reach one synapse along two ways."""
    for kernel, stride, padding in zip(part.kernel_size, part.stride, part.padding, strict=True):
        if kernel < 1 or stride < kernel:
            fail(
                f"sum-pool: kernel {kernel} with stride {stride}: windows must not overlap "
                "(stride >= kernel >= 1)"
            )
        if padding >= kernel:
            fail(f"sum-pool: padding {padding} must be smaller than the kernel {kernel}")


def weight(part: Synapses, dims: int) -> NDArray[np.int16]:
    """Mantissas with the right number of axes, on the chip's grid."""
    subject = f"connection '{part.name}'"
    bits = integer(f"{subject}: weight_bits", part.weight_bits, 1, fx.WEIGHT_BITS)
    array = integers(f"{subject}: weight", part.weight, np.int16)
    if array.ndim != dims or 0 in array.shape:
        fail(f"{subject}: weight has shape {array.shape}, must have {dims} non-empty axes")
    wrong = fx.off_grid(array, bits)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        mixed = fx.is_mixed(array)
        low, high, step = fx.weight_grid(mixed=mixed, bits=bits)
        signs = "mixed signs" if mixed else "one sign, as magnitudes"
        fail(
            f"{subject}: weight {array[index]} at {index} is off the {bits}-bit grid for {signs} "
            f"({low}..{high} in steps of {step}); {int(wrong.sum())} of {array.size} are off"
        )
    return array


def connection(part: Synapses) -> None:
    """Scalars of a connection within what the chip expresses."""
    subject = f"connection '{part.name}'"
    low, high = fx.WEIGHT_EXPONENT_MIN, fx.WEIGHT_EXPONENT_MAX
    integer(f"{subject}: exponent", part.exponent, low, high)
    integer(f"{subject}: delay", part.delay, 0, fx.DELAY_MAX)
    if (groups := getattr(part, "groups", None)) is not None:
        integer(f"{subject}: groups", groups, 1, part.weight.shape[0])
        if part.weight.shape[0] % groups:
            fail(f"{subject}: groups {groups} must divide {part.weight.shape[0]} output channels")
        for name in ("stride", "dilation"):
            if np.min(getattr(part, name)) < 1:
                fail(f"{subject}: {name} {getattr(part, name)} must be at least 1")
