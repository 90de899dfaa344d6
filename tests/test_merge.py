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
    other: dict[str, tuple[Any, str]] = {
        "backend": ("other", "the runs' backend is .* and .*, must be the same"),
        "version": ("0", "the runs' version is .* and .*, must be the same"),
        "network_hash": ("f00", "the runs' network_hash is .* and .*, must be the same"),
        "steps": (run.steps + 1, "the runs' steps is .* and .*, must be the same"),
        "scores": ({}, "scores are for nothing and for .*, must be for the same parts"),
        "spike_counts": ({}, "spike counts are for nothing and for .*, must be for the same"),
        "counts": (None, "some runs have event counts, some do not, must be all or none"),
        "trace": (
            None if run.trace else Trace(),
            "some runs have a trace, some do not, must be all or none",
        ),
    }
    for name, (value, message) in other.items():
        with pytest.raises(InputError, match=f"^merge: .*{message}"):
            merge_runs([run, replace(run, **{name: value})])


def test_no_runs() -> None:
    with pytest.raises(InputError, match="no runs given"):
        merge_runs([])
