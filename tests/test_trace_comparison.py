"""The first divergence of two traces is found exactly, wherever they are kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.network import require_lif
from spikeport.parity import build_row
from spikeport.runs import RECORDABLE, Probe, Run
from spikeport.simulators import run_native
from spikeport.traces import (
    Divergence,
    TraceComparison,
    compare_files,
    compare_runs,
    first_divergence,
)
from spikeport.traces.reader import TraceReader
from spikeport.traces.writer import write_trace
from spikeport.workflow import record_trace
from tests.helpers.effort import examples
from tests.helpers.probes import chain, inputs
from tests.helpers.run_comparison import Place, changed
from tests.helpers.strategies import networks, samples_for


def through_files(folder: Path, a: Run, b: Run, order: tuple[str, ...]) -> TraceComparison:
    for name, run in (("a.h5", a), ("b.h5", b)):
        write_trace(folder / name, run, order=order)
    return compare_files(folder / "a.h5", folder / "b.h5")


@settings(max_examples=examples(25), deadline=None)
@given(st.data())
def test_one_changed_value_is_found_exactly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    network = data.draw(networks())
    run = run_native(network, data.draw(samples_for(network)), record=RECORDABLE)
    part = data.draw(st.sampled_from(network.populations))
    place = (
        data.draw(st.sampled_from(RECORDABLE)),
        part.name,
        data.draw(st.integers(0, network.steps - 1)),
        data.draw(st.integers(0, run.samples - 1)),
        data.draw(st.integers(0, part.size - 1)),
    )
    other = changed(run, place)
    for found in (
        compare_runs(run, other, network.order),
        through_files(tmp_path_factory.mktemp("d"), run, other, network.order),
    ):
        first = found.first
        assert first is not None
        assert (first.variable, first.population, first.step, first.sample, first.flat) == place
        assert first.neuron == tuple(np.unravel_index(place[4], part.shape))
        assert run.trace is not None
        before = getattr(run.trace, place[0])[part.name][place[2], place[3]].ravel()[place[4]]
        assert first.values[0] == before
        assert abs(first.values[1] - before) == 1
        assert sum(total.differing for total in found.totals) == 1
        assert [moment.step for moment in found.context] == list(
            range(max(0, place[2] - 3), place[2] + 1)
        )
        for moment in found.context:
            for variable in RECORDABLE:
                one, two = moment.values[variable]
                assert (one != two) == (moment.step == place[2] and variable == place[0])
                array = getattr(run.trace, variable)[part.name][moment.step, place[3]]
                assert one == array.ravel()[place[4]]
    assert compare_runs(run, run, network.order).equal


def recorded() -> Run:
    return run_native(chain(), inputs(7), record=RECORDABLE)


@pytest.mark.parametrize("samples_per_block", [1, 2, 7])
@pytest.mark.parametrize(
    ("places", "expected"),
    [
        # earliest step, although its sample is last
        ([("u", "a", 3, 0, 1), ("spikes", "b", 2, 6, 7)], 1),
        # of one step, the population that comes first
        ([("u", "b", 2, 0, 1), ("spikes", "a", 2, 5, 3)], 1),
        # of one population, u before v before spikes
        ([("spikes", "a", 2, 0, 1), ("v", "a", 2, 1, 3), ("u", "a", 2, 3, 4)], 2),
        # then the lowest sample and neuron
        ([("v", "a", 2, 4, 0), ("v", "a", 2, 1, 3), ("v", "a", 2, 1, 2)], 2),
    ],
)
def test_the_first_is_the_cause(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    samples_per_block: int,
    places: list[Place],
    expected: int,
) -> None:
    run = recorded()
    blocks = [
        (first, min(first + samples_per_block, 7)) for first in range(0, 7, samples_per_block)
    ]
    monkeypatch.setattr(TraceReader, "blocks", lambda self: iter(blocks))
    found = through_files(tmp_path, run, changed(run, *places), ("a", "b"))
    assert found == compare_runs(run, changed(run, *places), ("a", "b"))
    assert found.first is not None
    first = found.first
    assert (
        first.variable,
        first.population,
        first.step,
        first.sample,
        first.flat,
    ) == places[expected]
    assert sum(total.differing for total in found.totals) == len(places)


def test_only_what_both_recorded_is_compared_and_the_rest_is_said(tmp_path: Path) -> None:
    whole = changed(recorded(), ("v", "a", 1, 2, 9), ("v", "a", 4, 2, 5), ("u", "b", 0, 0, 0))
    some = run_native(
        chain(), inputs(7), record=[Probe("a", ("v",), (3, 5, 39)), Probe("b", ("spikes",))]
    )
    for found in (
        compare_runs(some, whole, ("a", "b")),
        through_files(tmp_path, some, whole, ("a", "b")),
    ):
        assert found.first is not None
        assert (found.first.flat, found.first.neuron, found.first.step) == (5, (5,), 4)
        assert [(t.population, t.variable, t.compared) for t in found.totals] == [
            ("a", "v", 7 * 6 * 3),
            ("b", "spikes", 7 * 6 * 8),
        ]
        assert found.uncompared == ("u of 'a'", "spikes of 'a'", "u of 'b'", "v of 'b'")
        assert set(found.context[0].values) == {"v"}
        assert json.loads(json.dumps(found.as_dict()))["first"]["values"] == list(
            found.first.values
        )
    overlapping = run_native(chain(), inputs(7), record=[Probe("b", ("u",), (1, 6))])
    other = run_native(chain(), inputs(7), record=[Probe("b", ("u",), (6, 7))])
    found = compare_runs(
        overlapping, changed(other, ("u", "b", 0, 0, 0), ("u", "b", 1, 3, 1)), ("a", "b")
    )
    assert found.first is not None
    assert (found.first.flat, found.first.neuron) == (6, (1, 1, 0))


def test_traces_of_chosen_neurons_cannot_be_judged_spike_for_spike() -> None:
    run = run_native(chain(), inputs(), record=[Probe("a", ("spikes",), (1,)), Probe("b")])
    with pytest.raises(InputError, match="spikes of 'a' cannot be compared"):
        build_row("x", run, [0, 0, 0], above=run)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    network = chain()
    louder = network.replace(
        populations=(
            dataclasses.replace(require_lif(network.by_name["a"]), vth=91),
            network.by_name["b"],
        )
    )
    longer = network.replace(steps=7)
    runs = {
        "plain": (network, inputs()),
        "louder": (louder, inputs()),
        "longer": (longer, inputs()),
        "fewer": (network, inputs(2)),
        "others": (network, 1 - inputs()),
    }
    for name, (one, x) in runs.items():
        record_trace(tmp_path / name, one, x)
    record_trace(tmp_path / "u of a", network, inputs(), record=[Probe("a", ("u",))])
    record_trace(tmp_path / "u of b", network, inputs(), record=[Probe("b", ("u",))])
    for name, message in {
        "louder": "network is",
        "longer": "network is",
        "fewer": "samples is 3 in the first trace and 2 in the second",
        "others": "hash of the samples",
    }.items():
        with pytest.raises(InputError, match=message):
            compare_files(tmp_path / "plain", tmp_path / name)
    with pytest.raises(InputError, match="nothing in common"):
        compare_files(tmp_path / "u of a", tmp_path / "u of b")
    with pytest.raises(InputError, match="steps is 6 in the first trace and 7"):
        compare_runs(
            run_native(network, inputs(), record=["u"]),
            run_native(longer, inputs(), record=["u"]),
            ("a", "b"),
        )
    assert compare_files(tmp_path / "plain", tmp_path / "plain").equal


def test_large_values_are_shown_whole() -> None:
    found = Divergence("a", (1, 0), 2, 3, "u", (2147483647.0, 0.12345678901), 5)
    assert str(found).endswith("neuron (1, 0): u 2147483647 against 0.123456789")


def test_traces_are_compared_without_runs() -> None:
    run = recorded()
    other = changed(run, ("v", "b", 5, 6, 7))
    assert run.trace is not None
    assert other.trace is not None
    found = first_divergence(run.trace, other.trace, ("a", "b"))
    assert found == first_divergence(run, other, ("a", "b"))
    assert found is not None
    assert (found.population, found.neuron) == ("b", (1, 1, 1))
