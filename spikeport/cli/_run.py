"""`run`: a network on a backend."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from spikeport.cli import _io
from spikeport.cli._tables import counts_table, facts_table
from spikeport.errors import InputError
from spikeport.files import replacing
from spikeport.network import DeployedNetwork
from spikeport.runs import Run
from spikeport.samples import encode_samples
from spikeport.statistics import accuracy


def run(
    network: Annotated[Path, typer.Argument(help=".spikeport, .nir or checkpoint file.")],
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="See `spikeport backends`.")
    ] = None,
    data: _io.Data = "digits",
    samples: _io.Count = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write spikes, u and v per step to this .npz.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds; for backends that take minutes.")
    ] = None,
    as_json: _io.Json = False,
) -> None:
    """Run a network on a backend over test samples; show accuracy, spikes and events."""
    from spikeport.backends.registry import backend as backend_named
    from spikeport.backends.registry import run as run_backend

    opened = _io.open_network(network)
    deployed = isinstance(opened, DeployedNetwork)
    dataset = _io.open_data(data)
    x: Any = dataset.test_x[:samples]
    if deployed:
        x = encode_samples(opened.inputs, opened.steps, x)
    record = ("spikes", "u", "v") if trace and deployed else ("spikes", "v") if trace else ()
    name = backend or ("native" if deployed else "float")
    slow = backend_named(name).slow
    if timeout is not None and not slow:
        raise InputError(f"--timeout: backend '{name}' takes none, only 'lava' does")
    with _io.progress(name) as update:
        options: dict[str, Any] = {"progress": partial(update, name)} if slow else {}
        if timeout is not None:
            options["timeout_s"] = timeout
        done = run_backend(name, opened, x, record=record, **options)
    if trace is not None:
        _write_trace(done, trace)
    labels = dataset.test_y[:samples]
    reached = accuracy(int((done.predictions == labels).sum()), done.samples)
    facts = {
        "backend": f"{done.backend} {done.version}",
        "network": done.network_hash[:12] or str(network),
        "samples": done.samples,
        "steps": done.steps,
        "accuracy": reached.rate,
        "accuracy_low": reached.low,
        "accuracy_high": reached.high,
        "wall_s": round(done.wall_s, 3),
    }
    data_out = {
        **facts,
        "predictions": done.predictions.tolist(),
        "spikes": {name: int(count.sum()) for name, count in done.spike_counts.items()},
    }
    tables = [facts_table("Run", facts)]
    if done.counts is not None:
        data_out["synaptic_events"] = dict(done.counts.synaptic_events)
        tables.append(counts_table(done.counts))
    _io.emit(as_json, data_out, *tables)


def _write_trace(done: Run, path: Path) -> None:
    assert done.trace is not None
    arrays = {
        f"{kind}.{name}": array
        for kind in ("spikes", "u", "v")
        for name, array in getattr(done.trace, kind).items()
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
