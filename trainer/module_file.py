"""A network from a file of the user's own: `my_model.py:Mine`, or a checkpoint."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from spikeport.errors import FileMissingError, InputError, ModuleReadingError, TrainingError
from spikeport.network import Input
from spikeport.trainer.config import TrainConfig, own_module, trained_network
from spikeport.trainer.loop import load_checkpoint
from spikeport.trainer.network import SpikingNetwork, from_ann, from_module


def network_from_file(config: TrainConfig, input: Input) -> SpikingNetwork | None:
    """The network of `config.architecture` if that is a file, otherwise None.

    Of a checkpoint, the network with its weights, for the steps and the rule of `config`. A file
    FILE.py:CLASS is executed, and the class is called without arguments; its initial weights follow
    from `config.seed`. The path is relative to the current folder.

    Raises:
        InputError: no such file or class, their code fails, or see `from_module`; for an ANN
            `from_ann`; see `load_checkpoint`; the checkpoint is in chip arithmetic.
    """
    if trained_network(config.architecture):
        network = load_checkpoint(config.architecture).model
        if not isinstance(network, SpikingNetwork):
            raise TrainingError(
                f"{config.architecture}: is in chip arithmetic, which is trained further from a "
                "start (--bits and --from)"
            )
        facts = config.steps, config.rule, network.provenance
        return SpikingNetwork(network.input, network.nodes, *facts)
    module = module_from_file(config)
    if module is None:
        return None
    if config.is_ann:
        return from_ann(module, input)
    return from_module(module, input, config.steps, config.rule)


def module_from_file(config: TrainConfig) -> nn.Module | None:
    """The module of `config.architecture` if that is FILE.py:CLASS, otherwise None.

    Raises:
        InputError: no such file or class, or their code fails.
    """
    if not own_module(config.architecture):
        return None
    file, _, name = config.architecture.rpartition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return executed_module(Path(file), name)


def executed_module(path: Path, name: str) -> nn.Module:
    """Execute a file and call one of its classes without arguments.

    Raises:
        InputError: no such file or class, or their code fails.
    """
    subject = f"architecture '{path}:{name}'"
    if not path.is_file():
        raise FileMissingError(f"{subject}: {path} does not exist or is not a file")
    try:
        build = getattr(_executed(path), name, None)
        if build is None:
            raise ModuleReadingError(f"{subject}: the file has no '{name}'")
        made = build()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModuleReadingError(f"{subject}: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ModuleReadingError(
            f"{subject}: gives a {type(made).__name__}, must give a torch.nn.Module"
        )
    return made


def _executed(path: Path) -> ModuleType:
    """Execute the file as a module of its own, registered as classes and dataclasses need it."""
    spec = importlib.util.spec_from_file_location(f"_spikeport_user_{path.stem}", path)
    assert spec is not None  # the suffix is .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
