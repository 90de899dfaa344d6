"""Checkpoints: weights, optimizer state and everything needed to resume, in one safetensors file.

Tensors are named `network.<state name>`, `exits.<state name>` if there are exits, and, for the
optimizer, `<kind>.<parameter name>`; a network in chip arithmetic also has `chip.<part>`, the
integers that its master weights represent.
The graph of a network of the user's own is stored as data (`graph_file`) and rebuilt from it; that
of a built-in one follows from the configuration.
The metadata of the header contains one JSON document under "spikeport", with a digest of itself and
of all tensors. No pickle. Files are replaced atomically.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from spikeport.checks import MAX_SIZE, integer
from spikeport.errors import FileFormatError, FileVersionError, InputError, TrainingError
from spikeport.network import Input
from spikeport.storage import check_count, check_elements, write_bytes
from spikeport.storage.canonical import Arrays
from spikeport.storage.limits import MAX_PARTS
from spikeport.storage.tensors import DIGEST, check_digest, pack, unpack, with_digest
from spikeport.trainer.chip import AnyNetwork, QATNetwork, from_tensors, to_tensors
from spikeport.trainer.config import TrainConfig, build_network
from spikeport.trainer.exits import Exits
from spikeport.trainer.loop.optimizer import KEPT, trained_parameters
from spikeport.trainer.network import SpikingNetwork, describe_graph, rebuild_graph

KIND = "checkpoint"
VERSION = 2
_LATER = ("activation", "levels", "exits")
"""Settings that the first release did not have."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Statistics of one training epoch.

    Attributes:
        epoch: counted from 1.
        loss: mean cross-entropy, not divided by T.
        accuracy: on the training samples, measured during training (in training mode).
        firing_rate: spikes per neuron and step.
        seconds: wall-clock time of the epoch, without validation.
        valid_accuracy: on the held-out training samples, None if there are none.
        energy_uj: estimate per sample on the chip (see `metrics`), None if it cannot be estimated.
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
    """Progress within an epoch: sums over the samples so far.

    Attributes:
        batches: number of completed batches, which is also the position in the epoch's order.
        loss_sum, hits, rate_sum: over `samples`; the last is a sum of spikes per neuron and step.
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
        """Training accuracy so far."""
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
        teacher: digest of the distillation teacher, None if there is none.
        own: the network was given to `train`, so its graph is stored as well.
        exits: what it is trained with if `config.exits` is set; not part of the network.

    Raises:
        InputError: it has exits that its configuration does not ask for, or the other way round.
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
    own: bool = False
    exits: Exits | None = None

    def __post_init__(self) -> None:
        if (self.exits is None) != (self.config.exits is None):
            has, asks = (
                ("no exits", "asks for them") if self.exits is None else ("exits", "does not")
            )
            raise TrainingError(f"checkpoint: has {has}, its configuration {asks}")


def exits_of(config: TrainConfig, network: AnyNetwork) -> Exits | None:
    """Untrained exits if `config` asks for them.

    Raises:
        InputError: the network has no place for exits.
    """
    if config.exits is None:
        return None
    assert isinstance(network, SpikingNetwork)  # TrainConfig refuses exits with weight_bits
    return Exits(network, config.exits, config.seed)


def best_path(path: str | PathLike[str]) -> Path:
    """Path of the best epoch's checkpoint by validation: m.best.safetensors for m.safetensors."""
    path = Path(path)
    return path.with_name(f"{path.stem}.best{path.suffix}")


def written_paths(path: str | PathLike[str], config: TrainConfig) -> tuple[Path, ...]:
    """The checkpoints that training writes: its own, and the best one if there is validation."""
    return (Path(path), best_path(path)) if config.validation else (Path(path),)


def save_checkpoint(path: str | PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an existing file is replaced completely or left unchanged.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    document = {
        "kind": KIND,
        "version": VERSION,
        "config": _written(checkpoint.config),
        "input": asdict(checkpoint.model.input),
        "classes": checkpoint.classes,
        "data": checkpoint.data,
        "fingerprint": checkpoint.fingerprint,
        "teacher": checkpoint.teacher,
        "history": [asdict(record) for record in checkpoint.history],
        "progress": asdict(checkpoint.progress),
    }
    tensors = _named(checkpoint.model, checkpoint.exits)
    tensors |= checkpoint.optimizer
    if isinstance(checkpoint.model, SpikingNetwork):
        if checkpoint.own:
            document["graph"] = describe_graph(checkpoint.model)
        if checkpoint.model.provenance:
            document["provenance"] = checkpoint.model.provenance
    if isinstance(checkpoint.model, QATNetwork):
        document["chip"], integers = to_tensors(checkpoint.model)
        tensors |= integers
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}
    write_bytes(path, pack(with_digest(document, arrays), arrays))


