"""The rules that each part of a `DeployedNetwork` keeps by itself, each with its one error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.errors import InputError
from spikeport.network import fixed_point as fx
from spikeport.text import quoted

if TYPE_CHECKING:
    from spikeport.network.parts import Input, Population, SumPool2d, WeightedConnection

MAX_SIZE = 2**31 - 1
"""Neurons along one axis, samples or classes."""
MAX_SIDE = 2**15
"""Kernels, strides and the sides of images."""
MAX_STEPS = 2**31 - 1
"""Largest T, the number of logical steps per sample."""

_Kind = TypeVar("_Kind", bound=StrEnum)


def fail(message: str) -> NoReturn:
    """Raise the one error of a broken rule."""
    raise InputError(message)


def integer(subject: str, value: Any, low: int, high: int) -> int:
    """An integer within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        fail(f"{subject} is {quoted(value)}, must be an integer")
    if not low <= value <= high:
        fail(f"{subject} is {value}, must lie in {low}..{high}")
    return int(value)


def whole(subject: str, value: Any, low: int, high: int) -> int:
    """As `integer`, for parts made by hand: floats with whole values and 0-d arrays count too."""
    number = _plain(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return integer(subject, number, low, high)


def settle(part: Any, subject: str, **limits: tuple[int, int]) -> None:
    """Check integer fields of a frozen part and store them as plain `int`."""
    for name, (low, high) in limits.items():
        value = whole(f"{subject}: {name}", getattr(part, name), low, high)
        object.__setattr__(part, name, value)


def _plain(value: Any) -> Any:
    """Convert NumPy scalars and 0-d arrays or tensors to Python numbers; keep all else."""
    if getattr(value, "ndim", None) == 0 and callable(item := getattr(value, "item", None)):
        value = item()
    return float(value) if isinstance(value, np.floating) else value


def _axes(subject: str, value: Any) -> tuple[Any, ...] | None:
    """One value per axis; None if a single number stands for all axes."""
    if isinstance(_plain(value), int | float):
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        fail(f"{subject} is {value!r}, must be integers")
    return tuple(value)


def texts(subject: str, value: Mapping[Any, Any]) -> None:
    """Check that a mapping has strings as keys and values, as files store them."""
    for name, text in value.items():
        if not (isinstance(name, str) and isinstance(text, str)):
            fail(f"{subject}: {name!r} is {text!r}, must map strings to strings")


def choice(subject: str, kinds: type[_Kind], value: Any) -> _Kind:
    """A member of an enumeration, given as such or by its value."""
    try:
        return kinds(value)
    except ValueError:
        allowed = ", ".join(f"'{kind.value}'" for kind in kinds)
        fail(f"{subject} is {quoted(value)}, must be one of {allowed}")


def shape(name: str, value: Any) -> tuple[int, ...]:
    """(N,), (C, L) or (C, H, W) with positive sizes."""
    sizes = _axes(f"'{name}': shape", value) or (value,)
    if len(sizes) not in (1, 2, 3):
        fail(f"'{name}': shape {sizes} must be (N,), (C, L) or (C, H, W)")
    return tuple(whole(f"'{name}': shape {sizes}: size", n, 1, MAX_SIZE) for n in sizes)


def side(subject: str, value: Any) -> int:
    """A non-negative integer that counts along one axis."""
    return whole(subject, value, 0, MAX_SIDE)


def pair(subject: str, value: Any) -> tuple[int, int]:
    """Two non-negative integers; one integer stands for both."""
    sides = _axes(subject, value) or (value, value)
    if len(sides) != 2:
        fail(f"{subject} is {sides}, must be one or two integers")
    return (side(subject, sides[0]), side(subject, sides[1]))


def scale(part: Input | Population) -> None:
    """Check that the scale is positive and finite; store it as a Python number."""
    value = _plain(part.scale)
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and value > 0):
        fail(f"'{part.name}': scale is {value!r}, must be positive and finite")
    object.__setattr__(part, "scale", value)


