from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.energy import (
    LEVELS,
    ConnectionInfo,
    Interval,
    SynapseKind,
    Topology,
    estimate_energy,
    load_profile,
    topology_of,
)
from spikeport.energy.prices import CountsZeros
from spikeport.errors import InputError
from spikeport.network import (
    LOIHI,
    BiasInjection,
    Coding,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
)
from spikeport.runs import EventCounts
from spikeport.simulators import run_native
from tests.helpers.strategies import networks, samples_for

LOIHI1 = load_profile("loihi1")

# One sample of 10 steps: 3 input spikes reach 2 neurons each, of 6 synapses one is zero and was
# hit once; the 2 neurons are updated 7 times and fire twice.
TINY = Topology({"in_to_a": ConnectionInfo(SynapseKind.DENSE, "in", "a")}, macs=6)
COUNTS = EventCounts(
    samples=1,
    steps=10,
    spikes={"a": 2},
    visits={"a": 20},
    updates={"a": 7},
    input_events={"in": 3},
    messages={"in_to_a": 3},
    synaptic_events={"in_to_a": 5},
    synaptic_events_all={"in_to_a": 6},
)


def by_name(
    report_counts: EventCounts = COUNTS, topology: Topology = TINY
) -> Mapping[str, Interval]:
    return {t.name: t.energy for t in estimate_energy(topology, report_counts, LOIHI1).terms}


def test_low_is_the_hand_calculation_from_davies_2018() -> None:
    terms = {name: energy.low for name, energy in by_name().items()}
    assert terms["synapses, dense"] == pytest.approx(5 * 23.6)
    # 7 active updates at 81 pJ, 13 inactive at 52 pJ.
    assert terms["neuron visits"] + terms["neuron updates"] == pytest.approx(7 * 81 + 13 * 52)
    assert terms["spike generation"] == 0
    assert terms["routing"] == pytest.approx(3 * 1.7)
    # 10 barriers of 113 ns and all the work spread over 128 cores, at 29.5 mW.
    work_ns = 7 * 8.4 + 13 * 5.3 + 5 * 3.5
    assert terms["static power"] == pytest.approx(29.5 * (10 * 113 + work_ns / 128))
    report = estimate_energy(TINY, COUNTS, LOIHI1)
    assert report.dynamic.low == pytest.approx(118 + 1243 + 5.1)
    assert report.total.low == pytest.approx(sum(terms.values()))


def test_nominal_is_the_hand_calculation_from_sana_fe() -> None:
    terms = {name: energy.nominal for name, energy in by_name().items()}
    assert terms["synapses, dense"] == pytest.approx(6 * 35.5)  # the stored zero is fetched
    assert terms["neuron visits"] == pytest.approx(20 * 51.2)
    assert terms["neuron updates"] == pytest.approx(7 * 21.6)
    assert terms["spike generation"] == pytest.approx(2 * 69.3)
    assert terms["routing"] == pytest.approx(3 * (111 + 4.2))
    work_ns = 20 * 6.0 + 7 * 3.7 + 2 * 30.0 + 6 * 4.0 + 3 * 20.0
    assert terms["static power"] == pytest.approx(96 * (10 * 1000 + work_ns))


def test_high_is_a_quarter_above_with_every_connection_dense() -> None:
    conv = Topology({"in_to_a": ConnectionInfo(SynapseKind.CONV, "in", "a")})
    terms = {name: energy.high for name, energy in by_name(topology=conv).items()}
    assert terms["synapses, conv"] == pytest.approx(6 * 35.5 * 1.25)
    assert terms["routing"] == pytest.approx(3 * (111 + 4.2) * 1.25)


def test_a_kernel_is_nominally_cheaper_than_a_dense_row_and_stores_no_zero() -> None:
    conv = Topology({"in_to_a": ConnectionInfo(SynapseKind.CONV, "in", "a")})
    assert by_name(topology=conv)["synapses, conv"].nominal == pytest.approx(5 * 24.0)


def test_the_report_says_what_a_zero_costs_in_each_storage_format() -> None:
    def told(kind: SynapseKind) -> list[str]:
        topology = Topology({"in_to_a": ConnectionInfo(kind, "in", "a")})
        assumed = estimate_energy(topology, COUNTS, LOIHI1).assumptions
        return [text for text in assumed if text.startswith("Synaptic events")]

    (dense,), (conv,) = told(SynapseKind.DENSE), told(SynapseKind.CONV)
    assert dense.startswith(
        "Synaptic events, dense: zero weights are charged at nominal and high level. A dense row"
    )
    assert conv.startswith("Synaptic events, conv: zero weights are charged at high level. A sha")
    both = (*estimate_energy(network(), network_counts(), LOIHI1).assumptions,)
    assert dense in both
    assert conv in both


