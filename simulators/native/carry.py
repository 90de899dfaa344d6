"""What some samples carry from one step to the next, in one piece of memory: to keep it is a copy.

Neurons are in the internal order. The arrays of a `StreamState` have another order, and are made of
it where one is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.runs import StreamState
from spikeport.runs.stream_state import VARIABLES, frozen, select_samples, side_by_side
from spikeport.simulators.native.layout import (
    aligned,
    channels_first,
    channels_last,
    uninitialised,
)
from spikeport.simulators.native.plan import Plan, is_graded

Memory = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Carried:
    """Views of a memory for some samples.

    Attributes:
        neurons: per population, its state variables in the order of its model, (B, N); (B, 0) if
            one is not kept.
        sent: per source of delayed connections, its messages of the last D steps, (B, D, N).
    """

    memory: Memory
    neurons: Mapping[str, tuple[NDArray[Any], ...]]
    sent: Mapping[str, NDArray[Any]]


def carried(plan: Plan, samples: int, memory: Memory | None = None) -> Carried:
    """Lay out a memory, or a new one, of zeros."""
    slots = list(_slots(plan, samples))
    ends = [0]
    for _, _, shape, dtype in slots:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        ends.append(ends[-1] + aligned(size))
    if memory is None:
        memory = uninitialised((ends[-1],), np.uint8)
        memory[:] = 0
    neurons: dict[str, list[NDArray[Any]]] = {name: [] for name in plan.registers}
    sent = {}
    for (variable, name, shape, dtype), first, last in zip(slots, ends, ends[1:], strict=False):
        count = math.prod(shape)
        # NumPy lets an empty view start where its base does. Compiled loops would find that it
        # overlaps with the first array, and then handle one neuron at a time.
        array = (
            memory[first:last].view(dtype)[:count].reshape(shape)
            if count
            else np.empty(shape, dtype)
        )
        if variable == "sent":
            sent[name] = array
        else:
            neurons[name].append(array)
    return Carried(memory, {name: tuple(arrays) for name, arrays in neurons.items()}, sent)


def _slots(plan: Plan, samples: int) -> Iterator[tuple[str, str, tuple[int, ...], Any]]:
    """Variable, part, shape and type of each array."""
    for name, registers in plan.registers.items():
        for register in registers:
            size = plan.parts[name].size if register.kept else 0
            yield register.variable.name, name, (samples, size), register.variable.dtype
    for name, part in plan.parts.items():
        if steps := plan.delays[name][-1]:
            kind = np.int32 if is_graded(part) else np.uint8
            yield "sent", name, (samples, steps, part.size), kind


def start_afresh(plan: Plan, neurons: Mapping[str, tuple[NDArray[Any], ...]]) -> None:
    """Return all neurons to their state before step 0."""
    for name, registers in plan.registers.items():
        for register, values in zip(registers, neurons[name], strict=True):
            values[:] = register.initial


class Pause(NamedTuple):
    """All samples of a stream between two chunks, in the parts that were computed at once.

    Attributes:
        step: number of completed logical steps.
        at_once: samples of each part but the last one, which may have fewer.
        memories: of the parts; never changed.
    """

    step: int
    at_once: int
    memories: Sequence[Memory]

    def state(self, plan: Plan, network_hash: str, samples: int) -> StreamState:
        """The same as a value that does not depend on how it was computed."""
        parts = [
            _state(plan, memory, min(self.at_once, samples - first), network_hash, self.step)
            for first, memory in zip(range(0, samples, self.at_once), self.memories, strict=True)
        ]
        return parts[0] if len(parts) == 1 else side_by_side(parts)


def divided(
    plan: Plan, network_hash: str, before: StreamState | Pause, samples: int, at_once: int
) -> Pause:
    """The same in parts of `at_once` samples."""
    if isinstance(before, Pause):
        if before.at_once == at_once:
            return before
        before = before.state(plan, network_hash, samples)
    firsts = range(0, samples, at_once)
    parts = [select_samples(before, slice(first, first + at_once)) for first in firsts]
    return Pause(before.step, at_once, [_memory(plan, part) for part in parts])


def _memory(plan: Plan, state: StreamState) -> Memory:
    made = carried(plan, state.samples)
    for name, registers in plan.registers.items():
        for register, values in zip(registers, made.neurons[name], strict=True):
            if register.kept:
                given = state[register.variable.name][name]
                values[:] = channels_last(given, plan.parts[name].shape)
    for name, values in made.sent.items():
        values[:] = channels_last(state.sent[name], plan.parts[name].shape).swapaxes(0, 1)
    return made.memory


def _state(plan: Plan, memory: Memory, samples: int, network_hash: str, step: int) -> StreamState:
    held = carried(plan, samples, memory)
    tables: dict[str, dict[str, NDArray[Any]]] = {variable: {} for variable in VARIABLES}
    for name, registers in plan.registers.items():
        for register, values in zip(registers, held.neurons[name], strict=True):
            if register.kept:
                shown = channels_first(values, plan.parts[name].shape)
                tables[register.variable.name][name] = np.array(shown, order="C")
    for name, values in held.sent.items():
        shown = channels_first(values.swapaxes(0, 1), plan.parts[name].shape)
        tables["sent"][name] = np.array(shown, order="C")
    return frozen(StreamState.of(tables, network_hash=network_hash, samples=samples, step=step))
