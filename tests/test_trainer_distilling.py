"""Training towards a teacher's answers: the loss, and resuming runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeport.errors import InputError
from spikeport.export import QuantizeConfig
from spikeport.trainer import (
    QATNetwork,
    SpikingNetwork,
    TrainConfig,
    load_checkpoint,
    load_digits_split,
    load_recipe,
    train,
)
from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.config import Optimizer, build_network
from spikeport.trainer.data import Dataset
from spikeport.trainer.loop import EpochRecord
from spikeport.trainer.loop.distillation import digest, find_teacher
from spikeport.trainer.loop.step import step
from spikeport.workflow import prepare_qat

CONFIG = TrainConfig(widths=(6, 12), steps=4, epochs=3, batch_size=64)
TAUGHT = dataclasses.replace(
    CONFIG,
    optimizer=Optimizer.ADAMW,
    lr=2e-3,
    weight_decay=0.0,
    weight_bits=4,
    epochs=2,
    distillation=0.8,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_split()


@pytest.fixture(scope="module")
def checkpoint(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "m.safetensors"
    train(CONFIG, digits, checkpoint=path)
    return path


def chip(path: Path, data: Dataset) -> QATNetwork:
    model = load_checkpoint(path).model
    assert isinstance(model, SpikingNetwork)
    return prepare_qat(model, data.train_x[:64], QuantizeConfig(weight_bits=4))


def gradients(network: torch.nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


@settings(max_examples=20, deadline=None)
@given(weight=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_the_loss_is_the_mean_of_both_by_their_weights(
    digits: Dataset, checkpoint: Path, weight: float, seed: int
) -> None:
    config = dataclasses.replace(CONFIG, distillation=weight, seed=seed)
    teacher = find_teacher(config, digits, checkpoint)
    assert teacher is not None
    network = build_network(config, digits.input, digits.classes).double().train()
    x, y = torch.tensor(digits.train_x[:30]).double(), torch.tensor(digits.train_y[:30])
    teacher.network.double()
    loss, _, _ = step(network, x, y, teacher=teacher)
    found = gradients(network)

    network.zero_grad()
    logs = network.training_pass(x)[0].log_softmax(1)
    soft = teacher.network(x).softmax(1)
    labels = -logs[torch.arange(30), y].mean()
    answers = -(soft * logs).sum(1).mean()
    wanted = (1 - weight) * labels + weight * answers
    (wanted / CONFIG.steps).backward()
    assert float(loss) == pytest.approx(float(wanted.detach()), rel=1e-9)
    for a, b in zip(found, gradients(network), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-12)


def test_a_run_with_a_teacher_stops_and_ends_in_the_same_weights(
    digits: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    def stop(record: EpochRecord) -> None:
        raise InterruptedError

    whole = train(TAUGHT, digits, start=chip(checkpoint, digits), teacher=checkpoint)
    path = tmp_path / "m.safetensors"
    with pytest.raises(InterruptedError):
        train(
            TAUGHT, digits, stop, checkpoint=path, start=chip(checkpoint, digits),
            teacher=checkpoint,
        )  # fmt: skip
    with pytest.raises(InputError, match="needs a teacher"):
        train(TAUGHT, digits, checkpoint=path, resume=True)
    with pytest.raises(InputError, match="was trained with another teacher"):
        train(TAUGHT, digits, checkpoint=path, resume=True, teacher=chip(checkpoint, digits))
    resumed = train(TAUGHT, digits, checkpoint=path, resume=True, teacher=checkpoint)
    assert resumed.history[-1].loss == whole.history[-1].loss
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    labels = dataclasses.replace(TAUGHT, distillation=0.0)
    alone = train(labels, digits, start=chip(checkpoint, digits), teacher=checkpoint)
    assert not all(
        torch.equal(a, b)
        for a, b in zip(whole.model.parameters(), alone.model.parameters(), strict=True)
    )


def test_a_teacher_stays_as_it_is_and_pulls_towards_its_answers(
    digits: Dataset, checkpoint: Path
) -> None:
    """With labels that say nothing, only a teacher's answers can teach."""
    teacher = load_checkpoint(checkpoint).model
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    shuffled = np.random.default_rng(0).permutation(digits.train_y)
    data = dataclasses.replace(digits, train_y=shuffled)
    config = dataclasses.replace(CONFIG, epochs=8, distillation=1.0)
    model = train(config, data, teacher=teacher).model
    with torch.no_grad():
        x = torch.tensor(digits.test_x)
        agreement = (model(x).argmax(1) == teacher(x).argmax(1)).double().mean()
    assert agreement > 0.85
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_teachers_that_cannot_answer(digits: Dataset, checkpoint: Path) -> None:
    def refusal(config: TrainConfig, data: Dataset, teacher: Path | SpikingNetwork | None) -> str:
        with pytest.raises(InputError) as caught:
            train(config, data, teacher=teacher)
        return str(caught.value)

    config = dataclasses.replace(CONFIG, distillation=0.5)
    assert refusal(config, digits, None) == (
        "training: distillation is 0.5, needs a teacher, a trained network (--from CHECKPOINT)"
    )
    narrow = dataclasses.replace(digits.input, shape=(1, 4, 16))
    wide = dataclasses.replace(
        digits,
        input=narrow,
        train_x=digits.train_x[:].reshape(-1, 1, 4, 16),
        test_x=digits.test_x[:].reshape(-1, 1, 4, 16),
    )
    assert f"{checkpoint}: expects Input(" in refusal(config, wide, checkpoint)
    more = dataclasses.replace(digits, classes=11)
    assert refusal(config, more, checkpoint) == (f"{checkpoint}: has 10 classes, the data has 11")
    other = build_network(CONFIG, digits.input, 3)
    assert "teacher: has 3 classes" in refusal(config, digits, other.eval())
    with pytest.raises(InputError, match=r"distillation is 1.5, must lie in 0..1"):
        TrainConfig(distillation=1.5)


def test_a_recipe_asks_for_it_in_chip_arithmetic() -> None:
    recipe = load_recipe("digits", {"chip.distillation": 0.7})
    assert recipe.training.distillation == 0
    assert recipe.on_chip(4).distillation == 0.7


def test_teachers_are_told_apart_by_all_that_decides_their_answers(
    digits: Dataset, checkpoint: Path
) -> None:
    made: list[AnyNetwork] = [
        build_network(dataclasses.replace(CONFIG, **change), digits.input, 10)
        for change in ({}, {"decay": 0.9}, {"v_threshold": 0.5}, {"steps": 8}, {"seed": 1})
    ]
    model = load_checkpoint(checkpoint).model
    assert isinstance(model, SpikingNetwork)
    made += [
        prepare_qat(model, digits.train_x[:64], QuantizeConfig(weight_bits=bits)) for bits in (4, 8)
    ]
    assert len({digest(network) for network in made}) == len(made)
    assert digest(build_network(CONFIG, digits.input, 10)) == digest(made[0])
