"""`compare` and `energy`: the verbs that judge networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeport.cli import _io, _shards, _traces
from spikeport.errors import CheckFailedError, InputError
from spikeport.network import DeployedNetwork
from spikeport.report.screen import Table
from spikeport.runs import RECORDABLE, EventCounts, Run, Samples


def compare(
    network: Annotated[
        Path, typer.Argument(help="Deployed network (.spikeport or .nir); with --trace, a trace.")
    ],
    other: Annotated[
        Path | None, typer.Argument(help="A second file that must contain the same.")
    ] = None,
    backends: Annotated[
        str, typer.Option("--backends", "-b", help="Comma-separated, each compared with the first.")
    ] = "native,reference",
    data: _io.Data = "digits",
    changes: _io.DataChanges = None,
    samples: _io.Count = 4,
    clip: _io.Clip = False,
    trace: _traces.Traces = False,
    timeout: _shards.Timeout = None,
    as_json: _io.Json = False,
) -> None:
    """Compare backends on a deployed network: all spikes, scores and counts must be equal.

    Exit code 1 with the first spike, or with --trace the first value, that differs.
    """
    from spikeport.parity import Criterion, LadderRow, build_row
    from spikeport.traces import TraceComparison, compare_runs

    if trace and network.suffix not in _traces.NETWORK_SUFFIXES:
        _traces.compare_trace_files(network, other, as_json)
        return
    opened = _io.open_deployed(network)
    dataset = _io.data_for(opened, data, changes)
    x = _io.chip_samples(opened, dataset, samples, clip)
    stages: list[tuple[str, str, DeployedNetwork]] = [
        (name, name, opened) for name in backends.split(",") if name
    ]
    if other is not None:
        first = stages[0][1] if stages else "native"
        stages.append((f"{first}, {other.name}", first, _io.open_deployed(other)))
    if len(stages) < 2:
        raise InputError(f"compare: --backends is '{backends}', needs two, or a second file")
    _shards.check_timeout([name for _, name, _ in stages], timeout)
    rows: list[LadderRow] = []
    above: Run | None = None
    compared: dict[str, TraceComparison] = {}
    runs = _runs(stages, x, RECORDABLE if trace else ("spikes",), timeout)
    for (stage, _, _), run in zip(stages, runs, strict=True):
        rule = Criterion.EXACT
        rows.append(
            build_row(stage, run, dataset.test_y, above=above, rule=rule, order=opened.order)
        )
        if trace and above is not None:
            compared[stage] = compare_runs(above, run, opened.order)
        above = above or run
    table = Table("Comparison, spike for spike")
    for name in ("stage", "n", "accuracy", "spikes differ", "scores differ", "verdict"):
        table.add_column(name)
    for row in rows:
        found = row.difference
        differing = [str(found.total_spikes), str(found.scores)] if found else ["", ""]
        reached = f"{100 * row.accuracy.rate:.2f} %"
        table.add_row(row.stage, str(row.accuracy.n), reached, *differing, row.verdict)
    result: dict[str, Any] = {"rows": [dataclasses.asdict(row) for row in rows]}
    if trace:
        result["traces"] = {stage: found.as_dict() for stage, found in compared.items()}
    shown = [
        part
        for stage, found in compared.items()
        for part in _traces.comparison_tables(found, rows[0].stage, stage)
    ]
    _io.emit(as_json, result, table, *shown)
    for row in rows:
        diverged = compared[row.stage].first if row.stage in compared else None
        if diverged is not None:
            verdict = "FAILED: spikes are equal, states are not" if row.passed else row.verdict
            raise CheckFailedError(f"compare: {row.stage}: {verdict}; first value at {diverged}")
        if not row.passed:
            raise CheckFailedError(f"compare: {row.stage}: {row.verdict}")


def _runs(
    stages: Sequence[tuple[str, str, DeployedNetwork]],
    samples: Samples,
    record: Sequence[str],
    timeout_s: float | None,
) -> Iterator[Run]:
    """The runs of all (stage, backend, network), with a progress bar over all of them."""
    from spikeport.backends import run, timed

    with _io.progress("compare") as update:
        for stage, name, network in stages:
            update(stage, 0, 0)
            options = timed(name, timeout_s, partial(update, stage))
            yield run(name, network, samples, record=record, **options)


def energy(
    network: Annotated[Path, typer.Argument(help="Deployed network (.spikeport or .nir).")],
    data: _io.Data = "digits",
    changes: _io.DataChanges = None,
    samples: _io.Count = None,
    clip: _io.Clip = False,
    activity: Annotated[
        str | None,
        typer.Option(
            help="Instead of data: messages per neuron and step, 0.1, or by name: x=0.2,out=0.05."
        ),
    ] = None,
    counts: Annotated[
        Path | None,
        typer.Option(help="Instead of data: event counts (.json) printed by `run --json`."),
    ] = None,
    profile: Annotated[str, typer.Option(help="A built-in profile, or a .toml file.")] = "loihi1",
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
