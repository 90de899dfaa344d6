"""The ANN of a file: a checkpoint, or a module of the user's own with its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from spikeport.errors import ConversionError, FileFormatError, FileMissingError, OptionError
from spikeport.storage import check_count
from spikeport.storage.limits import MAX_TOTAL_BYTES
from spikeport.trainer.config import own_module
from spikeport.trainer.conversion.graph import check_ann
from spikeport.trainer.loop import load_checkpoint
from spikeport.trainer.module_file import executed_module
from spikeport.trainer.network import SpikingNetwork, check_convertible


def open_ann(source: str, weights: Path | None) -> SpikingNetwork | nn.Module:
    """The ANN of a checkpoint, or of FILE.py:CLASS with weights from a safetensors file.

    Args:
        weights: tensors by the names of the module's `state_dict()`.

    Raises:
        InputError: the file is missing or damaged; it contains no ANN; the tensors are not those of
            the module.
    """
    if not own_module(source):
        if weights is not None:
            raise OptionError(f"--weights {weights}: {source} contains its own weights")
        model = load_checkpoint(source).model
        if not isinstance(model, SpikingNetwork):
            raise ConversionError(f"{source}: is in chip arithmetic, must be an ANN")
        try:
            check_ann(model)
        except ConversionError as error:
            raise ConversionError(f"{source}: {error}") from None
        return model
    if weights is None:
        raise OptionError(
            f"{source}: needs --weights FILE.safetensors, the state_dict() of the trained module"
        )
    file, _, name = source.rpartition(":")
    module = executed_module(Path(file), name)
    check_convertible(module)
    _load(module, weights)
    return module.eval()


def _load(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise FileMissingError(f"{path}: does not exist or is not a file")
    check_count(f"{path}: bytes", path.stat().st_size, MAX_TOTAL_BYTES)
    try:
        given = load(path.read_bytes())
    except SafetensorError as error:
        raise FileFormatError(f"{path}: is not a safetensors file: {error}") from None
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name in wanted | given:
        if name not in given or name not in wanted:
            rule = "is missing" if name in wanted else "is unknown to the module"
            raise FileFormatError(f"{path}: tensor '{name[:80]}' {rule}")
        if tuple(given[name].shape) != wanted[name]:
            raise FileFormatError(
                f"{path}: tensor '{name}' is {tuple(given[name].shape)}, the module needs "
                f"{wanted[name]}"
            )
        if not bool(torch.isfinite(given[name]).all()):
            raise FileFormatError(f"{path}: tensor '{name}' contains NaN or infinity")
    module.load_state_dict(given)
