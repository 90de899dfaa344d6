"""Messages of one source over a block of steps, and earlier ones still needed because of delays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import AnyPopulation, Input, Shape
from spikeport.simulators.native.layout import channels_last, padded, uninitialised
from spikeport.simulators.native.plan import is_graded


@dataclass(frozen=True, slots=True)
class MessageBuffer:
    """Messages in the internal order.

    Attributes:
        messages: (B, before + block, padded N) bytes, or (.., N) int32 if graded; for a static
            input (B, 1, ..). The steps of a sample are adjacent in memory, as loops access them.
        before: steps kept from before the block (the longest delay).
    """

    messages: NDArray[Any]
    before: int
    static: bool
    graded: bool
    shape: Shape
    size: int


def make_buffer(
    part: Input | AnyPopulation, samples: int, block: int, delay: int, *, static: bool
) -> MessageBuffer:
    """Create a buffer for blocks of up to `block` steps, given the longest delay of a source."""
    graded, before = is_graded(part), 0 if static else delay
    width = part.size if graded else padded(part.size)
    shape = (samples, 1 if static else before + block, width)
    messages = uninitialised(shape, np.int32 if graded else np.uint8)
    messages[:, :, part.size :] = 0
    return MessageBuffer(messages, before, static, graded, part.shape, part.size)


def enter(stream: MessageBuffer, values: NDArray[Any], begin: int, stop: int) -> None:
    """Fill in the values of steps begin..stop - 1 out of (T, B, *shape), or those of all steps."""
    if stream.static:
        stream.messages[:, 0, : stream.size] = channels_last(values, stream.shape)
        return
    rows = slice(stream.before, stream.before + stop - begin)
    given = channels_last(values[begin:stop], stream.shape)
    stream.messages[:, rows, : stream.size] = given.swapaxes(0, 1)


def keep_last(stream: MessageBuffer, steps: int) -> None:
    """Move the messages to keep from the end of a block of `steps` to before the next one."""
    if stream.before:
        kept = stream.messages[:, steps : steps + stream.before]
        stream.messages[:, : stream.before] = kept
