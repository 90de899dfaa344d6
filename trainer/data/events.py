"""Events of event cameras and cochleas, counted into frames: one frame per time step."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.checks import MAX_SIDE, choice, integer
from spikeport.errors import DataSetError
from spikeport.network import Coding, Input, Shape
from spikeport.trainer.data.frames import Frames

MAX_COUNT = 255
MAX_BYTES = 16 * 2**30
MAX_SPAN_US = 2**47
"""Longest recording, 4.5 years, so that time * T fits into 64 bits."""
_log = logging.getLogger(__name__)


class Slicing(StrEnum):
    """What all frames of a recording have in common: their duration or their number of events."""

    TIME = "time"
    COUNT = "count"


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Events of one sample sorted by time, as flat arrays of equal length.

    Attributes:
        x, y: column and row, from 0; y is None for one-dimensional sensors.
        p: channel, 0 (OFF) or 1 (ON), None if there is only one.
        t: microseconds.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    p: NDArray[Any] | None
    t: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Binning:
    """How events are counted into frames.

    Event i of n, at t_i, is assigned to frame floor((t_i - t_0) T / (t_last - t_0 + 1)) of T for
    frames of equal duration, to floor(i T / n) for frames with equal numbers of events, and to
    floor((t_i - t_0) / window_us) if a window is given; later events are then dropped. Time is
    measured from the first event of each recording, so any clock works.

    Attributes:
        steps: T.
        window_us: fixed duration of a frame, 0 for none.
        size: H and W (or length) to which positions are reduced, x * size // W; 0 keeps them.
            Events that fall into the same pixel are added up.
        coding: `graded` presents counts up to 255, `spikes` whether there was any event.
    """

    steps: int
    slicing: Slicing = Slicing.TIME
    window_us: int = 0
    size: int = 0
    coding: Coding = Coding.GRADED

    def __post_init__(self) -> None:
        integer("data: steps (T)", self.steps, 1, 2**16)
        integer("data: window_us", self.window_us, 0, 2**40)
        integer("data: size", self.size, 0, MAX_SIDE)
        object.__setattr__(self, "slicing", choice("data: slicing", Slicing, self.slicing))
        coding = choice("data: coding", Coding, self.coding)
        object.__setattr__(self, "coding", coding)
        if coding is Coding.BIAS:
            raise DataSetError("data: coding is 'bias', must be 'graded' or 'spikes' for events")

    def shape(self, sensor: Shape) -> Shape:
        """Shape of a frame from a sensor of shape (C, H, W) or (N,)."""
        if not self.size:
            return sensor
        return (self.size,) if len(sensor) == 1 else (sensor[0], self.size, self.size)

    def input(self, sensor: Shape) -> Input:
        """The network input for such frames; x = count."""
        high = 1 if self.coding is Coding.SPIKES else MAX_COUNT
        return Input("input", self.shape(sensor), self.coding, 0, high, scale=1.0)

    def frame_of(self, t: NDArray[Any]) -> NDArray[np.int64]:
        """Frame of each event; T and above for events that are dropped."""
        if not len(t):
            return np.zeros(0, np.int64)
        times = t.astype(np.int64)
        since: NDArray[np.int64] = times - times[0]
        if self.window_us:
            return since // self.window_us
        if self.slicing is Slicing.COUNT:
            return np.arange(len(t)) * self.steps // len(t)
        return since * self.steps // (int(since[-1]) + 1)


def bin_recordings(
    subject: str, recordings: Iterable[Recording], count: int, sensor: Shape, binning: Binning
) -> Frames:
    """Count the events of `count` recordings into frames.

    Counts above 255 (or 1 for spike coding) are capped. Warnings are logged for dropped events (too
    late for the window, or capped) and for recordings and frames without events.

    Args:
        sensor: (C, H, W) or (N,), with events within it.

    Raises:
        InputError: an event is outside of the sensor or earlier than its predecessor, there are no
            events, or the frames would take more than MAX_BYTES.
    """
    shape = binning.shape(sensor)
    if (size := count * binning.steps * prod(shape)) > MAX_BYTES:
        raise DataSetError(
            f"{subject}: {count} recordings of {binning.steps} frames of {shape} take {size} "
            f"bytes, the limit is {MAX_BYTES}; use a smaller `size` or fewer steps"
        )
    frames = np.zeros((count, binning.steps, *shape), np.uint8)
    cap = 1 if binning.coding is Coding.SPIKES else MAX_COUNT
    loss = _Loss()
    for number, recording in enumerate(recordings):
        cell = _cells(f"{subject}: recording {number}", recording, sensor, shape)
        frame = binning.frame_of(recording.t)
        kept = frame < binning.steps
        flat = frame[kept] * prod(shape) + cell[kept]
        counted = np.bincount(flat, minlength=binning.steps * prod(shape))
        frames[number] = np.minimum(counted, cap).reshape(frames.shape[1:])
        loss.add(len(frame), len(flat), int(np.maximum(counted - MAX_COUNT, 0).sum()))
    frames.setflags(write=False)
    loss.warn(subject, frames, binning)
    return Frames(frames)


@dataclass(slots=True)
class _Loss:
    """Events lost in counting them into frames, over all recordings."""

    recordings: int = 0
    empty: int = 0
    events: int = 0
    late: int = 0
    capped: int = 0

    def add(self, events: int, kept: int, capped: int) -> None:
        self.recordings += 1
        self.empty += not events
        self.events += events
        self.late += events - kept
        self.capped += capped

    def warn(self, subject: str, frames: NDArray[np.uint8], binning: Binning) -> None:
        """Log a warning for all events that were dropped.

        Raises:
            InputError: no recording contains an event.
        """
        if not self.events:
            raise DataSetError(f"{subject}: none of {self.recordings} recordings contains an event")
        if self.empty:
            _log.warning(
                "%s: %d of %d recordings contain no event", subject, self.empty, self.recordings
            )
        if self.late:
            _log.warning(
                "%s: %d of %d events (%.3g %%) are dropped: they come later than T x window_us = "
                "%d x %d us after the first event of their recording",
                subject, self.late, self.events, 100 * self.late / self.events,
                binning.steps, binning.window_us,
            )  # fmt: skip
        if self.capped and binning.coding is Coding.GRADED:
            _log.warning(
                "%s: %d of %d events are dropped: a pixel counts at most %d per frame",
                subject, self.capped, self.events, MAX_COUNT,
            )  # fmt: skip
        used = np.flatnonzero(frames.any(axis=(0, *range(2, frames.ndim))))
        if (idle := binning.steps - 1 - used[-1]) and self.events >= binning.steps:
            _log.warning(
                "%s: the last %d of %d frames are empty in every recording; are times in "
                "microseconds?", subject, idle, binning.steps,
            )  # fmt: skip


def _cells(subject: str, events: Recording, sensor: Shape, shape: Shape) -> NDArray[np.int64]:
    """Flat index of each event within a frame of `shape`."""
    if (back := events.t[1:] < events.t[:-1]).any():
        raise DataSetError(
            f"{subject}: event {int(np.argmax(back)) + 1} is earlier than the previous one"
        )
    if len(events.t) and (span := int(events.t[-1]) - int(events.t[0])) >= MAX_SPAN_US:
        raise DataSetError(
            f"{subject}: its {len(events.t)} events span {span} us, must be less than "
            f"{MAX_SPAN_US} (4.5 years); the first is at {events.t[0]}"
        )
    names = ("x",) if len(sensor) == 1 else ("p", "y", "x")
    flat = np.zeros(len(events.t), np.int64)
    for name, limit, size in zip(names, sensor, shape, strict=True):
        given = getattr(events, name)
        position = np.zeros(len(flat), np.int64) if given is None else given.astype(np.int64)
        if len(position) and (position.min() < 0 or position.max() >= limit):
            worst = position.min() if position.min() < 0 else position.max()
            raise DataSetError(f"{subject}: {name} is {worst}, must lie in 0..{limit - 1}")
        flat = flat * size + position * size // limit
    return flat
