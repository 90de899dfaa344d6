"""Checking the samples that a user hands to a simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.errors import InputError
from spikeport.network import Input

Samples = ArrayLike | Mapping[str, ArrayLike]
"""One array where there is one input, else one per input name. Shape (B, *shape) is presented at
every step; (T, B, *shape) has its own values for each step."""


def check_samples(
    inputs: Sequence[Input], steps: int, samples: Samples, *, widen: bool = True
) -> dict[str, NDArray[Any]]:
    """Check integer samples against the inputs of a network; returns int32 arrays, C order.

    Args:
        widen: without it arrays come back as they were given, which copies nothing.

    Raises:
        InputError: empty, of wrong shape or type, out of the declared range, of unequal B,
            or an input is missing or unknown.
    """
    return {
        part.name: _integers(part, array, widen) for part, array in _shaped(inputs, steps, samples)
    }


def check_float_samples(
    inputs: Sequence[Input], steps: int, samples: Samples
) -> dict[str, NDArray[np.float64]]:
    """As `check_samples`, for float units: float64 arrays, finite, of the right shape."""
    arrays: dict[str, NDArray[np.float64]] = {}
    for part, array in _shaped(inputs, steps, samples):
        if array.dtype.kind not in "iufb":
            raise InputError(f"input '{part.name}': type {array.dtype}, must be numbers")
        if not np.isfinite(array).all():
            raise InputError(f"input '{part.name}': holds NaN or infinity, must be finite")
        arrays[part.name] = np.ascontiguousarray(array, np.float64)
    return arrays


def encode_samples(inputs: Sequence[Input], steps: int, samples: Samples) -> dict[str, Any]:
    """Float samples as the chip's integers: clip(round(x * scale), low, high), int32."""
    floats = check_float_samples(inputs, steps, samples)
    return {
        part.name: np.clip(np.rint(floats[part.name] * part.scale), part.low, part.high).astype(
            np.int32
        )
        for part in inputs
    }


def sample_count(inputs: Sequence[Input], arrays: Mapping[str, NDArray[Any]]) -> int:
    """B of checked samples."""
    part = inputs[0]
    return int(arrays[part.name].shape[-1 - len(part.shape)])


def at_step(part: Input, array: NDArray[Any], step: int) -> NDArray[Any]:
    """Values of logical step `step` (from 0), shape (B, *shape)."""
    static = array.ndim == 1 + len(part.shape)
    return array if static else array[step]


def select(
    inputs: Sequence[Input], arrays: Mapping[str, NDArray[Any]], chosen: slice
) -> dict[str, NDArray[Any]]:
    """The samples `chosen` along B of checked arrays."""
    return {
        part.name: (
            arrays[part.name][chosen]
            if arrays[part.name].ndim == 1 + len(part.shape)
            else arrays[part.name][:, chosen]
        )
        for part in inputs
    }


def samples_hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of checked arrays: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little.dtype.str} {array.shape}\n".encode())
        digest.update(little.data)
    return digest.hexdigest()


def batch_shape(axes: str, shape: Sequence[int]) -> str:
    """A shape with named leading axes, for messages: (B, 1, 8, 8)."""
    return f"({', '.join((axes, *map(str, shape)))})"


def _shaped(
    inputs: Sequence[Input], steps: int, samples: Samples
) -> list[tuple[Input, NDArray[Any]]]:
    if not isinstance(samples, Mapping):
        if len(inputs) != 1:
            names = ", ".join(f"'{part.name}'" for part in inputs)
            raise InputError(f"samples: one array given, the network has inputs {names}")
        samples = {inputs[0].name: samples}
    known = {part.name for part in inputs}
    for name in samples:
        if name not in known:
            raise InputError(f"samples: '{name}' is no input of the network ({sorted(known)})")
    shaped = []
    for part in inputs:
        if part.name not in samples:
            raise InputError(f"samples: input '{part.name}' is missing")
        array = np.asarray(samples[part.name])
        rank = len(part.shape)
        static = array.ndim == rank + 1 and array.shape[1:] == part.shape
        timed = array.ndim == rank + 2 and array.shape[2:] == part.shape
        if not (static or timed):
            raise InputError(
                f"input '{part.name}': samples have shape {array.shape}, must be "
                f"{batch_shape('B', part.shape)} or {batch_shape('T, B', part.shape)}"
            )
        if timed and array.shape[0] != steps:
            raise InputError(
                f"input '{part.name}': samples have {array.shape[0]} steps, the network T = {steps}"
            )
        shaped.append((part, array))
    sizes = {array.shape[-1 - len(part.shape)] for part, array in shaped}
    if 0 in sizes:
        raise InputError("samples: the data set is empty (B = 0), needs at least one sample")
    if len(sizes) > 1:
        raise InputError(f"samples: inputs have different sample counts {sorted(sizes)}")
    return shaped


def _integers(part: Input, array: NDArray[Any], widen: bool) -> NDArray[Any]:
    if array.dtype.kind not in "iub":
        raise InputError(
            f"input '{part.name}': type {array.dtype}, must be integers (encode_samples makes them)"
        )
    low, high = int(array.min()), int(array.max())
    if low < part.low or high > part.high:
        raise InputError(
            f"input '{part.name}': values span {low}..{high}, must lie in {part.low}..{part.high}"
        )
    return np.ascontiguousarray(array, np.int32) if widen else array
