"""The activity above which a matrix product beats adding rows of weights: basis of native's choice.

`python -m benchmarks.products`: time of adding rows divided by that of the float32 product, for
dense connections of three sizes. Above 1 the product is faster.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import print_table
from spikeport.network import Dense, largest_sum
from spikeport.simulators.native.connection_tables import lay_out_dense
from spikeport.simulators.native.delivery import multiply
from spikeport.simulators.native.events import buffers_for
from spikeport.simulators.native.frames import RECEIVED, Rows, rows_frame, weights_of
from spikeport.simulators.native.kernels import deliver
from spikeport.simulators.native.layout import padded

SIZES = ((256, 256), (784, 512), (784, 8192))
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
LARGEST = 15
STEPS, SAMPLES, REPEATS = 8, 8, 7


def rows(sources: int, targets: int, graded: bool) -> Iterator[str]:
    """The ratio for each fraction of non-zero messages."""
    rng = np.random.default_rng(0)
    weight = (2 * rng.integers(-20, 21, (targets, sources))).astype(np.int16)
    dense = Dense("a", "b", weight)
    laid_out = lay_out_dense(dense, (sources,), (targets,), largest_sum(dense, 0, LARGEST))
    tables = laid_out.tables
    bound = Rows(tables, buffers_for(tables), np.empty(RECEIVED, np.int32))
    frame, run = rows_frame(bound), deliver(weights_of(tables), graded)
    current = np.empty((STEPS, SAMPLES, targets), np.int32)
    for share in SHARES:
        chosen = rng.random((SAMPLES, STEPS, sources)) < share
        messages: NDArray[np.int32] | NDArray[np.uint8]
        if graded:
            messages = (chosen * rng.integers(1, LARGEST + 1, chosen.shape)).astype(np.int32)
        else:
            filling = ((0, 0), (0, 0), (0, padded(sources) - sources))
            messages = np.pad(chosen.astype(np.uint8), filling)
        whole = messages[:, :, :sources].swapaxes(0, 1)
        added = _seconds(partial(run, frame, messages, 0, 0, True, current))
        multiplied = _seconds(partial(multiply, whole, laid_out, current, fresh=True))
        yield f"{added / multiplied:.2f}"


def main() -> int:
    """Measure and print."""
    titles = ("dense", "messages", *(f"{100 * share:g} %" for share in SHARES))
    print_table(
        titles,
        [
            (
                f"{sources}-{targets}",
                "integers" if graded else "spikes",
                *rows(sources, targets, graded),
            )
            for sources, targets in SIZES
            for graded in (False, True)
        ],
    )
    return 0


def _seconds(run: Callable[[], object]) -> float:
    run()
    found = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return statistics.median(found)


if __name__ == "__main__":
    sys.exit(main())
