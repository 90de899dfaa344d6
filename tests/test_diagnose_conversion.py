"""`spikeport diagnose --conversion`: networks side by side, their page, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nir
import numpy as np
import pytest

from spikeport.cli._conversion import MOST_NETWORKS
from spikeport.parity import accuracy
from spikeport.report.conversion_errors import MOST_DEPTH_CHARTS, MOST_LINES, render_conversions
from spikeport.report.plots import COLOURS, LABELS
from spikeport.simulators import ConversionDiagnosis, LayerErrors, NetworkErrors
from spikeport.trainer import load_checkpoint, load_dataset
from spikeport.workflow import diagnose_conversion, export_float, write_nir
from tests.helpers.command import Spikeport, call, one_line
from tests.helpers.reports import Page

ANN = ("--set", "training.activation=relu", "--set", "training.steps=1")
PLAIN = ("convert", "--method", "initial-potential", "--calibration", "32", "--samples", "10")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ANN trained on digits, converted in two ways, one of them also as NIR graph."""
    folder = tmp_path_factory.mktemp("converted")
    ann = folder / "ann.safetensors"
    train = ["train", "--model", "conv", "--widths", "4,6", "--epochs", "2", *ANN]
    assert call([*train, "--set", "training.rule=bptt_m", "-o", str(ann)]) == 0
    for name, more in (("plain", ()), ("searched", ("--search",))):
        out = folder / f"{name}.safetensors"
        assert call([*PLAIN, str(ann), "-T", "4", *more, "-o", str(out)]) == 0
    write_nir(load_checkpoint(folder / "plain.safetensors"), folder / "plain.nir")
    return folder


def diagnosed(folder: Path, spikeport: Spikeport, *arguments: object) -> tuple[Any, str]:
    page = folder / "page.html"
    code, text, err = spikeport("diagnose", *arguments, "-n", 70, "-o", page, "--json")
    assert code == 0, err
    return json.loads(text), page.read_text("utf-8")


