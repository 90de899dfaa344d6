"""Cores, chips and seconds of mapping the benchmark networks onto chips.

`python -m benchmarks.mapping [--networks mlp ...] [--targets loihi1 ...] [--apart]`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

from benchmarks.networks import CASES
from benchmarks.table import print_table
from spikeport.errors import CheckFailedError
from spikeport.mapping import map_network

COLUMNS = (
    "network", "target", "cores", "chips", "lower bound", "more", "hops", "least", "seconds",
)  # fmt: skip
NOTES = """
more     cores beyond the lower bound
hops     per packet, if every neuron and input sends one spike
least    hops that no placement of these cores can do without, per packet
seconds  of processor time of map_network, which uses one core
""".strip()


def measure(names: Sequence[str], targets: Sequence[str], apart: bool) -> Iterator[list[str]]:
    """A row for each network and target."""
    for name in names:
        case = CASES[name]
        network = case.build()
        for target in targets:
            started = time.process_time()
            try:
                made = map_network(network, target, share_cores=not apart)
            except CheckFailedError:
                yield [case.title, target, "cannot be mapped", *[""] * 6]
                continue
            seconds = time.process_time() - started
            traffic = made.traffic()
            least = (traffic.least_hops or 0.0) / (traffic.packets or 1.0)
            yield [
                case.title, target, f"{len(made.cores):,}", str(made.chips),
                f"{made.lower_bound:,}", f"{made.gap:.0%}", f"{traffic.hops_per_packet:.2f}",
                f"{least:.2f}", f"{seconds:.2f}",
            ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--targets", nargs="+", default=["loihi1", "loihi2"])
    parser.add_argument("--apart", action="store_true", help="each population on its own cores")
    chosen = parser.parse_args(arguments)
    print_table(COLUMNS, list(measure(chosen.networks, chosen.targets, chosen.apart)))
    print("\n" + NOTES)


if __name__ == "__main__":
    main()
