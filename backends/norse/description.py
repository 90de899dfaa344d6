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
        Limitation(
            f"nodes other than {', '.join(SUPPORTED[:-1])} and {SUPPORTED[-1]}, because Norse "
            "would drop them without an error"
        ),
        Limitation(
            "two branches with a map on each, several inputs, IF and LIF with r other than 1, IF "
            "with reset by subtraction, neurons with v_leak or v_reset other than 0, and SumPool2d "
            "with padding, because Norse would run a different network; docs/export.md says how a "
            "file for Norse has some of them"
        ),
        Limitation(
            "rules of a step that are not Norse's, such as exponential decays or several spikes "
            "per step; under those of the preset `norse`, LIF may have v_leak, and r is ignored"
        ),
        Limitation("Affine and Linear with weights of more than two axes, which Norse cannot run"),
    ),
)
