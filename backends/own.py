"""Spikeport's own simulators as backends."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
from collections.abc import Iterator
from typing import Any

from spikeport.backends.arithmetic import arithmetic_limitation
from spikeport.backends.interface import Backend, Status
from spikeport.backends.limitation import Limitation, UnsupportedFeature
from spikeport.errors import MissingPackageError
from spikeport.network import DeployedNetwork, sum_bound
from spikeport.runs import Run, Samples

CUDA_FIX = "pip install '.[cuda]'"


def _status() -> Status:
    from spikeport.version import __version__

    return Status(__version__)


def _run_float(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_float

    return run_float(network, samples, **options)


def _run_native(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_native

    return run_native(network, samples, **options)


def _cuda_status() -> Status:
    if importlib.util.find_spec("torch") is None:
        return Status(None, "torch is not installed", CUDA_FIX)
    if not _has_driver() or _device_problem():
        return Status(None, "no CUDA device", "use --backend native")
    return _status()


def _has_driver() -> bool:
    """Whether a driver of GPUs is installed; to ask torch takes a second, for its import."""
    for name in ("libcuda.so.1", "libamdhip64.so", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def _device_problem() -> str:
    from spikeport.simulators import device_problem

    return device_problem("cuda")


def _run_cuda(network: Any, samples: Samples, **options: Any) -> Run:
    if importlib.util.find_spec("torch") is None:
        raise MissingPackageError(f"backend 'cuda' needs torch, which is not installed: {CUDA_FIX}")
    from spikeport.simulators import run_cuda

    return run_cuda(network, samples, **options)


def _inexact_sums(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    from spikeport.simulators import EXACT_SUM

    for part in network.weighted_connections:
        if (bound := sum_bound(network, part)) >= EXACT_SUM:
            yield UnsupportedFeature(
                f"connection '{part.name}'",
                "sum of a step",
                bound,
                EXACT_SUM - 1,
                "run it on backend native, which has no such limit",
                "simulators/cuda/products.py",
                stops=True,
            )


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
CUDA = Backend(
    "cuda",
    "chip integers in torch, on a GPU",
    "deployed",
    _cuda_status,
    _run_cuda,
    (
        arithmetic_limitation(),
        Limitation(
            "weighted sums of 2^53 and more, which are not exact in float64; native has them",
            _inexact_sums,
            rounded=True,
        ),
    ),
    resets=True,
)
REFERENCE = Backend(
    "reference",
    "chip integers, scalar: the specification",
    "deployed",
    _status,
    _run_reference,
    resets=True,
)
