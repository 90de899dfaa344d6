"""Run the same networks, inputs and steps on native, a GPU, Lava and three float frameworks.

`python -m benchmarks.simulators [--quick] [--networks mlp,vgg11] [--activity 2,10] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.children import (
    FIX,
    ChildError,
    answer,
    child,
    exit_on_terminate,
    has_module,
    measure,
    peers_python,
)
from benchmarks.processors import OWN, PROCESSORS, limit_to
from benchmarks.table import machine_lines, print_headline, print_rows

FLOAT_PEERS = ("norse", "snntorch", "spikingjelly")
SIMULATORS = ("native", "cuda", "lava", *FLOAT_PEERS, "float")
NETWORKS = ("mlp", "wide", "deep", "recurrent", "vgg11", "resnet18")
PREPARE_S = 1800.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    chosen = _parser().parse_args(arguments)
    exit_on_terminate()
    limit_to(chosen.processor)
    threads, repeats = chosen.threads, chosen.repeats or (3 if chosen.quick else 7)
    cap_s = chosen.cap or (30.0 if chosen.quick else 600.0)
    activities = chosen.activity or ([10.0] if chosen.quick else [2.0, 10.0, 30.0])
    missing = dict(_missing(chosen.simulators))
    for name, reason in missing.items():
        print(f"{name} is skipped: {reason}")
    limits = answer(
        sys.executable, "benchmarks.machine", [str(threads), str(repeats)],
        threads=threads, limit_s=PREPARE_S,
    )  # fmt: skip
    print("\n".join(machine_lines(limits, threads)), flush=True)
    report: dict[str, Any] = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), **limits},
        "settings": {
            "processor": chosen.processor,
            "threads": threads,
            "repeats": repeats,
            "cap_s": cap_s,
            "quick": chosen.quick,
        },
        "missing": missing,
        "rows": [],
    }
    with tempfile.TemporaryDirectory(prefix="spikeport-benchmark-") as place:
        for network in chosen.networks:
            for activity in activities:
                folder = Path(place) / f"{network}-{activity:g}"
                folder.mkdir()
                facts = _prepare(network, activity / 100, chosen.quick, folder, threads)
                rows = []
                for name in chosen.simulators:
                    if name in missing:
                        continue
                    variants = _variants(name, facts["samples"], chosen.quick)
                    rows.append(_measured(name, folder, facts, variants, threads, repeats, cap_s))
                    print(f"{network} {activity:g} % {name}: done", file=sys.stderr)
                for row in rows:
                    row |= {"network": network, "activity_percent": activity}
                    if (rate := row.get("sample_steps_per_s")) is not None:
                        row["share_of_limit"] = share_of_limit(rate, facts, limits)
                        row["share_with_neurons"] = share_of_limit(
                            rate, facts, limits, neurons=True
                        )
                report["rows"] += rows
                print_rows(facts, activity, rows)
    print_headline(report["rows"])
    if chosen.json:
        from spikeport.storage import write_text

        write_text(chosen.json, json.dumps(report, indent=1) + "\n")
    return 0


def _measured(
    name: str,
    folder: Path,
    facts: Mapping[str, Any],
    variants: Sequence[tuple[int, str]],
    threads: int,
    repeats: int,
    cap_s: float,
) -> dict[str, Any]:
    """One row: the best way to use a simulator, found in one process and measured in another."""
    python = peers_python() if name in FLOAT_PEERS else Path(sys.executable)

    def ask(variants: Sequence[Sequence[Any]]) -> dict[str, Any]:
        return measure(python, name, folder, variants, repeats, threads, cap_s)

    row: dict[str, Any] = {"simulator": name}
    try:
        if len(variants) > 1:
            tried = [min(seconds) for seconds in ask(variants)["tried"]]
            best = variants[tried.index(min(tried))]
            row |= {"tried": list(zip(variants, tried, strict=True))}
        else:
            best = variants[0]
        row |= ask([best]) | {"variant": best}
    except ChildError as error:
        row |= {"failed": str(error)}
    if "seconds" in row:
        rates = [row["sample_steps"] / seconds for seconds in row["seconds"]]
        row["sample_steps_per_s"] = statistics.median(rates)
        row["events_per_s"] = row["sample_steps_per_s"] * facts["events_per_sample_step"]
    return row


def _variants(name: str, samples: int, quick: bool) -> list[tuple[int, str]]:
    """(Batch size, order) to try; native, cuda and Lava choose their own."""
    if name in ("native", "cuda", "lava"):
        return [(samples, "")]
    parts = (1,) if quick else (1, 4, 16)
    sizes = sorted({max(samples // part, 1) for part in parts}, reverse=True)
    orders = ("",) if name == "float" else ("layers", "steps")
    return [(size, order) for order in orders for size in sizes]


def share_of_limit(
    sample_steps_per_s: float,
    facts: Mapping[str, Any],
    limits: Mapping[str, float],
    *,
    neurons: bool = False,
) -> float:
    """The shortest time for the synapses of a sample-step, divided by the measured time.

    Each connection may add rows of weights for its events or multiply matrices, whichever is faster
    at the machine's peak rate.

    Args:
        neurons: include the shortest time for the neurons.
    """
    adds = max(rate for name, rate in limits.items() if name.startswith("add_rows"))
    products = max(rate for name, rate in limits.items() if name.startswith("products"))
    parts = facts["connections"].values()
    least = sum(min(part["events"] / adds, part["products"] / products) for part in parts)
    if neurons:
        least += facts["neurons"] / limits["neurons"]
    return float(least * sample_steps_per_s)


def _prepare(
    network: str, activity: float, quick: bool, folder: Path, threads: int
) -> dict[str, Any]:
    from benchmarks.stored import load_facts

    arguments = [network, str(activity), "quick" if quick else "full", str(folder)]
    child(sys.executable, "benchmarks.prepare", arguments, threads=threads, limit_s=PREPARE_S)
    return load_facts(folder)


def _missing(simulators: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Simulators that cannot run here, with what fixes it."""
    for name in simulators:
        if name in FLOAT_PEERS and not has_module(peers_python(), name):
            yield name, f"not installed; to fix: {FIX}"
        if name in ("cuda", "lava"):
            from spikeport.backends import backend, status_of

            status = status_of(backend(name))
            if status.version is None:
                yield name, f"{status.reason}; to fix: {status.fix}"


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


def _parser() -> argparse.ArgumentParser:
    def names(known: Sequence[str]) -> Any:
        def split(text: str) -> list[str]:
            wanted = text.split(",")
            if unknown := sorted(set(wanted) - set(known)):
                raise argparse.ArgumentTypeError(
                    f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}"
                )
            return wanted

        return split

    def percents(text: str) -> list[float]:
        return [float(item) for item in text.split(",")]

    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulators", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, 10 %% only")
    parser.add_argument("--networks", type=names(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--simulators", type=names(SIMULATORS), default=list(SIMULATORS))
    parser.add_argument("--activity", type=percents, help="input activity in percent: 2,10,30")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--cap", type=float, help="time limit per measurement in seconds")
    parser.add_argument("--processor", choices=PROCESSORS, default=OWN, help="limit instructions")
    parser.add_argument("--json", type=Path, help="output file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
