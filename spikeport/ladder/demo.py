"""The demonstration: digits from training to Lava, with a report."""

from __future__ import annotations

from pathlib import Path

from spikeport.ladder.config import LadderConfig
from spikeport.ladder.folder import write_ladder
from spikeport.ladder.run import Ladder
from spikeport.ladder.stages import StageProgress, stages_of
from spikeport.storage import output_folder
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.data import load_digits_split
from spikeport.trainer.loop import EpochRecord, train
from spikeport.trainer.network import SpikingNetwork

STEPS = 1 + len(stages_of(SpikingNetwork))
"""Quantization, and every stage of the ladder."""
CHIP = "loihi2"
"""What the network is checked against and priced on: its input is graded, which Loihi 1 has not."""


def run_demo(
    folder: Path,
    *,
    training: TrainConfig | None = None,
    ladder: LadderConfig | None = None,
    resume: bool = False,
    progress: StageProgress = lambda what, done, total: None,
) -> Ladder:
    """Train on digits and run the parity ladder.

    Writes to `folder`: `model.safetensors`, `float.nir`, `network.spikeport`, `deployed.nir`,
    `report.html`, `report.md` and `ladder.json`, each completely or not at all.

    Args:
        ladder: by default priced on `CHIP`.
        resume: continue from the checkpoint in the folder instead of training from scratch.
    """
    config, ladder = training or TrainConfig(), ladder or LadderConfig(profile=CHIP)
    data = load_digits_split()
    total = config.epochs + STEPS
    done = 0
    begun: set[str] = set()

    def trained(record: EpochRecord) -> None:
        nonlocal done
        done = record.epoch
        progress(f"training, accuracy {100 * record.accuracy:.1f} %", done, total)

    def climbing(stage: str, samples: int, of: int) -> None:
        nonlocal done
        if stage not in begun:
            begun.add(stage)
            done += 1
        within = f"{stage}, {samples} of {of} samples" if of else stage
        progress(within, done - 1, total)

    progress("training", done, total)
    checkpoint = folder / "model.safetensors"
    with output_folder(folder):
        result = train(config, data, trained, checkpoint=checkpoint, resume=resume)
    command = f"spikeport demo --epochs {config.epochs} --seed {config.seed}"
    ladder_run = write_ladder(result.model, data, folder, ladder, command, climbing)
    progress("report", total, total)
    return ladder_run
