"""One step of each NIR node, batched, in NumPy.

Neurons (forward Euler, k = dt / tau, state zero at the start of a sample):

    I, IF      v <- v + g I                             g: see `integrator_gain`
    LI, LIF    v <- v + k (r I + v_leak - v)
    CubaLI(F)  i <- i + k_syn (w_in x - i); v <- v + k_mem (r i + v_leak - v), the new i first

A spike if v > v_threshold (>= if not strict), then in the same step v <- v_reset or
v <- v - v_threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir.fields import SPIKING, kind, label
from spikeport.export.nir.neuron_dynamics import integrator_gain
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


@dataclass(frozen=True, slots=True)
class NodeKernel:
    """A node ready to run: the number of its state arrays, and its step function.

    Attributes:
        linear: stateless, so that a constant input needs to be mapped only once.
    """

    states: int
    step: Step

    @property
    def linear(self) -> bool:
        """Whether the node has no state."""
        return self.states == 0


@dataclass(frozen=True, slots=True)
class Semantics:
    """Semantics that NIR leaves open."""

    dt_s: float
    reset: Reset
    strict: bool
    dtype: type[np.floating[Any]]


def node_kernel(name: str, node: Any, semantics: Semantics) -> NodeKernel:
    """The step of any node except Input and Delay, with constants computed in `rules.dtype`."""
    match node:
        case nir.Output():
            return _stateless(lambda x: x)
        case nir.Affine() | nir.Linear():
            return _stateless(_affine(node, semantics))
        case nir.Scale():
            scale = semantics.dtype(node.scale)
            return _stateless(lambda x: x * scale)
        case nir.Conv1d() | nir.Conv2d():
            return _stateless(_conv(node, semantics))
        case nir.SumPool2d():
            return _stateless(_pool(node, 1))
        case nir.AvgPool2d():
            return _stateless(_pool(node, int(np.prod(node.kernel_size))))
        case nir.Flatten():
            return _stateless(_flatten(node))
        case nir.Threshold():
            threshold = np.asarray(node.threshold, semantics.dtype)
            return NodeKernel(0, lambda state, x: (_heaviside(x, threshold, semantics), state))
        case nir.I() | nir.IF() | nir.LI() | nir.LIF() | nir.CubaLI() | nir.CubaLIF():
            return _neuron(node, semantics)
        case _:
            raise InputError(f"{label(name, node)}: cannot be simulated")


def _stateless(apply: Callable[[Array], Array]) -> NodeKernel:
    return NodeKernel(0, lambda state, x: (Emission(apply(x)), state))


def _heaviside(x: Array, threshold: Array, semantics: Semantics) -> Emission:
    fired = x > threshold if semantics.strict else x >= threshold
    return Emission(fired.astype(semantics.dtype), v_charged=x)


def _affine(node: Any, semantics: Semantics) -> Callable[[Array], Array]:
    weight = np.asarray(node.weight, semantics.dtype)
    bias = np.asarray(getattr(node, "bias", 0.0), semantics.dtype)
    if weight.ndim == 2:
        return lambda x: x @ weight.T + bias
    return lambda x: np.einsum("...oi,b...i->b...o", weight, x) + bias


def _conv(node: nir.Conv1d | nir.Conv2d, semantics: Semantics) -> Callable[[Array], Array]:
    weight = np.asarray(node.weight, semantics.dtype)
    groups, axes = int(node.groups), weight.ndim - 2
    bias = np.asarray(node.bias, semantics.dtype).reshape(-1, *(1,) * axes)
    stride, dilation = conv_sides(node, "stride"), conv_sides(node, "dilation")
    border = ((0, 0), (0, 0), *conv_padding(node))
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
    kernels = np.split(weight, groups)
    each = (slice(None), slice(None), *(slice(None, None, n) for n in (*stride, *dilation)))
    summed = (1, *range(2 + axes, 2 + 2 * axes)), tuple(range(1, 2 + axes))

    def apply(x: Array) -> Array:
        windows = sliding_window_view(np.pad(x, border), reach, axis=tuple(range(2, 2 + axes)))
        parts = [
            np.tensordot(part, kernel, axes=summed)
            for part, kernel in zip(np.split(windows[each], groups, axis=1), kernels, strict=True)
        ]
        return np.moveaxis(np.concatenate(parts, axis=-1), -1, 1) + bias

    return apply


def _pool(node: Any, area: int) -> Callable[[Array], Array]:
    kernel = tuple(int(n) for n in node.kernel_size)
    rows, columns = (int(n) for n in node.stride)
    height, width = (int(n) for n in node.padding)
    border = ((0, 0), (0, 0), (height, height), (width, width))

    def apply(x: Array) -> Array:
        windows = sliding_window_view(np.pad(x, border), kernel, axis=(2, 3))
        total: Array = windows[:, :, ::rows, ::columns].sum(axis=(4, 5))
        return total if area == 1 else total / area

    return apply


def _flatten(node: nir.Flatten) -> Callable[[Array], Array]:
    def apply(x: Array) -> Array:
        rank = x.ndim - 1
        start, end = (n + rank if n < 0 else n for n in (node.start_dim, node.end_dim))
        return x.reshape(*x.shape[: start + 1], -1, *x.shape[end + 2 :])

    return apply


def _neuron(node: Any, semantics: Semantics) -> NodeKernel:
    def constant(value: Any) -> Array:
        return np.asarray(value, semantics.dtype)

    def rate(tau: Any) -> Array:
        return constant(semantics.dt_s * (1 / np.asarray(tau, np.float64)))

    charge: Callable[[Array, Array], Array]
    if isinstance(node, nir.I | nir.IF):
        gain = constant(integrator_gain(node.r, semantics.dt_s))
        charge = lambda v, x: v + gain * x  # noqa: E731
    else:
        k = rate(node.tau if isinstance(node, nir.LI | nir.LIF) else node.tau_mem)
        r, leak = constant(node.r), constant(node.v_leak)
        charge = lambda v, x: v + k * (r * x + leak - v)  # noqa: E731

    membrane = _spiking(node, semantics, charge) if kind(node) in SPIKING else _silent(charge)
    if not isinstance(node, nir.CubaLI | nir.CubaLIF):
        return NodeKernel(1, membrane)
    k_syn, w_in = rate(node.tau_syn), constant(node.w_in)

    def step(state: State, x: Array) -> tuple[Emission, State]:
        current = state[1] + k_syn * (w_in * x - state[1])
        emission, (v,) = membrane(state[:1], current)
        return emission, (v, current)

    return NodeKernel(2, step)


def _silent(charge: Callable[[Array, Array], Array]) -> Step:
    def step(state: State, x: Array) -> tuple[Emission, State]:
        v = charge(state[0], x)
        return Emission(v, v=v), (v,)

    return step


def _spiking(node: Any, semantics: Semantics, charge: Callable[[Array, Array], Array]) -> Step:
    threshold = np.asarray(node.v_threshold, semantics.dtype)
    resting = np.asarray(node.v_reset, semantics.dtype)

    def step(state: State, x: Array) -> tuple[Emission, State]:
        charged = charge(state[0], x)
        fired = charged > threshold if semantics.strict else charged >= threshold
        after = resting if semantics.reset is Reset.ZERO else charged - threshold
        v = np.where(fired, after, charged)
        return Emission(fired.astype(semantics.dtype), v, charged), (v,)

    return step