def test_json_holds_what_the_function_returns(
    made: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    paths = [made / "plain.safetensors", made / "searched.safetensors"]
    ann = made / "ann.safetensors"
    facts, html = diagnosed(tmp_path, spikeport, *paths, "--ann", ann, "-T", "2,4")
    data = load_dataset("digits")
    found = diagnose_conversion(
        {str(path): load_checkpoint(path).model for path in paths},  # type: ignore[misc]
        data.test_x[:70],
        data.test_y[:70],
        [2, 4],
        ann=load_checkpoint(ann).model,  # type: ignore[arg-type]
    )
    assert facts.pop("page") == str(tmp_path / "page.html")
    assert facts.pop("ann") == str(ann)
    assert facts.pop("origins") == {}
    assert facts == json.loads(json.dumps(found.as_dict()))
    page = Page(html)
    command = f"spikeport diagnose {paths[0]} {paths[1]} --data digits --samples 70"
    assert command in page.text
    for network in found.networks:
        assert Path(network.name).name in page.text
        for each in network.errors:
            assert f"{each.relative.quantization:.3f}" in page.text
            assert f"{each.relative.total:.3f}" in page.text
            assert f"{100 * each.saturated:.1f} %" in page.text
            assert f"{each.rate:.3f}" in page.text
    reference = found.ann_accuracy
    assert reference is not None
    assert f"Dashed: the ANN, {100 * reference.rate:.1f} %." in page.text


def test_a_graph_and_its_checkpoint_show_the_same_errors(
    made: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    paths = [made / "plain.safetensors", made / "plain.nir"]
    facts, _ = diagnosed(tmp_path, spikeport, *paths, "--conversion", "-T", "4")
    ours, graph = facts["summary"]
    assert (graph.pop("network"), ours.pop("network")) == (str(paths[1]), str(paths[0]))
    assert graph["accuracy"] == ours["accuracy"]
    assert graph["quantization"] == pytest.approx(ours["quantization"], rel=1e-3)
    assert graph["deviation"] == pytest.approx(ours["deviation"], rel=1e-3)
    assert graph["limit"]["layer"] == ours["limit"]["layer"]


def test_a_graph_of_another_tool_takes_the_options_of_other_verbs(
    made: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    """One that states nothing; without its rules its neurons would reset to zero."""
    graph = export_float(load_checkpoint(made / "plain.safetensors"), 1e-3).graph
    for node in graph.nodes.values():
        if isinstance(node, nir.IF):  # its own v_reset is where the membrane starts
            node.v_reset = np.zeros_like(node.v_reset)
    graph.metadata = {}
    theirs = tmp_path / "theirs.nir"
    nir.write(theirs, graph)
    code, _, err = spikeport("diagnose", theirs, "--conversion", "-n", 5, "--dt", "1e-3")
    assert code == 2
    assert one_line(err).startswith(f"spikeport: {theirs}: node")
    given = ("--dt", "1e-3", "--reset", "subtract")
    facts, html = diagnosed(tmp_path, spikeport, theirs, "--conversion", "-T", "4,8", *given)
    (network,) = facts["networks"]
    assert network["steps"] == 8
    assert "reset=subtract" in facts["origins"][str(theirs)]["stated"]
    assert "reset=subtract" in Page(html).text


def test_the_terminal_gets_a_row_for_each_network_and_the_layers_of_one(
    made: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    page, plain = tmp_path / "d.html", made / "plain.safetensors"
    one = ("diagnose", plain, "--conversion", "-n", 20, "-T", "2,4", "-o", page)
    code, text, _ = spikeport(*one)
    assert code == 0
    assert "Errors after 4 steps" in text
    assert "saturated" in text
    assert "lif2" in text
    code, text, _ = spikeport(*one, made / "searched.safetensors")
    assert code == 0
    assert "Errors after" not in text
    assert "searched.safetensors" in text.replace("\n", "").replace("│", "").replace(" ", "")


def test_convert_shows_saturation_and_rate(
    made: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    out = tmp_path / "net.safetensors"
    command = (*PLAIN, made / "ann.safetensors", "-T", 4, "-o", out)
    found = json.loads(spikeport(*command, "--json")[1])["errors"]
    text = spikeport(*command)[1]
    for each in found:
        (line,) = (line for line in text.splitlines() if f"│ {each['layer']} " in line)
        *_, saturated, rate, _ = (cell.strip() for cell in line.split("│"))
        assert saturated == f"{100 * each['saturated']:.1f} %"
        assert rate == f"{each['rate']:.3f}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["plain.safetensors", "searched.safetensors"],
            "diagnose: 2 networks, .* add --conversion",
        ),
        (["plain.nir"], "plain.nir: is a NIR file, but gradients need a checkpoint; add --conver"),
        (["plain.safetensors", "--dt", "1"], "--dt: describes NIR files, which need --conversion"),
        (["plain.safetensors", "--conversion", "--reset", "zero"], "--reset: describes NIR files"),
        (["plain.nir", "plain.nir", "--conversion"], "plain.nir: is given twice"),
        (["plain.nir"] * 8 + ["--conversion"], "8 networks, at most 7 side by side"),
        (["ann.safetensors", "--conversion"], "ann.safetensors: network: has no spiking neurons"),
        (["plain.nir", "--ann", "searched.safetensors"], "searched.safetensors: .* no activation"),
        (["leaky.safetensors", "--conversion"], r"leaky.safetensors: layer 'lif1': decay is 0\.5"),
        (["chip.spikeport", "--conversion"], "chip.spikeport: must be a converted network"),
        (["plain.nir", "--conversion", "-T", "0"], r"steps \(T\) is 0, must lie in 1"),
        (
            ["plain.nir", "--conversion", "-o", "plain.nir"],
            "plain.nir: is the same file as the input",
        ),
    ],
)
def test_what_is_refused_is_named_in_one_line(
    arguments: list[str],
    message: str,
    made: Path,
    tmp_path: Path,
    spikeport: Spikeport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(made)
    if "leaky.safetensors" in arguments:
        train = ["train", "--model", "mlp", "--widths", "8", "--epochs", "1", "-T", "2"]
        assert call([*train, "-o", "leaky.safetensors"]) == 0
    out = () if "-o" in arguments else ("-o", tmp_path / "d.html")
    code, _, err = spikeport("diagnose", *arguments, "-n", 4, *out)
    assert code == 2
    assert re.search(message, one_line(err))
    assert list(tmp_path.iterdir()) == []


def layer(name: str, steps: int, size: float) -> LayerErrors:
    return LayerErrors(
        layer=name, steps=steps, v_threshold=2.0, activation=1.0, quantization=size / steps,
        deviation=size, conversion=size, total=size, reference=1.0, input_sigma=0.5,
        saturated=0.125, rate=0.1,
    )  # fmt: skip


def large(networks: int, layers: int, steps: tuple[int, ...], own: int) -> ConversionDiagnosis:
    made = tuple(
        NetworkErrors(
            f"folder/n{k}.safetensors",
            own,
            tuple(layer(f"s{i}_lif", n, (k + i + 1) / 99) for i in range(layers) for n in steps),
            {n: accuracy(5 + k, 10) for n in steps},
        )
        for k in range(networks)
    )
    return ConversionDiagnosis(steps, 10, 10, accuracy(9, 10), made)


def plots(html: str) -> list[ElementTree.Element]:
    found = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.S)]
    for plot in found:
        _, _, width, height = map(float, plot.attrib["viewBox"].split())
        for mark in plot.iter():
            for axis, most in (("x", width), ("y", height)):
                for name in (axis, f"{axis}1", f"{axis}2", f"c{axis}"):
                    assert 0 <= float(mark.attrib.get(name, 0)) <= most
    return found


def test_a_page_of_many_layers_and_steps_thins_labels_and_lines() -> None:
    steps = (2, 3, 4, 6, 8, 16, 32, 64, 128, 256)
    found = large(1, 110, steps, 16)
    html = render_conversions(found)
    page = Page(html)
    assert page.open == []
    assert page.loads == []
    assert (
        "At T = 16, the deviation error limits n0.safetensors, most of all in layer s109_lif"
        in (page.text)
    )
    (lead,) = re.findall(r"Only in the tables: T = ([\d, ]+)\.", page.text)
    left_out = set(map(int, lead.split(", ")))
    assert len(steps) - len(left_out) == MOST_LINES == len(COLOURS)
    assert not left_out & {2, 16, 256}
    for plot in plots(html)[2:]:
        assert len(list(plot.iter("polyline"))) == MOST_LINES
        texts = [part.text or "" for part in plot.iter() if part.tag.endswith("text")]
        assert 0 < sum("_lif" in text for text in texts) <= LABELS
        radii = {float(part.attrib["r"]) for part in plot.iter("circle")}
        assert max(radii) < 760 / 110 / 2
    assert page.text.count("s109_lif") >= len(steps)


def test_networks_are_compared_after_each_of_a_few_steps() -> None:
    found = large(5, 3, (2, 4, 8, 16, 32), 8)
    other = replace(found.networks[4], name="other/n0.safetensors")
    found = replace(found, networks=(*found.networks[:4], other))
    html = render_conversions(found)
    page = Page(html)
    assert "At T = 8, folder/n0.safetensors has the smallest conversion error of 5" in page.text
    # accuracy, four errors over T, and five charts over depth for each of a few T
    drawn = plots(html)
    assert len(drawn) == 1 + 4 + 5 * MOST_DEPTH_CHARTS
    assert all(len(list(plot.iter("polyline"))) == 5 for plot in drawn)
    assert html.count("<details open>") == 1
    assert len(COLOURS) == MOST_NETWORKS


def test_layers_of_different_networks_share_an_axis() -> None:
    found = large(2, 3, (4,), 4)
    first, second = found.networks
    extra = replace(second, errors=(second.errors[0], layer("added", 4, 0.5), *second.errors[1:]))
    html = render_conversions(replace(found, networks=(first, extra)))
    texts = [part.text or "" for part in plots(html)[-1].iter() if part.tag.endswith("text")]
    assert [text for text in texts if not text[0].isdigit()] == [
        "s0_lif",
        "added",
        "s1_lif",
        "s2_lif",
    ]