@given(st.data())
def test_each_level_charges_zeros_by_storage_format(data: st.DataObject) -> None:
    flags = st.fixed_dictionaries({level: st.booleans() for level in LEVELS})
    rules = {
        kind: CountsZeros(**data.draw(flags, label=str(kind)), reason="drawn")
        for kind in SynapseKind
    }
    nonzero = data.draw(st.integers(0, 1000))
    stored = nonzero + data.draw(st.integers(0, 1000))
    counts = dataclasses.replace(
        COUNTS, synaptic_events={"in_to_a": nonzero}, synaptic_events_all={"in_to_a": stored}
    )
    profile = dataclasses.replace(LOIHI1, counts_zeros=rules)
    for kind in SynapseKind:
        topology = Topology({"in_to_a": ConnectionInfo(kind, "in", "a")})
        term = estimate_energy(topology, counts, profile).terms[0]
        assert term.events is not None
        for level in LEVELS:
            number = stored if rules[kind].at(level) else nonzero
            assert getattr(term.events, level) == number
            price = LOIHI1.energy_pj[f"synapse_{kind}"].at(level).value
            assert getattr(term.energy, level) == pytest.approx(number * price)


def test_step_time_nominal_is_the_slowest_population_and_high_their_sum() -> None:
    connections = {
        "in_to_a": ConnectionInfo(SynapseKind.DENSE, "in", "a"),
        "a_to_b": ConnectionInfo(SynapseKind.DENSE, "a", "b"),
    }
    counts = EventCounts(
        samples=2, steps=1, spikes={"a": 4, "b": 0}, visits={"a": 4000, "b": 20},
        updates={"a": 0, "b": 0}, input_events={"in": 0}, messages={"in_to_a": 0, "a_to_b": 4},
        synaptic_events={"in_to_a": 0, "a_to_b": 40},
        synaptic_events_all={"in_to_a": 0, "a_to_b": 40},
    )  # fmt: skip
    time = estimate_energy(Topology(connections), counts, LOIHI1).time_ns
    # 2000 neurons fill two cores; b alone is quicker.
    slow = (4000 * 6.0 + 4 * 30.0 + 4 * 5.1) / 2
    assert time.nominal == pytest.approx(2 * 1000 + slow)
    quick = 20 * 7.5 + 40 * 5.0 + 4 * 25.0
    assert time.high == pytest.approx(2 * 2250 + slow * 1.25 + quick)


def test_a_network_larger_than_a_chip_pays_static_power_for_each() -> None:
    neurons = 128 * 1024 + 1
    counts = dataclasses.replace(COUNTS, steps=1, visits={"a": neurons})
    report = estimate_energy(TINY, counts, LOIHI1)
    assert report.chips == 2
    assert report.static.nominal == pytest.approx(2 * 96 * report.time_ns.nominal)
    assert any("at least 2 chips" in text for text in report.warnings)


def test_energy_per_sample_and_int8_comparison() -> None:
    four = dataclasses.replace(COUNTS, samples=4)
    report = estimate_energy(TINY, four, LOIHI1)
    assert report.total_per_sample.high == pytest.approx(report.total.high / 4)
    assert report.int8_ann == Interval(2.73, 5.3, 25.3) * (6 * 4)
    assert estimate_energy(Topology(TINY.connections), four, LOIHI1).int8_ann is None


def network(readout: ReadoutKind = ReadoutKind.SPIKES) -> DeployedNetwork:
    kernel = np.full((4, 2, 3, 3), 2, np.int16)
    return DeployedNetwork(
        inputs=(
            Input("image", (2, 5, 5), Coding.GRADED, 0, 15),
            Input("offset", (3,), Coding.BIAS, 0, 3),
        ),
        populations=(Population("a", (4, 3, 3), 10), Population("b", (3,), 10)),
        connections=(
            Conv2d("image", "a", kernel, stride=(2, 2), padding=(1, 1)),
            Dense("a", "b", np.full((3, 36), 2, np.int16)),
            BiasInjection("offset", "b"),
        ),
        readouts=(Readout("b", readout),),
        steps=5,
    )


