"""A backend: Spikeport's scalar reference, for networks that tinychip can run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from spikeport.backends import Backend, Limitation, Status, UnsupportedFeature, check_deployed
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork
from spikeport.runs import Run, Samples


def _status() -> Status:
    return Status(version("spikeport-tinychip"))


def _unsupported(network: DeployedNetwork) -> Iterable[UnsupportedFeature]:
    return check_deployed(network, ["tinychip"])[0].unsupported


def _run(network: DeployedNetwork, samples: Samples, **options: Any) -> Run:
    """Run a network, or refuse one that the chip cannot run.

    Raises:
        InputError: the chip cannot run it; the message says why.
    """
    from spikeport.simulators import run_reference

    if stopping := [str(one) for one in _unsupported(network) if one.stops]:
        raise InputError(f"backend 'tinychip-emulator' cannot run this: {'; '.join(stopping)}")
    done = run_reference(network, samples, **options)
    return dataclasses.replace(done, backend="tinychip-emulator", version=_status().version or "")


EMULATOR = Backend(
    "tinychip-emulator",
    "the fictional tinychip, emulated",
    "deployed",
    _status,
    _run,
    limitations=(Limitation("what tinychip does not support: refused", _unsupported),),
)
