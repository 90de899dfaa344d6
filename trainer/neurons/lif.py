"""The leaky integrate-and-fire neuron: its layer, its steps and gradients, and its rate rule.

One step (lambda = decay, theta = v_threshold, x the input of the step):

    u_t = lambda v_{t-1} + x_t        s_t = 1[u_t > theta]
    v_t = 0 if s_t = 1 else u_t       (reset zero)
    v_t = u_t - theta s_t             (reset subtract)

`>` is the comparison of NIR and of Loihi; `strict=False` fires on u_t >= theta, as in the paper.
v_0 is `v_init`, the same for all neurons of a layer.

The spiking pass computes r = mean s_t and g = mean rho_t ds_t/du_t, where rho_1 = 1 and
rho_{t+1} = 1 + rho_t lambda dv_t/du_t is the response of u to a constant input.

Currents are (K, B, ...) for K steps or (1, B, ...) if constant; spikes are returned as (K, B, ...)
in the same memory order. float32 on the CPU uses the compiled loops, everything else torch's
operations; both give the same spikes.

Source: rate-based backpropagation, Yu et al., NeurIPS 2024, arXiv 2410.11488.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.checks import choice
from spikeport.errors import ValueRangeError
from spikeport.network import Reset
from spikeport.trainer.neurons.kernels import BLOCK, back_steps, fire_steps, record_steps
from spikeport.trainer.neurons.rows import Order, share_out

_LARGEST = float(np.finfo(np.float32).max)
_NO_SUMS = np.empty((2, 0), np.float32)


class LIF(nn.Module):
    """A layer of leaky integrate-and-fire neurons.

    One step (lambda = decay, theta = v_threshold, x the input of the step):

        u_t = lambda v_{t-1} + x_t        s_t = 1[u_t > theta]
        v_t = 0 if s_t = 1 else u_t       (reset zero)
        v_t = u_t - theta s_t             (reset subtract)

    and v_0 = v_init. With decay 1, reset subtract and `strict=False`, a constant input x gives
    clip(floor((T x + v_init) / theta), 0, T) spikes in T steps, if v_init lies in 0..theta; so
    v_init = theta / 2 rounds T x / theta to the nearest number of spikes.

    It holds constants, nothing is trained and no state is kept, so one module can be used for
    several layers. Called directly with a current (B, ...), it takes one step from v_init, with the
    surrogate gradient.

    Attributes:
        decay: lambda in [0, 1]; 1 is an integrate-and-fire neuron.
        v_threshold: theta > 0, in units of v.
        reset: of v after a spike: ZERO or SUBTRACT.
        detach_reset: gradients do not go through s_t in the reset of v (they do go through v).
        strict: a membrane equal to the threshold does not fire; otherwise it does.
        alpha: steepness of the surrogate ds/du = alpha z (1 - z), z = sigmoid(alpha (u - theta)).
        v_init: v_0, in units of v, of any sign; a reset to zero does not return to it.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self,
        decay: float = 0.5,
        v_threshold: float = 1.0,
        reset: Reset = Reset.ZERO,
        detach_reset: bool = True,
        alpha: float = 4.0,
        strict: bool = True,
        v_init: float = 0.0,
    ) -> None:
        super().__init__()
        _check_decay("LIF", decay)
        for name, value in (("v_threshold", v_threshold), ("alpha", alpha)):
            if not (math.isfinite(value) and value > 0):
                raise ValueRangeError(f"LIF: {name} is {value}, must be positive and finite")
        if not abs(v_init) <= _LARGEST:
            raise ValueRangeError(f"LIF: v_init is {v_init}, must be finite in float32")
        self.decay = decay
        self.v_threshold = v_threshold
        self.reset = choice("LIF: reset", Reset, reset)
        self.detach_reset = detach_reset
        self.alpha = alpha
        self.strict = strict
        self.v_init = v_init

    def fires(self, u: Tensor, out: Tensor | None = None) -> Tensor:
        """Mask of the membranes that fire, as booleans or as 0 and 1 in `out`."""
        compare = torch.gt if self.strict else torch.ge
        return compare(u, self.v_threshold, out=out)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of one step from v_init.

        Args:
            current: x, shape (B, ...), in units of v.

        Returns:
            0 and 1, shape (B, ...).
        """
        return through_time(self, current[None], 1, None)[0][0]

    def extra_repr(self) -> str:
        """The parameters, for printing."""
        detached = "" if self.detach_reset else ", detach_reset=False"
        loose = "" if self.strict else ", strict=False"
        start = f", v_init={self.v_init}" if self.v_init else ""
        shown = f"decay={self.decay}, v_threshold={self.v_threshold}, {self.reset}"
        return f"{shown}{detached}{loose}{start}"


class LI(nn.Module):
    """A leaky integrator that never spikes: v_t = decay v_{t-1} + x_t; its final v is the score.

    Raises:
        InputError: decay is not in 0..1.
    """

    def __init__(self, decay: float = 1.0) -> None:
        super().__init__()
        _check_decay("LI", decay)
        self.decay = decay

    def forward(self, current: Tensor) -> Tensor:
        """v after one step from rest."""
        return current

    def after(self, current: Tensor, steps: int, v: Tensor | None) -> Tensor:
        """v (B, ...) after `steps` more steps of a current (steps or 1, B, ...)."""
        for x in current.expand(steps, *current.shape[1:]):
            v = x if v is None else self.decay * v + x
        assert v is not None  # steps is at least 1
        return v

    def extra_repr(self) -> str:
        """The parameter, for printing."""
        return f"decay={self.decay}"


def _check_decay(subject: str, decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ValueRangeError(f"{subject}: decay is {decay}, must lie in 0..1")


def charge_and_fire(
    lif: LIF, current: Tensor, steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (v_{t-1}, u_t, s_t); `current` is (T, B, ...), or (1, B, ...) if constant."""
    v = torch.full_like(current[0], lif.v_init)
    for x in current.expand(steps, *current.shape[1:]):
        u = lif.decay * v + x
        s = lif.fires(u).to(u.dtype)
        yield v, u, s
        v = u * (1 - s) if lif.reset is Reset.ZERO else u - lif.v_threshold * s


