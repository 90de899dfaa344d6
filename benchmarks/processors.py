"""Compare this processor with one that has AVX2 only, by limiting the instructions that are used.

`python -m benchmarks.processors [--repeats 5] [--json FILE]`

numba, torch, oneDNN, MKL and OpenBLAS read the limit from the environment of a child process.
Caches, memory and clock stay those of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks.children import answer, exit_on_terminate
from benchmarks.table import print_table
from spikeport.storage import write_text

LIMIT_S = 1800.0
OWN = "own"
AVX2: Mapping[str, str] = MappingProxyType(
    {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    }
)
PROCESSORS: Mapping[str, Mapping[str, str]] = MappingProxyType({OWN: {}, "avx2": AVX2})
"""Variables of the environment by the name of a processor."""
MODULES = ("benchmarks.machine", "benchmarks.neurons", "benchmarks.convolutions")
"""Children whose answers are rates in 1/s by name."""


def limit_to(processor: str) -> None:
    """Limit every process that this one starts from now on."""
    os.environ.update(PROCESSORS[processor])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every processor, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processors", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="output file")
    chosen = parser.parse_args(arguments)
    exit_on_terminate()
    found: dict[str, dict[str, float]] = {processor: {} for processor in PROCESSORS}
    for module in MODULES:
        for processor, variables in PROCESSORS.items():
            found[processor] |= answer(
                sys.executable, module, ["1", str(chosen.repeats)],
                threads=1, limit_s=LIMIT_S, variables=variables,
            )  # fmt: skip
    rows = [
        (name, *(f"{found[processor][name] / 1e9:.2f}" for processor in PROCESSORS))
        for name in found[OWN]
    ]
    print_table(("G/s, one thread", *PROCESSORS), rows)
    if chosen.json:
        write_text(chosen.json, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