def _named(network: AnyNetwork, exits: Exits | None) -> dict[str, Tensor]:
    """The tensors of a network and its exits, by their names in a file."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    if exits is not None:
        tensors |= {f"exits.{name}": value for name, value in exits.state_dict().items()}
    return tensors


def _written(config: TrainConfig) -> dict[str, Any]:
    """The settings; those that came later only if they are set, so that old files do not change."""
    defaults = {each.name: each.default for each in fields(config)}
    return {
        name: value
        for name, value in asdict(config).items()
        if name not in _LATER or value != defaults[name]
    }


def load_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint and rebuild its network, in evaluation mode.

    Raises:
        InputError: the file is missing, truncated, modified or of another kind; its description
            breaks a rule; a tensor is missing, unknown, of wrong shape or not finite.
    """
    path = Path(path)
    header, arrays = _read(path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    try:
        known = _described(header)
        network, integers = _network(known, tensors)
        with torch.device("meta"):
            exits = exits_of(known.config, network)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise FileFormatError(
            f"{path}: the checkpoint's description is invalid: {error}"
        ) from error
    stored = _named(network, exits)
    expected = stored | _optimizer_state(known.config, network, exits, tensors)
    _check_tensors(path, {k: v for k, v in tensors.items() if k not in integers}, expected)
    check_digest(path, header, arrays)
    if isinstance(network, SpikingNetwork):
        check_elements(f"{path}: network", _size(network), path.stat().st_size)
    # The tensors themselves, not copies: a float network was built without storage.
    for part, module in (("network.", network), ("exits.", exits)):
        if module is not None:
            state = {name: tensors[part + name] for name in module.state_dict()}
            module.load_state_dict(state, assign=True)
    if isinstance(network, SpikingNetwork):
        network.provenance = known.provenance
    return Checkpoint(
        network.eval(),
        known.config,
        known.classes,
        known.data,
        known.fingerprint,
        known.history,
        {name: tensors[name] for name in expected if name not in stored},
        known.progress,
        known.teacher,
        known.graph is not None,
        exits,
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
    graph: list[Any] | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        integer("classes", self.classes, 1, MAX_SIZE)
        check_count("layers", len(self.config.widths), MAX_PARTS)
        check_count("layers", len(self.graph or ()), MAX_PARTS)


@cache
def _reader() -> TypeAdapter[_Description]:
    return TypeAdapter(_Description)


def _described(header: Mapping[str, Any]) -> _Description:
    rest = {key: value for key, value in header.items() if key != DIGEST}
    if isinstance(config := rest.get("config"), dict):
        # Files written by 0.1.0 do not state the comparison: it was >=.
        rest["config"] = {"strict": False, **config}
    try:
        return _reader().validate_json(json.dumps(rest), strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        if isinstance(cause := fault.get("ctx", {}).get("error"), InputError):
            raise cause from None
        key = ".".join(str(part) for part in fault["loc"])
        raise FileFormatError(f"'{key}' {fault['msg'][:1].lower()}{fault['msg'][1:]}") from None


def _network(known: _Description, tensors: Mapping[str, Tensor]) -> tuple[AnyNetwork, set[str]]:
    """Build the network; return it with the names of the tensors it uses.

    A float network is built on torch's meta device (shapes only), so that its tensors can be
    compared with those of the file before memory is allocated.
    """
    input = Input(**known.input)
    if (known.chip is None) != (known.config.weight_bits is None):
        raise FileFormatError(
            f"weight_bits is {known.config.weight_bits}, which does not match the tensors"
        )
    if known.graph is not None:
        if known.chip is not None:
            raise FileFormatError("it has both a graph and integers of the chip")
        with torch.device("meta"):
            network = rebuild_graph(known.graph, input, known.config.steps, known.config.rule)
        if known.classes > network.classes:
            raise FileFormatError(
                f"{known.classes} classes, the graph has {network.classes} outputs"
            )
        return network, set()
    if known.chip is None:
        with torch.device("meta"):
            return build_network(known.config, input, known.classes), set()
    trained, used = from_tensors(known.chip, tensors)
    if trained.input != input:
        raise FileFormatError("its input is not that of its integers")
    return trained, used


def _size(network: SpikingNetwork) -> int:
    """Number of input values and layer outputs."""
    return sum(prod(shape) for shape in network.shapes.values())


def _optimizer_state(
    config: TrainConfig, network: AnyNetwork, exits: Exits | None, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of the optimizer's state, if it has taken a step."""
    expected = {
        f"{kind}.{name}": torch.zeros(()) if kind == "step" else parameter
        for kind in KEPT[config.optimizer]
        for name, parameter in trained_parameters(network, exits)
    }
    return expected if any(name in expected for name in tensors) else {}


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    header, arrays = unpack(path, "is truncated, not a safetensors file, or has a damaged header")
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise FileFormatError(f"{path}: is a safetensors file, but not a Spikeport checkpoint")
    if header.get("version") != VERSION:
        raise FileVersionError(
            f"{path}: checkpoint version {header.get('version')}, this program reads {VERSION}"
        )
    return header, arrays


def _check_tensors(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    for name in sorted(tensors.keys() ^ expected.keys()):
        problem = "is missing" if name in expected else "is unknown to this network"
        raise FileFormatError(f"{path}: tensor '{name}' {problem}")
    for name, value in expected.items():
        found = tensors[name]
        if found.shape != value.shape or found.dtype != value.dtype:
            raise FileFormatError(
                f"{path}: tensor '{name}' is {found.dtype} {tuple(found.shape)}, must be "
                f"{value.dtype} {tuple(value.shape)}"
            )
        if not torch.isfinite(found).all():
            raise FileFormatError(
                f"{path}: tensor '{name}' contains NaN or infinity, must be finite"
            )
