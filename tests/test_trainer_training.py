"""The training loop: accuracy on real digits, seeds, resuming, and clear errors."""

from __future__ import annotations

import dataclasses
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.network import Coding, Input, Reset
from spikeport.trainer import (
    Dataset,
    EpochRecord,
    TrainConfig,
    TrainingResult,
    build_network,
    evaluate,
    load_checkpoint,
    load_digits_split,
    train,
)
from spikeport.trainer.guard import check_finite
from spikeport.trainer.training import step

TINY = TrainConfig(widths=(3, 4), steps=3, epochs=3, batch_size=16, seed=2)

LONG = dataclasses.replace(TINY, epochs=60)
ROOT = Path(__file__).parent.parent


def tiny_data(count: int = 50) -> Dataset:
    """Which quadrant of an 4x4 image is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, count)
    x = rng.random((count, 1, 4, 4)) * 0.3
    for i, label in enumerate(labels):
        row, column = divmod(int(label), 2)
        x[i, 0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 0.6
    input = Input("input", (1, 4, 4), Coding.GRADED, 0, 16, scale=16.0)
    x = np.rint(x * 16) / 16
    return Dataset("quadrants", x, labels, x, labels, input, 4)  # type: ignore[arg-type]


def state(result: TrainingResult) -> dict[str, torch.Tensor]:
    return dict(result.model.state_dict())


def assert_same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


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
    config = TrainConfig("mlp", widths=(64,), steps=4, epochs=8, reset=reset)  # type: ignore[arg-type]
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


class KilledError(Exception):
    """Stands for a process that ends between two epochs."""


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
        "import sys, dataclasses\n"
        "from tests.test_trainer_training import LONG, tiny_data, train\n"
        "train(LONG, tiny_data(), checkpoint=sys.argv[1])\n"
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
    with pytest.raises(InputError, match=r"trained with lr 0\.3, cannot go on with 0\.2"):
        train(dataclasses.replace(config, lr=0.2), tiny_data(), checkpoint=path, resume=True)
    with pytest.raises(InputError, match=r"trained on other data \('quadrants'\)"):
        train(config, tiny_data(40), checkpoint=path, resume=True)
    with pytest.raises(InputError, match="resume needs a checkpoint path"):
        train(config, tiny_data(), resume=True)
    with pytest.raises(InputError, match="does not exist"):
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
