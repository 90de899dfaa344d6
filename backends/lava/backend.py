"""`run_lava`: a deployed network on Intel's Lava, spike for spike in logical time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.backends.lava.environment import require_lava
from spikeport.backends.lava.program import Program, Recording, build_program, in_our_order
from spikeport.backends.lava.schedule import Schedule, schedule
from spikeport.backends.lava.supervise import run_worker
from spikeport.errors import BackendUnavailableError, OutputError, ValueRangeError
from spikeport.network import DeployedNetwork, ReadoutKind, require_loihi
from spikeport.runs import (
    RecordSpec,
    ResetSchedule,
    Run,
    Samples,
    Trace,
    check_samples,
    record_items,
    sample_count,
    select,
)
from spikeport.simulators import run_native
from spikeport.simulators.results import empty_trace, keep, narrowed
from spikeport.storage import scratch_folder

TIMEOUT_S = 1800.0
CHUNK_BYTES = 1 << 28
"""Memory for the inputs and recordings of one Lava run; more samples are run afterwards."""

SampleProgress = Callable[[int, int], None]
"""Called with (samples done, total samples)."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A network, its checked samples, and the number of samples per Lava run."""

    network: DeployedNetwork
    samples: Mapping[str, NDArray[Any]]
    count: int
    at_once: int
    times: Schedule
    trace: Trace
    record: RecordSpec
    resets: ResetSchedule | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One Lava run of some samples of a task."""

    task: _Task
    chosen: slice
    folder: Path
    program: Program


def run_lava(
    network: DeployedNetwork,
    samples: Samples,
    *,
    record: RecordSpec = (),
    timeout_s: float = TIMEOUT_S,
    progress: SampleProgress | None = None,
    resets: ResetSchedule | None = None,
) -> Run:
    """Run a network on integer samples with lava-nc's fixed-point process models.

    Event counts are those of native for exactly the spikes that Lava computed.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, or `Probe`s.
        timeout_s: wall-clock limit; Lava takes about 1 ms per step and connection. A worker that
            does nothing for a minute is stopped earlier.
        progress: called with (samples done, total samples).
        resets: when neurons start afresh, besides the first step of each sample.

    Raises:
        InputError: samples do not fit, or Lava cannot run the network (every reason is listed).
        BackendUnavailableError: Lava is missing, failed, was killed, hung or took too long; the
            message names the population or connection that was killed or is stuck.
        CheckFailedError: Lava's spikes do not follow from the integer dynamics.
        OutputError: the files for the worker cannot be written.
    """
    pairs = [(network, samples)]
    return run_many(pairs, record=record, timeout_s=timeout_s, progress=progress, resets=resets)[0]


def run_many(
    pairs: Sequence[tuple[DeployedNetwork, Samples]],
    *,
    record: RecordSpec = (),
    timeout_s: float = TIMEOUT_S,
    progress: SampleProgress | None = None,
    resets: ResetSchedule | None = None,
) -> list[Run]:
    """Run several networks on their samples, in sequence, in one worker; see `run_lava`."""
    if not timeout_s > 0:
        raise ValueRangeError(f"backend 'lava': timeout_s is {timeout_s}, must be above 0")
    tasks = [_task(network, samples, record, resets) for network, samples in pairs]
    python, version = require_lava()
    total = sum(task.count for task in tasks)
    # Its name also marks the worker's shared memory.
    with scratch_folder("spikeport-lava-") as folder:
        jobs = _write_jobs(tasks, folder)
        steps = sum(job.program.chip_steps for job in jobs)

        def report(done: int) -> None:
            if progress is not None:
                progress(done * total // steps, total)

        run_worker(python, folder, len(jobs), steps, timeout_s, report)
        results = [_read_job(job) for job in jobs]
    return [
        _run(task, version, [r for j, r in zip(jobs, results, strict=True) if j.task is task])
        for task in tasks
    ]


def _task(
    network: DeployedNetwork, samples: Samples, record: RecordSpec, resets: ResetSchedule | None
) -> _Task:
    require_loihi(network, "backend 'lava'")
    arrays = check_samples(network.inputs, network.steps, samples)
    count = sample_count(network.inputs, arrays)
    trace = empty_trace(network, count, {*record_items(record), "spikes"})
    times = schedule(network)
    bytes_each = 1 + 4 * len([name for name, table in trace.tables.items() if table][1:])
    neurons = sum(part.size for part in network.populations)
    messages = sum(part.size for part in network.inputs)
    per_sample = network.steps * (bytes_each * neurons + 4 * messages)
    at_once = max(1, CHUNK_BYTES // per_sample)
    return _Task(network, arrays, count, at_once, times, trace, record, resets)


def _write_jobs(tasks: Sequence[_Task], folder: Path) -> list[_Job]:
    jobs: list[_Job] = []
    for task in tasks:
        for first in range(0, task.count, task.at_once):
            chosen = slice(first, min(first + task.at_once, task.count))
            place = folder / f"job{len(jobs)}"
            samples = select(task.network.inputs, task.samples, chosen)
            program = build_program(
                task.network,
                task.times,
                samples,
                chosen.stop - first,
                task.record,
                place,
                task.resets,
            )
            try:
                place.mkdir()
                program.write(place)
            except OSError as error:
                raise OutputError(
                    f"{place}: the files for Lava's worker cannot be written: "
                    f"{error.strerror or error}"
                ) from error
            jobs.append(_Job(task, chosen, place, program))
    return jobs


def _read_job(job: _Job) -> tuple[slice, dict[Recording, NDArray[Any]], float]:
    """Recordings in our order and the duration of the run in seconds."""
    try:
        text = (job.folder / "done.json").read_text(encoding="utf-8")
        wall_s = float(json.loads(text)["wall_s"])
        found = {r: _read_recording(job, r) for r in job.program.recordings}
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise BackendUnavailableError(
            f"backend 'lava': its worker finished, but left a damaged result: {error}"
        ) from error
    return job.chosen, found, wall_s


def _read_recording(job: _Job, recording: Recording) -> NDArray[Any]:
    shape = job.task.network.by_name[recording.population].shape
    path = job.folder / f"{recording.name}.npy"
    frames = np.load(path, allow_pickle=False)
    expected = ((recording.frames, *shape[::-1]), np.dtype(recording.dtype))
    if (frames.shape, frames.dtype) != expected:
        raise ValueError(f"{path.name} is {frames.shape} {frames.dtype}, must be {expected}")
    if recording.what == "spikes" and frames.max() > 1:
        raise ValueError(f"{path.name} contains {frames.max()}, spikes are 0 or 1")
    return in_our_order(frames, shape, job.chosen.stop - job.chosen.start)


def _run(
    task: _Task, version: str, results: Sequence[tuple[slice, dict[Recording, NDArray[Any]], float]]
) -> Run:
    network, trace = task.network, task.trace
    final = {p.name: np.zeros((task.count, p.size), np.int64) for p in network.populations}
    for chosen, found, _ in results:
        for recording, values in found.items():
            if recording.what == "end":
                final[recording.population][chosen] = values.reshape(values.shape[1], -1)
            else:
                name, at = recording.population, (slice(None), chosen)
                keep(trace, name, at, **{recording.what: values})
    fired = {
        part.name: trace.spikes[part.name].sum(axis=0, dtype=np.int64).reshape(task.count, -1)
        for part in network.populations
    }
    return Run(
        backend="lava",
        version=version,
        network_hash=network.content_hash,
        samples=task.count,
        steps=network.steps,
        scores={
            r.population: (fired if r.kind is ReadoutKind.SPIKES else final)[r.population]
            for r in network.readouts
        },
        spike_counts={p.name: fired[p.name].sum(0).reshape(p.shape) for p in network.populations},
        counts=run_native(network, task.samples, recorded=trace.spikes, resets=task.resets).counts,
        trace=narrowed(trace, network, task.record) if task.record else None,
        wall_s=sum(wall_s for _, _, wall_s in results),
    )
