"""Checkpoints: weights, optimizer state and everything needed to go on, in one safetensors file.

Tensors are `network.<state name>`, those of the optimizer as `<kind>.<parameter name>`, and, of a
network in chip arithmetic, `chip.<part>` of the integers that its masters stand for. The header's
metadata holds one JSON document under "spikeport". No pickle. Files are replaced atomically.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spikeport.errors import InputError, SpikeportError
from spikeport.files import write_bytes
from spikeport.network import Input
from spikeport.trainer.chip import AnyNetwork, ChipNetwork
from spikeport.trainer.chip_checkpoint import put_together, take_apart
from spikeport.trainer.config import TrainConfig, build_network
from spikeport.trainer.optimizer import KEPT

KIND = "checkpoint"
VERSION = 2


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch of training saw.

    Attributes:
        epoch: counted from 1.
        loss: mean cross-entropy, not divided by T.
        accuracy: on the training samples as they passed, in training mode.
        firing_rate: spikes per neuron and step.
        seconds: wall-clock time of the epoch, without validation.
        valid_accuracy: on the training samples held out, None where there are none.
        energy_uj: estimate per sample on the chip (see `measuring`), None where it cannot be had.
    """

    epoch: int
    loss: float
    accuracy: float
    firing_rate: float
    lr: float
    seconds: float
    valid_accuracy: float | None = None
    energy_uj: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """An epoch so far: sums over the samples that have passed.

    Attributes:
        batches: done, so many also stand in the epoch's order.
        loss_sum, hits, rate_sum: over `samples`; the last is of spikes per neuron and step.
    """

    batches: int = 0
    samples: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    rate_sum: float = 0.0
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """Mean cross-entropy so far."""
        return self.loss_sum / max(self.samples, 1)

    @property
    def accuracy(self) -> float:
        """Share of hits so far."""
        return self.hits / max(self.samples, 1)

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step so far."""
        return self.rate_sum / max(self.samples, 1)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training run after `len(history)` epochs and `progress` of the next one.

    Attributes:
        data: name of the data set.
        fingerprint: `Dataset.fingerprint` of the data it was trained on.
        optimizer: its state, "kind.parameter name" (see `optimizer`), empty before the first step.
        teacher: digest of the network that answered beside the labels, None if none did.
    """

    model: AnyNetwork
    config: TrainConfig
    classes: int
    data: str
    fingerprint: str
    history: tuple[EpochRecord, ...] = ()
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    progress: Progress = Progress()
    teacher: str | None = None


def best_path(path: str | PathLike[str]) -> Path:
    """Where the best epoch by validation is kept: m.best.safetensors beside m.safetensors."""
    path = Path(path)
    return path.with_name(f"{path.stem}.best{path.suffix}")


def save_checkpoint(path: str | PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an existing file is replaced whole or left alone.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    document = {
        "kind": KIND,
        "version": VERSION,
        "config": asdict(checkpoint.config),
        "input": asdict(checkpoint.model.input),
        "classes": checkpoint.classes,
        "data": checkpoint.data,
        "fingerprint": checkpoint.fingerprint,
        "teacher": checkpoint.teacher,
        "history": [asdict(record) for record in checkpoint.history],
        "progress": asdict(checkpoint.progress),
    }
    tensors = {f"network.{name}": value for name, value in checkpoint.model.state_dict().items()}
    tensors |= checkpoint.optimizer
    if isinstance(checkpoint.model, ChipNetwork):
        document["chip"], arrays = take_apart(checkpoint.model)
        tensors |= arrays
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    write_bytes(path, save(tensors, {"spikeport": json.dumps(document)}))


def load_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint and rebuild its network, in evaluation mode.

    Raises:
        InputError: missing, truncated or foreign file; a tensor is missing, unknown, of wrong
            shape or not finite.
    """
    path = Path(path)
    document, tensors = _read(path)
    try:
        # Files of 0.1.0 name no comparison: it was >=.
        config = TrainConfig(**{"strict": False, **document["config"]})
        input, classes = Input(**document["input"]), document["classes"]
        network, integers = _network(config, input, classes, document.get("chip"), tensors)
        history = tuple(EpochRecord(**record) for record in document["history"])
        progress = Progress(**document.get("progress", {}))
        facts = {key: document[key] for key in ("classes", "data", "fingerprint")}
        facts["teacher"] = document.get("teacher")
    except (KeyError, TypeError, AttributeError, ValueError, SpikeportError) as error:
        raise InputError(f"{path}: the checkpoint's description is broken: {error}") from error
    state = network.state_dict()
    expected = {f"network.{name}": value for name, value in state.items()}
    expected |= _optimizer_state(config, network, tensors)
    _check_tensors(path, {k: v for k, v in tensors.items() if k not in integers}, expected)
    network.load_state_dict({name: tensors[f"network.{name}"] for name in state})
    optimizer = {name: tensors[name] for name in expected if not name.startswith("network.")}
    return Checkpoint(
        network.eval(), config, history=history, optimizer=optimizer, progress=progress, **facts
    )


def _network(
    config: TrainConfig,
    input: Input,
    classes: int,
    chip: Mapping[str, Any] | None,
    tensors: Mapping[str, Tensor],
) -> tuple[AnyNetwork, set[str]]:
    """The network, and the names of tensors that have been used up."""
    if (chip is None) != (config.weight_bits is None):
        raise InputError(f"weight_bits is {config.weight_bits}, which its tensors do not fit")
    if chip is None:
        return build_network(config, input, classes), set()
    network, used = put_together(chip, tensors)
    if network.input != input:
        raise InputError("its input is not that of its integers")
    return network, used


def _optimizer_state(
    config: TrainConfig, network: AnyNetwork, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What a step of the optimizer leaves behind, if there was one."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    expected = {
        f"{kind}.{name}": torch.zeros(()) if kind == "step" else parameter
        for kind in KEPT[config.optimizer]
        for name, parameter in trained.items()
    }
    return expected if any(name in expected for name in tensors) else {}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(f"{path}: does not exist or is no file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: is truncated or no safetensors file: {error}") from error
    try:
        document = json.loads(metadata.get("spikeport", ""))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise InputError(f"{path}: is a safetensors file, but no Spikeport checkpoint")
    if document.get("version") != VERSION:
        raise InputError(
            f"{path}: checkpoint version {document.get('version')}, this program reads {VERSION}"
        )
    return document, tensors


def _check_tensors(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    for name in sorted(tensors.keys() ^ expected.keys()):
        problem = "is missing" if name in expected else "is unknown to this network"
        raise InputError(f"{path}: tensor '{name}' {problem}")
    for name, value in expected.items():
        found = tensors[name]
        if found.shape != value.shape or found.dtype != value.dtype:
            raise InputError(
                f"{path}: tensor '{name}' is {found.dtype} {tuple(found.shape)}, must be "
                f"{value.dtype} {tuple(value.shape)}"
            )
        if not torch.isfinite(found).all():
            raise InputError(f"{path}: tensor '{name}' holds NaN or infinity, must be finite")
