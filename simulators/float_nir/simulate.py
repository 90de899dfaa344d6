"""Simulate a NIR graph step by step, all samples at once."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import fail
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.fields import INTEGRATING, SPIKING, kind, label
from spikeport.export.nir.graph import CheckedGraph, ComputeOrder, delay_steps
from spikeport.runs import (
    RecordSpec,
    Run,
    Samples,
    Trace,
    at_step,
    check_float_samples,
    check_names,
    sample_count,
)
from spikeport.simulators.float_nir.nodes import Emission, NodeKernel, Setting, State, node_kernel
from spikeport.version import __version__

Array = NDArray[Any]

RECORDABLE = ("spikes", "v", "v_charged")
MAX_SPIKES = 2**31
"""Spikes of a neuron in one step and all samples together; their sum over time fits 64 bits."""


def run_float(
    network: FloatNetwork,
    samples: Samples,
    *,
    record: RecordSpec = (),
    dtype: type[np.float64] | type[np.float32] = np.float64,
    watch: Callable[[Run], None] | None = None,
) -> Run:
    """Simulate a float network under its semantics; the equations are in `export.nir.semantics`.

    Several edges into a node are summed. An edge that closes a cycle delivers the output of its
    source `loop_delay` steps ago, and before that nothing, or with `loop_bias` the biases.

    Args:
        samples: (B, *shape) presented at every step, or (T, B, *shape); per input if several.
        record: variables to trace, per neuron node and Threshold, arrays (T, B, *shape). "v" is
            the membrane at the end of a step, "v_charged" the one that decides on a spike.

    Returns:
        Scores per Output node, shape (B, N): spike counts after neurons that spike, the last v
        after integrators, otherwise the mean over time of a linear map.

    Raises:
        InputError: the samples break a rule, an Output mixes these three kinds, or a neuron sends
            more than `MAX_SPIKES` in one step (with `multiple_spikes`).
    """
    record = check_names(record, RECORDABLE)
    checked = network.checked
    arrays = check_float_samples(network.inputs, network.steps, samples)
    simulation = _Simulation.of(network, checked, arrays, dtype)
    start = time.perf_counter()
    counts = np.int64 if network.semantics.multiple_spikes else np.uint8
    tally = _Tally(checked, record, counts)
    for step in range(network.steps):
        now = simulation.advance(step)
        tally.add(now)
        if watch is not None:
            alone = _Tally(checked, RECORDABLE, counts)
            alone.record(now)
            watch(_run(simulation.batch, 1, alone.trace()))
    return dataclasses.replace(
        _run(simulation.batch, network.steps, tally.trace() if record else None),
        scores=tally.scores(network.steps),
        spike_counts=tally.spike_counts,
        wall_s=time.perf_counter() - start,
    )


def _run(samples: int, steps: int, trace: Trace | None) -> Run:
    """A run with a trace and no other results yet."""
    return Run("float", __version__, "", samples, steps, {}, {}, None, trace, 0.0)


def output_kind(graph: nir.NIRGraph, name: str, sources: Sequence[str]) -> str:
    """The kind of an Output: "spikes", "membrane" or "mean"."""
    kinds = {
        "spikes"
        if (source := kind(graph.nodes[s])) in SPIKING
        else "membrane"
        if source in INTEGRATING
        else "mean"
        for s in sources
    }
    if len(kinds) > 1:
        fail(f"{label(name, graph.nodes[name])} sums {sorted(kinds)} of {list(sources)}, needs one")
    return kinds.pop()


@dataclass(slots=True)
class _Simulation:
    """The state of a running graph."""

    network: FloatNetwork
    graph: nir.NIRGraph
    plan: ComputeOrder
    feeds: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    kernels: Mapping[str, NodeKernel]
    constant: frozenset[str]
    inputs: Mapping[str, Array]
    batch: int
    dtype: type[np.floating[Any]]
    states: dict[str, State]
    history: dict[str, deque[Array]]
    emitted: dict[str, Emission]
    past: deque[dict[str, Array]]
    rest: Mapping[str, Array]
    """Outputs before the first step, where feedback edges deliver them."""

    @staticmethod
    def of(
        network: FloatNetwork,
        checked: CheckedGraph,
        arrays: Mapping[str, Array],
        dtype: type[np.floating[Any]],
    ) -> _Simulation:
        graph, plan, feeds, shapes = checked.graph, checked.plan, checked.sources, checked.shapes
        setting = Setting(network.dt_s, network.semantics, dtype)
        kernels = {
            name: node_kernel(name, node, setting)
            for name, node in graph.nodes.items()
            if not isinstance(node, nir.Input | nir.Delay)
        }
        batch = sample_count(network.inputs, arrays)
        constant: set[str] = {
            part.name for part in network.inputs if arrays[part.name].ndim == 1 + len(part.shape)
        }
        for name in plan.order:
            fixed = all(s in constant and (s, name) not in plan.feedback for s in feeds[name])
            if name in kernels and kernels[name].linear and fixed:
                constant.add(name)
        simulation = _Simulation(
            network=network,
            graph=graph,
            plan=plan,
            feeds=feeds,
            shapes=shapes,
            kernels=kernels,
            constant=frozenset(constant),
            inputs={name: array.astype(dtype) for name, array in arrays.items()},
            batch=batch,
            dtype=dtype,
            states={
                name: tuple(np.broadcast_to(v, (batch, *shapes[name])) for v in kernel.start)
                for name, kernel in kernels.items()
            },
            history={
                name: deque(maxlen=int(delay_steps(node, network.dt_s).max()) + 1)
                for name, node in graph.nodes.items()
                if isinstance(node, nir.Delay)
            },
            emitted={},
            past=deque(maxlen=network.semantics.loop_delay),
            rest={},
        )
        if network.semantics.loop_bias:
            simulation.rest = simulation.at_rest()
        return simulation

    def at_rest(self) -> dict[str, Array]:
        """The outputs of all nodes while no neuron fires and the inputs are zero."""
        quiet: dict[str, Array] = {}
        for name in self.plan.order:
            kernel = self.kernels.get(name)
            given = [quiet[source] for source in self.feeds[name] if source in quiet]
            if kernel is None or not kernel.linear or not given or self._spikes(name):
                quiet[name] = np.zeros((self.batch, *self.shapes[name]), self.dtype)
            else:
                quiet[name] = kernel.step((), np.sum(given, axis=0, dtype=self.dtype))[0].out
        return quiet

    def _spikes(self, name: str) -> bool:
        return kind(self.graph.nodes[name]) in SPIKING

    def advance(self, step: int) -> dict[str, Emission]:
        """The outputs of all nodes at `step`."""
        now: dict[str, Emission] = {}
        for name in self.plan.order:
            node = self.graph.nodes[name]
            if isinstance(node, nir.Input):
                part = next(p for p in self.network.inputs if p.name == name)
                now[name] = Emission(at_step(part, self.inputs[name], step))
            elif name in self.constant and step > 0:
                now[name] = self.emitted[name]
            elif isinstance(node, nir.Delay):
                if name not in self.plan.delays:
                    self.history[name].appendleft(self._summed(name, now))
                now[name] = Emission(self._delayed(name, node))
            elif (emit := self.kernels[name].emit) is not None:
                now[name] = emit(self.states[name])
            else:
                given = self._summed(name, now)
                now[name], self.states[name] = self.kernels[name].step(self.states[name], given)
        inputs = {name: self._summed(name, now) for name in self.plan.delays}
        for name, given in inputs.items():
            if name in self.history:
                self.history[name].appendleft(given)
            else:
                now[name], self.states[name] = self.kernels[name].step(self.states[name], given)
        self.past.appendleft({source: now[source].out for source, _ in self.plan.feedback})
        self.emitted = now
        return now

    def _summed(self, name: str, now: Mapping[str, Emission]) -> Array:
        """Sum over the edges into a node."""
        total: Array | None = None
        for source in self.feeds[name]:
            if (source, name) not in self.plan.feedback:
                out: Array | None = now[source].out
            elif len(self.past) == self.past.maxlen:
                out = self.past[-1][source]
            else:
                out = self.rest.get(source)
            if out is not None:
                total = out if total is None else total + out
        if total is None:
            source = self.feeds[name][0]
            return np.zeros((self.batch, *self.shapes[source]), self.dtype)
        return total

    def _delayed(self, name: str, node: nir.Delay) -> Array:
        """Outputs of `delay` steps ago, per neuron; zero before the first step."""
        steps = delay_steps(node, self.network.dt_s) - (name in self.plan.delays)
        out = np.zeros((self.batch, *self.shapes[name]), self.dtype)
        for count in np.unique(steps):
            if count < len(self.history[name]):
                out = np.where(steps == count, self.history[name][int(count)], out)
        return out


class _Tally:
    """Results of a run: counts, scores, and the requested trace."""

    def __init__(
        self, checked: CheckedGraph, record: Sequence[str], counts: type[np.integer[Any]]
    ) -> None:
        self.counts = counts
        graph, shapes = checked.graph, checked.shapes
        kinds = {name: kind(node) for name, node in graph.nodes.items()}
        self.readout = {
            name: output_kind(graph, name, checked.sources[name]) for name in sorted(graph.outputs)
        }
        self.totals: dict[str, Array] = {}
        self.spike_counts = {
            name: np.zeros(shapes[name], np.int64)
            for name in sorted(kinds)
            if kinds[name] in SPIKING
        }
        watched = [name for name in sorted(kinds) if kinds[name] in (*SPIKING, *INTEGRATING)]
        self.traced: dict[str, dict[str, list[Array]]] = {
            item: {name: [] for name in watched if item != "spikes" or name in self.spike_counts}
            for item in record
        }

    def add(self, step: Mapping[str, Emission]) -> None:
        """Add one step."""
        for name, counts in self.spike_counts.items():
            fired = step[name].out.sum(axis=0)
            if not (fired <= MAX_SPIKES).all():
                fail(
                    f"node '{name}': sends {fired.max():.3g} spikes in one step, the limit is "
                    f"{MAX_SPIKES}; does a loop amplify them?"
                )
            counts += fired.astype(np.int64)
        for name, readout in self.readout.items():
            out = step[name].out
            known = self.totals.get(name)
            self.totals[name] = out if known is None or readout == "membrane" else known + out
        self.record(step)

    def record(self, step: Mapping[str, Emission]) -> None:
        """Add one step to the trace only."""
        for item, per_node in self.traced.items():
            for name, steps in per_node.items():
                value = step[name].out if item == "spikes" else getattr(step[name], item)
                if value is not None:
                    steps.append(value.astype(self.counts) if item == "spikes" else value)

    def scores(self, steps: int) -> dict[str, Array]:
        """Scores per Output, shape (B, N)."""
        made = {}
        for name, readout in self.readout.items():
            total = self.totals[name].reshape(len(self.totals[name]), -1)
            made[name] = total / steps if readout == "mean" else total
            if readout == "spikes":
                made[name] = total.astype(np.int64)
        return made

    def trace(self) -> Trace:
        """Arrays (T, B, *shape) per node."""
        stacked = {
            item: {name: np.stack(steps) for name, steps in per_node.items() if steps}
            for item, per_node in self.traced.items()
        }
        return Trace.of(stacked)
