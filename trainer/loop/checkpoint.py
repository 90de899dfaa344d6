"""Checkpoints: weights, optimizer state and everything needed to go on, in one safetensors file.

Tensors are `network.<state name>`, those of the optimizer as `<kind>.<parameter name>`, and, of a
network in chip arithmetic, `chip.<part>` of the integers that its masters stand for. The header's
metadata holds one JSON document under "spikeport", with a digest of itself and of all tensors.
No pickle. Files are replaced atomically.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from spikeport.checks import MAX_SIZE, integer
from spikeport.errors import InputError
from spikeport.network import Input
from spikeport.storage import check_count, check_elements, write_bytes
from spikeport.storage.canonical import Arrays
from spikeport.storage.limits import MAX_PARTS
from spikeport.storage.tensors import DIGEST, check_digest, pack, unpack, with_digest
from spikeport.trainer.chip import AnyNetwork, QATNetwork, from_tensors, to_tensors
from spikeport.trainer.config import TrainConfig, build_network
from spikeport.trainer.loop.optimizer import KEPT
from spikeport.trainer.network import SpikingNetwork

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

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    epoch: int
    loss: float
    accuracy: float
    firing_rate: float
    lr: float
    seconds: float
    valid_accuracy: float | None = None
    energy_uj: float | None = None


@dataclass(frozen=True, slots=True)
class EpochProgress:
    """An epoch so far: sums over the samples that have passed.

    Attributes:
        batches: done, so many also stand in the epoch's order.
        loss_sum, hits, rate_sum: over `samples`; the last is of spikes per neuron and step.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

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
    progress: EpochProgress = EpochProgress()
    teacher: str | None = None


def best_path(path: str | PathLike[str]) -> Path:
    """Where the best epoch by validation is kept: m.best.safetensors beside m.safetensors."""
    path = Path(path)
    return path.with_name(f"{path.stem}.best{path.suffix}")


def written_paths(path: str | PathLike[str], config: TrainConfig) -> tuple[Path, ...]:
    """The checkpoints that training writes: its own, and the best one where there is validation."""
    return (Path(path), best_path(path)) if config.validation else (Path(path),)


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
    if isinstance(checkpoint.model, QATNetwork):
        document["chip"], integers = to_tensors(checkpoint.model)
        tensors |= integers
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}
    write_bytes(path, pack(with_digest(document, arrays), arrays))


def load_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint and rebuild its network, in evaluation mode.

    Raises:
        InputError: missing, truncated, modified or foreign file; its description breaks a rule; a
            tensor is missing, unknown, of wrong shape or not finite.
    """
    path = Path(path)
    header, arrays = _read(path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    try:
        known = _described(header)
        network, integers = _network(known, tensors)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the checkpoint's description is broken: {error}") from error
    state = network.state_dict()
    expected = {f"network.{name}": value for name, value in state.items()}
    expected |= _optimizer_state(known.config, network, tensors)
    _check_tensors(path, {k: v for k, v in tensors.items() if k not in integers}, expected)
    check_digest(path, header, arrays)
    if isinstance(network, SpikingNetwork):
        check_elements(f"{path}: network", _size(network), path.stat().st_size)
    # The tensors themselves, not copies: one in floats has none of its own.
    network.load_state_dict({name: tensors[f"network.{name}"] for name in state}, assign=True)
    return Checkpoint(
        network.eval(),
        known.config,
        known.classes,
        known.data,
        known.fingerprint,
        known.history,
        {name: tensors[name] for name in expected if not name.startswith("network.")},
        known.progress,
        known.teacher,
    )


@dataclass(frozen=True, slots=True)
class _Description:
    """The content of the header, with types and ranges checked."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    kind: str
    version: int
    config: TrainConfig
    input: dict[str, Any]
    classes: int
    data: str
    fingerprint: str
    history: tuple[EpochRecord, ...]
    progress: EpochProgress = EpochProgress()
    teacher: str | None = None
    chip: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        integer("classes", self.classes, 1, MAX_SIZE)
        check_count("layers", len(self.config.widths), MAX_PARTS)


@cache
def _reader() -> TypeAdapter[_Description]:
    return TypeAdapter(_Description)


def _described(header: Mapping[str, Any]) -> _Description:
    rest = {key: value for key, value in header.items() if key != DIGEST}
    if isinstance(config := rest.get("config"), dict):
        # Files of 0.1.0 do not state the comparison: it was >=.
        rest["config"] = {"strict": False, **config}
    try:
        return _reader().validate_json(json.dumps(rest), strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        if isinstance(cause := fault.get("ctx", {}).get("error"), InputError):
            raise cause from None
        key = ".".join(str(part) for part in fault["loc"])
        raise InputError(f"'{key}' {fault['msg'][:1].lower()}{fault['msg'][1:]}") from None


def _network(known: _Description, tensors: Mapping[str, Tensor]) -> tuple[AnyNetwork, set[str]]:
    """The network, and the names of the tensors that it has consumed.

    A float network has shapes only (torch's meta device), so that its tensors can be compared with
    those of the file before memory is allocated.
    """
    input = Input(**known.input)
    if (known.chip is None) != (known.config.weight_bits is None):
        raise InputError(
            f"weight_bits is {known.config.weight_bits}, which does not match its tensors"
        )
    if known.chip is None:
        with torch.device("meta"):
            return build_network(known.config, input, known.classes), set()
    network, used = from_tensors(known.chip, tensors)
    if network.input != input:
        raise InputError("its input is not that of its integers")
    return network, used


def _size(network: SpikingNetwork) -> int:
    """Number of input values and layer outputs."""
    return sum(prod(shape) for shape in network.shapes.values())


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


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    if not path.is_file():
        raise InputError(f"{path}: does not exist or is no file")
    header, arrays = unpack(path, "is truncated or no safetensors file, or its header is damaged")
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise InputError(f"{path}: is a safetensors file, but no Spikeport checkpoint")
    if header.get("version") != VERSION:
        raise InputError(
            f"{path}: checkpoint version {header.get('version')}, this program reads {VERSION}"
        )
    return header, arrays


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
