"""`run`: a network on a backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from spikeport.cli import _io, _shards, _traces
from spikeport.cli._foreign import Foreign, origin_facts, takes_foreign
from spikeport.cli._tables import counts_table, facts_table
from spikeport.errors import OptionError
from spikeport.network import DeployedNetwork
from spikeport.parity import accuracy
from spikeport.runs import ResetSchedule, Run, SampleSet, check_labels, describe_outputs


@takes_foreign
def run(
    networks: Annotated[
        list[Path],
        typer.Argument(
            metavar="NETWORK",
            help="Deployed network (.spikeport, .nir or .net), float network (.nir) or checkpoint; "
            "several deployed networks are compared in a table.",
        ),
    ],
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            "-b",
            metavar="NAME",
            help="A backend from `spikeport backends` (default: native, or float for "
            "float networks).",
        ),
    ] = None,
    data: _io.Data = _io.DEFAULT_DATA,
    changes: _io.DataChanges = None,
    samples: _io.Count = None,
    clip: _io.Clip = False,
    trace: _traces.TraceFile = None,
    probe: _traces.Probes = None,
    dask: _shards.Dask = None,
    shard: _shards.ShardSize = None,
    resume_folder: _shards.ResumeFolder = None,
    timeout: _shards.Timeout = None,
    reset_interval: _io.ResetInterval = None,
    reset_offset: _io.ResetOffset = 0,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Run a network on a backend over test samples; show accuracy, spikes and events."""
    asked = _shards.Asked(dask, shard, resume_folder, timeout)
    if probe and trace is None:
        raise OptionError(f"--probe {probe[0]}: selects what --trace writes, needs --trace FILE")
    if trace is not None and (len(networks) > 1 or asked != _shards.Asked(timeout_s=timeout)):
        raise OptionError(f"--trace {trace}: needs a single network and no --dask")
    resets = _io.resets(reset_interval, reset_offset)
    if resets is not None and (
        len(networks) > 1 or trace is not None or asked != _shards.Asked(timeout_s=timeout)
    ):
        raise OptionError(
            f"--reset-interval {reset_interval}: needs a single network, no --trace and no --dask"
        )
    if len(networks) > 1:
        opened_all = [_io.open_deployed(path, foreign) for path in networks]
        named = dict(zip(map(str, networks), opened_all, strict=True))
        _run_several(named, backend or "native", data, changes, samples, clip, asked, as_json)
        return
    (network,) = networks
    if trace is not None:
        _io.check_out("--trace", trace, _io.TRACE, network, data)
    opening = _io.open_network if resets is None else _io.open_deployed
    opened = opening(network, foreign)
    dataset = _io.data_for(opened, data, changes)
    if isinstance(opened, DeployedNetwork):
        name, x = "native", _io.chip_samples(opened, dataset, samples, clip)
    else:
        opened = _io.declared(opened, dataset)
        name, x = "float", _io.float_samples(opened, dataset, samples, clip)
    name = backend or name
    if resets is not None and isinstance(opened, DeployedNetwork):
        _shards.check_timeout([name], timeout)
        done = _continuous(opened, x, resets, name, timeout)
    elif trace is None:
        (done,) = _shards.compute(name, [(opened, x)], asked)
    else:
        _shards.check_timeout([name], timeout)
        done = _traces.record(trace, name, opened, x, probe, timeout)
    labels = dataset.test_y[:samples]
    outputs = describe_outputs(done)
    reached = accuracy(int((done.predictions == labels).sum()), done.samples)
    facts = {
        "backend": f"{done.backend} {done.version}",
        "network": done.network_hash[:12] or str(network),
        "samples": done.samples,
        "steps": done.steps,
        **({} if resets is None else {"resets": str(resets)}),
        "accuracy": reached.rate,
        "accuracy_low": reached.low,
        "accuracy_high": reached.high,
        "samples_silent": outputs.silent,
        "samples_tied": outputs.tied,
        "wall_s": round(done.wall_s, 3),
        **_io.input_facts(x),
        **origin_facts(opened),
    }
    data_out = {
        **facts,
        "predictions": done.predictions.tolist(),
        "spikes": {name: int(count.sum()) for name, count in done.spike_counts.items()},
    }
    tables = [facts_table("Run", facts)]
    if done.counts is not None:
        data_out["synaptic_events"] = dict(done.counts.synaptic_events)
        data_out["counts"] = dataclasses.asdict(done.counts)
        tables.append(counts_table(done.counts))
    _io.emit(as_json, data_out, *tables)


def _continuous(
    network: DeployedNetwork,
    samples: SampleSet,
    resets: ResetSchedule,
    backend: str,
    timeout: float | None,
) -> Run:
    from spikeport.backends import timed
    from spikeport.workflow import run_continuous

    options = timed(backend, timeout)
    return run_continuous(network, samples, resets, backend=backend, **options)


def _run_several(
    networks: Mapping[str, DeployedNetwork],
    backend: str,
    data: str,
    changes: Sequence[str] | None,
    samples: int | None,
    clip: bool,
    asked: _shards.Asked,
    as_json: bool,
) -> None:
    from spikeport.cli._sweep import sweep_table
    from spikeport.workflow import sweep

    dataset = _io.data_for(next(iter(networks.values())), data, changes)
    for name, network in networks.items():
        check_labels(name, dataset.classes - 1, network.output_count)
    pairs = {
        name: (network, _io.chip_samples(network, dataset, samples, clip))
        for name, network in networks.items()
    }
    with _shards.running(backend, asked) as options:
        rows = sweep(pairs, dataset.test_y[:samples], backend=backend, **options)
    found = [row.as_dict() for row in rows]
    _io.emit(as_json, {"networks": found}, sweep_table(found))
