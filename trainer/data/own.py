"""`make_dataset`: a data set from arrays, a torch `Dataset` or a `DataLoader`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.checks import MAX_SIZE, as_array, integer
from spikeport.errors import DataSetError, LabelsError
from spikeport.network import LOIHI, Coding, Input
from spikeport.runs.sample_values import SLACK, check_range, check_scale
from spikeport.trainer.data.dataset import Dataset, SampleArray, hold_out
from spikeport.trainer.data.frames import Frames
from spikeport.trainer.data.labels import class_count, warn_of_empty_classes
from spikeport.trainer.data.pixels import PixelGrid, Pixels

FINEST = 256
"""Largest scale that is looked for in float values."""
PROBED = 2**16
"""Number of values on which scales are tried before all values are checked."""
_log = logging.getLogger(__name__)


def make_dataset(
    train: Any,
    test: Any = None,
    *,
    input: Input | None = None,
    steps: int | None = None,
    classes: int | None = None,
    name: str = "data",
    test_share: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Build a data set from your own samples; all of them are read into memory once.

    Values are those that the network receives; bytes (uint8) are pixels, of which 255 is 1.0, or
    counts if each step has its own.
    A random transform is applied once, not in every epoch; `TrainConfig.augment` is per epoch.

    Args:
        train: a pair (x, y) of arrays or tensors, x (N, *shape) and y (N,) integers from 0; a torch
            `Dataset` of pairs (x of one sample, its label); or a `DataLoader` of batches (x, y).
        test: test samples in any of these forms; by default a share of each class of `train` is
            held out.
        input: the declared input. By default it is inferred from the values: spikes if all are 0 or
            1, otherwise graded with the smallest scale up to 256 at which all are integers. Its
            range is 0..scale for values of 0..1, and otherwise that of the values.
        steps: T, if each step has its own values: x is then (N, T, *shape). By default x is
            (N, *shape), presented at every step.
        classes: number of classes; by default the highest training label plus one.
        test_share, seed: how much is held out without `test`, and which samples.

    Raises:
        InputError: shapes, types, labels or values break a rule of `Dataset`; or no input is given
            and none follows from the values, or from bytes beside values of another type.
    """
    subject = f"data set '{name}'"
    x, y = _read(f"{subject}: train", train)
    if classes is None:
        classes = class_count(f"{subject}: train_y", y)
    if test is None:
        if len(y) != len(x):
            raise LabelsError(f"{subject}: train has {len(x)} samples but {len(y)} labels")
        kept, held = hold_out(y, test_share, seed)
        parts = (x[kept], y[kept]), (x[held], y[held])
    else:
        parts = (x, y), _read(f"{subject}: test", test)
    (train_x, train_y), (test_x, test_y) = parts
    first: SampleArray = train_x
    second: SampleArray = test_x
    bytes_in = [part.dtype == np.uint8 for part in (train_x, test_x)]
    if steps is None and input is None and any(bytes_in) and not all(bytes_in):
        raise DataSetError(
            f"{subject}: train_x has type {train_x.dtype} and test_x {test_x.dtype}, must be uint8 "
            "(pixels, of which 255 is 1.0) both or neither; or declare the input"
        )
    if steps is not None:
        first, second = (
            _frames(f"{subject}: {part}_x", x, integer(f"{subject}: steps (T)", steps, 1, MAX_SIZE))
            for part, x in (("train", train_x), ("test", test_x))
        )
        input = input or _inferred(subject, train_x, test_x, first=2)
        for part, values in (("train", first.values), ("test", second.values)):
            check_range(input, values, f"{subject}: {part}_x")
            check_scale(input, values, f"{subject}: {part}_x")
    elif input is None and all(bytes_in):
        grid, shape = PixelGrid(), train_x.shape[1:]
        brightest = int(max(train_x.max(initial=0), test_x.max(initial=0)))
        grid.check_brightest(f"{subject}: x", brightest)
        table = grid.table(shape[0] if shape else 1)
        first, second = Pixels(train_x, table), Pixels(test_x, table)
        input = grid.input(shape)
    elif input is None:
        input = _inferred(subject, train_x, test_x)
    data = Dataset(name, first, train_y, second, test_y, input, classes)
    warn_of_empty_classes(data)
    _log.info(
        "%s: %d training and %d test samples, %d classes, input %s %s %d..%d, scale %g",
        subject, len(first), len(second), classes, input.shape, input.coding, input.low,
        input.high, input.scale,
    )  # fmt: skip
    return data


