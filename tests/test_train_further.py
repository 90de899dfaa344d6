"""Training the network of a checkpoint further, such as a converted one, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export import QuantizeConfig, read_nir_float
from spikeport.storage.tensors import pack, unpack, with_digest
from spikeport.trainer import (
    SpikingNetwork,
    TrainConfig,
    checkpoint_of,
    load_checkpoint,
    measure_accuracy,
    save_checkpoint,
    train,
)
from spikeport.trainer.conversion import ConversionConfig, ConversionMethod, convert
from spikeport.trainer.conversion.spiking import if_neurons
from spikeport.trainer.loop.distillation import digest
from spikeport.trainer.module_file import network_from_file
from spikeport.trainer.neurons import Neurons
from spikeport.workflow import export_float, prepare_qat, quantize, write_nir
from tests.helpers.anns import digits, trained_ann
from tests.helpers.command import Spikeport


def network_of(path: str | Path) -> SpikingNetwork:
    """The network of a checkpoint."""
    model = load_checkpoint(path).model
    assert isinstance(model, SpikingNetwork)
    return model


FACTS = ("conversion", "conversion_label", "ann_sha256")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a network that was converted for four steps, without training."""
    path = tmp_path_factory.mktemp("converted") / "net.safetensors"
    config = ConversionConfig(steps=4, calibration=32, epochs=0)
    made = convert(trained_ann("conv"), digits(), config)
    save_checkpoint(path, checkpoint_of(made.network, digits()))
    return path


def test_a_converted_network_says_how_it_was_made(converted: Path) -> None:
    facts = network_of(converted).provenance
    assert facts["conversion"] == (
        "tuned, T = 4, thresholds for L = 4 trained (epochs: 0), thresholds searched, "
        "analog shortcuts"
    )
    assert facts["conversion_label"].startswith("TTRBR-style, reconstructed from the abstract")
    assert facts["ann_sha256"] == digest(trained_ann("conv"))


def test_thresholds_that_were_trained_before_are_called_given() -> None:
    config = ConversionConfig(method=ConversionMethod.QCFS, steps=4, calibration=32, epochs=1)
    first = convert(trained_ann("conv"), digits(), config)
    second = convert(first.ann, digits(), config)
    assert " trained (epochs: 1)," in first.network.provenance["conversion"]
    assert " as given," in second.network.provenance["conversion"]
    assert second.network.provenance["ann_sha256"] == digest(first.ann)


@pytest.mark.parametrize("method", ConversionMethod)
def test_only_what_is_reconstructed_has_a_label(method: ConversionMethod) -> None:
    config = ConversionConfig(method=method, steps=2, calibration=16, epochs=0)
    facts = convert(trained_ann("conv"), digits(), config).network.provenance
    assert facts["conversion"].startswith(f"{method}, T = 2, ")
    assert ("conversion_label" in facts) == (method is ConversionMethod.TUNED)


def test_what_is_known_of_a_conversion_goes_wherever_the_network_goes(
    converted: Path, tmp_path: Path
) -> None:
    model = network_of(converted)
    wanted = {name: model.provenance[name] for name in FACTS}
    assert wanted.items() <= export_float(model).provenance.items()
    write_nir(model, tmp_path / "a.nir")
    again = read_nir_float(tmp_path / "a.nir")
    assert wanted.items() <= again.provenance.items()
    x = digits().train_x[:16]
    chip = quantize(again, x, static=True).network
    assert wanted.items() <= chip.provenance.items()
    qat = prepare_qat(model, x, QuantizeConfig(), static=True)
    assert wanted.items() <= qat.deployed().provenance.items()


def test_networks_trained_here_are_written_as_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.safetensors", checkpoint_of(trained_ann("conv"), digits()))
    header, _ = unpack(tmp_path / "a.safetensors", "damaged")
    assert "provenance" not in header


