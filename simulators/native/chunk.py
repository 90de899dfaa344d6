"""T steps of as many samples as are computed at once.

Steps are run in blocks. Within a block, a population that is not on a cycle runs all its steps at
once; those on common cycles alternate step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork, ReadoutKind
from spikeport.runs import ResetSchedule, StreamState, Trace
from spikeport.simulators.native.carry import restore_state, state_after
from spikeport.simulators.native.kernels import tally
from spikeport.simulators.native.layout import channels_first
from spikeport.simulators.native.messages import enter_block
from spikeport.simulators.native.plan import Plan
from spikeport.simulators.native.population import run_steps
from spikeport.simulators.native.replay import Spikes
from spikeport.simulators.native.state import State, initial_state, start_afresh
from spikeport.simulators.results import keep

Sent = Mapping[tuple[str, int], NDArray[np.int64]]
"""By source and delay d: spikes of each neuron in steps 0..T - 1 - d, shape of the source."""

_Counts = dict[tuple[str, int], NDArray[np.int64]]
"""The same in the internal order: (1, N), or (B, N) if it is read out."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The result of a chunk.

    Attributes:
        sent: spikes of populations, and of inputs with separate values for each step.
        scores: per readout population, (B, *shape).
        updates: per population, see `EventCounts`.
        state: after the last step, if an initial state was given.
    """

    sent: Sent
    scores: Mapping[str, NDArray[np.int64]]
    updates: Mapping[str, int]
    state: StreamState | None


def run_chunk(
    network: DeployedNetwork,
    plan: Plan,
    inputs: Mapping[str, NDArray[Any]],
    block: int,
    trace: Trace,
    recorded: Spikes | None,
    before: StreamState | None = None,
    resets: ResetSchedule | None = None,
) -> Chunk:
    """Run all samples of `inputs` together and fill the arrays of `trace`.

    Args:
        block: number of steps to run at once.
        recorded: spikes that connections carry instead of the computed ones.
        before: state of these samples to continue from, instead of starting at step 0.
        resets: when neurons start afresh, besides step 0.
    """
    state = initial_state(network, plan, inputs, block, trace, recorded)
    if before is not None:
        restore_state(before, network, state.neurons, state.received_from)
    counts = _no_counts(state)
    order = plan.components
    if recorded is not None:
        order = [((name,), False) for name in network.order]
    last = 0
    passed = 0 if before is None else before.step
    for begin, stop in _blocks(network.steps, block, passed, resets):
        now = range(begin, stop)
        if resets is not None and resets.due(passed + begin):
            start_afresh(state)
        for stream in {
            id(s): s for s in (*state.received_from.values(), *state.own.values())
        }.values():
            enter_block(stream, now.start, now.stop, last)
        last = len(now)
        for members, by_step in order:
            for turn in (range(t, t + 1) for t in now) if by_step else (now,):
                for name in members:
                    run_steps(state, name, turn, begin)
        for name, stream in state.own.items():
            if name in trace.spikes:
                part = network.by_name[name]
                fired = stream.messages[:, stream.before :, : part.size][:, : len(now)]
                shown = channels_first(fired.swapaxes(0, 1), part.shape)
                keep(trace, name, slice(begin, now.stop), spikes=shown)
        for (name, delay), count in counts.items():
            stream = state.own.get(name, state.received_from[name])
            stop = min(now.stop, network.steps - delay)
            few = np.empty(count.shape[1], np.uint8)
            tally(stream.messages, stream.before, stream.before + stop - begin, few, count)
    return Chunk(
        sent={
            key: channels_first(
                count[0] if len(count) == 1 else count.sum(axis=0), network.sources[key[0]].shape
            )
            for key, count in counts.items()
        },
        scores={
            r.population: channels_first(
                counts[r.population, 0]
                if r.kind is ReadoutKind.SPIKES
                else state.neurons[r.population].v.astype(np.int64),
                network.by_name[r.population].shape,
            )
            for r in network.readouts
        },
        updates=state.updates,
        state=None
        if before is None
        else state_after(before, network, state.neurons, state.received_from, last),
    )


def _blocks(
    steps: int, block: int, passed: int, resets: ResetSchedule | None
) -> Iterator[tuple[int, int]]:
    """Begin and end of each block: up to `block` steps, of which only the first may be a reset.

    Args:
        passed: steps before the first one.
    """
    begin = 0
    while begin < steps:
        stop = min(begin + block, steps)
        if resets is not None:
            stop = min(stop, resets.next_after(passed + begin) - passed)
        yield begin, stop
        begin = stop


def _no_counts(state: State) -> _Counts:
    """Zeros for every source of spikes and every delay of its connections."""
    network = state.network
    counts: _Counts = {}
    single = {r.population for r in network.readouts if r.kind is ReadoutKind.SPIKES}
    for name, part in network.sources.items():
        if state.received_from[name].static or state.received_from[name].graded:
            continue
        delays = {c.delay for c in network.weighted_from(name)}
        for delay in {0} | delays:
            rows = state.samples if delay == 0 and name in single else 1
            counts[name, delay] = np.zeros((rows, part.size), np.int64)
    return counts
