from __future__ import annotations

import dataclasses
import json
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.energy import Interval
from spikeport.errors import InputError
from spikeport.parity import (
    Criterion,
    Drift,
    LadderRow,
    Limits,
    ParityReport,
    SkippedStage,
    Ties,
    build_row,
    merge_rows,
)
from spikeport.runs import Run, Trace
from spikeport.traces import first_divergence
from tests.helpers.made_runs import STEPS, from_spikes, make_run

ORDER = ("conv", "out")


def flip(run: Run, population: str, *index: int) -> Run:
    """The run with one spike of `population` at (step, sample, *neuron) inverted."""
    assert run.trace is not None
    spikes = {name: np.array(s) for name, s in run.trace.spikes.items()}
    spikes[population][index] ^= 1
    return from_spikes(spikes)


LABELS = make_run().predictions
WRONG = {"out": np.eye(4, dtype=np.int32)[(LABELS + 1) % 4]}


def test_the_first_row_is_not_judged() -> None:
    row = build_row("float", make_run(), LABELS, energy_pj=Interval(1, 2, 3))
    assert row.passed
    assert row.verdict == "start of the ladder"
    assert row.difference is None
    assert row.rule is None
    assert (row.accuracy.correct, row.accuracy.n) == (8, 8)
    assert row.energy_pj == Interval(1, 2, 3)
    counts = make_run().counts
    assert counts is not None
    assert row.spikes == counts.spikes
    assert row.synaptic_events == 4 * counts.spikes["conv"]


def test_equal_integer_runs_are_identical() -> None:
    row = build_row("lava", make_run(), LABELS, above=make_run(), rule=Criterion.EXACT)
    assert (row.verdict, row.passed) == ("identical", True)
    assert row.difference is not None
    assert row.difference.spikes == {"conv": 0, "out": 0}
    assert row.difference.total_spikes == row.difference.predictions == row.difference.scores == 0


def test_a_shorter_run_is_compared_on_its_samples_only() -> None:
    short = make_run(samples=3)
    row = build_row("lava", short, LABELS, above=make_run(), rule=Criterion.EXACT)
    assert row.verdict == "identical"
    assert row.accuracy.n == 3
    assert row.difference is not None
    assert row.difference.compared == 3
    later = flip(make_run(), "out", 0, 7, 0)
    assert build_row("lava", short, LABELS, above=later).passed
    earlier = flip(make_run(), "out", 0, 2, 0)
    assert not build_row("lava", short, LABELS, above=earlier).passed


@given(
    st.integers(0, STEPS - 1), st.integers(0, 7), st.integers(0, 1), st.integers(0, 2),
    st.integers(0, 2),
)  # fmt: skip
def test_any_one_differing_spike_fails_an_exact_row_and_is_named(
    step: int, sample: int, channel: int, row: int, column: int
) -> None:
    wrong = flip(make_run(), "conv", step, sample, channel, row, column)
    got = build_row("lava", wrong, LABELS, above=make_run(), rule=Criterion.EXACT, order=ORDER)
    assert not got.passed
    assert got.verdict.startswith("FAILED: spikes differ, 1 in 'conv'; first at sample")
    where = f"sample {sample}, step {step}, population 'conv', neuron ({channel}, {row}, {column})"
    assert where in got.verdict


def test_exact_fails_on_scores_counts_or_another_network_too() -> None:
    good = make_run()
    assert good.counts is not None
    scores = dataclasses.replace(good, scores={"out": good.scores["out"] + 1})
    row = build_row("x", scores, LABELS, above=good)
    assert row.verdict == "FAILED: 32 scores differ although all spikes are equal"
    renamed = dataclasses.replace(good, scores={"conv": good.scores["out"]})
    assert "readouts differ" in build_row("x", renamed, LABELS, above=good).verdict
    updates = dataclasses.replace(good.counts, updates={"conv": 2})
    row = build_row("x", dataclasses.replace(good, counts=updates), LABELS, above=good)
    assert row.verdict == "FAILED: event counts differ: updates"
    other = dataclasses.replace(good, network_hash="cd" * 32)
    row = build_row("x", other, LABELS, above=good)
    assert row.verdict == "FAILED: different network: cdcdcdcdcdcd against abababababab"