def network_counts() -> EventCounts:
    return EventCounts(
        samples=1, steps=5, spikes={"a": 9, "b": 1}, visits={"a": 180, "b": 15},
        updates={"a": 100, "b": 15}, input_events={"image": 50, "offset": 3},
        messages={"image_to_a": 50, "a_to_b": 9},
        synaptic_events={"image_to_a": 900, "a_to_b": 27},
        synaptic_events_all={"image_to_a": 900, "a_to_b": 27},
    )  # fmt: skip


def test_topology_of_a_deployed_network() -> None:
    got = topology_of(network(ReadoutKind.MEMBRANE))
    assert got.connections["image_to_a"] == ConnectionInfo(SynapseKind.CONV, "image", "a")
    # 3 x 36 weights of 8 bits are divided among cores; a kernel is needed on each of them.
    assert got.connections["a_to_b"] == ConnectionInfo(SynapseKind.DENSE, "a", "b", 864)
    assert got.injections == ("offset_to_b",)
    assert got.graded_inputs == ("image",)
    assert got.membrane_readouts == ("b",)
    assert got.macs == 36 * 2 * 9 + 3 * 36


def test_a_convolution_along_one_axis_is_a_convolution() -> None:
    kernel = Conv1d("x", "p", np.full((4, 2, 3), 2), padding=1, name="conv")
    net = DeployedNetwork(
        (Input("x", (2, 9)),), (Population("p", (4, 9), vth=1),), (kernel,), (Readout("p"),), 1
    )
    assert topology_of(net).connections == {"conv": ConnectionInfo(SynapseKind.CONV, "x", "p")}
    assert topology_of(net).macs == 36 * 2 * 3


def test_a_network_prices_like_its_topology_and_breaks_down_by_part() -> None:
    net = network()
    report = estimate_energy(net, network_counts(), LOIHI1)
    assert report == estimate_energy(topology_of(net), network_counts(), LOIHI1)
    parts = {term.name: set(term.by_part) for term in report.terms}
    assert parts["synapses, conv"] == {"image_to_a"}
    assert parts["synapses, dense"] == {"a_to_b"}
    assert parts["neuron visits"] == {"a", "b"}
    assert parts["routing"] == {"image_to_a", "a_to_b"}


def test_warnings_name_overhead_graded_input_membrane_and_what_is_unpriced() -> None:
    net = network(ReadoutKind.MEMBRANE)
    report = estimate_energy(net, network_counts(), LOIHI1)
    text = "\n".join(report.warnings)
    assert "Overhead-dominated" in text
    # 96 mW * 337 us * 5 steps = 161.8 uJ
    assert "162 µJ per sample" in text
    assert "Input 'image' carries graded values" in text
    assert "membrane of 'b'" in text
    assert "writing of biases by the host ('offset_to_b')" in report.unpriced
    assert any("off-chip" in name for name in report.unpriced)


@given(st.integers(4, 23), st.integers(0, 60))
def test_numbers_of_other_widths_than_the_chips_are_a_warning(bits: int, delay_max: int) -> None:
    net = network().replace(
        arithmetic=dataclasses.replace(LOIHI, name="mine", state_bits=bits, delay_max=delay_max)
    )
    (told,) = (
        text for text in estimate_energy(net, network_counts(), LOIHI1).warnings if "widths" in text
    )
    assert told == (
        "The network has arithmetic 'mine', but Intel Loihi, 14 nm has the widths of 'loihi': its "
        "prices are for numbers of those widths."
    )
    own = dataclasses.replace(LOIHI1, arithmetic="mine")
    assert not any(
        "widths" in text for text in estimate_energy(net, network_counts(), own).warnings
    )
    plain = estimate_energy(network(), network_counts(), LOIHI1)
    assert not any("widths" in text for text in plain.warnings)
    assert estimate_energy(net, network_counts(), LOIHI1).total == plain.total


def test_no_overhead_warning_where_events_dominate() -> None:
    neurons = 1024 * 100
    busy = dataclasses.replace(
        COUNTS, steps=1, visits={"a": neurons}, updates={"a": neurons}, spikes={"a": neurons},
        messages={"in_to_a": neurons}, synaptic_events={"in_to_a": neurons * 100},
        synaptic_events_all={"in_to_a": neurons * 100},
    )  # fmt: skip
    assert estimate_energy(TINY, busy, LOIHI1).warnings == ()