def test_the_network_is_trained_from_its_weights(
    converted: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    out = tmp_path / "fine.safetensors"
    options = ("--data", "digits", "--epochs", 1, "-o", out, "--json")
    code, text, err = spikeport("train", converted, *options, "--lr", 1e-30, "--weight-decay", 0)
    assert code == 0, err
    before, after = load_checkpoint(converted), load_checkpoint(out)
    known = network_of(converted).provenance
    assert after.own
    assert after.config.steps == before.model.steps == after.model.steps == 4
    for name, value in after.model.state_dict().items():
        assert torch.equal(value, before.model.state_dict()[name]), name
    assert network_of(out).provenance == {
        **known,
        "trained_further": "rate_m, T = 4 (epochs: 1)",
    }
    code, text, err = spikeport("train", converted, *options, "--lr", 0.01, "--steps", 2)
    assert code == 0, err
    again = load_checkpoint(out)
    assert again.model.steps == 2
    assert json.loads(text)["test_accuracy"] > 0.8
    assert not torch.equal(
        *(each.model.state_dict()["layers.conv1.weight"] for each in (again, before))
    )
    first = network_of(out).provenance["trained_further"]
    code, _, err = spikeport(
        "train", "digits", "--model", out, *options[2:4], "-o", f"{out}2.safetensors"
    )
    assert code == 0, err
    second = network_of(f"{out}2.safetensors")
    assert second.steps == 2
    assert second.provenance["trained_further"] == f"{first}; rate_m, T = 2 (epochs: 1)"


@given(v_threshold=st.floats(1e-3, 1e3), steps=st.integers(3, 64))
@settings(deadline=None)
def test_the_gain_of_converted_neurons_is_the_slope_of_the_activation(
    v_threshold: float, steps: int
) -> None:
    """1 / theta on average over constant inputs, whatever T is; gradients grow over no layer."""
    neurons = Neurons(if_neurons(v_threshold, v_threshold / 2), steps, record=True)
    neurons.advance(torch.linspace(0, v_threshold, 1001)[None], steps)
    _, gain = neurons.recorded()
    assert 0.85 < float(gain.mean()) * v_threshold < 1.02


def test_training_by_rates_keeps_what_a_deep_network_can() -> None:
    made = convert(trained_ann(), digits(), ConversionConfig(steps=4, calibration=64, epochs=2))
    x, y = digits().test_x, digits().test_y
    before = measure_accuracy(made.network, x, y)
    config = TrainConfig(steps=4, lr=0.003, epochs=2)
    model = train(config, digits(), network=made.network).model
    assert measure_accuracy(model, x, y) > before - 0.02


def test_a_run_is_resumed_bit_for_bit(
    converted: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    whole, halves = tmp_path / "whole.safetensors", tmp_path / "halves.safetensors"
    options = ("--data", "digits", "--lr", 0.01, "--epochs", 2)
    assert spikeport("train", converted, *options, "-o", whole)[0] == 0
    stopped = load_checkpoint(whole)
    config = TrainConfig(architecture=str(converted), steps=4, lr=0.01, epochs=2)
    assert stopped.config == config

    def stop(record: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            config,
            digits(),
            stop,
            network=network_from_file(config, digits().input),
            checkpoint=halves,
        )
    assert len(load_checkpoint(halves).history) == 1
    assert spikeport("train", converted, *options, "-o", halves, "--resume")[0] == 0
    for name, value in network_of(halves).state_dict().items():
        assert torch.equal(value, stopped.model.state_dict()[name]), name
    provenance = network_of(halves).provenance
    assert provenance == stopped.model.provenance


def test_the_file_is_not_overwritten(converted: Path, spikeport: Spikeport) -> None:
    before = converted.read_bytes()
    code, _, err = spikeport("train", converted, "--data", "digits", "-o", converted)
    assert code == 2
    assert str(converted) in err
    assert converted.read_bytes() == before


def test_data_must_be_given(converted: Path, tmp_path: Path, spikeport: Spikeport) -> None:
    code, _, err = spikeport("train", converted, "-o", tmp_path / "a.safetensors")
    assert code == 2
    assert "needs --data" in err


def test_a_network_in_chip_arithmetic_is_refused(tmp_path: Path) -> None:
    config = ConversionConfig(steps=4, calibration=16, epochs=0)
    made = convert(trained_ann("conv"), digits(), config).network
    qat = prepare_qat(made, digits().train_x[:16], QuantizeConfig(), static=True)
    path = tmp_path / "qat.safetensors"
    known = checkpoint_of(made, digits())
    settings = replace(known.config, weight_bits=8)
    save_checkpoint(path, replace(known, model=qat, config=settings, own=False))
    with pytest.raises(InputError, match="is in chip arithmetic, which is trained further from"):
        network_from_file(TrainConfig(architecture=str(path)), digits().input)


@pytest.mark.parametrize("value", [{"conversion": 3}, "tuned", ["tuned"]])
def test_provenance_that_is_no_text_is_refused(converted: Path, tmp_path: Path, value: Any) -> None:
    header, arrays = unpack(converted, "damaged")
    path = tmp_path / "bad.safetensors"
    path.write_bytes(pack(with_digest({**header, "provenance": value}, arrays), arrays))
    with pytest.raises(InputError, match="'provenance"):
        load_checkpoint(path)


def test_reports_show_the_conversion(converted: Path, tmp_path: Path, spikeport: Spikeport) -> None:
    chip, folder = tmp_path / "a.spikeport", tmp_path / "ladder"
    for words in (
        ("quantize", converted, "-o", chip, "--calibration", 16),
        ("check", converted),
        ("check", chip, "--target", "loihi2"),
        ("energy", chip),
        ("inspect", chip),
    ):
        _, text, err = spikeport(*words)
        assert "TTRBR-style, reconstructed" in text, (words, err)
        assert "conversion" in text
    options = ("--samples", 8, "--lava-samples", 0, "-o", folder)
    _, text, err = spikeport("ladder", converted, *options)
    assert "Converted from an ANN" in text, err
    for page in ("report.html", "report.md", "ladder.json"):
        assert "TTRBR-style, reconstructed" in (folder / page).read_text()
