"""Training a network made from a module of the user's own: the same run as of a built-in one."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import spikeport
from spikeport.energy import load_profile
from spikeport.errors import InputError
from spikeport.network import Coding, Input, Reset
from spikeport.trainer import (
    LI,
    LIF,
    GradientRule,
    Node,
    SpikingNetwork,
    from_module,
    load_checkpoint,
    train,
)
from spikeport.trainer.measure.metrics import PROBE, energy_uj
from spikeport.trainer.network import deployable, describe_graph, rebuild_graph
from tests.helpers.own_module import CONFIG, own_network
from tests.helpers.training import (
    TINY,
    KilledError,
    assert_same_weights,
    killing_after,
    state,
    tiny_data,
)

VALUES = Input("input", (2, 6, 6), Coding.GRADED, 0, 16, 16.0)


def everything() -> SpikingNetwork:
    """Every kind of layer, one used twice, one not trained."""
    lif = LIF(0.25, 0.5, Reset.SUBTRACT, detach_reset=False, alpha=2.0, strict=False, v_init=0.25)
    conv = nn.Conv2d(4, 4, (3, 1), padding=(1, 0), groups=2)
    conv.requires_grad_(False)
    nodes = [
        Node("conv1", ("input",), nn.Conv2d(2, 4, 3, padding=1, dilation=1)),
        Node("norm", ("conv1",), nn.BatchNorm2d(4, eps=1e-3, momentum=None)),
        Node("lif1", ("norm",), lif),
        Node("conv2", ("lif1",), conv),
        Node("lif2", ("conv2",), lif),
        Node("conv3", ("lif2",), conv),
        Node("lif3", ("conv3",), LIF()),
        Node("sum", ("lif2", "lif3"), nn.Identity()),
        Node("drop", ("sum",), nn.Dropout2d(0.25)),
        Node("pool", ("drop",), nn.AvgPool2d(2)),
        Node("most", ("lif3",), nn.MaxPool2d(2)),
        Node("drop2", ("most",), nn.Dropout(0.5)),
        Node("readout", ("pool", "drop2"), nn.Linear(36, 3)),
        Node("integrator", ("readout",), LI(0.75)),
    ]
    return SpikingNetwork(VALUES, nodes, 3)


def test_weights_are_those_of_the_built_in_network_bit_for_bit(tmp_path: Path) -> None:
    data = tiny_data()
    built_in = train(CONFIG, data, checkpoint=tmp_path / "a.safetensors")
    network = own_network(CONFIG, data.input)
    own = train(CONFIG, data, network=network, checkpoint=tmp_path / "b.safetensors")
    assert_same_weights(state(built_in), state(own))
    assert [r.valid_accuracy for r in own.history] == [r.valid_accuracy for r in built_in.history]
    assert own.history[0].energy_uj == built_in.history[0].energy_uj is not None
    assert own.best is not None
    fresh = own_network(CONFIG, data.input)
    assert_same_weights(dict(network.state_dict()), dict(fresh.state_dict()))


def test_the_checkpoint_of_a_built_in_network_has_no_graph(tmp_path: Path) -> None:
    train(TINY, tiny_data(), checkpoint=tmp_path / "a.safetensors")
    assert b'\\"graph\\"' not in (tmp_path / "a.safetensors").read_bytes()


def test_checkpoints_load_without_the_class(tmp_path: Path) -> None:
    data = tiny_data()
    path = tmp_path / "own.safetensors"
    trained = train(CONFIG, data, network=own_network(CONFIG, data.input), checkpoint=path)
    code = (
        "import sys, numpy as np, torch; from spikeport.trainer import load_checkpoint\n"
        "model = load_checkpoint(sys.argv[1]).model\n"
        "assert not any('own_module' in name for name in sys.modules)\n"
        "x = np.load(sys.argv[2]); np.save(sys.argv[2], model(torch.tensor(x)).numpy())"
    )
    np.save(tmp_path / "x.npy", np.asarray(data.test_x))
    subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "x.npy"],
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    expected = trained.model(torch.tensor(np.asarray(data.test_x)))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected.numpy())


def test_every_layer_is_rebuilt_from_plain_data() -> None:
    network = everything()
    layers = json.loads(json.dumps(describe_graph(network)))
    again = rebuild_graph(layers, VALUES, 3, GradientRule.BPTT_S)
    assert (again.steps, again.rule) == (3, GradientRule.BPTT_S)
    assert describe_graph(again) == describe_graph(network)
    again.load_state_dict(network.state_dict())
    x = torch.randint(0, 17, (5, 2, 6, 6)) / 16
    network.eval(), again.eval()
    torch.testing.assert_close(again(x), network(x), rtol=0, atol=0)
    trained = [
        {name for name, part in each.named_parameters() if part.requires_grad}
        for each in (network, again)
    ]
    assert trained[0] == trained[1]
    assert again.layers["conv2"] is again.layers["conv3"]


@pytest.mark.parametrize("batches", [1, 5])
def test_resuming_gives_the_same_weights(tmp_path: Path, batches: int) -> None:
    data = tiny_data()
    path = tmp_path / "own.safetensors"
    whole = train(CONFIG, data, network=own_network(CONFIG, data.input))
    given: dict[str, Any] = {"checkpoint": path, "minutes": 0}
    with pytest.raises(KilledError):
        train(
            CONFIG, data, killing_after(batches), network=own_network(CONFIG, data.input), **given
        )
    # Only the layers are compared on resuming: the weights are those of the checkpoint.
    other = own_network(CONFIG, data.input, seed=9)
    resumed = train(CONFIG, data, network=other, resume=True, **given)
    assert_same_weights(state(whole), state(resumed))


def test_resuming_needs_the_same_network(tmp_path: Path) -> None:
    data = tiny_data()
    path = tmp_path / "own.safetensors"
    network = own_network(CONFIG, data.input)
    train(CONFIG, data, network=network, checkpoint=path)
    with pytest.raises(InputError, match="network of your own, pass it again"):
        train(CONFIG, data, checkpoint=path, resume=True)
    changed = own_network(CONFIG, data.input)
    changed.layers["lif2"].decay = 0.75  # type: ignore[assignment]
    with pytest.raises(InputError, match="another network, layer 'lif2' differs"):
        train(CONFIG, data, network=changed, checkpoint=path, resume=True)
    train(CONFIG, data, checkpoint=path)
    with pytest.raises(InputError, match="was not trained from a network of your own"):
        train(CONFIG, data, network=network, checkpoint=path, resume=True)


def test_a_start_gives_its_weights_to_an_own_network() -> None:
    data = tiny_data()
    first = train(CONFIG, data)
    own = own_network(CONFIG, data.input, seed=9)
    again = train(CONFIG, data, network=own, start=first.model)
    assert_same_weights(state(again), state(train(CONFIG, data, start=first.model)))


def test_chip_arithmetic_and_the_integer_stages_are_those_of_the_built_in(tmp_path: Path) -> None:
    data = tiny_data()
    hashes = []
    for network in (None, own_network(CONFIG, data.input)):
        trained = train(CONFIG, data, network=network)
        start = spikeport.prepare_qat(trained.model, np.asarray(data.train_x))  # type: ignore[arg-type]
        config = dataclasses.replace(CONFIG, weight_bits=8, epochs=1, lr=1e-3)
        result = train(config, data, start=start, checkpoint=tmp_path / "chip.safetensors")
        assert isinstance(result.model, spikeport.QATNetwork)
        hashes.append(result.model.deployed().content_hash)
        assert load_checkpoint(tmp_path / "chip.safetensors").own is False
    assert hashes[0] == hashes[1]


def test_diagnosis_and_energy_budget_take_an_own_network() -> None:
    data = tiny_data()
    config = dataclasses.replace(CONFIG, energy_budget_uj=1.0, energy_penalty=0.1)
    own = train(config, data, network=own_network(config, data.input))
    assert_same_weights(state(own), state(train(config, data)))
    x, y = np.asarray(data.test_x), data.test_y
    assert spikeport.diagnose(own.model, x, y).rule is GradientRule.RATE_M


def test_obstacles_to_deployment_are_warned_about_before_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = tiny_data()
    padded = [nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)]
    layers = [nn.MaxPool2d(2), *padded, LIF(), LIF(reset="subtract"), nn.Flatten()]  # type: ignore[arg-type]
    network = from_module(nn.Sequential(*layers, nn.Linear(16, 4)), data.input, CONFIG.steps)
    train(dataclasses.replace(CONFIG, epochs=1), data, network=network)
    assert "cannot be deployed, 3 rule(s) broken" in caplog.text
    for remedy in ("put LIF in front of it", "put neurons in between", "use the same in all LIF"):
        assert remedy in caplog.text


def test_rewrites_are_logged_before_training(caplog: pytest.LogCaptureFixture) -> None:
    data = tiny_data()
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.AvgPool2d(2), LIF(), nn.Flatten(), nn.Linear(8, 4)]
    network = from_module(nn.Sequential(*layers), data.input, CONFIG.steps)
    with caplog.at_level("INFO", logger="spikeport"):
        train(dataclasses.replace(CONFIG, epochs=1), data, network=network)
    assert "on the chip, '_0' and '_1' became one convolution of kernel 4x4" in caplog.text


def test_an_energy_budget_counts_composed_connections() -> None:
    data = tiny_data()
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.AvgPool2d(2), LIF(), nn.Flatten(), nn.Linear(8, 4)]
    network = from_module(nn.Sequential(*layers), data.input, CONFIG.steps)
    config = dataclasses.replace(CONFIG, energy_budget_uj=1.0, energy_penalty=0.1)
    trained = train(config, data, network=network)
    assert isinstance(trained.model, SpikingNetwork)
    # what training counts is what the same layers, composed by hand, take
    twin = deployable(trained.model)
    x = np.asarray(data.train_x[:PROBE])
    profile = load_profile(config.energy_profile)
    assert trained.history[-1].energy_uj == energy_uj(twin, x, profile) is not None


def _hooked(network: SpikingNetwork) -> SpikingNetwork:
    network.layers["conv1"].register_forward_hook(lambda *given: None)
    return network


def _hooked_before(network: SpikingNetwork) -> SpikingNetwork:
    network.layers["conv1"].register_forward_pre_hook(lambda *given: None)
    return network


def _hooked_backward(network: SpikingNetwork) -> SpikingNetwork:
    network.layers["conv1"].register_full_backward_hook(lambda *given: None)
    return network


def _hooked_before_backward(network: SpikingNetwork) -> SpikingNetwork:
    network.layers["conv1"].register_full_backward_pre_hook(lambda *given: None)
    return network


def _normed(network: SpikingNetwork) -> SpikingNetwork:
    torch.nn.utils.parametrizations.weight_norm(network.layers["conv1"])
    return network


def _tied(network: SpikingNetwork) -> SpikingNetwork:
    network.layers["norm2"].bias = network.layers["norm2"].weight
    network.layers["readout"].bias = network.layers["norm2"].weight
    return network


class OwnNeurons(LIF):
    """A subclass, whose changes a checkpoint could not store."""

    def forward(self, current: Tensor) -> Tensor:
        return super().forward(2 * current)


def _subclassed(network: SpikingNetwork) -> SpikingNetwork:
    return _with_neurons(network, OwnNeurons())


def _of_the_same_name(network: SpikingNetwork) -> SpikingNetwork:
    return _with_neurons(network, type("LIF", (OwnNeurons,), {})())


def _with_neurons(network: SpikingNetwork, neurons: LIF) -> SpikingNetwork:
    nodes = [
        Node(node.name, node.inputs, neurons if node.name == "lif2" else node.op)
        for node in network.nodes
    ]
    return SpikingNetwork(network.input, nodes, network.steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_hooked, "layer 'conv1': has hooks"),
        (_hooked_before, "layer 'conv1': has hooks"),
        (_hooked_backward, "layer 'conv1': has hooks"),
        (_hooked_before_backward, "layer 'conv1': has hooks"),
        (_normed, "layer 'conv1': is a ParametrizedConv2d, which a checkpoint cannot describe"),
        (_tied, "layer 'readout': shares its bias with layer 'norm2'"),
        (_subclassed, "layer 'lif2': is a OwnNeurons"),
        (_of_the_same_name, "layer 'lif2': is a LIF, which a checkpoint cannot describe"),
        (lambda network: network.double(), "weight is torch.float64, must be torch.float32"),
        (lambda network: 3, "is a int, must be a SpikingNetwork"),
        (
            lambda network: SpikingNetwork(network.input, network.nodes, 7),
            "steps is 7, the configuration says 3",
        ),
        (
            lambda network: SpikingNetwork(network.input, network.nodes, 3, GradientRule.RATE_S),
            "rule is rate_s, the configuration says rate_m",
        ),
        (
            lambda network: SpikingNetwork(Input("input", (1, 4, 4)), network.nodes, 3),
            "build it for the data",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_clear_error(
    change: Callable[[SpikingNetwork], SpikingNetwork], message: str
) -> None:
    data = tiny_data()
    with pytest.raises(InputError, match=message):
        train(CONFIG, data, network=change(own_network(CONFIG, data.input)))


def test_chip_arithmetic_takes_a_start_not_a_network() -> None:
    data = tiny_data()
    config = dataclasses.replace(CONFIG, weight_bits=8)
    with pytest.raises(InputError, match="without `network`"):
        train(config, data, network=own_network(CONFIG, data.input))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers: [3], "layer 0 is int, must be a table"),
        (lambda layers: [{}], "layer 0 has no name"),
        (lambda layers: [{**layers[0], "inputs": 1}], "inputs must be a list of names"),
        (lambda layers: [{**layers[0], "more": 1}], "key 'more' is unknown"),
        (lambda layers: [{"name": "a", "inputs": []}], "key 'frozen' is missing"),
        (
            lambda layers: [{"name": "a", "inputs": [], "same_as": "b"}],
            "same_as does not name an earlier layer",
        ),
        (
            lambda layers: [{**layers[0], "kind": "Module"}],
            "layer 'conv1': kind is 'Module', must be one of Conv1d, Conv2d, Linear",
        ),
        (lambda layers: [{**layers[0], "options": 1}], "options must be a table"),
        (lambda layers: [{**layers[0], "frozen": ["x"]}], "must be a list of its parameters"),
        (
            lambda layers: [{**layers[0], "options": {**layers[0]["options"], "stride": [0, 1]}}],
            r"layer 'conv1': stride is '\[0, 1\]', must be one or two integers in 1\.\.2147483647",
        ),
        (
            lambda layers: [{**layers[0], "options": {**layers[0]["options"], "groups": 3}}],
            "layer 'conv1': .* divisible by groups",
        ),
    ],
)
def test_broken_descriptions_are_refused(
    change: Callable[[list[Any]], list[Any]], message: str
) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=message):
        rebuild_graph(change(describe_graph(everything())), VALUES, 3)


NUMBERS = [True, "1", math.nan, math.inf]
WRONG: dict[type, list[Any]] = {
    bool: [0, "true", None],
    int: [True, -1, 2**31, 1.0, "1", None],
    list: [[], [1, 1, 1], [1, True], [1, 1.0], [-1, 1], [1, 2**31], True, -1, "1", None],
    float: [*NUMBERS, None],
    type(None): NUMBERS,  # momentum
    str: ["soft", 1, None],
}


def test_an_option_that_is_not_what_it_must_be_is_named() -> None:
    layers = json.loads(json.dumps(describe_graph(everything())))
    for place, layer in enumerate(layers):
        for option, value in layer.get("options", {}).items():
            for wrong in WRONG[type(value)]:
                changed = {**layer, "options": {**layer["options"], option: wrong}}
                shown = re.escape(f"layer '{layer['name']}': {option} is '{wrong}', must be ")
                with torch.device("meta"), pytest.raises(InputError, match=f"^{shown}"):
                    rebuild_graph([*layers[:place], changed], VALUES, 3)
