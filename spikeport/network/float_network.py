"""The float side: a NIR graph and what NIR cannot say about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spikeport import checks
from spikeport.errors import InputError
from spikeport.network.inputs import Input
from spikeport.network.neurons.lif import Reset

if TYPE_CHECKING:
    import nir


@dataclass(frozen=True, slots=True, eq=False)
class FloatNetwork:
    """A network in float units, ready to simulate, to write or to quantize.

    One step of a node is forward Euler with step `dt_s`, e.g. LIF
    v <- v + dt/tau (v_leak - v + r I); a spike where v > v_threshold, or v >= v_threshold where
    `strict` is false; then v <- v_reset (ZERO) or v <- v - v_threshold (SUBTRACT), in the same
    step. IF and I add r dt I, except that r = 1 is a gain of 1 per step, as most tools have it.

    Attributes:
        graph: flat, node names unique; NIR's own names and units (seconds).
        steps: T.
        reset, strict: what NIR leaves open; `strict` is NIR's documented comparison.
        inputs: one per Input node of the graph, how its float values become chip integers.
        inputs_assumed: the inputs were not declared; `read_nir` assumed 0/1 spikes.
    """

    graph: nir.NIRGraph
    dt_s: float
    steps: int
    inputs: tuple[Input, ...]
    reset: Reset = Reset.ZERO
    strict: bool = True
    inputs_assumed: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt_s) and self.dt_s > 0):
            raise InputError(f"dt_s is {self.dt_s}, must be positive seconds")
        steps = checks.whole("network: steps (T)", self.steps, 1, checks.MAX_STEPS)
        object.__setattr__(self, "steps", steps)
        if not isinstance(self.strict, bool):
            raise InputError(f"strict is {self.strict!r}, must be true or false")
        object.__setattr__(self, "reset", checks.choice("network: reset", Reset, self.reset))
        inputs = (self.inputs,) if isinstance(self.inputs, Input) else tuple(self.inputs)
        object.__setattr__(self, "inputs", inputs)
