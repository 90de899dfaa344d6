"""Samples with separate values for each time step, in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.trainer.data.dataset import Gathered, Indices, Key, Number


@dataclass(frozen=True, slots=True, eq=False)
class Frames(Gathered):
    """Values of each step, (N, T, *sample_shape), bytes or float32; batches are (T, B, *shape)."""

    values: NDArray[Number]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return self.values.shape[2:]

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value, at most and at least 0."""
        return float(self.values.min(initial=0)), float(self.values.max(initial=0))

    def raw(self, index: Indices, key: Key | None = None) -> NDArray[Number]:
        """(B, T, *sample_shape) values; there are no random changes."""
        return self.values[index]

    def floats(self, raw: NDArray[Number]) -> NDArray[np.float32]:
        """Values as floats, (T, B, *sample_shape)."""
        return np.ascontiguousarray(raw.swapaxes(0, 1), np.float32)

    def take(self, index: slice | Indices) -> Frames:
        """A data set with only the selected samples."""
        return Frames(self.values[index])

    def digest(self) -> bytes:
        """SHA-256 of all values."""
        digest = hashlib.sha256(repr(self.values.shape).encode())
        digest.update(np.ascontiguousarray(self.values).data)
        return digest.digest()
