"""`ExitConfig`: the weights of the loss of exits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from spikeport.errors import TrainingError, ValueRangeError


@dataclass(frozen=True, slots=True)
class ExitConfig:
    """Training with exits (see `exit_loss` for the equation, where these are a, b and tau).

    Attributes:
        weight: of the exits' cross-entropies; that of the network itself is 1.
        distillation: weight of the divergence from the exits' and the network's common answer.
        temperature: divides all scores in that divergence.

    Raises:
        InputError: a value is out of its range, or both weights are 0.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    weight: float = 1.0
    distillation: float = 0.3
    temperature: float = 3.0

    def __post_init__(self) -> None:
        for name in ("weight", "distillation"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueRangeError(f"exits: {name} is {value}, must be at least 0")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueRangeError(
                f"exits: temperature is {self.temperature}, must be positive and finite"
            )
        if not (self.weight or self.distillation):
            raise TrainingError(
                "exits: weight and distillation are 0, so they would teach nothing; leave out the "
                "table to train without exits"
            )
