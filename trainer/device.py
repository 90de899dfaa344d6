"""Device, threads and compiled passes of torch in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from spikeport.errors import TrainingError

Out = TypeVar("Out")


def choose_device(name: str) -> torch.device:
    """The device of this process; with several processes, each has its own accelerator.

    Raises:
        InputError: torch does not know it, or cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"training: device '{name}' cannot be used here: {error}") from error
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def place(network: nn.Module, device: torch.device, *, channels_last: bool) -> None:
    """Move a network to a device; with `channels_last`, store channels innermost."""
    network.to(device)
    if channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def compiled(forward: Callable[[Tensor], Out]) -> Callable[[Tensor], Out]:
    """`forward` compiled by torch, on the first call and for each new batch size.

    Raises:
        InputError: raised by the returned function if torch cannot compile.
    """
    fast = torch.compile(forward)

    def run(x: Tensor) -> Out:
        try:
            return fast(x)
        except RuntimeError as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = " ".join(str(error).partition("\n\n")[0].split())
            raise TrainingError(
                f"training: compile = true, but torch cannot compile here: {reason}"
            ) from error

    return run


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this number of threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
