"""Training in several processes: the same result as in one, whatever the share of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.trainer import Augment, TrainingResult, build_network, load_checkpoint, train
from spikeport.trainer.data import Feed
from spikeport.trainer.data.batches import check_shares
from spikeport.trainer.loop.checkpoint import best_path
from spikeport.trainer.rules import GradientRule
from tests.helpers import own_module
from tests.helpers.ranks import CONFIG, SAMPLES, TAUGHT, WITH_EXITS, by, teacher
from tests.helpers.training import KilledError, killing_after, state, tiny_data

ROOT = Path(__file__).parent.parent
SCRIPT = """
import os
from pathlib import Path
from spikeport.trainer import train
from spikeport.trainer.ranks import process_group
from spikeport.trainer.rules import GradientRule
from tests.helpers import own_module
from tests.helpers.ranks import CONFIG, SAMPLES, TAUGHT, WITH_EXITS, by, teacher
from tests.helpers.training import tiny_data
{body}
"""
BY_EVERY_RULE = """
with process_group("cpu"):
    for rule in GradientRule:
        path = Path({folder!r}, f"{{rule}}.safetensors")
        train(by(rule), tiny_data(SAMPLES), checkpoint=path, minutes=0)
    path = Path({folder!r}, "taught.safetensors")
    train(TAUGHT, tiny_data(SAMPLES), checkpoint=path, minutes=0, teacher=teacher())
    path = Path({folder!r}, "exits.safetensors")
    train(WITH_EXITS, tiny_data(SAMPLES), checkpoint=path, minutes=0)
    config, data = own_module.CONFIG, tiny_data()
    seed = config.seed + int(os.environ["RANK"])
    network = own_module.own_network(config, data.input, seed=seed)
    path = Path({folder!r}, "own.safetensors")
    train(config, data, network=network, checkpoint=path)
"""
GOING_ON = """
train(CONFIG, tiny_data(SAMPLES), checkpoint={path!r}, resume=True, minutes=0)
"""


def torchrun(folder: Path, body: str) -> None:
    """Run `body` in two processes."""
    script = folder / "run.py"
    script.write_text(SCRIPT.format(body=body))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of two processes by what they train, started once, which takes longest."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun(folder, BY_EVERY_RULE.format(folder=str(folder)))
    return folder


def assert_same(path: Path, alone: TrainingResult) -> None:
    """Up to sums in another order; a spike that these flip would show far above."""
    shared = load_checkpoint(path)
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(shared.model.state_dict()[name], value, rtol=2e-4, atol=2e-5)
    assert len(shared.history) == len(alone.history) == CONFIG.epochs
    for ours, theirs in zip(shared.history, alone.history, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert ours.firing_rate == pytest.approx(theirs.firing_rate, rel=1e-6)
        assert (ours.accuracy, ours.valid_accuracy) == (theirs.accuracy, theirs.valid_accuracy)
    assert len(load_checkpoint(best_path(path)).history) == alone.best_epoch


@pytest.mark.slow
@pytest.mark.parametrize("rule", GradientRule)
def test_two_processes_train_as_one(shared: Path, rule: GradientRule) -> None:
    alone = train(by(rule), tiny_data(SAMPLES))
    assert_same(shared / f"{rule}.safetensors", alone)
    first, last = build_network(by(rule), alone.model.input, 4), alone.model
    for name, value in first.named_parameters():
        moved = (dict(last.named_parameters())[name] - value).abs().max()
        assert name.endswith(".bias") or moved > 1e-2


def test_two_processes_learn_from_a_teacher_as_one(shared: Path) -> None:
    alone = train(TAUGHT, tiny_data(SAMPLES), teacher=teacher())
    assert_same(shared / "taught.safetensors", alone)
    untaught = load_checkpoint(shared / f"{CONFIG.rule}.safetensors").history
    assert all(abs(a.loss - b.loss) > 1e-3 for a, b in zip(alone.history, untaught, strict=True))


def test_two_processes_train_with_exits_as_one(shared: Path, tmp_path: Path) -> None:
    """Their batch norms take the statistics of both, and reliable samples are counted over both."""
    path = tmp_path / "alone.safetensors"
    assert_same(
        shared / "exits.safetensors", train(WITH_EXITS, tiny_data(SAMPLES), checkpoint=path)
    )
    ours, theirs = load_checkpoint(shared / "exits.safetensors").exits, load_checkpoint(path).exits
    assert ours is not None
    assert theirs is not None
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=2e-4, atol=2e-5)


def test_no_two_rules_train_alike(shared: Path) -> None:
    """So that the comparison above is five comparisons."""
    weights = [
        load_checkpoint(shared / f"{rule}.safetensors").model.state_dict()["layers.conv1.weight"]
        for rule in GradientRule
    ]
    for place, one in enumerate(weights):
        assert all(float((one - other).abs().max()) > 1e-3 for other in weights[:place])


@pytest.mark.slow
def test_what_one_process_began_two_go_on_with(tmp_path: Path) -> None:
    """In the middle of an epoch."""
    path, data = tmp_path / "two.safetensors", tiny_data(SAMPLES)
    with pytest.raises(KilledError):
        train(CONFIG, data, killing_after(4), checkpoint=path, minutes=0)
    assert load_checkpoint(path).progress.batches == 1
    torchrun(tmp_path, GOING_ON.format(path=str(path)))
    assert_same(path, train(CONFIG, data))


@pytest.mark.slow
def test_processes_start_from_the_weights_of_the_first(shared: Path) -> None:
    """Modules are often initialised from an unset seed, so differently in each process."""
    config, data = own_module.CONFIG, tiny_data()
    alone = train(config, data, network=own_module.own_network(config, data.input))
    own = load_checkpoint(shared / "own.safetensors").model
    for name, value in state(alone).items():
        torch.testing.assert_close(own.state_dict()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("batch_size", "smallest"), [(20, 1), (1, 1), (13, 2)])
def test_every_process_needs_a_sample(batch_size: int, smallest: int) -> None:
    data = tiny_data(41)

    def feed(ranks: int) -> Feed:
        shares = (0, ranks)
        return Feed(data.train_x, data.train_y, np.arange(41), Augment(), 0, batch_size, shares)

    check_shares(feed(smallest))
    with pytest.raises(InputError, match=f"smallest batch .* has {smallest} of 41 samples"):
        check_shares(feed(smallest + 1))
