"""A training loop of the user's own, and the checkpoint of what it trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spikeport.errors import InputError
from spikeport.trainer import (
    TrainConfig,
    checkpoint_of,
    load_checkpoint,
    load_digits_split,
    save_checkpoint,
    train,
)
from spikeport.trainer.network import describe_graph
from tests.helpers.command import call
from tests.helpers.layout import ROOT
from tests.helpers.own_module import CONFIG, own_network
from tests.helpers.training import assert_same_weights, tiny_data

EXAMPLE = ROOT / "examples" / "own_network.py"


@pytest.mark.slow
def test_the_example_reaches_the_chip_from_its_own_loop_and_from_ours(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, "--epochs", "3", "--out", tmp_path / "mine"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "mine" / "ladder.json").read_text())["parity"]["rows"]
    assert all(row["passed"] for row in rows)
    assert rows[0]["accuracy"]["correct"] > 0.9 * rows[0]["accuracy"]["n"]
    stored = load_checkpoint(tmp_path / "mine" / "mine.safetensors")
    assert stored.own
    out = tmp_path / "ours.safetensors"
    options = ["--data", "digits", "--epochs", "1", "-T", "4", "--out", str(out)]
    assert call(["train", f"{EXAMPLE}:digits", *options]) == 0
    assert describe_graph(load_checkpoint(out).model) == describe_graph(stored.model)  # type: ignore[arg-type]


def test_the_checkpoint_of_a_loop_of_ones_own_is_a_start(tmp_path: Path) -> None:
    data = tiny_data()
    network = own_network(CONFIG, data.input)
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, checkpoint_of(network, data))
    stored = load_checkpoint(path)
    assert_same_weights(dict(stored.model.state_dict()), dict(network.state_dict()))
    assert (stored.classes, stored.history, stored.optimizer) == (data.classes, (), {})
    config = TrainConfig(steps=CONFIG.steps, rule=CONFIG.rule, epochs=1)
    from_file = train(config, data, network=own_network(CONFIG, data.input, seed=3), start=path)
    from_memory = train(config, data, network=network)
    assert_same_weights(dict(from_file.model.state_dict()), dict(from_memory.model.state_dict()))


def test_what_no_checkpoint_can_be_made_of() -> None:
    data = tiny_data()
    with pytest.raises(InputError, match=r"^network: is a Linear, must be a SpikingNetwork"):
        checkpoint_of(torch.nn.Linear(2, 2), data)  # type: ignore[arg-type]
    other = own_network(CONFIG, data.input)
    with pytest.raises(InputError, match=r"^network: expects .*, data set 'digits' has "):
        checkpoint_of(other, load_digits_split())
