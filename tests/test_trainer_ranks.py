"""Training in several processes: the same result as in one, whatever the share of each."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.trainer import Augment, load_checkpoint, train
from spikeport.trainer.batches import Feed, check_shares
from spikeport.trainer.checkpoint import best_path
from tests.test_trainer_training import TINY, KilledError, killing_after, tiny_data

ROOT = Path(__file__).parent.parent
CONFIG = dataclasses.replace(
    TINY, epochs=2, batch_size=20, validation=0.25, v_threshold=0.2, energy_budget_uj=0.046
)
SCRIPT = """
import sys
from tests.test_trainer_ranks import CONFIG, train, tiny_data
train(CONFIG, tiny_data({samples}), checkpoint=sys.argv[1], resume={resume}, minutes=0)
"""


def torchrun(path: Path, processes: int, samples: int, *, resume: bool = False) -> None:
    script = path.with_name("run.py")
    script.write_text(SCRIPT.format(samples=samples, resume=resume))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), str(script), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("interrupted", [False, True])
def test_two_processes_train_as_one(tmp_path: Path, interrupted: bool) -> None:
    """Of 43 samples to train on, the last batch of an epoch has shares of two and one.

    A run may also begin alone and go on in two processes, in the middle of an epoch.
    """
    path, data = tmp_path / "two.safetensors", tiny_data(57)
    if interrupted:
        with pytest.raises(KilledError):
            train(CONFIG, data, killing_after(4), checkpoint=path, minutes=0)
        assert load_checkpoint(path).progress.batches == 1
    torchrun(path, 2, 57, resume=interrupted)
    alone = train(CONFIG, data)
    shared = load_checkpoint(path)
    for name, value in alone.model.state_dict().items():
        # Sums in another order; a spike that this flips would show far above.
        torch.testing.assert_close(shared.model.state_dict()[name], value, rtol=2e-4, atol=2e-5)
    for ours, theirs in zip(shared.history, alone.history, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert ours.firing_rate == pytest.approx(theirs.firing_rate, rel=1e-6)
        assert (ours.accuracy, ours.valid_accuracy) == (theirs.accuracy, theirs.valid_accuracy)
    assert len(load_checkpoint(best_path(path)).history) == alone.best_epoch


@pytest.mark.parametrize(("batch_size", "smallest"), [(20, 1), (1, 1), (13, 2)])
def test_every_process_needs_a_sample(batch_size: int, smallest: int) -> None:
    data = tiny_data(41)

    def feed(ranks: int) -> Feed:
        shares = (0, ranks)
        return Feed(data.train_x, data.train_y, np.arange(41), Augment(), 0, batch_size, shares)

    check_shares(feed(smallest))
    with pytest.raises(InputError, match=f"smallest batch .* has {smallest} of 41 samples"):
        check_shares(feed(smallest + 1))
