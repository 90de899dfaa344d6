"""Checks of values from users and files; each check raises one clear error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.errors import InputError, UnknownNameError, ValueRangeError
from spikeport.text import quoted

MAX_SIZE = 2**31 - 1
"""Neurons along one axis, samples, or classes."""
MAX_SIDE = 2**15
"""Kernels, strides and the sides of images."""
MAX_STEPS = 2**31 - 1
"""Largest T, the number of logical steps per sample."""

NAME_RULE = "1 to 64 letters, digits or '_', not a digit first"
"""The names that parts of a network may have."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_Kind = TypeVar("_Kind", bound=StrEnum)


def fail(message: str) -> NoReturn:
    """Raise an InputError with this message."""
    raise InputError(message)


def is_name(name: str) -> bool:
    """Whether `name` keeps NAME_RULE."""
    return _NAME.fullmatch(name) is not None


def integer(subject: str, value: Any, low: int, high: int) -> int:
    """An integer within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        ValueRangeError.fail(f"{subject} is {quoted(value)}, must be an integer")
    if not low <= value <= high:
        ValueRangeError.fail(f"{subject} is {value}, must lie in {low}..{high}")
    return int(value)


def whole(subject: str, value: Any, low: int, high: int) -> int:
    """Like `integer`, but also accept floats with whole values and 0-d arrays."""
    number = _plain(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return integer(subject, number, low, high)


def settle(part: Any, subject: str, **limits: tuple[int, int]) -> None:
    """Check integer fields of a frozen dataclass and store them as plain `int`."""
    for name, (low, high) in limits.items():
        value = whole(f"{subject}: {name}", getattr(part, name), low, high)
        object.__setattr__(part, name, value)


def _plain(value: Any) -> Any:
    """Convert NumPy scalars and 0-d arrays or tensors to Python numbers; keep everything else."""
    if getattr(value, "ndim", None) == 0 and callable(item := getattr(value, "item", None)):
        value = item()
    return float(value) if isinstance(value, np.floating) else value


def _axes(subject: str, value: Any) -> tuple[Any, ...] | None:
    """One value per axis; None if a single number applies to all axes."""
    if isinstance(_plain(value), int | float):
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        ValueRangeError.fail(f"{subject} is {value!r}, must be integers")
    return tuple(value)


def texts(subject: str, value: Mapping[Any, Any]) -> None:
    """Check that a mapping has strings as keys and values, as required by file formats."""
    for name, text in value.items():
        if not (isinstance(name, str) and isinstance(text, str)):
            ValueRangeError.fail(f"{subject}: {name!r} is {text!r}, must map strings to strings")


def one_of(subject: str, names: Iterable[str], value: Any) -> str:
    """A name out of `names`."""
    names = tuple(names)
    if not isinstance(value, str) or value not in names:
        allowed = ", ".join(f"'{name}'" for name in names)
        UnknownNameError.fail(f"{subject} is {quoted(value)}, must be one of {allowed}")
    return value


def choice(subject: str, kinds: type[_Kind], value: Any) -> _Kind:
    """A member of an enumeration, given as such or by its value."""
    return kinds(one_of(subject, [kind.value for kind in kinds], value))


def shape(name: str, value: Any) -> tuple[int, ...]:
    """(N,), (C, L) or (C, H, W) with positive sizes."""
    sizes = _axes(f"'{name}': shape", value) or (value,)
    if len(sizes) not in (1, 2, 3):
        ValueRangeError.fail(f"'{name}': shape {sizes} must be (N,), (C, L) or (C, H, W)")
    return tuple(whole(f"'{name}': shape {sizes}: size", n, 1, MAX_SIZE) for n in sizes)


def side(subject: str, value: Any) -> int:
    """A non-negative size or position along one axis."""
    return whole(subject, value, 0, MAX_SIDE)


def pair(subject: str, value: Any) -> tuple[int, int]:
    """Two non-negative integers; a single integer is used twice."""
    sides = _axes(subject, value) or (value, value)
    if len(sides) != 2:
        ValueRangeError.fail(f"{subject} is {sides}, must be one or two integers")
    return (side(subject, sides[0]), side(subject, sides[1]))


def scale(part: Any) -> None:
    """Check that the scale of a named part is positive and finite; store it as a Python number."""
    value = _plain(part.scale)
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and value > 0):
        ValueRangeError.fail(f"'{part.name}': scale is {value!r}, must be positive and finite")
    object.__setattr__(part, "scale", value)


def check_unmasked(subject: str, value: Any) -> None:
    """Refuse masked values: NumPy drops masks."""
    if not isinstance(value, np.ndarray) or type(value) is np.ndarray:
        return  # avoid importing numpy.ma, which is slow
    if np.ma.is_masked(value):
        ValueRangeError.fail(
            f"{subject}: some values are masked and the mask would be lost; fill them first"
        )


def as_array(subject: str, value: Any) -> NDArray[Any]:
    """Convert user input (numbers, lists, arrays, tensors) to an array.

    Raises:
        InputError: it is ragged or otherwise not an array, or is masked (NumPy would drop the
            mask).
    """
    check_unmasked(subject, value)
    if callable(getattr(value, "detach", None)):
        value = value.detach().cpu()  # a torch tensor
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        ValueRangeError.fail(
            f"{subject} is not an array of numbers ({type(value).__name__}: {error})"
        )


def integers(subject: str, value: ArrayLike, dtype: type[np.integer]) -> NDArray[Any]:
    """A read-only C-ordered integer array of `dtype`; fractional values are refused."""
    array = as_array(subject, value)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            ValueRangeError.fail(
                f"{subject} has type {array.dtype} with NaN or infinity, must be integers"
            )
        if (wrong := array != np.rint(array)).any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = f" at {index}" if index else ""
            ValueRangeError.fail(
                f"{subject} is {array[index]:g}{place}, must be integers; "
                f"{int(wrong.sum())} of {array.size} are fractions"
            )
    elif array.dtype.kind not in "iu":
        ValueRangeError.fail(f"{subject} has type {array.dtype}, must be integers")
    info = np.iinfo(dtype)
    low, high = (array.min().item(), array.max().item()) if array.size else (0, 0)
    if low < info.min or high > info.max:
        ValueRangeError.fail(f"{subject} spans {low}..{high}, must fit {info.min}..{info.max}")
    frozen = np.array(array, dtype=dtype, order="C")
    frozen.setflags(write=False)
    return frozen