def rate_rule(current: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
    """The neuron in the rate pass: value r for any current, gradient g; (B, ...)."""
    out: Tensor = _RateRule.apply(current, rate, gain)  # type: ignore[no-untyped-call]
    return out


class _RateRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(gain)
        return rate.view_as(rate)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gain,) = ctx.saved_tensors
        return upstream * gain, None, None


class Neurons:
    """A layer of neurons during a sample of `steps` steps; v starts at v_init."""

    def __init__(self, lif: LIF, steps: int, *, record: bool) -> None:
        self.lif = lif
        self.steps = steps
        self._record = record
        self._order: Order | None = None
        self._v: Tensor | None = None
        self._log: _Log | None = None

    @torch.no_grad()
    def advance(self, current: Tensor, steps: int) -> Tensor:
        """Spikes (steps, B, ...) of the next steps."""
        order = self._order = self._order or Order.of(current)
        x = order.rows(current)
        spikes = x.new_empty((steps, x.shape[1]))
        if self._record:
            self._log = self._log or _Log(self.lif, x, whole=steps == self.steps)
            self._log.advance(x, spikes)
        else:
            if self._v is None:
                self._v = x.new_full((x.shape[1],), self.lif.v_init)
            fire(self.lif, x, spikes, self._v, None)
        return order.restore(spikes).to(current.dtype)

    def recorded(self) -> tuple[Tensor, Tensor]:
        """r = mean s_t and g = mean rho_t ds_t/du_t after all steps, both (B, ...)."""
        assert self._order is not None  # advance() comes first
        assert self._log is not None
        rate, gain = (self._order.restore(x[None] / self.steps)[0] for x in self._log.sums())
        return rate, gain


