"""Check whether two float runs of a graph differ only where a membrane equals its threshold.

Float sums depend on the order of their terms, so two correct simulators may disagree about a
membrane that equals its threshold up to rounding. From then on a sample may differ anywhere, so
only the first difference of each sample is tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.fields import SPIKING, kind
from spikeport.runs import Run
from spikeport.traces import Divergence

DEFAULT_TOLERANCE = 1e-9
"""Relative to the threshold; rounding in float64 is orders of magnitude smaller."""


@dataclass(frozen=True, slots=True)
class FloatComparison:
    """Differing spikes of two runs, and how many of them are explained by a tie at the threshold.

    Attributes:
        differing: number of differing spikes, per neuron node.
        samples_with_ties: number of samples whose first difference is a tie.
        at_threshold: number of neurons with such ties, over all samples.
        unexplained: number of differing spikes in the other differing samples.
        first: the first difference; the first unexplained one, if there is any.
    """

    differing: Mapping[str, int]
    samples_with_ties: int
    at_threshold: int
    unexplained: int
    first: Divergence | None


def compare_float(
    a: Run,
    b: Run,
    network: FloatNetwork,
    tolerance: float = DEFAULT_TOLERANCE,
    membranes: Run | None = None,
) -> FloatComparison:
    """Compare the spikes of two runs of `network` on the same samples.

    The first difference of a sample is in its earliest differing step, and there in the first node
    in order of computation. It is a tie if each neuron that differs there has
    |v_charged - v_threshold| <= tolerance * max(1, |v_threshold|) in run `membranes`.

    Args:
        membranes: the run, `a` or `b`, whose membranes are in units of the graph; default `a`.

    Raises:
        InputError: a run has no trace of spikes, `membranes` has none of v_charged, or the runs
            differ in size.
    """
    membranes = membranes or a
    nodes = [n for n in network.checked.plan.order if n in a.spike_counts]
    apart = {name: _apart(a, b, name) for name in nodes}
    if not nodes:
        raise InputError("compare: the network has no node that spikes")
    differing = {name: int(odd.sum()) for name, odd in apart.items()}
    steps = np.stack([odd.any(axis=2) for odd in apart.values()])
    tied, ties, unexplained = 0, 0, 0
    first: tuple[bool, Divergence] | None = None
    for sample in np.flatnonzero(steps.any(axis=(0, 1))):
        step = int(np.argmax(steps[:, :, sample].any(axis=0)))
        name = nodes[int(np.argmax(steps[:, step, sample]))]
        neurons = np.flatnonzero(apart[name][step, sample])
        explained = bool(
            _at_threshold(membranes, network, name, step, int(sample), tolerance)[neurons].all()
        )
        if explained:
            tied, ties = tied + 1, ties + len(neurons)
        else:
            unexplained += sum(int(odd[:, sample].sum()) for odd in apart.values())
        if first is None or (first[0] and not explained):
            first = explained, _divergence(a, b, name, step, int(sample), int(neurons[0]))
    return FloatComparison(differing, tied, ties, unexplained, first and first[1])


def _apart(a: Run, b: Run, name: str) -> NDArray[np.bool_]:
    """Where spikes differ, shape (T, B, N)."""
    one, two = _traced(a, "spikes", name), _traced(b, "spikes", name)
    if one.shape != two.shape:
        raise InputError(f"compare: '{name}' has spikes {one.shape} and {two.shape} (T, B, N)")
    unequal: NDArray[np.bool_] = one != two
    return unequal


def _traced(run: Run, what: str, name: str) -> NDArray[Any]:
    array = None if run.trace is None else getattr(run.trace, what).get(name)
    if array is None:
        raise InputError(f"compare: the run on '{run.backend}' did not record {what} of '{name}'")
    flat: NDArray[Any] = array.reshape(*array.shape[:2], -1)
    return flat


def _at_threshold(
    run: Run, network: FloatNetwork, name: str, step: int, sample: int, tolerance: float
) -> NDArray[np.bool_]:
    node = network.graph.nodes[name]
    limit = np.asarray(getattr(node, SPIKING[kind(node)]), np.float64)
    charged = _traced(run, "v_charged", name)[step, sample]
    close: NDArray[np.bool_] = np.abs(charged - limit.reshape(-1)) <= tolerance * np.maximum(
        1, np.abs(limit.reshape(-1))
    )
    return close


def _divergence(a: Run, b: Run, name: str, step: int, sample: int, neuron: int) -> Divergence:
    shape = a.spike_counts[name].shape
    index = tuple(int(i) for i in np.unravel_index(neuron, shape))
    values = tuple(float(_traced(run, "spikes", name)[step, sample, neuron]) for run in (a, b))
    return Divergence(name, index, sample, step, "spikes", (values[0], values[1]), neuron)
