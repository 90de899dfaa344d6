"""What a network keeps from one chunk of a stream to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import InputError
from spikeport.network import Coding, DeployedNetwork, Input, Population, Shape
from spikeport.network.fixed_point import STATE_MAX

OWN = ("u", "v", "rest")
"""What neurons keep, as against the messages under way."""
VARIABLES = (*OWN, "sent")
_INT32 = np.iinfo(np.int32)
_MANY = 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class StreamState:
    """B samples of a network after some logical steps; all that later steps depend on.

    Attributes:
        network_hash: content hash of the network.
        samples: B.
        step: logical steps that are done.
        u, v: per population (B, *shape), int32.
        rest: per population with a refractory time, steps of rest left, uint8.
        sent: per source of a delayed connection its messages of the last D steps, oldest first,
            (D, B, *shape), D being the longest of the delays; zeros before step 0. Spikes are
            uint8, graded messages int32.
    """

    network_hash: str
    samples: int
    step: int
    u: Mapping[str, NDArray[np.int32]]
    v: Mapping[str, NDArray[np.int32]]
    rest: Mapping[str, NDArray[np.uint8]]
    sent: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Slot:
    """The array of one variable of one part: what it must be, and what it holds at step 0."""

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
    return frozen(StreamState(network.content_hash, samples, 0, **arrays))


def check_state(network: DeployedNetwork, state: StreamState) -> None:
    """Check that a state is one of `network`.

    Raises:
        InputError: it is of another network; an array is missing, unknown, of wrong type or shape
            or out of range; there are messages from before step 0.
    """
    if state.network_hash != network.content_hash:
        raise InputError(
            f"stream state: is of network {str(state.network_hash)[:12]}, not of "
            f"{network.content_hash[:12]}"
        )
    checks.integer("stream state: samples", state.samples, 1, _MANY)
    checks.integer("stream state: step", state.step, 0, _MANY)
    slots = _slots(network, state.samples)
    found = {(key, name): array for key in VARIABLES for name, array in getattr(state, key).items()}
    for key in sorted(slots.keys() ^ found.keys()):
        problem = "is missing" if key in slots else "is unknown to the network"
        raise InputError(f"stream state: {key[0]} of '{key[1]}' {problem}")
    for (variable, name), slot in slots.items():
        _check_array(f"stream state: {variable} of '{name}'", found[variable, name], slot)
    for name, sent in state.sent.items():
        if sent[: max(len(sent) - state.step, 0)].any():
            raise InputError(
                f"stream state: sent of '{name}' has messages from before step 0, the state is "
                f"that after {state.step} steps"
            )


def longest_delay(network: DeployedNetwork, source: str) -> int:
    """Steps for which messages of a source must be kept."""
    return max((c.delay for c in network.weighted_connections if c.source == source), default=0)


def select_samples(state: StreamState, chosen: slice) -> StreamState:
    """Views of the samples `chosen` of a state."""
    tables: dict[str, Any] = {
        key: {
            name: array[(slice(None),) * _samples_axis(key) + (chosen,)]
            for name, array in getattr(state, key).items()
        }
        for key in VARIABLES
    }
    return replace(state, samples=len(range(state.samples)[chosen]), **tables)


def side_by_side(states: Sequence[StreamState]) -> StreamState:
    """One state of the samples of several, which are at the same step."""
    tables: dict[str, Any] = {
        key: {
            name: np.concatenate(
                [getattr(state, key)[name] for state in states], _samples_axis(key)
            )
            for name in getattr(states[0], key)
        }
        for key in VARIABLES
    }
    return frozen(replace(states[0], samples=sum(state.samples for state in states), **tables))


def frozen(state: StreamState) -> StreamState:
    """The same, its arrays read-only from now on."""
    for variable in VARIABLES:
        for array in getattr(state, variable).values():
            array.setflags(write=False)
    return state


def _samples_axis(variable: str) -> int:
    return int(variable == "sent")


def _slots(network: DeployedNetwork, samples: int) -> dict[tuple[str, str], _Slot]:
    """Per variable and part."""
    slots = {}
    for part in network.populations:
        shape = (samples, *part.shape)
        slots["u", part.name] = _Slot(shape, np.int32, _INT32.min, _INT32.max)
        slots["v", part.name] = _Slot(shape, np.int32, -STATE_MAX, STATE_MAX, part.v_init)
        if part.refractory:
            slots["rest", part.name] = _Slot(shape, np.uint8, 0, part.refractory)
    for name, source in network.sources.items():
        if delay := longest_delay(network, name):
            shape = (delay, samples, *source.shape)
            slots["sent", name] = _Slot(shape, *_sent_by(source))
    return slots


def _sent_by(source: Input | Population) -> tuple[type[np.integer], int, int]:
    """Type and range of what a source sends; nothing, that is 0, is always possible."""
    if isinstance(source, Population) or source.coding is Coding.SPIKES:
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
