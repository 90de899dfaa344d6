"""The cost of recording in a native run.

`python -m benchmarks.recording [--steps 100000] [--samples 1]`
"""

from __future__ import annotations

import argparse
import time

from benchmarks.networks import dense_chain, random_spikes
from spikeport.runs import RECORDABLE
from spikeport.simulators import run_native

REPEATS = 3
SIZES = (64, 32, 10)


def main() -> None:
    """Print the seconds of a run without recording and of runs with recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=1)
    chosen = parser.parse_args()
    network = dense_chain(*SIZES, steps=chosen.steps)
    samples = random_spikes(network, chosen.samples, 0.1)
    first = None
    for record in ((), ("spikes",), ("v",), RECORDABLE):
        seconds = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            run_native(network, samples, record=record)
            seconds.append(time.perf_counter() - started)
        best = min(seconds)
        first = first or best
        print(f"{'+'.join(record) or 'nothing':12} {best:8.3f} s {best / first:8.1f} times")


if __name__ == "__main__":
    main()
