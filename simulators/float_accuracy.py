"""Accuracy of a NIR graph after several numbers of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeport.export.nir import FloatNetwork
from spikeport.runs import Samples, check_float_samples, check_labels, sample_count, select
from spikeport.simulators.float_nir import run_float

VALUES = 1 << 24
"""Values of all nodes that are computed at once: 128 MiB in float64."""


def float_accuracy_by_steps(
    network: FloatNetwork, samples: Samples, labels: NDArray[np.int64], steps: Sequence[int]
) -> Mapping[int, float]:
    """Share of samples that are classified correctly after each number of steps.

    The graph is run anew for each of them, so that every kind of output counts as in `run_float`.

    Args:
        network: its own T is not used.
        samples: (B, *shape), presented at every step.
        labels: (B,).
        steps: numbers of steps T.

    Raises:
        InputError: the samples break a rule, or there is a label without an output.
    """
    check_labels("accuracy", int(labels.max()), network.output_count)
    arrays = check_float_samples(network.inputs, network.steps, samples, static=True)
    count = sample_count(network.inputs, arrays)
    size = max(1, VALUES // sum(map(prod, network.checked.shapes.values())))
    found = {}
    for wanted in sorted(set(steps)):
        timed, hits = replace(network, steps=wanted), 0
        for first in range(0, count, size):
            chosen = slice(first, first + size)
            run = run_float(timed, select(network.inputs, arrays, chosen))
            hits += int((run.predictions == labels[chosen]).sum())
        found[wanted] = hits / count
    return found
