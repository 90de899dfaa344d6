"""`spikeport diagnose`: the page, its plots, and what the terminal and programs get."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from spikeport.report.diagnosis import render_diagnosis
from spikeport.report.plots import Values, histogram, line_chart, nice_ticks
from spikeport.trainer import Diagnosis, TrainConfig, diagnose, load_digits_split, train
from spikeport.trainer.diagnosis.diagnosis import LayerActivity
from tests.helpers.command import call
from tests.helpers.reports import Page

STEPS = (1, 4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diagnose") / "m.safetensors"
    config = TrainConfig(widths=(4, 8), steps=4, epochs=1, batch_size=64)
    train(config, load_digits_split(), checkpoint=path)
    return path


@pytest.fixture(scope="module")
def found(checkpoint: Path) -> Diagnosis:
    from spikeport.trainer import load_checkpoint

    data = load_digits_split()
    x, y = torch.tensor(data.test_x[:40]), torch.tensor(data.test_y[:40])
    return diagnose(load_checkpoint(checkpoint).model, x, y, STEPS)


def test_page_and_json_hold_the_same(
    checkpoint: Path, found: Diagnosis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "d.html"
    command = ["diagnose", str(checkpoint), "-o", str(page), "-n", "40", "-T", "1,4", "--json"]
    assert call(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("page") == str(page)
    assert result == json.loads(json.dumps(found.as_dict()))
    text = Page(page.read_text()).text
    assert f"{100 * found.shuffle.by_neuron.rate:.1f} %" in text
    assert f"spikeport diagnose {checkpoint} --data digits --samples 40" in text
    for entry in found.agreement:
        assert entry.layer in text
        assert f"{entry.cosine:.4f}" in text
        assert f"{entry.ratio:.4f}" in text
    for part in found.independence:
        assert f"{part.error:.4f}" in text
    for layer in found.activity:
        assert f"{layer.rate:.3f}" in text
        assert f"{100 * layer.histogram[0]:.1f} %" in text


def test_terminal_gets_tables(
    checkpoint: Path, found: Diagnosis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "d.html"
    assert call(["diagnose", str(checkpoint), "-o", str(page), "-n", "40", "-T", "1,4"]) == 0
    shown = capsys.readouterr().out
    assert f"{100 * found.shuffle.by_layer.rate:.2f} %" in shown
    assert "conv2" in shown
    assert str(page) in shown.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-T", "1,x"], "--steps is '1,x', must be comma-separated integers"),
        (["-T", "0"], "steps (T) is 0, must be at least 1"),
        (["-o", "missing/d.html"], "missing/d.html: cannot be written"),
    ],
)
def test_bad_usage_is_one_line(
    checkpoint: Path,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["diagnose", str(checkpoint), "-n", "4", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_page_needs_nothing_else_and_every_plot_is_well_formed(found: Diagnosis) -> None:
    html = render_diagnosis(found, {"data": "<digits>"})
    page = Page(html)
    assert page.open == []
    assert page.loads == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import", html)
    assert "<digits>" in page.text
    assert len(page.ids) == len(set(page.ids))
    assert "prefers-color-scheme: dark" in html
    plots = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.S)]
    assert len(plots) == 3 + len(found.activity)
    for plot in plots:
        _, _, width, height = map(float, plot.attrib["viewBox"].split())
        assert plot.attrib["aria-label"]
        for mark in plot.iter():
            for axis, most in (("x", width), ("y", height)):
                for name in (axis, f"{axis}1", f"{axis}2", f"c{axis}"):
                    assert 0 <= float(mark.attrib.get(name, 0)) <= most
    circles = [len(list(plot.iter("circle"))) for plot in plots]
    layers = len({entry.layer for entry in found.agreement}) - 1
    assert circles[-3:] == [len(STEPS) * layers] * 2 + [len(found.independence)]


def test_what_is_not_finite_leaves_a_gap(found: Diagnosis) -> None:
    first, *rest = (entry for entry in found.agreement if entry.depth)
    lost = dataclasses.replace(first, cosine=float("nan"), ratio=float("inf"))
    broken = dataclasses.replace(found, agreement=(lost, *rest))
    html = render_diagnosis(broken)
    assert html.count("<circle") == render_diagnosis(found).count("<circle") - 2
    nothing = dataclasses.replace(
        found, agreement=(), independence=(), activity=(LayerActivity("lif", 0.0, 1.0, (1.0, 0.0)),)
    )
    assert "Rate-based training, layer by layer" in Page(render_diagnosis(nothing)).text


def test_chart_places_values_by_their_size() -> None:
    series: dict[str, Values] = {"one": [0.2, None, 0.6], "two": [0.4, 1.0, 0.8]}
    chart = line_chart("Cosine", ["a", "b", "c"], series, include=(0.0,))
    (one, two), marks = chart.lines, {text: y for y, text in chart.ticks}
    assert list(marks) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [y for _, y, _ in one.dots] == [marks["0.2"], marks["0.6"]]
    assert [y for _, y, _ in two.dots] == [marks["0.4"], marks["1"], marks["0.8"]]
    assert one.dots[1][0] == two.dots[2][0]
    assert chart.summary == "Cosine of 3 layers: from 0.2 to 1"
    assert len(line_chart("Cosine", list("x" * 60), {}).labels) <= 24


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.97, 1.0), (-0.04, 1.0), (3.0, 3.0)])
def test_ticks_are_round_and_reach_both_ends(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert 4 <= len(ticks) <= 8
    assert all(len(f"{tick:g}") <= 5 for tick in ticks)


def test_histogram_has_a_bar_per_count() -> None:
    shown = histogram((0.5, 0.25, 0.0), 0.5)
    assert [bar[3] for bar in shown.bars] == [44, 22, 0]
    assert [bar[4] for bar in shown.bars][1] == "1 spikes: 25.0 %"