def input_range(part: Input) -> None:
    """Check that low..high of an input fits its coding.

    The default is 0..1 for spikes and every mantissa for a bias; graded inputs have none.
    """
    limits = {
        "spikes": (0, 1),
        "graded": (fx.PAYLOAD_MIN, fx.PAYLOAD_MAX),
        "bias": (fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX),
    }[part.coding]
    subject = f"input '{part.name}' ({part.coding})"
    for name, end in zip(("low", "high"), limits, strict=True):
        if getattr(part, name) is None:
            if part.coding == "graded":
                fail(
                    f"{subject}: {name} is missing; graded inputs must state their range low..high"
                )
            object.__setattr__(part, name, end)
    settle(part, subject, low=limits, high=limits)
    if part.low > part.high:
        fail(f"input '{part.name}': low {part.low} is above high {part.high}")


def check_unmasked(subject: str, value: Any) -> None:
    """Refuse masked values: NumPy drops masks."""
    if not isinstance(value, np.ndarray) or type(value) is np.ndarray:
        return  # without importing numpy.ma, which takes long
    if np.ma.is_masked(value):
        fail(f"{subject}: some values are masked and the mask would be lost; fill them first")


def as_array(subject: str, value: Any) -> NDArray[Any]:
    """Convert user input (numbers, lists, arrays, tensors) to an array.

    Raises:
        InputError: it is ragged or otherwise not an array, or masked: NumPy would drop the mask.
    """
    check_unmasked(subject, value)
    if callable(detach := getattr(value, "detach", None)):
        value = detach().cpu()  # a torch tensor
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        fail(f"{subject} is not an array of numbers ({type(value).__name__}: {error})")


def integers(subject: str, value: ArrayLike, dtype: type[np.integer]) -> NDArray[Any]:
    """A read-only C-ordered integer array of `dtype`; fractions are refused, never rounded."""
    array = as_array(subject, value)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            fail(f"{subject} has type {array.dtype} with NaN or infinity, must be integers")
        if (wrong := array != np.rint(array)).any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = f" at {index}" if index else ""
            fail(
                f"{subject} is {array[index]:g}{place}, must be integers; "
                f"{int(wrong.sum())} of {array.size} are fractions"
            )
    elif array.dtype.kind not in "iu":
        fail(f"{subject} has type {array.dtype}, must be integers")
    info = np.iinfo(dtype)
    low, high = (array.min().item(), array.max().item()) if array.size else (0, 0)
    if low < info.min or high > info.max:
        fail(f"{subject} spans {low}..{high}, must fit {info.min}..{info.max}")
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
    settle(
        part,
        subject,
        decay_u=(0, fx.DECAY_UNITY),
        decay_v=(0, fx.DECAY_UNITY),
        vth=(0, fx.VTH_MAX),
        bias_exponent=(0, fx.BIAS_EXPONENT_MAX),
        v_init=(-fx.STATE_MAX, fx.STATE_MAX),
        refractory=(0, fx.REFRACTORY_MAX),
    )
    scale(part)


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


def weight(part: WeightedConnection, dims: int) -> NDArray[np.int16]:
    """Mantissas with the right number of axes, on the chip's grid."""
    subject = f"connection '{part.name}'"
    settle(part, subject, weight_bits=(1, fx.WEIGHT_BITS))
    bits = part.weight_bits
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


def connection(part: WeightedConnection) -> None:
    """Scalars of a connection within what the chip expresses."""
    subject = f"connection '{part.name}'"
    settle(
        part,
        subject,
        exponent=(fx.WEIGHT_EXPONENT_MIN, fx.WEIGHT_EXPONENT_MAX),
        delay=(0, fx.DELAY_MAX),
    )
    if hasattr(part, "groups"):
        settle(part, subject, groups=(1, part.weight.shape[0]))
        groups = part.groups
        if part.weight.shape[0] % groups:
            fail(f"{subject}: groups {groups} must divide {part.weight.shape[0]} output channels")
        for name in ("stride", "dilation"):
            if np.min(getattr(part, name)) < 1:
                fail(f"{subject}: {name} {getattr(part, name)} must be at least 1")