def test_counts_a_backend_does_not_make_are_not_compared() -> None:
    good = make_run()
    assert good.counts is not None
    partial = dataclasses.replace(good.counts, updates={}, visits={})
    assert build_row("x", dataclasses.replace(good, counts=partial), LABELS, above=good).passed
    assert build_row("x", dataclasses.replace(good, counts=None), LABELS, above=good).passed


@pytest.mark.parametrize("rule", [Criterion.EXACT, Criterion.TIES])
def test_a_strict_rule_without_traces_is_refused(rule: Criterion) -> None:
    blind = dataclasses.replace(make_run(), trace=None)
    with pytest.raises(InputError, match=r"stage 'x': the spikes of 'conv' cannot be compared"):
        build_row("x", blind, LABELS, above=make_run(), rule=rule)
    longer = make_run()
    assert longer.trace is not None
    doubled = {n: np.concatenate([s, s]) for n, s in longer.trace.spikes.items()}
    with pytest.raises(InputError, match="with the same size and T"):
        build_row("x", from_spikes(doubled), LABELS, above=longer, rule=rule)


def test_ties_have_a_bound_on_spikes_and_accuracy() -> None:
    above = make_run()
    assert above.trace is not None
    spikes = {name: np.array(s) for name, s in above.trace.spikes.items()}
    spikes["conv"][:, :4] = 0
    row = build_row(
        "x", from_spikes(spikes), LABELS, above=above, rule=Criterion.TIES, ties=Ties(4, 0)
    )
    assert not row.passed
    assert re.match(
        r"FAILED: ties change \d+ of \d+ spikes \(\d+\.\d\d %, limit 0.5 %\)", row.verdict
    )
    wrong = dataclasses.replace(flip(above, "conv", 2, 1, 0, 0, 0), scores=WRONG)
    row = build_row("x", wrong, LABELS, above=above, rule=Criterion.TIES, ties=Ties(1, 0))
    assert row.verdict == "FAILED: ties change accuracy by -100.00 points, limit 0.2"


def test_each_stage_is_compared_with_training_too() -> None:
    training = make_run()
    assert training.trace is not None
    same = build_row("x", training, LABELS, above=training, training=training)
    assert same.drift == Drift(8, 0, 0, {n: (c, c) for n, c in same.spikes.items()})
    assert (same.drift.points, same.drift.spike_change) == (0.0, 0.0)
    spikes = {name: np.array(s) for name, s in training.trace.spikes.items()}
    spikes["conv"][:, :2] = 0
    fewer = from_spikes(spikes)
    # Equal to the stage above, although a fifth of the spikes was lost since training.
    row = build_row("x", fewer, LABELS, above=fewer, training=training)
    assert re.match(r"FAILED: 'conv' has \d+ spikes, training has \d+ \(-2", row.verdict)
    loose = Limits(max_spike_change=0.5)
    row = build_row("x", fewer, LABELS, above=fewer, training=training, limits=loose)
    assert (row.verdict, row.passed) == ("identical", True)
    wrong = dataclasses.replace(training, scores=WRONG)
    row = build_row("x", wrong, LABELS, above=wrong, training=training)
    assert row.verdict == "FAILED: accuracy is 100.00 points below training, limit 1"
    few = from_spikes({name: s[:, :3] for name, s in training.trace.spikes.items()})
    row = build_row("x", few, LABELS, above=few, training=training)
    assert row.drift is not None
    assert row.drift.compared == 3
    assert row.drift.spike_change == 0


def test_ties_allow_only_what_the_analysis_explains() -> None:
    above, run = make_run(), flip(make_run(), "conv", 2, 1, 0, 0, 0)

    def judge(ties: Ties | None, run: Run = run) -> tuple[str, bool]:
        row = build_row("norse", run, LABELS, above=above, rule=Criterion.TIES, ties=ties)
        return row.verdict, row.passed

    assert judge(None, above) == ("identical", True)
    assert judge(Ties(1, 0)) == ("identical except for 1 tie", True)
    assert judge(Ties(2, 0)) == ("identical except for 2 ties", True)
    for ties in (None, Ties(1, 1), Ties(0, 0)):
        verdict, passed = judge(ties)
        assert not passed
        assert verdict.startswith("FAILED: 1 spikes differ")


