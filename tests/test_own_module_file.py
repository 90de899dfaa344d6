"""Training FILE.py:CLASS from the command line and from a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spikeport.errors import InputError
from spikeport.trainer import TrainConfig, build_network, load_checkpoint, load_digits_split
from spikeport.trainer.module_file import network_from_file
from spikeport.trainer.network import describe_graph
from tests.helpers.command import call

MODEL = """
from __future__ import annotations
import dataclasses
import torch
from spikeport.trainer import LIF

class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = torch.nn.Linear(64, 8, bias=False)
        self.norm1 = torch.nn.BatchNorm1d(8)
        self.lif1 = LIF()
        self.readout = torch.nn.Linear(8, 10)

    def forward(self, x):
        return self.readout(self.lif1(self.norm1(self.linear1(x.flatten(1)))))

@dataclasses.dataclass
class Size:
    hidden: int

NUMBER = 3

def number():
    return NUMBER

def broken():
    raise KeyError("no such thing")
"""
OPTIONS = ["--data", "digits", "--epochs", "1", "-T", "2", "--set", "training.batch_size=200"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my_model.py"
    path.write_text(MODEL)
    return path


def test_a_file_is_trained_like_the_built_in_network(model: Path, tmp_path: Path) -> None:
    own, built_in = tmp_path / "own.safetensors", tmp_path / "mlp.safetensors"
    assert call(["train", f"{model}:Mine", *OPTIONS, "--out", str(own)]) == 0
    named = ["--model", "mlp", "--widths", "8"]
    assert call(["train", *named, *OPTIONS, "--out", str(built_in)]) == 0
    assert call(["train", f"{model}:Mine", *OPTIONS, "--resume", "--out", str(own)]) == 0
    model.unlink()  # loading needs no file
    first, second = load_checkpoint(own), load_checkpoint(built_in)
    assert first.own
    expected = second.model.state_dict()
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


POOLED = """
import torch
from spikeport.trainer import LIF

class Mine(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.AvgPool2d(2), LIF(),
            torch.nn.Flatten(), torch.nn.Linear(64, 10),
        )
"""


def test_what_becomes_of_layers_is_shown_wherever_they_are_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, chip = (tmp_path / name for name in ("m.py", "m.safetensors", "m.spikeport"))
    path.write_text(POOLED)
    said = "'_0' and '_1' became one convolution of kernel 4x4, stride 2"
    for verb in (
        ["train", f"{path}:Mine", *OPTIONS, "--out", str(out)],
        ["inspect", str(out)],
        ["quantize", str(out), "--data", "digits", "--out", str(chip)],
    ):
        assert call([*verb, "--json"]) == 0
        assert said in capsys.readouterr().out


def test_a_recipe_names_the_file(model: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "mine.toml", tmp_path / "own.safetensors"
    recipe.write_text(
        f'[training]\narchitecture = "{model}:Mine"\nsteps = 2\nepochs = 1\nbatch_size = 200\n'
    )
    assert call(["train", str(recipe), "--out", str(out)]) == 0
    layers = [layer["name"] for layer in describe_graph(load_checkpoint(out).model)]  # type: ignore[arg-type]
    assert layers == ["linear1", "norm1", "lif1", "readout"]


def test_data_must_be_given(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["train", f"{model}:Mine", "--out", str(tmp_path / "a.safetensors")]) != 0
    assert "needs --data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Yours", "the file has no 'Yours'"),
        ("number", "gives a int, must give a torch.nn.Module"),
        ("broken", "KeyError: 'no such thing'"),
    ],
)
def test_what_is_no_module_is_one_clear_error(model: Path, name: str, message: str) -> None:
    config = TrainConfig(architecture=f"{model}:{name}")
    with pytest.raises(InputError, match=message):
        network_from_file(config, load_digits_split().input)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    for path in ("no_such.py", tmp_path / "folder.py"):
        config = TrainConfig(architecture=f"{path}:Mine")
        with pytest.raises(InputError, match="does not exist or is not a file"):
            network_from_file(config, load_digits_split().input)


def test_initial_weights_follow_from_the_seed_alone(model: Path) -> None:
    made = []
    for seed, state in ((1, 7), (1, 8), (2, 8)):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        config = TrainConfig(architecture=f"{model}:Mine", seed=seed)
        network = network_from_file(config, load_digits_split().input)
        assert network is not None
        made.append(network.state_dict()["layers.linear1.weight"])
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[1], made[2])


def test_only_the_command_line_executes_files(model: Path) -> None:
    with pytest.raises(InputError, match="a file of your own"):
        build_network(TrainConfig(architecture=f"{model}:Mine"), load_digits_split().input, 10)


def test_built_in_architectures_have_no_file() -> None:
    assert network_from_file(TrainConfig(), load_digits_split().input) is None
