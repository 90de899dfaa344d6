"""The ANNs of the benchmark: short trainings on two cores, resumable.

A deep network starts from a shallower one, with the same function: blocks are repeated, and the
last convolution of each added block is zero, so that its sum is its input. Trained from random
weights for so few epochs, ResNet-56 and -110 would not get far.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from spikeport.trainer import (
    Augment,
    Dataset,
    SpikingNetwork,
    TrainConfig,
    TrainingCallbacks,
    build_network,
    load_checkpoint,
    load_dataset,
    train,
)

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
TRAINING_IMAGES = 30_000
AUGMENT = Augment(crop_padding=4, flip=True)


@dataclass(frozen=True, slots=True)
class Ann:
    """An ANN to train.

    Attributes:
        start: the name of the shallower one that it starts from.
    """

    architecture: str
    epochs: int
    lr: float
    start: str | None = None


ANNS = {
    "resnet20": Ann("resnet20", 10, 0.1),
    "preact20": Ann("preact_resnet20", 10, 0.1),
    "preact56": Ann("preact_resnet56", 2, 0.05, "preact20"),
    "preact110": Ann("preact_resnet110", 1, 0.03, "preact56"),
}


def cifar10(folder: str, images: int = TRAINING_IMAGES) -> Dataset:
    """CIFAR-10 with the first `images` training images, in bytes normalised per channel."""
    return load_dataset("cifar10", folder=folder, train_samples=images, mean=MEAN, std=STD)


def config(ann: Ann, threads: int) -> TrainConfig:
    """How it is trained."""
    return TrainConfig(
        architecture=ann.architecture,
        widths=(16,),
        activation="relu",  # type: ignore[arg-type]  # by its value
        steps=1,
        rule="bptt_m",  # type: ignore[arg-type]
        epochs=ann.epochs,
        batch_size=128,
        lr=ann.lr,
        weight_decay=5e-4,
        threads=threads,
        channels_last=True,
        augment=AUGMENT,
    )


def trained(name: str, folder: Path, data: Dataset, threads: int = 1) -> SpikingNetwork:
    """The trained ANN; trains it, or goes on where an earlier run stopped."""
    ann = ANNS[name]
    path = folder / f"{name}.safetensors"
    wanted = config(ann, threads)
    if path.exists() and len((state := load_checkpoint(path)).history) >= ann.epochs:
        assert isinstance(state.model, SpikingNetwork)
        return state.model.eval()
    start = None
    if ann.start is not None and not path.exists():
        start = deepened(
            trained(ann.start, folder, data, threads), build_network(wanted, data.input, 10)
        )
    watch = TrainingCallbacks(
        epoch=lambda record: print(
            f"{name}: epoch {record.epoch}, accuracy {record.accuracy:.4f}, {record.seconds:.0f} s",
            flush=True,
        )
    )
    result = train(
        wanted, data, watch, checkpoint=path, resume=path.exists(), minutes=5, start=start
    )
    assert isinstance(result.model, SpikingNetwork)
    return result.model


@torch.no_grad()
def deepened(shallow: SpikingNetwork, deep: SpikingNetwork) -> SpikingNetwork:
    """`deep`, a pre-activation ResNet, with the function of `shallow`.

    The first block of a stage takes the weights of the first block; the others are divided evenly
    among the remaining ones. The last convolution of all but the first of each group is zero.
    """
    deep = copy.deepcopy(deep)
    known, state = shallow.state_dict(), deep.state_dict()
    few, many = (_blocks(list(given)) - 1 for given in (known, state))
    for name, value in state.items():
        found = _BLOCK.search(name)
        if found is None:
            value.copy_(known[name])
            continue
        block = int(found[2]) - 2  # from 0, without the first of the stage
        source = max(-1, block * few // many)
        value.copy_(known[_BLOCK.sub(rf"s\1b{source + 2}_", name)])
        if block > 0 and source == (block - 1) * few // many and "_conv2." in name:
            value.zero_()
    deep.load_state_dict(state)
    return deep


_BLOCK = re.compile(r"s(\d+)b(\d+)_")


def _blocks(names: list[str]) -> int:
    return max(int(found[2]) for name in names if (found := _BLOCK.search(name)))