def test_quantization_may_change_spikes_but_not_lose_accuracy() -> None:
    above, run = make_run(), make_run(seed=1)
    labels = above.predictions
    wrong = int((run.predictions != labels).sum())
    assert wrong > 0
    row = build_row(
        "quantized",
        run,
        labels,
        above=above,
        rule=Criterion.CHANGE,
        limits=Limits(max_drop_points=100),
    )
    assert (row.verdict, row.passed) == ("changed by quantization (expected)", True)
    assert row.difference is not None
    assert row.difference.predictions == wrong
    assert row.difference.total_spikes
    assert row.difference.first is None
    row = build_row("quantized", run, labels, above=above, rule=Criterion.CHANGE)
    assert row.verdict == f"FAILED: accuracy fell by {100 * wrong / 8:.2f} points, limit 1"
    # Getting better is no failure.
    assert build_row("q", run, run.predictions, above=above, rule=Criterion.CHANGE).passed


def test_a_changed_row_without_traces_shows_spikes_as_not_comparable() -> None:
    blind = dataclasses.replace(make_run(), trace=None)
    row = build_row("q", blind, LABELS, above=make_run(), rule=Criterion.CHANGE)
    assert row.difference is not None
    assert row.difference.spikes == {"conv": None, "out": None}
    assert row.difference.total_spikes is None


def test_too_few_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"labels have shape \(3,\), must be \(n,\) with n >= 8"):
        build_row("x", make_run(), LABELS[:3])


def traced(**changed: Any) -> Run:
    shape = (4, 2, 3)
    zero = {name: np.zeros(shape, np.int32) for name in ("a", "b")}
    tables: dict[str, Any] = {
        k: {n: np.array(z) for n, z in zero.items()} for k in ("u", "v", "spikes")
    }
    for key, places in changed.items():
        variable, population = key.split("_")
        for place in places:
            tables[variable][population][place] = 7
    return dataclasses.replace(make_run(), trace=Trace(**tables))


def test_first_divergence_prefers_the_cause_to_its_consequences() -> None:
    found = first_divergence(
        traced(),
        traced(u_a=[(2, 1, 2)], v_a=[(2, 1, 2)], spikes_b=[(2, 1, 0), (3, 0, 1)]),
        ("a", "b"),
    )
    assert found is not None  # step 2 comes before step 3, however late its sample
    assert (found.sample, found.step, found.population, found.neuron) == (1, 2, "a", (2,))
    found = first_divergence(traced(), traced(v_a=[(2, 1, 0)], u_b=[(2, 0, 0)]), ("a", "b"))
    assert found is not None
    assert (found.population, found.variable, found.sample) == ("a", "v", 1)
    found = first_divergence(
        traced(), traced(u_a=[(2, 1, 2)], v_a=[(2, 1, 2)], spikes_b=[(2, 1, 0)]), ("a", "b")
    )
    assert found is not None
    assert (found.population, found.variable, found.values) == ("a", "u", (0.0, 7.0))
    assert str(found) == "sample 1, step 2, population 'a', neuron (2): u 0 against 7"
    swapped = first_divergence(traced(), traced(v_a=[(2, 1, 2)], spikes_b=[(2, 1, 0)]), ("b", "a"))
    assert swapped is not None
    assert swapped.population == "b"


def test_a_flat_trace_is_compared_with_a_shaped_one() -> None:
    shaped, wrong = make_run(), flip(make_run(), "conv", 2, 1, 1, 2, 0)
    assert wrong.trace is not None
    flat = {n: s.reshape(*s.shape[:2], -1) for n, s in wrong.trace.spikes.items()}
    row = build_row("x", from_spikes(flat), LABELS, above=shaped, order=ORDER)
    assert row.difference is not None
    assert row.difference.first is not None
    assert row.difference.first.neuron == (1, 2, 0)


