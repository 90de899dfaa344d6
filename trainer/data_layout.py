"""The axes of images: channels before rows and columns, as networks take them, or after them."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError

IMAGE_CHANNELS = (1, 2, 3, 4)
_log = logging.getLogger(__name__)


class Layout(StrEnum):
    """Where the channels of images (N, ., ., .) are.

    `auto` decides by the shape: channels are few, fewer than rows or columns, and images are
    mostly square. It reads channels-last only where both of two such signs say so and none
    says otherwise, with a warning; a shape that may mean either is an error.
    """

    AUTO = "auto"
    CHANNELS_FIRST = "channels_first"
    CHANNELS_LAST = "channels_last"


def channels_first(subject: str, x: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Images (N, C, H, W) from images in either layout; other shapes as they are.

    Raises:
        InputError: the shape leaves open which axis holds the channels.
    """
    if x.ndim != 4 or x.shape[1:] == (1, 1, 1):
        return x
    if layout is Layout.AUTO:
        layout = _layout_of(subject, x.shape)
        if layout is Layout.CHANNELS_LAST:
            height, width, channels = x.shape[1:]
            _log.warning(
                "%s has shape %s: read as channels-last, %d channels of %d x %d pixels "
                "(layout = 'channels_first' takes it as %d channels of %d x %d)",
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
    raise InputError(
        f"{subject} has shape {shape}, which may be {a} channels of {b} x {c} pixels or {c} "
        f"channels of {a} x {b}: say layout = 'channels_first' or 'channels_last' "
        "(--set data.layout=channels_first)"
    )


def _signs(channels: int, height: int, width: int) -> int:
    """How many signs there are that an axis holds the channels."""
    return (channels in IMAGE_CHANNELS) + (height == width) + (channels < min(height, width))
