"""`compare` and `energy`: the verbs that judge networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io, _shards, _traces
from spikeport.energy import DEFAULT_PROFILE
from spikeport.errors import CheckFailedError, InputError
from spikeport.network import DeployedNetwork
from spikeport.report.screen import Table
from spikeport.runs import EventCounts, Samples

if TYPE_CHECKING:
    from spikeport.parity import LadderRow


def compare(
    network: Annotated[
        Path,
        typer.Argument(help="Deployed network (.spikeport, .nir or .net); with --trace, a trace."),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(help="A second network or trace, expected to give identical results."),
    ] = None,
    backends: Annotated[
        str,
        typer.Option(
            "--backends",
            "-b",
            metavar="NAME,...",
            help="Backends, comma-separated, each compared with the first.",
        ),
    ] = "native,reference",
    data: _io.Data = "digits",
    changes: _io.DataChanges = None,
    samples: _io.Count = 4,
    clip: _io.Clip = False,
    trace: _traces.Traces = False,
    timeout: _shards.Timeout = None,
    reset_interval: _io.ResetInterval = None,
    reset_offset: _io.ResetOffset = 0,
    as_json: _io.Json = False,
) -> None:
    """Compare backends on a deployed network: all spikes, scores and counts must be equal.

    Exits with code 1 and reports the first difference: a spike, or with --trace any value.
    """
    from spikeport.workflow import compare_backends

    if trace and network.suffix not in _traces.NETWORK_SUFFIXES:
        _traces.compare_trace_files(network, other, as_json)
        return
    resets = _io.resets(reset_interval, reset_offset)
    opened = _io.open_deployed(network)
    dataset = _io.data_for(opened, data, changes)
    x = _io.chip_samples(opened, dataset, samples, clip)
    names = [name for name in backends.split(",") if name]
    others = {} if other is None else {other.name: _io.open_deployed(other)}
    if len(names) + len(others) < 2:
        raise InputError(f"compare: --backends is '{backends}', needs two, or a second file")
    _shards.check_timeout(names or ["native"], timeout)
    with _io.progress("compare") as update:
        found = compare_backends(
            opened,
            x,
            dataset.test_y,
            names,
            others=others,
            trace=trace,
            timeout_s=timeout,
            resets=resets,
            progress=update,
        )
    shown = [
        part
        for stage, traces in found.traces.items()
        for part in _traces.comparison_tables(traces, found.rows[0].stage, stage)
    ]
    _io.emit(as_json, found.as_dict(), _comparison_table(found.rows), *shown)
    if found.problem is not None:
        raise CheckFailedError(f"compare: {found.problem}")


def _comparison_table(rows: Sequence[LadderRow]) -> Table:
    table = Table("Comparison, spike for spike")
    for name in ("stage", "n", "accuracy", "spikes differ", "scores differ", "verdict"):
        table.add_column(name)
    for row in rows:
        found = row.difference
        differing = [str(found.total_spikes), str(found.scores)] if found else ["", ""]
        reached = f"{100 * row.accuracy.rate:.2f} %"
        table.add_row(row.stage, str(row.accuracy.n), reached, *differing, row.verdict)
    return table


def energy(
    network: Annotated[Path, typer.Argument(help="Deployed network (.spikeport, .nir or .net).")],
    data: _io.Data = "digits",
    changes: _io.DataChanges = None,
    samples: _io.Count = None,
    clip: _io.Clip = False,
    activity: Annotated[
        str | None,
        typer.Option(
            metavar="X",
            help="Instead of data: messages per neuron and step, 0 to 1, such as 0.1, or one per "
            "input and population: x=0.2,out=0.05.",
        ),
    ] = None,
    counts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Instead of data: event counts (.json) printed by `run --json`."
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(metavar="PROFILE", help="Energy prices: a built-in profile, or a .toml file."),
    ] = DEFAULT_PROFILE,
    as_json: _io.Json = False,
) -> None:
    """Estimate energy from event counts: low, nominal and high.

    Event counts come from a native run on the data, from --counts, or from --activity, which
    assumes that all neurons of a part are equally active and are updated at every step.
    """
    from spikeport.energy import estimate_energy, load_profile
    from spikeport.report.terminal import render_energy

    if activity is not None and counts is not None:
        raise InputError(f"energy: --activity {activity} and --counts exclude each other; use one")
    opened = _io.open_deployed(network)
    prices = load_profile(profile)
    events = _events(opened, activity, counts)
    if events is None:
        dataset = _io.data_for(opened, data, changes, labels_used=False)
        events = _run_events(opened, _io.chip_samples(opened, dataset, samples, clip))
    estimate = estimate_energy(opened, events, prices)
    if activity is not None:
        assumed = f"Events: not from a run; activity {activity} for all neurons and steps."
        estimate = dataclasses.replace(estimate, assumptions=(assumed, *estimate.assumptions))
    _io.emit(as_json, estimate.as_dict(), render_energy(network.name, estimate))


def _events(
    network: DeployedNetwork, activity: str | None, counts: Path | None
) -> EventCounts | None:
    """Event counts from the options; None if a run must count them."""
    from spikeport.simulators import assumed_counts, load_counts

    if counts is not None:
        return load_counts(counts, network)
    return None if activity is None else assumed_counts(network, _activity(activity))


def _run_events(network: DeployedNetwork, samples: Samples) -> EventCounts:
    from spikeport.backends import run as run_backend

    counts = run_backend("native", network, samples).counts
    assert counts is not None  # native always counts
    return counts


def _activity(text: str) -> float | dict[str, float]:
    """`0.1`, or `x=0.2,out=0.05`."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        if len(pairs) == 1 and not pairs[0][1]:
            return float(text)
        return {name.strip(): float(share) for name, _, share in pairs}
    except ValueError:
        raise InputError(
            f"--activity is '{text}', must be a number, or of the form x=0.2,out=0.05"
        ) from None
