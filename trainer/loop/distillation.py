"""Distillation: train towards the outputs of a trained network in addition to the labels.

    L = CE(scores, (1 - a) onehot(y) + a softmax(teacher's scores))

where a is the `distillation` of a configuration. When training continues after weights were
rounded,
the network it started from is a useful teacher: its soft targets carry more information about an
augmented sample than the hard label, and labels alone are soon overfitted. Hinton, Vinyals & Dean,
arXiv 1503.02531; for weights of few bits
Mishra & Marr, arXiv 1711.05852.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.errors import InputError, TrainingError
from spikeport.trainer.chip import AnyNetwork, QATNetwork, takes
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.data import Dataset
from spikeport.trainer.loop.start import Start, network_of
from spikeport.trainer.network import SpikingNetwork


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A fixed network whose outputs serve as targets, and the weight of these targets.

    Attributes:
        digest: identifies the network.
    """

    network: AnyNetwork
    weight: float
    digest: str

    def answers_to(self, digest: str | None) -> bool:
        """Whether `digest`, which may come from a checkpoint of 0.1.0, is that of this network."""
        return digest in (self.digest, _digest_0_1_0(self.network))

    @torch.no_grad()
    def targets(self, x: Tensor, y: Tensor) -> Tensor:
        """Target class probabilities (B, N) for samples and their labels.

        The teacher computes in the precision of the surrounding pass.
        """
        scores = self.network.inference(x)
        soft = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(1)
        return torch.lerp(functional.one_hot(y, soft.shape[1]).to(soft.dtype), soft, self.weight)


def find_teacher(config: TrainConfig, data: Dataset, given: Start | None) -> Teacher | None:
    """The teacher that `config` requires, None if it requires none.

    Raises:
        InputError: it is not given, or its input or classes do not match the data.
    """
    if not config.distillation:
        return None
    if given is None:
        raise TrainingError(
            f"training: distillation is {config.distillation}, needs a teacher, a trained network "
            "(--from CHECKPOINT)"
        )
    network = copy.deepcopy(network_of(given)).cpu().eval().requires_grad_(requires_grad=False)
    subject = "teacher" if isinstance(given, AnyNetwork) else str(given)
    if not takes(network, data.input):
        raise TrainingError(f"{subject}: expects {network.input}, the samples are {data.input}")
    try:
        answer = network.inference(torch.tensor(data.train_x[:1]))
    except InputError as error:
        raise type(error)(f"{subject}: {error}") from None
    if answer.shape[1] != data.classes:
        raise TrainingError(
            f"{subject}: has {answer.shape[1]} classes, the data has {data.classes}"
        )
    return Teacher(network, config.distillation, digest(network))


def check_learns(config: TrainConfig, network: AnyNetwork, teacher: Teacher | None) -> None:
    """Refuse a teacher from which nothing can be learned.

    Raises:
        InputError: it is the network that training starts from, and the loss uses its outputs only.
    """
    asked = config.energy_penalty or config.energy_budget_uj is not None
    if teacher is None or config.distillation < 1 or asked:
        return
    if teacher.digest == digest(network):
        raise TrainingError(
            "teacher: is the network that training starts from, which with distillation 1 leaves "
            "nothing to learn; use another teacher or a lower distillation"
        )


def digest(network: AnyNetwork) -> str:
    """Hash of everything that determines a network's outputs."""
    if isinstance(network, QATNetwork):
        return network.deployed().content_hash
    return _digest(network, f"{network.input} {network.steps} {network.nodes}")


def _digest_0_1_0(network: AnyNetwork) -> str:
    """The digest that 0.1.0 gave, whose neurons all fired on >= without saying so."""
    if isinstance(network, QATNetwork):
        return digest(network)
    text = f"{network.input} {network.steps} {network.nodes}"
    return _digest(network, text.replace(", strict=False", ""))


def _digest(network: SpikingNetwork, text: str) -> str:
    found = hashlib.sha256(text.encode())
    for name, value in network.state_dict().items():
        found.update(f"{name} {value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
