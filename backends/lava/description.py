"""Lava as a backend."""

from __future__ import annotations

from typing import Any

from spikeport.backends import Backend, Status
from spikeport.backends.lava.limitations import LIMITATIONS
from spikeport.runs import Run, Samples


def _status() -> Status:
    from spikeport.backends.lava import lava_status

    return Status(*lava_status())


def _run(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.backends.lava import run_lava

    return run_lava(network, samples, **options)


LAVA = Backend(
    "lava",
    "Intel's Lava, bit-accurate, in a worker process",
    "deployed",
    _status,
    _run,
    limitations=LIMITATIONS,
    timed=True,
    resets=True,
)
