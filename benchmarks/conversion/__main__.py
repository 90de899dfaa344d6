"""Conversion of ResNet-20, -56 and -110 for CIFAR-10, by every method and after 3 to 64 steps.

`python -m benchmarks.conversion FOLDER [--networks preact20 ...] [--data FOLDER] [--threads 2]`

Trains the ANNs (30,000 images, or as many as there are), converts them in every way, and writes
accuracy and errors to FOLDER, a JSON file for each ANN, and the tables to FOLDER/tables.md. An
interrupted run goes on where it stopped. Hours on two cores: `--networks preact20` is one.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.conversion.anns import TRAINING_IMAGES, cifar10, trained
from benchmarks.conversion.page import page
from benchmarks.conversion.tables import STEPS, Table, Way, ways
from spikeport.storage import write_text


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything a network gets.

    Attributes:
        epochs, images: of the training of thresholds.
        tested: test images for accuracies.
        rows: names of the rows; empty for all.
        most: the largest number of steps.
    """

    epochs: int
    images: int
    tested: int
    rows: tuple[str, ...] = ()
    most: int = STEPS[-1]

    def ways(self) -> tuple[Way, ...]:
        """The rows."""
        return tuple(
            replace(way, steps=tuple(steps for steps in way.steps if steps <= self.most))
            for way in ways()
            if not self.rows or way.name in self.rows
        )


_SPIKING = ("data-based", "initial potential", "QCFS, L = 8", "quantized ANN, L = T", "tuned")
PLANS = {
    "preact20": Plan(2, 15_000, 1000),
    "resnet20": Plan(2, 15_000, 1000, _SPIKING),
    "preact56": Plan(1, 5_000, 200, (*_SPIKING, "tuned and restructured"), 32),
    "preact110": Plan(1, 2_500, 100, (*_SPIKING, "tuned and restructured"), 32),
}
LR = 0.005


def main() -> None:
    """Train, convert, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", default=list(PLANS), choices=PLANS)
    parser.add_argument("--data", default="", help="folder that contains cifar-10-batches-bin")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(chosen.threads)
    data = cifar10(chosen.data, TRAINING_IMAGES)
    for name in chosen.networks:
        ann = trained(name, chosen.folder, data, chosen.threads)
        plan = PLANS[name]
        training: dict[str, Any] = {"epochs": plan.epochs, "lr": LR, "calibration": 128}
        fewer = cifar10(chosen.data, plan.images)
        path = chosen.folder / f"table-{name}.json"
        Table(path, ann, fewer, training, plan.tested, chosen.threads).fill(plan.ways())
        write_text(chosen.folder / "tables.md", text := page(chosen.folder))
        print(text, flush=True)


if __name__ == "__main__":
    main()
