"""`convert`: from a trained ANN to a network of integrate-and-fire neurons."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikeport.errors import ConversionError
from spikeport.runs import float_range, same_range
from spikeport.trainer.config import Activation, TrainConfig
from spikeport.trainer.conversion.config import PARTS, ConversionConfig
from spikeport.trainer.conversion.errors import conversion_errors
from spikeport.trainer.conversion.graph import (
    activations,
    check_ann,
    copy_of,
    quantized,
    reestimate_norms,
    thresholds_of,
)
from spikeport.trainer.conversion.shortcuts import Shortcuts, analog_sums, restructure
from spikeport.trainer.conversion.spiking import to_spiking
from spikeport.trainer.conversion.thresholds import (
    TunedThreshold,
    activation_percentiles,
    chosen,
    search_thresholds,
)
from spikeport.trainer.data import Augment, Dataset
from spikeport.trainer.loop import TrainingCallbacks, train
from spikeport.trainer.loop.checkpoint import EpochRecord
from spikeport.trainer.loop.distillation import digest
from spikeport.trainer.network import SpikingNetwork, from_ann
from spikeport.trainer.neurons import QuantizedReLU
from spikeport.trainer.rules import GradientRule

WORTH = 0.8
"""Share of the input variance to which other shortcuts must lower it to be chosen."""
_NORM_SAMPLES = 2048
"""Training samples over which batch norms are estimated anew."""
_VARIANCE_SAMPLES = 64
_BATCH = 128


@dataclass(frozen=True, slots=True)
class ConversionProgress:
    """Callbacks called during a conversion.

    Attributes:
        part: called with the name of each part as it begins.
        tuned: called after the search of each layer.
        training: see `train`.
    """

    part: Callable[[str], None] = lambda name: None
    tuned: Callable[[TunedThreshold], None] = lambda tuned: None
    training: TrainingCallbacks = field(default_factory=TrainingCallbacks)


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """A converted network and how it came about.

    Attributes:
        network: the spiking network, in evaluation mode.
        ann: the ANN with the thresholds that were trained; the reference of conversion errors.
        config: how it was converted.
        shortcuts: those of the residual blocks.
        variances: mean over layers of the input variance, in units of theta^2, of each kind of
            shortcuts that was tried.
        tuned: result of the search, by layer; empty without one.
        history: of the training of thresholds, if any.
        seconds: duration of each part.
    """

    network: SpikingNetwork
    ann: SpikingNetwork
    config: ConversionConfig
    shortcuts: Shortcuts
    variances: Mapping[Shortcuts, float] = field(default_factory=dict)
    tuned: tuple[TunedThreshold, ...] = ()
    history: tuple[EpochRecord, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def convert(
    ann: SpikingNetwork | nn.Module,
    data: Dataset,
    config: ConversionConfig | None = None,
    *,
    augment: Augment | None = None,
    threads: int = 1,
    seed: int = 0,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: ConversionProgress | None = None,
) -> Conversion:
    """Convert a trained ANN to a spiking network for T steps.

    Args:
        ann: a network with activations, such as `train` or `from_ann` returns, or a torch module.
        data: its training samples calibrate and train; test samples are not used.
        config: method and settings.
        augment: random changes of training samples.
        threads, seed: of training.
        checkpoint: file for the ANN whose thresholds are trained, written after every epoch.
        resume: continue the training of thresholds from `checkpoint`.
        progress: called as parts begin and epochs end.

    Raises:
        InputError: the ANN contains something that integrate-and-fire neurons cannot compute, or
            does not fit the data, or an activation is 0 for all calibration samples; or see
            `train`.
    """
    config = config or ConversionConfig()
    source = ann if isinstance(ann, SpikingNetwork) else from_ann(ann, data.input)
    check_ann(source)
    if source.input.shape != data.input.shape:
        raise ConversionError(
            f"network: expects samples of shape {source.input.shape}, data set '{data.name}' has "
            f"{data.input.shape}"
        )
    if not same_range(source.input, data.input):
        ranges = [
            f"{low:g}..{high:g}" for low, high in map(float_range, (source.input, data.input))
        ]
        raise ConversionError(
            f"network: was trained on values of {ranges[0]}, data set '{data.name}' has "
            f"{ranges[1]}; give the data with the levels, mean and std of its training"
        )
    work = _Work(data, config, progress or ConversionProgress())
    options = _TrainingOptions(augment or Augment(), threads, seed, checkpoint, resume)
    return work.convert(copy_of(source), options)


class _TrainingOptions(NamedTuple):
    augment: Augment
    threads: int
    seed: int
    checkpoint: str | PathLike[str] | None
    resume: bool


class _Restructured(NamedTuple):
    network: SpikingNetwork
    shortcuts: Shortcuts
    variances: Mapping[Shortcuts, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One conversion; `seconds` is filled as parts end."""

    data: Dataset
    config: ConversionConfig
    progress: ConversionProgress
    seconds: dict[str, float] = field(default_factory=dict)

    def convert(self, source: SpikingNetwork, options: _TrainingOptions) -> Conversion:
        config, levels = self.config, self.config.trained_levels
        with self._part("shortcuts"):
            network, shortcuts, variances = self._restructured(source)
        history: tuple[EpochRecord, ...] = ()
        if levels is None:
            with self._part("thresholds"):
                thresholds: Mapping[str, float] = self._percentiles(network)
            reference, clipped = network, quantized(network, thresholds, None)
        else:
            if not _has_levels(network, levels):
                with self._part("thresholds"):
                    network = self._with_levels(network, levels)
                if config.epochs:
                    with self._part("training"):
                        network, history = self._trained(network, options)
            thresholds = thresholds_of(network)
            reference = clipped = network
        tuned: tuple[TunedThreshold, ...] = ()
        if config.searches:
            with self._part("search"):
                tuned = self._search(clipped, config.steps)
            thresholds = chosen(tuned)
        spiking = to_spiking(reference, thresholds, config.steps, initial=config.initial)
        spiking.provenance = _provenance(source, config, shortcuts, len(history))
        return Conversion(
            network=spiking,
            ann=reference,
            config=config,
            shortcuts=shortcuts,
            variances=variances,
            tuned=tuned,
            history=history,
            seconds=self.seconds,
        )

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        self.progress.part(name)
        yield
        self.seconds[name] = time.perf_counter() - started

    def _restructured(self, source: SpikingNetwork) -> _Restructured:
        """The network with the shortcuts of the configuration, or with those of least variance.

        Others than the network was built with must be worth the change of its function.
        """
        wanted = self.config.shortcuts
        if wanted is None and not PARTS[self.config.method].restructures:
            wanted = Shortcuts.ANALOG
        if not analog_sums(source):
            return _Restructured(source, Shortcuts.ANALOG, {})
        if wanted is not None:
            return _Restructured(self._with_shortcuts(source, wanted), wanted, {})
        tried = {kind: self._with_shortcuts(copy_of(source), kind) for kind in Shortcuts}
        variances = {kind: self._input_variance(network) for kind, network in tried.items()}
        best = min(variances, key=lambda kind: variances[kind])
        if variances[best] > WORTH * variances[Shortcuts.ANALOG]:
            best = Shortcuts.ANALOG
        return _Restructured(tried[best], best, variances)

    def _with_shortcuts(self, source: SpikingNetwork, kind: Shortcuts) -> SpikingNetwork:
        network = restructure(source, kind)
        if kind is not Shortcuts.ANALOG:
            reestimate_norms(network, self._batches(_NORM_SAMPLES))
        return network

    def _input_variance(self, network: SpikingNetwork) -> float:
        """Mean over layers of the variance of x_t over time, in units of theta^2."""
        spiking = to_spiking(network, self._percentiles(network), self.config.steps, initial=0.5)
        batches = self._batches(min(self.config.calibration, _VARIANCE_SAMPLES))
        found = conversion_errors(spiking, batches, [self.config.steps])
        return float(np.mean([(each.input_sigma / each.v_threshold) ** 2 for each in found]))

    def _percentiles(self, network: SpikingNetwork) -> dict[str, float]:
        batches = self._batches(self.config.calibration)
        return activation_percentiles(network, batches, self.config.percentile)

    def _with_levels(self, network: SpikingNetwork, levels: int) -> SpikingNetwork:
        """Quantized activations, to be trained: from thresholds searched for L steps, if at all.

        Thresholds are kept where there are some.
        """
        try:
            thresholds: Mapping[str, float] = thresholds_of(network)
        except ConversionError:
            thresholds = self._percentiles(network)
        if self.config.searches:
            thresholds = chosen(self._search(quantized(network, thresholds, None), levels))
        return quantized(network, thresholds, levels)

    def _trained(
        self, network: SpikingNetwork, options: _TrainingOptions
    ) -> tuple[SpikingNetwork, tuple[EpochRecord, ...]]:
        config = self.config
        result = train(
            TrainConfig(
                activation=Activation.QUANTIZED_RELU,
                levels=config.trained_levels or 1,
                steps=1,
                rule=GradientRule.BPTT_M,
                epochs=config.epochs,
                lr=config.lr,
                batch_size=config.batch_size,
                weight_decay=config.weight_decay,
                augment=options.augment,
                threads=options.threads,
                seed=options.seed,
                channels_last=len(self.data.input.shape) == 3,
            ),
            self.data,
            self.progress.training,
            network=network,
            checkpoint=options.checkpoint,
            resume=options.resume,
        )
        assert isinstance(result.model, SpikingNetwork)  # an ANN has no chip arithmetic
        return result.model, result.history

    def _search(self, network: SpikingNetwork, steps: int) -> tuple[TunedThreshold, ...]:
        x = torch.cat(self._batches(self.config.calibration))
        return search_thresholds(
            network, x, steps, initial=self.config.initial, progress=self.progress.tuned
        )

    def _batches(self, samples: int) -> list[Tensor]:
        """The first training samples; all published data sets are in random order."""
        count = min(samples, len(self.data.train_x))
        return [
            torch.tensor(self.data.train_x[first : min(first + _BATCH, count)])
            for first in range(0, count, _BATCH)
        ]


def _provenance(
    source: SpikingNetwork, config: ConversionConfig, shortcuts: Shortcuts, epochs: int
) -> dict[str, str]:
    """What is known of a converted network wherever it goes."""
    parts = [f"{config.method}, T = {config.steps}"]
    if config.trained_levels is not None:
        given = _has_levels(source, config.trained_levels)
        trained = f"trained (epochs: {epochs})" if epochs or not given else "as given"
        parts.append(f"thresholds for L = {config.trained_levels} {trained}")
    if config.searches:
        parts.append("thresholds searched")
    parts.append(f"{shortcuts} shortcuts")
    return {
        **source.provenance,
        "conversion": ", ".join(parts),
        **({"conversion_label": config.label} if config.label else {}),
        "ann_sha256": digest(source),
    }


def _has_levels(network: SpikingNetwork, levels: int) -> bool:
    """Whether all activations are quantized to these levels already."""
    return all(
        isinstance(op, QuantizedReLU) and op.levels == levels
        for op in activations(network).values()
    )
