"""Modules of Norse 1.1.0."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from spikeport.errors import ModuleReadingError
from spikeport.network import Reset
from spikeport.trainer.frameworks.neuron import Neuron, linear, numbers
from spikeport.trainer.frameworks.origins import STATIC, TIME_FIRST
from spikeport.trainer.frameworks.reading import Framework
from spikeport.trainer.frameworks.recording import Leaf
from spikeport.trainer.network import qualified

_CELLS = "norse.torch.module."
_CONTAINERS = frozenset({f"{_CELLS}sequential.SequentialState", f"{_CELLS}lift.Lift"})
_SPIKING = {
    "lif_box.LIFBoxCell": False,
    "lif.LIFCell": False,
    "lif.LIF": True,
    "lif.LIFRecurrentCell": False,
    "lif.LIFRecurrent": True,
    "iaf.IAFCell": False,
    "iaf.IAF": True,
}
"""Neurons that spike, and whether a call takes all steps."""
_SILENT = {
    "leaky_integrator.LICell": False,
    "leaky_integrator.LI": True,
    "leaky_integrator.LILinearCell": False,
    "leaky_integrator_box.LIBoxCell": False,
}


def _leaf(name: str, part: nn.Module) -> Leaf | None:
    kind = qualified(part)
    if kind in _CONTAINERS:
        return None
    short = kind.removeprefix(_CELLS)
    known = {**_SPIKING, **_SILENT}
    if short not in known:
        raise ModuleReadingError(
            f"layer '{name}': {kind} is not supported; supported are "
            f"{', '.join(sorted(k.split('.')[1] for k in known))}, and SequentialState and Lift"
        )
    cell: Any = part
    return Leaf(_neuron(name, short, cell), True, known[short])


def _neuron(name: str, short: str, cell: Any) -> Neuron:
    """Forward Euler: v <- v + dt / tau_mem (v_leak - v + i), i is lost at dt / tau_syn.

    Source: norse/torch/functional/lif.py, lif_box.py, iaf.py, leaky_integrator.py.
    """
    p, kind = cell.p, short.split(".")[1]
    loop = linear(cell.recurrent_weights) if "Recurrent" in short else None
    weights = getattr(cell, "input_weights", None)
    drive = None if weights is None else linear(weights)
    if short.startswith("iaf."):
        one, start = np.ones(()), numbers(p.v_reset)
        rules: dict[str, str | bool] = {"reset": Reset.ZERO, "strict": True}
        return Neuron(kind, one, one, numbers(p.v_th), start, start, start, rules=rules)
    k = numbers(p.tau_mem_inv) * float(cell.dt)
    leak = numbers(p.v_leak)
    synapse = None
    if "box" not in short:
        synapse = 1 - numbers(p.tau_syn_inv) * float(cell.dt)
    if short in _SILENT:
        return Neuron(kind, 1 - k, k, None, leak, leak, leak, synapse, drive=drive)
    method = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
    resets = {"reset_value": Reset.ZERO, "reset_subtract": Reset.SUBTRACT}
    if method not in resets:
        raise ModuleReadingError(
            f"layer '{name}' ({kind}): reset_method {method}, must be one of {', '.join(resets)}"
        )
    return Neuron(
        kind,
        1 - k,
        k,
        numbers(p.v_th),
        leak,
        numbers(p.v_reset),
        leak,
        synapse,
        {"reset": resets[method], "strict": True},
        drive,
        loop,
    )


NORSE = Framework("Norse", "norse", "1.1.0", (STATIC, TIME_FIRST), _leaf)