class _Log:
    """v, rho and the sums of s and rho ds/du of N neurons, after the steps so far.

    Args:
        whole: a single call covers all steps, so the compiled loop only needs to keep the sums.
    """

    def __init__(self, lif: LIF, x: Tensor, *, whole: bool) -> None:
        self.lif = lif
        self._size = x.shape[1]
        self._fresh = True
        self._whole, self._blocked = (whole, not whole) if _compiled(x) else (False, False)
        shape = (2 if self._whole else 4, self._size)
        if self._blocked:
            shape = (-(-self._size // BLOCK), 4 * BLOCK)
        self._state = x.new_empty(shape)

    def advance(self, x: Tensor, spikes: Tensor) -> None:
        """Write the spikes (T, N) of the next T steps."""
        if not _compiled(x):
            self._step(x, spikes)
        else:
            rows, fresh = (x.numpy(), spikes.numpy()), self._fresh
            state, constants = self._state.numpy(), _constants(self.lif)
            if self._whole:
                _share(
                    spikes,
                    lambda a, b: record_steps(
                        *rows, _scratch()[None], state, constants, a, b, True
                    ),
                )
            else:
                _share(
                    spikes,
                    lambda a, b: record_steps(*rows, state, _NO_SUMS, constants, a, b, fresh),
                )
        self._fresh = False

    def sums(self) -> tuple[Tensor, Tensor]:
        """Both sums, (N,)."""
        if not self._blocked:
            return self._state[-2], self._state[-1]
        blocks = self._state.view(-1, 4, BLOCK)
        spikes, responses = (blocks[:, row].reshape(-1)[: self._size] for row in (2, 3))
        return spikes, responses

    def _step(self, x: Tensor, spikes: Tensor) -> None:
        lif, (v, rho, fired, response) = self.lif, self._state
        if self._fresh:
            self._state.zero_()
            v.fill_(lif.v_init)
            rho.fill_(1)
        for t in range(len(spikes)):
            u = torch.add(x[min(t, len(x) - 1)], v, alpha=lif.decay)
            s = lif.fires(u, out=spikes[t])
            slope = surrogate(lif, u)
            fired.add_(s)
            response.addcmul_(rho, slope)
            rho.mul_(reset_slope(lif, u, s, slope)).mul_(lif.decay).add_(1)
            torch.sub(u, s * u if lif.reset is Reset.ZERO else lif.v_threshold * s, out=v)


def through_time(lif: LIF, current: Tensor, steps: int, v: Tensor | None) -> tuple[Tensor, Tensor]:
    """Spikes (steps, B, ...) and final v (B, ...), differentiable in current and initial v.

    The initial v is v_init if None is given.
    The backward pass is that of the recurrence with the surrogate ds/du; only u_t is saved for it.
    """
    order = Order.of(current)
    x = order.rows(current)
    start = torch.full_like(x[0], lif.v_init) if v is None else order.rows(v[None])[0]
    spikes, last = _ThroughTime.apply(x, start, lif, steps)  # type: ignore[no-untyped-call]
    return order.restore(spikes).to(current.dtype), order.restore(last[None])[0]


class _ThroughTime(torch.autograd.Function):
    """Operates on rows: x (T, N), or (1, N) if constant; spikes (T, N); v (N,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, lif: LIF, steps: int) -> tuple[Tensor, Tensor]:
        spikes, charged = (x.new_empty((steps, x.shape[1])) for _ in range(2))
        last = v.clone()
        fire(lif, x, spikes, last, charged)
        ctx.save_for_backward(charged)
        ctx.lif, ctx.constant = lif, len(x) < steps
        return spikes, last

    @staticmethod
    def backward(ctx: Any, of_spikes: Tensor, of_last: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (charged,) = ctx.saved_tensors
        of_current, of_v = torch.empty_like(charged), of_last.clone()
        back(ctx.lif, charged, of_spikes.contiguous(), of_v, of_current)
        of_x = of_current.sum(0, keepdim=True) if ctx.constant else of_current
        return of_x, of_v, None, None


def fire(lif: LIF, x: Tensor, spikes: Tensor, v: Tensor, charged: Tensor | None) -> None:
    """`kernels.fire_steps` for any tensors."""
    if _compiled(x):
        kept = spikes[:0] if charged is None else charged
        arrays = x.numpy(), spikes.numpy(), kept.numpy(), v.numpy(), _constants(lif)
        _share(spikes, lambda a, b: fire_steps(*arrays, a, b))
        return
    for t in range(len(spikes)):
        u = torch.add(x[min(t, len(x) - 1)], v, alpha=lif.decay)
        s = lif.fires(u, out=spikes[t])
        if charged is not None:
            charged[t] = u
        torch.sub(u, s * u if lif.reset is Reset.ZERO else lif.v_threshold * s, out=v)


def back(lif: LIF, charged: Tensor, of_spikes: Tensor, of_v: Tensor, of_current: Tensor) -> None:
    """`kernels.back_steps` for any tensors."""
    if _compiled(charged):
        rows = charged.numpy(), of_spikes.numpy(), of_v.numpy(), of_current.numpy()
        constants = _constants(lif)
        _share(charged, lambda a, b: back_steps(*rows, constants, _scratch(), a, b))
        return
    for t in reversed(range(len(charged))):
        u = charged[t]
        slope = surrogate(lif, u)
        s = lif.fires(u).to(u.dtype)
        torch.mul(of_v, reset_slope(lif, u, s, slope), out=of_current[t])
        of_current[t].addcmul_(of_spikes[t], slope)
        torch.mul(of_current[t], lif.decay, out=of_v)


def surrogate(lif: LIF, u: Tensor) -> Tensor:
    """ds/du = alpha z (1 - z), z = sigmoid(alpha (u - theta))."""
    z = torch.sigmoid(lif.alpha * (u - lif.v_threshold))
    return lif.alpha * z * (1 - z)


def reset_slope(lif: LIF, u: Tensor, s: Tensor, slope: Tensor) -> Tensor:
    """dv_t/du_t: 1 - s or 1, minus the gradient through s_t in the reset, if there is one."""
    match lif.reset, lif.detach_reset:
        case Reset.ZERO, True:
            return 1 - s
        case Reset.ZERO, False:
            return 1 - s - u * slope
        case Reset.SUBTRACT, False:
            return 1 - lif.v_threshold * slope
    return torch.ones_like(u)


def _constants(lif: LIF) -> NDArray[np.float32]:
    """Parameters of a neuron for the compiled loops."""
    zero, live = lif.reset is Reset.ZERO, not lif.detach_reset
    lowest = np.float32(lif.v_threshold)  # the smallest membrane that fires
    if lif.strict:
        lowest = np.nextafter(lowest, np.float32(np.inf))
    values = [lif.decay, lif.v_threshold, lif.alpha, zero, live, lowest, lif.v_init]
    return np.array(values, np.float32)


def _scratch() -> NDArray[np.float32]:
    return np.empty(4 * BLOCK, np.float32)


def _compiled(x: Tensor) -> bool:
    """Whether the compiled loops support x; torch.compile compiles torch's operations itself."""
    kind = x.device.type == "cpu" and x.dtype is torch.float32
    return kind and not torch.compiler.is_compiling()


def _share(steps: Tensor, run: Callable[[int, int], None]) -> None:
    """`share_out` of all neurons of (T, N)."""
    share_out(steps.shape[1], BLOCK, steps.numel(), run)
