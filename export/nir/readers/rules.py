"""How nodes are written for a reader, and what it then makes of them; shared by several readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import nir
import numpy as np

from spikeport.export.nir.fields import Shape, kind, node_values
from spikeport.export.nir.graph import CheckedGraph
from spikeport.export.nir.neuron_dynamics import start_value
from spikeport.export.nir.portable import portable
from spikeport.export.nir.readers.fidelity import Finding, approximate, unsupported
from spikeport.export.nir.readers.step import Step, compared, same, step_of
from spikeport.export.nir.semantics import Semantics, StartValue
from spikeport.network import Reset

MAX_ENTRIES = 2**22
"""Weights that a rewriting may add to a file."""


@dataclass(frozen=True, slots=True)
class Case:
    """A node that is to be written for a reader.

    Attributes:
        dt_s, semantics: those of the network.
        file_dt_s: the time step that the reader assumes.
        reader: its rules of a step.
    """

    name: str
    node: Any
    checked: CheckedGraph
    dt_s: float
    semantics: Semantics
    file_dt_s: float
    reader: Semantics

    @property
    def given(self) -> Shape:
        """The shape that the node receives."""
        return self.checked.shapes[self.checked.sources[self.name][0]]


@dataclass(frozen=True, slots=True)
class Written:
    """A node as it is written, and what the reader does otherwise."""

    node: Any
    findings: tuple[Finding, ...] = ()


Rule = Callable[[Case], Written]


def kept(case: Case) -> Written:
    """The node is read as it is."""
    return Written(case.node)


def refused(cause: str, remedy: str = "") -> Rule:
    """The node cannot be read."""
    return lambda case: Written(case.node, (unsupported(cause, remedy),))


# Maps


def flat_map(case: Case) -> Written:
    """Affine and Linear, of which readers have no more than (out, in)."""
    if np.ndim(case.node.weight) == 2:
        return Written(case.node)
    cause = f"its weight has {np.ndim(case.node.weight)} axes, linear layers have 2"
    return Written(case.node, (unsupported(cause, "flatten in front of it"),))


def map_with_bias(case: Case) -> Written:
    """A Linear as an Affine of zeros, for readers that drop Linear."""
    made = flat_map(case)
    weight = np.asarray(case.node.weight)
    if made.findings or isinstance(case.node, nir.Affine):
        return made
    return Written(nir.Affine(weight, np.zeros(weight.shape[0], weight.dtype)))


def convolution(case: Case) -> Written:
    """A convolution that nir can type-check."""
    made, _ = portable(case.node)
    if len(set(np.shape(made.weight)[2:])) > 1:
        sides = "x".join(map(str, np.shape(made.weight)[2:]))
        cause = f"nir.read does not get its shape right (a kernel of {sides})"
        return Written(case.node, (unsupported(cause, "sides that differ by an even number"),))
    return Written(case.node)


def scale_as_map(case: Case) -> Written:
    """Scale as the map that multiplies each element, for readers without Scale."""
    scale, shape = np.asarray(case.node.scale), case.given
    channels = scale.reshape(shape[0], -1)
    if len(shape) == 1 and scale.size**2 <= MAX_ENTRIES:
        return Written(nir.Linear(np.diag(scale)))
    if (channels == channels[:, :1]).all() and shape[0] ** 2 <= MAX_ENTRIES:
        return Written(_each_channel(np.diag(channels[:, 0]), (1,) * (len(shape) - 1)))
    return Written(case.node, (unsupported("it has no Scale", "scale the weights instead"),))


def sum_pool(case: Case) -> Written:
    """SumPool2d; with padding, which readers ignore, as the convolution that sums."""
    return pool_as_convolution(case) if np.any(case.node.padding) else Written(case.node)


def pool_as_convolution(case: Case) -> Written:
    """A pool as the convolution of each channel with ones, or ones over the area."""
    node, channels = case.node, case.given[0]
    kernel, stride, padding = (
        tuple(int(n) for n in side) for side in (node.kernel_size, node.stride, node.padding)
    )
    value = 1.0 if isinstance(node, nir.SumPool2d) else 1 / prod(kernel)
    if kernel[0] != kernel[1] or channels**2 * prod(kernel) > MAX_ENTRIES:
        remedy = "a stride of the next convolution instead"
        return Written(node, (unsupported(f"it has no such {kind(node)}", remedy),))
    made = _each_channel(np.eye(channels) * value, kernel)
    sides = {"stride": stride, "padding": padding}
    return Written(
        nir.Conv2d(None, made.weight, dilation=(1, 1), groups=1, bias=made.bias, **sides)
    )


def _each_channel(matrix: Any, kernel: tuple[int, ...]) -> Any:
    """The convolution that applies a matrix of channels at every place of a kernel."""
    weight = np.ones((*matrix.shape, *kernel), np.float32) * matrix.reshape(
        *matrix.shape, *(1,) * len(kernel)
    ).astype(np.float32)
    bias = np.zeros(len(matrix), np.float32)
    if len(kernel) == 1:
        return nir.Conv1d(None, weight, 1, 0, 1, 1, bias)
    return nir.Conv2d(None, weight, (1, 1), (0, 0), (1, 1), 1, bias)


# Neurons

Write = Callable[[Case, Step], Any]


def neuron(
    write: Write,
    *further: Callable[[Case, Any], Finding | None],
    honours_reset: bool = True,
) -> Rule:
    """Spiking neurons in the form that a reader has.

    Args:
        write: the node for a step of the neurons.
        further: what the reader requires of the node that is written.
        honours_reset: it reads v_reset.
    """

    def rule(case: Case) -> Written:
        step = step_of(case.node, case.dt_s, case.semantics)
        found = rules_of_a_step(case, honours_reset=honours_reset)
        if not (step.gain > 0).all():
            cause = f"its input has a gain of {step.gain.min():g}, must be above 0 there"
            return Written(case.node, (*found, unsupported(cause, "a positive r")))
        node = write(case, step)
        if same(node, case.node):
            node = case.node
        node = compared(node, ours=case.semantics.strict, theirs=case.reader.strict)
        more = (check(case, node) for check in further)
        return Written(node, (*found, *(one for one in more if one is not None)))

    return rule


def rules_of_a_step(case: Case, *, honours_reset: bool) -> tuple[Finding, ...]:
    """The rules of a step that no way of writing a node changes."""
    ours, theirs, node = case.semantics, case.reader, case.node
    found = []
    if ours.reset is not theirs.reset:
        names = {Reset.ZERO: "to v_reset", Reset.SUBTRACT: "by subtraction of the threshold"}
        cause = f"it resets {names[theirs.reset]}, this network {names[ours.reset]}"
        found.append(approximate(cause, f"a network with reset={theirs.reset}"))
    elif ours.reset is Reset.SUBTRACT and ours.reset_timing is not theirs.reset_timing:
        cause = f"its subtraction is {theirs.reset_timing}, this network's {ours.reset_timing}"
        found.append(approximate(cause, f"reset_timing={theirs.reset_timing}"))
    if ours.multiple_spikes is not theirs.multiple_spikes:
        cause = (
            "it sends floor(v / threshold) spikes in one step"
            if theirs.multiple_spikes
            else "it sends one spike per step at most"
        )
        found.append(approximate(cause))
    if ours.late_spikes is not theirs.late_spikes:
        when = "a step after" if theirs.late_spikes else "in the step of"
        found.append(approximate(f"it sends a spike {when} the crossing"))
    if ours.reset is Reset.ZERO and not honours_reset and np.any(node.v_reset):
        cause = f"it resets to 0, v_reset is {_extreme(node.v_reset):g}"
        found.append(approximate(cause, "a v_reset of 0"))
    if differing := _start(case):
        found.append(differing)
    return tuple(found)


def _start(case: Case) -> Finding | None:
    ours, theirs = (start_value(case.node, each) for each in (case.semantics, case.reader))
    if np.array_equal(ours, theirs):
        return None
    names = {StartValue.ZERO: "0", StartValue.V_LEAK: "v_leak", StartValue.V_RESET: "v_reset"}
    start, own = names[case.reader.start], names[case.semantics.start]
    return approximate(f"v starts at {start} there, here at {own}", "a v_leak and v_reset of 0")


def uniform(*fields: str) -> Callable[[Case, Any], Finding | None]:
    """The reader requires one value for the whole layer."""

    def check(case: Case, node: Any) -> Finding | None:
        for field in fields:
            values = getattr(node, field, None)
            if values is not None and np.unique(values).size > 1:
                return unsupported(
                    f"{field} differs between its neurons, it takes one for all", "a layer for each"
                )
        return None

    return check


def steps_apart(case: Case, node: Any) -> Finding | None:
    """The reader has no time constant below its step, where forward Euler oscillates."""
    step = step_of(case.node, case.dt_s, case.semantics)
    if max(step.lost.max(), step.lost_syn.max()) <= 1 + 1e-6:
        return None
    return unsupported("a time constant is shorter than a step", "a shorter step dt")


def no_leak(refuses: bool) -> Callable[[Case, Any], Finding | None]:
    """The reader has no v_leak, and refuses or ignores it."""

    def check(case: Case, node: Any) -> Finding | None:
        if not np.any(getattr(node, "v_leak", 0)):
            return None
        make = unsupported if refuses else approximate
        does = "refuses" if refuses else "does not have"
        return make(f"it {does} a v_leak other than 0", "a bias in front of the neurons")

    return check


def always(finding: Finding) -> Callable[[Case, Any], Finding | None]:
    """A finding for every node."""
    return lambda case, node: finding


def _extreme(values: Any) -> float:
    array = np.asarray(values)
    return float(array.flat[np.abs(array).argmax()])


def fields_of(node: Any) -> dict[str, Any]:
    """The fields of a node without the shapes that nir computes."""
    drop = ("input_shape", "input_type")
    return {n: v for n, v in node_values(node).items() if n not in drop}
