"""A plain digital core: it computes whatever chip arithmetic does, so nothing is unsupported."""

from __future__ import annotations

from spikeport.backends import Limitation
from spikeport.hardware import ChipLimits


def limitations(limits: ChipLimits) -> tuple[Limitation, ...]:
    """Nothing but what follows from its arithmetic; `limits` describe no real chip."""
    return ()
