"""Where two runs of the same samples first part ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.runs import Run

VARIABLES = ("u", "v", "spikes")


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first unequal value.

    Attributes:
        neuron: index within the population, one number per axis of its shape in the first run.
        step: logical step, from 0.
        variable: 'u', 'v' (both at the end of the step) or 'spikes'.
        values: in the first run and in the second.
    """

    population: str
    neuron: tuple[int, ...]
    sample: int
    step: int
    variable: str
    values: tuple[float, float]

    def __str__(self) -> str:
        neuron = ", ".join(str(index) for index in self.neuron)
        first, second = (f"{value:.9g}" for value in self.values)
        return (
            f"sample {self.sample}, step {self.step}, population '{self.population}', "
            f"neuron ({neuron}): {self.variable} {first} against {second}"
        )


def first_divergence(
    a: Run, b: Run, order: Sequence[str], variables: Sequence[str] = VARIABLES
) -> Divergence | None:
    """The first difference between the traces of two runs, or None where they agree.

    First means: lowest sample, then step, then population in `order`, then variable in the order
    given, then neuron. That is the cause and not a consequence, if `order` is topological. What
    only one of the runs has traced is not compared, and neither are samples that only one has run.
    """
    found: Divergence | None = None
    for population in order:
        for variable in variables:
            pair = _traced(a, b, population, variable)
            if pair is None:
                continue
            unequal = pair[0] != pair[1]
            moments = unequal.reshape(*unequal.shape[:2], -1).any(axis=2)
            if not moments.any():
                continue
            sample = int(moments.any(axis=0).argmax())
            step = int(moments[:, sample].argmax())
            if found is not None and (found.sample, found.step) <= (sample, step):
                continue
            neuron = tuple(int(i) for i in np.argwhere(unequal[step, sample])[0])
            first, second = (float(values[(step, sample, *neuron)]) for values in pair)
            found = Divergence(population, neuron, sample, step, variable, (first, second))
    return found


def _traced(
    a: Run, b: Run, population: str, variable: str
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Both traces of a variable on the samples that both have, or None."""
    if a.trace is None or b.trace is None:
        return None
    tables = getattr(a.trace, variable), getattr(b.trace, variable)
    if any(population not in table for table in tables):
        return None
    first, second = (table[population] for table in tables)
    shared = min(first.shape[1], second.shape[1])
    first, second = first[:, :shared], second[:, :shared]
    if first.shape[0] != second.shape[0] or first.size != second.size:
        return None
    return first, second.reshape(first.shape)
