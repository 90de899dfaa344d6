"""ANNs in training: activations, gradients, checkpoints, and what takes no ANN."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.trainer import (
    LIF,
    Checkpoint,
    GradientRule,
    Node,
    QuantizedReLU,
    SpikingNetwork,
    TrainConfig,
    build_network,
    checkpoint_of,
    diagnose,
    evaluate,
    from_ann,
    from_module,
    load_checkpoint,
    load_digits_split,
    load_recipe,
    measure_accuracy,
    save_checkpoint,
    train,
    train_pareto_front,
)
from spikeport.trainer.config import Activation
from spikeport.trainer.models import PUBLISHED
from spikeport.trainer.network import describe_graph, rebuild_graph
from spikeport.workflow import check, export_float, prepare_qat
from tests.helpers.command import call, one_line
from tests.helpers.own_module import CONFIG
from tests.helpers.training import (
    KilledError,
    assert_same_weights,
    killing_after,
    state,
    tiny_data,
)

INPUT = Input("image", (3, 8, 8), Coding.GRADED, -128, 127, scale=32.0)
RELU = TrainConfig(
    activation=Activation.RELU, steps=1, rule=GradientRule.BPTT_M, widths=(4, 6), epochs=2
)
QUANTIZED = dataclasses.replace(RELU, activation=Activation.QUANTIZED_RELU, levels=4)
ANNS = pytest.mark.parametrize("config", [RELU, QUANTIZED], ids=["relu", "quantized_relu"])


def staircase(x: float, theta: float, levels: int | None) -> float:
    """theta clip(floor(L x / theta + 1/2) / L, 0, 1)."""
    share = x / theta if levels is None else math.floor(levels * x / theta + 0.5) / levels
    return theta * min(max(share, 0.0), 1.0)


THRESHOLDS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 7.5])
LEVELS = st.sampled_from([None, 1, 2, 4, 8, 16])
VALUES = st.lists(st.integers(-400, 400).map(lambda n: n / 37), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(VALUES, THRESHOLDS, LEVELS)
def test_quantized_relu_is_its_formula(xs: list[float], theta: float, levels: int | None) -> None:
    made = QuantizedReLU(levels, theta).double()
    found = made(torch.tensor(xs, dtype=torch.float64)).detach().numpy()
    for x, a in zip(xs, found, strict=True):
        steps = math.inf if levels is None else levels * x / theta + 0.5
        if math.isfinite(steps) and abs(steps - round(steps)) < 1e-9:
            continue  # on an edge of the staircase rounding decides
        assert a == pytest.approx(staircase(x, theta, levels), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(VALUES, THRESHOLDS, LEVELS)
def test_its_gradient_is_straight_through(
    xs: list[float], theta: float, levels: int | None
) -> None:
    """1 for x within 0..theta; of theta (a - x) / theta there, 1 above and 0 below."""
    made = QuantizedReLU(levels, theta).double()
    x = torch.tensor(xs, dtype=torch.float64, requires_grad=True)
    upstream = torch.linspace(-1, 2, len(xs), dtype=torch.float64)
    a = made(x)
    (a * upstream).sum().backward()
    assert x.grad is not None
    assert made.v_threshold.grad is not None
    inside = [0 <= each <= theta for each in xs]
    np.testing.assert_array_equal(x.grad.numpy(), upstream.numpy() * inside)
    of_theta = sum(
        float(u) * ((float(v) - each) / theta if within else float(each > theta))
        for u, v, each, within in zip(upstream, a.detach(), xs, inside, strict=True)
    )
    assert float(made.v_threshold.grad) == pytest.approx(of_theta, abs=1e-12)


def test_without_levels_it_is_a_clipped_relu_for_autograd() -> None:
    theta = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    x = torch.linspace(-1, 3, 41, dtype=torch.float64, requires_grad=True) * 1.01
    made = QuantizedReLU(None, 1.5).double()
    plain = torch.minimum(x.relu(), theta)
    torch.testing.assert_close(made(x), plain)
    (expected,) = torch.autograd.grad((plain * x.detach()).sum(), theta)
    (found,) = torch.autograd.grad((made(x) * x.detach()).sum(), made.v_threshold)
    torch.testing.assert_close(found, expected)


def test_the_threshold_has_a_floor() -> None:
    made = QuantizedReLU(4)
    with torch.no_grad():
        made.v_threshold.fill_(-3.0)
    torch.testing.assert_close(made(torch.tensor([1.0, -1.0])), torch.tensor([1e-3, 0.0]))
    made(torch.tensor([1.0])).sum().backward()
    assert float(made.v_threshold.grad) == 0  # type: ignore[arg-type]


def test_its_gradient_in_bfloat16_is_summed_in_float32() -> None:
    made = QuantizedReLU(None, 1.0)
    x = torch.full((4096,), 2.0, dtype=torch.bfloat16)
    made(x).sum().backward()
    assert made.v_threshold.grad == 4096


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"levels": 0}, "levels is 0"),
        ({"levels": True}, "levels is True"),
        ({"v_threshold": 0.0}, "v_threshold is 0.0, must be positive and finite"),
        ({"v_threshold": math.nan}, "v_threshold is nan"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"QuantizedReLU: {message}"):
        QuantizedReLU(**values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 4}, "activation is 'relu', an ANN: steps is 4, must be 1"),
        ({"rule": "rate_m"}, "an ANN: rule is 'rate_m', must be 'bptt_m'"),
        ({"weight_bits": 8}, "an ANN: it has no weight_bits; convert it first"),
        ({"energy_penalty": 1.0}, "an ANN: it sends no spikes, so it has no energy to limit"),
        ({"energy_budget_uj": 1.0}, "an ANN: it sends no spikes"),
        ({"levels": 0}, "levels is 0"),
        ({"activation": "gelu"}, "activation is 'gelu', must be one of 'lif', 'relu', 'quantized"),
    ],
)
def test_configurations_of_an_ann_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"training: .*{message}|training: {message}"):
        dataclasses.replace(RELU, **changes)


class Residual(nn.Module):
    """conv-BN-ReLU, a residual block and a readout, as anyone would write it."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm1, self.act1 = nn.BatchNorm2d(4), activation()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm2, self.act2 = nn.BatchNorm2d(4), activation()
        self.pool = nn.AvgPool2d(4)
        self.readout = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)) + x)
        scores: Tensor = self.readout(self.pool(x).flatten(1))
        return scores


