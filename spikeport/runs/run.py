"""The result of a backend: `Run`, with its `EventCounts` and optional `Trace`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport.runs.by_variable import Arrays, ByVariable

Counts = Mapping[str, int]


class EventScope(StrEnum):
    """A part of a network that events are counted for."""

    POPULATION = "population"
    INPUT = "input"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Events of a run, summed over samples and steps, as exact Python integers.

    Attributes:
        samples, steps: B and T.
        spikes: per population, spikes emitted.
        visits: per population, neuron-steps: N * T * B.
        updates: per population, neuron-steps in which the state could change: for LIF neurons
            those in which u, v, the summed input or the bias was not zero before the update;
            refractory ones count like all others, since u keeps evolving.
        input_events: per input, non-zero values presented (spikes or graded messages), or spikes
            of their binary digits.
        messages: per connection, non-zero source messages delivered within the sample.
        synaptic_events: per connection, messages times the non-zero weights that each reaches.
        synaptic_events_all: the same for all stored weights, including zeros.
    """

    SCOPES: ClassVar[Mapping[str, EventScope]] = {
        **dict.fromkeys(("spikes", "visits", "updates"), EventScope.POPULATION),
        "input_events": EventScope.INPUT,
        **dict.fromkeys(
            ("messages", "synaptic_events", "synaptic_events_all"), EventScope.CONNECTION
        ),
    }
    """What each count belongs to: every field but samples and steps."""

    samples: int
    steps: int
    spikes: Counts
    visits: Counts
    updates: Counts
    input_events: Counts
    messages: Counts
    synaptic_events: Counts
    synaptic_events_all: Counts

    def total(self, name: str) -> int:
        """Sum of one of the counts over all its parts."""
        return sum(getattr(self, name).values())


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Selected neurons of a population.

    Attributes:
        flat: their indices in C order, ascending.
        shape: of the whole population.
    """

    flat: NDArray[np.int64]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace(ByVariable):
    """Recorded variables; every array has shape (T, B, *population shape).

    If only some neurons were recorded, the shape is (T, B, K), and `neurons` lists them.

    Attributes:
        neurons: per (variable, population), the K selected neurons; all if there is no entry.
        spikes: uint8, 1 if the neuron fired in that logical step.
        u, v: state at the end of the step, after reset (int32 in integer simulators).
        v_charged: v before the reset; recorded by float simulators, to detect ties.
        further: state variables that only some neuron models have, in the same form as u and v.
    """

    NAMED: ClassVar[tuple[str, ...]] = ("spikes", "u", "v", "v_charged")

    spikes: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    u: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    v: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    v_charged: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    neurons: Mapping[tuple[str, str], Chosen] = field(default_factory=dict)
    further: Mapping[str, Arrays] = field(default_factory=dict)

    @classmethod
    def of(
        cls, tables: Mapping[str, Arrays], neurons: Mapping[tuple[str, str], Chosen] | None = None
    ) -> Trace:
        """Build a trace from `tables`: per variable, its arrays by population."""
        named = {name: tables[name] for name in cls.NAMED if name in tables}
        return cls(**named, neurons=neurons or {}, further=cls.others(tables))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one network on B samples.

    Attributes:
        backend, version: what computed it.
        network_hash: content hash of the network, empty for a float graph.
        scores: per readout population, shape (B, N): spike counts, or v after step T.
        spike_counts: per population, spikes per neuron over all samples, shape of the population.
        counts: None if a backend does not count events.
        wall_s: computing time in seconds, without loading and checking.
    """

    backend: str
    version: str
    network_hash: str
    samples: int
    steps: int
    scores: Mapping[str, NDArray[Any]]
    spike_counts: Mapping[str, NDArray[np.int64]]
    counts: EventCounts | None
    trace: Trace | None
    wall_s: float

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Class per sample, shape (B,): argmax of the first readout, lowest index on ties."""
        first = next(iter(self.scores.values()))
        best: NDArray[np.int64] = first.argmax(axis=1).astype(np.int64)
        return best
