"""One step of each NIR node, batched, in NumPy; the equations are in `export.nir.semantics`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import GraphError, UnsupportedError
from spikeport.export.nir.fields import SPIKING, kind, label
from spikeport.export.nir.neuron_dynamics import (
    integrator_gain,
    lost_fraction,
    resistance,
    start_value,
)
from spikeport.export.nir.semantics import InputGain, ResetTiming, Semantics, SynapseOrder
from spikeport.export.nir.shapes import conv_padding, conv_sides
from spikeport.network import Reset

Array = NDArray[Any]
State = tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Emission:
    """Output of a node in one step; v and v_charged (before reset) if it has a membrane."""

    out: Array
    v: Array | None = None
    v_charged: Array | None = None


Step = Callable[[State, Array], tuple[Emission, State]]
Charge = Callable[[Array, Array], Array]
"""The membrane before any spike, from the one of the last step and the input."""


@dataclass(frozen=True, slots=True)
class NodeKernel:
    """A node ready to run: its state before the first step, and its step function.

    Attributes:
        start: arrays that broadcast to (B, *shape).
        emit: the output of the next step, for neurons that send it before they receive
            (`Semantics.late_spikes`).
        linear: stateless, so that a constant input needs to be mapped only once.
    """

    start: State
    step: Step
    emit: Callable[[State], Emission] | None = None

    @property
    def linear(self) -> bool:
        """Whether the node has no state."""
        return not self.start


@dataclass(frozen=True, slots=True)
class Setting:
    """What the step of a node depends on besides the node."""

    dt_s: float
    semantics: Semantics
    dtype: type[np.floating[Any]]


def node_kernel(name: str, node: Any, setting: Setting) -> NodeKernel:
    """The step of any node except Input and Delay, with constants computed in `setting.dtype`."""
    dtype = setting.dtype
    match node:
        case nir.Output():
            return _stateless(lambda x: x)
        case nir.Affine() | nir.Linear():
            return _stateless(_affine(node, dtype))
        case nir.Scale():
            scale = dtype(node.scale)
            return _stateless(lambda x: x * scale)
        case nir.Conv1d() | nir.Conv2d():
            return _stateless(_conv(node, dtype))
        case nir.SumPool2d():
            return _stateless(_pool(node, 1))
        case nir.AvgPool2d():
            return _stateless(_pool(node, int(np.prod(node.kernel_size))))
        case nir.Flatten():
            return _stateless(_flatten(node))
        case nir.Threshold():
            threshold, strict = np.asarray(node.threshold, dtype), setting.semantics.strict
            return _stateless(lambda x: _above(x, threshold, strict).astype(dtype), charged=True)
        case nir.I() | nir.IF() | nir.LI() | nir.LIF() | nir.CubaLI() | nir.CubaLIF():
            return _neuron(name, node, setting)
        case _:
            raise UnsupportedError(f"{label(name, node)}: cannot be simulated")


def _stateless(apply: Callable[[Array], Array], charged: bool = False) -> NodeKernel:
    def step(state: State, x: Array) -> tuple[Emission, State]:
        return Emission(apply(x), v_charged=x if charged else None), state

    return NodeKernel((), step)


def _above(v: Array, threshold: Array, strict: bool) -> NDArray[np.bool_]:
    above: NDArray[np.bool_] = v > threshold if strict else v >= threshold
    return above


def _affine(node: Any, dtype: type[np.floating[Any]]) -> Callable[[Array], Array]:
    weight = np.asarray(node.weight, dtype)
    bias = np.asarray(getattr(node, "bias", 0.0), dtype)
    if weight.ndim == 2:
        return lambda x: x @ weight.T + bias
    return lambda x: np.einsum("...oi,b...i->b...o", weight, x) + bias


COLUMNS = 1 << 17
"""Values in the windows that are multiplied at once, so that they stay in the cache (1 MiB)."""


def _conv(node: nir.Conv1d | nir.Conv2d, dtype: type[np.floating[Any]]) -> Callable[[Array], Array]:
    weight = np.asarray(node.weight, dtype)
    groups, axes = int(node.groups), weight.ndim - 2
    bias = np.asarray(node.bias, dtype).reshape(-1, *(1,) * axes)
    stride, dilation = conv_sides(node, "stride"), conv_sides(node, "dilation")
    border = ((0, 0), (0, 0), *conv_padding(node))
    sides = weight.shape[2:]
    kernels = weight.reshape(groups, len(weight) // groups, -1)

    def apply(x: Array) -> Array:
        windows = _windows(x, border, sides, stride, dilation)
        (_, first), channels = windows[0], x.shape[1]
        over, area = first.shape[2:], math.prod(first.shape[2:])
        out = np.empty((len(x), groups, kernels.shape[1], area), dtype)
        at_once = max(COLUMNS // (channels * math.prod(sides) * area), 1)
        columns = np.empty((min(at_once, len(x)), channels, *sides, *over), dtype)
        for begin in range(0, len(x), at_once):
            filled = columns[: len(x) - begin]
            for place, seen in windows:
                filled[place] = seen[begin : begin + at_once]
            grouped = filled.reshape(len(filled), groups, -1, area)
            np.matmul(kernels, grouped, out=out[begin : begin + at_once])
        return out.reshape(len(x), len(weight), *over) + bias

    return apply


def _pool(node: Any, area: int) -> Callable[[Array], Array]:
    kernel, stride, padding = (
        tuple(int(n) for n in sides) for sides in (node.kernel_size, node.stride, node.padding)
    )
    border = ((0, 0), (0, 0), *((side, side) for side in padding))

    def apply(x: Array) -> Array:
        windows = _windows(x, border, kernel, stride, (1, 1))
        total: Array = functools.reduce(np.add, (seen for _, seen in windows))
        return total if area == 1 else total / area

    return apply


def _windows(
    x: Array,
    border: Sequence[tuple[int, int]],
    sides: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> list[tuple[tuple[Any, ...], Array]]:
    """For each place in a window, its index [:, :, *place] and views of what it sees of x at all
    positions, (B, C, *positions)."""
    padded = np.pad(x, border) if any(map(any, border)) else x
    axes = list(zip(padded.shape[2:], sides, stride, dilation, strict=True))
    positions = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in axes]
    found = []
    for at in np.ndindex(*sides):
        seen = (
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, n, (_, _, s, d) in zip(at, positions, axes, strict=True)
        )
        found.append(((slice(None), slice(None), *at), padded[:, :, *seen]))
    return found


def _flatten(node: nir.Flatten) -> Callable[[Array], Array]:
    def apply(x: Array) -> Array:
        rank = x.ndim - 1
        start, end = (n + rank if n < 0 else n for n in (node.start_dim, node.end_dim))
        return x.reshape(*x.shape[: start + 1], -1, *x.shape[end + 2 :])

    return apply


def _neuron(name: str, node: Any, setting: Setting) -> NodeKernel:
    semantics = setting.semantics
    unit = semantics.input_gain is InputGain.UNIT

    def constant(value: Any) -> Array:
        return np.asarray(value, setting.dtype)

    def lost(tau: Any) -> Array:
        return lost_fraction(setting.dt_s * (1 / np.asarray(tau, np.float64)), semantics)

    charge: Charge
    if isinstance(node, nir.I | nir.IF):
        gain = constant(integrator_gain(node.r, setting.dt_s, semantics))
        charge = lambda v, x: v + gain * x  # noqa: E731
    else:
        fraction = lost(node.tau if isinstance(node, nir.LI | nir.LIF) else node.tau_mem)
        k, keep, leak = constant(fraction), constant(1 - fraction), constant(node.v_leak)
        r, drift = constant(resistance(node, semantics)), constant(fraction * node.v_leak)
        if unit:
            charge = lambda v, x: keep * v + x + drift  # noqa: E731
        else:
            charge = lambda v, x: v + k * (r * x + leak - v)  # noqa: E731

    start = (constant(start_value(node, semantics)),)
    membrane = (
        _spiking(name, node, setting, charge, start)
        if kind(node) in SPIKING
        else NodeKernel(start, _silent(charge))
    )
    if not isinstance(node, nir.CubaLI | nir.CubaLIF):
        return membrane
    lost_syn = lost(node.tau_syn)
    k_syn, keep_syn, w_in = constant(lost_syn), constant(1 - lost_syn), constant(node.w_in)
    scale = constant(1.0) if unit else constant(lost_syn * node.w_in)
    inner = membrane.emit

    def current(i: Array, x: Array) -> Array:
        if semantics.synapse_order is SynapseOrder.ADD_FIRST:
            return np.asarray(keep_syn * (i + scale * x))
        following: Array = keep_syn * i + x if unit else i + k_syn * (w_in * x - i)
        return following

    def step(state: State, x: Array) -> tuple[Emission, State]:
        i = current(state[1], x)
        emission, (v,) = membrane.step(state[:1], i)
        return emission, (v, i)

    return NodeKernel(
        (*start, constant(0.0)), step, None if inner is None else lambda state: inner(state[:1])
    )


def _silent(charge: Charge) -> Step:
    def step(state: State, x: Array) -> tuple[Emission, State]:
        v = charge(state[0], x)
        return Emission(v, v=v), (v,)

    return step


def _spiking(name: str, node: Any, setting: Setting, charge: Charge, start: State) -> NodeKernel:
    """A neuron whose spikes are computed from its charged membrane, in this step or the next."""
    semantics, dtype = setting.semantics, setting.dtype
    threshold = np.asarray(node.v_threshold, dtype)
    resting = np.asarray(node.v_reset, dtype)
    if semantics.multiple_spikes and threshold.min() <= 0:
        raise GraphError(
            f"{label(name, node)}: v_threshold is {threshold.min():g}, must be above 0 if neurons "
            "send floor(v / v_threshold) spikes"
        )
    subtract = semantics.reset is Reset.SUBTRACT
    late = semantics.late_spikes
    after = subtract and semantics.reset_timing is ResetTiming.AFTER_DECAY
    once = subtract and semantics.reset_timing is ResetTiming.ONCE

    def spikes(v: Array) -> Array:
        if not semantics.multiple_spikes:
            return _above(v, threshold, semantics.strict).astype(dtype)
        count = v / threshold
        count = np.ceil(count) - 1 if semantics.strict else np.floor(count)
        return np.maximum(count, dtype(0))

    def after_reset(v: Array, fired: Array) -> Array:
        return v - fired * threshold if subtract else np.where(fired != 0, resting, v)

    def reset_now(state: State, x: Array) -> tuple[Emission, State]:
        charged = charge(state[0], x)
        fired = spikes(charged - spikes(state[0]) * threshold if once else charged)
        v = after_reset(charged, fired)
        return Emission(fired, v, charged), (v,)

    def reset_next(state: State, x: Array) -> tuple[Emission, State]:
        fired = spikes(state[0])
        if after:
            charged = charge(state[0], x) - fired * threshold
        else:
            charged = charge(after_reset(state[0], fired), x)
        return Emission(fired if late else spikes(charged), charged, charged), (charged,)

    if not late:
        return NodeKernel(start, reset_next if after else reset_now)
    return NodeKernel(start, reset_next, emit=lambda state: Emission(spikes(state[0])))
