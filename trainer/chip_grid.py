"""Master weights and biases in real units, and the integers on the chip's grid that they stand for.

A weight w of a connection into a population of scale S, from a source of `s` integers per float
unit (1 for neurons), is the integer W = round(S w / s) on the legal grid of its matrix; the value
that computes is W s / S. A bias b is round(64 S b / 2^e) 2^e in units of v.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeport import fixed_point as fx
from spikeport.network import Population, Synapses


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers that a connection's weights may be: `low`, `low` + `step`, ..., `high`.

    Attributes:
        unit: real units per weight unit, s / S.
    """

    low: int
    high: int
    step: int
    unit: float

    @staticmethod
    def of(connection: Synapses, source_scale: float, target: Population) -> Grid:
        """The grid of a connection's bits and signs; these it keeps."""
        weight = connection.weight
        mixed = fx.is_mixed(weight)
        low, high, step = fx.weight_grid(mixed=mixed, bits=connection.weight_bits)
        if not mixed and weight.size and weight.min() < 0:
            low, high = -high, 0
        return Grid(low, high, step, source_scale / target.scale)

    @torch.no_grad()
    def integers(self, master: Tensor) -> Tensor:
        """W of master weights, whole numbers in their own type; masters beyond the grid's ends are
        moved to them, so that no weight is out of a gradient's reach.
        """
        master.clamp_(self.low * self.unit, self.high * self.unit)
        whole = (master / (self.unit * self.step)).round_().mul_(self.step)
        if self.low == -fx.WEIGHT_END and not bool((whole > 0).any()):
            whole.clamp_min_(-self.high)  # of one sign alone, a matrix ends one step earlier
        return whole


@torch.no_grad()
def bias_integers(master: Tensor, scale: float) -> tuple[Tensor, int]:
    """Mantissas of a bias in real units, and their exponent: the smallest that holds them."""
    state = master * (scale * (1 << fx.ACTIVATION_SHIFT))
    exponent = fx.bias_exponent(float(state.abs().max()))
    mantissa = (state / 2**exponent).round_()
    return mantissa.clamp_(fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX), exponent
