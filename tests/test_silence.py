"""Ladders and runs with silent neurons or outputs, whose equality proves nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console  # noqa: TID251
from torch import nn

from spikeport.ladder import LadderConfig, run_ladder, write_ladder
from spikeport.parity import Criterion, LadderRow, Limits, ParityReport, build_row, merge_rows
from spikeport.parity.verdict import NOTHING_FIRES
from spikeport.report.document import document_of
from spikeport.report.headline import headline
from spikeport.report.html import render_html
from spikeport.report.silence import NAMED, silence_notes
from spikeport.report.terminal import render_terminal
from spikeport.runs import Run, silent_populations
from spikeport.trainer import LIF, Dataset, Node, SpikingNetwork, load_digits_split
from spikeport.workflow import prepare_qat
from tests.helpers.made_runs import from_spikes, make_run

FEW = LadderConfig(samples=12, calibration=16, reference_samples=1, lava_samples=0)
LABELS = np.zeros(8, np.int64)


def quiet(run: Run, *names: str) -> Run:
    """The same run in which some populations never fire."""
    assert run.trace is not None
    return from_spikes(
        {name: s * (name not in names) for name, s in run.trace.spikes.items()},
        run.backend,
    )


def ladder(*rows: LadderRow) -> ParityReport:
    return ParityReport(tuple(rows), "ab" * 32, rows[0].accuracy.n, 6, {})


def terminal(report: ParityReport) -> str:
    screen = Console(file=io.StringIO(), width=200)
    screen.print(render_terminal(report))
    return screen.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def two_rows(run: Run) -> ParityReport:
    first = build_row("first", run, LABELS)
    return ladder(first, build_row("second", run, LABELS, above=run))


def test_nothing_fires() -> None:
    dead = quiet(make_run(), "conv", "out")
    report = two_rows(dead)
    assert report.passed
    assert all(row.dead and row.undecided for row in report.rows)
    assert [row.verdict for row in report.rows] == [NOTHING_FIRES] * 2
    assert report.rows[1].silent == ("conv", "out")
    assert (report.rows[1].silent_outputs, report.rows[1].tied_outputs) == (8, 0)
    assert headline(report) == "No neuron fires in 2 of 2 stages: inconclusive"
    for shown in (terminal(report), render_html(document_of(report))):
        assert "identical" not in shown
        assert "outputs are silent on 8 of 8 samples" in shown
        assert "every stage: 2 populations never fire" in shown
    assert json.loads(json.dumps(report.as_dict()))["rows"][0]["silent"] == ["conv", "out"]


def test_a_silent_readout_of_a_network_that_fires() -> None:
    report = two_rows(quiet(make_run(), "out"))
    row = report.rows[1]
    assert not row.dead
    assert row.verdict == "identical"
    assert row.silent == ("out",)
    assert row.undecided
    line = next(line for line in terminal(report).splitlines() if "second" in line)
    assert line.split().count("–") == 2  # no energy, and no answers that could differ
    assert '<span class="mute">–</span>' in render_html(document_of(report))
    assert silence_notes(report) == (
        "every stage: population 'out' never fires",
        "every stage: outputs are silent on 8 of 8 samples, which count as class 0",
    )


def test_a_stage_that_falls_silent_is_named() -> None:
    run = make_run()
    first = build_row("float", run, LABELS)
    limits = Limits(max_drop_points=101)
    second = build_row(
        "chip", quiet(run, "conv"), LABELS, above=run, rule=Criterion.CHANGE, limits=limits
    )
    assert second.passed
    notes = silence_notes(ladder(first, second))
    assert notes[0] == "chip: population 'conv' never fires"


def test_many_silent_populations_share_a_note() -> None:
    names = [f"lif{k}" for k in range(NAMED + 3)]
    quoted = [f"'{name}'" for name in names]
    row = dataclasses.replace(two_rows(make_run()).rows[0], silent=tuple(names))
    many = (
        f"every stage: {NAMED + 3} populations never fire: {', '.join(quoted[:NAMED])} and 3 more"
    )
    assert silence_notes(ladder(row, row))[0] == many
    other = dataclasses.replace(row, stage="chip", silent=("lif0",))
    rest = ", ".join(quoted[1 : NAMED + 1])
    assert silence_notes(ladder(row, other))[:2] == (
        "every stage: population 'lif0' never fires",
        f"{row.stage}: {NAMED + 2} populations never fire: {rest} and 2 more",
    )


def test_a_failed_stage_stays_failed() -> None:
    """Even if nothing fires in it: all spikes were lost."""
    run = make_run()
    row = build_row("chip", quiet(run, "conv", "out"), LABELS, above=run)
    assert not row.passed
    assert row.verdict.startswith("FAILED: spikes differ")


def test_a_ladder_of_active_networks_has_no_notes() -> None:
    report = two_rows(make_run(3))
    assert not report.dead
    assert headline(report) == "Nothing lost: every integer stage is identical, spike for spike"
    assert [note for note in silence_notes(report) if "shared" not in note] == []


def test_many_ties_are_noted() -> None:
    run = make_run()
    tied = dataclasses.replace(run, scores={"out": np.tile([[1, 2, 2, 0]], (8, 1))})
    report = two_rows(tied)
    assert report.rows[0].tied_outputs == 8
    (note,) = silence_notes(report)
    assert "the highest score is shared on 8 of 8 samples" in note


def test_membranes_that_move_are_not_silent() -> None:
    run = quiet(make_run(), "out")
    assert silent_populations(run) == ("out",)
    moving = dataclasses.replace(run, scores={"out": np.full((8, 4), -3)})
    assert silent_populations(moving) == ()


def test_rows_in_parts() -> None:
    run, dead = make_run(), quiet(make_run(), "conv", "out")
    rows = [build_row("a", part, LABELS, above=part) for part in (dead, run, dead)]
    merged = merge_rows(rows)
    assert merged.verdict == "identical"
    assert merged.silent == ()
    assert merged.silent_outputs == 16 + rows[1].silent_outputs
    assert merge_rows([rows[0], rows[2]]).verdict == NOTHING_FIRES
    assert merge_rows([rows[0], rows[2]]).silent == ("conv", "out")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_split()


@pytest.fixture
def dead(digits: Dataset) -> SpikingNetwork:
    """Pixels are not negative and the first layer's weights are, so that nothing ever fires."""
    torch.manual_seed(0)
    nodes = (
        Node("conv", ("input",), nn.Conv2d(1, 4, 3, bias=False)),
        Node("lif", ("conv",), LIF(decay=0.5)),
        Node("fc", ("lif",), nn.Linear(144, 10, bias=False)),
        Node("out", ("fc",), LIF(decay=0.5)),
    )
    network = SpikingNetwork(digits.input, nodes, steps=4).eval()
    with torch.no_grad():
        weight = network.layers.get_parameter("conv.weight")
        weight.copy_(-weight.abs())
    return network


