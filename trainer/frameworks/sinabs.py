"""Modules of Sinabs 3.1.3."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from spikeport.errors import ModuleReadingError
from spikeport.network import Reset
from spikeport.trainer.frameworks.neuron import Array, Neuron, numbers
from spikeport.trainer.frameworks.origins import BATCH_FIRST, MERGED
from spikeport.trainer.frameworks.reading import Framework
from spikeport.trainer.frameworks.recording import Leaf
from spikeport.trainer.network import qualified

_LAYERS = "sinabs.layers."
_CONTAINERS = frozenset(
    {"sinabs.network.Network", f"{_LAYERS}reshape.Repeat", f"{_LAYERS}reshape.UnflattenTime"}
    | {f"{_LAYERS}merge.Merge"}
)
_NEURONS = frozenset(
    f"{_LAYERS}{name}"
    for name in (
        *("iaf.IAF", "iaf.IAFSqueeze", "iaf.IAFRecurrent"),
        *("lif.LIF", "lif.LIFSqueeze", "lif.LIFRecurrent"),
        *("exp_leak.ExpLeak", "exp_leak.ExpLeakSqueeze"),
    )
)


def _leaf(name: str, part: nn.Module) -> Leaf | None:
    kind = qualified(part)
    if kind in _CONTAINERS:
        return None
    if kind in (f"{_LAYERS}pool2d.SumPool2d", f"{_LAYERS}reshape.FlattenTime"):
        return Leaf(part)
    if kind not in _NEURONS:
        names = ", ".join(sorted(known.split(".")[-1] for known in _NEURONS))
        raise ModuleReadingError(
            f"layer '{name}': {kind} is not supported; supported are {names}, SumPool2d, Repeat, "
            "Merge and Network"
        )
    return Leaf(_neuron(name, part), True, True)


def _neuron(name: str, cell: Any) -> Neuron:
    """v <- alpha v + x, alpha = exp(-1 / tau_mem), x times 1 - alpha if norm_input.

    With tau_syn, x is i <- alpha_syn (i + x). By default a neuron sends floor(v / threshold) spikes
    and each subtracts the threshold.

    Source: sinabs/layers/functional/lif.py, sinabs/activation.
    """
    kind = type(cell).__name__
    subject = f"layer '{name}' ({kind})"
    if cell.min_v_mem is not None:
        raise ModuleReadingError(
            f"{subject}: min_v_mem is {numbers(cell.min_v_mem)}, but NIR and the chip have no "
            "lower limit of the membrane; train with min_v_mem=None"
        )
    keep, one = numbers(cell.alpha_mem_calculated), np.ones(())
    gain = 1 - keep if cell.norm_input else one
    synapse = cell.alpha_syn_calculated
    keep_syn = None if synapse is None else numbers(synapse)
    rules: dict[str, str | bool] = {} if keep_syn is None else {"synapse_order": "add-first"}
    if cell.spike_fn is None:
        return Neuron(kind, keep, gain, None, keep_syn=keep_syn, rules=rules)
    rules |= {"strict": False, **_spikes(subject, cell.spike_fn), **_reset(subject, cell)}
    loop: nn.Module | Array | None = None
    if "Recurrent" in kind:
        loop = _loop(subject, cell.rec_connect)
    return Neuron(
        kind, keep, gain, numbers(cell.spike_threshold), keep_syn=keep_syn, rules=rules, loop=loop
    )


def _spikes(subject: str, spike_fn: Any) -> dict[str, str | bool]:
    made = spike_fn if isinstance(spike_fn, type) else type(spike_fn)
    most = getattr(spike_fn, "max_num_spikes_per_bin", None)
    match made.__name__, most:
        case "SingleSpike", _:
            return {"multiple_spikes": False}
        case "MaxSpike", 1:
            return {"multiple_spikes": False}
        case ("MultiSpike", _) | ("MaxSpike", None):
            return {"multiple_spikes": True}
    limit = "" if most is None else f" with at most {most} spikes"
    raise ModuleReadingError(
        f"{subject}: spike_fn is {made.__name__}{limit}, must be SingleSpike or MultiSpike"
    )


def _reset(subject: str, cell: Any) -> dict[str, str | bool]:
    kind, reset = type(cell.reset_fn).__name__, cell.reset_fn
    if kind == "MembraneReset" and reset.reset_value == 0:
        return {"reset": Reset.ZERO}
    if kind == "MembraneSubtract":
        subtracted = reset.subtract_value
        if subtracted is None or np.all(numbers(subtracted) == numbers(cell.spike_threshold)):
            return {"reset": Reset.SUBTRACT}
    raise ModuleReadingError(
        f"{subject}: reset_fn is {reset}, must be MembraneSubtract of the threshold or "
        "MembraneReset to 0"
    )


def _loop(subject: str, connect: nn.Module) -> nn.Module:
    """The one linear map or convolution that the recurrent connection consists of."""
    parts = [part for part in connect.modules() if not any(True for _ in part.children())]
    maps = [part for part in parts if not isinstance(part, nn.Flatten | nn.Identity)]
    if len(maps) != 1 or type(maps[0]) not in (nn.Linear, nn.Conv2d, nn.Conv1d):
        raise ModuleReadingError(
            f"{subject}: rec_connect is {type(connect).__name__}, must be one linear map or "
            "convolution"
        )
    return maps[0]


def _batch(module: nn.Module) -> int | None:
    """The batch that layers were built for that take batch and time as one axis."""
    for part in module.modules():
        layer: Any = part
        if qualified(part).startswith(_LAYERS) and getattr(layer, "batch_size", -1) > 0:
            return int(layer.batch_size)
    return None


SINABS = Framework("Sinabs", "sinabs", "3.1.3", (BATCH_FIRST, MERGED), _leaf, _batch)
