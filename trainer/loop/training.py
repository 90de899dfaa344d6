"""The training loop.

A run is determined by its configuration and data: batches, augmentation and learning rates follow
from seed, epoch and position, so a checkpoint contains everything needed to resume.
With torchrun, each process handles its share of every batch, and gradients, batch-norm statistics
and sums are those of the whole batch.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from torch import Tensor

from spikeport.energy import HardwareProfile, load_profile
from spikeport.errors import TrainingError
from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.config import Precision, TrainConfig
from spikeport.trainer.data import Dataset, Feed
from spikeport.trainer.data.batches import check_augment, check_batches, default_workers
from spikeport.trainer.data.dataset import Indices, hold_out
from spikeport.trainer.device import choose_device, compiled, place, torch_threads
from spikeport.trainer.energy import EnergyLoss, energy_loss
from spikeport.trainer.loop.checkpoint import (
    Checkpoint,
    EpochProgress,
    EpochRecord,
    best_path,
    exits_of,
    load_checkpoint,
    save_checkpoint,
)
from spikeport.trainer.loop.distillation import Teacher, check_learns, find_teacher
from spikeport.trainer.loop.finite import check_finite
from spikeport.trainer.loop.optimizer import build_optimizer, state_of, trained_parameters
from spikeport.trainer.loop.resume import best_epoch, check_same_run, load_best
from spikeport.trainer.loop.start import (
    Start,
    check_not_written,
    check_own,
    check_same_network,
    first_network,
)
from spikeport.trainer.loop.step import Forward
from spikeport.trainer.loop.step import step as step
from spikeport.trainer.measure import measure_accuracy
from spikeport.trainer.measure.metrics import PROBE, energy_uj
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.ranks import process_group, share, sum_gradients, sum_over_ranks


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained network, in evaluation mode, and the statistics of its epochs.

    Attributes:
        model: the network after the last epoch.
        config: the configuration that it was trained with.
        history: statistics of each epoch, in order.
        best: the network after the best epoch by validation, None without validation.
    """

    model: AnyNetwork
    config: TrainConfig
    history: tuple[EpochRecord, ...]
    best: AnyNetwork | None = None

    @property
    def best_epoch(self) -> int | None:
        """The best epoch by validation; see `resume.best_epoch`."""
        return best_epoch(self.history, self.config.energy_budget_uj)


@dataclass(frozen=True, slots=True)
class TrainingCallbacks:
    """Callbacks called during training.

    Attributes:
        epoch: called after every epoch.
        batch: called after every batch with the epoch (counted from 1), its progress, and the
            number of batches per epoch.
    """

    epoch: Callable[[EpochRecord], None] = lambda record: None
    batch: Callable[[int, EpochProgress, int], None] = lambda epoch, progress, count: None


