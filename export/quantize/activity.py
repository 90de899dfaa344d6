"""The activity of a lowered network's populations in a run of its float graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.float_graph import unused
from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize.lowered import FloatPopulation, LoweredNetwork, Role
from spikeport.export.quantize.rounding import settle
from spikeport.runs import Run, SampleSet, Trace, merge_runs, sample_count, select

Array = NDArray[np.float64]
FloatSimulator = Callable[..., Run]
"""`simulators.float_nir.run_float`: (network, samples, record=...) -> Run with a trace."""
RUN_BYTES = 256 * 2**20
"""Size of what a run of the float network on a part of the samples holds at once."""
STATE_BYTES = 40
"""Per neuron and step: spikes, v and v_charged in float64, still being recorded step by step."""


@dataclass(frozen=True, slots=True, eq=False)
class FloatActivity:
    """Activity of a population of the float network on the calibration samples.

    Attributes:
        spikes: (T, B, *shape).
        output: spike counts, or the final membrane if it never spikes; (B, *shape).
        peak_u, peak_v: largest magnitudes, in float membrane units.
        highest: largest membrane before any reset, at least 0.
        ties: neuron-steps in which v equalled the threshold, up to float32 noise.
    """

    spikes: NDArray[np.uint8]
    output: Array
    peak_u: float
    peak_v: float
    highest: float
    ties: int


def float_activity(
    network: FloatNetwork, lowered: LoweredNetwork, samples: SampleSet, run_float: FloatSimulator
) -> tuple[dict[str, FloatActivity], Run]:
    """The reference output of each population on checked samples, and the run of the float network.

    The samples are run in parts: membranes of all populations take many times the memory of their
    spikes, which are kept.
    """
    traceable, count = _traceable(network, lowered), sample_count(network.inputs, samples)
    neurons = sum(math.prod(part.shape) for part in lowered.populations)
    at_once = max(1, RUN_BYTES // (STATE_BYTES * network.steps * neurons))
    found: dict[str, list[FloatActivity]] = {part.name: [] for part in lowered.populations}
    runs = []
    for first in range(0, count, at_once):
        chosen = select(network.inputs, samples, slice(first, first + at_once))
        run = run_float(traceable, chosen, record=("spikes", "v", "v_charged"))
        for part in lowered.populations:
            found[part.name].append(_activity(part, run))
        runs.append(replace(run, trace=None))
    return {name: _joined(parts) for name, parts in found.items()}, merge_runs(runs)


def _activity(part: FloatPopulation, run: Run) -> FloatActivity:
    silent = part.threshold is None
    charged, v = charged_of(part, run), membrane_of(part, run)
    before = np.concatenate([np.full_like(v[:1], part.start), v[:-1]])
    u = charged - part.keep_v * before - part.bias
    spikes = np.zeros(v.shape, np.uint8) if silent else spikes_of(part, run)
    return FloatActivity(
        spikes=spikes,
        output=v[-1].copy() if silent else spikes.sum(axis=0, dtype=np.float64),
        peak_u=float(np.abs(u).max()),
        peak_v=max(float(np.abs(charged).max()), abs(part.start)),
        highest=max(float(charged.max()), 0.0),
        ties=0 if part.threshold is None else _ties(charged, part.threshold),
    )


def _joined(parts: Sequence[FloatActivity]) -> FloatActivity:
    """The activity on all samples, from that on consecutive ones."""
    return FloatActivity(
        spikes=np.concatenate([one.spikes for one in parts], axis=1),
        output=np.concatenate([one.output for one in parts]),
        peak_u=max(one.peak_u for one in parts),
        peak_v=max(one.peak_v for one in parts),
        highest=max(one.highest for one in parts),
        ties=sum(one.ties for one in parts),
    )


def spikes_of(part: FloatPopulation, run: Run) -> NDArray[np.uint8]:
    """The spikes of a population in a run of the float graph, (T, B, *shape).

    Raises:
        InputError: the run has no such trace.
    """
    if part.role is Role.CONSTANT:
        return np.ones((run.steps, run.samples, *part.shape), np.uint8)
    trace = run.trace or Trace()
    if part.node not in trace.spikes:
        raise InputError(f"the {run.backend} run has no spike trace of '{part.node}'")
    return np.asarray(_own(part, trace.spikes[part.node]), np.uint8)


def membrane_of(part: FloatPopulation, run: Run) -> Array:
    """v of a population at the end of each step, in its own units, (T, B, *shape).

    Where the run has it only before the reset, or the node has none, it is `charged_of`.

    Raises:
        InputError: the run has no such trace.
    """
    trace = run.trace or Trace()
    if part.role is not Role.NEURONS or part.node not in trace.v:
        return charged_of(part, run)
    return _converted(part, trace.v[part.node])


def charged_of(part: FloatPopulation, run: Run) -> Array:
    """v of a population before the reset, in its own units, (T, B, *shape).

    Raises:
        InputError: the run has no such trace.
    """
    trace = run.trace or Trace()
    match part.role:
        case Role.CONSTANT:
            return np.broadcast_to(part.bias, (run.steps, run.samples, *part.shape)).copy()
        case Role.RELAY:
            return spikes_of(part, run).astype(np.float64)
    for traced in (trace.v_charged, trace.v):
        if part.node in traced:
            return _converted(part, traced[part.node])
    raise InputError(f"the {run.backend} run has no trace of v of '{part.node}'")


def _own(part: FloatPopulation, traced: NDArray[Any]) -> NDArray[Any]:
    """A trace of a node for the neurons of a population, which may have another shape."""
    flat = traced.reshape(*traced.shape[:2], -1)
    own: NDArray[Any] = flat if part.index is None else flat[..., part.index]
    return own.reshape(*traced.shape[:2], *part.shape)


def _converted(part: FloatPopulation, traced: NDArray[Any]) -> Array:
    return np.asarray((_own(part, traced).astype(np.float64) - part.zero) * part.unit)


def _ties(charged: Array, threshold: float) -> int:
    ratio = charged / threshold
    near = ratio[np.abs(ratio - 1) < 1e-3]  # candidates for equality after rounding
    return int((settle(near) == 1).sum())


def _traceable(network: FloatNetwork, lowered: LoweredNetwork) -> FloatNetwork:
    """The same network with an integrator before each Output that reads a linear map.

    The integrator has the name of the population that integrates at this place on the chip.
    """
    nodes, edges = dict(network.graph.nodes), list(network.graph.edges)
    implicit = [
        part
        for part in lowered.populations
        if part.role is Role.NEURONS and isinstance(nodes[part.node], nir.Output)
    ]
    if not implicit:
        return network
    for part in implicit:
        end = unused(f"{part.name}_", nodes)
        shape = network.checked.shapes[part.name]
        nodes[part.name] = nir.I(r=np.ones(shape))
        nodes[end] = nir.Output({"output": np.array(shape)})
        edges.append((part.name, end))
    return replace(network, graph=nir.NIRGraph(nodes, edges, type_check=False))
