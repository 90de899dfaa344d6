"""Conversion followed by rate-based training, against conversion alone and training from scratch.

`python -m benchmarks.conversion.finetune FOLDER [--network preact20] [--steps 4] [--data FOLDER]`

Takes the ANN that `python -m benchmarks.conversion FOLDER` has trained. Costs are those of training
steps, measured here on the same batch: images x seconds per image. Training from scratch gets the
cost of the ANN, the conversion and the fine-tuning together, rounded up to whole epochs.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.conversion.anns import ANNS, AUGMENT, TRAINING_IMAGES, cifar10, trained
from benchmarks.conversion.anns import config as ann_config
from spikeport.storage import write_text
from spikeport.trainer import (
    Dataset,
    GradientRule,
    SpikingNetwork,
    TrainConfig,
    TrainingCallbacks,
    build_network,
    checkpoint_of,
    load_checkpoint,
    measure_accuracy,
    save_checkpoint,
    train,
)
from spikeport.trainer.config import Activation
from spikeport.trainer.conversion import ConversionConfig, convert

CONVERSION_EPOCHS, FINE_EPOCHS = 2, 1
IMAGES = 15_000
FINE_LR, SCRATCH_LR = 0.005, 0.1
_TIMED, _BATCH = 3, 128


@dataclass(frozen=True, slots=True)
class Row:
    """One way to a spiking network.

    Attributes:
        accuracy: on test images.
        cost: of all training that led to it, in seconds of training steps.
    """

    name: str
    accuracy: float
    cost: float


class Comparison:
    """The rows, kept in a JSON file and the networks beside it; goes on where it stopped."""

    def __init__(self, folder: Path, name: str, steps: int, data: Path | str, threads: int) -> None:
        self.folder, self.name, self.steps, self.threads = folder, name, steps, threads
        self.data = cifar10(str(data), TRAINING_IMAGES)
        self.fewer = cifar10(str(data), IMAGES)
        self.path = folder / f"finetune-{name}-T{steps}.json"

    def rows(self, tested: int) -> list[Row]:
        """Train and convert what is missing; measure all."""
        torch.set_num_threads(self.threads)
        ann = trained(self.name, self.folder, self.data, self.threads)
        converted = self._converted(ann)
        per_image = {
            "ann": seconds_per_image(ann, self.data),
            "levels": seconds_per_image(self._levels(), self.data),
            "spiking": seconds_per_image(converted, self.data),
        }
        built = self._built()
        per_image["scratch"] = seconds_per_image(built, self.data)
        before = ANNS[self.name].epochs * TRAINING_IMAGES * per_image["ann"]
        conversion = before + CONVERSION_EPOCHS * IMAGES * per_image["levels"]
        fine = conversion + FINE_EPOCHS * IMAGES * per_image["spiking"]
        epoch = TRAINING_IMAGES * per_image["scratch"]
        epochs = math.ceil(fine / epoch)
        x, y = self.data.test_x[:tested], self.data.test_y[:tested]
        found = [
            Row("ANN", measure_accuracy(ann, x, y), before),
            Row("conversion", measure_accuracy(converted, x, y), conversion),
            Row(
                f"conversion, then rate-based training ({FINE_EPOCHS} x {IMAGES:,} images)",
                measure_accuracy(self._fine(converted), x, y),
                fine,
            ),
            Row(
                f"rate-based training from scratch ({epochs} x {TRAINING_IMAGES:,} images)",
                measure_accuracy(self._scratch(built, epochs), x, y),
                epochs * epoch,
            ),
        ]
        facts = {
            "steps": self.steps,
            "tested": tested,
            "seconds_per_image": per_image,
            "rows": [{"name": r.name, "accuracy": r.accuracy, "cost": r.cost} for r in found],
        }
        write_text(self.path, json.dumps(facts, indent=1))
        return found

    def _file(self, part: str) -> Path:
        return self.folder / f"finetune-{self.name}-T{self.steps}-{part}.safetensors"

    def _levels(self) -> SpikingNetwork:
        model = load_checkpoint(self._file("levels")).model
        assert isinstance(model, SpikingNetwork)
        return model

    def _converted(self, ann: SpikingNetwork) -> SpikingNetwork:
        path, levels = self._file("converted"), self._file("levels")
        if not path.exists():
            made = convert(
                ann,
                self.fewer,
                ConversionConfig(steps=self.steps, epochs=CONVERSION_EPOCHS, calibration=128),
                augment=AUGMENT,
                threads=self.threads,
                checkpoint=levels,
                resume=levels.exists(),
            )
            save_checkpoint(path, checkpoint_of(made.network, self.fewer))
        model = load_checkpoint(path).model
        assert isinstance(model, SpikingNetwork)
        return model

    def _fine(self, network: SpikingNetwork) -> SpikingNetwork:
        config = replace(self._config(), epochs=FINE_EPOCHS, lr=FINE_LR)
        return self._run("fine", config, self.fewer, network)

    def _built(self) -> SpikingNetwork:
        return build_network(self._config(), self.data.input, self.data.classes)

    def _scratch(self, network: SpikingNetwork, epochs: int) -> SpikingNetwork:
        config = replace(self._config(), epochs=epochs, lr=SCRATCH_LR)
        return self._run("scratch", config, self.data, network)

    def _config(self) -> TrainConfig:
        return replace(
            ann_config(ANNS[self.name], self.threads),
            activation=Activation.LIF,
            steps=self.steps,
            rule=GradientRule.RATE_M,
        )

    def _run(
        self, part: str, config: TrainConfig, data: Dataset, network: SpikingNetwork
    ) -> SpikingNetwork:
        path = self._file(part)
        watch = TrainingCallbacks(
            epoch=lambda record: print(
                f"{part}: epoch {record.epoch}, accuracy {record.accuracy:.4f}, "
                f"{record.seconds:.0f} s",
                flush=True,
            )
        )
        result = train(
            config,
            data,
            watch,
            network=network,
            checkpoint=path,
            resume=path.exists(),
            minutes=5,
        )
        assert isinstance(result.model, SpikingNetwork)
        return result.model


def seconds_per_image(network: SpikingNetwork, data: Dataset) -> float:
    """The shortest of a few training steps on one batch, per image; the network is not changed."""
    x, y = torch.tensor(data.train_x[:_BATCH]), torch.tensor(data.train_y[:_BATCH])
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    best = min(_step(network, x, y) for _ in range(_TIMED))
    network.load_state_dict(state)
    network.zero_grad()
    network.eval()
    return best / len(x)


def _step(network: SpikingNetwork, x: Tensor, y: Tensor) -> float:
    started = time.perf_counter()
    loss = nn.functional.cross_entropy(network(x), y)
    torch.autograd.backward(loss * network.gradient_scale)
    return time.perf_counter() - started


def table(rows: list[Row]) -> str:
    """The rows in Markdown, costs relative to that of the ANN."""
    lines = ["| | test accuracy | cost, ANN = 1 |", "|---|---|---|"]
    lines += (
        f"| {row.name} | {100 * row.accuracy:.1f} % | {row.cost / rows[0].cost:.2f} |"
        for row in rows
    )
    return "\n".join(lines)


def main() -> None:
    """Train, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="preact20", choices=ANNS)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--data", default="", help="folder that contains cifar-10-batches-bin")
    parser.add_argument("--tested", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    work = Comparison(chosen.folder, chosen.network, chosen.steps, chosen.data, chosen.threads)
    print(table(work.rows(chosen.tested)))


if __name__ == "__main__":
    main()
