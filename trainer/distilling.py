"""Distillation: training towards what a trained network answers, beside the labels.

    L = CE(scores, (1 - a) onehot(y) + a softmax(teacher's scores))

with a the `distillation` of a configuration. Where a network is trained on after its weights were
rounded, the one that it came from says more of a changed sample than its label does: labels alone
are soon fitted too well. Hinton, Vinyals & Dean, arXiv 1503.02531; for weights of few bits
Mishra & Marr, arXiv 1711.05852.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.trainer.chip import AnyNetwork, takes
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.data import Dataset
from spikeport.trainer.starting import Start, network_of


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A network that stays as it is, and how much its answers weigh.

    Attributes:
        digest: tells its weights from others.
    """

    network: AnyNetwork
    weight: float
    digest: str

    @torch.no_grad()
    def targets(self, x: Tensor, y: Tensor) -> Tensor:
        """Class probabilities (B, N) to train towards, of samples and their labels."""
        scores = self.network.inference(x)
        soft = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(1)
        return torch.lerp(functional.one_hot(y, soft.shape[1]).to(soft.dtype), soft, self.weight)


def find_teacher(config: TrainConfig, data: Dataset, given: Start | None) -> Teacher | None:
    """The teacher that `config` asks for, None if it asks for none.

    Raises:
        InputError: there is none, or it answers to other samples or with other classes.
    """
    if not config.distillation:
        return None
    if given is None:
        raise InputError(
            f"training: distillation is {config.distillation}, needs a teacher, a trained network "
            "(--from CHECKPOINT)"
        )
    network = copy.deepcopy(network_of(given)).eval().requires_grad_(requires_grad=False)
    subject = "teacher" if isinstance(given, AnyNetwork) else str(given)
    if not takes(network, data.input):
        raise InputError(f"{subject}: takes {network.input}, the samples are {data.input}")
    try:
        answer = network.inference(torch.tensor(data.train_x[:1]))
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None
    if answer.shape[1] != data.classes:
        raise InputError(
            f"{subject}: tells {answer.shape[1]} classes apart, the data has {data.classes}"
        )
    return Teacher(network, config.distillation, digest(network))


def digest(network: AnyNetwork) -> str:
    """Of a network's weights and statistics, by name."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(name.encode() + bytes(str(value.dtype), "ascii"))
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
