"""Networks too large for the scalar reference: sampled neurons take its place in the ladder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.backends.lava import lava_status
from spikeport.backends.lava import schedule as lava_schedule
from spikeport.errors import InputError
from spikeport.ladder import LadderConfig, run_ladder, stages, write_ladder
from spikeport.ladder.stages import REFERENCE, SAMPLED
from spikeport.network import DeployedNetwork
from spikeport.parity import LadderRow, Limits, Sampled, build_row, is_identical, merge_rows
from spikeport.report.headline import chip_row
from spikeport.report.html import render_html
from spikeport.report.markdown import render_markdown
from spikeport.report.stored import document_from, read_document
from spikeport.report.terminal import render_terminal
from spikeport.runs import Probe, Run
from spikeport.simulators import recompute_neurons, reference, run_native, sample_probes
from spikeport.trainer import Dataset
from spikeport.workflow import run as workflow_run
from tests.helpers.networks import digits_like, with_turned_weights
from tests.helpers.reports import Page
from tests.helpers.screen import on_screen

CONFIG = LadderConfig(samples=6, reference_samples=3, lava_samples=0)


def probed(network: DeployedNetwork, samples: Any, count: int = 5) -> Run:
    record = (*sample_probes(network, count), Probe("out"))
    return run_native(network, samples, record=record)


def row_of(network: DeployedNetwork, samples: Any, native: Run) -> LadderRow:
    run = recompute_neurons(network, samples, native)
    labels = np.zeros(len(samples), np.int64)
    number = sum(counts.size for counts in run.spike_counts.values())
    return build_row("sampled", run, labels, above=native, sampled=Sampled(number, 542))


def test_equal_neurons_are_identical_and_only_they_are_counted() -> None:
    network, samples = digits_like()
    native = probed(network, samples)
    row = row_of(network, samples, native)
    assert row.passed
    assert is_identical(row)
    assert row.sampled is not None
    assert row.verdict == f"identical in {row.sampled.neurons} of 542 neurons"
    assert row.difference is not None
    assert (row.difference.total_spikes, row.difference.states, row.difference.scores) == (0, 0, 0)
    assert row.difference.spikes_before == sum(row.spikes.values())
    assert row.spikes["out"] == native.spike_counts["out"].sum()
    assert 0 < row.spikes["conv"] < native.spike_counts["conv"].sum() / 4
    assert row.silent == ()


@pytest.mark.parametrize("name", ["image_to_conv", "conv_to_hidden", "loop", "hidden_to_out"])
def test_a_wrong_weight_fails_the_row_and_names_its_target(name: str) -> None:
    network, samples = digits_like()
    wrong = probed(with_turned_weights(network, name), samples)
    wrong = dataclasses.replace(wrong, network_hash=network.content_hash)
    row = row_of(network, samples, wrong)
    target = next(c.target for c in network.weighted_connections if c.name == name)
    assert not row.passed
    assert not is_identical(row)
    assert f"population '{target}'" in row.verdict
    assert row.difference is not None
    assert row.difference.first is not None
    assert row.difference.first.population == target


@pytest.mark.parametrize("variable", ["u", "v"])
def test_a_wrong_state_alone_fails_the_row(variable: str) -> None:
    network, samples = digits_like()
    native = probed(network, samples)
    assert native.trace is not None
    native.trace[variable]["hidden"][3, 1, 2] += 1
    row = row_of(network, samples, native)
    neuron = native.trace.neurons[variable, "hidden"].flat[2]
    assert row.verdict.startswith("FAILED: 1 values of state variables differ; first at sample 1, ")
    assert f"step 3, population 'hidden', neuron ({neuron}): {variable} " in row.verdict
    assert row.difference is not None
    assert row.difference.total_spikes == 0


def test_rows_of_consecutive_samples_are_merged() -> None:
    network, samples = digits_like()
    native = [probed(network, part) for part in (samples, samples[:15], samples[15:])]
    assert native[2].trace is not None
    whole, first, second = (
        row_of(network, part, run)
        for part, run in zip((samples, samples[:15], samples[15:]), native, strict=True)
    )
    merged = merge_rows([first, second], network.order)
    assert dataclasses.replace(merged, wall_s=0) == dataclasses.replace(whole, wall_s=0)


def test_partial_traces_are_refused_everywhere_else() -> None:
    network, samples = digits_like()
    native = probed(network, samples)
    run = recompute_neurons(network, samples, native)
    with pytest.raises(InputError, match="the spikes of 'conv' cannot be compared with the prev"):
        build_row("other", run, np.zeros(40, int), above=native)


def data() -> Dataset:
    network, samples = digits_like()
    x: Any = samples.astype(np.uint8)
    y = np.arange(40) % 10
    return Dataset("digits", x, y, x, y, network.inputs[0], 10)


def test_a_ladder_of_a_network_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = digits_like()
    assert reference.stored_synapses(network) == 14_712
    monkeypatch.setattr(reference, "MOST_SYNAPSES", 14_711)
    ladder = write_ladder(network, data(), tmp_path, CONFIG, "spikeport ladder")
    report = ladder.report
    assert report.passed
    row = report.rows[-1]
    assert (row.stage, row.backend, row.accuracy.n) == (SAMPLED, "reference", 3)
    assert row.sampled is not None
    neurons = row.sampled.neurons
    assert 20 + 10 + 38 - 6 < neurons <= 20 + 10 + 38
    assert row.verdict == f"identical in {neurons} of 542 neurons"
    assert (row.synaptic_events, row.energy_pj) == (None, None)
    assert REFERENCE not in {row.stage for row in report.rows}
    assert {one.stage for one in report.skipped} == {"Lava"}
    document = read_document(tmp_path)
    assert document.parity == report
    claim = f"{SAMPLED}: {neurons} of 542 neurons"
    told = f"Every integer stage that ran is identical, spike for spike ({claim})"
    assert document.verdict.headline.startswith(told)
    spikes = document.verdict.claims[2]
    assert spikes.answer == "Yes, 0 differ"
    assert claim in spikes.details
    whole = sum(report.rows[0].spikes.values())
    assert f"{whole + sum(row.spikes.values()):,} spikes in 2 comparisons" in spikes.details[0]
    assert document_from(document.as_dict()) == document
    page, text = Page(render_html(document)).text, render_markdown(document)
    for shown in (page, text, on_screen(render_terminal(report), 200)):
        assert claim in shown
    for shown in (page, text):
        assert f"identical in {neurons} of 542 neurons" in shown
    assert (tmp_path / "report.md").read_text() == render_markdown(document)


def test_a_stage_of_sampled_neurons_is_not_the_result_of_the_chip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it ran all samples: its spikes are those of a few neurons."""
    monkeypatch.setattr(reference, "MOST_SYNAPSES", 0)
    config = dataclasses.replace(CONFIG, reference_samples=6)
    report = run_ladder(digits_like()[0], data(), tmp_path, config).report
    assert report.rows[-1].accuracy.n == report.rows[0].accuracy.n
    assert report.rows[-1].stage == SAMPLED
    assert chip_row(report).sampled is None