def _read(subject: str, given: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """All samples and labels, as arrays of the same length or an error."""
    if isinstance(given, tuple | list) and len(given) == 2:
        x, y = (
            as_array(f"{subject}_{part}", value) for part, value in zip("xy", given, strict=True)
        )
    elif _is_loader(given):
        _warn_of_shuffling(subject, given)
        batches = [_pair(subject, batch) for batch in given]
        _refuse_empty(subject, batches)
        x, y = (_joined(subject, part, np.concatenate) for part in zip(*batches, strict=True))
    elif hasattr(given, "__getitem__") and isinstance(given, Sized):
        samples = [_pair(subject, given[place]) for place in range(len(given))]  # type: ignore[index]
        _refuse_empty(subject, samples)
        x, y = (_joined(subject, part, np.stack) for part in zip(*samples, strict=True))
    elif isinstance(given, Iterable):
        samples = [_pair(subject, sample) for sample in given]
        _refuse_empty(subject, samples)
        x, y = (_joined(subject, part, np.stack) for part in zip(*samples, strict=True))
    else:
        raise DataSetError(
            f"{subject}: is {type(given).__name__}, must be a pair (x, y) of arrays, a torch "
            "Dataset or a DataLoader"
        )
    if x.dtype.kind not in "iufb":
        raise DataSetError(f"{subject}_x has type {x.dtype}, must be numbers")
    if x.ndim < 2:
        raise DataSetError(f"{subject}_x has shape {x.shape}, must be (N, *shape)")
    return x, y


def _refuse_empty(subject: str, parts: list[Any]) -> None:
    if not parts:
        raise DataSetError(f"{subject}: is empty, needs at least one sample")


def _is_loader(given: Any) -> bool:
    if not type(given).__module__.startswith(("numpy", "builtins")):
        from torch.utils.data import DataLoader

        return isinstance(given, DataLoader)
    return False


def _warn_of_shuffling(subject: str, loader: Any) -> None:
    from torch.utils.data import RandomSampler

    if isinstance(loader.sampler, RandomSampler):
        _log.warning(
            "%s: is a DataLoader that shuffles, so a run on it cannot be resumed with a newly read "
            "data set; pass its dataset, or shuffle=False (training shuffles by itself)",
            subject,
        )


def _pair(subject: str, item: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise DataSetError(f"{subject}: gives {type(item).__name__}, must give pairs (x, label)")
    return as_array(f"{subject}_x", item[0]), as_array(f"{subject}_y", item[1])


def _joined(subject: str, parts: Any, join: Any) -> NDArray[Any]:
    shapes = {part.shape[1:] if join is np.concatenate else part.shape for part in parts}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise DataSetError(f"{subject}: samples have shapes {one} and {other}, must be equal")
    made: NDArray[Any] = join(parts)
    return made


def _frames(subject: str, x: NDArray[Any], steps: int) -> Frames:
    """Samples (N, T, *shape), as bytes if they are."""
    if x.ndim < 3 or x.shape[1] != steps:
        raise DataSetError(
            f"{subject} has shape {x.shape}, must be (N, T, *shape) with T = {steps}"
        )
    return Frames(x if x.dtype == np.uint8 else x.astype(np.float32))


def _inferred(
    subject: str, train_x: NDArray[Any], test_x: NDArray[Any], *, first: int = 1
) -> Input:
    """The input that these values declare.

    Args:
        first: the first axis of the shape of one sample at one step.

    Raises:
        InputError: they are integers at no scale, or too large.
    """
    shape = train_x.shape[first:]
    values = np.concatenate([train_x.reshape(-1), test_x.reshape(-1)]).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataSetError(f"{subject}: x contains NaN or infinity, must be finite")
    low, high = (float(end) for end in (values.min(initial=0), values.max(initial=0)))
    most = LOIHI.payload_max
    probed = values[:: max(1, len(values) // PROBED)]
    for scale in range(1, FINEST + 1):
        if not (_whole(probed, scale) and _whole(values, scale)):
            continue
        if scale == 1 and low >= 0 and high <= 1:
            return Input("input", shape)
        least, top = round(low * scale), round(high * scale)
        if least >= LOIHI.payload_min and top <= most:
            top = max(top, scale) if low >= 0 and high <= 1 else top
            return Input("input", shape, Coding.GRADED, least, top, scale=float(scale))
        break
    size = max(abs(low), abs(high)) or 1.0
    advised = min(255 / size, most / size)
    raise DataSetError(
        f"{subject}: no input follows from the values, which span {low:g}..{high:g} and are "
        f"integers of the chip at no scale up to {FINEST}; declare one: input=Input('input', "
        f"{shape}, 'graded', low, high, scale), with integers low..high = x * scale, for example "
        f"{round(low * advised)}, {round(high * advised)}, {advised:.4g} (values are then rounded "
        "on the chip)"
    )


def _whole(values: NDArray[np.float64], scale: int) -> bool:
    scaled = values * scale
    return bool((np.abs(scaled - np.rint(scaled)) <= SLACK).all())
