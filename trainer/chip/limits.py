"""Keep to the limits of a target in training: its largest sums and lowest biases.

Everything else that a target limits, such as bits and thresholds, does not change in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeport.checks import integer
from spikeport.errors import FileFormatError, TrainingError
from spikeport.network import LOIHI, DeployedNetwork, WeightedConnection
from spikeport.trainer.chip.grid import Grid

_LOWER = 0.98
"""Least reduction of weights whose sums are still too large."""
_MOST_BITS = 31


@dataclass(frozen=True, slots=True)
class TargetLimits:
    """What a target limits of the numbers that training changes.

    Attributes:
        name: of the target.
        sum_max: largest sum of a step in weight units, None if there is no limit.
        bias_min: lowest mantissa of a bias.
    """

    name: str
    sum_max: int | None = None
    bias_min: int = LOIHI.bias_mantissa_min

    @staticmethod
    def of(document: Any) -> TargetLimits:
        """The limits in a checkpoint.

        Raises:
            InputError: they are not such limits.
        """
        if not isinstance(document, dict) or document.keys() != {"name", "sum_max", "bias_min"}:
            raise FileFormatError(
                f"chip: target is {document!r:.60}, must have name, sum_max, bias_min"
            )
        name, most = document["name"], document["sum_max"]
        if not isinstance(name, str):
            raise FileFormatError(f"chip: target name is {name!r:.60}, must be a string")
        least = (LOIHI.bias_mantissa_min, 0)
        return TargetLimits(
            name,
            None if most is None else integer("chip: target sum_max", most, 1, 2**_MOST_BITS),
            integer("chip: target bias_min", document["bias_min"], *least),
        )


@torch.no_grad()
def fit_sums(
    network: DeployedNetwork,
    parts: Sequence[WeightedConnection],
    grids: Mapping[str, Grid],
    masters: Mapping[str, Tensor],
    weights: dict[str, Tensor],
    limit: int,
) -> dict[str, int]:
    """Shrink, in place, the master weights of neurons that could receive more than `limit`.

    The bound is `network.step_bound`. All weights of a neuron are shrunk by the same factor, those
    of a kernel by the smallest of its neurons' factors, except connections that are not trained.

    Args:
        parts: all connections into one population.
        masters: of the connections.
        weights: their integers, which are replaced where they change.

    Returns:
        For each changed connection, the largest sum of |W| over one row.

    Raises:
        TrainingError: weights that are not trained are beyond the limit.
    """
    changed: dict[str, int] = {}
    if not parts:
        return changed
    trained = [part.name for part in parts if masters[part.name].requires_grad]
    while True:
        bounds = {part.name: _bounds(network, part, weights[part.name]) for part in parts}
        neurons = max(len(each) for each in bounds.values())
        spread = {n: each.repeat_interleave(neurons // len(each), 0) for n, each in bounds.items()}
        total = _total(spread.values())
        beyond = total.amax(1) > limit
        if not beyond.any():
            return changed
        fixed = total - _total(spread[name] for name in trained) if trained else total
        if bool((fixed > limit).any()):
            raise TrainingError(
                f"population '{parts[0].target}': weights that are not trained add up to "
                f"{int(fixed.max())} in a step, limit {limit}"
            )
        share = ((limit - fixed) / (total - fixed).clamp(min=1)).amin(1).clamp(max=_LOWER)
        factor = torch.where(beyond, share, 1.0)
        for name in trained:
            own = factor.view(len(bounds[name]), -1).amin(1)
            if bool((own == 1).all()):
                continue
            rows = own.view(-1, *(1,) * (masters[name].dim() - 1))
            masters[name].mul_(rows.to(masters[name]))
            weights[name], changed[name] = grids[name].integers(masters[name])


def _total(bounds: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(bounds)).sum(0)


def _bounds(network: DeployedNetwork, part: WeightedConnection, weight: Tensor) -> Tensor:
    """Magnitudes of the highest and lowest sum of each row of weights, float64 of (rows, 2)."""
    rows = weight.flatten(1).double()
    up, down = rows.clamp(min=0).sum(1), rows.clamp(max=0).sum(1)
    low, high = network.message_range(part.source)
    low, high = min(low, 0), max(high, 0)
    area = 1 if part.pool is None else part.pool.area
    area <<= part.exponent
    return area * torch.stack([up * high + down * low, -(up * low + down * high)], 1)