@pytest.mark.parametrize("activation", [nn.ReLU, lambda: QuantizedReLU(4, 2.0)], ids=["relu", "q"])
def test_a_step_is_one_of_plain_torch(activation: Callable[[], nn.Module]) -> None:
    """Loss, gradients, weights and running statistics after three steps of SGD."""
    torch.manual_seed(0)
    module = Residual(activation)
    network = from_ann(Residual(activation), INPUT)
    network.load_state_dict(
        {f"layers.{name}": value for name, value in module.state_dict().items()}
    )
    x, y = torch.randint(-128, 128, (16, 3, 8, 8)) / 32, torch.arange(16) % 4
    for trained in (module, network):
        optimizer = torch.optim.SGD(trained.parameters(), 0.1, 0.9)
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(trained(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(
            network.state_dict()[f"layers.{name}"], value, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_network_is_also_an_ann(name: str) -> None:
    channels, size = (2, 16) if name == "dvs_net" else (3, 32)
    input = Input("input", (channels, size, size), Coding.GRADED, -64, 64, scale=8.0)
    for config in (RELU, QUANTIZED):
        network = build_network(
            dataclasses.replace(config, architecture=name, widths=(1,)), input, 4
        )
        assert network.is_ann
        assert not any(isinstance(node.op, LIF) for node in network.nodes)
        thresholds = [n.op for n in network.nodes if isinstance(n.op, QuantizedReLU)]
        assert len({id(op) for op in thresholds}) == len(thresholds)
        assert bool(thresholds) == (config is QUANTIZED)
        assert not set(network.weight_parameters()) & {op.v_threshold for op in thresholds}
    x = torch.randint(-64, 65, (2, channels, size, size)) / 8
    network(x).sum().backward()
    assert all(op.v_threshold.grad is not None for op in thresholds)


@ANNS
def test_training_continues_bit_for_bit(config: TrainConfig, tmp_path: Path) -> None:
    data, path = load_digits_split(), tmp_path / "ann.safetensors"
    config = dataclasses.replace(config, batch_size=64)
    whole = train(config, data)
    assert measure_accuracy(whole.model, data.test_x, data.test_y) > 0.8
    assert whole.history[0].energy_uj is None
    with pytest.raises(KilledError):
        train(config, data, killing_after(30), checkpoint=path, minutes=0)
    resumed = train(config, data, checkpoint=path, resume=True)
    assert_same_weights(state(whole), state(resumed))
    if config is not RELU and config.activation is Activation.QUANTIZED_RELU:
        assert any(float(v) != 8 for n, v in state(whole).items() if n.endswith("v_threshold"))
    loaded = load_checkpoint(path)
    assert isinstance(loaded.model, SpikingNetwork)
    assert loaded.model.is_ann
    assert_same_weights(state(whole), dict(loaded.model.state_dict()))
    x = torch.tensor(np.asarray(data.test_x[:50]))
    torch.testing.assert_close(loaded.model(x), whole.model(x), rtol=0, atol=0)


def small(input: Input, levels: int | None = 3) -> SpikingNetwork:
    """An ANN of a user's own, of which a quantized activation is used twice."""
    shared, conv = QuantizedReLU(levels, 2.5), nn.Conv2d(1, 2, 3, padding=1)
    nodes = [
        Node("conv", (input.name,), conv),
        Node("act1", ("conv",), shared),
        Node("mix", ("act1",), nn.Conv2d(2, 2, 1)),
        Node("act2", ("mix",), shared),
        Node("relu", ("act2", "mix"), nn.ReLU()),
        Node("readout", ("relu",), nn.Linear(32, 4)),
    ]
    return SpikingNetwork(input, nodes, 1, GradientRule.BPTT_M)


@pytest.mark.parametrize("levels", [3, None])
def test_a_checkpoint_keeps_thresholds_and_levels(tmp_path: Path, levels: int | None) -> None:
    data = tiny_data()
    network = small(data.input, levels)
    checkpoint = checkpoint_of(network, data)
    assert checkpoint.config.activation is Activation.QUANTIZED_RELU
    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    model = load_checkpoint(tmp_path / "a.safetensors").model
    assert isinstance(model, SpikingNetwork)
    acts = [node.op for node in model.nodes if isinstance(node.op, QuantizedReLU)]
    assert acts[0] is acts[1]
    assert (acts[0].levels, float(acts[0].v_threshold.detach())) == (levels, 2.5)
    x = torch.tensor(np.asarray(data.test_x))
    network.eval()
    torch.testing.assert_close(model(x), network(x), rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "8", 2**31, [4]])
def test_levels_of_a_description_are_checked(wrong: Any) -> None:
    input = tiny_data().input
    layers = json.loads(json.dumps(describe_graph(small(input))))
    assert describe_graph(rebuild_graph(layers, input, 1)) == layers
    layers[1]["options"]["levels"] = wrong
    with torch.device("meta"), pytest.raises(InputError, match="layer 'act1': levels is "):
        rebuild_graph(layers, input, 1)


def test_levels_beyond_what_a_network_takes_are_refused() -> None:
    input = tiny_data().input
    layers = describe_graph(small(input))
    layers[1]["options"]["levels"] = 2**20
    with torch.device("meta"), pytest.raises(InputError, match="levels is 1048576"):
        rebuild_graph(layers, input, 1)


def test_a_graph_is_spiking_or_an_ann() -> None:
    line = Input("x", (4,))
    relu, lif = Node("a", ("x",), nn.ReLU()), Node("b", ("a",), LIF())
    with pytest.raises(InputError, match="'a': is a ReLU, but 'b' is LIF"):
        SpikingNetwork(line, [relu, lif], 1)
    with pytest.raises(InputError, match=r"is a ReLU, and steps \(T\) is 2: an ANN has 1"):
        SpikingNetwork(line, [relu], 2)
    with pytest.raises(InputError, match="inplace is True, must be False"):
        SpikingNetwork(line, [Node("a", ("x",), nn.ReLU(inplace=True))], 1)


def test_a_network_of_ones_own_is_trained_as_the_built_in_one() -> None:
    """Whose layers have the same names and first weights."""
    data = tiny_data()
    config = dataclasses.replace(
        CONFIG, activation=Activation.RELU, steps=1, rule=GradientRule.BPTT_M
    )
    module = build_network(config, data.input, data.classes)
    own = SpikingNetwork(data.input, module.nodes, 1, GradientRule.BPTT_M)
    assert_same_weights(state(train(config, data)), state(train(config, data, network=own)))


def test_what_the_configuration_says_must_fit_the_network() -> None:
    data = tiny_data()
    ann = from_ann(nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU()), data.input)
    plain = from_module(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), data.input, 1)
    with pytest.raises(InputError, match=r"is an ANN, .* 'lif'; set activation to 'relu'"):
        train(dataclasses.replace(CONFIG, steps=1), data, network=ann)
    with pytest.raises(InputError, match=r"has no ReLU, .* 'relu'; set activation to 'lif'"):
        train(RELU, data, network=plain)
    other = from_ann(nn.Sequential(nn.Linear(9, 4), nn.ReLU()), Input("input", (1, 3, 3)))
    with pytest.raises(InputError, match=r"build it for the data: from_ann\(module, data.input\)"):
        train(RELU, data, network=other)