def test_a_silent_network_gets_an_inconclusive_verdict(
    dead: SpikingNetwork, digits: Dataset, tmp_path: Path
) -> None:
    ladder_run = write_ladder(dead, digits, tmp_path / "made", FEW, "spikeport ladder")
    report = ladder_run.report
    assert report.dead == tuple(row.stage for row in report.rows)
    assert {row.verdict for row in report.rows} == {NOTHING_FIRES}
    page = (tmp_path / "made" / "report.html").read_text()
    for shown in (page, terminal(report)):
        assert "identical" not in shown
        assert re.search(r"every stage: (population '|\d+ populations never fire)", shown)
    assert "agree in" not in page
    assert "No prediction to compare" in page
    assert ladder_run.quantization is not None
    assert "populations 'lif', 'out' fire on none of the 16 calibration samples" in " ".join(
        ladder_run.quantization.warnings
    )


def test_a_silent_chip_network_gets_an_inconclusive_verdict(
    dead: SpikingNetwork, digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "spikeport"):
        chip = prepare_qat(dead, digits.train_x[:16])
    told = "populations 'lif', 'out' fire on none of the 16 calibration samples"
    assert told in caplog.text
    assert told in " ".join(chip.quantization_warnings)
    report = run_ladder(chip, digits, tmp_path, FEW).report
    assert report.dead == tuple(row.stage for row in report.rows)
    assert all(row.silent == ("lif", "out") for row in report.rows)
    assert all(row.silent_outputs == row.accuracy.n for row in report.rows)
