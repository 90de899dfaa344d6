"""Image layout: channels first, (N, C, H, W), as networks expect, or last, (N, H, W, C)."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import DataSetError

IMAGE_CHANNELS = (1, 2, 3, 4)
_log = logging.getLogger(__name__)


class Layout(StrEnum):
    """Position of the channel axis in images (N, ., ., .).

    `auto` decides by the shape. An axis looks like channels if it has 1 to 4 entries, if it is
    shorter than the other two, and if those two are equal (square images). Images are read as
    channels-first if more of these criteria hold for the first axis than for the last, and as
    channels-last, with a warning, if at least two more hold for the last one; otherwise the
    shape is ambiguous, which is an error.
    """

    AUTO = "auto"
    CHANNELS_FIRST = "channels_first"
    CHANNELS_LAST = "channels_last"


def channels_first(subject: str, x: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Convert images in either layout to (N, C, H, W); arrays of other ranks are unchanged.

    Raises:
        InputError: the shape is ambiguous: either axis may be the channels.
    """
    if x.ndim != 4 or x.shape[1:] == (1, 1, 1):
        return x
    if layout is Layout.AUTO:
        layout = _layout_of(subject, x.shape)
        if layout is Layout.CHANNELS_LAST:
            height, width, channels = x.shape[1:]
            _log.warning(
                "%s has shape %s: read as channels-last, %d channels of %d x %d pixels "
                "(layout = 'channels_first' reads it as %d channels of %d x %d)",
                subject, x.shape, channels, height, width, *x.shape[1:],
            )  # fmt: skip
    if layout is Layout.CHANNELS_LAST:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return x


def _layout_of(subject: str, shape: tuple[int, ...]) -> Layout:
    _, a, b, c = shape
    first, last = _signs(a, b, c), _signs(c, a, b)
    if first > last:
        return Layout.CHANNELS_FIRST
    if last - first >= 2:
        return Layout.CHANNELS_LAST
    raise DataSetError(
        f"{subject} has shape {shape}, which may be {a} channels of {b} x {c} pixels or {c} "
        f"channels of {a} x {b}; set layout = 'channels_first' or 'channels_last' "
        "(--set data.layout=channels_first)"
    )


def _signs(channels: int, height: int, width: int) -> int:
    """Number of criteria, 0 to 3, by which an axis looks like channels."""
    return (channels in IMAGE_CHANNELS) + (height == width) + (channels < min(height, width))
