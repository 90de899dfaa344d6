"""The activations of an ANN that can be converted to integrate-and-fire neurons.

An integrate-and-fire neuron with threshold theta that receives x at each of T steps sends spikes
whose mean, times theta, is a staircase of x between 0 and theta: `QuantizedReLU` with L = T levels.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spikeport.checks import integer
from spikeport.errors import ValueRangeError


class QuantizedReLU(nn.Module):
    """A clipped ReLU with a trained threshold theta, quantized to L levels:

        a = theta clip(floor(L x / theta + 1/2) / L, 0, 1)

    `floor` passes gradients straight through, so da/dx = 1 for 0 <= x <= theta and 0 elsewhere,
    and da/dtheta = (a - x) / theta there, 1 above and 0 below. Also called QCFS
    (quantization-clip-floor-shift).

    Attributes:
        levels: L; None for no quantization: a = clip(x, 0, theta).
        v_threshold: theta, a trained scalar, which stays at least `SMALLEST`.

    Raises:
        InputError: a value is out of its range.

    Source: Bu et al., ICLR 2022, arXiv 2303.04347.
    """

    SMALLEST = 1e-3

    def __init__(self, levels: int | None = 8, v_threshold: float = 8.0) -> None:
        super().__init__()
        if levels is not None:
            integer("QuantizedReLU: levels", levels, 1, 2**16)
        if not (math.isfinite(v_threshold) and v_threshold > 0):
            raise ValueRangeError(
                f"QuantizedReLU: v_threshold is {v_threshold}, must be positive and finite"
            )
        self.levels = levels
        self.v_threshold = nn.Parameter(torch.tensor(float(v_threshold)))

    def forward(self, x: Tensor) -> Tensor:
        """a of x, of the same shape."""
        theta = self.v_threshold.clamp(min=self.SMALLEST)
        out: Tensor = _Staircase.apply(x, theta, self.levels)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        """The parameters, for printing."""
        return f"levels={self.levels}, v_threshold={float(self.v_threshold.detach()):g}"


class _Staircase(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, theta: Tensor, levels: int | None) -> Tensor:
        scaled = x / theta
        share = scaled.clamp(0, 1)
        if levels is not None:
            share.mul_(levels).add_(0.5).floor_().div_(levels)
        ctx.save_for_backward(scaled, share)
        return share * theta

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        scaled, share = ctx.saved_tensors
        inside = (scaled >= 0) & (scaled <= 1)
        of_x = upstream * inside
        # share - scaled inside, share (0 or 1) outside; summed in at least float32
        of_theta = upstream * (share - torch.where(inside, scaled, 0.0))
        wide = torch.promote_types(of_theta.dtype, torch.float32)
        return of_x, of_theta.sum(dtype=wide), None


Activation: TypeAlias = nn.ReLU | QuantizedReLU
"""What makes a network an ANN."""
