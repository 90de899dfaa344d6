"""A float network in the form of the chip: populations and connections, still in real numbers.

One logical step of a population, before any rounding:

    a = sum over connections of W s + sum over injections of gain x
    u <- keep_u u + a
    v <- keep_v v + u + bias, from `start`
    spike if v > threshold (or >=), then v <- 0 or v <- v - threshold

Time steps, resistances, leak potentials, pools and `Scale` nodes are already folded in, so every
number here has exactly one integer counterpart on the chip.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI, Coding, Input, Readout, Reset, Shape, SumPool2d
from spikeport.network.geometry import IntPair

Array = NDArray[np.float64]


FORGETS = 1 / LOIHI.decay_unity
"""keep_v of neurons whose v matters in one step only: decay_v then fits the 12 bits of a chip."""


class Role(StrEnum):
    """How a population follows from the float graph.

    NEURONS: neurons of a node, or an integrator in front of an Output.
    CONSTANT: one neuron that fires at every step, for biases that enter through a synaptic filter.
    RELAY: it repeats the spikes of a node that became several populations, for a readout.
    """

    NEURONS = "neurons"
    CONSTANT = "constant"
    RELAY = "relay"


@dataclass(frozen=True, slots=True, eq=False)
class FloatPopulation:
    """Neurons with the same dynamics (equations: module docstring).

    The neurons of a node whose decays differ are several populations. In each, all `keep_u` and
    all `keep_v` are the same decay in 1/4096.

    Attributes:
        keep_u, keep_v: one number, or one per neuron.
        bias: per neuron, added to v at every step.
        threshold: None if the population integrates and never spikes (a membrane readout).
        start: v before the first step.
        unit, zero: per neuron, v is unit (v of the float graph - zero). Zero is not 0 where the
            graph resets to other values, unit is not 1 where it has thresholds for each neuron.
        role: how it follows from the float graph.
        node: node of the float graph with the same spikes; for a readout that is implicit there,
            the Output; "" for a constant source.
        index: which neurons of the node these are, flattened in C order; None if all.
    """

    name: str
    shape: Shape
    keep_u: Array | float
    keep_v: Array | float
    bias: Array
    threshold: float | None
    start: float = 0.0
    unit: Array | float = 1.0
    zero: Array | float = 0.0
    role: Role = Role.NEURONS
    node: str = ""
    index: NDArray[np.int64] | None = None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True, eq=False)
class FloatConnection:
    """A linear map: dense, or a convolution along one or two axes.

    Attributes:
        weight: (N_target, N_source), (C_out, C_in / groups, K) or (C_out, C_in / groups, KH, KW).
        stride, padding, dilation: (rows, columns); along one axis there is one row.
        biases: the weights are biases, sent by a constant source; they have a weight exponent of
            their own, because they may be much larger than the other weights.
    """

    name: str
    source: str
    target: str
    weight: Array
    stride: IntPair = (1, 1)
    padding: IntPair = (0, 0)
    dilation: IntPair = (1, 1)
    groups: int = 1
    pool: SumPool2d | None = None
    delay: int = 0
    biases: bool = False


@dataclass(frozen=True, slots=True)
class FloatInjection:
    """An input of coding BIAS added to v one to one, `gain` membrane units per input unit."""

    name: str
    source: str
    target: str
    gain: float


@dataclass(frozen=True, slots=True)
class LoweredNetwork:
    """The parts of a `DeployedNetwork` in real numbers, with populations in topological order.

    Attributes:
        notes: where the chip differs from the float graph by construction.
        rewrites: what was replaced by an exact equivalent, a sentence each.
    """

    inputs: tuple[Input, ...]
    populations: tuple[FloatPopulation, ...]
    connections: tuple[FloatConnection, ...]
    injections: tuple[FloatInjection, ...]
    readouts: tuple[Readout, ...]
    steps: int
    reset: Reset
    strict: bool
    notes: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()

    def incoming(self, population: str) -> tuple[FloatConnection, ...]:
        """Connections that end in `population`."""
        return tuple(c for c in self.connections if c.target == population)

    def injected(self, population: str) -> tuple[FloatInjection, ...]:
        """Bias inputs of `population`."""
        return tuple(i for i in self.injections if i.target == population)

    def message_range(self, name: str) -> tuple[int, int]:
        """Lowest and highest message of an input or a population, in chip integers."""
        return {part.name: (part.low, part.high) for part in self.inputs}.get(name, (0, 1))

    def is_graded(self, name: str) -> bool:
        """Whether `name` is an input that sends values as they are."""
        return any(part.name == name and part.graded for part in self.inputs)

    def digits(self, name: str) -> int:
        """Lines per neuron of an input or a population: binary digits, or 1."""
        return {part.name: part.digits for part in self.inputs}.get(name, 1)

    def source_scale(self, name: str) -> float:
        """Integers per float unit of the values sent by `name`: an input's scale, 1 for neurons."""
        return {part.name: part.scale for part in self.inputs}.get(name, 1.0)


def ceiling(lowered: LoweredNetwork, part: FloatPopulation) -> float:
    """Upper bound on the membrane of `part`: all excitatory inputs at their maximum throughout."""
    ranges = {
        source.name: (source.low / source.scale, source.high / source.scale)
        for source in lowered.inputs
        if source.coding is not Coding.SPIKES
    }
    drive = 0.0
    for connection in lowered.incoming(part.name):
        low, high = ranges.get(connection.source, (0.0, 1.0))
        area = float(np.prod(connection.pool.kernel_size)) if connection.pool else 1.0
        rows = connection.weight.reshape(len(connection.weight), -1)
        most = np.maximum(rows * low, rows * high).sum(axis=1).max()
        drive += area * max(float(most), 0.0)
    keep_u, keep_v = float(np.max(part.keep_u)), float(np.max(part.keep_v))
    current = drive * _times(keep_u, lowered.steps)
    current += max(float(part.bias.max()), 0.0)
    for injection in lowered.injected(part.name):
        current += injection.gain * max(ranges[injection.source][1], 0.0)
    return current * _times(keep_v, lowered.steps) + keep_v * max(part.start, 0.0)


def _times(keep: float, steps: int) -> float:
    """1 + keep + ... + keep^(T - 1)."""
    return float(steps) if keep == 1 else (1 - keep**steps) / (1 - keep)
