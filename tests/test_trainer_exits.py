"""Training with exits: where they are, their loss, runs that resume, and what nobody else sees."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.trainer import (
    LIF,
    Checkpoint,
    ExitConfig,
    GradientRule,
    Optimizer,
    SpikingNetwork,
    TrainConfig,
    build_network,
    from_module,
    load_checkpoint,
    load_recipe,
    save_checkpoint,
    train,
)
from spikeport.trainer.config import Activation, Precision
from spikeport.trainer.exits import Exits, exit_loss
from spikeport.trainer.loop.finite import check_finite
from spikeport.trainer.loop.optimizer import build_optimizer
from spikeport.trainer.loop.step import step
from spikeport.trainer.models import ARCHITECTURES
from tests.helpers.training import (
    TINY,
    KilledError,
    assert_same_weights,
    killing_after,
    state,
    tiny_data,
)

TAUGHT = dataclasses.replace(TINY, exits=ExitConfig())
IMAGE = Input("input", (3, 32, 32), Coding.GRADED, 0, 16, scale=16.0)


# The loss


def plain_loss(scores: list[Tensor], labels: Tensor, options: ExitConfig) -> Tensor:
    """The equation, sample by sample."""
    a, b, tau = options.weight, options.distillation, options.temperature
    count, total = len(labels), torch.zeros((), dtype=scores[0].dtype)
    for z in scores[:-1]:
        for i in range(count):
            total = total - a * z[i].log_softmax(0)[labels[i]] / count
    divergences = []
    for i in range(count):
        right = [z[i].detach() for z in scores if int(z[i].argmax()) == int(labels[i])]
        if not right:
            continue
        p = (torch.stack(right).mean(0) / tau).softmax(0)
        logs = [(z[i] / tau).log_softmax(0) for z in scores]
        divergences.append(torch.stack([(p * (p.log() - q)).sum() for q in logs]).sum())
    if divergences:
        total = total + b * tau**2 * torch.stack(divergences).mean()
    return total


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Tensor], Tensor, ExitConfig]:
    """Scores, with ties; labels that all, some or none of them find."""
    exits, count, classes = (draw(st.integers(low, 5)) for low in (1, 1, 2))
    value = st.integers(-6, 6).map(lambda n: n / 2)
    size = (exits + 1) * count * classes
    flat = draw(st.lists(value, min_size=size, max_size=size))
    z = torch.tensor(flat, dtype=torch.float64).view(exits + 1, count, classes)
    labels = torch.tensor(
        draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    )
    found = functional.one_hot(labels, classes) * 10.0
    z = z + draw(st.sampled_from([0, 1, -1])) * found
    weight, distillation = draw(st.floats(0, 2)), draw(st.floats(0.01, 2))
    options = ExitConfig(weight, distillation, draw(st.floats(0.5, 5)))
    return [each.clone().requires_grad_() for each in z], labels, options


@settings(max_examples=60, deadline=None)
@given(answers())
def test_loss_and_gradient_are_those_of_the_equation(
    given: tuple[list[Tensor], Tensor, ExitConfig],
) -> None:
    scores, labels, options = given
    found, wanted = exit_loss(scores, labels, options), plain_loss(scores, labels, options)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(
        torch.autograd.grad(found, scores),
        torch.autograd.grad(wanted, scores, allow_unused=True, materialize_grads=True),
        rtol=1e-7,
        atol=1e-11,
    )


@settings(max_examples=30, deadline=None)
@given(answers(), st.integers(0, 5))
def test_the_parts_of_a_batch_sum_to_its_loss(
    given: tuple[list[Tensor], Tensor, ExitConfig], cut: int
) -> None:
    """Of the labels; the divergence is a mean over the samples of all parts."""
    scores, labels, options = given
    options = dataclasses.replace(options, weight=1.0, distillation=0.0)
    parts = [
        exit_loss([z[part] for z in scores], labels[part], options, size=len(labels))
        for part in (slice(None, cut), slice(cut, None))
        if len(labels[part])
    ]
    torch.testing.assert_close(sum(parts), exit_loss(scores, labels, options))


def test_scores_that_agree_and_are_right_diverge_from_nothing() -> None:
    z = torch.tensor([[4.0, 1.0], [0.0, 1.0]])
    options = ExitConfig(weight=0.0, distillation=1.0)
    assert float(exit_loss([z, z], torch.tensor([0, 1]), options)) == pytest.approx(0, abs=1e-6)
    assert float(exit_loss([z, z + 1], torch.tensor([1, 0]), options)) == 0  # nobody is right


def test_a_step_has_the_gradient_of_both_losses_and_returns_that_of_the_network() -> None:
    data = tiny_data()
    network = build_network(TINY, data.input, 4).double()
    exits = Exits(network, ExitConfig(0.7, 0.4, 2.0)).double()
    x, y = torch.tensor(data.train_x).double(), torch.tensor(data.train_y)
    loss, _, _ = step(network, x, y, exits=exits)
    parameters = [*network.parameters(), *exits.parameters()]
    found = [p.grad for p in parameters]
    scores, record = network.training_pass(x)
    own = functional.cross_entropy(scores, y)
    total = own + plain_loss([*exits(record.rates), scores], y, exits.options)
    wanted = torch.autograd.grad(total / TINY.steps, parameters)
    assert float(loss) == pytest.approx(float(own.detach()), rel=1e-12)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-12)


# Where they are


PLACES = {
    "conv": ("lif1", "lif2"),
    "mlp": ("lif1", "lif2"),
    "vgg11": ("lif1", "lif3", "lif5", "lif6"),
    "vgg16": ("lif2", "lif4", "lif7", "lif10"),
    "dvs_net": ("lif2", "lif4", "lif6"),
    "resnet18": ("s1b2_lif2", "s2b2_lif2", "s3b2_lif2"),
    "resnet19": ("s1b3_lif2", "s2b3_lif2"),
    "resnet20": ("s1b3_lif2", "s2b3_lif2"),
    "resnet56": ("s1b9_lif2", "s2b9_lif2"),
    "resnet110": ("s1b18_lif2", "s2b18_lif2"),
    "preact_resnet20": ("s2b1_lif1", "s3b1_lif1"),
    "preact_resnet56": ("s2b1_lif1", "s3b1_lif1"),
    "preact_resnet110": ("s2b1_lif1", "s3b1_lif1"),
    "resnet34": ("stem_lif", "s1b3_lif2", "s2b4_lif2", "s3b6_lif2"),
    "sew_resnet34": ("stem_lif", "s1b3_lif2", "s2b4_lif2", "s3b6_lif2"),
    "preact_resnet34": ("s2b1_lif1", "s3b1_lif1", "s4b1_lif1"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_exits_before_its_last_stage(name: str) -> None:
    widths = (4, 6, 8) if ARCHITECTURES[name].layered else (4,)
    config = TrainConfig(name, widths, steps=2)
    size = 64 if name.endswith("34") else 32
    network = build_network(config, dataclasses.replace(IMAGE, shape=(3, size, size)), 10)
    exits = Exits(network, ExitConfig())
    assert tuple(exits.branches) == PLACES[name]
    scores, record = network.training_pass(torch.rand(3, 3, size, size))
    assert [z.shape for z in exits(record.rates)] == [(3, 10)] * len(PLACES[name])
    exits.loss(record.rates, scores, torch.tensor([1, 2, 3])).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in exits.parameters())
    first = network.weight_parameters()[0]  # before every exit
    assert first.grad is not None
    assert float(first.grad.abs().max()) > 0


def test_exits_of_resnet_18_are_those_published() -> None:
    """A block per stage that follows, each with twice the channels; counted by hand for the last:
    of 256 channels, to 512.
    """
    network = build_network(TrainConfig("resnet18", (64,), steps=2), IMAGE, 100)
    exits = Exits(network, ExitConfig())
    skips = [
        tuple(parameter.shape[:2])
        for name, parameter in exits.named_parameters()
        if name.endswith("skip.weight")
    ]
    steps = [(128, 64), (256, 128), (512, 256)]
    assert skips == [*steps, *steps[1:], *steps[2:]]
    last = sum(p.numel() for p in exits.branches["s3b2_lif2"].parameters())
    convolutions = 9 * 256 + 256**2 + 9 * 256 + 256 * 512 + 256 * 512
    assert last == convolutions + 2 * (256 + 512 + 512) + 512 * 100 + 100


class Sound(nn.Module):
    """Along one axis, without padding: neighbouring lengths are one stage."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), LIF(v_threshold=0.3),  # 23
            nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), LIF(v_threshold=0.3),  # 21
            nn.Conv1d(4, 5, 4, stride=2, padding=1), nn.BatchNorm1d(5), LIF(v_threshold=0.3),  # 10
            nn.Flatten(), nn.Linear(50, 7), LIF(v_threshold=0.3),
            nn.Linear(7, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Flat(nn.Module):
    """One stage with positions, then layers without: each is a stage."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 3, 3, padding=1), LIF(v_threshold=0.2)]
        layers += [nn.Flatten(), nn.Linear(48, 6)]
        layers += [part for _ in range(hidden) for part in (LIF(v_threshold=0.2), nn.Linear(6, 6))]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


def test_networks_of_ones_own_have_exits_too() -> None:
    sound = from_module(Sound(), Input("x", (2, 25), Coding.GRADED, 0, 16, scale=16.0), 3)
    exits = Exits(sound, ExitConfig())
    assert tuple(exits.branches) == ("layers_5",)
    scores, record = sound.training_pass(torch.rand(6, 2, 25))
    assert exits(record.rates)[0].shape == scores.shape == (6, 4)

    flat = from_module(Flat(2), tiny_data().input, 3)
    exits = Exits(flat, ExitConfig())
    assert tuple(exits.branches) == ("layers_1", "layers_4")
    _, record = flat.training_pass(torch.rand(6, 1, 4, 4))
    assert [z.shape for z in exits(record.rates)] == [(6, 6)] * 2


def test_a_network_without_a_place_for_exits_is_refused(tmp_path: Path) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), LIF(v_threshold=0.2))
    for module, found in ((Flat(0), "those of 'layers_1' only"), (linear, "none")):
        network = from_module(module, tiny_data().input, TINY.steps)
        with pytest.raises(InputError, match=f"exits need hidden neurons .* has {found}$"):
            train(TAUGHT, tiny_data(), network=network)
    single = dataclasses.replace(TAUGHT, architecture="mlp", widths=(5,))
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="those of 'lif1' only"):
        train(single, tiny_data(), checkpoint=path)
    assert not path.exists()


# Training


def test_exits_change_the_weights_and_everything_learns() -> None:
    data = tiny_data(80)
    config = dataclasses.replace(TINY, epochs=8)
    plain, taught = (
        train(config, data),
        train(dataclasses.replace(config, exits=ExitConfig()), data),
    )
    assert not torch.equal(
        state(plain)["layers.conv1.weight"], state(taught)["layers.conv1.weight"]
    )
    losses = [record.loss for record in taught.history]
    assert losses[-1] < 0.6 * losses[0]
    assert taught.history[-1].accuracy > 0.9


def test_the_exits_learn_the_labels_too(tmp_path: Path) -> None:
    data, path = tiny_data(80), tmp_path / "a.safetensors"
    train(dataclasses.replace(TAUGHT, epochs=8), data, checkpoint=path)
    trained = load_checkpoint(path)
    network, exits = trained.model.train(), trained.exits
    assert isinstance(network, SpikingNetwork)
    assert exits is not None
    x, y = torch.tensor(data.train_x), torch.tensor(data.train_y)
    (scores,) = exits(network.training_pass(x)[1].rates)
    assert float((scores.argmax(1) == y).double().mean()) > 0.8


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": Optimizer.ADAMW, "lr": 1e-2},
        {"precision": Precision.BFLOAT16, "channels_last": True},
        {"rule": GradientRule.RATE_S},
        {"rule": GradientRule.BPTT_M},
        {"architecture": "mlp", "energy_penalty": 0.5},
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Three batches make an epoch: between and within epochs."""
    config = dataclasses.replace(TAUGHT, validation=0.2, **changes)
    data, path = tiny_data(), tmp_path / "run.safetensors"
    whole_path = tmp_path / "whole.safetensors"
    whole = train(config, data, checkpoint=whole_path)
    for batches in (5,) if changes else (3, 5):
        with pytest.raises(KilledError):
            train(config, data, killing_after(batches), checkpoint=path, minutes=0)
        resumed = train(config, data, checkpoint=path, resume=True)
        assert_same_weights(state(resumed), state(whole))
        ours, theirs = load_checkpoint(path), load_checkpoint(whole_path)
        assert ours.exits is not None
        assert theirs.exits is not None
        assert_same_weights(dict(ours.exits.state_dict()), dict(theirs.exits.state_dict()))
        assert_same_weights(dict(ours.optimizer), dict(theirs.optimizer))
    untrained = Exits(build_network(config, data.input, 4), ExitConfig(), config.seed)
    assert theirs.exits is not None
    for name, value in theirs.exits.state_dict().items():
        assert not torch.equal(value, untrained.state_dict()[name]), name


def test_weight_decay_is_for_weights_only() -> None:
    network = build_network(TINY, tiny_data().input, 4)
    exits = Exits(network, ExitConfig())
    optimizer = build_optimizer(TAUGHT, network, exits, {})
    decayed, others = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    for name, parameter in exits.named_parameters():
        weight = parameter.ndim > 1
        assert id(parameter) in (decayed if weight else others), name
    assert len(decayed) + len(others) == len([*network.parameters(), *exits.parameters()])


def test_exits_do_not_change_the_initial_weights_of_the_network(tmp_path: Path) -> None:
    data = tiny_data()
    broken = dataclasses.replace(TAUGHT, lr=1e38)
    with pytest.raises(InputError, match="in epoch 1"):
        train(broken, data, checkpoint=tmp_path / "a.safetensors")
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    expected = dict(build_network(TINY, data.input, 4).state_dict())
    assert_same_weights(dict(loaded.model.state_dict()), expected)
    again = Exits(build_network(TINY, data.input, 4), ExitConfig(), TINY.seed)
    assert loaded.exits is not None
    assert_same_weights(dict(loaded.exits.state_dict()), dict(again.state_dict()))


def test_an_infinite_gradient_of_an_exit_is_found() -> None:
    data = tiny_data()
    network = build_network(TINY, data.input, 4)
    exits = Exits(network, ExitConfig())
    x, y = torch.tensor(data.train_x), torch.tensor(data.train_y)
    loss, _, record = step(network, x, y, exits=exits)
    check_finite(network, loss, record, 0, exits)
    gradient = next(exits.parameters()).grad
    assert gradient is not None
    gradient[0] = torch.inf
    with pytest.raises(InputError, match="gradient in epoch 1, first in layer 'exit of lif1'"):
        check_finite(network, loss, record, 0, exits)


def test_batches_of_one_sample_are_refused_for_the_norms_of_exits() -> None:
    """Also if the network itself has no batch norm."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), LIF(), nn.AvgPool2d(2), nn.Conv2d(3, 3, 1), LIF(),
        nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip
    data = tiny_data()
    network = from_module(module, data.input, TINY.steps)
    train(dataclasses.replace(TINY, epochs=1, batch_size=1), data, network=network)
    with pytest.raises(InputError, match=r"batch norm 'exits\.branches\..*norm1' needs several"):
        train(dataclasses.replace(TAUGHT, batch_size=1), data, network=network)


# What others see


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    train(dataclasses.replace(TAUGHT, epochs=1), tiny_data(), checkpoint=path)
    return path


def test_the_network_of_a_checkpoint_has_no_exits(path: Path, tmp_path: Path) -> None:
    """Its scores are those of the same weights trained in any other way."""
    loaded = load_checkpoint(path)
    plain = build_network(TINY, loaded.model.input, 4)
    plain.load_state_dict(loaded.model.state_dict())
    x = torch.tensor(tiny_data().test_x)
    assert isinstance(loaded.model, SpikingNetwork)
    assert torch.equal(loaded.model(x), plain.eval()(x))
    assert not any("exit" in name for name in loaded.model.state_dict())
    again = tmp_path / "again.safetensors"
    save_checkpoint(again, loaded)
    assert again.read_bytes() == path.read_bytes()
    train(TINY, tiny_data(), start=path)  # further, without them
    train(TAUGHT, tiny_data(), start=path)  # with new ones


def test_files_without_exits_are_as_before(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    train(dataclasses.replace(TINY, epochs=1), tiny_data(), checkpoint=path)
    with safe_open(path, framework="pt") as file:
        assert not any("exits" in name for name in load_file(path))
        assert "exits" not in json.loads(file.metadata()["spikeport"])["config"]
    assert load_checkpoint(path).exits is None


def rewrite(path: Path, document: dict[str, Any] | None, **changes: Tensor | None) -> None:
    """Change settings and tensors of a checkpoint in place; None removes a tensor."""
    with safe_open(path, framework="pt") as file:
        known = json.loads(file.metadata()["spikeport"])
    known["config"] |= document or {}
    known.pop("digest")
    tensors = load_file(path) | changes
    kept = {k: v for k, v in tensors.items() if v is not None}
    save_file(kept, path, {"spikeport": json.dumps(known)})


SKIP = "exits.branches.lif1.blocks.0.skip.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (SKIP, None, f"'{SKIP}' is missing"),
        (SKIP, torch.zeros(4, 4, 1, 1), r"\(4, 4, 1, 1\), must be torch.float32 \(4, 3, 1, 1\)"),
        (SKIP, torch.full((4, 3, 1, 1), torch.nan), f"'{SKIP}' contains NaN or infinity"),
        (SKIP, torch.zeros(4, 3, 1, 1).half(), "is torch.float16"),
        (f"momentum_buffer.{SKIP}", None, f"'momentum_buffer.{SKIP}' is missing"),
        ("exits.branches.lif2.readout.bias", torch.zeros(4), "is unknown to this network"),
        ("exits.options", torch.zeros(1), "'exits.options' is unknown to this network"),
    ],
)
def test_wrong_tensors_are_refused(
    path: Path, name: str, tensor: Tensor | None, message: str
) -> None:
    rewrite(path, None, **{name: tensor})
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"exits": None}, "tensor 'exits.* is unknown to this network"),
        ({"exits": {"weight": -1}}, "description is invalid: exits: weight is -1"),
        ({"exits": {"colour": 1}}, "description is invalid: .*colour"),
        ({"exits": 3}, "description is invalid: .*exits"),
        ({"architecture": "mlp", "widths": [5]}, "exits need hidden neurons"),
        ({"weight_bits": 4}, "exits are set, with weight_bits they must not be"),
    ],
)
def test_wrong_settings_in_a_file_are_refused(
    path: Path, document: dict[str, Any], message: str
) -> None:
    rewrite(path, document)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


def test_a_checkpoint_has_exits_exactly_if_its_configuration_asks() -> None:
    network = build_network(TINY, tiny_data().input, 4)
    exits = Exits(network, ExitConfig())
    with pytest.raises(InputError, match="has no exits, its configuration asks for them"):
        Checkpoint(network, TAUGHT, 4, "toy", "abc")
    with pytest.raises(InputError, match="has exits, its configuration does not"):
        Checkpoint(network, TINY, 4, "toy", "abc", exits=exits)


# Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exits": {"weight": -0.1}}, "exits: weight is -0.1, must be at least 0"),
        ({"exits": {"distillation": float("nan")}}, "exits: distillation is nan"),
        ({"exits": {"temperature": 0.0}}, "exits: temperature is 0.0, must be positive and finite"),
        ({"exits": {"weight": 0.0, "distillation": 0.0}}, "they would teach nothing"),
        ({"exits": {}, "weight_bits": 4}, "exits are set, with weight_bits they must not be"),
        (
            {
                "exits": {},
                "activation": Activation.RELU,
                "steps": 1,
                "rule": GradientRule.BPTT_M,
            },
            "activation is 'relu', an ANN: it has no firing rates for exits",
        ),
    ],
)
def test_wrong_settings_are_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**changes)


def test_a_recipe_asks_for_them() -> None:
    changes = {"training.exits.distillation": 0.5}
    recipe = load_recipe("digits", changes)
    assert recipe.training.exits == ExitConfig(1.0, 0.5, 3.0)
    assert load_recipe("digits").training.exits is None
    assert recipe.on_chip(4).exits is None
    for wrong, message in (
        ({"training.exits.temperatur": 2}, "did you mean 'training.exits.temperature'"),
        ({"training.exits": 3}, "'training.exits' is 3"),
        ({"training.exits.weight": "x"}, "'training.exits.weight' is 'x'"),
        ({"training.exits.weight": -1}, "exits: weight is -1"),
    ):
        with pytest.raises(InputError, match=f"recipe 'digits': .*{message}"):
            load_recipe("digits", wrong)


def test_only_the_same_run_is_resumed(path: Path) -> None:
    config = dataclasses.replace(TINY, epochs=1)
    with pytest.raises(InputError, match=r"was trained with exits .*, cannot continue with"):
        train(config, tiny_data(), checkpoint=path, resume=True)
