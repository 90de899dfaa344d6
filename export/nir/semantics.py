"""What NIR leaves open: how its differential equations become steps of length dt.

NIR states equations in continuous time and nothing about discrete time, so every framework has its
own rules. A `Semantics` states them all; `export.nir.presets` has those of known frameworks.

With the membrane v, the input x of a step, keep = 1 - k, and k of `Discretization`, one step is

    LI, LIF      v <- keep v + k (r x + v_leak)
    CubaLI(F)    i <- keep_syn i + k_syn w_in x, then as LIF with i in place of x
    I, IF        v <- v + g x                               g: see `IntegratorGain`

and then, for neurons that spike, a spike if v > v_threshold and v <- v_reset or v - v_threshold.
Every field of `Semantics` changes one part of this.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypedDict, Unpack

from spikeport import checks
from spikeport.errors import GraphError, ValueRangeError
from spikeport.network import Reset
from spikeport.text import quoted

fail = GraphError.fail


class Discretization(StrEnum):
    """The fraction k of a state that is lost in one step.

    EULER: k = dt / tau.
    EXPONENTIAL: k = 1 - exp(-dt / tau), exact for an input that is constant within a step.
    """

    EULER = "euler"
    EXPONENTIAL = "exponential"


class InputGain(StrEnum):
    """What scales the input of neurons.

    EQUATION: k r of the membrane and k_syn w_in of the synapse, as in NIR's equations.
    NO_R: k only, r of I, IF, LI and LIF is ignored; CubaLI and CubaLIF are as in the equation.
    UNIT: nothing: v <- keep v + x, and i <- keep_syn i + x.
    """

    EQUATION = "equation"
    NO_R = "no-r"
    UNIT = "unit"


class IntegratorGain(StrEnum):
    """The gain of I and IF per step, where `InputGain` is EQUATION.

    NIR: 1 where r = 1, as Norse, snnTorch and Sinabs read it; elsewhere r dt, as in NIR's equation
        dv/dt = r x.
    PER_STEP: r, whatever dt is.
    PER_SECOND: r dt, also where r = 1.
    """

    NIR = "nir"
    PER_STEP = "per-step"
    PER_SECOND = "per-second"


class SynapseOrder(StrEnum):
    """When the input of a step enters a synaptic current.

    DECAY_FIRST: after the decay, i <- keep_syn i + x.
    ADD_FIRST: before it, i <- keep_syn (i + x).
    """

    DECAY_FIRST = "decay-first"
    ADD_FIRST = "add-first"


class ResetTiming(StrEnum):
    """When a subtractive reset acts; a reset to v_reset acts with its spike, whatever this says.

    BEFORE_DECAY: at once, v <- v - v_threshold; the next decay acts on the result.
    AFTER_DECAY: in the next step, after its decay: v <- keep v + k r x - v_threshold.
    ONCE: at once; a membrane that is still above v_threshold is compared with twice v_threshold in
        the next step (snnTorch with reset_delay=False).
    """

    BEFORE_DECAY = "before-decay"
    AFTER_DECAY = "after-decay"
    ONCE = "once"


class StartValue(StrEnum):
    """The membrane before the first step: 0, or the node's own v_leak or v_reset."""

    ZERO = "zero"
    V_LEAK = "v_leak"
    V_RESET = "v_reset"


class Rules(TypedDict, total=False):
    """The fields of `Semantics` as keyword arguments."""

    discretization: Discretization | None
    input_gain: InputGain | None
    integrator_gain: IntegratorGain | None
    synapse_order: SynapseOrder | None
    reset: Reset | None
    reset_timing: ResetTiming | None
    strict: bool | None
    multiple_spikes: bool | None
    late_spikes: bool | None
    start: StartValue | None
    loop_delay: int | None
    loop_bias: bool | None


@dataclass(frozen=True, slots=True)
class Semantics:
    """The rules of one step that NIR does not state; the equations are in the module's docstring.

    Enumerations may be given by their values.

    Attributes:
        reset: ZERO is v <- v_reset, SUBTRACT is v <- v - v_threshold.
        strict: a spike if v > v_threshold, as NIR documents; if false also if they are equal.
        multiple_spikes: a neuron sends floor(v / v_threshold) spikes in one step, and SUBTRACT
            subtracts v_threshold for each of them.
        late_spikes: a spike is sent in the step after the one in which v crossed v_threshold, and
            its reset acts then.
        start: the membrane before the first step; synaptic currents start at 0.
        loop_delay: number of steps after which an edge that closes a cycle delivers; cycles
            through Delay nodes or late spikes have no such edge.
        loop_bias: such an edge delivers the bias of its maps also before its first delivery, as if
            no neuron had fired before the first step. If false, it then delivers nothing.

    Raises:
        InputError: a value is unknown or out of range.
    """

    discretization: Discretization = Discretization.EULER
    input_gain: InputGain = InputGain.EQUATION
    integrator_gain: IntegratorGain = IntegratorGain.NIR
    synapse_order: SynapseOrder = SynapseOrder.DECAY_FIRST
    reset: Reset = Reset.ZERO
    reset_timing: ResetTiming = ResetTiming.BEFORE_DECAY
    strict: bool = True
    multiple_spikes: bool = False
    late_spikes: bool = False
    start: StartValue = StartValue.ZERO
    loop_delay: int = 1
    loop_bias: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            subject = f"network: {field.name}"
            if isinstance(default, StrEnum):
                object.__setattr__(self, field.name, checks.choice(subject, type(default), value))
            elif isinstance(default, bool) and not isinstance(value, bool):
                ValueRangeError.fail(f"{subject} is {quoted(value)}, must be true or false")
        delay = checks.whole("network: loop_delay", self.loop_delay, 1, checks.MAX_STEPS)
        object.__setattr__(self, "loop_delay", delay)
        if self.reset_timing is ResetTiming.ONCE and (self.multiple_spikes or self.late_spikes):
            fail("network: reset_timing is 'once', which needs single spikes that are not late")

    def changed(self, **rules: Unpack[Rules]) -> Semantics:
        """These rules, with some of them changed; None changes nothing."""
        given: dict[str, Any] = {name: rule for name, rule in rules.items() if rule is not None}
        return replace(self, **given)

    def as_dict(self) -> dict[str, str | bool | int]:
        """Every rule by name, as plain values."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {n: str(rule) if isinstance(rule, StrEnum) else rule for n, rule in found.items()}


DEFAULTS = Semantics()
RULES = tuple(DEFAULTS.as_dict())
"""The names of all rules."""
