"""Converted networks down the chain: NIR, integers, simulators, hardware check, energy, map."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np
import pytest

from spikeport.backends import check_deployed, run
from spikeport.energy import load_profile
from spikeport.export.nir import read_nir_deployed, read_nir_float
from spikeport.mapping import map_network
from spikeport.network import Reset, require_lif
from spikeport.report.ranges import range_sections
from spikeport.runs import encode_samples
from spikeport.simulators import run_float, run_native, run_reference
from spikeport.trainer import SpikingNetwork, evaluate, measure_accuracy
from spikeport.trainer.conversion import (
    ConversionConfig,
    Shortcuts,
    convert,
    restructure,
    to_spiking,
)
from spikeport.trainer.conversion.thresholds import activation_percentiles
from spikeport.workflow import estimate_mapped_energy, export_float, quantize, write_nir
from tests.helpers.anns import digits, random_ann, random_images, trained_ann
from tests.helpers.lava import needs_lava

STEPS = 5


@functools.cache
def converted(kind: Shortcuts) -> SpikingNetwork:
    network = restructure(random_ann(), kind)
    return to_spiking(network, activation_percentiles(network, [random_images(32)], 99), STEPS)


@pytest.mark.parametrize("kind", Shortcuts)
def test_spikes_are_the_same_in_training_and_nir(kind: Shortcuts, tmp_path: Path) -> None:
    network, x = converted(kind), random_images(6).numpy()
    graph = export_float(network)
    # in float64, so that rounding differs by no processor
    ours = evaluate(copy.deepcopy(network).double(), x, record=("spikes",))
    write_nir(graph, tmp_path / "net.nir")
    for theirs in (graph, read_nir_float(tmp_path / "net.nir")):
        run = run_float(theirs, x, record=("spikes",))
        assert ours.trace is not None
        assert run.trace is not None
        for name, spikes in ours.trace.spikes.items():
            assert np.array_equal(run.trace.spikes[name], spikes), name
        assert sum(int(each.sum()) for each in ours.trace.spikes.values()) > 100


@pytest.mark.parametrize("kind", Shortcuts)
def test_integers_are_the_same_everywhere(kind: Shortcuts, tmp_path: Path) -> None:
    x = random_images(3).numpy()
    made = quantize(export_float(converted(kind)), random_images(32).numpy()).network
    for part in made.populations:
        lif = require_lif(part)
        assert lif.reset is Reset.SUBTRACT or part.name == made.order[-1]
        if lif.reset is Reset.SUBTRACT and lif.v_init:
            # half of the threshold; ties may add one unit
            assert lif.v_init - (lif.vth << 6) // 2 in (0, 1)
    write_nir(made, tmp_path / "chip.nir")
    again = read_nir_deployed(tmp_path / "chip.nir")
    assert again == made
    samples = encode_samples(made.inputs, made.steps, x, static=True)
    native = run_native(made, samples, record=("spikes", "v"))
    for other in (run_reference(made, samples, record=("spikes", "v")), run_native(again, samples)):
        assert np.array_equal(native.scores[made.order[-1]], other.scores[made.order[-1]])
        for name, counts in native.spike_counts.items():
            assert np.array_equal(other.spike_counts[name], counts)


def test_a_converted_network_keeps_its_accuracy_on_the_chip() -> None:
    data = digits()
    made = convert(trained_ann("conv"), data, ConversionConfig(steps=8, epochs=1, calibration=64))
    chip = quantize(export_float(made.network), data.train_x[:128]).network
    samples = encode_samples(chip.inputs, chip.steps, data.test_x, static=True)
    found = run_native(chip, samples)
    accuracy = float((found.predictions == data.test_y).mean())
    # 0.5 points, in whole samples of 360
    assert abs(accuracy - measure_accuracy(made.network, data.test_x, data.test_y)) < 2.5 / 360
    (judged,) = check_deployed(chip, ["loihi2"])
    assert {each.quantity for each in judged.unsupported} == {"reset", "v_init"}
    assert found.counts is not None
    report = estimate_mapped_energy(chip, found.counts, load_profile("loihi2"))
    assert report.dynamic.nominal > 0
    assert map_network(chip, "loihi2").cores


def test_of_many_connections_those_at_the_ends_of_the_range_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = quantize(export_float(converted(Shortcuts.ANALOG)), random_images(4).numpy()).network
    (whole,) = range_sections(network, None)
    assert len(whole.figures) == len(whole.rows) > 3
    assert "Histograms are those of" not in whole.note
    monkeypatch.setattr("spikeport.report.ranges.DRAWN", 3)
    (some,) = range_sections(network, None)
    assert some.rows == whole.rows
    assert f"Histograms are those of the 3 connections, of {len(whole.rows)}," in some.note
    names, ends, sizes = (
        [row[whole.columns.index(name)] for row in whole.rows]
        for name in ("connection", "at an end of the range", "weights")
    )
    shares = [ends[k] / sizes[k] for k in range(len(names))]  # type: ignore[operator]
    drawn = {names.index(figure.title) for figure in some.figures}
    assert len(drawn) == 3
    assert min(shares[k] for k in drawn) >= max(
        shares[k] for k in range(len(names)) if k not in drawn
    )
    assert [f.title for f in some.figures] == [names[k] for k in sorted(drawn)]


@needs_lava
def test_lava_sends_the_same_spikes() -> None:
    made = quantize(export_float(converted(Shortcuts.ACTIVATED)), random_images(32).numpy()).network
    samples = encode_samples(made.inputs, made.steps, random_images(1).numpy(), static=True)
    native = run_native(made, samples, record=("spikes",))
    lava = run("lava", made, samples, record=("spikes",))
    assert native.trace is not None
    assert lava.trace is not None
    for name, spikes in native.trace.spikes.items():
        assert np.array_equal(lava.trace.spikes[name], spikes), name
