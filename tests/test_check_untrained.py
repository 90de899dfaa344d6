"""`check` before quantization and before training: what it says is what it says afterwards."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import nir
import numpy as np
import pytest
from torch import Tensor, nn

from spikeport import (
    LI,
    LIF,
    Coding,
    DeployedNetwork,
    FloatNetwork,
    Input,
    Reset,
    TrainConfig,
    check,
    export_float,
    from_module,
    load_checkpoint,
    load_dataset,
    load_recipe,
    open_network,
    quantize,
)
from spikeport.backends import TargetCheck, check_deployed
from spikeport.cli._check import ASSUMED_CLASSES
from spikeport.errors import InputError, ModuleReadingError
from spikeport.export.nir.semantics import Semantics
from spikeport.export.quantize import QuantizeConfig
from spikeport.export.quantize.outline import outline
from spikeport.hardware import read_target
from spikeport.mapping import core_limits, find_misfits
from spikeport.network import BiasInjection, require_lif
from spikeport.plugins import PluginKind, plugins
from spikeport.trainer.config import build_network
from tests.helpers.command import Spikeport
from tests.helpers.pages import page

SPIKES = Input("input", (1, 8, 8))
PIXELS = Input("input", (1, 8, 8), Coding.GRADED, 0, 16, 16.0)
MINE = """
from torch import nn
from spikeport import LIF

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.lif = nn.Conv2d(1, 4, 3, padding=1), LIF(0.5, 1.0)
        self.pool, self.fc, self.out = nn.AvgPool2d(2), nn.Linear(64, 10), LIF(0.5, 1.0)

    def forward(self, x):
        return self.out(self.fc(self.pool(self.lif(self.conv(x))).flatten(1)))

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.LayerNorm(8)
        self.fc = nn.Linear(256, 10)

    def forward(self, x):
        return self.fc(self.norm(self.act(self.conv(x))).flatten(1))
