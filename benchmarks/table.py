"""Printed output of the benchmarks."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FLOATS = ("norse", "snntorch", "spikingjelly")
COLUMNS = (
    "simulator", "used as", "sample-steps/s", "events/s", "of limit", "with neurons",
    "peak memory", "start-up", "native is",
)  # fmt: skip

NOTES = """
sample-steps/s  median of the repeats; Lava: cost of one more sample, without start-up
events/s        synaptic events that native counts for these spikes, the same for every row
of limit        shortest time for the synapses at the rates above, divided by the measured time
with neurons    the same, including the shortest time for the neurons
peak memory     of the process, input included; Lava: its largest process
start-up        from starting Python to the first result, minus one steady run
used as         the best of several batch sizes and orders; Lava takes one sample at a time
""".strip()


def machine_lines(limits: Mapping[str, float], threads: int) -> list[str]:
    """The machine's limits as text."""
    units = {"memory_bytes": "GB/s"}
    return [f"machine, {threads} threads:"] + [
        f"  {name:24} {rate / 1e9:8.1f} {units.get(name, 'G/s')}" for name, rate in limits.items()
    ]


def print_rows(
    facts: Mapping[str, Any], activity: float, rows: Sequence[Mapping[str, Any]]
) -> None:
    """One table: a network at one input activity."""
    rates = facts["rate"].values()
    print(
        f"\n{facts['title']}, input {activity:g} %, populations "
        f"{100 * min(rates):.1f}..{100 * max(rates):.1f} %, {facts['steps']} steps, "
        f"{facts['samples']} samples, {facts['events_per_sample_step']:.3g} synaptic events "
        "per sample-step"
    )
    native = next((row for row in rows if row["simulator"] == "native"), {})
    print_table(COLUMNS, [_cells(row, native) for row in rows if "failed" not in row])
    for row in rows:
        if "failed" in row:
            print(f"{row['simulator']} failed: {row['failed']}")


def print_headline(rows: Sequence[Mapping[str, Any]]) -> None:
    """Compare native with the others, network by network, and print the geometric means."""
    print("\nnative's throughput relative to the others, in this run")
    cells, means = [], []
    for network, activity in dict.fromkeys((r["network"], r["activity_percent"]) for r in rows):
        here = {
            r["simulator"]: r
            for r in rows
            if (r["network"], r["activity_percent"]) == (network, activity)
        }
        native = here.get("native", {})
        lava, lava_bound = _ratio(native, here.get("lava", {}))
        floats = [here[name] for name in FLOATS if "sample_steps_per_s" in here.get(name, {})]
        fastest = max(floats, key=lambda r: float(r["sample_steps_per_s"]), default={})
        beaten, _ = _ratio(native, fastest)
        if lava:
            means.append((activity, lava))
        shares = [native.get(name) for name in ("share_of_limit", "share_with_neurons")]
        cells.append(
            [
                network,
                f"{activity:g} %",
                f"{'>' if lava_bound else ''}{_times(lava)}",
                f"{_times(beaten)} {fastest.get('simulator', '')}".strip(),
                *("" if share is None else f"{100 * share:.0f} %" for share in shares),
            ]
        )
    print_table(
        ("network", "input", "Lava", "fastest float framework", "of limit", "with neurons"), cells
    )
    for activity in dict.fromkeys(activity for activity, _ in means):
        mean = statistics.geometric_mean(ratio for a, ratio in means if a == activity)
        print(f"geometric mean against Lava at {activity:g} %: {_times(mean)}")
    print(f"\n{NOTES}")


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell, the first left-aligned, the others right."""
    lines = [titles, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    for line in lines:
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())
    print(end="", flush=True)


def _cells(row: Mapping[str, Any], native: Mapping[str, Any]) -> list[str]:
    ratio, bound = _ratio(native, row)
    startup, peak = row.get("startup_s"), row.get("peak_bytes")
    if "capped" in row:
        speed = [f"<{si(row['at_most_per_s'])}", "", "", ""]
    else:
        shares = [f"{100 * row[name]:.1f} %" for name in ("share_of_limit", "share_with_neurons")]
        speed = [si(row["sample_steps_per_s"]), si(row["events_per_s"]), *shares]
    return [
        row["simulator"],
        _use(row),
        *speed,
        "" if peak is None else f"{peak / 2**20:.0f} MiB",
        "" if startup is None else f"{startup:.2f} s",
        "" if row["simulator"] == "native" else f"{'>' if bound else ''}{_times(ratio)}",
    ]


def _use(row: Mapping[str, Any]) -> str:
    if row["simulator"] == "lava":
        count = row.get("samples", 1)
        also = ", start included" if row.get("start_included") else ""
        return f"{count} sample{'s' if count > 1 else ''}{also}"
    batch, order = row.get("variant", (0, ""))
    return f"{order + ', ' if order else ''}batch {batch}" if batch else ""


def _ratio(native: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[float | None, bool]:
    """How many times faster native is, and whether this is only a lower bound."""
    rate = row.get("sample_steps_per_s") or row.get("at_most_per_s")
    if not rate or "sample_steps_per_s" not in native:
        return None, False
    return native["sample_steps_per_s"] / rate, "capped" in row


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g}x" if ratio < 100 else f"{ratio:,.0f}x"


def si(value: float) -> str:
    """Three digits and k, M or G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"