def test_a_profile_without_a_price_lists_the_term_as_unpriced() -> None:
    energies = {k: v for k, v in LOIHI1.energy_pj.items() if k.startswith("synapse")}
    bare = dataclasses.replace(LOIHI1, energy_pj=energies, static_mw=None, hops_per_packet=None)
    report = estimate_energy(TINY, COUNTS, bare)
    assert [term.name for term in report.terms] == ["synapses, dense"]
    assert report.unpriced[:5] == (
        "neuron visits", "neuron updates", "spike generation", "routing", "static power",
    )  # fmt: skip
    assert report.total == report.dynamic
    assert report.static == Interval.same(0)


def test_a_profile_without_a_time_lists_it_as_unpriced() -> None:
    times = {key: price for key, price in LOIHI1.time_ns.items() if key not in ("visit", "receive")}
    sparse = {key: price for key, price in times.items() if key != "synapse_conv"}
    report = estimate_energy(TINY, COUNTS, dataclasses.replace(LOIHI1, time_ns=sparse))
    whole = estimate_energy(TINY, COUNTS, LOIHI1)
    assert report.unpriced == (
        "time of neuron visits", "time of receiving messages", *whole.unpriced,
    )  # fmt: skip
    assert report.time_ns.nominal < whole.time_ns.nominal


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "0 samples and 10 steps, must cover at least one"),
        ({"messages": {"in_to_a": 3, "x": 1}}, "connection 'x' has counts but is not in"),
        ({"messages": {}}, "connection 'in_to_a' has no counts"),
        ({"visits": {}}, "population 'a' has no counts"),
    ],
)
def test_foreign_counts_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate_energy(TINY, dataclasses.replace(COUNTS, **change), LOIHI1)  # type: ignore[arg-type]


def test_json_carries_every_constant_with_its_source() -> None:
    data = json.loads(json.dumps(estimate_energy(TINY, COUNTS, LOIHI1).as_dict()))
    assert data["total"]["low"] < data["total"]["nominal"] < data["total"]["high"]
    assert len(data["constants"]) == 3 * len(list(LOIHI1.prices()))
    assert all(constant["source"] and constant["basis"] for constant in data["constants"])
    assert [term["name"] for term in data["terms"]][-1] == "static power"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_zeros_of_random_networks_are_charged_by_storage_format(data: st.DataObject) -> None:
    """1-d and 2-d kernels, grouped ones, ones after pools, and dense rows."""
    net = data.draw(networks())
    parts = (
        c
        if isinstance(c, BiasInjection)
        else dataclasses.replace(c, weight=np.where(c.weight % 4 == 0, 0, c.weight))
        for c in net.connections
    )
    net = net.replace(connections=tuple(parts))
    counts = run_native(net, data.draw(samples_for(net))).counts
    assert counts is not None
    by_part = {
        name: interval
        for term in estimate_energy(net, counts, LOIHI1).terms
        if term.name.startswith("synapses")
        for name, interval in term.by_part.items()
    }
    assert set(by_part) == {part.name for part in net.weighted_connections}
    for part in net.weighted_connections:
        nonzero, stored = counts.synaptic_events[part.name], counts.synaptic_events_all[part.name]
        nominal = nonzero * 24.0 if isinstance(part, Conv1d | Conv2d) else stored * 35.5
        expected = (nonzero * 23.6, nominal, stored * 35.5 * 1.25)
        interval = by_part[part.name]
        assert (interval.low, interval.nominal, interval.high) == pytest.approx(expected)


@given(
    neurons=st.integers(1, 5000), steps=st.integers(1, 50), rate=st.floats(0, 1),
    inputs=st.integers(0, 100_000), fan=st.integers(1, 500),
)  # fmt: skip
def test_levels_are_ordered_and_terms_add_up(
    neurons: int, steps: int, rate: float, inputs: int, fan: int
) -> None:
    visits = neurons * steps
    counts = EventCounts(
        samples=1, steps=steps, spikes={"a": int(rate * visits)}, visits={"a": visits},
        updates={"a": visits}, input_events={"in": inputs}, messages={"in_to_a": inputs},
        synaptic_events={"in_to_a": inputs * fan // 2},
        synaptic_events_all={"in_to_a": inputs * fan},
    )  # fmt: skip
    report = estimate_energy(TINY, counts, LOIHI1)
    assert report.total.low <= report.total.nominal <= report.total.high
    for level in LEVELS:
        parts = [getattr(b, level) for term in report.terms for b in term.by_part.values()]
        assert sum(parts) == pytest.approx(getattr(report.total, level))