"""


def told(found: tuple[TargetCheck, ...]) -> dict[str, list[str]]:
    return {one.target: [str(each) for each in one.unsupported] for one in found}


CONFIGS = [
    TrainConfig(architecture="conv", widths=(4, 8), steps=3, decay=0.25),
    TrainConfig(architecture="mlp", widths=(12,), steps=2, reset=Reset.SUBTRACT, strict=False),
    TrainConfig(architecture="resnet18", widths=(2,), steps=2),
]


@pytest.mark.parametrize(("config", "bits"), [*zip(CONFIGS, (3, 8, 8), strict=True)])
def test_the_outline_is_what_quantization_makes(config: TrainConfig, bits: int) -> None:
    shape = (3, 32, 32) if config.architecture == "resnet18" else (1, 8, 8)
    given = Input("input", shape, Coding.GRADED, 0, 16, 16.0)
    graph = export_float(build_network(config, given, 10))
    options = QuantizeConfig(weight_bits=bits)
    drawn, made = outline(graph, options), quantize(graph, None, options).network
    assert drawn.steps == made.steps
    for one, other in zip(drawn.populations, made.populations, strict=True):
        for name in ("name", "shape", "decay_u", "decay_v", "reset", "refractory"):
            assert getattr(one, name) == getattr(other, name)
    assert len({require_lif(part).vth for part in drawn.populations}) == len(drawn.populations)
    for part, real in zip(drawn.connections, made.connections, strict=True):
        assert type(part) is type(real)
        if isinstance(part, BiasInjection) or isinstance(real, BiasInjection):
            continue
        assert (part.source, part.target, part.delay) == (real.source, real.target, real.delay)
        assert part.weight.shape == real.weight.shape
        assert part.weight_bits == bits
    before = check(config, bits=bits, input=given, classes=10)
    assert told(before) == told(check_deployed(made, rounded=False))


def test_more_bits_never_take_fewer_cores() -> None:
    config = TrainConfig(architecture="mlp", widths=(900,), steps=2)
    graph = export_float(build_network(config, Input("input", (1200,)), 10))
    limits = core_limits(read_target(plugins(PluginKind.TARGET)["loihi1"]))
    cores = []
    for bits in range(2, 9):
        wrong, need = find_misfits(outline(graph, QuantizeConfig(weight_bits=bits)), limits)
        assert wrong == ()
        cores.append(need.cores)
    assert cores == sorted(cores)
    assert cores[0] < cores[-1]


def test_a_network_that_is_too_large_is_told_before_training() -> None:
    config = TrainConfig(architecture="conv", widths=(160,), steps=2)
    (found,) = check(config, ["loihi1"], input=Input("input", (1, 32, 32)), classes=2)
    assert not found.runs
    assert [str(one) for one in found.unsupported] == [
        "the network: neurons 163842 (limit: 131072); use 2 chips",
        "population 'output' (2 of 2 neurons): bits of synapse memory of a neuron 1507328 (limit: "
        "1048576); let each neuron read fewer sources, such as by a pool in front of it",
        "the network: cores, at least 161 (limit: 128); use 2 chips, or make 'lif1' smaller, which "
        "takes most cores",
    ]


def test_what_quantization_decides_is_named() -> None:
    found = {one.target: one for one in check(CONFIGS[0], input=SPIKES, classes=10)}
    assert found["native"].not_judged == found["digital"].not_judged == ()
    assert found["loihi1"].not_judged == (
        "a bias mantissa of -4096 and weight exponent -8, on which published tools disagree",
        "weights that lose bits by a negative weight exponent, because it shifts each weight, not "
        "the sum",
        "sums beyond 21 bits and sign in a step, where the accumulator wraps",
        "v_init other than 0, which a host must write",
    )
    assert found["loihi2"].not_judged == ("v_init other than 0, which a host must write",)
    assert len(found["lava"].not_judged) == 2
    made = quantize(export_float(build_network(CONFIGS[0], SPIKES, 10))).network
    assert all(one.not_judged == () for one in check(made))


class Obstructed(nn.Module):
    """A max-pool without neurons in front, other resets, and scores of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2)
        self.one, self.two = LIF(0.5, 1.0), LIF(0.5, 1.0, reset=Reset.SUBTRACT)
        self.fc, self.skip, self.last = nn.Linear(32, 8), nn.Linear(32, 10), nn.Linear(8, 10)

    def forward(self, x: object) -> object:
        y = self.one(self.pool(self.conv(x))).flatten(1)
        return self.last(self.two(self.fc(y))) + self.skip(y)


OBSTACLES = [
    "layer 'pool': layers in front of the max-pool 'conv' (limit: one LIF layer); put LIF in front "
    "of it, or use an average pool",
    "layer 'add': connections that add up to the scores 2 (limit: 1); end with spikeport's LI or "
    "LIF, whose neurons add them up",
    "layer 'two': reset subtract (limit: zero, as in 'one'); use the same in all LIF layers",
]


def test_all_layers_that_no_chip_has_are_told_at_once() -> None:
    network = from_module(Obstructed(), SPIKES, 2)
    for subject in (network, Obstructed()):
        found = check(subject, ["loihi2", "native"], input=SPIKES, steps=2)
        assert told(found) == {"loihi2": OBSTACLES, "native": OBSTACLES}
        assert not any(one.runs for one in found)
        assert {one.not_judged for one in found} == {
            ("all limits of the target, which need a network without these obstacles",)
        }


def test_nodes_of_a_graph_that_no_chip_has() -> None:
    from dataclasses import replace

    graph = export_float(build_network(CONFIGS[0], SPIKES, 10))
    late = replace(graph, semantics=replace(Semantics(), late_spikes=True))
    (found,) = check(late, ["native"])
    assert not found.runs
    (one,) = found.unsupported
    assert str(one).startswith(
        "the network: equivalents on a chip 0 (limit: 1 or more); late_spikes is true, but on the "
        "chip a neuron sends its spike in the step in which v crosses the threshold; "
    )


