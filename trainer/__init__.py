"""Training with rate-based backpropagation (needs torch)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spikeport.errors import BackendUnavailableError

if TYPE_CHECKING:
    from spikeport.trainer.augment import Augment as Augment
    from spikeport.trainer.checkpoint import Checkpoint as Checkpoint
    from spikeport.trainer.checkpoint import EpochRecord as EpochRecord
    from spikeport.trainer.checkpoint import load_checkpoint as load_checkpoint
    from spikeport.trainer.checkpoint import save_checkpoint as save_checkpoint
    from spikeport.trainer.chip import ChipNetwork as ChipNetwork
    from spikeport.trainer.config import TrainConfig as TrainConfig
    from spikeport.trainer.config import build_network as build_network
    from spikeport.trainer.data import Dataset as Dataset
    from spikeport.trainer.data_catalogue import load_dataset as load_dataset
    from spikeport.trainer.data_catalogue import load_digits_split as load_digits_split
    from spikeport.trainer.data_config import DataConfig as DataConfig
    from spikeport.trainer.data_npz import load_npz as load_npz
    from spikeport.trainer.deployed import evaluate_deployed as evaluate_deployed
    from spikeport.trainer.description import describe as describe
    from spikeport.trainer.diagnosis import Diagnosis as Diagnosis
    from spikeport.trainer.diagnosis import diagnose as diagnose
    from spikeport.trainer.evaluation import evaluate as evaluate
    from spikeport.trainer.front import FrontPoint as FrontPoint
    from spikeport.trainer.front import train_front as train_front
    from spikeport.trainer.lif import LI as LI
    from spikeport.trainer.lif import LIF as LIF
    from spikeport.trainer.measuring import measure_accuracy as measure_accuracy
    from spikeport.trainer.models import PUBLISHED as PUBLISHED
    from spikeport.trainer.models import mlp as mlp
    from spikeport.trainer.models import small_conv as small_conv
    from spikeport.trainer.models import with_readout as with_readout
    from spikeport.trainer.network import Node as Node
    from spikeport.trainer.network import SpikingNetwork as SpikingNetwork
    from spikeport.trainer.recipe import Recipe as Recipe
    from spikeport.trainer.recipe import load_recipe as load_recipe
    from spikeport.trainer.rules import Rule as Rule
    from spikeport.trainer.tracing import from_module as from_module
    from spikeport.trainer.training import TrainingResult as TrainingResult
    from spikeport.trainer.training import Watch as Watch
    from spikeport.trainer.training import train as train

# Resolved on first use: data sets are needed where torch is not installed.
_HOME = {
    "augment": ("Augment",),
    "chip": ("ChipNetwork",),
    "checkpoint": ("Checkpoint", "EpochRecord", "load_checkpoint", "save_checkpoint"),
    "config": ("TrainConfig", "build_network"),
    "data": ("Dataset",),
    "data_catalogue": ("load_dataset", "load_digits_split"),
    "data_config": ("DataConfig",),
    "data_npz": ("load_npz",),
    "deployed": ("evaluate_deployed",),
    "description": ("describe",),
    "diagnosis": ("Diagnosis", "diagnose"),
    "evaluation": ("evaluate",),
    "front": ("FrontPoint", "train_front"),
    "lif": ("LI", "LIF"),
    "models": ("PUBLISHED", "mlp", "small_conv", "with_readout"),
    "measuring": ("measure_accuracy",),
    "network": ("Node", "SpikingNetwork"),
    "recipe": ("Recipe", "load_recipe"),
    "rules": ("Rule",),
    "tracing": ("from_module",),
    "training": ("TrainingResult", "Watch", "train"),
}
EXTRA = ("torch", "pydantic", "PIL")
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        raise BackendUnavailableError(
            f"trainer: '{name}' needs {error.name}, which is not installed: "
            "pip install '.[training]'"
        ) from error
    return getattr(module, name)
