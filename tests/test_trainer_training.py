"""The training loop: accuracy on real digits, seeds, resuming, and clear errors."""

from __future__ import annotations

import dataclasses
import math
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.energy import estimate_energy, load_profile
from spikeport.errors import InputError
from spikeport.network import Coding, Input, Reset
from spikeport.runs import encode_samples
from spikeport.simulators import run_native
from spikeport.trainer import (
    Augment,
    Dataset,
    EpochRecord,
    TrainConfig,
    build_network,
    evaluate,
    load_checkpoint,
    load_digits_split,
    measure_accuracy,
    save_checkpoint,
    train,
)
from spikeport.trainer.config import Precision
from spikeport.trainer.data import Feed
from spikeport.trainer.data.dataset import hold_out
from spikeport.trainer.data.events import Binning
from spikeport.trainer.data.frames import Frames
from spikeport.trainer.data.pixels import PixelGrid, Pixels
from spikeport.trainer.loop import EpochProgress
from spikeport.trainer.loop.checkpoint import best_path
from spikeport.trainer.loop.finite import check_finite
from spikeport.trainer.loop.training import step
from spikeport.trainer.measure.metrics import PROBE
from spikeport.workflow import export_float, quantize
from tests.helpers.training import (
    LONG,
    TINY,
    KilledError,
    assert_same_weights,
    killing_after,
    state,
    tiny_data,
)

ROOT = Path(__file__).parent.parent


def tiny_pixels() -> Dataset:
    """The same as bytes."""
    data = tiny_data()
    codes = np.rint(np.asarray(data.train_x) * 255).astype(np.uint8)
    grid = PixelGrid()
    x = Pixels(codes, grid.table(1))
    return dataclasses.replace(data, train_x=x, test_x=x, input=grid.input((1, 4, 4)))


def losses(history: tuple[EpochRecord, ...]) -> list[float]:
    return [record.loss for record in history]


def test_demo_recipe_reads_held_out_digits() -> None:
    data = load_digits_split()
    seen: list[EpochRecord] = []
    result = train(TrainConfig(), data, seen.append)
    run = evaluate(result.model, data.test_x)
    accuracy = float((run.predictions == data.test_y).mean())
    assert accuracy >= 0.975
    assert [record.epoch for record in seen] == list(range(1, 31))
    assert tuple(seen) == result.history
    assert seen[-1].loss < 0.1 < seen[0].loss
    assert 0.05 < seen[-1].firing_rate < 0.4
    assert seen[-1].accuracy > 0.99
    assert run.counts is not None
    per_step = sum(run.counts.spikes.values()) / sum(run.counts.visits.values())
    assert per_step == pytest.approx(seen[-1].firing_rate, abs=0.05)


@pytest.mark.parametrize("reset", Reset)
def test_a_perceptron_learns_digits(reset: Reset) -> None:
    data = load_digits_split()
    config = TrainConfig("mlp", widths=(64,), steps=4, epochs=8, reset=reset)
    run = evaluate(train(config, data).model, data.test_x)
    assert float((run.predictions == data.test_y).mean()) >= 0.94


def test_same_seed_same_weights_and_another_seed_others() -> None:
    data = tiny_data()
    torch.manual_seed(123)
    first = train(TINY, data)
    torch.manual_seed(456)
    second = train(TINY, data)
    assert_same_weights(state(first), state(second))
    assert losses(first.history) == losses(second.history)
    other = train(dataclasses.replace(TINY, seed=3), data)
    assert not torch.equal(state(other)["layers.conv1.weight"], state(first)["layers.conv1.weight"])


def test_training_leaves_global_state_alone() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(dataclasses.replace(TINY, epochs=1), tiny_data())
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


BRIGHT = dataclasses.replace(
    TINY, augment=Augment(crop_padding=1, flip=True, roll=1, cutout=2), validation=0.2
)