@pytest.mark.parametrize("most", [0, 10**9])
def test_slow_stages_in_parts_are_as_at_once(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "MOST_SYNAPSES", most)
    network = digits_like()[0]
    limits = Limits(max_drop_points=100, max_spike_change=100)
    config = dataclasses.replace(CONFIG, limits=limits)
    once = run_ladder(network, data(), tmp_path, config).report.rows[-1]
    monkeypatch.setattr(workflow_run, "RECORD_BYTES", 2 * 12 * 542)
    parts = run_ladder(network, data(), tmp_path, config).report.rows[-1]
    assert dataclasses.replace(parts, wall_s=0) == dataclasses.replace(once, wall_s=0)


@pytest.mark.skipif(lava_status().version is None, reason=f"no Lava: {lava_status().reason}")
def test_a_network_that_lava_refuses_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lava_schedule, "MOST_PROCESSES", 8)
    report = run_ladder(
        digits_like()[0], data(), tmp_path, dataclasses.replace(CONFIG, lava_samples=1)
    ).report
    left = report.skipped[-1]
    assert (left.stage, left.failed) == ("Lava", False)
    assert left.reason == (
        "backend 'lava': cannot run this network, 1 limit exceeded: network: Lava processes "
        "10 (limit: 8); run it on native, which has no such limit"
    )


def test_readouts_of_very_many_neurons_are_left_out_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "MOST_SYNAPSES", 0)
    monkeypatch.setattr(stages, "MOST_OUTPUTS", 9)
    report = run_ladder(digits_like()[0], data(), tmp_path, CONFIG).report
    left = next(one for one in report.skipped if one.stage == SAMPLED)
    assert left.reason == (
        "readout 'out': has 10 neurons, recomputed one by one are at most 9; "
        "check_neurons recomputes any"
    )
    assert not left.failed
