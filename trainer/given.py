"""Checking tensors that a user hands to a network: axes and values as its input declares them."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeport.network import Input
from spikeport.sample_axes import is_static
from spikeport.sample_values import check_range


def check_given(part: Input, steps: int, x: Tensor) -> None:
    """Refuse samples that the input does not take, before anything is trained on them.

    The training loop checks a whole `Dataset` once instead. Within torch.compile nothing is
    checked, as there are no values yet.

    Raises:
        InputError: x is neither (B, *shape) nor (T, B, *shape), or see `check_range`.
    """
    is_static(part, steps, x.shape)
    if not torch.compiler.is_compiling():
        check_range(part, x.detach().float().cpu().numpy())


def time_major(part: Input, steps: int, x: Tensor) -> Tensor:
    """(B, *shape) as (1, B, *shape); (T, B, *shape) as it is.

    Raises:
        InputError: x is neither.
    """
    return x[None] if is_static(part, steps, x.shape) else x
