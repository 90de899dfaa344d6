"""Runs of any parts of the samples, merged, are the run of the whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.runs import Run, Trace, check_samples, merge_runs, sample_count, select
from spikeport.simulators import run_reference
from tests.helpers.run_comparison import RECORD, assert_same
from tests.helpers.strategies import networks, samples_for


@st.composite
def whole_and_parts(draw: st.DrawFn) -> tuple[Run, list[Run]]:
    network = draw(networks(max_steps=4))
    arrays = check_samples(network.inputs, network.steps, draw(samples_for(network, max_samples=6)))
    count = sample_count(network.inputs, arrays)
    record = RECORD if draw(st.booleans()) else ()
    inner = draw(st.sets(st.integers(1, count - 1))) if count > 1 else set()
    cuts = [0, *sorted(inner), count]
    runs = [
        run_reference(network, select(network.inputs, arrays, slice(a, b)), record=record)
        for a, b in pairwise(cuts)
    ]
    return run_reference(network, arrays, record=record), runs


@given(whole_and_parts(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_partition_merges_to_the_whole(
    case: tuple[Run, list[Run]], data: st.DataObject
) -> None:
    whole, parts = case
    merged = merge_runs(parts)
    assert_same(merged, whole)
    assert (merged.predictions == whole.predictions).all()
    assert merged.wall_s == pytest.approx(sum(part.wall_s for part in parts))
    # In two stages too: neighbours first.
    middle = data.draw(st.integers(0, len(parts)))
    groups = [group for group in (parts[:middle], parts[middle:]) if group]
    assert_same(merge_runs([merge_runs(group) for group in groups]), whole)


@given(whole_and_parts())
@settings(max_examples=10, deadline=None)
def test_runs_that_do_not_belong_together(case: tuple[Run, list[Run]]) -> None:
    run = case[0]
    other: dict[str, Any] = {
        "backend": "other",
        "version": "0",
        "network_hash": "f00",
        "steps": run.steps + 1,
        "scores": {},
        "spike_counts": {},
        "counts": None,
        "trace": None if run.trace else Trace(),
    }
    for name, value in other.items():
        with pytest.raises(InputError, match="merge: "):
            merge_runs([run, replace(run, **{name: value})])


def test_no_runs() -> None:
    with pytest.raises(InputError, match="no runs given"):
        merge_runs([])
