"""All-in prices, prices of graded values, hosts, and devices to compare with."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.energy import (
    LEVELS,
    ConnectionInfo,
    EnergyReport,
    Interval,
    Regime,
    SynapseKind,
    Topology,
    builtin_devices,
    builtin_profiles,
    estimate_energy,
    load_devices,
    load_profile,
)
from spikeport.energy.devices import FILE
from spikeport.energy.profile import parse_profile
from spikeport.errors import InputError
from spikeport.hardware import target_text
from spikeport.plugins import PluginKind, plugins
from spikeport.runs import EventCounts

ROOT = Path(__file__).parent.parent
PROFILES = {name: load_profile(name) for name in builtin_profiles()}
LOIHI2 = target_text(plugins(PluginKind.TARGET)["loihi2"])


def counts(events: int, visits: int, spikes: int = 0, steps: int = 10) -> EventCounts:
    """One population after one input, of one sample."""
    return EventCounts(
        samples=1, steps=steps, spikes={"p": spikes}, visits={"p": visits}, updates={"p": visits},
        input_events={"x": spikes}, messages={"x_to_p": spikes},
        synaptic_events={"x_to_p": events}, synaptic_events_all={"x_to_p": events},
    )  # fmt: skip


TOPOLOGY = Topology({"x_to_p": ConnectionInfo(SynapseKind.DENSE, "x", "p")}, macs=1000)


def estimate(
    given: EventCounts, name: str = "loihi1", topology: Topology = TOPOLOGY
) -> EnergyReport:
    return estimate_energy(topology, given, PROFILES[name])


# ------------------------------------------------------------------------------------ all-in


@given(events=st.integers(0, 10**9), visits=st.integers(10, 10**8))
def test_an_all_in_range_spans_both_attributions_and_adds_nothing(events: int, visits: int) -> None:
    report = estimate(counts(events, visits), "loihi2")
    by_event, by_visit = Interval(26.8, 30.1, 37.7) * events, Interval(383, 431, 539) * visits
    assert report.dynamic.low == pytest.approx(min(by_event.low, by_visit.low))
    assert report.dynamic.nominal == pytest.approx(by_event.nominal)
    assert report.dynamic.high == pytest.approx(max(by_event.high, by_visit.high))
    assert not any("neuron" in text or "routing" in text for text in report.unpriced)


def test_networks_in_the_proportion_of_the_metered_one_cost_the_same_either_way() -> None:
    report = estimate(counts(36_320_000, 158_509 * 16), "loihi2")
    assert report.dynamic.low == pytest.approx(26.8 * 36_320_000, rel=3e-3)
    assert report.dynamic.high == pytest.approx(37.7 * 36_320_000, rel=3e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[prices.instead_pj.visit]",
            "[prices.energy_pj.visit]",
            "low 'synapse_dense' is an all-in constant (pilotnet_low), so visit cannot be added: "
            "they would be counted twice",
        ),
        (
            "[prices.instead_pj.visit]",
            "[prices.instead_pj.synapse_dense]",
            "prices: instead_pj: unknown key 'synapse_dense'",
        ),
        (
            'low = { value = 383.0, source = "pilotnet_visits" }',
            'low = { value = 383.0, source = "brief" }',
            "low 'visit' of instead_pj attributes an all-in energy to other events, but its own "
            "source is not all-in",
        ),
        (
            'source = "pilotnet_low"',
            'source = "brief"',
            "low 'visit' of instead_pj attributes an all-in energy to other events, but "
            "synapse_dense, synapse_conv, synapse_sparse is not all-in",
        ),
        (
            "value = 2142.0",
            "value = 0.5",
            "prices: neurons_on_core is 0.5, must be at least 1",
        ),
        (
            "all_in = true",
            "all_in = 1",
            "'all_in' is 1, must be of type bool",
        ),
    ],
)
def test_an_all_in_price_can_be_attributed_otherwise_but_not_added_to(
    old: str, new: str, message: str
) -> None:
    assert old in LOIHI2
    with pytest.raises(InputError, match=re.escape(message)):
        parse_profile(LOIHI2.replace(old, new), "profile 'mine'")


# ------------------------------------------------------------------------------ graded values


def test_graded_values_are_reported_apart_and_may_have_a_price_of_their_own() -> None:
    graded = dataclasses.replace(TOPOLOGY, graded_inputs=("x",))
    for name, price, title in (
        ("loihi1", "synapse_dense", "synapses, dense"),
        ("digital", "mac", "synapses, dense, graded (MACs)"),
    ):
        spikes, values = (estimate(counts(100, 10), name, t) for t in (TOPOLOGY, graded))
        (plain,) = (term for term in spikes.terms if "synapses" in term.name)
        assert plain.name == "synapses, dense"
        assert (spikes.graded_macs, spikes.graded_input) == ({}, Interval.same(0))
        (line,) = (term for term in values.terms if "synapses" in term.name)
        assert line.name == title
        assert line.energy == PROFILES[name].energy_pj[price].interval * 100
        assert line.regime is Regime.SYNAPSES
        assert (values.graded_macs, values.graded_input) == ({"x_to_p": 100}, line.energy)
    assert values.dynamic.nominal > spikes.dynamic.nominal


# --------------------------------------------------------------------------------------- host


@given(events=st.integers(0, 10**8), visits=st.integers(10, 10**7), steps=st.integers(1, 100))
def test_a_host_is_a_second_total_and_never_cheaper(events: int, visits: int, steps: int) -> None:
    report = estimate(counts(events, visits * steps, steps=steps))
    assert report.with_host is not None
    assert report.host_time_ns is not None
    profile = PROFILES["loihi1"]
    assert profile.host is not None
    assert profile.static_mw is not None
    for level in LEVELS:
        time = max(report.time_ns.at(level), steps * 1e3 * (875 if level == "high" else 337))
        assert report.host_time_ns.at(level) == pytest.approx(time)
        own = steps * 1e6 * profile.host.step_uj.at(level).value
        static = profile.static_mw.at(level).value * report.chips * time
        expected = report.dynamic.at(level) + own + static
        assert report.with_host.at(level) == pytest.approx(expected)
        assert report.with_host.at(level) >= report.total.at(level)


def test_without_prices_for_a_host_there_is_no_second_total() -> None:
    report = estimate(counts(100, 10), "loihi2")
    assert (report.with_host, report.host_time_ns, report.regime_with_host) == (None, None, None)


# ------------------------------------------------------------------------------------- regime


@pytest.mark.parametrize(
    ("events", "visits", "spikes", "regime"),
    [
        (10**8, 10**4, 0, Regime.SYNAPSES),
        (0, 10**9, 0, Regime.NEURONS),
        (0, 10**4, 10**9, Regime.ROUTING),
        (10, 10, 0, Regime.STATIC),
    ],
)
def test_the_largest_part_is_named(events: int, visits: int, spikes: int, regime: Regime) -> None:
    given = counts(events, visits)
    given = dataclasses.replace(given, messages={"x_to_p": spikes})
    # Many chips would make static power the largest part.
    profile = dataclasses.replace(PROFILES["loihi1"], time_ns={}) if regime != "static" else None
    report = estimate_energy(TOPOLOGY, given, profile or PROFILES["loihi1"])
    assert report.regime is regime
    assert sum(report.shares.values()) == pytest.approx(report.total.nominal)


# ------------------------------------------------------------------------------------ devices


@given(
    events=st.integers(1, 10**6), visits=st.integers(10, 10**5), macs=st.integers(1, 10**7),
    name=st.sampled_from(list(PROFILES)), spikes=st.integers(0, 1000),
)  # fmt: skip
def test_at_break_even_both_cost_the_same(
    events: int, visits: int, macs: int, name: str, spikes: int
) -> None:
    """Energy is linear in activity, for visits and updates as given."""
    topology = dataclasses.replace(TOPOLOGY, macs=macs)
    report = estimate(counts(events, visits, spikes), name, topology)
    for found in report.comparisons:
        each = found.device.mac_pj(report.steps)
        spiking = report.total if found.with_static else report.dynamic
        for level in LEVELS:
            assert found.macs.at(level) * each.at(level) == pytest.approx(spiking.at(level))
            assert found.ann.at(level) == pytest.approx(macs * each.at(level))
            factor = getattr(found.activity, level)
            fixed = report.fixed.at(level) + (report.static.at(level) if found.with_static else 0)
            if factor is None:
                assert fixed >= found.ann.at(level) or spiking.at(level) == pytest.approx(fixed)
            else:
                at_factor = fixed + factor * (spiking.at(level) - fixed)
                assert at_factor == pytest.approx(found.ann.at(level))
                rate = getattr(found.spikes_per_synapse, level)
                assert rate == pytest.approx(factor * events / macs)


@pytest.mark.parametrize(
    ("steps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (255, 8)]
)
def test_the_matched_network_has_bits_for_every_spike_count(steps: int, bits: int) -> None:
    (matched,) = (device for device in builtin_devices() if device.name == "matched")
    assert matched.bits_for(steps) == bits
    assert 2**bits >= steps + 1 > 2 ** (bits - 1)


def test_devices_cost_what_their_sources_say() -> None:
    """Horowitz: multiply 0.2, add 0.03 or 0.1, 8 bits of a 64-bit read of 10, 20 or 100 pJ."""
    devices = {device.name: device for device in builtin_devices()}
    dram = [1300 / 64, 1950 / 64, 2600 / 64]  # of a bit
    activations = (1.25, 2.5, 12.5)
    with_dram = {
        bits: [
            arithmetic + bits * weight + bits / 8 * activation
            for arithmetic, weight, activation in zip(sums, dram, activations, strict=True)
        ]
        for bits, sums in ((8, (0.23, 0.3, 0.3)), (32, (4.6, 4.6, 4.6)))
    }
    for name, expected in (
        ("int8", [2.73, 5.3, 25.3]), ("fp32", [14.6, 24.6, 104.6]),
        ("int8_dram", with_dram[8]), ("fp32_dram", with_dram[32]),
    ):  # fmt: skip
        found = devices[name].mac_pj(1)
        assert [found.at(level) for level in LEVELS] == pytest.approx(expected)
    mac = PROFILES["loihi1"].int8_mac_pj
    assert mac is not None
    assert devices["int8"].mac_pj(1).nominal == pytest.approx(mac.nominal.value)
    matched = devices["matched"].mac_pj(255)  # 8 bits
    assert matched.nominal == pytest.approx(devices["int8"].mac_pj(1).nominal)
    for device in devices.values():
        assert device.batch
        assert len(device.source.citation) > 15


MICROCONTROLLER_UJ = {
    "mcu": [
        (322.977, 10681.623, 3371.738, 10066.628),
        (443.184, 20236.298, 5230.273, 15531.354),
        (633.734, 21342.301, 7950.510, 17131.583),
    ],
    "mcu_accelerator": [(5.252, 27.711, 18.561, 40.801), (7.294, 40.356, 26.659, 58.356)],
}
"""MLPerf Tiny v1.0 (mlcommons/tiny_results_v1.0, commit c7761cf), median energy per inference of
anomaly detection, image classification, keyword spotting and visual wake words: STMicroelectronics'
and OctoML's two results of NUCLEO_L4R5ZI, and GreenWaves' two of GAP9."""
TINY_MACS = (264_192, 12_501_632, 2_656_768, 7_489_664)


def test_microcontrollers_cost_what_was_metered() -> None:
    # The autoencoder of 640 inputs, whose MACs are its weights.
    sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    assert sum(a * b for a, b in pairwise(sizes)) == TINY_MACS[0]
    devices = {device.name: device for device in builtin_devices()}
    for name, results in MICROCONTROLLER_UJ.items():
        each = sorted(
            energy * 1e6 / macs
            for result in results
            for energy, macs in zip(result, TINY_MACS, strict=True)
        )
        median = (each[len(each) // 2 - 1] + each[len(each) // 2]) / 2
        found = devices[name].mac_pj(1)
        expected = [each[0], median, each[-1]]
        assert [found.at(level) for level in LEVELS] == pytest.approx(expected, rel=0.01)


RESNET50 = {
    "gpu_orin": (14.9, 667.53),
    "gpu_orin_batch": (22.7, 3463.11),
    "cpu_xavier": (22.5, 16.62),
}
"""MLPerf Inference, ResNet-50 v1.5 (8.2 G operations): mean watts at the wall and inferences per
second of v3.0 closed/NVIDIA Orin_TRT_MaxQ (commit dad59af) and v1.1 closed/Krai xavier-power.0 with
Arm NN (912dcdb, the ranging run)."""


@pytest.mark.parametrize("name", RESNET50)
def test_larger_devices_cost_what_was_metered(name: str) -> None:
    watts, per_second = RESNET50[name]
    (device,) = (device for device in builtin_devices() if device.name == name)
    assert device.source.includes_static
    assert f"{watts} W at {per_second:,}" in device.source.conditions
    found = device.mac_pj(1)
    expected = watts / per_second / 4.1e9 * 1e12
    assert [found.at(level) for level in LEVELS] == pytest.approx([expected] * 3, rel=0.005)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("devices/1", "devices/2", "schema is 'spikeport.devices/2', this version reads 'spike"),
        ("bits = 8", "bits = 65", "bits is 65, must lie in 0..64"),
        ("bits = 32", "bits = 0", r"fp32: bits is 0 \(matched\), needs multiply_pj"),
        ("[devices.int8.add_pj]", "[devices.int8.mac_pj]", "'multiply_pj' is a part of 'mac_pj'"),
        ("[devices.int8.add_pj]", "[devices.int8.ad_pj]", "'ad_pj'; did you mean 'add_pj'"),
        ('source = "tiny_gap9"', 'source = "gap9"', "source 'gap9' is unknown"),
    ],
)
def test_a_wrong_file_of_devices_is_refused_by_name(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = FILE.read_text("utf-8")
    assert old in text
    path = tmp_path / "devices.toml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InputError, match=message):
        load_devices(path)


def test_devices_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"devices '.*none.toml': cannot be read"):
        load_devices(tmp_path / "none.toml")


def test_devices_of_ones_own_are_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(FILE.read_text("utf-8").replace('title = "int8, GAP9"', 'title = "Mine"'))
    report = estimate_energy(
        TOPOLOGY, counts(100, 10), PROFILES["loihi1"], devices=load_devices(path)
    )
    assert "Mine" in [found.device.title for found in report.comparisons]
    none = dataclasses.replace(TOPOLOGY, macs=0)
    assert estimate_energy(none, counts(100, 10), PROFILES["loihi1"]).comparisons == ()


def test_the_docs_state_what_a_mac_costs() -> None:
    page = (ROOT / "docs" / "energy.md").read_text("utf-8")
    for device in builtin_devices():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {device.title} |"))
        cells = [float(cell) for cell in row.split("|")[2:5]]
        found = device.mac_pj(16)
        assert cells == [float(f"{found.at(level):.3g}") for level in LEVELS]
