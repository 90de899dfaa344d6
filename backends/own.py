"""Spikeport's own simulators as backends."""

from __future__ import annotations

from typing import Any

from spikeport.backends.arithmetic import arithmetic_limitation
from spikeport.backends.interface import Backend, Status
from spikeport.runs import Run, Samples


def _status() -> Status:
    from spikeport.version import __version__

    return Status(__version__)


def _run_float(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_float

    return run_float(network, samples, **options)


def _run_native(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_native

    return run_native(network, samples, **options)


def _run_reference(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_reference

    return run_reference(network, samples, **options)


FLOAT = Backend("float", "NIR graph in float64, forward Euler", "float", _status, _run_float)
NATIVE = Backend(
    "native",
    "chip integers, batched and compiled",
    "deployed",
    _status,
    _run_native,
    (arithmetic_limitation(),),
    resets=True,
    one_thread={"threads": 1},
)
REFERENCE = Backend(
    "reference",
    "chip integers, scalar: the specification",
    "deployed",
    _status,
    _run_reference,
    resets=True,
)
