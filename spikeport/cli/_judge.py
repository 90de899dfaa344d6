"""`compare` and `energy`: the verbs that judge networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _gate, _io, _shards, _traces
from spikeport.cli._foreign import Foreign, origin_facts, origin_tables, takes_foreign
from spikeport.cli._tables import facts_table, gate_table
from spikeport.energy import DEFAULT_PROFILE
from spikeport.errors import CheckFailedError, OptionError
from spikeport.network import DeployedNetwork
from spikeport.report.screen import Table
from spikeport.runs import EventCounts, SampleSet

if TYPE_CHECKING:
    from spikeport.export.nir import FloatNetwork
    from spikeport.trainer.data import Dataset
    from spikeport.workflow import Comparison


@takes_foreign
def compare(
    network: Annotated[
        Path,
        typer.Argument(
            help="Network (.spikeport, .nir, .net or .safetensors); with --trace, a trace."
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(help="A second network or trace, expected to give identical results."),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            "--backends",
            "-b",
            metavar="NAME,...",
            help="Backends, comma-separated, each compared with the first (default: "
            "native,reference, or float,norse for float networks).",
        ),
    ] = None,
    data: _io.Data = _io.DEFAULT_DATA,
    changes: _io.DataChanges = None,
    samples: _io.Count = 4,
    clip: _io.Clip = False,
    trace: _traces.Traces = False,
    timeout: _shards.Timeout = None,
    reset_interval: _io.ResetInterval = None,
    reset_offset: _io.ResetOffset = 0,
    tolerances: _gate.TolerancesFile = None,
    junit: _gate.Junit = None,
    markdown: _gate.Markdown = None,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Compare backends on a deployed network: all spikes, scores and counts must be equal.

    Spikes of a float network may differ where a membrane equals its threshold up to rounding.
    Exits with code 1 and reports the first difference: a spike, or with --trace any value. With
    --tolerances, differences within these limits are shown and pass.
    """
    from spikeport.workflow import compare_backends

    files = _gate.GateFiles(tolerances, junit, markdown)
    resets = _io.resets(reset_interval, reset_offset)
    if trace and network.suffix not in _traces.NETWORK_SUFFIXES:
        if resets is not None:
            raise OptionError(f"--reset-interval {reset_interval}: of no use for trace files")
        files.refuse_for_traces()
        _traces.compare_trace_files(network, other, as_json)
        return
    limits = files.open([network, other, data])
    opened = _io.open_network(network, foreign)
    dataset = _io.data_for(opened, data, changes)
    x: SampleSet
    if isinstance(opened, DeployedNetwork):
        x, usual = _io.chip_samples(opened, dataset, samples, clip), "native,reference"
    else:
        opened = _io.declared(opened, dataset)
        x, usual = _io.float_samples(opened, dataset, samples, clip), "float,norse"
    names = [name for name in (usual if backends is None else backends).split(",") if name]
    others = {} if other is None else {other.name: _compared(other, foreign, dataset)}
    if len(names) + len(others) < 2:
        raise OptionError(f"compare: --backends is '{backends}', needs two, or a second file")
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
            tolerances=limits,
            progress=update,
        )
    if found.gate is not None:
        own = Path(data) if Path(data).is_file() else None
        files.write(found.gate, [network, other, own])
    shown = [
        part
        for stage, traces in found.traces.items()
        for part in _traces.comparison_tables(traces, found.rows[0].stage, stage)
    ]
    stated = {} if resets is None else {"resets": str(resets)}
    shown = [*origin_tables(opened), *_schedule(stated), _comparison_table(found), *shown]
    if found.gate is not None:
        shown.append(gate_table(found.gate))
    _io.emit(as_json, origin_facts(opened) | stated | found.as_dict(), *shown)
    if found.problem is not None:
        raise CheckFailedError(f"compare: {found.problem}")


def _schedule(stated: Mapping[str, str]) -> list[Table]:
    return [facts_table("Run as one stream", stated)] if stated else []


def _compared(path: Path, foreign: Foreign, data: Dataset) -> DeployedNetwork | FloatNetwork:
    """The second network, with the input of the data set if its file does not declare it."""
    opened = _io.open_network(path, foreign)
    return opened if isinstance(opened, DeployedNetwork) else _io.declared(opened, data)


def _comparison_table(comparison: Comparison) -> Table:
    """A row for each run; whether a difference is allowed is said by the gate, if there is one."""
    table = Table("Comparison, spike for spike")
    for name in ("stage", "n", "accuracy", "spikes differ", "scores differ", "verdict"):
        table.add_column(name)
    for row in comparison.rows:
        found, verdict = row.difference, row.verdict
        if comparison.gate is not None:
            verdict = verdict.removeprefix("FAILED: ")
        differing = [str(found.total_spikes), str(found.scores)] if found else ["", ""]
        reached = f"{100 * row.accuracy.rate:.2f} %"
        table.add_row(row.stage, str(row.accuracy.n), reached, *differing, verdict)
    return table


