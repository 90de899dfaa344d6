"""Child process: what this machine can do at best, measured by small loops of the same kind.

A simulator of integer networks adds rows of weights for events or multiplies matrices, so these
two rates, from caches, are its limits; memory bandwidth is that of what does not fit in them.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.compiled import kernel

ROW = 512
ROWS = {"int8": 512, "int16": 512}
"""Tables of 256 KiB and 512 KiB in L2; accumulators of 2 KiB stay in L1."""
SIDE = 1536
COPY_BYTES = 256 << 20


@kernel
def accumulate(table: NDArray[Any], chosen: NDArray[np.int64], total: NDArray[np.int32]) -> None:
    """Add the chosen rows of a table to `total`, as events add weights to currents."""
    for index in chosen:
        row = table[index]
        for i in range(total.size):
            total[i] += row[i]


def limits(threads: int, repeats: int) -> dict[str, float]:
    """Rates in 1/s: row additions, multiply-adds of matrix products, bytes read and written."""
    found = {
        f"row_adds_{kind}": _row_adds(np.dtype(kind), rows, threads, repeats)
        for kind, rows in ROWS.items()
    }
    square = np.random.default_rng(0).integers(-127, 127, (SIDE, SIDE)).astype(np.float32)
    found["products_float32"] = SIDE**3 / _best(lambda: square @ square, repeats)
    if importlib.util.find_spec("torch") is not None:
        found["products_int8"] = _int8_products(threads, repeats)
    source = np.zeros(COPY_BYTES // 8)
    target = np.ones_like(source)
    parts = list(zip(np.split(source, threads), np.split(target, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        copied = _best(lambda: list(pool.map(lambda p: np.copyto(p[1], p[0]), parts)), repeats)
    found["memory_bytes"] = 2 * source.nbytes / copied
    return found


def _row_adds(kind: np.dtype[Any], rows: int, threads: int, repeats: int) -> float:
    rng = np.random.default_rng(0)
    table = rng.integers(-100, 100, (rows, ROW)).astype(kind)
    chosen = rng.integers(0, rows, 1 << 15)
    totals = [np.zeros(ROW, np.int32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = _best(
            lambda: list(pool.map(lambda total: accumulate(table, chosen, total), totals)), repeats
        )
    return threads * chosen.size * ROW / seconds


def _int8_products(threads: int, repeats: int) -> float:
    import torch

    torch.set_num_threads(threads)
    left = torch.ones((SIDE, SIDE), dtype=torch.int8)
    right = torch.ones((SIDE, SIDE), dtype=torch.int8).t()
    return SIDE**3 / _best(lambda: torch._int_mm(left, right), repeats)


def _best(run: Callable[[], object], repeats: int) -> float:
    """Median seconds after a first, untimed call."""
    run()
    found = []
    for _ in range(repeats):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return statistics.median(found)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(limits(int(sys.argv[1]), int(sys.argv[2]))) + "\n")
