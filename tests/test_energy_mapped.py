"""Energy after mapping: what a map says of packets and hops is what the estimate prices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.networks import recurrent
from spikeport import map_network, save_network
from spikeport.energy import EnergyReport, estimate_energy, load_profile, population_work
from spikeport.errors import CheckFailedError, InputError
from spikeport.report.energy_stages import mapped_stage, stages_section
from spikeport.report.section import Topic
from spikeport.simulators import assumed_counts
from spikeport.workflow import estimate_mapped_energy
from tests.helpers.chips import chips
from tests.helpers.command import call, one_line
from tests.helpers.strategies import networks
from tests.helpers.target_networks import plain

LOIHI1 = load_profile("loihi1")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_placement_has_the_packets_and_hops_of_the_map(data: st.DataObject) -> None:
    network, target = data.draw(networks()), data.draw(chips())
    try:
        made = map_network(network, target)
    except CheckFailedError:
        return
    counts = assumed_counts(network, data.draw(st.sampled_from([0.1, 0.5, 1.0])), samples=10)
    placed, traffic = made.placement(counts), made.traffic(counts)
    parts = [part.name for part in network.weighted_connections]
    placed.check([part.name for part in network.populations], parts)
    assert placed.chips == made.chips
    assert len(placed.cores) == len(made.cores)
    of_neurons = [c for c in network.weighted_connections if c.source in network.by_name]
    sent = {
        part.name: counts.spikes[part.source] * placed.packets[part.name] for part in of_neurons
    }
    assert sum(sent.values()) == pytest.approx(traffic.packets)
    for direction in ("east_west", "north_south"):
        hops = sum(sent[name] * getattr(placed.hops[name], direction) for name in sent)
        assert hops == pytest.approx(getattr(traffic, f"hops_{direction}"))


def test_more_cores_shorten_a_step() -> None:
    network = plain()
    counts = assumed_counts(network, 1.0)
    report = estimate_mapped_energy(network, counts, LOIHI1)
    assert report.placed
    whole = estimate_energy(
        network, counts, LOIHI1, placement=map_network(network, "loihi1").placement()
    )
    assert whole.time_ns == report.time_ns


def test_the_work_of_a_run_is_what_a_map_divides() -> None:
    network = plain()
    counts = assumed_counts(network, 0.5)
    work = population_work(network, counts, LOIHI1)
    fewest = estimate_mapped_energy(network, counts, LOIHI1)
    divided = estimate_mapped_energy(network, counts, LOIHI1, cores=20)
    assert sum(divided.cores.values()) > sum(fewest.cores.values())
    assert divided.step_ns.nominal < fewest.step_ns.nominal
    made = map_network(network, "loihi1", cores=20, work=work)
    again = estimate_energy(network, counts, LOIHI1, placement=made.placement(counts))
    assert again.time_ns == divided.time_ns
    other = assumed_counts(recurrent(5, 4, 3, steps=2), 0.5)
    with pytest.raises(InputError, match=r"^energy: connection '.*' has counts but is not in"):
        estimate_mapped_energy(network, other, LOIHI1)


def test_prices_of_no_target_are_not_mapped(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "files" / "prices_only.toml").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('name = "loihi1"', 'name = "mine"'), "utf-8")
    network = plain()
    with pytest.raises(InputError, match="'mine' is no installed target, so nothing is mapped to"):
        estimate_mapped_energy(network, assumed_counts(network, 0.1), load_profile(path))


def test_the_command_maps_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "n.spikeport"
    save_network(plain(), path)

    def told(*options: str) -> dict[str, object]:
        capsys.readouterr()
        assert call(["energy", str(path), "--activity", "0.5", "--json", *options]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    assert told()["placed"] is False
    mapped = told("--map")
    assert mapped["placed"] is True
    assert any("slowest core of the placement" in text for text in mapped["assumptions"])  # type: ignore[attr-defined]
    divided = told("--map", "--spread", "20")
    assert divided["time_ns"]["nominal"] < mapped["time_ns"]["nominal"]  # type: ignore[index]
    capsys.readouterr()
    assert call(["energy", str(path), "--activity", "0.5", "--spread", "20"]) == 2
    assert one_line(capsys.readouterr().err) == "spikeport: energy: --spread 20 needs --map"


def estimates() -> tuple[dict[str, EnergyReport], EnergyReport]:
    network = plain()
    found = {
        name: estimate_energy(network, assumed_counts(network, share), LOIHI1)
        for name, share in (("Float, in training", 0.2), ("Lava", 0.21))
    }
    return found, estimate_mapped_energy(network, assumed_counts(network, 0.21), LOIHI1)


def test_all_stages_stand_side_by_side_with_the_mapped_network() -> None:
    found, mapped = estimates()
    section = stages_section(found, {mapped_stage(1): mapped}, "")
    assert section.topic is Topic.ENERGY
    rows = section.as_dict()["rows"]
    assert [row["stage"] for row in rows] == [*found, "after mapping onto 1 core"]
    for row, each in zip(rows, [*found.values(), mapped], strict=True):
        for column, value in (
            ("dynamic, low", each.per_sample(each.dynamic).low),
            ("nominal", each.per_sample(each.dynamic).nominal),
            ("nominal total", each.total_per_sample.nominal),
            ("high total", each.total_per_sample.high),
            ("step, low", 1e3 * each.step_ns.low),
            ("nominal step", 1e3 * each.step_ns.nominal),
            ("high step", 1e3 * each.step_ns.high),
        ):
            assert row[column] == pytest.approx(value / 1e6, rel=1e-3)
    without = stages_section(found, {}, "too many synapses")
    assert len(without.rows) == len(found)
    assert without.warnings == ("Not mapped: too many synapses",)