def train(
    config: TrainConfig,
    data: Dataset,
    progress: Callable[[EpochRecord], None] | TrainingCallbacks | None = None,
    *,
    network: SpikingNetwork | None = None,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    minutes: float | None = None,
    workers: int | None = None,
    start: Start | None = None,
    teacher: Start | None = None,
) -> TrainingResult:
    """Train on the training samples only, for a fixed number of epochs.

    Args:
        config: network, optimizer and length of training.
        data: the data set; its test samples are not used.
        progress: called after every epoch, or a `TrainingCallbacks`.
        network: the network to train, such as that of `from_module`, instead of the built-in one
            that `config` describes (whose `architecture`, `widths` and neurons are then not used).
            It is copied, and keeps its weights; a warning lists what prevents its deployment. Its
            checkpoints contain its graph, so they can be loaded without the module's class;
            resuming needs it again, for comparison.
        checkpoint: file written before the first epoch and after every epoch. The best epoch by
            validation is saved next to it (`best_path`).
        resume: continue from `checkpoint`; the final weights equal those of an uninterrupted run,
            bit for bit.
        minutes: also write the checkpoint within epochs, at this interval.
        workers: number of threads that prefetch batches; chosen automatically by default.
        start: a network, or the path of a checkpoint, whose weights and running statistics training
            starts from instead of random ones; not used again when a run is resumed. With
            `weight_bits` it must be a `QATNetwork`.
        teacher: a trained network, or the path of a checkpoint, to learn from with `distillation`;
            needed again when a run is resumed.

    Returns:
        The trained network in evaluation mode, and the statistics of its epochs.

    Raises:
        InputError: one of these:
            - Network: its input is not that of the data; its steps or rule are not those of
              `config`; it has a layer that a checkpoint cannot describe.
            - Data: they do not support the configured augmentation; batches are too small for batch
              norm or for the number of processes.
            - Start, teacher, checkpoint: `start` has another architecture; the teacher is missing,
              is for other data or has nothing to teach; there is nothing to resume from, or it
              belongs to another configuration or data set; the checkpoint to write is that of
              `start` or `teacher`.
            - Energy: a budget is set, but no chip can run the network, or it cannot be met.
            - Training: loss, statistics or gradients became NaN or infinite.
        OutputError: the checkpoint cannot be written.
    """
    watch = (
        progress
        if isinstance(progress, TrainingCallbacks)
        else TrainingCallbacks(progress or TrainingCallbacks().epoch)
    )
    with torch_threads(config.threads), process_group(config.device):
        run = _begin(config, data, network, checkpoint, resume, workers, start, teacher)
        while len(run.state.history) < config.epochs:
            run = _epoch(run, watch, minutes)
        return _result(run)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Run:
    """State of a run; the network in `state` and the optimizer change in place."""

    state: Checkpoint
    data: Dataset
    feed: Feed
    held_out: Indices
    optimizer: torch.optim.Optimizer
    forward: Forward
    device: torch.device
    path: str | PathLike[str] | None
    workers: int
    best: AnyNetwork | None
    profile: HardwareProfile
    energy: EnergyLoss | None
    teacher: Teacher | None

    def save(self) -> None:
        if self.path is not None and share()[0] == 0:
            save_checkpoint(self.path, self.state)


def _begin(
    config: TrainConfig,
    data: Dataset,
    own: SpikingNetwork | None,
    path: str | PathLike[str] | None,
    resume: bool,
    workers: int | None,
    start: Start | None,
    teacher: Start | None,
) -> _Run:
    if path is not None:
        check_not_written(config, path, (start, teacher))
    if own is not None:
        check_own(config, data, own)
    taught = find_teacher(config, data, teacher)
    profile = load_profile(config.energy_profile)
    check_augment(config.augment, data.train_x, data.input)
    kept: Indices = np.arange(len(data.train_x))
    held_out: Indices = np.arange(0)
    if config.validation:
        kept, held_out = hold_out(data.train_y, config.validation, config.seed)
    best = None
    if resume:
        if path is None:
            raise TrainingError("training: resume needs a checkpoint path")
        state = load_checkpoint(path)
        check_same_run(str(path), state, config, data, taught)
        check_same_network(str(path), state, own)
        best = load_best(path, state)
    else:
        network = first_network(config, data, start, own)
        check_learns(config, network, taught)
        by = None if taught is None else taught.digest
        facts = data.classes, data.name, data.fingerprint
        exits = exits_of(config, network)
        state = Checkpoint(network, config, *facts, teacher=by, own=own is not None, exits=exits)
    device = choose_device(config.device)
    for module in (state.model, state.exits, None if taught is None else taught.network):
        if module is not None:
            place(module, device, channels_last=config.channels_last)
    feed = Feed(
        data.train_x, data.train_y, kept, config.augment, config.seed, config.batch_size, share()
    )
    check_batches(feed, state.model, state.exits)
    if workers is None:
        workers = default_workers(data.train_x, config.augment, config.threads)
    optimizer = build_optimizer(config, state.model, state.exits, state.optimizer)
    energy = energy_loss(config, state.model, profile, data.train_x[:PROBE])
    forward: Forward = state.model.training_pass
    if config.compile:
        forward = compiled(forward)
    run = _Run(
        state=state,
        data=data,
        feed=feed,
        held_out=held_out,
        optimizer=optimizer,
        forward=forward,
        device=device,
        path=path,
        workers=workers,
        best=best,
        profile=profile,
        energy=energy,
        teacher=taught,
    )
    if not resume:
        run.save()
    return run


