"""Compare two complete traces: the first difference, its context, and how much differs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeport.errors import InputError
from spikeport.runs import Run, Trace
from spikeport.text import quoted
from spikeport.traces.divergence import VARIABLES, Divergence, first_divergence, paired
from spikeport.traces.header import TraceHeader
from spikeport.traces.reader import TraceReader, open_trace

CONTEXT_STEPS = 3
"""Steps shown before the first divergence."""

Key = tuple[str, str]
"""(variable, population)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the diverging neuron: the value of each traced variable in both traces."""

    step: int
    values: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Total:
    """How many values of one variable of a population were compared, and how many differ.

    Attributes:
        largest: the largest absolute difference.
    """

    population: str
    variable: str
    compared: int
    differing: int
    largest: float = 0.0


@dataclass(frozen=True, slots=True)
class TraceComparison:
    """The result of comparing two traces.

    Attributes:
        first: see `first_divergence`; None if all values are equal.
        context: the diverging neuron in the steps up to `first`.
        totals: per population in topological order, then per variable.
        uncompared: "u of 'lif1'" and so on: what only one of the two traces contains.
    """

    samples: int
    steps: int
    first: Divergence | None
    context: tuple[Moment, ...]
    totals: tuple[Total, ...]
    uncompared: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all compared values are equal."""
        return self.first is None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"equal": self.equal, **dataclasses.asdict(self)}


def compare_runs(a: Run, b: Run, order: Sequence[str]) -> TraceComparison:
    """Compare the traces of two runs of the same network on the same samples.

    Args:
        order: populations in topological order.

    Raises:
        InputError: they differ in B or T, or have no traced variable in common.
    """
    for name in ("samples", "steps"):
        _same(name, getattr(a, name), getattr(b, name))
    traces = a.trace or Trace(), b.trace or Trace()
    return _compare([(0, *traces)], order, a.samples, a.steps)


def compare_files(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> TraceComparison:
    """Compare two trace files, part by part.

    Raises:
        InputError: a file cannot be read; the files differ in network, B, T or samples; or they
            have nothing in common.
    """
    with open_trace(a) as one, open_trace(b) as other:
        _check_alike(one.header, other.header)
        header = one.header
        order = tuple(dict.fromkeys((*header.order, *other.header.order)))
        return _compare(_blocks(one, other), order, header.samples, header.steps)


def _check_alike(a: TraceHeader, b: TraceHeader) -> None:
    _same("network", a.network_hash[:12], b.network_hash[:12])
    for name in ("samples", "steps"):
        _same(name, getattr(a, name), getattr(b, name))
    if a.samples_hash and b.samples_hash:
        _same("hash of the samples", a.samples_hash[:12], b.samples_hash[:12])
    for population in a.shapes.keys() & b.shapes.keys():
        _same(f"shape of '{population}'", a.shapes[population], b.shapes[population])


def _same(what: str, first: Any, second: Any) -> None:
    if first != second:
        raise InputError(
            f"compare: {what} is {quoted(first)} in the first trace and {quoted(second)} in the "
            "second, must be the same"
        )


def _blocks(a: TraceReader, b: TraceReader) -> Iterable[tuple[int, Trace, Trace]]:
    larger = max(a, b, key=lambda reader: reader.bytes_per_sample)
    for first, stop in larger.blocks():
        yield first, a.read(first, stop), b.read(first, stop)


def _compare(
    blocks: Iterable[tuple[int, Trace, Trace]], order: Sequence[str], samples: int, steps: int
) -> TraceComparison:
    """Compare pairs of traces of consecutive samples, each with the number of its first sample."""
    found: Divergence | None = None
    context: tuple[Moment, ...] = ()
    compared: dict[Key, int] = {}
    differing: dict[Key, int] = {}
    largest: dict[Key, float] = {}
    alone: dict[Key, None] = {}
    for start, a, b in blocks:
        for population in order:
            for variable in VARIABLES:
                key = variable, population
                pair = paired(a, b, population, variable)
                if pair is None:
                    if any(population in trace[variable] for trace in (a, b)):
                        alone[key] = None
                    continue
                compared[key] = compared.get(key, 0) + pair.a.size
                unequal = pair.a != pair.b
                differing[key] = differing.get(key, 0) + int(np.count_nonzero(unequal))
                gaps = np.abs(pair.a[unequal].astype(float) - pair.b[unequal].astype(float))
                largest[key] = float(np.maximum(largest.get(key, 0.0), gaps.max(initial=0.0)))
        here = first_divergence(a, b, order)
        if here is not None and (found is None or _rank(here, order) < _rank(found, order)):
            context = _context(a, b, here)
            found = dataclasses.replace(here, sample=start + here.sample)
    if not compared:
        raise InputError("compare: the two traces have recorded nothing in common")
    return TraceComparison(
        samples=samples,
        steps=steps,
        first=found,
        context=context,
        totals=tuple(
            Total(population, variable, count, differing[key], largest[key])
            for key, count in compared.items()
            for variable, population in [key]
        ),
        uncompared=tuple(f"{variable} of '{population}'" for variable, population in alone),
    )


def _rank(found: Divergence, order: Sequence[str]) -> tuple[int, int, int]:
    return found.step, order.index(found.population), VARIABLES.index(found.variable)


def _context(a: Trace, b: Trace, found: Divergence) -> tuple[Moment, ...]:
    """The diverging neuron in the steps up to its divergence."""
    moments: dict[int, dict[str, tuple[float, float]]] = {
        step: {} for step in range(max(0, found.step - CONTEXT_STEPS), found.step + 1)
    }
    for variable in VARIABLES:
        pair = paired(a, b, found.population, variable)
        if pair is None or not (at := np.flatnonzero(pair.flat == found.flat)).size:
            continue
        for step, values in moments.items():
            place = step, found.sample, at[0]
            values[variable] = float(pair.a[place]), float(pair.b[place])
    return tuple(Moment(step, values) for step, values in moments.items())
