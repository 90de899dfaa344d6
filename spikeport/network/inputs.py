"""Inputs of a `DeployedNetwork`: sources of integer values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from spikeport import checks
from spikeport.errors import NetworkError
from spikeport.network.arithmetic import LOIHI, Arithmetic
from spikeport.network.geometry import Shape


class Coding(StrEnum):
    """How an input is presented: 0/1 spikes, signed integer payloads, or a bias per neuron."""

    SPIKES = "spikes"
    GRADED = "graded"
    BIAS = "bias"


@dataclass(frozen=True, slots=True)
class Input:
    """A source of integer values of one shape, within [low, high].

    A float value x is sent as round(x * scale). Training, calibration and every run accept only
    values in the declared range (see `sample_values`).

    Attributes:
        coding: SPIKES are 0 or 1, GRADED and BIAS any integer within [low, high].
        low, high: required for GRADED; the default is 0..1 for SPIKES and every 13-bit mantissa
            for BIAS.
        scale: integer units per unit of the float input: 255 for pixels 0..1 in steps of 1/255.
    """

    name: str
    shape: Shape
    coding: Coding = Coding.SPIKES
    low: int = None  # type: ignore[assignment]
    high: int = None  # type: ignore[assignment]
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checks.shape(self.name, self.shape))
        coding = checks.choice(f"input '{self.name}': coding", Coding, self.coding)
        object.__setattr__(self, "coding", coding)
        check_range(self, LOIHI)
        checks.scale(self)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def graded(self) -> bool:
        """Whether its messages carry other values than 1."""
        return self.coding is Coding.GRADED and not (self.low >= 0 and self.high <= 1)


def check_range(part: Input, arithmetic: Arithmetic) -> None:
    """Check that the range low..high of an input fits its coding.

    The default is 0..1 for spikes and every mantissa for a bias; graded inputs have none.
    """
    limits = {
        "spikes": (0, 1),
        "graded": (arithmetic.payload_min, arithmetic.payload_max),
        "bias": (arithmetic.bias_mantissa_min, arithmetic.bias_mantissa_max),
    }[part.coding]
    subject = f"input '{part.name}' ({part.coding})"
    for name, end in zip(("low", "high"), limits, strict=True):
        if getattr(part, name) is None:
            if part.coding == "graded":
                NetworkError.fail(
                    f"{subject}: {name} is missing; graded inputs must state their range low..high"
                )
            object.__setattr__(part, name, end)
    checks.settle(part, subject, low=limits, high=limits)
    if part.low > part.high:
        NetworkError.fail(f"input '{part.name}': low {part.low} is above high {part.high}")