def test_no_divergence_between_equal_or_untraced_runs() -> None:
    assert first_divergence(traced(), traced(), ("a", "b")) is None
    assert first_divergence(traced(), traced(v_a=[(0, 0, 0)]), ("a",), ("spikes",)) is None
    blind = dataclasses.replace(make_run(), trace=None)
    assert first_divergence(blind, traced(v_a=[(0, 0, 0)]), ("a",)) is None


def test_report_passes_only_if_every_row_does_and_is_plain_data() -> None:
    good = build_row("a", make_run(), LABELS, energy_pj=Interval(1, 2, 3))
    bad = build_row("b", flip(make_run(), "out", 0, 0, 0), LABELS, above=make_run(), order=ORDER)
    skipped = (SkippedStage("Lava", "lava", "no environment", "spikeport backends --install"),)
    report = ParityReport((good,), "ab" * 32, 8, STEPS, {"numpy": "2"}, "demo", skipped)
    assert report.passed
    assert not ParityReport((good, bad), "ab" * 32, 8, STEPS, {}).passed
    assert not ParityReport((), "", 0, 0, {}).passed
    data = json.loads(json.dumps(dataclasses.replace(report, rows=(good, bad)).as_dict()))
    assert data["passed"] is False
    assert data["rows"][1]["difference"]["first"]["population"] == "out"
    assert data["rows"][0]["energy_pj"] == {"low": 1, "nominal": 2, "high": 3}
    assert data["skipped"][0]["reason"] == "no environment"


@given(
    seed=st.integers(0, 3),
    flips=st.lists(
        st.tuples(
            st.sampled_from(["run", "above", "training"]),
            st.integers(0, STEPS - 1),
            st.integers(0, 7),
            st.integers(0, 3),
        ),
        max_size=6,
    ),
    cuts=st.sets(st.integers(1, 7)),
    rule=st.sampled_from([*Criterion, None]),
    labels=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    unexplained=st.booleans(),
    limit=st.sampled_from([0.0, 0.005, 20.0]),
)
def test_rows_of_any_parts_merge_to_the_row_of_all_samples(
    seed: int,
    flips: list[tuple[str, int, int, int]],
    cuts: set[int],
    rule: Criterion | None,
    labels: list[int],
    unexplained: bool,
    limit: float,
) -> None:
    runs = {name: make_run(seed) for name in ("run", "above", "training")}
    for name, step, sample, neuron in flips:
        runs[name] = flip(runs[name], "out", step, sample, neuron)
    limits = Limits(max_drop_points=limit, max_spike_change=limit, max_tie_share=limit)

    def row(first: int, end: int) -> LadderRow:
        part = {name: part_of(run, first, end) for name, run in runs.items()}
        ties = Ties(end - first, (end - first) * unexplained)
        return build_row(
            "x",
            part["run"],
            labels[first:end],
            above=None if rule is None else part["above"],
            rule=rule or Criterion.EXACT,
            order=ORDER,
            ties=ties if rule is Criterion.TIES else None,
            training=part["training"],
            limits=limits,
            energy_pj=Interval(1, 2, 3),
        )

    edges = [0, *sorted(cuts), 8]
    merged = merge_rows([row(*pair) for pair in pairwise(edges)], ORDER, limits)
    whole = row(0, 8)
    assert merged.wall_s == 0.5 * (len(edges) - 1)
    if whole.difference is not None and merged.difference is not None:
        # Where spikes differ, counts of a part may differ that add up to the same.
        assert set(merged.difference.counts) >= set(whole.difference.counts)
        same = dataclasses.replace(whole.difference, counts=merged.difference.counts)
        whole = dataclasses.replace(whole, difference=same)
    assert dataclasses.replace(merged, wall_s=0.5) == whole


def part_of(run: Run, first: int, end: int) -> Run:
    """The run of some of the samples."""
    assert run.trace is not None
    return from_spikes({name: s[:, first:end] for name, s in run.trace.spikes.items()})