def test_everything_that_becomes_a_network(folder: Path) -> None:
    checkpoint = load_checkpoint(folder / "m.safetensors")
    graph = open_network(folder / "m.nir")
    assert isinstance(graph, FloatNetwork)
    expected = check(checkpoint)
    data = load_dataset("digits")
    for one in (checkpoint.model, graph):
        assert check(one) == expected
    assert check(checkpoint.config, data="digits") == expected
    assert check(checkpoint.config, data=data) == expected
    recipe = load_recipe("digits", {"training.architecture": "mlp", "training.widths": [16]})
    assert told(check(recipe, ["loihi1"])) == told(check(checkpoint, ["loihi1"]))
    chip = open_network(folder / "m.spikeport")
    assert isinstance(chip, DeployedNetwork)
    assert check(chip) == check_deployed(chip)


def test_a_network_trained_in_chip_arithmetic_is_already_quantized() -> None:
    from spikeport import prepare_qat

    model = build_network(CONFIGS[0], SPIKES, 10)
    samples = np.random.default_rng(0).integers(0, 2, (8, 1, 8, 8)).astype(np.float32)
    network = prepare_qat(model, samples, static=True)
    assert check(network) == check(network.deployed())


def test_its_checkpoint_is_judged_as_a_deployed_network(
    folder: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    start, path = folder / "m.safetensors", tmp_path / "q.safetensors"
    command = ["train", "--model", "mlp", "--widths", "16", "-T", "4", "--epochs", "1"]
    assert spikeport(*command, "--bits", "8", "--from", start, "-o", path)[0] == 0
    network = open_network(path)
    assert isinstance(network, DeployedNetwork)
    code, out, err = spikeport("check", path, "-t", "native", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["content_hash"] == network.content_hash
    assert json.loads(out)["targets"][0]["not_judged"] == []
    code, _, err = spikeport("check", path, "--bits", "4")
    assert code == 2
    assert err == f"spikeport: --bits 4: {path} is quantized, its weights have their bits [SP102]\n"


def test_what_is_missing_is_named() -> None:
    for subject, options, message in (
        (CONFIGS[0], {}, "data is None, must name the data that the network is for"),
        (CONFIGS[0], {"input": SPIKES}, "classes is None, must be the number of classes"),
        (nn.Linear(2, 2), {}, "steps is None, must be the number of steps T of the module"),
        ("m.nir", {}, "network: is a str, must be a network or recipe"),
        (CONFIGS[0], {"bits": 9, "input": SPIKES}, "weight_bits is 9, must lie in 2..8"),
    ):
        with pytest.raises(InputError) as caught:
            check(subject, **options)  # type: ignore[arg-type]
        assert str(caught.value) == message


def test_every_refused_layer_of_a_module_is_told_by_training_too() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.GroupNorm(1, 2), nn.Flatten(), LI())
    with pytest.raises(InputError) as caught:
        from_module(module, SPIKES, 2)
    assert str(caught.value) == (
        "module Sequential: 2 layers are not supported:\n"
        "  - layer '_1': GELU is not a layer that a spiking network can contain; use LIF\n"
        "  - layer '_2': GroupNorm is not a layer that a spiking network can contain"
    )


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return "mine.py:Mine"


def test_a_module_before_training(mine: str, spikeport: Spikeport) -> None:
    code, out, err = spikeport("check", mine, "--data", "digits", "-t", "loihi1", "--json")
    assert (code, err) == (1, "spikeport: check: mine.py:Mine: cannot run on loihi1 [SP901]\n")
    said = json.loads(out)
    assert said["bits"] == 8
    (target,) = said["targets"]
    (one,) = target["unsupported"]
    assert [one[name] for name in ("part", "quantity", "value", "limit")] == [
        *("input 'input'", "graded values", "0..16", "0..1")
    ]
    assert len(target["not_judged"]) == 4
    code, out, err = spikeport("check", mine, "--data", "digits", "-t", "loihi2", "--bits", "4")
    assert (code, err) == (0, "")
    assert out == (
        "not quantized yet: judged as if each weight took 4 bits\n"
        "loihi2: no limit is exceeded\n"
        "loihi2: not judged before quantization:\n"
        "- v_init other than 0, which a host must write\n"
    )


def test_a_module_without_data(mine: str, spikeport: Spikeport) -> None:
    code, out, err = spikeport("check", mine, "--input-shape", "1,8,8", "-t", "loihi2", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["assumed_input"] == "graded 0..255 of shape (1, 8, 8)"
    for setting in ("data.levels=2", "data.coding=spikes"):
        command = ["check", mine, "--input-shape", "1,8,8", "-t", "loihi1"]
        assert spikeport(*command, "--set", setting)[0] == 0
        assert spikeport(*command)[0] == 1
    code, _, err = spikeport("check", mine)
    assert code == 2
    assert err == (
        "spikeport: mine.py:Mine: needs --data or --input-shape, what the module takes [SP102]\n"
    )
    code, _, err = spikeport("check", mine, "--input-shape", "1,8,8", "--dt", "0.1")
    assert code == 2
    assert err == "spikeport: mine.py:Mine: --dt must not be given, for NIR files only [SP102]\n"


def test_layers_that_are_refused_are_told_as_what_stops_every_target(
    mine: str, spikeport: Spikeport
) -> None:
    code, out, err = spikeport("check", "mine.py:Broken", "--input-shape", "1,8,8")
    targets = "native, cuda, reference, lava, loihi1, loihi2, digital"
    assert (code, err) == (
        1,
        f"spikeport: check: mine.py:Broken: cannot run on {targets} [SP901]\n",
    )
    assert out.count("kind of layer: GELU") == 1  # all targets stand together
    assert "kind of layer: LayerNorm" in out


class Functions(nn.Module):
    """Two functions and a layer that a spiking network cannot contain."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.first(x.flatten(1)))
        y: Tensor = self.last(self.act(x))
        return y.sigmoid()


REFUSED_FUNCTIONS = [
    "layer 'relu': kind of layer relu (limit: those of docs/networks.md); relu is not supported in "
    "spiking networks; use a layer of torch.nn, or LIF for an activation",
    "layer 'act': kind of layer GELU (limit: those of docs/networks.md); GELU is not a layer that "
    "a spiking network can contain; use LIF",
    "layer 'sigmoid': kind of layer sigmoid (limit: those of docs/networks.md); sigmoid is not "
    "supported in spiking networks; use a layer of torch.nn, or LIF for an activation",
]


def test_functions_are_listed_with_the_layers() -> None:
    found = check(Functions(), ["native"], input=SPIKES, steps=2)
    assert told(found) == {"native": REFUSED_FUNCTIONS}
    with pytest.raises(ModuleReadingError) as caught:
        from_module(Functions(), SPIKES, 2)
    message, *listed = caught.value.args
    assert message == "module Functions: 3 layers are not supported:"
    assert [line.split(":")[0] for line in listed] == [
        "- layer 'relu'", "- layer 'act'", "- layer 'sigmoid'",
    ]  # fmt: skip


def test_a_module_that_ends_the_program_has_not_passed(
    tmp_path: Path, spikeport: Spikeport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("raise SystemExit(0)")
    code, _, err = spikeport("check", "mine.py:Mine", "--input-shape", "1,8,8")
    assert (code, err) == (2, "spikeport: architecture 'mine.py:Mine': SystemExit: 0 [SP305]\n")


def test_a_node_that_a_chip_has_not_is_told_with_what_to_do() -> None:
    ends = {"a": nir.Input({"input": np.array([2])}), "b": nir.Output({"output": np.array([2])})}
    for tau, threshold, remedy in [
        (5e-4, 1.0, "; give a shorter dt, or discretization=exponential"),
        (5e-2, 0.0, "; change it in the tool that made the network"),
    ]:
        neurons = nir.LIF(
            tau=np.full(2, tau), r=np.ones(2), v_leak=np.zeros(2), v_threshold=np.full(2, threshold)
        )
        graph = nir.NIRGraph({**ends, "lif": neurons}, [("a", "lif"), ("lif", "b")])
        (found,) = check(FloatNetwork(graph, 1e-3, 4, (Input("a", (2,)),), Semantics()), ["native"])
        (one,) = found.unsupported
        assert one.part == "node 'lif'"
        assert one.remedy.endswith(remedy)


ANY_SIZE = """
from torch import nn
from spikeport import LIF

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.lif, self.pool = nn.Conv2d(3, 4, 3), LIF(0.5), nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        return self.fc(self.pool(self.lif(self.conv(x))).flatten(1))
"""


def test_the_commands_of_the_page_run(
    folder: Path, tmp_path: Path, spikeport: Spikeport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_model.py").write_text(ANY_SIZE)
    x, y = np.full((4, 3, 10, 10), 255, np.uint8), np.arange(4) % 2
    np.savez("images.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    Path("mine.safetensors").symlink_to(folder / "m.safetensors")
    ends = {"a": nir.Input({"input": np.array([2])}), "b": nir.Output({"output": np.array([2])})}
    lif = nir.LIF(np.full(2, 5e-6), np.ones(2), np.zeros(2), np.ones(2))
    nodes = {**ends, "fc": nir.Affine(np.eye(2), np.zeros(2)), "lif": lif}
    nir.write("norse.nir", nir.NIRGraph(nodes, [("a", "fc"), ("fc", "lif"), ("lif", "b")]))
    (block,) = re.findall(r"```\n(spikeport check my_model.*?)```", page("check.md"), re.S)
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        code, out, err = spikeport(*command)
        assert code == 0 or err.endswith(" [SP901]\n"), err
        assert "not quantized yet" in out


def test_recipes_and_settings(tmp_path: Path, spikeport: Spikeport) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[training]\narchitecture = "mlp"\nwidths = [8]\nreset = "subtract"\n')
    told = "reset: subtract"
    for command in (
        [recipe],
        ["digits", "--reset", "subtract"],
        ["digits", "--set", "training.reset=subtract"],
    ):
        code, out, _ = spikeport("check", *command, "-t", "loihi2")
        assert code == 0
        assert told in out
    code, out, _ = spikeport(
        "check", "cifar10-small", "--input-shape", "3,32,32", "-t", "loihi2", "--json"
    )
    said = json.loads(out)
    assert (code, said["assumed_classes"]) == (0, str(ASSUMED_CLASSES))
    code, _, err = spikeport("check", "digts")
    assert code == 2
    assert "no such file, and no built-in recipe" in err
    code, _, err = spikeport("check", "m.pt")
    assert code == 2
    assert err == (
        "spikeport: m.pt: suffix '.pt', must be .spikeport, .nir, .net, .safetensors for a "
        "network, .toml for a recipe, or .py:CLASS for a module [SP101]\n"
    )


def test_files_of_networks(folder: Path, spikeport: Spikeport) -> None:
    for name in ("m.safetensors", "m.nir"):
        code, out, err = spikeport("check", folder / name, "-t", "lava")
        assert (code, err) == (0, "")
        assert "lava: no limit is exceeded\nlava: not judged before quantization:" in out
        for option, value in (("--data", "digits"), ("--set", "training.steps=2")):
            code, _, err = spikeport("check", folder / name, option, value)
            assert code == 2
            assert err == (
                f"spikeport: {option}: is for what is not trained yet, {folder / name} is a "
                "network [SP102]\n"
            )
