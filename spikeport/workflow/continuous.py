"""Run samples as one continuous stream, in which neurons start afresh by a schedule only."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.backends import run as run_backend
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, Input, ReadoutKind
from spikeport.runs import (
    Probe,
    RecordSpec,
    ResetSchedule,
    Run,
    Samples,
    SampleSet,
    Trace,
    check_samples,
    record_items,
    sample_count,
)
from spikeport.simulators.results import narrowed


def run_continuous(
    network: DeployedNetwork,
    samples: Samples,
    resets: ResetSchedule,
    *,
    backend: str = "native",
    record: RecordSpec = (),
    **options: Any,
) -> Run:
    """Run samples of T steps back to back, as netx runs them on a chip.

    The state of neurons carries over from one sample to the next unless `resets` says otherwise,
    and messages in delayed connections always do. With a reset at the start of every sample,
    `ResetSchedule(network.steps)`, and without delays, all results equal those of separate samples.

    Args:
        samples: per input (B, *shape), presented for T steps each, or (T, B, *shape).
        record, options: see `run`.

    Returns:
        Scores and trace of each sample, from its own T steps.

    Raises:
        InputError: samples do not fit, all samples together have too many steps, or the backend has
            no reset schedules.
    """
    arrays = check_samples(network.inputs, network.steps, samples)
    count, steps = sample_count(network.inputs, arrays), network.steps
    if count * steps > checks.MAX_STEPS:
        raise InputError(
            f"samples: {count} of {steps} steps are {count * steps} steps, limit {checks.MAX_STEPS}"
        )
    long = network.replace(steps=count * steps)
    stream = SampleSet({i.name: _joined(i, arrays[i.name], steps) for i in network.inputs})
    what = {ReadoutKind.SPIKES: "spikes", ReadoutKind.MEMBRANE: "v"}
    read = tuple(Probe(r.population, (what[r.kind],)) for r in network.readouts)
    wanted = (*record_items(record), *read)
    run = run_backend(backend, long, stream, record=wanted, resets=resets, **options)
    assert run.trace is not None  # the readouts are always recorded
    scores = {}
    for readout in network.readouts:
        values = run.trace[what[readout.kind]][readout.population].reshape(count, steps, -1)
        spiking = readout.kind is ReadoutKind.SPIKES
        score = values.sum(axis=1, dtype=np.int64) if spiking else values[:, -1].astype(np.int64)
        scores[readout.population] = score
    return dataclasses.replace(
        run,
        network_hash=network.content_hash,
        samples=count,
        steps=steps,
        scores=scores,
        counts=run.counts and dataclasses.replace(run.counts, samples=count, steps=steps),
        trace=_apart(narrowed(run.trace, long, record), count, steps) if record else None,
    )


def _joined(part: Input, values: NDArray[Any], steps: int) -> NDArray[Any]:
    """(B T, 1, *shape)."""
    if values.ndim == 1 + len(part.shape):
        return np.repeat(values, steps, axis=0)[:, None]
    return values.swapaxes(0, 1).reshape(-1, 1, *part.shape)


def _apart(trace: Trace, count: int, steps: int) -> Trace:
    """(T, B, ...) from (B T, 1, ...)."""
    tables = {
        variable: {
            name: np.ascontiguousarray(
                values.reshape(count, steps, *values.shape[2:]).swapaxes(0, 1)
            )
            for name, values in table.items()
        }
        for variable, table in trace.tables.items()
    }
    return Trace.of(tables, trace.neurons)
