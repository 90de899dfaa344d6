"""`spikeport convert`: methods, files, JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spikeport.trainer import LIF, load_checkpoint
from spikeport.trainer.conversion import ConversionMethod
from tests.helpers.command import Spikeport, call

MODULE = """
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = functional.relu(self.conv(x))
        return self.head(functional.avg_pool2d(x, 2).flatten(1))

class Pooled(Net):
    def forward(self, x):
        x = functional.relu(self.conv(x))
        return self.head(functional.max_pool2d(x, 2).flatten(1))
"""
ANN = ("--set", "training.activation=relu", "--set", "training.steps=1")
FAST = ("--calibration", "32", "--epochs", "1", "--samples", "60")


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ANN trained on digits."""
    path = tmp_path_factory.mktemp("ann") / "ann.safetensors"
    train = ["train", "--model", "conv", "--widths", "4,6", "--epochs", "3", *ANN]
    assert call([*train, "--set", "training.rule=bptt_m", "-o", str(path)]) == 0
    return path


@pytest.mark.parametrize("method", ConversionMethod)
def test_every_method_makes_a_network_for_all_other_verbs(
    ann: Path, tmp_path: Path, spikeport: Spikeport, method: ConversionMethod
) -> None:
    out, chip = tmp_path / "net.safetensors", tmp_path / "net.spikeport"
    code, text, err = spikeport(
        *("convert", ann, "-o", out, "-T", 8, "--method", method, *FAST, "--json")
    )
    assert code == 0, err
    facts = json.loads(text)
    assert (facts["method"], facts["steps"], facts["test_samples"]) == (method, 8, 60)
    assert ("reconstructed from the abstract" in facts.get("label", "")) == (method == "tuned")
    assert bool(facts["tuned"]) == (method == "tuned")
    # data-based scaling needs many more steps
    assert facts["accuracy"] > (0.1 if method == "data-based" else 0.75)
    assert [each["layer"] for each in facts["errors"]] == ["lif1", "lif2"]
    model = load_checkpoint(out).model
    assert model.steps == 8
    share = 0.0 if method == "data-based" else 0.5
    for layer in model.modules():
        if isinstance(layer, LIF):
            assert layer.v_init == share * layer.v_threshold
    assert spikeport("quantize", out, "-o", chip, "--calibration", 32)[0] == 0
    code, text, _ = spikeport("run", chip, "-n", 60, "--json")
    assert code == 0
    assert abs(json.loads(text)["accuracy"] - facts["accuracy"]) <= 2 / 60


def test_the_trained_ann_is_kept_and_resumed(
    ann: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    kept, out = tmp_path / "tuned.safetensors", tmp_path / "net.safetensors"
    command = ("convert", ann, "-o", out, "-T", 4, "--ann", kept, *FAST, "--json")
    code, first, err = spikeport(*command)
    assert code == 0, err
    code, again, err = spikeport(*command, "--resume")
    assert code == 0, err
    assert json.loads(first)["tuned"] == json.loads(again)["tuned"]
    # given again, it needs no training
    code, text, err = spikeport("convert", kept, "-o", out, "-T", 6, *FAST, "--json")
    assert code == 0, err
    assert json.loads(text)["epochs"] == 0
    code, _, err = spikeport("convert", ann, "-o", out, "--resume")
    assert code == 2
    assert "--resume: needs --ann" in err


def test_a_module_of_ones_own_with_its_weights(
    tmp_path: Path, spikeport: Spikeport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MODULE)
    torch.manual_seed(0)
    weights = {
        **{f"conv.{k}": v for k, v in nn.Conv2d(1, 4, 3, padding=1).state_dict().items()},
        **{f"head.{k}": v for k, v in nn.Linear(64, 10).state_dict().items()},
    }
    save_file(weights, "w.safetensors")
    command = ("convert", "mine.py:Net", "-o", "net.safetensors", "-T", 4, *FAST)
    code, text, err = spikeport(*command, "--weights", "w.safetensors")
    assert code == 0, err
    assert "conversion" not in err
    assert "TTRBR-style" in text
    code, _, err = spikeport(*command)
    assert code == 2
    assert "needs --weights FILE.safetensors" in err
    for changed, message in (
        ({**weights, "extra": torch.zeros(2)}, "tensor 'extra' is unknown to the module"),
        ({k: v for k, v in weights.items() if k != "head.bias"}, "tensor 'head.bias' is missing"),
        (
            {**weights, "head.bias": torch.full((10,), torch.nan)},
            "tensor 'head.bias' contains NaN or infinity",
        ),
        ({**weights, "head.bias": torch.zeros(9)}, r"tensor 'head.bias' is (9,), the module needs"),
    ):
        save_file(changed, "bad.safetensors")
        code, _, err = spikeport(*command, "--weights", "bad.safetensors")
        assert code == 2
        assert message in err
    Path("bad.safetensors").write_bytes(b"no tensors")
    code, _, err = spikeport(*command, "--weights", "bad.safetensors")
    assert code == 2
    assert "is not a safetensors file" in err
    pooled = ("convert", "mine.py:Pooled", "-o", "x.safetensors", "--weights", "w.safetensors")
    code, _, err = spikeport(*pooled, "--data", "missing.npz")  # refused before data are read
    assert code == 2
    assert "average pool" in err
    assert not Path("x.safetensors").exists()


def test_a_spiking_network_is_refused(folder: Path, tmp_path: Path, spikeport: Spikeport) -> None:
    out = tmp_path / "net.safetensors"
    code, _, err = spikeport("convert", folder / "m.safetensors", "-o", out)
    assert code == 2
    assert "nothing to convert" in err
    assert not out.exists()


def test_an_output_is_not_an_input(ann: Path, tmp_path: Path, spikeport: Spikeport) -> None:
    before = ann.read_bytes()
    assert spikeport("convert", ann, "-o", ann)[0] == 2
    assert spikeport("convert", ann, "-o", tmp_path / "n.safetensors", "--ann", ann)[0] == 2
    same = tmp_path / "n.safetensors"
    assert spikeport("convert", ann, "-o", same, "--ann", same)[0] == 2
    assert ann.read_bytes() == before
