"""The first difference between two runs on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import RECORDABLE_STATE
from spikeport.runs import Run, Trace

VARIABLES = (*RECORDABLE_STATE, "spikes")
"""Causes before consequences: a spike follows from the state."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first unequal value.

    Attributes:
        neuron: index within the population, one number per axis of its shape in the first run.
        step: logical step, from 0.
        variable: a state variable such as 'u' or 'v' (at the end of the step), or 'spikes'.
        values: in the first run and in the second.
        flat: the neuron's index in C order.
    """

    population: str
    neuron: tuple[int, ...]
    sample: int
    step: int
    variable: str
    values: tuple[float, float]
    flat: int

    def __str__(self) -> str:
        neuron = ", ".join(str(index) for index in self.neuron)
        first, second = (number(value) for value in self.values)
        return (
            f"sample {self.sample}, step {self.step}, population '{self.population}', "
            f"neuron ({neuron}): {self.variable} {first} against {second}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class PairedVariable:
    """One variable of one population in both traces, on the neurons and samples that both have.

    Attributes:
        a, b: (T, B, K).
        flat: index of each of the K neurons in the population, (K,).
        shape: of the population.
    """

    a: NDArray[Any]
    b: NDArray[Any]
    flat: NDArray[np.int64]
    shape: tuple[int, ...]


def first_divergence(
    a: Run | Trace, b: Run | Trace, order: Sequence[str], variables: Sequence[str] = VARIABLES
) -> Divergence | None:
    """The first difference between two traces, or None if they agree.

    First means: earliest step, then population in `order`, then variable in the given order, then
    sample and neuron. If `order` is topological, this is a cause and not a consequence: samples are
    independent, and nothing differs in any of them before that step. Variables that only one of the
    runs traced, and samples that only one of them has, are not compared.
    """
    found: Divergence | None = None
    for population in order:
        for variable in variables:
            pair = paired(a, b, population, variable)
            if pair is None:
                continue
            # Steps after the earliest difference found so far need not be searched.
            unequal = pair.a[: found and found.step] != pair.b[: found and found.step]
            steps = unequal.any(axis=(1, 2))
            if not steps.any():
                continue
            step = int(steps.argmax())
            sample, k = (int(i) for i in np.argwhere(unequal[step])[0])
            flat = int(pair.flat[k])
            found = Divergence(
                population,
                tuple(int(i) for i in np.unravel_index(flat, pair.shape)),
                sample,
                step,
                variable,
                (float(pair.a[step, sample, k]), float(pair.b[step, sample, k])),
                flat,
            )
    return found


def paired(a: Run | Trace, b: Run | Trace, population: str, variable: str) -> PairedVariable | None:
    """What both runs traced of a variable of a population, or None."""
    one, other = _traced(a, population, variable), _traced(b, population, variable)
    if one is None or other is None:
        return None
    (first, some, shape), (second, others, _) = one, other
    if len(first) != len(second):
        return None
    samples = min(first.shape[1], second.shape[1])
    first, second = first[:, :samples], second[:, :samples]
    if some is None and others is None:
        same = first.shape[2] == second.shape[2]
        return PairedVariable(first, second, np.arange(first.shape[2]), shape) if same else None
    here = np.arange(first.shape[2]) if some is None else some
    there = np.arange(second.shape[2]) if others is None else others
    flat, i, j = np.intersect1d(here, there, assume_unique=True, return_indices=True)
    return PairedVariable(first[..., i], second[..., j], flat, shape) if len(flat) else None


def number(value: float) -> str:
    """A traced value as short text: integers in full, others with 9 digits."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.9g}"


def _traced(
    run: Run | Trace, population: str, variable: str
) -> tuple[NDArray[Any], NDArray[np.int64] | None, tuple[int, ...]] | None:
    """Values (T, B, K), which neurons (None for all), and the population's shape."""
    trace = run.trace if isinstance(run, Run) else run
    array = None if trace is None else trace[variable].get(population)
    if trace is None or array is None:
        return None
    some = trace.neurons.get((variable, population))
    flat = array.reshape(*array.shape[:2], prod(array.shape[2:]))
    return (flat, None, array.shape[2:]) if some is None else (flat, some.flat, some.shape)
