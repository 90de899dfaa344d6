"""Traces in `run` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io
from spikeport.errors import CheckFailedError, InputError
from spikeport.network import DeployedNetwork
from spikeport.report.screen import Renderable, Table, plain
from spikeport.runs import RecordSpec, Run, Samples, parse_probe
from spikeport.traces.divergence import number

if TYPE_CHECKING:
    from spikeport.export.nir import FloatNetwork
    from spikeport.traces import TraceComparison

NETWORK_SUFFIXES = (".spikeport", ".nir", ".net", ".safetensors")
TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Write spikes, u and v of every step to this file (HDF5, .h5).",
    ),
]
Probes = Annotated[
    list[str] | None,
    typer.Option(
        "--probe",
        metavar="PROBE",
        help="Record only this, POPULATION[:VARIABLES[:NEURONS]], such as lif1:spikes,v or "
        "out:v:0,4-7; repeatable.",
    ),
]
Traces = Annotated[
    bool,
    typer.Option(
        "--trace",
        help="Also compare u and v; given two files written by `run --trace`, compare those files.",
    ),
]


def record(
    path: Path,
    backend: str,
    network: DeployedNetwork | FloatNetwork,
    samples: Samples,
    probes: list[str] | None,
    timeout_s: float | None,
) -> Run:
    """Run and write the trace of what the probes select, by default of everything."""
    from spikeport.workflow import record_trace

    wanted: RecordSpec | None = [parse_probe(text) for text in probes] if probes else None
    with _io.progress("recording") as update:
        return record_trace(
            path,
            network,
            samples,
            backend=backend,
            record=wanted,
            timeout_s=timeout_s,
            progress=lambda done, count: update("recording", done, count),
        )


def compare_trace_files(first: Path, second: Path | None, as_json: bool) -> None:
    """`compare --trace A B`."""
    from spikeport.traces import compare_files

    if second is None:
        raise InputError(f"compare: --trace {first}: needs a second trace file")
    found = compare_files(first, second)
    data = {"files": [str(first), str(second)], **found.as_dict()}
    _io.emit(as_json, data, *comparison_tables(found, first.name, second.name))
    if found.first is not None:
        raise CheckFailedError(f"compare: {found.first}")


def comparison_tables(found: TraceComparison, first: str, second: str) -> list[Renderable]:
    """How much differs, and the first neuron that does, in the steps up to the difference.

    Args:
        first, second: names of the two.
    """
    totals = Table()
    for name in ("population", "variable"):
        totals.add_column(name)
    for name in ("compared", "differ", "largest difference"):
        totals.add_column(name, justify="right")
    for total in found.totals:
        counts = f"{total.compared:,}", f"{total.differing:,}", number(total.largest)
        style = "bold red" if total.differing else ""
        totals.add_row(total.population, total.variable, *counts, style=style)
    shown: list[Renderable] = [_heading(f"{second} against {first}, value by value"), totals]
    if found.uncompared:
        shown.append(plain(f"Not compared, only in one of them: {', '.join(found.uncompared)}"))
    if (at := found.first) is not None:
        index = f" ({', '.join(map(str, at.neuron))})" if len(at.neuron) > 1 else ""
        shown += (
            _heading(
                f"First divergence: '{at.population}', neuron {at.flat}{index}, "
                f"sample {at.sample}, step {at.step}, {at.variable}"
            ),
            _context_table(found),
            plain(f"Left: {first}; right: {second}."),
        )
    return shown


def _heading(text: str) -> Renderable:
    # Not a table title, because a title wraps at the width of a narrow table.
    return plain(text, "italic")


def _context_table(found: TraceComparison) -> Table:
    table = Table()
    table.add_column("step", justify="right")
    variables = list(found.context[-1].values)
    for name in variables:
        table.add_column(name, justify="right")
    for moment in found.context:
        cells = []
        for name in variables:
            one, other = moment.values[name]
            style = "bold red" if one != other else ""
            cells.append(plain(f"{number(one)} | {number(other)}", style))
        table.add_row(str(moment.step), *cells)
    return table
