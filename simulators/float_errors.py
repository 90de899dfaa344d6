"""Conversion errors of any NIR graph of integrate-and-fire neurons, from a float simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import ConversionError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.fields import SPIKING, kind, label
from spikeport.export.nir.neuron_dynamics import start_value
from spikeport.network import Reset
from spikeport.runs import Samples, check_float_samples, sample_count, select
from spikeport.simulators.float_nir import run_float
from spikeport.simulators.if_errors import NO_NEURONS, ErrorTally, LayerErrors, Reals

Activations = Callable[[Samples], Mapping[str, Reals]]
"""The activations (B, *shape) of an ANN by name, for samples (B, *shape)."""
VALUES = 1 << 24
"""Values of all neurons over all steps that are recorded at once: 128 MiB in float64."""


def float_conversion_errors(
    network: FloatNetwork,
    samples: Samples,
    steps: Sequence[int],
    activations: Activations | None = None,
) -> tuple[LayerErrors, ...]:
    """The errors of every layer of neurons after each number of steps; see `if_errors`.

    For networks that were converted elsewhere. The currents follow from what is recorded:
    x_t = v_t - v_{t-1} + theta s_t, including the gain of a node.

    Args:
        network: its own T is not used.
        samples: (B, *shape), presented at every step, or (T, B, *shape) for the largest of `steps`.
        steps: numbers of steps T.
        activations: those of the ANN for some of the samples, by the names of the graph's nodes
            and in the units of its thresholds: the reference of the total error.

    Raises:
        InputError: neurons leak, reset to zero, or send several or late spikes, for which the
            equations do not hold, or there are none; or the samples break a rule.
    """
    steps = sorted(set(steps))
    network = replace(network, steps=steps[-1])
    nodes = network.checked.graph.nodes
    tallies = {
        name: _tally(name, nodes[name], network, steps)
        for name in network.checked.plan.order
        if kind(nodes[name]) in SPIKING
    }
    if not tallies:
        raise ConversionError(NO_NEURONS)
    arrays = check_float_samples(network.inputs, network.steps, samples)
    count = sample_count(network.inputs, arrays)
    neurons = sum(np.size(nodes[name].r) for name in tallies)
    size = max(1, VALUES // max(1, neurons * network.steps))
    for first in range(0, count, size):
        part = select(network.inputs, arrays, slice(first, first + size))
        trace = run_float(network, part, record=("spikes", "v")).trace
        assert trace is not None  # it was asked for
        wanted = {} if activations is None else activations(part)
        for name, tally in tallies.items():
            spikes, v = trace.spikes[name], np.asarray(trace.v[name], np.float64)
            tally.add(_currents(nodes[name], network, spikes, v), spikes, wanted.get(name))
    return tuple(each for tally in tallies.values() for each in tally.errors())


def _currents(
    node: nir.IF, network: FloatNetwork, spikes: NDArray[Any], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    before = np.broadcast_to(start_value(node, network.semantics), v.shape[1:])
    x: NDArray[np.float64] = np.diff(v, axis=0, prepend=before[None])
    x += node.v_threshold * spikes
    return x


def _tally(name: str, node: Any, network: FloatNetwork, steps: Sequence[int]) -> ErrorTally:
    rules = network.semantics
    problem = None
    if not isinstance(node, nir.IF):
        problem = f"is {kind(node)}"
    elif rules.reset is not Reset.SUBTRACT:
        problem = f"reset is {rules.reset}"
    elif rules.multiple_spikes or rules.late_spikes:
        problem = "sends several spikes in one step, or late ones"
    if problem is not None:
        raise ConversionError(
            f"{label(name, node)}: {problem}; conversion errors are those of integrate-and-fire "
            "neurons (IF) that subtract and send one spike at once"
        )
    return ErrorTally(name, steps, node.v_threshold, start_value(node, rules))
