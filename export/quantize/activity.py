"""The activity of a lowered network's populations in a run of its float graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.cores import core_count
from spikeport.errors import InputError
from spikeport.export.float_graph import unused
from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize.lowered import FloatPopulation, LoweredNetwork, Role
from spikeport.export.quantize.rounding import settle
from spikeport.runs import Run, SampleSet, Trace, merge_runs, sample_count, select

Array = NDArray[np.float64]
BATCH_BYTES = 1 << 21
"""Size of one state variable of the samples that a thread runs at once: it stays in the cache."""
FEWEST = 4
"""Samples that a thread runs at once in any case, so that weights are read less often."""
FloatSimulator = Callable[..., Run]
"""`simulators.float_nir.run_float`: (network, samples, watch=...) -> Run."""


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
    """The reference output of each population on checked samples, and the run of the network."""
    traceable, count = _traceable(network, lowered), sample_count(network.inputs, samples)
    neurons = sum(math.prod(part.shape) for part in lowered.populations)
    at_once = max(BATCH_BYTES // (8 * neurons), FEWEST)

    def batch(first: int) -> tuple[dict[str, FloatActivity], Run]:
        gathered = {part.name: _Gathered(part) for part in lowered.populations}

        def watch(step: Run) -> None:
            for one in gathered.values():
                one.add(step)

        chosen = select(network.inputs, samples, slice(first, min(first + at_once, count)))
        run = run_float(traceable, chosen, watch=watch)
        return {name: one.activity() for name, one in gathered.items()}, run

    with ThreadPoolExecutor(core_count()) as pool:
        found, runs = zip(*pool.map(batch, range(0, count, at_once)), strict=True)
    return {name: _joined([one[name] for one in found]) for name in found[0]}, merge_runs(runs)


def _joined(parts: Sequence[FloatActivity]) -> FloatActivity:
    """The activity of a population in all batches of samples."""
    return FloatActivity(
        spikes=np.concatenate([part.spikes for part in parts], axis=1),
        output=np.concatenate([part.output for part in parts]),
        peak_u=max(part.peak_u for part in parts),
        peak_v=max(part.peak_v for part in parts),
        highest=max(part.highest for part in parts),
        ties=sum(part.ties for part in parts),
    )


class _Gathered:
    """The activity of a population, added up step by step: traces would take gigabytes."""

    def __init__(self, part: FloatPopulation) -> None:
        self.part = part
        self.spikes: list[NDArray[np.uint8]] = []
        self.v: Array | None = None
        self.peak_u, self.peak_v, self.highest = 0.0, abs(part.start), 0.0
        self.ties = 0

    def add(self, step: Run) -> None:
        """Add the run of one step."""
        part = self.part
        charged, v = charged_of(part, step)[0], membrane_of(part, step)[0]
        u = charged - part.keep_v * (part.start if self.v is None else self.v) - part.bias
        self.v = v
        self.peak_u = float(np.maximum(self.peak_u, np.abs(u).max()))
        self.peak_v = float(np.maximum(self.peak_v, np.abs(charged).max()))
        self.highest = float(np.maximum(self.highest, charged.max()))
        if part.threshold is None:
            self.spikes.append(np.zeros(v.shape, np.uint8))
        else:
            self.spikes.append(spikes_of(part, step)[0])
            self.ties += _ties(charged, part.threshold)

    def activity(self) -> FloatActivity:
        """The activity in all steps added."""
        assert self.v is not None  # T is at least 1
        spikes = np.stack(self.spikes)
        silent = self.part.threshold is None
        return FloatActivity(
            spikes=spikes,
            output=self.v if silent else spikes.sum(axis=0, dtype=np.float64),
            peak_u=self.peak_u,
            peak_v=self.peak_v,
            highest=self.highest,
            ties=self.ties,
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
