"""Messages of one source over a block of steps, and earlier ones still needed because of delays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import AnyPopulation, DeployedNetwork, Input, Shape
from spikeport.runs import longest_delay
from spikeport.simulators.native.layout import channels_last, padded
from spikeport.simulators.native.plan import is_graded


@dataclass(frozen=True, slots=True)
class MessageBuffer:
    """Messages in the internal order.

    Attributes:
        messages: (B, before + block, padded N) bytes, or (.., N) int32 if graded; for a static
            input (B, 1, ..). The steps of a sample are adjacent in memory, as loops access them.
        before: steps kept from before the block (the longest delay); zeros before step 0.
        source: the input to fill the block from, (T, B, *shape), if it is not computed.
    """

    messages: NDArray[Any]
    before: int
    static: bool
    graded: bool
    shape: Shape
    size: int
    source: NDArray[Any] | None


def make_buffer(
    network: DeployedNetwork,
    part: Input | AnyPopulation,
    source: NDArray[Any] | None,
    samples: int,
    block: int,
) -> MessageBuffer:
    """Create a buffer for the time before step 0; static input is filled in."""
    graded = is_graded(part)
    static = source is not None and source.ndim == 1 + len(part.shape)
    before = 0 if static else longest_delay(network, part.name)
    width = part.size if graded else padded(part.size)
    messages = np.empty(
        (samples, 1 if static else before + block, width), np.int32 if graded else np.uint8
    )
    messages[:, :before] = 0
    messages[:, :, part.size :] = 0
    stream = MessageBuffer(
        messages=messages,
        before=before,
        static=static,
        graded=graded,
        shape=part.shape,
        size=part.size,
        source=source,
    )
    if static and source is not None:
        stream.messages[:, 0, : part.size] = channels_last(source, part.shape)
    return stream


def enter_block(stream: MessageBuffer, begin: int, stop: int, last: int) -> None:
    """Advance from a block of `last` steps to steps begin..stop - 1."""
    if stream.static:
        return
    if stream.before:
        kept = stream.messages[:, last : last + stream.before]
        stream.messages[:, : stream.before] = kept
    if stream.source is not None:
        values = channels_last(stream.source[begin:stop], stream.shape)
        rows = slice(stream.before, stream.before + stop - begin)
        stream.messages[:, rows, : values.shape[2]] = values.swapaxes(0, 1)
