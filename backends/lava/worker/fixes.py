"""Import lava-nc 0.10.0 with its defects outside neurons and synapses corrected."""

from __future__ import annotations

import dataclasses
from typing import Any


def import_lava() -> None:
    """Make lava-nc 0.10.0 work on Python 3.11 and later, with NumPy 2, and without losing steps.

    Python 3.11 refuses dataclass defaults without a hash, of which `var_model` has eight. NumPy 2
    computes int8 with Python integers in int8: Lava's Conv, which stores its geometry as int8,
    would overflow at 128 channels or pixels. For the third, see `_always_notify`.

    `scipy.signal`, which takes nearly half of the time, is imported by `import_convolution` only,
    and models are found faster (see `_find_models_once`).
    """
    stock = dataclasses.dataclass

    def hashing(*arguments: Any, **options: Any) -> Any:
        return stock(*arguments, **{"unsafe_hash": True, **options})

    dataclasses.dataclass = hashing
    try:
        import lava.magma.compiler.var_model  # noqa: F401
    finally:
        dataclasses.dataclass = stock
    import scipy  # type: ignore[import-untyped]

    scipy.signal = _Late()
    try:
        from lava.proc.conv import utils
    finally:
        del scipy.signal

    stock_conv = utils.conv

    def conv(input_: Any, weight: Any, *geometry: Any) -> Any:
        *pairs, groups = geometry
        return stock_conv(input_, weight, *(tuple(map(int, pair)) for pair in pairs), int(groups))

    utils.conv = conv
    _always_notify()
    _find_models_once()


class _Late:
    """`scipy.signal` for Lava's convolutions, imported on its first use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_convolution(), name)


def import_convolution() -> Any:
    """`scipy.signal`, which processes that compute convolutions need before they are forked."""
    import scipy.signal  # type: ignore[import-untyped]

    return scipy.signal


def _always_notify() -> None:
    """Have a channel tell the process that waits for it of every message, and of every free place.

    Lava's own threads do so only if the channel was empty (or full) just before. If that changes
    between this look and the message, the process waits in `CspSelector.select` for a message that
    it already has, and everything else waits for it, forever. This happens in practice at the end
    of a call of run(), where a second command follows without waiting for an answer to the first.
    """
    from lava.magma.compiler.channels.pypychannel import CspRecvPort, CspSendPort

    def received(self: Any, req: Any) -> None:
        while req.acquire() and not self._done:
            self._queue.put_nowait(0)
            _notify(self)

    def acknowledged(self: Any, ack: Any) -> None:
        while ack.acquire() and not self._done:
            self._semaphore.release()
            _notify(self)

    CspRecvPort._req_callback = received
    CspSendPort._ack_callback = acknowledged


def _find_models_once() -> None:
    """Have Lava search for the models of a class of processes once.

    It does so for every process, and executes all modules next to its class each time.
    """
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

    search, found = ProcGroupDiGraphs._find_proc_models, dict[type, list[Any]]()

    def find(proc: Any) -> list[Any]:
        if type(proc) not in found:
            found[type(proc)] = search(proc)
        return list(found[type(proc)])

    ProcGroupDiGraphs._find_proc_models = staticmethod(find)


def _notify(port: Any) -> None:
    observer = port.observer  # Read once: select() takes it away when it returns.
    if observer:
        observer()
