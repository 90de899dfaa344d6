"""The compiled neuron loops against the literal equations, for every kind of neuron and layout."""

from __future__ import annotations

import math
import re
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeport.network import Reset
from spikeport.trainer.neurons import LIF, Neurons, charge_and_fire
from spikeport.trainer.neurons.kernels import BLOCK, record_steps
from spikeport.trainer.neurons.lif import through_time
from tests.helpers.trainer_reference import recurrence

SHAPES = [(3,), (2, 4), (3, 2, 5, 5), (1, 1, 2, 2), (2, 3, 41, 57)]
"""(B, ...); the last one fills more than one block of neurons, the last of them in part."""


@st.composite
def neurons(draw: st.DrawFn) -> LIF:
    return LIF(
        draw(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])),
        draw(st.sampled_from([0.3, 1.0, 1.7])),
        draw(st.sampled_from(list(Reset))),
        draw(st.booleans()),
        draw(st.sampled_from([1.0, 4.0, 10.0])),
        draw(st.booleans()),
        draw(st.sampled_from([0.0, 0.0, 0.5, 0.85, -1.3, 2.0])),
    )


@st.composite
def currents(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A float32 current, constant or not, contiguous or with channels last, and its steps."""
    shape = draw(st.sampled_from(SHAPES))
    steps = draw(st.integers(1, 6))
    rows = draw(st.sampled_from([1, steps]))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    x = 0.5 + torch.randn(rows, *shape)
    if draw(st.booleans()):
        x[0] = 1.0  # charges that meet a threshold exactly
    if len(shape) == 4 and draw(st.booleans()):
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(x.shape)
    return x, steps


def literal(lif: LIF, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Spikes and g by the equations, in the precision of x."""
    spikes, gain, rho = [], torch.zeros_like(x[0]), torch.ones_like(x[0])
    for _, u, s in charge_and_fire(lif, x, steps):
        slope = lif.alpha / 4 / torch.cosh(lif.alpha * (u - lif.v_threshold) / 2) ** 2
        gain = gain + rho * slope / steps
        seen = slope if not lif.detach_reset else torch.zeros_like(slope)
        dv = 1 - s - u * seen if lif.reset is Reset.ZERO else 1 - lif.v_threshold * seen
        rho = 1 + rho * lif.decay * dv
        spikes.append(s)
    return torch.stack(spikes), gain


@settings(max_examples=120, deadline=None)
@given(neurons(), currents(), st.integers(1, 3))
def test_spikes_rates_and_gains_are_those_of_the_equations(
    lif: LIF, given_current: tuple[Tensor, int], threads: int
) -> None:
    x, steps = given_current
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        layer = Neurons(lif, steps, record=True)
        spikes = layer.advance(x, steps)
        silent = Neurons(lif, steps, record=False).advance(x, steps)
    finally:
        torch.set_num_threads(before)
    rate, gain = layer.recorded()
    expected, expected_gain = literal(lif, x, steps)
    assert torch.equal(spikes, expected)
    assert torch.equal(silent, expected)
    torch.testing.assert_close(rate, expected.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gain, expected_gain, rtol=3e-5, atol=3e-6)
    if x.ndim == 5:
        assert spikes[0].is_contiguous() == x[0].is_contiguous(), "memory order is kept"


@settings(max_examples=80, deadline=None)
@given(neurons(), currents(), st.data())
def test_step_by_step_is_all_at_once(
    lif: LIF, given_current: tuple[Tensor, int], data: st.DataObject
) -> None:
    x, steps = given_current
    whole = Neurons(lif, steps, record=True)
    expected = whole.advance(x, steps)
    for record in (True, False):
        layer, parts, at = Neurons(lif, steps, record=record), [], 0
        while at < steps:
            span = data.draw(st.integers(1, steps - at))
            parts.append(layer.advance(x if len(x) == 1 else x[at : at + span], span))
            at += span
        assert torch.equal(torch.cat(parts), expected)
        if record:
            for found, value in zip(layer.recorded(), whole.recorded(), strict=True):
                torch.testing.assert_close(found, value, rtol=1e-6, atol=1e-7)


@settings(max_examples=80, deadline=None)
@given(neurons(), currents(), st.sampled_from([torch.float32, torch.float64]))
def test_gradients_through_time_are_those_of_the_recurrence(
    lif: LIF, given_current: tuple[Tensor, int], dtype: torch.dtype
) -> None:
    """Up to what rounding can do to each of them, of which the largest error seen is 3/4."""
    x, steps = given_current
    x = x.to(dtype).requires_grad_()
    v = torch.randn_like(x[0]).requires_grad_()
    spikes, last = through_time(lif, x, steps, v)
    fired, membrane = recurrence(lif, list(x.expand(steps, *x.shape[1:])), v)
    expected = torch.stack(fired)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(last, membrane)
    of_spikes, of_last = torch.randn_like(spikes), torch.randn_like(v)
    found = torch.autograd.grad([spikes, last], [x, v], [of_spikes, of_last])
    theirs = torch.autograd.grad([expected, membrane], [x, v], [of_spikes, of_last])
    numbers = (each.detach().double() for each in (x, v, spikes, of_spikes, of_last))
    exact, errors = by_hand(lif, torch.finfo(dtype).eps, *numbers)
    for ours, other, wanted, error in zip(found, theirs, exact, errors, strict=True):
        assert bool(((ours - wanted).abs() <= error).all())
        assert bool(((ours - other).abs() <= error).all())


def by_hand(
    lif: LIF, eps: float, x: Tensor, v: Tensor, spikes: Tensor, of_spikes: Tensor, of_last: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Gradients of x and v for given spikes, and a bound to first order on their rounding errors.

    A gradient may be the small difference of large terms: without detaching, each step multiplies
    it by 1 - s - u ds/du, which is up to 4 at alpha 10. Its error is measured by those terms:

        error of u          eps sum |u|, over the steps so far and the first v
        error of ds/du      eps alpha (1 + ds/du (sum |u| + theta))

    the latter because ds/du has a slope of at most alpha ds/du, and 1 - z an error of eps; and by
    what these become in the recurrence of the gradients.
    """
    zero, live = lif.reset is Reset.ZERO, float(not lif.detach_reset)
    charged, reach = [], []
    total = v.abs()
    for now, s in zip(x.expand(len(spikes), *x.shape[1:]), spikes, strict=True):
        u = lif.decay * v + now
        v = u * (1 - s) if zero else u - lif.v_threshold * s
        total = total + u.abs()
        charged.append(u)
        reach.append(total)
    of_v, error_v = of_last, torch.zeros_like(of_last)
    gradients, errors = [], []
    for t in reversed(range(len(spikes))):
        u, s, a = charged[t], spikes[t], of_spikes[t].abs()
        slope = lif.alpha / 4 / torch.cosh(lif.alpha * (u - lif.v_threshold) / 2) ** 2
        drop = live * (u if zero else torch.full_like(u, lif.v_threshold))
        kept = (1 - s if zero else torch.ones_like(u)) - drop * slope
        of_slope = eps * lif.alpha * (1 + slope * (reach[t] + lif.v_threshold))
        of_drop = live * (reach[t] if zero else lif.v_threshold) + drop.abs()
        of_kept = drop.abs() * of_slope + eps * (1 + of_drop * slope)
        gradient = of_spikes[t] * slope + of_v * kept
        error = a * (of_slope + eps * slope) + of_v.abs() * of_kept + error_v * kept.abs()
        gradients.append(gradient)
        errors.append(error + eps * gradient.abs())
        of_v = lif.decay * gradient
        error_v = lif.decay * errors[-1] + eps * of_v.abs()
    of_x, error_x = torch.stack(gradients[::-1]), torch.stack(errors[::-1])
    if len(x) < len(spikes):
        error_x = error_x.sum(0, keepdim=True) + eps * len(spikes) * of_x.abs().sum(0, keepdim=True)
        of_x = of_x.sum(0, keepdim=True)
    return (of_x, of_v), (error_x, error_v)


@settings(max_examples=20, deadline=None)
@given(neurons(), currents())
def test_without_a_membrane_it_starts_at_v_init(
    lif: LIF, given_current: tuple[Tensor, int]
) -> None:
    x, steps = given_current
    found = through_time(lif, x, steps, None)
    for ours, wanted in zip(
        found, through_time(lif, x, steps, torch.full_like(x[0], lif.v_init)), strict=True
    ):
        assert torch.equal(ours, wanted)
    assert torch.equal(found[0], literal(lif, x, steps)[0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e38])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_charges_that_are_not_finite_harm_nothing_else(value: float, dtype: torch.dtype) -> None:
    x = torch.full((2, 1, 5000), 0.6, dtype=dtype)
    x[0, 0, 17] = value
    layer = Neurons(LIF(0.5, 1.0, detach_reset=False), 2, record=True)
    spikes = layer.advance(x, 2)
    _, gain = layer.recorded()
    assert float(spikes[0, 0, 17]) == float(value > 1)
    others = torch.arange(5000) != 17
    assert torch.isfinite(gain[0, others]).all()
    if math.isnan(value):
        assert gain[0, 17].isnan()


def test_half_precision_keeps_its_type_and_charges_in_float32() -> None:
    x = (0.5 + torch.randn(4, 3, 7)).to(torch.bfloat16).requires_grad_()
    layer = Neurons(LIF(0.5), 4, record=True)
    spikes = layer.advance(x, 4)
    expected, _ = literal(LIF(0.5), x.detach().float(), 4)
    assert spikes.dtype is torch.bfloat16
    assert torch.equal(spikes.float(), expected)
    assert layer.recorded()[0].dtype is torch.float32
    through, _ = through_time(LIF(0.5), x, 4, None)
    (gradient,) = torch.autograd.grad(through.sum(), x)
    assert gradient.dtype is torch.bfloat16


def test_the_loop_over_neurons_is_vectorised() -> None:
    """It is several times slower otherwise, and that is easily lost: few arrays may overlap."""
    rows, lif = np.zeros((2, 64), np.float32), np.ones(7, np.float32)
    loop: Any = record_steps
    compiled = numba.njit(nogil=True, error_model="numpy")(loop.__wrapped__)
    state = np.zeros((1, 4 * BLOCK), np.float32)
    compiled(rows, rows.copy(), state, rows.copy(), lif, 0, 64, True)
    (code,) = compiled.inspect_llvm().values()
    assert re.search(r"fdiv <\d+ x float>", code)
