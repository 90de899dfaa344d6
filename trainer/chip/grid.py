"""Master weights and biases in real units, and the integers on the chip's grid that represent them.

A weight w of a connection into a population of scale S, from a source of `s` integers per float
unit (1 for neurons), with the weight exponent k, is the integer W = round(S w / (2^k s)) on the
legal grid of its matrix; the value used in computation is 2^k W s / S. A bias b is
round(64 S b / 2^e) 2^e in units of v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeport.errors import TrainingError
from spikeport.network import LOIHI, Population, WeightedConnection, is_mixed
from spikeport.trainer.chip.kernels import round_rows
from spikeport.trainer.neurons.rows import share_out


@dataclass(frozen=True, slots=True)
class Grid:
    """The possible integer weights of a connection: `low`, `low` + `step`, ..., `high`.

    Attributes:
        unit: real units per integer, 2^k s / S.
    """

    low: int
    high: int
    step: int
    unit: float

    @staticmethod
    def of(connection: WeightedConnection, source_scale: float, target: Population) -> Grid:
        """The grid for the bits and the sign mode of a connection, both of which stay fixed."""
        weight = connection.weight
        mixed = is_mixed(weight)
        low, high, step = LOIHI.weight_grid(mixed=mixed, bits=connection.weight_bits)
        if not mixed and weight.size and weight.min() < 0:
            low, high = -high, 0
        return Grid(low, high, step, 2.0**connection.exponent * source_scale / target.scale)

    @torch.no_grad()
    def integers(self, master: Tensor) -> tuple[Tensor, int]:
        """W of master weights (M, ...), int16, and the largest sum of |W| over one of M rows.

        Master weights beyond the ends of the grid are clipped in place, so that gradients can
        still move every weight.

        Raises:
            InputError: a master weight is NaN.
        """
        pitch = self.unit * self.step
        ends = self.low * self.unit, self.high * self.unit
        whole = torch.empty_like(master, dtype=torch.int16)
        if master.device.type == "cpu" and master.stride(0) * len(master) == master.numel():
            rows = [t.as_strided((len(t), t.stride(0)), (t.stride(0), 1)) for t in (master, whole)]
            sums = torch.empty((3, len(master)), dtype=torch.int64)
            given, out, found = (t.numpy() for t in (*rows, sums))
            share_out(
                len(master),
                1,
                master.numel(),
                lambda a, b: round_rows(given, out, found, *ends, pitch, self.step, a, b),
            )
            up, down, lost = sums.unbind()
            positive, largest = bool(up.any()), int((up + down).max())
            broken = bool(lost.any())
        else:
            master.clamp_(*ends)
            near = (master / master.new_tensor(pitch)).round_()  # a scalar's inverse would round
            broken = bool(near.isnan().any())
            whole.copy_(near.mul_(self.step))
            positive, largest = bool((whole > 0).any()), _largest(whole)
        if broken:
            raise TrainingError("a weight is NaN, must be finite")
        if self.low == -LOIHI.weight_end and not positive:
            whole.clamp_min_(-self.high)  # with a single sign, the grid ends one step earlier
            largest = _largest(whole)
        return whole, largest


def _largest(whole: Tensor) -> int:
    return int(whole.abs().flatten(1).sum(1).max())


@torch.no_grad()
def bias_integers(
    master: Tensor, scale: float, least: int = LOIHI.bias_mantissa_min
) -> tuple[Tensor, int]:
    """Mantissas of a bias in real units, and the smallest exponent that can hold them.

    Args:
        least: lowest mantissa.
    """
    state = master * (scale * LOIHI.weight_unit)
    exponent = LOIHI.bias_exponent_for(float(state.abs().max()))
    mantissa = (state / 2**exponent).round_()
    return mantissa.clamp_(least, LOIHI.bias_mantissa_max), exponent


@dataclass(frozen=True, slots=True, eq=False)
class Integers:
    """The integers on the chip.

    Attributes:
        grids: by connection.
        weights: by connection, int16.
        reach: by connection, the largest sum of |W| over the weights into one neuron.
        biases: mantissas and their exponent by population.
    """

    grids: Mapping[str, Grid]
    weights: Mapping[str, Tensor]
    reach: Mapping[str, int]
    biases: Mapping[str, tuple[Tensor, int]]
