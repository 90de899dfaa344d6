"""Energy and latency of a network whose place on the chip is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.energy import (
    LEVELS,
    ConnectionInfo,
    Hops,
    Interval,
    Placement,
    SynapseKind,
    Topology,
    estimate_energy,
    load_profile,
)
from spikeport.errors import InputError
from spikeport.runs import EventCounts

LOIHI1 = load_profile("loihi1")
TOPOLOGY = Topology(
    {
        "x_to_a": ConnectionInfo(SynapseKind.DENSE, "x", "a"),
        "a_to_b": ConnectionInfo(SynapseKind.DENSE, "a", "b"),
    },
    macs=100,
)
COUNTS = EventCounts(
    samples=2, steps=5, spikes={"a": 30, "b": 4}, visits={"a": 1000, "b": 100},
    updates={"a": 800, "b": 100}, input_events={"x": 50}, messages={"x_to_a": 50, "a_to_b": 30},
    synaptic_events={"x_to_a": 5000, "a_to_b": 300},
    synaptic_events_all={"x_to_a": 5000, "a_to_b": 300},
)  # fmt: skip
SPREAD = Placement(
    cores=({"a": 0.75}, {"a": 0.25}, {"b": 1.0}),
    chips=3,
    packets={"x_to_a": 2.0},
    hops={"a_to_b": Hops(east_west=2.0, north_south=1.0)},
)


def test_the_slowest_core_of_the_placement_sets_the_pace() -> None:
    report = estimate_energy(TOPOLOGY, COUNTS, LOIHI1, placement=SPREAD)
    # SANA-FE: updates and visits, events, received packets (two for each message), spikes, packets.
    a = 1000 * 6.0 + 800 * 3.7 + 30 * 30.0 + 5000 * 4.0 + 2 * 50 * 20.0 + 30 * 5.1
    assert report.time_ns.nominal == pytest.approx(10 * 1000 + 0.75 * a)
    assert report.slowest == ("a",)
    assert report.cores == {"a": 2, "b": 1}
    assert report.chips == 3
    assert report.static == LOIHI1.static_mw.interval * report.time_ns * 3  # type: ignore[union-attr]
    assert report.placed
    assert not any("even" in text and "whole chip" in text for text in report.assumptions)


def test_packets_and_hops_by_direction_are_priced() -> None:
    report = estimate_energy(TOPOLOGY, COUNTS, LOIHI1, placement=SPREAD)
    (routing,) = (term for term in report.terms if term.name == "routing")
    assert routing.events == Interval.same(2 * 50 + 30)
    assert routing.by_part["x_to_a"].nominal == pytest.approx(2 * 50 * 111)
    assert routing.by_part["a_to_b"].nominal == pytest.approx(30 * (111 + 2 * 3.0 + 4.2))
    assert routing.by_part["a_to_b"].low == pytest.approx(30 * (1.7 + 2 * 3.0 + 4.0))
    known = "packets to more than one destination core per connection"
    assert known not in report.unpriced
    assert known in estimate_energy(TOPOLOGY, COUNTS, LOIHI1).unpriced
    assert not any("Hops per packet" in text for text in report.assumptions)


def test_where_a_profile_has_one_price_of_a_hop_both_directions_have_it() -> None:
    energies = {key: each for key, each in LOIHI1.energy_pj.items() if key != "hop_east_west"}
    profile = dataclasses.replace(LOIHI1, energy_pj=energies)
    report = estimate_energy(TOPOLOGY, COUNTS, profile, placement=SPREAD)
    (routing,) = (term for term in report.terms if term.name == "routing")
    assert routing.by_part["a_to_b"].nominal == pytest.approx(30 * (111 + 3 * 4.2))


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9), st.booleans())
def test_no_division_among_cores_is_faster_than_an_even_one(
    shares: list[float], together: bool
) -> None:
    total = sum(shares)
    cores: list[dict[str, float]] = [{"a": share / total} for share in shares]
    cores.append({"b": 1.0})
    if together:  # one core holds both
        cores[0]["b"] = cores.pop()["b"]

    def time(placed: Placement) -> Interval:
        return estimate_energy(TOPOLOGY, COUNTS, LOIHI1, placement=placed).time_ns

    even = Placement([*({"a": 1 / len(shares)} for _ in shares), {"b": 1.0}])
    whole = Placement([{"a": 1.0, "b": 1.0}])
    for level in LEVELS:
        at = time(Placement(cores)).at(level)
        assert at >= time(even).at(level) * (1 - 1e-12)
        assert at <= time(whole).at(level) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chips": 0}, "placement: chips is 0, must be at least 1"),
        ({"cores": [{"a": 1.0}]}, "shares of population 'b' add up to 0, must be 1"),
        ({"cores": [{"a": 0.5, "b": 1}]}, "shares of population 'a' add up to 0.5, must be 1"),
        ({"cores": [{"a": 1.0, "b": 1, "c": 1}]}, "population 'c' is not in the network"),
        (
            {"cores": [{"a": 2.0, "b": 1}, {"a": -1.0}]},
            "share of population 'a' is -1.0, must be f",
        ),
        ({"packets": {"y": 1.0}}, "connection 'y' is not in the network"),
        (
            {"packets": {"a_to_b": float("nan")}},
            "packets per message of connection 'a_to_b' is nan",
        ),
        ({"hops": {"a_to_b": Hops(-1.0)}}, "hops of connection 'a_to_b' is -1.0, must be finite"),
    ],
)
def test_a_placement_of_another_network_is_refused(change: dict[str, Any], message: str) -> None:
    placed = dataclasses.replace(SPREAD, **change)
    with pytest.raises(InputError, match=message):
        estimate_energy(TOPOLOGY, COUNTS, LOIHI1, placement=placed)


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, float("nan")])
def test_an_accuracy_beyond_0_and_1_is_refused(accuracy: float) -> None:
    with pytest.raises(InputError, match=r"accuracy is .*, must lie in 0\.\.1"):
        estimate_energy(TOPOLOGY, COUNTS, LOIHI1, accuracy=accuracy)


def test_energy_per_step_layer_and_correct_answer() -> None:
    report = estimate_energy(TOPOLOGY, COUNTS, LOIHI1, accuracy=0.5)
    assert report.per_step(report.total).nominal == pytest.approx(report.total.nominal / 10)
    right = report.per_correct_answer
    assert right is not None
    assert right.nominal == pytest.approx(report.total_per_sample.nominal / 0.5)
    assert report.edp.nominal == pytest.approx(
        report.total.nominal / 2 * report.time_ns.nominal / 2
    )
    assert set(report.by_layer) == {"a", "b"}
    for level in LEVELS:
        parts = sum(energy.at(level) for energy in report.by_layer.values())
        assert parts == pytest.approx(report.dynamic.at(level))
    unknown, none = (estimate_energy(TOPOLOGY, COUNTS, LOIHI1, accuracy=a) for a in (None, 0.0))
    assert unknown.per_correct_answer is none.per_correct_answer is None
