"""The verb `map`: tables, JSON, picture and messages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.networks import dense_chain, recurrent
from spikeport import map_network
from spikeport.cli._map import cores_table, populations_table
from spikeport.energy import load_profile, population_work
from spikeport.errors import InputError
from spikeport.mapping import Resource
from spikeport.network import DeployedNetwork, save_network
from spikeport.report.core_map import draw_core_map
from spikeport.simulators import run_native
from tests.helpers.chips import chip
from tests.helpers.command import call, one_line
from tests.helpers.screen import on_screen

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def network() -> DeployedNetwork:
    return recurrent(700, 256, 20, steps=3)


@pytest.fixture
def file(network: DeployedNetwork, tmp_path: Path) -> Path:
    save_network(network, tmp_path / "n.spikeport")
    return tmp_path / "n.spikeport"


def test_the_tables(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["map", str(file)]) == 0
    out = capsys.readouterr().out
    assert "│ 3, on 1 chip of 128 " in out
    words = " ".join(out.replace("│", " ").split())
    shares = "neurons 9.0%, synapse memory 71.6%, input axons 25.4%, output axons 8.3%"
    assert f"utilisation mean of these cores: {shares}" in words
    assert "2 (synapse memory); this map has 50% more" in out
    assert "1,024 for one spike of each neuron, and 2,100 from inputs" in out
    (limits,) = [line for line in out.splitlines() if line.startswith("│ limit")]
    assert limits.replace("│", "").split() == ["limit", "1,024", "1,048,576", "4,096", "4,096"]
    assert call(["map", str(file), "--target", "loihi2", "--layers-apart", "--cores"]) == 0
    out = capsys.readouterr().out
    assert "7, on 1 chip of 128" in out
    assert "lava-dl, netx notebooks mnist and yolo_kp: printed utilisation per core" in out
    assert "neurons *" in out


def test_spread(file: Path, network: DeployedNetwork, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["map", str(file), "--target", "loihi2"]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    busiest = f"{map_network(network, 'loihi2').busiest:.1%}"
    assert (
        f"busiest core {busiest} of the work if every neuron and input sends one message; evenly "
        "divided, each would have 16.7%"
    ) in out
    assert call(["map", str(file), "--target", "loihi2", "--spread", "30", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    made = map_network(network, "loihi2", cores=30)
    assert data["cores_used"] == len(made.cores) <= 30
    assert data["busiest"] == made.busiest == max(core["work"] for core in data["cores"])
    assert data["imbalance"] == made.busiest * len(made.cores) - 1
    assert data["traffic"]["least_hops"] <= sum(
        data["traffic"][f"hops_{way}"] for way in ("east_west", "north_south")
    )
    assert call(["map", str(file), "--target", "loihi2", "--spread", "3"]) == 2
    assert one_line(capsys.readouterr().err) == (
        "spikeport: map: cores is 3, must be at least the 6 that the network takes"
    )


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_words_and_numbers_stay_whole_in_80_columns(network: DeployedNetwork, target: str) -> None:
    made = map_network(network, target)
    for table in (populations_table(made), cores_table(made)):
        lines = on_screen(table, 80).splitlines()
        assert max(map(len, lines)) <= 80
        words = " ".join(lines).split()
        assert {"neurons", "memory", "axons", "hidden"} <= {word.strip(",") for word in words}
        assert any(word.endswith("%") for word in words)
        assert "…" not in " ".join(lines)


def test_json(file: Path, network: DeployedNetwork, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["map", str(file), "--target", "loihi2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema"], data["network"]) == ("spikeport.map/1", network.content_hash)
    assert (data["target"], data["cores_used"], data["chips"]) == ("loihi2", 6, 1)
    assert data["cores_used"] == len(data["cores"])
    assert sum(core["usage"]["neurons"] for core in data["cores"]) == 276
    assert data["limits"]["neurons_per_core"] == {
        "value": 4095,
        "verified": False,
        "source": "lava-dl, netx notebooks mnist and yolo_kp: printed utilisation per core",
    }
    held = Counter(
        piece["population"]
        for core in data["cores"]
        for piece in core["pieces"]
        for first, end in piece["box"]
        for _ in range(first, end)
    )
    assert held == {"hidden": 256, "output": 20}
    assert data["traffic"]["packets"] > 0
    assert data["utilisation"]["output axons"] is None


def test_packets_of_recorded_counts(
    file: Path, network: DeployedNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_native(network, {"input": np.ones((2, 700), np.int64)})
    assert run.counts is not None
    assert call(["energy", str(file), "--activity", "0.1", "--json"]) == 0
    capsys.readouterr()
    (tmp_path / "counts.json").write_text(json.dumps({"counts": counts_form(run.counts)}))
    assert call(["map", str(file), "--counts", str(tmp_path / "counts.json"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    expected = map_network(network, "loihi1").traffic(run.counts)
    assert data["traffic"]["packets"] == expected.packets
    assert data["traffic"]["basis"] == "2 samples of 3 steps"
    work = population_work(network, run.counts, load_profile("loihi1"))
    assert data["busiest"] == map_network(network, "loihi1", work=work).busiest


def counts_form(counts: object) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(counts)  # type: ignore[call-overload, no-any-return]


def test_what_cannot_be_mapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_network(dense_chain(4097, 2, steps=1), tmp_path / "n.spikeport")
    assert call(["map", str(tmp_path / "n.spikeport")]) == 1
    assert one_line(capsys.readouterr().err) == (
        "spikeport: network cannot be mapped to loihi1: population 'layer00': one neuron needs "
        "4097 input axons, a core has 4096 (nengo-loihi, block.py); let each neuron read at "
        "most 4096 sources, such as by a pool or a convolution in front of it"
    )
    path = str(tmp_path / "n.spikeport")
    assert call(["map", path, "--svg", path]) == 2
    assert "--svg" in one_line(capsys.readouterr().err)


def test_the_picture(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.svg"
    assert call(["map", str(file), "--svg", str(out)]) == 0
    text = out.read_text()
    root = ElementTree.fromstring(text)
    cores = [one for one in root.iter(f"{SVG}rect") if one.get("class") == "core"]
    tiles = [one for one in root.iter(f"{SVG}rect") if one.get("class") == "tile"]
    assert (len(cores), len(tiles)) == (128, 32)
    assert "prefers-color-scheme: dark" in text
    told = [one.text or "" for one in root.iter(f"{SVG}title")]
    assert sum("neurons" in one for one in told) == 3
    assert root.get("aria-label") == "n.spikeport on Intel Loihi, 14 nm"
    shown = [one.text for one in root.iter(f"{SVG}text")]
    assert shown[-2:] == ["hidden: 3 cores", "output: 1 core"]


def test_bars_are_as_high_as_cores_are_full_and_inside_the_picture() -> None:
    network = recurrent(30, 40, 20, steps=2)
    small = chip(cores=2, cores_per_tile=2, tiles_per_row=1, input_axons_per_core=200)
    for target in (chip(cores=3), small):
        made = map_network(network, target)
        assert made.chips > 1
        root = ElementTree.fromstring(draw_core_map(made, "a & <b>"))
        width, height = float(root.get("width", 0)), float(root.get("height", 0))
        for one in root.iter(f"{SVG}rect"):
            if (one.get("width") or "").endswith("%"):
                continue
            x, y, wide, high = (float(one.get(name, 0)) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + wide <= width
            assert 0 <= y <= y + high <= height
        groups = [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
        assert len(groups) == len(made.cores)
        for group, core in zip(groups, made.cores, strict=True):
            bars = [r for r in group.iter(f"{SVG}rect") if (r.get("class") or "").startswith("p")]
            assert len(bars) == len(core.pieces)
            filled = sum(float(bar.get("height", 0)) for bar in bars)
            assert filled / 20 == pytest.approx(made.share(core.usage), abs=0.01)
            assert made.share(core.usage) <= 1


def test_too_many_cores_to_draw() -> None:
    made = map_network(dense_chain(3, 2, steps=1), chip(cores=40_000))
    with pytest.raises(InputError, match=r"^map: 40000 cores to draw, must be at most 32768$"):
        draw_core_map(made)


def test_shares_of_used_cores() -> None:
    made = map_network(dense_chain(3, 12, steps=1), chip())
    assert [core.usage[Resource.NEURONS] for core in made.cores] == [6, 6]
    assert made.utilisation(Resource.NEURONS) == 12 / 16
    assert made.utilisation(Resource.MEMORY) is None
    assert made.gap == 0
