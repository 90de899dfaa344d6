"""Inputs of a `DeployedNetwork`: sources of integer values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.network.arithmetic import LOIHI, Arithmetic
from spikeport.network.geometry import Shape


class Coding(StrEnum):
    """How an input is presented: 0/1 spikes, signed integer payloads, binary digits, or a bias.

    BINARY sends a value as the spikes of its binary digits. Each digit has its own line, whose
    synapses have the weights of the connection at a weight exponent one higher than those of the
    digit before. The sums are those of graded spikes, on a chip whose spikes carry no value.
    """

    SPIKES = "spikes"
    GRADED = "graded"
    BINARY = "binary"
    BIAS = "bias"


@dataclass(frozen=True, slots=True)
class Input:
    """A source of integer values of one shape, within [low, high].

    A float value x is sent as round(x * scale). Training, calibration and every run accept only
    values in the declared range (see `sample_values`).

    Attributes:
        coding: SPIKES are 0 or 1, GRADED, BINARY and BIAS any integer within [low, high].
        low, high: required for GRADED and BINARY, whose low is at least 0; the default is 0..1 for
            SPIKES and every 13-bit mantissa for BIAS.
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

    @property
    def digits(self) -> int:
        """Lines per neuron: the binary digits of a value, or 1."""
        return max(self.high.bit_length(), 1) if self.coding is Coding.BINARY else 1

    def message_counts(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The number of messages that each value is sent as: 1 if it is not 0, or its digits."""
        if self.coding is Coding.BINARY:
            return np.asarray(np.bitwise_count(values.astype(np.int64, copy=False)), np.uint8)
        return np.asarray(values != 0, np.uint8)


def check_range(part: Input, arithmetic: Arithmetic) -> None:
    """Check that the range low..high of an input fits its coding.

    The default is 0..1 for spikes and every mantissa for a bias; graded inputs have none.
    """
    limits = {
        "spikes": (0, 1),
        "graded": (arithmetic.payload_min, arithmetic.payload_max),
        "binary": (0, (2 << arithmetic.weight_exponent_max) - 1),
        "bias": (arithmetic.bias_mantissa_min, arithmetic.bias_mantissa_max),
    }[part.coding]
    subject = f"input '{part.name}' ({part.coding})"
    for name, end in zip(("low", "high"), limits, strict=True):
        if getattr(part, name) is None:
            if part.coding in ("graded", "binary"):
                checks.fail(
                    f"{subject}: {name} is missing; {part.coding} inputs must state their range "
                    "low..high"
                )
            object.__setattr__(part, name, end)
    checks.settle(part, subject, low=limits, high=limits)
    if part.low > part.high:
        checks.fail(f"input '{part.name}': low {part.low} is above high {part.high}")
