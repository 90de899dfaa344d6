"""Readouts of a `DeployedNetwork`: the values it outputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spikeport import checks


class ReadoutKind(StrEnum):
    """What is read from a population: output spikes summed over T, or v after step T."""

    SPIKES = "spikes"
    MEMBRANE = "membrane"


@dataclass(frozen=True, slots=True)
class Readout:
    """An output of the network: one score per neuron of `population`."""

    population: str
    kind: ReadoutKind = ReadoutKind.SPIKES

    def __post_init__(self) -> None:
        kind = checks.choice(f"readout of '{self.population}': kind", ReadoutKind, self.kind)
        object.__setattr__(self, "kind", kind)
