"""Check the shape and values of tensors passed to a network against its declared input."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeport.network import Coding, Input
from spikeport.runs import check_range, float_range, is_static


def check_input(part: Input, steps: int, x: Tensor) -> None:
    """Refuse samples that do not match the declared input.

    The training loop does not call this: a `Dataset` is checked once as a whole. While
    torch.compile traces, only shapes are checked, because there are no values yet.

    Raises:
        InputError: x is neither (B, *shape) nor (T, B, *shape), or its values fail `check_range`.
    """
    is_static(part, steps, x.shape)
    if not torch.compiler.is_compiling() and not _surely_taken(part, x.detach()):
        check_range(part, x.detach().float().cpu().numpy())


def _surely_taken(part: Input, x: Tensor) -> bool:
    """Whether the input accepts x unchanged, checked on x's device to avoid a copy from a GPU."""
    if part.coding is Coding.SPIKES:
        whole = part.scale == 1 and (part.low, part.high) == (0, 1)
        return whole and bool(((x == 0) | (x == 1)).all())
    if not x.numel():
        return True
    low, high = float_range(part)
    least, most = torch.aminmax(x)
    return bool((low <= least) & (most <= high))


def time_major(part: Input, steps: int, x: Tensor) -> Tensor:
    """View (B, *shape) as (1, B, *shape); return (T, B, *shape) unchanged.

    Raises:
        InputError: x has neither shape.
    """
    return x[None] if is_static(part, steps, x.shape) else x
