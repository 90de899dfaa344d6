"""Check the shape and values of tensors passed to a network against its declared input."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeport.network import Input
from spikeport.sample_axes import is_static
from spikeport.sample_values import check_range


def check_input(part: Input, steps: int, x: Tensor) -> None:
    """Refuse samples that do not match the declared input.

    The training loop does not call this: a `Dataset` is checked once as a whole. While
    torch.compile traces, only shapes are checked, because there are no values yet.

    Raises:
        InputError: x is neither (B, *shape) nor (T, B, *shape), or its values fail `check_range`.
    """
    is_static(part, steps, x.shape)
    if not torch.compiler.is_compiling():
        check_range(part, x.detach().float().cpu().numpy())


def time_major(part: Input, steps: int, x: Tensor) -> Tensor:
    """View (B, *shape) as (1, B, *shape); return (T, B, *shape) unchanged.

    Raises:
        InputError: x is neither.
    """
    return x[None] if is_static(part, steps, x.shape) else x
