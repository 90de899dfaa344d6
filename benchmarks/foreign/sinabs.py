"""Networks of Sinabs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.foreign import framework
from benchmarks.foreign.layers import conv, linear, norm


def networks() -> Iterator[tuple[str, nn.Module, tuple[int, ...], Any]]:
    """(name, module, shape of a sample, how it is run)."""
    sl: Any = framework("sinabs.layers")
    activation: Any = framework("sinabs.activation")
    single = {"spike_fn": activation.SingleSpike}

    def mlp(kind: Any, gain: float = 0.7, **given: Any) -> nn.Module:
        return nn.Sequential(
            linear(30, 20, gain), kind(**given), linear(20, 10, gain), kind(**given)
        )

    yield "mlp IAF, defaults (several spikes)", mlp(sl.IAF), (30,), batch_first
    yield "mlp IAF, SingleSpike", mlp(sl.IAF, **single), (30,), batch_first
    zero = {"reset_fn": activation.MembraneReset()}
    yield "mlp IAF, SingleSpike, zero", mlp(sl.IAF, **single, **zero), (30,), batch_first
    lif = {"tau_mem": 10.0}
    yield "mlp LIF, defaults (several spikes)", mlp(sl.LIF, 8, **lif), (30,), batch_first
    yield "mlp LIF, not normalised", mlp(sl.LIF, 1, norm_input=False, **lif), (30,), batch_first
    yield "mlp LIF, SingleSpike", mlp(sl.LIF, 8, **single, **lif), (30,), batch_first
    each = {"tau_mem": 10 * torch.rand(20) + 2, "spike_threshold": torch.rand(20) + 0.5}
    yield (
        "mlp LIF, per neuron, trained alphas",
        nn.Sequential(
            linear(30, 20, 8),
            sl.LIF(**each, train_alphas=True),
            linear(20, 10, 4),
            sl.LIF(5.0, spike_threshold=torch.tensor(0.7)),
        ),
        (30,),
        batch_first,
    )
    yield "mlp LIF, tau_syn", mlp(sl.LIF, 3, tau_syn=5.0, **lif), (30,), batch_first
    yield (
        "mlp LIF, ExpLeak readout",
        nn.Sequential(linear(30, 20, 5), sl.LIF(10.0), linear(20, 10, 5), sl.ExpLeak(20.0)),
        (30,),
        batch_first,
    )

    def squeezed(kind: Any, **given: Any) -> Any:
        return kind(batch_size=5, **given)

    for name, given in (("several spikes", {}), ("SingleSpike", single)):
        yield (
            f"conv IAFSqueeze, {name}, sum pool",
            nn.Sequential(
                conv(2, 6, 1),
                norm(6),
                squeezed(sl.IAFSqueeze, **given),
                sl.SumPool2d(2),
                conv(6, 8, 0.5),
                squeezed(sl.IAFSqueeze, **given),
                nn.AvgPool2d(2),
                nn.Flatten(),
                linear(32, 10, 1),
                squeezed(sl.IAFSqueeze, **given),
            ),
            (2, 8, 8),
            merged,
        )
    yield (
        "conv, Repeat, LIF",
        nn.Sequential(
            sl.Repeat(conv(2, 6, 9)),
            sl.LIF(10.0),
            sl.Repeat(nn.Sequential(nn.AvgPool2d(2), nn.Flatten())),
            linear(96, 10, 9),
            sl.LIF(10.0),
        ),
        (2, 8, 8),
        batch_first,
    )
    loop = linear(20, 20, 0.3)
    yield (
        "recurrent LIFRecurrent",
        nn.Sequential(
            linear(30, 20, 9),
            sl.LIFRecurrent(10.0, rec_connect=loop),
            linear(20, 10, 9),
            sl.LIF(10.0),
        ),
        (30,),
        batch_first,
    )
    yield (
        "recurrent IAFRecurrent, SingleSpike",
        nn.Sequential(
            linear(30, 20, 0.5),
            sl.IAFRecurrent(rec_connect=nn.Sequential(nn.Flatten(), loop), **single),
            linear(20, 10, 0.5),
            sl.IAF(**single),
        ),
        (30,),
        batch_first,
    )


def batch_first(module: nn.Module, x: Tensor) -> Tensor:
    """A module over (B, T)."""
    reset(module)
    found: Tensor = module(x.transpose(0, 1))
    return found.transpose(0, 1)


def merged(module: nn.Module, x: Tensor) -> Tensor:
    """A module over (B T)."""
    reset(module)
    found: Tensor = module(x.transpose(0, 1).flatten(0, 1))
    return found.view(x.shape[1], x.shape[0], *found.shape[1:]).transpose(0, 1)


def reset(module: nn.Module) -> None:
    """Forget the states of all layers."""
    for part in module.modules():
        layer: Any = part
        if hasattr(part, "reset_states"):
            layer.reset_states()
