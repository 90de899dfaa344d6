"""`BiasInjection`: inputs that are written into biases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BiasInjection:
    """An input of coding BIAS, one to one, into a population's bias mantissas for each step.

    b = (bias + x) << bias_exponent; no synapse is crossed.
    """

    source: str
    target: str
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
