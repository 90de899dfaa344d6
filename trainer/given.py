"""Checking tensors that a user hands to a network: axes and values as its input declares them."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeport.network import Coding, Input
from spikeport.sample_axes import is_static
from spikeport.sample_values import check_range, float_range


def check_given(part: Input, steps: int, x: Tensor) -> None:
    """Refuse samples that the input does not take, before anything is trained on them.

    The training loop checks a whole `Dataset` once instead. Within torch.compile nothing is
    checked, as there are no values yet.

    Raises:
        InputError: x is neither (B, *shape) nor (T, B, *shape), or see `check_range`.
    """
    is_static(part, steps, x.shape)
    if not torch.compiler.is_compiling() and not _surely_taken(part, x.detach()):
        check_range(part, x.detach().float().cpu().numpy())


def _surely_taken(part: Input, x: Tensor) -> bool:
    """Whether the input takes x as it is, found where x lies: on a GPU copying it takes longer."""
    if part.coding is Coding.SPIKES:
        whole = part.scale == 1 and (part.low, part.high) == (0, 1)
        return whole and bool(((x == 0) | (x == 1)).all())
    if not x.numel():
        return True
    low, high = float_range(part)
    least, most = torch.aminmax(x)
    return bool((low <= least) & (most <= high))


def time_major(part: Input, steps: int, x: Tensor) -> Tensor:
    """(B, *shape) as (1, B, *shape); (T, B, *shape) as it is.

    Raises:
        InputError: x is neither.
    """
    return x[None] if is_static(part, steps, x.shape) else x
