"""Child process: measure the peak rates of this machine with small loops of the same kind.

A simulator of integer networks adds rows of weights for events or multiplies matrices, so these two
rates, from cache, limit the processing of synapses; memory bandwidth limits what does not fit in
cache. Neuron updates are measured separately.
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
from spikeport.simulators.native.lif import LIFDynamics, LIFState
from spikeport.simulators.native.neurons import neuron_loop
from spikeport.simulators.native.vectors import sum_rows_256

ROW = 512
ROWS = 256
"""Tables of 128 KiB (int8) and 256 KiB (int16) in L2; accumulators of 2 KiB stay in L1."""
CHOSEN = 1 << 15
NEURONS = 1024
SIDE = 1536
COPY_BYTES = 256 << 20
_DYNAMICS = LIFDynamics(0, 3072, 6400, subtract=False, refractory=0)
_VARIANT = (True, True, False)


Add = Callable[[NDArray[Any], NDArray[np.int64], NDArray[np.int32]], None]


@kernel
def add_rows(table: NDArray[Any], chosen: NDArray[np.int64], total: NDArray[np.int32]) -> None:
    """Add the chosen rows of a table to `total`, like weights added to currents for events."""
    for index in chosen:
        row = table[index]
        for i in range(total.size):
            total[i] += row[i]


@kernel
def add_rows_by_four(
    table: NDArray[Any], chosen: NDArray[np.int64], total: NDArray[np.int32]
) -> None:
    """The same for four rows at a time, so that sums are loaded and stored less often."""
    for k in range(0, chosen.size, 4):
        a, b = table[chosen[k]], table[chosen[k + 1]]
        c, d = table[chosen[k + 2]], table[chosen[k + 3]]
        for i in range(total.size):
            total[i] += (np.int32(a[i]) + np.int32(b[i])) + (np.int32(c[i]) + np.int32(d[i]))


@kernel
def add_rows_in_registers(
    table: NDArray[Any], chosen: NDArray[np.int64], total: NDArray[np.int32]
) -> None:
    """The same with vector registers that hold int16 sums of 256 rows."""
    none = np.int32(0)
    for first in range(0, chosen.size, 256):
        for low in range(0, total.size, 256):
            stop = first + 256
            sum_rows_256(table, low, chosen, first, stop, total, total, low, True, none, none)


@kernel
def advance_neurons(
    received: NDArray[np.int32], state: LIFState, fired: NDArray[np.uint8], steps: int
) -> None:
    """Update LIF neurons without bias, with their state in the nearest cache."""
    for _ in range(steps):
        neuron_loop(
            *(state, _DYNAMICS, _VARIANT, False), *(0, 0, received.size), received, received, fired
        )


def limits(threads: int, repeats: int) -> dict[str, float]:
    """Rates in 1/s: additions of weights, multiply-adds of matrix products, bytes moved.

    int8 products are only measured if torch is installed, since NumPy has none.
    """
    found = {
        f"{how.__name__}_{kind}": _row_adds(how, np.dtype(kind), threads, repeats)
        for kind in ("int8", "int16")
        for how in (add_rows, add_rows_by_four, add_rows_in_registers)
    }
    found["neurons"] = neuron_steps(threads, repeats)
    square = np.random.default_rng(0).integers(-127, 127, (SIDE, SIDE)).astype(np.float32)
    found["products_float32"] = SIDE**3 / _median(lambda: square @ square, repeats)
    if importlib.util.find_spec("torch") is not None:
        found["products_int8"] = _int8_products(threads, repeats)
    source = np.zeros(COPY_BYTES // 8)
    target = np.ones_like(source)
    parts = list(zip(np.split(source, threads), np.split(target, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        copied = _median(lambda: list(pool.map(lambda p: np.copyto(p[1], p[0]), parts)), repeats)
    found["memory_bytes"] = 2 * source.nbytes / copied
    return found


def _row_adds(add: Add, kind: np.dtype[Any], threads: int, repeats: int) -> float:
    rng = np.random.default_rng(0)
    table = rng.integers(-100, 100, (ROWS, ROW)).astype(kind)
    chosen = rng.integers(0, ROWS, CHOSEN)
    totals = [np.zeros(ROW, np.int32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = _median(
            lambda: list(pool.map(lambda total: add(table, chosen, total), totals)), repeats
        )
    return threads * CHOSEN * ROW / seconds


def neuron_steps(threads: int, repeats: int) -> float:
    """LIF neuron updates per second."""
    rng = np.random.default_rng(0)
    received = rng.integers(-100, 120, NEURONS).astype(np.int32)
    zeros = np.zeros((1, NEURONS), np.int32)
    states = [
        LIFState(zeros.copy(), zeros.copy(), np.zeros((1, 0), np.uint8)) for _ in range(threads)
    ]

    def run(state: LIFState) -> None:
        advance_neurons(received, state, np.empty(NEURONS, np.uint8), CHOSEN)

    with ThreadPoolExecutor(threads) as pool:
        seconds = _median(lambda: list(pool.map(run, states)), repeats)
    return threads * CHOSEN * NEURONS / seconds


def _int8_products(threads: int, repeats: int) -> float:
    import torch

    torch.set_num_threads(threads)
    left = torch.ones((SIDE, SIDE), dtype=torch.int8)
    right = torch.ones((SIDE, SIDE), dtype=torch.int8).t()
    return SIDE**3 / _median(lambda: torch._int_mm(left, right), repeats)


def _median(run: Callable[[], object], repeats: int) -> float:
    """Median of the seconds after an untimed first call."""
    run()
    found = []
    for _ in range(repeats):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return statistics.median(found)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(limits(int(sys.argv[1]), int(sys.argv[2]))) + "\n")
