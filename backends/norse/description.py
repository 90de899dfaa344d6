"""Norse as a backend."""

from __future__ import annotations

from typing import Any

from spikeport.backends import Backend, Limitation, Status
from spikeport.backends.norse.nodes import SUPPORTED
from spikeport.runs import Run, Samples


def _status() -> Status:
    from spikeport.backends.norse import norse_status

    return Status(*norse_status())


def _run(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.backends.norse import run_norse

    return run_norse(network, samples, **options)


NORSE = Backend(
    "norse",
    "NIR graph in Norse, the independent check",
    "float",
    _status,
    _run,
    limitations=(
        Limitation(f"nodes other than {', '.join(SUPPORTED[:-1])} and {SUPPORTED[-1]}"),
        Limitation(
            "skip paths; r other than 1; v_leak, v_reset: refused, because Norse would change them"
        ),
    ),
)