def _ann() -> SpikingNetwork:
    torch.manual_seed(0)
    return from_ann(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)),
                    tiny_data().input).eval()  # fmt: skip


X = np.asarray(tiny_data().test_x)
Y = np.asarray(tiny_data().test_y)


@pytest.mark.parametrize(
    "use",
    [
        export_float,
        lambda ann: evaluate(ann, X),
        lambda ann: diagnose(ann, X, Y),
        lambda ann: prepare_qat(ann, X),
        lambda ann: load_recipe("digits", {
            "training.activation": "relu", "training.steps": 1, "training.rule": "bptt_m",
        }).on_chip(8),
        lambda ann: next(train_pareto_front(RELU, tiny_data(), [1.0], "unused")),
    ],
    ids=["export", "evaluate", "diagnose", "qat", "chip", "front"],
)  # fmt: skip
def test_what_needs_spikes_names_the_conversion(use: Callable[[SpikingNetwork], object]) -> None:
    with pytest.raises(InputError, match=r"is an ANN|, an ANN") as caught:
        use(_ann())
    (message,) = caught.value.args
    assert "spikeport convert" in message


def test_check_names_every_activation() -> None:
    (found,) = check(_ann(), ["native"])
    told = [str(each) for each in found.unsupported]
    assert len(told) == 1
    assert "layer '_1'" in told[0]
    assert "convert the network first: spikeport convert" in told[0]


