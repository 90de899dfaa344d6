"""Runs that are equal, or differ in chosen places."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from spikeport.runs import RECORDABLE, Run, Trace

RECORD = ("spikes", "u", "v")


def assert_same(left: Run, right: Run) -> None:
    """Equal in every integer, in types and in the order of their parts; not in wall time."""
    for name in ("backend", "version", "network_hash", "samples", "steps", "counts"):
        assert getattr(left, name) == getattr(right, name)
    pairs: list[tuple[Any, Any]] = [
        (left.scores, right.scores),
        (left.spike_counts, right.spike_counts),
    ]
    assert (left.trace is None) == (right.trace is None)
    if left.trace and right.trace:
        pairs += [(getattr(left.trace, kind), getattr(right.trace, kind)) for kind in RECORD]
    for a, b in pairs:
        assert list(a) == list(b)
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name], strict=True)


def assert_equal_runs(one: Run, other: Run) -> None:
    """Equal in every integer and its type, whatever backend computed them."""
    for name in ("network_hash", "samples", "steps", "counts"):
        assert getattr(one, name) == getattr(other, name), name
    np.testing.assert_array_equal(one.predictions, other.predictions)
    ours, theirs = _tables(one), _tables(other)
    assert ours.keys() == theirs.keys()
    for kind, table in theirs.items():
        assert ours[kind].keys() == table.keys(), kind
        for name, values in table.items():
            np.testing.assert_array_equal(
                ours[kind][name], values, f"{kind} of {name}", strict=True
            )


def _tables(run: Run) -> dict[str, Mapping[str, Any]]:
    recorded = {} if run.trace is None else dict(run.trace.tables)
    return {"scores": run.scores, "spike counts": run.spike_counts, **recorded}


Place = tuple[str, str, int, int, int]
"""(variable, population, step, sample, flat neuron)."""


def changed(run: Run, *places: Place) -> Run:
    """The run with one value more at each place; a spike is inverted."""
    assert run.trace is not None
    tables = {
        name: {key: np.array(array) for key, array in getattr(run.trace, name).items()}
        for name in RECORDABLE
    }
    for variable, population, step, sample, neuron in places:
        array = tables[variable][population]
        flat = array.reshape(*array.shape[:2], -1)
        value = flat[step, sample, neuron]
        flat[step, sample, neuron] = 1 - value if variable == "spikes" else value + 1
    return dataclasses.replace(run, trace=Trace.of(tables, run.trace.neurons))
