"""Spikeport: spiking networks from training to neuromorphic simulators, exactly.

Every public name stands here. Each is loaded when it is first used, so `import spikeport` is
light, and torch is needed only by what trains.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeport.backends.check import TargetCheck as TargetCheck
    from spikeport.backends.check import check as check
    from spikeport.backends.gaps import Gap as Gap
    from spikeport.backends.registry import list_backends as list_backends
    from spikeport.backends.registry import run as run
    from spikeport.chip_training import to_chip as to_chip
    from spikeport.energy import estimate_energy as estimate_energy
    from spikeport.energy_report import EnergyReport as EnergyReport
    from spikeport.errors import BackendUnavailableError as BackendUnavailableError
    from spikeport.errors import CheckFailedError as CheckFailedError
    from spikeport.errors import InputError as InputError
    from spikeport.errors import OutputError as OutputError
    from spikeport.errors import SpikeportError as SpikeportError
    from spikeport.export import QuantizeConfig as QuantizeConfig
    from spikeport.export import export_float as export_float
    from spikeport.export import read_nir as read_nir
    from spikeport.export import write_nir as write_nir
    from spikeport.float_network import FloatNetwork as FloatNetwork
    from spikeport.ladder import LadderConfig as LadderConfig
    from spikeport.ladder import climb as climb
    from spikeport.merge import merge_runs as merge_runs
    from spikeport.network import BiasInjection as BiasInjection
    from spikeport.network import Coding as Coding
    from spikeport.network import Conv1d as Conv1d
    from spikeport.network import Conv2d as Conv2d
    from spikeport.network import Dense as Dense
    from spikeport.network import DeployedNetwork as DeployedNetwork
    from spikeport.network import Input as Input
    from spikeport.network import Population as Population
    from spikeport.network import Readout as Readout
    from spikeport.network import ReadoutKind as ReadoutKind
    from spikeport.network import Reset as Reset
    from spikeport.network import SumPool2d as SumPool2d
    from spikeport.network_file import load_network as load_network
    from spikeport.network_file import save_network as save_network
    from spikeport.probe import Probe as Probe
    from spikeport.profile import HardwareProfile as HardwareProfile
    from spikeport.profile import load_profile as load_profile
    from spikeport.runs import EventCounts as EventCounts
    from spikeport.runs import Run as Run
    from spikeport.runs import Trace as Trace
    from spikeport.samples import encode_samples as encode_samples
    from spikeport.sharding import run_sharded as run_sharded
    from spikeport.sharding import run_sweep as run_sweep
    from spikeport.simulators.assumed_counts import assumed_counts as assumed_counts
    from spikeport.simulators.native import run_native as run_native
    from spikeport.simulators.reference import run_reference as run_reference
    from spikeport.simulators.reference_check import check_neurons as check_neurons
    from spikeport.simulators.reference_check import sampled_record as sampled_record
    from spikeport.simulators.stream import Stream as Stream
    from spikeport.stream_file import load_state as load_state
    from spikeport.stream_file import save_state as save_state
    from spikeport.stream_state import StreamState as StreamState
    from spikeport.trace_comparison import compare_files as compare_files
    from spikeport.trace_comparison import compare_runs as compare_runs
    from spikeport.trace_reader import open_trace as open_trace
    from spikeport.trace_reader import read_trace as read_trace
    from spikeport.trainer import Augment as Augment
    from spikeport.trainer import ChipNetwork as ChipNetwork
    from spikeport.trainer import DataConfig as DataConfig
    from spikeport.trainer import Dataset as Dataset
    from spikeport.trainer import TrainConfig as TrainConfig
    from spikeport.trainer import describe as describe
    from spikeport.trainer import evaluate as evaluate
    from spikeport.trainer import evaluate_deployed as evaluate_deployed
    from spikeport.trainer import load_checkpoint as load_checkpoint
    from spikeport.trainer import load_dataset as load_dataset
    from spikeport.trainer import load_recipe as load_recipe
    from spikeport.trainer import measure_accuracy as measure_accuracy
    from spikeport.trainer import train as train
    from spikeport.workflow import quantize as quantize
    from spikeport.workflow import record_to as record_to

_HOME = {
    "spikeport.backends.check": (
        "TargetCheck",
        "check",
    ),
    "spikeport.backends.gaps": ("Gap",),
    "spikeport.backends.registry": (
        "list_backends",
        "run",
    ),
    "spikeport.chip_training": ("to_chip",),
    "spikeport.energy": ("estimate_energy",),
    "spikeport.energy_report": ("EnergyReport",),
    "spikeport.errors": (
        "BackendUnavailableError",
        "CheckFailedError",
        "InputError",
        "OutputError",
        "SpikeportError",
    ),
    "spikeport.export": (
        "QuantizeConfig",
        "export_float",
        "read_nir",
        "write_nir",
    ),
    "spikeport.float_network": ("FloatNetwork",),
    "spikeport.ladder": (
        "LadderConfig",
        "climb",
    ),
    "spikeport.merge": ("merge_runs",),
    "spikeport.network": (
        "BiasInjection",
        "Coding",
        "Conv1d",
        "Conv2d",
        "Dense",
        "DeployedNetwork",
        "Input",
        "Population",
        "Readout",
        "ReadoutKind",
        "Reset",
        "SumPool2d",
    ),
    "spikeport.network_file": (
        "load_network",
        "save_network",
    ),
    "spikeport.probe": ("Probe",),
    "spikeport.profile": (
        "HardwareProfile",
        "load_profile",
    ),
    "spikeport.runs": (
        "EventCounts",
        "Run",
        "Trace",
    ),
    "spikeport.samples": ("encode_samples",),
    "spikeport.sharding": (
        "run_sharded",
        "run_sweep",
    ),
    "spikeport.simulators.assumed_counts": ("assumed_counts",),
    "spikeport.simulators.native": ("run_native",),
    "spikeport.simulators.reference": ("run_reference",),
    "spikeport.simulators.reference_check": (
        "check_neurons",
        "sampled_record",
    ),
    "spikeport.simulators.stream": ("Stream",),
    "spikeport.stream_file": (
        "load_state",
        "save_state",
    ),
    "spikeport.stream_state": ("StreamState",),
    "spikeport.trace_comparison": (
        "compare_files",
        "compare_runs",
    ),
    "spikeport.trace_reader": (
        "open_trace",
        "read_trace",
    ),
    "spikeport.trainer": (
        "Augment",
        "ChipNetwork",
        "DataConfig",
        "Dataset",
        "TrainConfig",
        "describe",
        "evaluate",
        "evaluate_deployed",
        "load_checkpoint",
        "load_dataset",
        "load_recipe",
        "measure_accuracy",
        "train",
    ),
    "spikeport.workflow": (
        "quantize",
        "record_to",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'spikeport' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *_MODULE_OF))
