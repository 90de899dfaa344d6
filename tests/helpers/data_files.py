"""Data sets written as files, in the published formats."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.trainer.data.events import Recording


def pixels(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def write_npz(folder: Path, **changes: Any) -> Path:
    arrays: dict[str, Any] = {
        "x_train": pixels(6, 4, 5),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": pixels(3, 4, 5),
        "y_test": np.array([0, 1, 2]),
    } | changes
    path = folder / "images.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


SENSOR = (2, 4, 6)


def recording(seed: int, count: int, last: int = 1000) -> Recording:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, last, count)).astype(np.uint32)
    x, y, p = (rng.integers(0, size, count).astype(np.uint8) for size in SENSOR[::-1])
    return Recording(x, y, p, t)


def write_events(path: Path, *, test: bool = True, **changes: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for part, count in (("train", 10), ("test", 4))[: 2 if test else 1]:
        events = [recording(i + count, 20 + i) for i in range(count)]
        for name in "xypt":
            arrays[f"{part}_{name}"] = np.concatenate([getattr(e, name) for e in events])
        arrays[f"{part}_offsets"] = np.cumsum([0, *(len(e.t) for e in events)])
        arrays[f"{part}_labels"] = np.arange(count) % 2
    arrays["sensor"] = np.array(SENSOR)
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return arrays


def random_bytes(*shape: int, top: int = 256) -> NDArray[np.uint8]:
    return np.random.default_rng(len(shape)).integers(0, top, shape).astype(np.uint8)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def write_idx_set(folder: Path, images: Any, labels: Any, *, packed: bool = False) -> None:
    """The four files of MNIST; the first half is for training."""
    folder.mkdir(parents=True)
    half = len(images) // 2
    for part, chosen in (("train", slice(half)), ("t10k", slice(half, None))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            path = folder / f"{part}-{kind}-ubyte"
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
            else:
                path.write_bytes(idx_bytes(array))


def write_cifar(path: Path, images: NDArray[np.uint8], *labels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [*(label[:, None] for label in labels), images.reshape(len(images), -1)]
    path.write_bytes(np.concatenate(records, axis=1).tobytes())