MODEL = """
import torch

class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.relu = torch.nn.Linear(64, 16), torch.nn.ReLU()
        self.readout = torch.nn.Linear(16, 10)

    def forward(self, x):
        return self.readout(self.relu(self.hidden(x.flatten(1))))
"""
ANN = ["--set", "training.activation=relu", "--set", "training.steps=1"]
ANN += ["--set", "training.rule=bptt_m", "--set", "training.batch_size=100"]


def test_a_file_of_ones_own_is_trained_and_then_has_to_be_converted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, path = tmp_path / "mine.py", str(tmp_path / "ann.safetensors")
    model.write_text(MODEL)
    given = ["train", f"{model}:Mine", "--data", "digits", "--epochs", "2", "--out", path, "--json"]
    assert call([*given, *ANN]) == 0
    printed = capfd.readouterr()
    facts = json.loads(printed.out)
    assert facts["test_accuracy"] > 0.8
    assert "spikes_per_neuron_step" not in facts
    assert "spikes" not in printed.err
    assert call(given) == 2
    assert "activation 'relu'" in one_line(capfd.readouterr().err)
    for verb in (
        ["quantize", path, "--data", "digits", "--out", str(tmp_path / "a.spikeport")],
        ["export", path, "--out", str(tmp_path / "a.nir")],
        ["ladder", path, "--data", "digits", "--out", str(tmp_path / "ladder")],
        ["diagnose", path, "--data", "digits", "--out", str(tmp_path / "d.html")],
        ["energy", path, "--data", "digits"],
        ["run", path, "--data", "digits"],
        ["inspect", path],
        ["map", path],
    ):
        assert call(verb) == 2, verb
        error = one_line(capfd.readouterr().err)
        assert "is an ANN" in error, verb
        assert "spikeport convert" in error, verb
    files = {each.suffix for each in tmp_path.rglob("*") if each.is_file()}
    assert files <= {".safetensors", ".py", ".pyc"}


def test_a_checkpoint_is_of_the_kind_that_its_configuration_says(tmp_path: Path) -> None:
    data = tiny_data()
    ann = Checkpoint(_ann(), CONFIG, data.classes, data.name, data.fingerprint, own=True)
    save_checkpoint(tmp_path / "a.safetensors", ann)
    with pytest.raises(InputError, match=r"steps \(T\) is 3: an ANN has 1"):
        load_checkpoint(tmp_path / "a.safetensors")
