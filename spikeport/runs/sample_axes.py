"""Axes of samples: (B, *shape), presented at every step, or (T, B, *shape)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from spikeport.errors import SamplesError
from spikeport.network import Coding, Input

_log = logging.getLogger(__name__)


def batch_shape(axes: str, shape: Sequence[int]) -> str:
    """A shape with named leading axes, for messages: (B, 1, 8, 8)."""
    return f"({', '.join((axes, *map(str, shape)))})"


def is_static(part: Input, steps: int, given: Sequence[int]) -> bool:
    """Whether samples of shape `given` are (B, *shape); False for (T, B, *shape).

    Raises:
        InputError: they are neither; the message says what the shape looks like.
    """
    given = tuple(given)
    if given[1:] == part.shape and given:
        return True
    timed = len(given) == len(part.shape) + 2 and given[2:] == part.shape
    if timed and given[0] == steps:
        return False
    wrong = guess(part.shape, given)
    if timed:
        wrong = f"; these have {given[0]} steps, the network has T = {steps}"
        if given[1] == steps:
            wrong += "; if the batch axis comes first, np.moveaxis(x, 1, 0) puts T first"
    wanted = f"{batch_shape('B', part.shape)} or {batch_shape('T, B', part.shape)}"
    raise SamplesError(
        f"input '{part.name}': samples have shape {given}, must be {wanted} with T = {steps}{wrong}"
    )


def guess(shape: Sequence[int], given: Sequence[int]) -> str:
    """A hint on what a wrong shape looks like and how to fix it; empty if there is none.

    Args:
        shape: of one sample, as it must be.
        given: shape of an array whose first axis counts samples.
    """
    shape, given = tuple(shape), tuple(given)
    rest = given[1:]
    if given == shape:
        return "; this is one sample, x[None] adds the batch axis"
    if len(shape) > 1 and rest == (*shape[1:], shape[0]):
        return "; they look like channels last, np.moveaxis(x, -1, 1) puts channels first"
    if len(shape) > 1 and given[2:] == (*shape[1:], shape[0]):
        return "; they look like channels last, np.moveaxis(x, -1, 2) puts channels first"
    if len(shape) == 3 and rest == (shape[0], shape[2], shape[1]):
        return "; rows and columns look swapped, np.swapaxes(x, -1, -2) puts rows first"
    if len(shape) > 1 and shape[0] == 1 and rest == shape[1:]:
        return "; the channel axis is missing, x[:, None] adds it"
    if rest and math.prod(rest) == math.prod(shape):
        return f"; x.reshape{batch_shape('-1', shape)} has that shape, if the order is the same"
    return ""


def check_batch_axis(part: Input, steps: int, count: int) -> None:
    """Check samples (B, *shape) with B = T, which might be one sample of T steps instead.

    Spikes rarely repeat at every step, so for them the caller must say which is meant. Graded
    values often do, so for them only a warning is logged.

    Raises:
        InputError: B = T for a spike input.
    """
    if count != steps or steps == 1:
        return
    shape = batch_shape(str(steps), part.shape)
    ways = (
        f"one sample of {steps} steps is x[:, None]; {steps} samples presented at every step are "
        f"np.broadcast_to(x, ({steps}, *x.shape)), or x with static=True in encode_samples"
    )
    subject = f"input '{part.name}': samples have shape {shape}, and T is {steps}"
    if part.coding is Coding.SPIKES:
        raise SamplesError(f"{subject}: is that one sample, or {steps}? {ways}")
    _log.warning("%s: read as %d samples presented at every step; %s", subject, steps, ways)