@takes_foreign
def energy(
    network: Annotated[Path, typer.Argument(help="Deployed network (.spikeport, .nir or .net).")],
    data: _io.Data = _io.DEFAULT_DATA,
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
    mapped: Annotated[
        bool,
        typer.Option(
            "--map",
            help="Map the network onto the chip first, for its cores, packets and hops.",
        ),
    ] = False,
    spread: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --map: divide the work among up to N cores, not the fewest."
        ),
    ] = None,
    ann: _io.ConvertedFrom = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="Show the same events by a published method too, such as lemaire2022; may be "
            "repeated, or be `all`.",
        ),
    ] = None,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Estimate energy and latency from event counts: low, nominal and high.

    Event counts come from a native run on the data, from --counts, or from --activity, which
    assumes that all neurons of a part are equally active and are updated at every step.
    """
    from spikeport.energy import (
        builtin_methods,
        estimate_by_method,
        estimate_energy,
        load_profile,
        method_named,
    )
    from spikeport.report.energy_tables import render_energy, render_methods
    from spikeport.workflow import estimate_mapped_energy

    if activity is not None and counts is not None:
        raise OptionError(f"energy: --activity {activity} and --counts exclude each other; use one")
    if spread is not None and not mapped:
        raise OptionError(f"energy: --spread {spread} needs --map")
    opened = _io.open_deployed(network, foreign)
    macs = None if ann is None else _ann_macs(ann, opened)
    prices = load_profile(profile)
    named = [*builtin_methods()] if "all" in (methods or ()) else methods or []
    for name in named:
        method_named(name)  # before a run that may take long
    events, accuracy = _events(opened, activity, counts), None
    if events is None:
        dataset = _io.data_for(opened, data, changes, labels_used=False)
        events, accuracy = _run_events(opened, dataset, samples, clip)
    if mapped:
        estimate = estimate_mapped_energy(
            opened, events, prices, accuracy=accuracy, cores=spread, ann_macs=macs
        )
    else:
        estimate = estimate_energy(opened, events, prices, accuracy=accuracy, ann_macs=macs)
    if activity is not None:
        assumed = f"Events: not from a run; activity {activity} for all neurons and steps."
        estimate = dataclasses.replace(estimate, assumptions=(assumed, *estimate.assumptions))
    others = [estimate_by_method(opened, events, name) for name in named]
    shown = [*origin_tables(opened), render_energy(network.name, estimate, details=True)]
    shown += [render_methods(others)] if others else []
    facts = {"methods": [one.as_dict() for one in others]} if others else {}
    _io.emit(as_json, origin_facts(opened) | estimate.as_dict() | facts, *shown)


def _ann_macs(path: Path, network: DeployedNetwork) -> int:
    """MACs of the ANN in a checkpoint, which the network can have been converted from."""
    from spikeport.ladder.ann import ann_of
    from spikeport.trainer.loop import load_checkpoint
    from spikeport.trainer.measure import macs_of

    return macs_of(ann_of(network, load_checkpoint(path).model, f"--ann {path}"))


def _events(
    network: DeployedNetwork, activity: str | None, counts: Path | None
) -> EventCounts | None:
    """Event counts from the options; None if a run must count them."""
    from spikeport.simulators import assumed_counts, load_counts

    if counts is not None:
        return load_counts(counts, network)
    return None if activity is None else assumed_counts(network, _activity(activity))


def _run_events(
    network: DeployedNetwork, data: Dataset, samples: int | None, clip: bool
) -> tuple[EventCounts, float | None]:
    """Event counts of a run, and its accuracy if the labels are classes of the network."""
    from spikeport.backends import run as run_backend

    done = run_backend("native", network, _io.chip_samples(network, data, samples, clip))
    assert done.counts is not None  # native always counts
    if data.classes != network.output_count:
        return done.counts, None
    right = done.predictions == data.test_y[: done.samples]
    return done.counts, float(right.mean())


def _activity(text: str) -> float | dict[str, float]:
    """`0.1`, or `x=0.2,out=0.05`."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        if len(pairs) == 1 and not pairs[0][1]:
            return float(text)
        return {name.strip(): float(share) for name, _, share in pairs}
    except ValueError:
        raise OptionError(
            f"--activity is '{text}', must be a number, or of the form x=0.2,out=0.05"
        ) from None
