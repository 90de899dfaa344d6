"""`ResetSchedule`: when neurons start afresh within a run."""

from __future__ import annotations

from dataclasses import dataclass

from spikeport import checks


@dataclass(frozen=True, slots=True)
class ResetSchedule:
    """All neurons start afresh before every step t with t mod `interval` = `offset`.

    They return to their state before step 0 (u = 0, v = v_init, not refractory); messages under way
    in delayed connections still arrive. Steps are logical: each population counts its own, so on a
    chip, where every layer is a step later than the one before it, layer k resets k steps later.

    Source: lava-nc 0.10.0, `lava/proc/lif/models.py` (PyLifResetModelBitAcc); lava-dl,
    `netx/hdf5.py`, whose `reset_offset` is one more than this one, see docs/netx.md.

    Attributes:
        interval: number of steps from one reset to the next.
        offset: step of the first reset, 0..interval - 1.

    Raises:
        InputError: `interval` is below 1, or `offset` out of range.
    """

    interval: int
    offset: int = 0

    def __post_init__(self) -> None:
        interval = checks.whole("reset interval", self.interval, 1, checks.MAX_STEPS)
        offset = checks.whole("reset offset", self.offset, 0, interval - 1)
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "offset", offset)

    def __str__(self) -> str:
        return f"every {self.interval} steps, first before step {self.offset}"

    def due(self, step: int) -> bool:
        """Whether neurons start afresh before this step."""
        return step % self.interval == self.offset

    def next_after(self, step: int) -> int:
        """The first step after `step` with a reset."""
        return step + 1 + (self.offset - step - 1) % self.interval
