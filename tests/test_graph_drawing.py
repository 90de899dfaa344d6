"""Graphs of networks as SVG: every part is in its place, and names are text."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.network import Dense, DeployedNetwork, Input, Population, Readout, save_network
from spikeport.report.graph_drawing import LONGEST, draw_graph
from spikeport.report.graph_layout import Arrow, Box, Placed, layout
from spikeport.report.templates import render
from spikeport.text import shown
from spikeport.workflow import write_nir
from tests.fuzz.kinds import chip, float_network
from tests.helpers.command import call

SVG = "{http://www.w3.org/2000/svg}"
KEYS = [f"n{number}" for number in range(9)]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def ends(path: str) -> list[tuple[float, float]]:
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
    return [(numbers[0], numbers[1]), (numbers[-2], numbers[-1])]


def touches(point: tuple[float, float], placed: Placed) -> bool:
    (x, y), right, bottom = point, placed.x + placed.width, placed.y + placed.height
    return placed.x - 0.1 <= x <= right + 0.1 and placed.y - 0.1 <= y <= bottom + 0.1


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS), st.booleans()), max_size=20)
)
@settings(deadline=None, max_examples=200)
def test_any_graph_is_laid_out(ends_of: list[tuple[str, str, bool]]) -> None:
    boxes = [Box(key, (key * (number + 1), "x"), "map") for number, key in enumerate(KEYS)]
    arrows = [Arrow(*each) for each in ends_of]
    drawing = layout(boxes, arrows)
    placed = {each.box.key: each for each in drawing.boxes}
    assert sorted(placed) == KEYS
    for one, other in itertools.combinations(drawing.boxes, 2):
        apart = (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + one.height <= other.y
            or other.y + other.height <= one.y
        )
        assert apart
    for each in drawing.boxes:
        assert each.x >= 0
        assert each.y >= 0
        assert each.x + each.width <= drawing.width
        assert each.y + each.height <= drawing.height
    assert [edge.arrow for edge in drawing.edges] == arrows
    for edge in drawing.edges:
        start, end = ends(edge.path)
        assert touches(start, placed[edge.arrow.start])
        assert touches(end, placed[edge.arrow.end])
        upwards = placed[edge.arrow.end].y <= placed[edge.arrow.start].y
        assert edge.late == (upwards or edge.arrow.late)


def test_every_part_of_a_network_is_shown() -> None:
    found = texts(draw_graph(chip()))
    assert {part.name for part in chip().sources.values()} <= set(found)
    assert {"2 connections", "again", "delay 2", "after a 2x2 sum-pool", "bias injection"} <= {
        *found
    }
    graph = float_network().graph
    svg = draw_graph(float_network())
    assert set(graph.nodes) <= set(texts(svg))
    paths = list(ElementTree.fromstring(svg).iter(f"{SVG}path"))
    assert len(paths) - 1 == len(graph.edges)  # one is the head of all arrows


@pytest.mark.parametrize("name", ["</text><script>", "a\u202eb", "x" * 400, "{{ 7 * 7 }}", "ä&ö"])
def test_names_are_text(name: str) -> None:
    drawing = layout([Box("box", (name,), "map")], [])
    svg = render("graph.svg.j2", drawing=drawing, title=name)
    assert texts(svg) == [shown(name)]
    assert texts(draw_graph(chip(), name)) == texts(draw_graph(chip()))
    assert not list(ElementTree.fromstring(svg).iter(f"{SVG}script"))
    assert "\u202e" not in svg


def test_long_names_are_cut() -> None:
    name = "long" * 16
    network = DeployedNetwork(
        (Input(name, (2,)),),
        (Population("p", (2,), 9),),
        (Dense(name, "p", np.full((2, 2), 2, np.int16), name="c"),),
        (Readout("p"),),
        3,
    )
    found = texts(draw_graph(network))
    assert f"{name[: LONGEST - 1]}…" in found
    assert max(map(len, found)) == LONGEST


def test_inspect_draws_every_kind_of_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_network(chip(), tmp_path / "n.spikeport")
    write_nir(float_network(), tmp_path / "f.nir")
    for file in ("n.spikeport", "f.nir"):
        out = tmp_path / f"{file}.svg"
        assert call(["inspect", str(tmp_path / file), "--svg", str(out)]) == 0
        assert ElementTree.parse(out).getroot().find(f"{SVG}title").text == file  # type: ignore[union-attr]
    capsys.readouterr()
    path = str(tmp_path / "n.spikeport")
    assert call(["inspect", path, "--svg", path]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    for suffix in (".html", ".png"):
        assert call(["inspect", path, "--svg", str(tmp_path / f"graph{suffix}")]) == 2
        assert f"suffix '{suffix}', must be .svg" in capsys.readouterr().err
