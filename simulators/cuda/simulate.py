"""`run_cuda`: chunks of samples on a GPU, all of a network's integers in tensors."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikeport.errors import ValueRangeError
from spikeport.network import DeployedNetwork, require_loihi
from spikeport.runs import (
    EventCounts,
    RecordSpec,
    ResetSchedule,
    Run,
    Samples,
    check_samples,
    record_items,
    sample_count,
    select,
)
from spikeport.simulators.counts import input_messages
from spikeport.simulators.cuda.chunk import Job, Results, run_chunk
from spikeport.simulators.cuda.device import choose_device, default_memory, memory_errors
from spikeport.simulators.cuda.plan import Plan, plan_of, samples_at_once
from spikeport.simulators.cuda.products import plain_products
from spikeport.simulators.results import assembled_run, empty_trace
from spikeport.version import __version__

PRODUCT_BYTES = 1 << 30
"""Most memory for one product: BLAS indexes matrices by int32."""


def run_cuda(
    network: DeployedNetwork,
    samples: Samples,
    *,
    record: RecordSpec = (),
    resets: ResetSchedule | None = None,
    device: str = "cuda",
    memory_bytes: int | None = None,
) -> Run:
    """Run a network on integer samples on a GPU; all results equal those of `run_reference`.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, or `Probe`s.
        resets: when neurons start afresh, besides step 0.
        device: "cuda", "cuda:1" for the second GPU, or "cpu", which has the same operations and is
            meant for tests.
        memory_bytes: samples are computed in chunks that need about this much memory of the device;
            half of what is free if None.

    Raises:
        InputError: samples do not fit the network, `record` contains an unknown name, or a part of
            the network is not supported: numbers of other widths than Loihi's, or sums that could
            reach 2^53.
        BackendUnavailableError: the device cannot be used, or its memory does not suffice.
    """
    if memory_bytes is not None and memory_bytes < 1:
        raise ValueRangeError(f"memory_bytes is {memory_bytes}, must be at least 1")
    place = choose_device(device)
    require_loihi(network, "the cuda simulator")
    arrays = check_samples(network.inputs, network.steps, samples, widen=False)
    count = sample_count(network.inputs, arrays)
    trace = empty_trace(network, count, record) if record_items(record) else None
    static = frozenset(p.name for p in network.inputs if arrays[p.name].ndim == 1 + len(p.shape))
    started = time.perf_counter()
    results = Results()
    with plain_products(place), memory_errors():
        plan = plan_of(network, place)
        memory = default_memory(place) if memory_bytes is None else memory_bytes
        job = Job(network, plan, resets, trace, min(memory // 4, PRODUCT_BYTES))
        at_once = samples_at_once(network, plan, static, trace, memory - memory // 4)
        for first in range(0, count, at_once):
            chosen = slice(first, min(first + at_once, count))
            run_chunk(job, select(network.inputs, arrays, chosen), chosen, results)
    run = assembled_run(
        "cuda",
        network,
        scores={
            readout.population: np.concatenate(results.scores[readout.population])
            for readout in network.readouts
        },
        fired={part.name: results.arrived[part.name, 0] for part in network.populations},
        counts=_event_counts(network, plan, arrays, results, count),
        trace=trace,
        wall_s=time.perf_counter() - started,
    )
    used = f"torch {torch.__version__}, {place}"
    return dataclasses.replace(run, version=f"{__version__} ({used})")


def _event_counts(
    network: DeployedNetwork,
    plan: Plan,
    arrays: Mapping[str, NDArray[Any]],
    results: Results,
    samples: int,
) -> EventCounts:
    arrived = dict(results.arrived)
    for part in network.inputs:
        for delay in {0, *plan.delays[part.name]}:
            sent = input_messages(part, arrays[part.name], network.steps, delay)
            arrived[part.name, delay] = sent.ravel()
    totals = {key: int(sent.sum()) for key, sent in arrived.items()}
    links = {part.name: (part.source, part.delay) for part in network.weighted_connections}
    nonzero, stored = (
        {name: int(arrived[key] @ plan.reached[name][kind].ravel()) for name, key in links.items()}
        for kind in (0, 1)
    )
    return EventCounts(
        samples=samples,
        steps=network.steps,
        spikes={part.name: totals[part.name, 0] for part in network.populations},
        visits={part.name: part.size * network.steps * samples for part in network.populations},
        updates={part.name: results.updates[part.name] for part in network.populations},
        input_events={part.name: totals[part.name, 0] for part in network.inputs},
        messages={name: totals[key] for name, key in links.items()},
        synaptic_events=nonzero,
        synaptic_events_all=stored,
    )
