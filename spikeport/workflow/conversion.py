"""Convert the ANN of a file, and measure what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spikeport.errors import ConversionError, FileFormatError, FileMissingError, OptionError
from spikeport.simulators import LayerErrors
from spikeport.storage import check_count
from spikeport.storage.limits import MAX_TOTAL_BYTES
from spikeport.trainer.config import own_module
from spikeport.trainer.conversion import Conversion, Method, conversion_errors
from spikeport.trainer.conversion.graph import check_ann
from spikeport.trainer.data import Dataset
from spikeport.trainer.loop import load_checkpoint
from spikeport.trainer.measure import measure_accuracy
from spikeport.trainer.module_file import executed_module
from spikeport.trainer.network import SpikingNetwork, from_ann

LABELS = {Method.TUNED: "TTRBR-style, reconstructed from the abstract of Meng et al. 2022"}
"""What a method is to be called where its results are shown."""
_SAMPLES, _BATCH = 64, 16


def open_ann(source: str, weights: Path | None, data: Dataset) -> SpikingNetwork:
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
        check_ann(model)
        return model
    if weights is None:
        raise OptionError(
            f"{source}: needs --weights FILE.safetensors, the state_dict() of the trained module"
        )
    file, _, name = source.rpartition(":")
    module = executed_module(Path(file), name)
    _load(module, weights)
    network = from_ann(module.eval(), data.input)
    check_ann(network)
    return network


def _load(module: torch.nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

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
    module.load_state_dict(given)


@dataclass(frozen=True, slots=True, eq=False)
class ConversionResult:
    """A conversion, and its accuracy and errors on test samples.

    Attributes:
        accuracy, ann_accuracy: of the spiking network, and of the ANN with its trained thresholds.
        samples: number of test samples.
        errors: of each layer, on the first of them.
    """

    conversion: Conversion
    accuracy: float
    ann_accuracy: float
    samples: int
    errors: tuple[LayerErrors, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        made, config = self.conversion, self.conversion.config
        label = {"label": LABELS[config.method]} if config.method in LABELS else {}
        return {
            "method": str(config.method),
            **label,
            "steps": config.steps,
            "levels": config.trained_levels,
            "shortcuts": str(made.shortcuts),
            "input_variance_by_shortcuts": {str(k): v for k, v in made.variances.items()},
            "epochs": len(made.history),
            "test_samples": self.samples,
            "ann_accuracy": self.ann_accuracy,
            "accuracy": self.accuracy,
            "seconds": dict(made.seconds),
            "tuned": [asdict(each) for each in made.tuned],
            "errors": [asdict(each) for each in self.errors],
        }


def measure_conversion(
    made: Conversion, data: Dataset, samples: int | None = None
) -> ConversionResult:
    """Accuracy of a converted network and of its ANN, and the errors of its layers."""
    x, y = data.test_x[:samples], data.test_y[:samples]
    batches = torch.split(torch.tensor(x[:_SAMPLES]), _BATCH)
    return ConversionResult(
        made,
        measure_accuracy(made.network, x, y),
        measure_accuracy(made.ann, x, y),
        len(x),
        conversion_errors(made.network, list(batches), [made.config.steps], made.ann),
    )
