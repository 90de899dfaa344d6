"""High-level functions that combine quantization, backends and traces."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.backends import check_deployed, timed
from spikeport.backends import run as run_backend
from spikeport.errors import BackendUnavailableError, InputError
from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize import (
    QuantizationResult,
    QuantizeConfig,
    quantize_float_network,
)
from spikeport.network import DeployedNetwork
from spikeport.runs import (
    RecordSpec,
    ResetSchedule,
    Run,
    Samples,
    check_float_samples,
    check_samples,
    everything,
    merge_runs,
    record_items,
    sample_count,
    samples_hash,
    select,
    selection,
)
from spikeport.traces import trace_writer
from spikeport.traces.header import header_of
from spikeport.workflow.random_samples import random_samples

GUESSED = (
    "no calibration samples were given: scales were chosen, and predictions compared, on random "
    "ones; give samples of your data"
)
_log = logging.getLogger(__name__)
RECORD_BYTES = 256 * 2**20
"""Size of the traces that `record_trace` holds at once, if it can be known beforehand."""
FLOAT_CHUNK = 32
FLOAT_RECORD = ("spikes", "v")
"""Everything that is recorded for a float network by default."""


def quantize(
    network: FloatNetwork,
    samples: Samples | None = None,
    config: QuantizeConfig | None = None,
    *,
    labels: NDArray[np.integer] | None = None,
    static: bool = False,
    clip: bool = False,
) -> QuantizationResult:
    """Round a float network to chip integers, calibrated with our own simulators.

    Args:
        samples: calibration samples in float units, (B, *shape) or (T, B, *shape); a few hundred
            training samples are enough. Without them, random ones are made (`random_samples`), and
            a warning says so.
        labels: of the samples, for the accuracies in `report.target`.
        static: the samples are (B, *shape), even if B = T.
        clip: clip samples beyond the declared input range instead of refusing them.

    Raises:
        InputError: the graph contains something the chip cannot do, or the target of `config`
            (every reason is listed), or the samples do not fit the declared inputs.
    """
    from spikeport.simulators import run_float, run_native

    guessed = samples is None
    given = random_samples(network.inputs, network.steps) if samples is None else samples
    made = quantize_float_network(
        network,
        given,
        run_float=run_float,
        run_chip=run_native,
        stopping=_stopping,
        config=config,
        labels=None if guessed else labels,
        static=static and not guessed,
        clip=clip,
    )
    if not guessed:
        return made
    _log.warning("%s", GUESSED)
    provenance = {**made.network.provenance, "calibration": GUESSED}
    report = dataclasses.replace(made.report, warnings=(GUESSED, *made.report.warnings))
    return QuantizationResult(made.network.replace(provenance=provenance), report)


def _stopping(network: DeployedNetwork, target: str) -> list[str]:
    (found,) = check_deployed(network, [target])
    return [str(feature) for feature in found.unsupported if feature.stops]


def record_trace(
    path: str | os.PathLike[str],
    network: DeployedNetwork | FloatNetwork,
    samples: Samples,
    *,
    backend: str = "native",
    record: RecordSpec | None = None,
    chunk: int | None = None,
    timeout_s: float | None = None,
    resets: ResetSchedule | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Run:
    """Run a network and write its trace to a file during the run; memory does not grow with B.

    The file is a trace file and appears when all samples are done. The file, and the returned run
    (without the trace), do not depend on `chunk`.

    Args:
        samples: (B, *shape) or (T, B, *shape); integers for a DeployedNetwork, else float units.
        record: plain names for all populations, or `Probe`s; by default everything.
        chunk: number of samples to run at once; by default chosen so that their trace stays below
            RECORD_BYTES.
        timeout_s: wall-clock limit for the whole run; checked between chunks, and continuously by a
            slow backend (Lava).
        resets: when neurons start afresh, besides the first step of each sample; the file states it
            in its provenance.
        progress: called with (samples done, total samples).
        options: further options of the backend.

    Raises:
        InputError: the samples, `record` or `chunk` are invalid.
        BackendUnavailableError: the backend is not installed, failed while running, or took longer
            than `timeout_s`.
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    if record is None:
        record = everything(network) if isinstance(network, DeployedNetwork) else FLOAT_RECORD
    record = record_items(record)
    if not record:
        raise InputError("record: nothing selected, needs a variable or a probe")
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk is {chunk} samples, must be at least 1")
    deployed = isinstance(network, DeployedNetwork)
    check = check_samples if deployed else check_float_samples
    arrays: dict[str, Any] = {**check(network.inputs, network.steps, samples)}
    count = sample_count(network.inputs, arrays)
    at_once = chunk or trace_chunk(network, record)
    provenance = {**getattr(network, "provenance", {})}
    if resets is not None:
        options["resets"], provenance["resets"] = resets, str(resets)
    runs: list[Run] = []
    started = time.monotonic()
    with trace_writer(path) as writer:
        for first in range(0, count, at_once):
            part = slice(first, min(first + at_once, count))
            taken = select(network.inputs, arrays, part)
            left = time_left(backend, timeout_s, started, first, count)
            limit = timed(backend, left, partial(_further, progress, first, count))
            run = run_backend(backend, network, taken, record=record, **limit, **options)
            if run.trace is None:
                raise InputError(f"backend '{backend}' has recorded nothing")
            if not runs:
                writer.begin(
                    header_of(
                        run,
                        count,
                        order=getattr(network, "order", ()),
                        samples_hash=samples_hash(arrays),
                        provenance=provenance,
                    )
                )
            writer.append(run.trace)
            runs.append(dataclasses.replace(run, trace=None))
            progress(part.stop, count)
    return merge_runs(runs)


def time_left(
    backend: str, timeout_s: float | None, started: float, done: int, count: int
) -> float | None:
    """Seconds left for the remaining samples; None if there is no limit."""
    if timeout_s is None or not done:
        return timeout_s
    left = timeout_s - (time.monotonic() - started)
    if left <= 0:
        raise BackendUnavailableError(
            f"backend '{backend}': took longer than {timeout_s:g} s and was stopped, "
            f"{done} of {count} samples done"
        )
    return left


def _further(
    progress: Callable[[int, int], None], before: int, count: int, done: int, _: int
) -> None:
    progress(before + done, count)


def trace_chunk(network: DeployedNetwork | FloatNetwork, record: RecordSpec) -> int:
    """Number of samples whose traces take about RECORD_BYTES; a constant for a float graph."""
    if not isinstance(network, DeployedNetwork):
        return FLOAT_CHUNK
    each = 0
    for (variable, population), some in selection(network, record).items():
        width = len(some.flat) if some else prod(network.by_name[population].shape)
        each += network.steps * width * (1 if variable == "spikes" else 4)
    return max(1, RECORD_BYTES // each)
