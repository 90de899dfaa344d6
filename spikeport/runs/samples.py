"""Check the samples passed to a simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.checks import as_array
from spikeport.errors import SamplesError
from spikeport.network import Input
from spikeport.runs.sample_axes import check_batch_axis, is_static
from spikeport.runs.sample_values import Change, change, check_range, encoded, float_range

Samples = ArrayLike | Mapping[str, ArrayLike]
"""One array if there is one input, otherwise one per input name. Shape (B, *shape) is presented at
every step; (T, B, *shape) has separate values for each step."""


class SampleSet(dict[str, NDArray[Any]]):
    """Checked arrays by input name; the meaning of their axes is known and not checked again.

    Attributes:
        changes: changes made by encoding, per encoded input.
    """

    def __init__(
        self, arrays: Mapping[str, NDArray[Any]] | None = None, changes: Iterable[Change] = ()
    ) -> None:
        super().__init__(arrays or {})
        self.changes = tuple(changes)


def check_samples(
    inputs: Sequence[Input],
    steps: int,
    samples: Samples,
    *,
    widen: bool = True,
    static: bool = False,
) -> SampleSet:
    """Check integer samples against the inputs of a network; return int32 arrays in C order.

    Args:
        widen: convert to int32; if false, arrays are returned as given, without copying.
        static: the samples are (B, *shape), even if B = T.

    Raises:
        InputError: empty, of wrong shape or type, out of the declared range, of unequal B,
            or an input is missing or unknown; or spikes (B, *shape) with B = T, which might also be
            one sample of T steps (see `sample_axes.check_batch_axis`).
    """
    shaped = _shaped(inputs, steps, samples, static)
    return SampleSet({part.name: _integers(part, array, widen) for part, array in shaped})


def check_float_samples(
    inputs: Sequence[Input],
    steps: int,
    samples: Samples,
    *,
    static: bool = False,
    clip: bool = False,
) -> SampleSet:
    """Like `check_samples`, for samples in float units; returns float64 arrays.

    Args:
        clip: clip values beyond the declared range instead of refusing them.

    Raises:
        InputError: as for `check_samples` and `sample_values.check_range`.
    """
    arrays = SampleSet()
    for part, array in _numbers(inputs, steps, samples, static):
        clipped = check_range(part, array, clip=clip)
        floats = np.ascontiguousarray(array, np.float64)
        arrays[part.name] = np.clip(floats, *float_range(part)) if clipped else floats
        if clipped:
            arrays.changes += (Change(part.name, array.size, clipped, 0, 0.0),)
    return arrays


def encode_samples(
    inputs: Sequence[Input],
    steps: int,
    samples: Samples,
    *,
    static: bool = False,
    clip: bool = False,
) -> SampleSet:
    """Encode float samples as chip integers: clip(round(x * scale), low, high), int32.

    Args:
        inputs: of the network; each declares scale, low and high.
        steps: T, the number of logical time steps of a sample.
        samples: in float units, per input (B, *shape), presented at every step, or (T, B, *shape).
        static: the samples are (B, *shape), even if B = T.
        clip: clip values beyond the declared range instead of refusing them.

    Returns:
        Arrays by input name; `changes` has the numbers of clipped and rounded values.

    Raises:
        InputError: the samples do not fit, exceed the declared range, or are fractional although
            the input is declared as spikes.
    """
    made = SampleSet()
    for part, array in _numbers(inputs, steps, samples, static):
        made[part.name], found = encoded(part, array, clip=clip)
        made.changes += (found,)
    return made


def round_samples(inputs: Sequence[Input], floats: Mapping[str, NDArray[Any]]) -> SampleSet:
    """Encode checked float samples for `inputs`, which may be coarser than the declared ones.

    Like `encode_samples`, without its checks and warnings.
    """
    made = SampleSet()
    for part in inputs:
        made[part.name] = np.empty(floats[part.name].shape, np.int32)
        made.changes += (change(part, floats[part.name], made[part.name]),)
    return made


def sample_count(inputs: Sequence[Input], arrays: Mapping[str, NDArray[Any]]) -> int:
    """B of checked samples."""
    part = inputs[0]
    return int(arrays[part.name].shape[-1 - len(part.shape)])


def at_step(part: Input, array: NDArray[Any], step: int) -> NDArray[Any]:
    """Values of logical step `step` (from 0), shape (B, *shape)."""
    static = array.ndim == 1 + len(part.shape)
    return array if static else array[step]


def select(inputs: Sequence[Input], arrays: Mapping[str, NDArray[Any]], chosen: slice) -> SampleSet:
    """The samples `chosen` along B of checked arrays."""
    return SampleSet(
        {
            part.name: (
                arrays[part.name][chosen]
                if arrays[part.name].ndim == 1 + len(part.shape)
                else arrays[part.name][:, chosen]
            )
            for part in inputs
        }
    )


def samples_hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of checked arrays: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little.dtype.str} {array.shape}\n".encode())
        digest.update(little.data)
    return digest.hexdigest()


def _shaped(
    inputs: Sequence[Input], steps: int, samples: Samples, static: bool
) -> list[tuple[Input, NDArray[Any]]]:
    if not isinstance(samples, Mapping):
        if len(inputs) != 1:
            names = ", ".join(f"'{part.name}'" for part in inputs)
            raise SamplesError(f"samples: got a single array, but the network has inputs {names}")
        samples = {inputs[0].name: samples}
    known = {part.name for part in inputs}
    for name in samples:
        if name not in known:
            raise SamplesError(
                f"samples: '{name}' is not an input of the network ({sorted(known)})"
            )
    shaped, timed = [], False
    for part in inputs:
        if part.name not in samples:
            raise SamplesError(f"samples: input '{part.name}' is missing")
        array = as_array(f"input '{part.name}'", samples[part.name])
        timed |= not is_static(part, steps, array.shape)
        shaped.append((part, array))
    sizes = {array.shape[-1 - len(part.shape)] for part, array in shaped}
    if 0 in sizes:
        raise SamplesError("samples: the data set is empty (B = 0), needs at least one sample")
    if len(sizes) > 1:
        raise SamplesError(f"samples: inputs have different sample counts {sorted(sizes)}")
    if not (static or timed or isinstance(samples, SampleSet)):
        for part, array in shaped:
            check_batch_axis(part, steps, len(array))
    return shaped


def _numbers(
    inputs: Sequence[Input], steps: int, samples: Samples, static: bool
) -> Iterator[tuple[Input, NDArray[Any]]]:
    """Like `_shaped`, of any type of number; each is checked when its turn comes."""
    for part, array in _shaped(inputs, steps, samples, static):
        if array.dtype.kind not in "iufb":
            raise SamplesError(f"input '{part.name}': type {array.dtype}, must be numbers")
        yield part, array


def _integers(part: Input, array: NDArray[Any], widen: bool) -> NDArray[Any]:
    if array.dtype.kind not in "iub":
        raise SamplesError(
            f"input '{part.name}': type {array.dtype}, must be integers (use encode_samples)"
        )
    # Small chunks of a stream are checked in about the time that they run: no look at what is sure.
    low = 0 if array.dtype.kind != "i" and part.low <= 0 else int(array.min())
    high = int(array.max())
    if low < part.low or high > part.high:
        low = int(array.min())
        raise SamplesError(
            f"input '{part.name}': values span {low}..{high}, must lie in {part.low}..{part.high}"
        )
    return np.ascontiguousarray(array, np.int32) if widen else array