def _epoch(run: _Run, watch: TrainingCallbacks, minutes: float | None) -> _Run:
    """Train to the end of the current epoch."""
    config, network, done = run.state.config, run.state.model, run.state.progress
    epoch = len(run.state.history)
    lr = config.learning_rate(epoch)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    network.train()
    before, saved, started = done.seconds, time.monotonic(), time.perf_counter()
    for x, y, whole in run.feed.epoch(epoch, done.batches, run.workers):
        run.optimizer.zero_grad()
        loss, hits, rate = _update(run, x, y, whole, epoch)
        done = EpochProgress(
            batches=done.batches + 1,
            samples=done.samples + whole,
            loss_sum=done.loss_sum + loss * whole,
            hits=done.hits + hits,
            rate_sum=done.rate_sum + rate,
            seconds=before + time.perf_counter() - started,
        )
        watch.batch(epoch + 1, done, run.feed.count)
        if minutes is not None and time.monotonic() - saved >= 60 * minutes:
            _with(run, progress=done).save()
            saved = time.monotonic()
    record = EpochRecord(
        epoch + 1, done.loss, done.accuracy, done.firing_rate, lr, done.seconds,
        _validate(run), energy_uj(network, run.data.train_x[:PROBE], run.profile),
    )  # fmt: skip
    run = _with(run, history=(*run.state.history, record), progress=EpochProgress())
    run = _keep_best(run)
    run.save()
    watch.epoch(record)
    return run


def _update(run: _Run, x: Tensor, y: Tensor, whole: int, epoch: int) -> tuple[float, int, float]:
    """Take one optimizer step; return loss, hits and summed firing rate of the whole batch."""
    config, network, exits = run.state.config, run.state.model, run.state.exits
    x, y = x.to(run.device), y.to(run.device)
    if config.channels_last and x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    half = config.precision is Precision.BFLOAT16
    with torch.autocast(run.device.type, torch.bfloat16, enabled=half):
        loss, scores, record = step(
            network, x, y, whole, run.forward, run.energy, run.teacher, exits
        )
    sum_gradients(parameter for _, parameter in trained_parameters(network, exits))
    check_finite(network, loss, record, epoch, exits)
    run.optimizer.step()
    hits = (scores.argmax(1) == y).sum().double()
    sums = torch.stack([loss.double(), hits, loss.new_tensor(record.firing_rate * len(y)).double()])
    mean, right, rates = sum_over_ranks(sums).tolist()
    return mean, int(right), rates


def _validate(run: _Run) -> float | None:
    if not len(run.held_out):
        return None
    return measure_accuracy(run.state.model, run.data.train_x, run.data.train_y, run.held_out)


def _keep_best(run: _Run) -> _Run:
    """If the last epoch is the best so far, keep a copy in memory and next to the checkpoint."""
    budget = run.state.config.energy_budget_uj
    if best_epoch(run.state.history, budget) != len(run.state.history):
        return run
    if run.path is not None and share()[0] == 0:
        # Before the checkpoint itself, which must not refer to a best epoch that does not exist.
        save_checkpoint(best_path(run.path), run.state)
    return dataclasses.replace(run, best=copy.deepcopy(run.state.model))


def _with(
    run: _Run, *, progress: EpochProgress, history: tuple[EpochRecord, ...] | None = None
) -> _Run:
    """`run` with its state updated."""
    state = dataclasses.replace(
        run.state,
        history=run.state.history if history is None else history,
        optimizer=state_of(run.state.model, run.state.exits, run.optimizer),
        progress=progress,
    )
    return dataclasses.replace(run, state=state)


def _result(run: _Run) -> TrainingResult:
    """The result, with networks on the CPU in torch's default memory format."""
    for network in filter(None, (run.state.model, run.best)):
        network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return TrainingResult(run.state.model, run.state.config, run.state.history, run.best)
