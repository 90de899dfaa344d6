"""View activations as rows of neurons without copying, and divide the neurons among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

_SHARED = 1 << 19
"""Number of neuron-steps that justify a separate thread."""


def share_out(size: int, unit: int, work: int, run: Callable[[int, int], None]) -> None:
    """Call `run(begin, end)` on all of `size`, in whole units, in threads if that is faster.

    Args:
        work: total number of neuron-steps.
    """
    units = -(-size // unit)
    threads = min(torch.get_num_threads(), work // _SHARED, units)
    if threads < 2:
        run(0, size)
        return
    ends = [min(size, units * i // threads * unit) for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, ends[:-1], ends[1:]))


@dataclass(frozen=True, slots=True)
class Order:
    """Memory layout of (K, B, ...), for viewing it as rows (K, N) without copying.

    Attributes:
        shape: without K.
    """

    shape: torch.Size
    channels_last: bool

    @staticmethod
    def of(x: Tensor) -> Order:
        """The layout of x, (K, B, ...)."""
        one = x[0]
        last = one.ndim == 4 and not one.is_contiguous()
        return Order(one.shape, last and one.is_contiguous(memory_format=torch.channels_last))

    def rows(self, x: Tensor) -> Tensor:
        """(K, B, *shape) as (K, N), copied only if its layout differs; float32 or wider."""
        x = x if x.dtype in (torch.float32, torch.float64) else x.float()
        return (x.movedim(2, -1) if self.channels_last else x).reshape(len(x), -1).contiguous()

    def restore(self, rows: Tensor) -> Tensor:
        """(K, N) as (K, B, *shape)."""
        if not self.channels_last:
            return rows.view(-1, *self.shape)
        batch, channels, *places = self.shape
        return rows.view(-1, batch, *places, channels).movedim(-1, 2)
