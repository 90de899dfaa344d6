"""Messages counted as they arrive: per neuron, and weighted by the synapses that they reach."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.network import Coding, Input, ReadoutKind
from spikeport.simulators.native.bound import Frame, frame_of, keeper
from spikeport.simulators.native.compiled import kernel, part
from spikeport.simulators.native.messages import MessageBuffer
from spikeport.simulators.native.plan import Key, Plan
from spikeport.simulators.native.vectors import bit_count

Counts = NDArray[np.int64]

_BYTE_MAX = 255


class Tally(NamedTuple):
    """The messages of one source that arrive after one delay.

    Attributes:
        messages: see `messages.MessageBuffer`.
        first: the row of `messages` that arrives in step 0 of a block.
        static: there is only that row, for all steps.
        delay: d.
        digits: each binary digit that is 1 is a message.
        few: buffer for counting spikes, (N,).
        counts: per neuron, (B, N), or (1, N) for all samples together.
        weights: rows of `Plan.reached`, (K, N).
        totals: the sum of all counts, each times that of its neuron in weights[k], (K,).
    """

    messages: NDArray[Any]
    first: int
    static: bool
    delay: int
    digits: bool
    few: NDArray[np.uint8]
    counts: Counts
    weights: Counts
    totals: Counts


def _example(messages: str) -> Tally:
    """Of messages of a type of that name."""
    none = np.zeros((1, 1), np.int64)
    rows, few = np.zeros((1, 1, 1), messages), np.zeros(1, np.uint8)
    return Tally(rows, 0, False, 0, False, few, none, none, none[0])


_keep, _kept = keeper(_example)


@functools.cache
def _storing(messages: str) -> Callable[[Frame, Tally], int]:
    def store(frame: Frame, tally: Tally) -> int:
        return _keep(frame, tally, messages)

    return kernel(store)


@part
def _add_spikes(tally: Tally, stop: int) -> None:
    """Add the spikes of rows first..stop - 1."""
    spikes, few, count = tally.messages, tally.few, tally.counts
    size = few.size
    for b in range(spikes.shape[0]):
        row = count[min(b, count.shape[0] - 1)]
        for begin in range(tally.first, stop, _BYTE_MAX):
            for i in range(size):
                few[i] = 0
            for t in range(begin, min(begin + _BYTE_MAX, stop)):
                received_from = spikes[b, t]
                for i in range(size):
                    few[i] += received_from[i]
            for i in range(size):
                row[i] += few[i]


@part
def _add_values(tally: Tally, stop: int) -> None:
    """The same for integers: 1 for each that is not 0, or its binary digits that are 1."""
    values, count = tally.messages, tally.counts
    for b in range(values.shape[0]):
        row = count[min(b, count.shape[0] - 1)]
        for t in range(tally.first, stop):
            sent = values[b, t]
            for i in range(row.size):
                if tally.digits:
                    row[i] += bit_count(np.uint64(sent[i]))
                else:
                    row[i] += np.int64(sent[i] != 0)


@part
def _finish(tally: Tally, times: int) -> None:
    """Multiply the counts by `times`, and weigh them."""
    counts, weights = tally.counts, tally.weights
    for k in range(tally.totals.size):
        total = np.int64(0)
        for b in range(counts.shape[0]):
            for i in range(counts.shape[1]):
                if k == 0:
                    counts[b, i] *= times
                total += counts[b, i] * weights[k, i]
        tally.totals[k] = total


@kernel
def _add(frames: NDArray[np.int64], graded: NDArray[np.bool_], now: int, steps: int) -> None:
    """Count the messages of a block of `now` steps; those of static sources for all `steps`.

    The block is the first of a chunk if `steps` is not 0.
    """
    for k in range(frames.shape[0]):
        if graded[k]:
            values = _kept(frames[k], "int32")
            if steps == 0 and values.static:
                continue
            _add_values(values, values.first + (1 if values.static else now))
            _finish(values, max(steps - values.delay, 0) if values.static else 1)
        else:
            spikes = _kept(frames[k], "uint8")
            if steps == 0 and spikes.static:
                continue
            _add_spikes(spikes, spikes.first + (1 if spikes.static else now))
            _finish(spikes, max(steps - spikes.delay, 0) if spikes.static else 1)


@dataclass(frozen=True, slots=True, eq=False)
class Counters:
    """The counters of a chunk.

    Attributes:
        tallies: per source and delay, in the order of `Plan.reached`.
        memory: of all their counts and after them of all their totals.
        frames: of the tallies.
        graded: per tally, whether its messages are integers.
    """

    tallies: Mapping[Key, Tally]
    memory: Counts
    frames: NDArray[np.int64]
    graded: NDArray[np.bool_]

    def add(self, begin: int, stop: int, steps: int) -> None:
        """Count what arrives in steps begin..stop - 1 of a chunk of `steps`."""
        if begin == 0:
            self.memory[:] = 0
        _add(self.frames, self.graded, stop - begin, 0 if begin else steps)

    def read(self) -> tuple[dict[Key, Counts], list[int]]:
        """Copies of the counts, (B, N) or (1, N), and of the totals of all, one after another."""
        memory, first = self.memory.copy(), 0
        sent = {}
        for key, tally in self.tallies.items():
            rows, size = tally.counts.shape
            sent[key] = memory[first : (first := first + rows * size)].reshape(rows, size)
        return sent, memory[first:].tolist()


def counters(
    plan: Plan,
    samples: int,
    received_from: Mapping[str, MessageBuffer],
    own: Mapping[str, MessageBuffer],
) -> Counters:
    """Counters of every source after every delay of its connections; see `state.State`.

    Each sample has its own counts where a readout needs them.
    """
    single = {r.population for r in plan.readouts if r.kind is ReadoutKind.SPIKES}
    rows = [samples if delay == 0 and name in single else 1 for name, delay in plan.reached]
    sizes = [
        count * plan.parts[name].size for count, (name, _) in zip(rows, plan.reached, strict=True)
    ]
    sizes += [len(weights) for weights in plan.reached.values()]
    memory = np.zeros(sum(sizes), np.int64)
    pieces = np.split(memory, np.cumsum(sizes)[:-1])
    tallies, graded = {}, []
    few = {name: np.empty(part.size, np.uint8) for name, part in plan.parts.items()}
    for k, ((name, delay), weights) in enumerate(plan.reached.items()):
        given, stream = plan.parts[name], own.get(name, received_from[name])
        tallies[name, delay] = Tally(
            messages=stream.messages,
            first=0 if stream.static else stream.before - delay,
            static=stream.static,
            delay=delay,
            digits=isinstance(given, Input) and given.coding is Coding.BINARY,
            few=few[name],
            counts=pieces[k].reshape(rows[k], given.size),
            weights=weights,
            totals=pieces[len(rows) + k],
        )
        graded.append(stream.graded)
    return Counters(tallies, memory, _frames(tuple(tallies.values())), np.array(graded))


def _frames(tallies: Sequence[Tally]) -> NDArray[np.int64]:
    return np.stack([frame_of(_storing(tally.messages.dtype.name), tally) for tally in tallies])
