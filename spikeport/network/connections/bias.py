"""`BiasInjection`: inputs that are written into biases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BiasInjection:
    """An input of coding BIAS, added one to one to a population's bias mantissas in each step.

    b = (bias + x) << bias_exponent, without synapses.
    """

    source: str
    target: str
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
