"""The device that a run uses, and how much of its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch

from spikeport.errors import BackendUnavailableError, UnknownNameError

CPU_BYTES = 256 << 20


def fail(problem: str) -> NoReturn:
    """Raise the error for a device that cannot be used."""
    raise BackendUnavailableError(
        f"backend 'cuda': {problem}; use backend native, whose results are the same"
    )


def device_problem(kind: str) -> str:
    """Why devices of a kind ("cuda" or "cpu") cannot be used here; empty if they can."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        return f"torch {torch.__version__} is too old, needs 2.9 or newer"
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        return f"no CUDA device found by torch {torch.__version__}" + (
            "" if built else ", which is built without CUDA"
        )
    return ""


def choose_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        InputError: it is neither a CUDA device nor the CPU.
        BackendUnavailableError: it cannot be used here.
    """
    kind, colon, index = name.partition(":")
    if kind not in ("cuda", "cpu") or (colon and not index.isdecimal()):
        raise UnknownNameError(f"device '{name}' is unknown, must be cuda, cuda:N or cpu")
    if problem := device_problem(kind):
        fail(problem)
    if kind == "cpu":
        return torch.device("cpu")
    chosen = int(index) if colon else torch.cuda.current_device()
    if chosen >= (count := torch.cuda.device_count()):
        fail(f"device '{name}' does not exist, there are {count}")
    return torch.device("cuda", chosen)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn torch's error for exhausted memory within the block into one of this backend."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BackendUnavailableError(
            "backend 'cuda': the memory of the device does not suffice "
            f"({str(error).partition('. ')[0]}); use a lower memory_bytes, or backend native"
        ) from error


def default_memory(device: torch.device) -> int:
    """Bytes to use if the caller does not say: half of those that are free on a CUDA device."""
    if device.type == "cpu":
        return CPU_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (free + cached) // 2
