"""Batches of training samples: shuffled each epoch, augmented, prefetched.

A batch depends only on seed, epoch, position and configuration, not on the number of threads that
prefetch or of processes that share a batch.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.errors import DataSetError
from spikeport.network import Input
from spikeport.trainer.data.augment import Augment, augment, draws
from spikeport.trainer.data.dataset import Indices, Key, SampleArray, Stored
from spikeport.trainer.data.frames import Frames
from spikeport.trainer.neurons import BatchNorm

MOST_WORKERS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """Samples, their labels, and how they are processed for the network.

    Attributes:
        kept: indices of the samples to train on.
        share: (r, n): process r of n uses samples r, r + n, ... of each batch.
    """

    x: SampleArray
    y: NDArray[np.int64]
    kept: Indices
    augment: Augment
    seed: int
    batch_size: int
    share: tuple[int, int] = (0, 1)

    @property
    def count(self) -> int:
        """Batches per epoch; the last may be smaller."""
        return -(-len(self.kept) // self.batch_size)

    def epoch(self, epoch: int, first: int, workers: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield samples, labels and the size of the whole batch, starting with batch `first`.

        Args:
            epoch: counted from 0.
            workers: number of prefetching threads; 0 fetches on demand.
        """
        key = (self.seed, epoch)
        order = self.kept[np.random.default_rng(key).permutation(len(self.kept))]
        u = draws(key, len(self.x)) if self.augment.changes else None
        starts = range(first * self.batch_size, len(order), self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        rank, ranks = self.share
        shares = [batch[rank::ranks] for batch in batches]
        fetched = _ahead(lambda chosen: self._fetch(chosen, key, u), shares, workers)
        for batch, chosen, values in zip(batches, shares, fetched, strict=True):
            yield torch.from_numpy(values), torch.from_numpy(self.y[chosen]), len(batch)

    def _fetch(
        self, chosen: Indices, key: Key, u: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        if not isinstance(self.x, Stored):
            values = self.x[chosen]
            return values if u is None else augment(self.augment, values, u[chosen])
        raw = self.x.raw(chosen, key if self.augment.resized_crop else None)
        return self.x.floats(raw if u is None else augment(self.augment, raw, u[chosen]))


def check_augment(config: Augment, x: SampleArray, input: Input) -> None:
    """Refuse augmentations that cannot be applied to these samples.

    Raises:
        InputError: see `Augment.check`; AutoAugment of floats; resized crops of data in memory.
    """
    config.check(input.shape)
    if config.auto_augment and (isinstance(x, Frames) or not isinstance(x, Stored)):
        found = "frames" if isinstance(x, Frames) else "floats"
        raise DataSetError(f"augment: auto_augment works on bytes, this data set contains {found}")
    if config.resized_crop and not hasattr(x, "files"):
        raise DataSetError("augment: resized_crop needs images from folders; others have one size")


def check_batches(feed: Feed, network: nn.Module, exits: nn.Module | None = None) -> None:
    """Refuse batches that leave a process without a sample, or batch norm with a single one.

    Raises:
        InputError: the batches, or the last one of each epoch, are too small.
    """
    check_shares(feed)
    _check_batch_norm(feed, network)
    if exits is not None:
        _check_batch_norm(feed, nn.ModuleDict({"exits": exits}))


def check_shares(feed: Feed) -> None:
    """Refuse batches that leave a process without a sample.

    Raises:
        InputError: the batches, or the last one of each epoch, are too small.
    """
    ranks = feed.share[1]
    size = min(feed.batch_size, len(feed.kept))
    if (smallest := min(size, len(feed.kept) % size or size)) < ranks:
        raise DataSetError(
            f"training: the smallest batch of an epoch has {smallest} of {len(feed.kept)} samples, "
            f"{ranks} processes need one each; use another batch_size or number of processes"
        )


def _check_batch_norm(feed: Feed, network: nn.Module) -> None:
    """Refuse batches of one sample with batch norm.

    A single sample is normalised by its own statistics: an offset common to all pixels is lost, a
    layer without pixels or steps outputs a constant, and inference uses other statistics. Processes
    that share a batch share its statistics, so only the size of the whole batch matters.
    """
    norms = [name for name, part in network.named_modules() if isinstance(part, BatchNorm)]
    total = len(feed.kept)
    size = min(feed.batch_size, total)
    if not norms or (size > 1 and total % size != 1):
        return
    norm = norms[0].removeprefix("layers.")
    if size == 1:
        which, remedy = f"batches of one sample (batch_size {feed.batch_size})", "at least 2"
    else:
        fits = next((n for n in range(size + 1, total) if total % n != 1), total)
        which = f"the last batch of an epoch of {total} samples has one (batch_size {size})"
        remedy = f"{fits}, for example"
    raise DataSetError(
        f"training: {which}, but batch norm '{norm}' needs several; use a batch_size of {remedy}"
    )


def default_workers(x: SampleArray, config: Augment, threads: int) -> int:
    """Number of useful threads: none if fetching is almost free, otherwise the spare cores."""
    if not (config.auto_augment or hasattr(x, "files")):
        return 0
    return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - threads))


def slices(
    x: SampleArray, y: NDArray[np.int64], chosen: Indices, size: int, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield selected samples unchanged, and their labels, `size` at a time."""
    parts = [chosen[first : first + size] for first in range(0, len(chosen), size)]
    for part, values in zip(parts, _ahead(x.__getitem__, parts, workers), strict=True):
        yield torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(y[part])


def _ahead(
    fetch: Callable[[Indices], NDArray[Any]], shares: Sequence[Indices], workers: int
) -> Iterator[NDArray[Any]]:
    """`map(fetch, shares)`, with up to two batches per thread in progress."""
    if not workers:
        yield from map(fetch, shares)
        return
    waiting: deque[Future[NDArray[Any]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for share in shares:
                waiting.append(pool.submit(fetch, share))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
