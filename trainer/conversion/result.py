"""Accuracy and errors of a conversion on test samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spikeport.simulators import LayerErrors
from spikeport.trainer.conversion.converting import Conversion
from spikeport.trainer.conversion.errors import conversion_errors, error_batches
from spikeport.trainer.data import Dataset
from spikeport.trainer.measure import measure_accuracy


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
        label = {"label": config.label} if config.label else {}
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
    steps = made.config.steps
    return ConversionResult(
        made,
        measure_accuracy(made.network, x, y),
        measure_accuracy(made.ann, x, y),
        len(x),
        conversion_errors(made.network, error_batches(made.network, x, steps), [steps], made.ann),
    )
