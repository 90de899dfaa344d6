"""The training loop: rate-based backpropagation, multi-step mode."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.trainer.checkpoint import (
    Checkpoint,
    EpochRecord,
    load_checkpoint,
    save_checkpoint,
)
from spikeport.trainer.config import TrainConfig, build_network
from spikeport.trainer.data import Dataset
from spikeport.trainer.network import Record, SpikingNetwork

Progress = Callable[[EpochRecord], None]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained network, in evaluation mode, and what its epochs saw."""

    model: SpikingNetwork
    config: TrainConfig
    history: tuple[EpochRecord, ...]


def train(
    config: TrainConfig,
    data: Dataset,
    progress: Progress | None = None,
    *,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
) -> TrainingResult:
    """Train on the training samples only, for a fixed number of epochs.

    Args:
        progress: called after every epoch.
        checkpoint: file written before the first epoch and after every one.
        resume: go on from `checkpoint`; the weights at the end are those of a run that was never
            interrupted, bit for bit.

    Raises:
        InputError: loss, statistics or gradients became NaN or infinite; nothing to resume from,
            or it belongs to another configuration or data set.
        OutputError: the checkpoint cannot be written.
    """
    if resume:
        if checkpoint is None:
            raise InputError("training: resume needs a checkpoint path")
        state = load_checkpoint(checkpoint)
        _check_same_run(str(checkpoint), state, config, data)
    else:
        network = build_network(config, data.input, data.classes)
        state = Checkpoint(network, config, data.classes, data.name, data.fingerprint)
        if checkpoint is not None:
            save_checkpoint(checkpoint, state)
    optimizer = _optimizer(config, state)
    x, y = torch.tensor(data.train_x), torch.tensor(data.train_y)
    for epoch in range(len(state.history), config.epochs):
        with _threads(config.threads):
            record = _epoch(state.model, optimizer, config, epoch, x, y)
        state = dataclasses.replace(
            state,
            history=(*state.history, record),
            momentum=_momentum(state.model, optimizer),
        )
        if checkpoint is not None:
            save_checkpoint(checkpoint, state)
        if progress is not None:
            progress(record)
    return TrainingResult(state.model.eval(), config, state.history)


def step(network: SpikingNetwork, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Record]:
    """One forward and backward pass; returns loss, scores (B, N) and the spike pass's record.

    The gradient is scaled as the network's rule has it (1/T), the loss returned is not.
    """
    scores, record = network.training_pass(x)
    loss = functional.cross_entropy(scores, y)
    (loss * network.gradient_scale).backward()  # type: ignore[no-untyped-call]
    return loss.detach(), scores.detach(), record


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _epoch(
    network: SpikingNetwork,
    optimizer: torch.optim.SGD,
    config: TrainConfig,
    epoch: int,
    x: Tensor,
    y: Tensor,
) -> EpochRecord:
    started = time.perf_counter()
    network.train()
    lr = config.learning_rate(epoch)
    for group in optimizer.param_groups:
        group["lr"] = lr
    order = torch.from_numpy(np.random.default_rng((config.seed, epoch)).permutation(len(x)))
    loss_sum = hits = rate_sum = 0.0
    for chosen in torch.split(order, config.batch_size):
        optimizer.zero_grad()
        loss, scores, record = step(network, x[chosen], y[chosen])
        check_finite(network, loss, record, epoch)
        optimizer.step()
        loss_sum += float(loss) * len(chosen)
        hits += int((scores.argmax(1) == y[chosen]).sum())
        rate_sum += record.firing_rate * len(chosen)
    n = len(x)
    seconds = time.perf_counter() - started
    return EpochRecord(epoch + 1, loss_sum / n, hits / n, rate_sum / n, lr, seconds)


def _optimizer(config: TrainConfig, state: Checkpoint) -> torch.optim.SGD:
    """SGD; weight decay only on the weights of convolutions and linear layers."""
    decayed = [
        op.weight for op in state.model.layers.values() if isinstance(op, nn.Conv2d | nn.Linear)
    ]
    known = {id(parameter) for parameter in decayed}
    rest = [parameter for parameter in state.model.parameters() if id(parameter) not in known]
    optimizer = torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ],
        lr=config.lr,
        momentum=config.momentum,
    )
    for name, parameter in state.model.named_parameters():
        if name in state.momentum:
            optimizer.state[parameter]["momentum_buffer"] = state.momentum[name].clone()
    return optimizer


def _momentum(network: SpikingNetwork, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    buffers = {
        name: optimizer.state[parameter].get("momentum_buffer")
        for name, parameter in network.named_parameters()
    }
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def _check_same_run(path: str, state: Checkpoint, config: TrainConfig, data: Dataset) -> None:
    for field in dataclasses.fields(TrainConfig):
        saved, asked = getattr(state.config, field.name), getattr(config, field.name)
        if saved != asked:
            raise InputError(
                f"{path}: was trained with {field.name} {saved!r}, cannot go on with {asked!r}"
            )
    if (state.fingerprint, state.model.input) != (data.fingerprint, data.input):
        raise InputError(
            f"{path}: was trained on other data ('{state.data}'), cannot go on with '{data.name}'"
        )


def check_finite(network: SpikingNetwork, loss: Tensor, record: Record, epoch: int) -> None:
    """Stop before the weights take a step that is not finite; `epoch` counts from 0.

    A NaN charge never spikes, so it can hide behind a finite loss; its gradient cannot.

    Raises:
        InputError: naming the layer in which it began.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    norm = torch.stack([gradient.abs().max() for gradient in gradients]).sum()
    if torch.isfinite(loss + norm):
        return
    what, layer = _origin(network, loss, record)
    raise InputError(
        f"training: {what} in epoch {epoch + 1}, first in layer '{layer}', is NaN or infinite; "
        "a lower lr may help"
    )


def _origin(network: SpikingNetwork, loss: Tensor, record: Record) -> tuple[str, str]:
    for node in network.nodes:
        if not record.finite(node.name):
            return "activation", node.name
    if not torch.isfinite(loss):
        return "loss", network.output
    for node in reversed(network.nodes):
        parameters = network.layers[node.name].parameters() if node.name in network.layers else ()
        if any(p.grad is not None and not p.grad.isfinite().all() for p in parameters):
            return "gradient", node.name
    return "gradient", network.output
