"""The state that a network carries from one chunk of a stream to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import InputError
from spikeport.network import STATE_VARIABLES, AnyPopulation, Coding, DeployedNetwork, Input, Shape
from spikeport.runs.by_variable import Arrays, ByVariable

OWN = tuple(STATE_VARIABLES)
"""State of neurons, in contrast to messages in transit."""
VARIABLES = (*OWN, "sent")
_MANY = 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class StreamState(ByVariable):
    """B samples of a network after some logical steps; everything that later steps depend on.

    Attributes:
        network_hash: content hash of the network.
        samples: B.
        step: number of completed logical steps.
        u, v: per population (B, *shape), int32.
        rest: per population with a refractory time, refractory steps left, uint8.
        sent: per source of a delayed connection, its messages of the last D steps, oldest first,
            (D, B, *shape), where D is the longest delay; zeros before step 0. Spikes are
            uint8, graded messages int32.
        further: state variables that only some neuron models have, in the same form as u and v.
    """

    NAMED: ClassVar[tuple[str, ...]] = ("u", "v", "rest", "sent")

    network_hash: str
    samples: int
    step: int
    u: Mapping[str, NDArray[np.int32]]
    v: Mapping[str, NDArray[np.int32]]
    rest: Mapping[str, NDArray[np.uint8]]
    sent: Mapping[str, NDArray[Any]]
    further: Mapping[str, Arrays] = field(default_factory=dict)

    @classmethod
    def of(cls, tables: Mapping[str, Arrays], **facts: Any) -> StreamState:
        """Build a state from `tables`: per variable, its arrays by population or source."""
        return cls(**facts, **_fields(tables))

    def with_tables(self, tables: Mapping[str, Arrays], **facts: Any) -> StreamState:
        """A copy with other arrays and, if given, other facts."""
        return replace(self, **facts, **_fields(tables))


def _fields(tables: Mapping[str, Arrays]) -> dict[str, Any]:
    """The fields of a `StreamState` with the content of `tables`."""
    named = {name: tables[name] for name in StreamState.NAMED}
    return {**named, "further": StreamState.others(tables)}


@dataclass(frozen=True, slots=True)
class _Slot:
    """Required type, shape, range and initial value of one variable of one part."""

    shape: Shape
    dtype: type[np.integer]
    low: int
    high: int
    initial: int = 0


def first_state(network: DeployedNetwork, samples: int) -> StreamState:
    """The state before step 0.

    Raises:
        InputError: `samples` is below 1.
    """
    checks.integer("stream: samples", samples, 1, _MANY)
    arrays: dict[str, dict[str, NDArray[Any]]] = {variable: {} for variable in VARIABLES}
    for (variable, name), slot in _slots(network, samples).items():
        arrays[variable][name] = np.full(slot.shape, slot.initial, slot.dtype)
    facts = {"network_hash": network.content_hash, "samples": samples, "step": 0}
    return frozen(StreamState.of(arrays, **facts))


def check_state(network: DeployedNetwork, state: StreamState) -> None:
    """Check that a state belongs to `network`.

    Raises:
        InputError: it belongs to another network; an array is missing, unknown, of wrong type or
            shape or out of range; there are messages from before step 0.
    """
    if state.network_hash != network.content_hash:
        raise InputError(
            f"stream state: is of network {str(state.network_hash)[:12]}, not of "
            f"{network.content_hash[:12]}"
        )
    checks.integer("stream state: samples", state.samples, 1, _MANY)
    checks.integer("stream state: step", state.step, 0, _MANY)
    slots = _slots(network, state.samples)
    found = {
        (key, name): array for key, table in state.tables.items() for name, array in table.items()
    }
    for key in sorted(slots.keys() ^ found.keys()):
        problem = "is missing" if key in slots else "is unknown to the network"
        raise InputError(f"stream state: {key[0]} of '{key[1]}' {problem}")
    for (variable, name), slot in slots.items():
        _check_array(f"stream state: {variable} of '{name}'", found[variable, name], slot)
    for name, sent in state.sent.items():
        if sent[: max(len(sent) - state.step, 0)].any():
            raise InputError(
                f"stream state: sent of '{name}' has messages from before step 0, but the state is "
                f"after {state.step} steps"
            )


def longest_delay(network: DeployedNetwork, source: str) -> int:
    """Number of steps for which messages of a source must be kept."""
    return max((c.delay for c in network.weighted_from(source)), default=0)


def select_samples(state: StreamState, chosen: slice) -> StreamState:
    """Views of the samples `chosen` of a state."""
    tables = {
        key: {
            name: array[(slice(None),) * _samples_axis(key) + (chosen,)]
            for name, array in table.items()
        }
        for key, table in state.tables.items()
    }
    return state.with_tables(tables, samples=len(range(state.samples)[chosen]))


def side_by_side(states: Sequence[StreamState]) -> StreamState:
    """Combine the samples of several states, which are at the same step."""
    tables = {
        key: {
            name: np.concatenate([state[key][name] for state in states], _samples_axis(key))
            for name in table
        }
        for key, table in states[0].tables.items()
    }
    return frozen(states[0].with_tables(tables, samples=sum(state.samples for state in states)))


def frozen(state: StreamState) -> StreamState:
    """The same state with read-only arrays."""
    for table in state.tables.values():
        for array in table.values():
            array.setflags(write=False)
    return state


def _samples_axis(variable: str) -> int:
    return int(variable == "sent")


def _slots(network: DeployedNetwork, samples: int) -> dict[tuple[str, str], _Slot]:
    """Per variable and part."""
    slots = {}
    for part in network.populations:
        for r in part.registers(network.arithmetic):
            if r.kept:
                shape, dtype = (samples, *part.shape), r.variable.dtype
                slots[r.variable.name, part.name] = _Slot(shape, dtype, r.low, r.high, r.initial)
    for name, source in network.sources.items():
        if delay := longest_delay(network, name):
            shape = (delay, samples, *source.shape)
            slots["sent", name] = _Slot(shape, *_sent_by(source))
    return slots


def _sent_by(source: Input | AnyPopulation) -> tuple[type[np.integer], int, int]:
    """Type and range of the values a source sends; 0, no message, is always possible."""
    if not isinstance(source, Input) or source.coding is Coding.SPIKES:
        return np.uint8, 0, 1
    return np.int32, min(source.low, 0), max(source.high, 0)


def _check_array(subject: str, array: NDArray[Any], slot: _Slot) -> None:
    if array.dtype != slot.dtype or array.shape != slot.shape:
        raise InputError(
            f"{subject} is {array.dtype} {array.shape}, must be {np.dtype(slot.dtype)} {slot.shape}"
        )
    low, high = int(array.min()), int(array.max())
    if low < slot.low or high > slot.high:
        raise InputError(f"{subject} spans {low}..{high}, must lie in {slot.low}..{slot.high}")