@pytest.mark.parametrize("batches", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("stored", [False, True])
def test_a_run_killed_within_an_epoch_resumes_to_the_same_bits(
    tmp_path: Path, batches: int, stored: bool
) -> None:
    """Three batches make an epoch; augmentation resumes where it was."""
    data, path = (tiny_pixels() if stored else tiny_data()), tmp_path / "run.safetensors"
    whole = train(BRIGHT, data, workers=0)
    with pytest.raises(KilledError):
        train(BRIGHT, data, killing_after(batches), checkpoint=path, minutes=0)
    stopped = load_checkpoint(path)
    assert (len(stopped.history), stopped.progress.batches) == divmod(batches, 3)
    resumed = train(BRIGHT, data, checkpoint=path, resume=True, workers=2)
    assert_same_weights(state(resumed), state(whole))
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert dataclasses.replace(ours, seconds=0.0) == dataclasses.replace(theirs, seconds=0.0)
    assert whole.best is not None
    assert resumed.best is not None
    assert_same_weights(dict(resumed.best.state_dict()), dict(whole.best.state_dict()))
    assert load_checkpoint(path).progress == EpochProgress()


def test_samples_change_from_epoch_to_epoch_and_only_as_asked() -> None:
    data = tiny_pixels()
    plain, bright = (
        Feed(data.train_x, data.train_y, np.arange(50), augment, seed=1, batch_size=50)
        for augment in (Augment(), BRIGHT.augment)
    )

    def samples(feed: Feed, epoch: int) -> dict[bytes, int]:
        ((x, y, _),) = feed.epoch(epoch, 0, 0)
        assert sorted(y.tolist()) == sorted(data.train_y.tolist())
        return Counter(sample.numpy().tobytes() for sample in x)

    assert samples(plain, 0) == samples(plain, 1)
    assert samples(bright, 0) != samples(bright, 1)
    assert samples(bright, 0) == samples(bright, 0)


def test_held_out_samples_are_never_trained_on_and_choose_the_best_epoch(tmp_path: Path) -> None:
    """Labels of held-out samples may be anything: weights do not follow them."""
    data, path = tiny_data(), tmp_path / "run.safetensors"
    config = dataclasses.replace(TINY, validation=0.2, epochs=4)
    result = train(config, data, checkpoint=path)
    kept, held = hold_out(data.train_y, 0.2, config.seed)
    assert len(held) == 10
    x = np.asarray(data.train_x).copy()
    x[held] = 1 - x[held]
    blind = train(config, dataclasses.replace(data, train_x=x), workers=1)
    assert_same_weights(state(blind), state(result))
    rates = [record.valid_accuracy for record in result.history]
    assert None not in rates
    assert result.best_epoch == 1 + max(range(4), key=lambda i: (rates[i], -i))
    best = load_checkpoint(best_path(path))
    assert len(best.history) == result.best_epoch
    measured = measure_accuracy(best.model, data.train_x, data.train_y, held)
    assert measured == best.history[-1].valid_accuracy
    scores = best.model(torch.from_numpy(data.train_x[held]))
    assert measured == float((scores.argmax(1).numpy() == data.train_y[held]).mean())
    assert kept.size + held.size == 50


def test_a_missing_or_foreign_best_epoch_is_not_resumed_from(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    config = dataclasses.replace(TINY, validation=0.2)
    train(config, tiny_data(), checkpoint=path)
    untrained = dataclasses.replace(load_checkpoint(path), history=())
    save_checkpoint(best_path(path), untrained)
    with pytest.raises(
        InputError, match=r"best\.safetensors: contains epoch 0, but the best one is"
    ):
        train(config, tiny_data(), checkpoint=path, resume=True)
    best_path(path).unlink()
    with pytest.raises(InputError, match=r"run\.best\.safetensors: no such file"):
        train(config, tiny_data(), checkpoint=path, resume=True)


def test_events_train_too(tmp_path: Path) -> None:
    """Frames of their own for every step: which half of a line saw events."""
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    counts = rng.integers(0, 2, (40, 3, 1, 4, 4))
    counts[labels == 1, ..., 2:] += 2
    counts[labels == 0, ..., :2] += 2
    frames = Frames(counts.astype(np.uint8))
    input = Binning(3).input((1, 4, 4))
    data = Dataset("halves", frames, labels, frames, labels, input, 2)
    config = dataclasses.replace(TINY, epochs=6)
    result = train(config, data, checkpoint=tmp_path / "e.safetensors")
    assert measure_accuracy(result.model, data.test_x, data.test_y) > 0.9
    assert result.history[-1].energy_uj is not None


def test_energy_is_that_of_the_deployed_network_within_rounding() -> None:
    data = load_digits_split()
    config = TrainConfig("mlp", widths=(32,), steps=4, epochs=3)
    result = train(config, data)
    graph = export_float(result.model)
    network = quantize(graph, data.train_x[:128]).network
    samples = encode_samples(network.inputs, network.steps, data.train_x[:PROBE])
    counts = run_native(network, samples).counts
    assert counts is not None
    report = estimate_energy(network, counts, load_profile(result.config.energy_profile))
    found = result.history[-1].energy_uj
    assert found == pytest.approx(report.dynamic.nominal / PROBE / 1e6, rel=0.05)


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("channels_last", [False, True])
def test_other_ways_of_computing_learn_as_well_and_resume(
    tmp_path: Path, precision: Precision, channels_last: bool
) -> None:
    config = dataclasses.replace(
        TINY, epochs=8, precision=precision, channels_last=channels_last, validation=0.2
    )
    data, path = tiny_data(80), tmp_path / "run.safetensors"
    whole = train(config, data)
    assert measure_accuracy(whole.model, data.test_x, data.test_y) > 0.9
    for network in (whole.model, whole.best):
        assert network is not None
        for value in network.state_dict().values():
            assert value.is_contiguous()
            assert value.dtype in (torch.float32, torch.int64)
    with pytest.raises(KilledError):
        train(config, data, killing_after(6), checkpoint=path, minutes=0)
    assert_same_weights(state(train(config, data, checkpoint=path, resume=True)), state(whole))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, as it loads its compiler
def test_compiled_passes_learn_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for compiling, but run by torch itself: generating code takes minutes."""
    seen: list[object] = []

    def traced(forward: Any) -> Any:
        seen.append(forward)
        return compile_by(forward, backend="eager")

    compile_by = torch.compile
    monkeypatch.setattr(torch, "compile", traced)
    data = tiny_data(80)
    result = train(dataclasses.replace(TINY, epochs=8, compile=True), data)
    assert len(seen) == 1
    assert measure_accuracy(result.model, data.test_x, data.test_y) > 0.9


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiler_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> Any:
        raise OSError("no compiler")

    compile_by = torch.compile
    monkeypatch.setattr(torch, "compile", lambda forward: compile_by(forward, backend=broken))
    with pytest.raises(InputError, match=r"torch cannot compile here: .* OSError: no compiler$"):
        train(dataclasses.replace(TINY, compile=True), tiny_data())


def test_what_the_data_cannot_undergo_is_refused() -> None:
    for augment, message in (
        (Augment(auto_augment=True), "auto_augment is for colour images"),
        (Augment(resized_crop=True), "resized_crop needs images from folders"),
    ):
        with pytest.raises(InputError, match=message):
            train(dataclasses.replace(TINY, augment=augment), tiny_data())
    with pytest.raises(InputError, match="device 'abacus' cannot be used here"):
        train(dataclasses.replace(TINY, device="abacus"), tiny_data())
    with pytest.raises(InputError, match=r"validation is 1\.0, must lie in 0\.\.1"):
        dataclasses.replace(TINY, validation=1.0)


@pytest.mark.parametrize("after", [1, 2])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path, after: int) -> None:
    data, path = tiny_data(), tmp_path / "run.safetensors"
    whole = train(TINY, data)

    def kill(record: EpochRecord) -> None:
        if record.epoch == after:
            raise KilledError

    with pytest.raises(KilledError):
        train(TINY, data, kill, checkpoint=path)
    assert len(load_checkpoint(path).history) == after
    resumed = train(TINY, data, checkpoint=path, resume=True)
    assert_same_weights(state(resumed), state(whole))
    assert losses(resumed.history) == losses(whole.history)
    saved = load_checkpoint(path)
    assert_same_weights(dict(saved.model.state_dict()), state(whole))
    again = train(TINY, data, checkpoint=path, resume=True)
    assert_same_weights(state(again), state(whole))


def test_a_process_killed_outright_resumes_to_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    script = (
        "import sys\n"
        "from spikeport.trainer import train\n"
        "from tests.helpers.training import LONG, tiny_data\n"
        "train(LONG, tiny_data(), checkpoint=sys.argv[1], minutes=0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT) as process:
        while process.poll() is None and not (path.exists() and load_checkpoint(path).history):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert 1 <= len(load_checkpoint(path).history) < LONG.epochs
    resumed = train(LONG, tiny_data(), checkpoint=path, resume=True)
    assert_same_weights(state(resumed), state(train(LONG, tiny_data())))


def test_a_run_killed_in_its_first_epoch_can_resume(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    broken = dataclasses.replace(TINY, lr=1e38)
    with pytest.raises(InputError, match="in epoch 1"):
        train(broken, tiny_data(), checkpoint=path)
    loaded = load_checkpoint(path)
    assert loaded.history == ()
    expected = dict(build_network(broken, tiny_data().input, 4).state_dict())
    assert_same_weights(dict(loaded.model.state_dict()), expected)


def test_only_the_same_run_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    config = dataclasses.replace(TINY, epochs=1)
    train(config, tiny_data(), checkpoint=path)
    with pytest.raises(InputError, match=r"trained with lr 0\.3, cannot continue with 0\.2"):
        train(dataclasses.replace(config, lr=0.2), tiny_data(), checkpoint=path, resume=True)
    with pytest.raises(InputError, match=r"trained on other data \('quadrants'\)"):
        train(config, tiny_data(40), checkpoint=path, resume=True)
    with pytest.raises(InputError, match="resume needs a checkpoint path"):
        train(config, tiny_data(), resume=True)
    with pytest.raises(InputError, match="none: no such file"):
        train(config, tiny_data(), checkpoint=tmp_path / "none", resume=True)


def test_weight_decay_spares_biases_and_batch_norm() -> None:
    """With a learning rate too small to matter, only the decayed weights shrink."""
    data = tiny_data(16)
    base = dataclasses.replace(TINY, epochs=1, lr=1e-6, momentum=0.0, weight_decay=0.0)
    plain = state(train(base, data))
    decayed = state(train(dataclasses.replace(base, weight_decay=1e5), data))
    for name, value in plain.items():
        if name.endswith("weight") and "norm" not in name:
            torch.testing.assert_close(decayed[name], 0.9 * value, rtol=1e-3, atol=1e-6)
        else:
            assert torch.equal(decayed[name], value), name


def test_learning_rate_follows_a_cosine() -> None:
    config = TrainConfig(lr=0.4, epochs=10)
    assert config.learning_rate(0) == 0.4
    assert config.learning_rate(5) == pytest.approx(0.2)
    assert config.learning_rate(9) == pytest.approx(0.2 * (1 + math.cos(0.9 * math.pi)))
    history = train(dataclasses.replace(TINY, lr=0.4), tiny_data()).history
    assert [record.lr for record in history] == pytest.approx([0.4, 0.3, 0.1])


def test_diverging_training_stops_and_names_epoch_and_layer() -> None:
    with pytest.raises(
        InputError, match=r"training: .* in epoch 1, first in layer '\w+', is NaN or infinite"
    ):
        train(dataclasses.replace(TINY, lr=1e38), tiny_data())


@pytest.mark.parametrize(
    ("layer", "found"), [("conv1", "norm1"), ("norm1", "lif1"), ("conv2", "norm2")]
)
def test_nan_hidden_behind_silent_neurons_is_found(layer: str, found: str) -> None:
    data = tiny_data()
    network = build_network(TINY, data.input, data.classes)
    for parameter in network.layers[layer].parameters():
        torch.nn.init.constant_(parameter, math.nan)
    loss, _, record = step(network, torch.tensor(data.train_x), torch.tensor(data.train_y))
    assert torch.isfinite(loss)
    with pytest.raises(InputError, match=f"activation in epoch 3, first in layer '{found}'"):
        check_finite(network, loss, record, 2)


def test_infinite_gradient_is_found() -> None:
    data = tiny_data()
    network = build_network(TINY, data.input, data.classes)
    loss, _, record = step(network, torch.tensor(data.train_x), torch.tensor(data.train_y))
    check_finite(network, loss, record, 0)
    gradient = next(network.layers["conv2"].parameters()).grad
    assert gradient is not None
    gradient[0] = math.inf
    with pytest.raises(InputError, match="gradient in epoch 1, first in layer 'conv2'"):
        check_finite(network, loss, record, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, r"training: steps \(T\) is 0, must lie in 1"),
        ({"steps": 2.0}, r"training: steps \(T\) is 2.0, must be an integer"),
        ({"epochs": 0}, "training: epochs is 0"),
        ({"batch_size": 0}, "training: batch_size is 0"),
        ({"seed": -1}, "training: seed is -1"),
        ({"threads": 0}, "training: threads is 0"),
        ({"lr": 0.0}, "training: lr is 0.0, must be positive"),
        ({"lr": math.nan}, "training: lr is nan, must be positive"),
        ({"momentum": 1.0}, "training: momentum is 1.0"),
        ({"weight_decay": -1.0}, "training: weight_decay is -1.0"),
        ({"decay": 1.1}, "LIF: decay is 1.1"),
        ({"v_threshold": -1.0}, "LIF: v_threshold is -1.0"),
        ({"widths": ()}, "training: widths is empty"),
        ({"widths": (4, 0)}, "training: width of a layer is 0"),
        ({"architecture": "resnet"}, "architecture is 'resnet', must be one of 'conv', 'mlp'"),
        ({"reset": "half"}, "reset is 'half', must be one of 'zero', 'subtract'"),
    ],
)
def test_wrong_settings_are_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**changes)


def test_networks_that_do_not_fit_the_data_are_refused() -> None:
    with pytest.raises(InputError, match="too small for the 3 pools of 4 convolutions"):
        train(dataclasses.replace(TINY, widths=(2, 2, 2, 2)), tiny_data())
    flat = Input("input", (5,), Coding.GRADED, 0, 16, scale=16.0)
    with pytest.raises(InputError, match=r"shape \(5,\), a convolutional network needs"):
        build_network(TINY, flat, 4)
