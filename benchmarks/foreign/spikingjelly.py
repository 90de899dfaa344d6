"""Networks of SpikingJelly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.foreign import framework
from benchmarks.foreign.layers import conv, linear, lively, norm


def networks() -> Iterator[tuple[str, nn.Module, tuple[int, ...], Any]]:
    """(name, module, shape of a sample, how it is run)."""
    neuron: Any = framework("spikingjelly.activation_based.neuron")
    layer: Any = framework("spikingjelly.activation_based.layer")

    def mlp(kind: Any, gain: float = 3.0, **given: Any) -> nn.Module:
        return nn.Sequential(
            linear(30, 20, gain), kind(**given), linear(20, 10, gain), kind(**given)
        )

    yield "mlp LIFNode, defaults", mlp(neuron.LIFNode), (30,), single
    free = {"decay_input": False, "tau": 3.0}
    yield "mlp LIFNode, decay_input false", mlp(neuron.LIFNode, 1.5, **free), (30,), single
    yield "mlp LIFNode, subtract", mlp(neuron.LIFNode, v_reset=None), (30,), single
    yield "mlp LIFNode, v_reset -0.5", mlp(neuron.LIFNode, 4, v_reset=-0.5), (30,), single
    yield "mlp IFNode", mlp(neuron.IFNode, 1), (30,), single
    yield "mlp IFNode, subtract", mlp(neuron.IFNode, 1, v_reset=None), (30,), single
    yield "mlp HalfThresholdIFNode", mlp(neuron.HalfThresholdIFNode, 0.5), (30,), single
    yield "mlp ParametricLIFNode", mlp(neuron.ParametricLIFNode, init_tau=3.0), (30,), single
    yield "mlp CUBALIFNode", mlp(neuron.CUBALIFNode, 0.2), (30,), single
    coarse: Any = mlp(neuron.LIFNode, 4)
    with torch.no_grad():
        for part in (coarse[0], coarse[2]):  # membranes that equal the threshold
            part.weight.mul_(2).round_().div_(2)
            part.bias.zero_()
    yield "mlp LIFNode, coarse weights", coarse, (30,), single
    yield "mlp, multi-step", mlp(neuron.LIFNode, step_mode="m"), (30,), multi
    yield (
        "mlp, multi-step, NonSpikingLIFNode",
        nn.Sequential(
            linear(30, 20, 3),
            neuron.LIFNode(step_mode="m"),
            linear(20, 10, 3),
            neuron.NonSpikingLIFNode(tau=4.0),
        ),
        (30,),
        stacked,
    )
    yield (
        "conv, batch norm, pool",
        nn.Sequential(
            lively(layer.Conv2d(2, 6, 3, padding=1), 3),
            norm(6),
            neuron.IFNode(),
            layer.AvgPool2d(2),
            lively(layer.Conv2d(6, 8, 3, padding=1, bias=False), 3),
            neuron.LIFNode(),
            layer.AvgPool2d(2),
            layer.Flatten(),
            layer.Dropout(0.5),
            lively(layer.Linear(32, 10), 3),
            neuron.LIFNode(),
        ),
        (2, 8, 8),
        single,
    )
    steps = {"step_mode": "m"}
    bn = layer.BatchNorm2d(6, **steps)
    bn.load_state_dict(norm(6).state_dict())
    yield (
        "conv, multi-step layers",
        nn.Sequential(
            lively(layer.Conv2d(2, 6, 3, padding=1, **steps), 1),
            bn,
            neuron.IFNode(**steps),
            layer.AvgPool2d(2, **steps),
            layer.Flatten(**steps),
            lively(layer.Linear(96, 10, **steps), 2),
            neuron.LIFNode(**steps),
        ),
        (2, 8, 8),
        multi,
    )
    yield (
        "conv, SeqToANNContainer",
        nn.Sequential(
            layer.SeqToANNContainer(conv(2, 6, 1), norm(6)),
            neuron.IFNode(**steps),
            layer.SeqToANNContainer(nn.AvgPool2d(2), nn.Flatten(), linear(96, 10, 2)),
            neuron.LIFNode(**steps),
        ),
        (2, 8, 8),
        multi,
    )
    yield "SEW block", SEW(neuron.LIFNode), (30,), single
    recurrent = layer.LinearRecurrentContainer(neuron.LIFNode(), 20, 20)
    lively(recurrent.rc, 5)
    yield (
        "recurrent, LinearRecurrentContainer",
        nn.Sequential(
            linear(30, 20, 6),
            recurrent,
            linear(20, 10, 6),
            neuron.LIFNode(),
        ),
        (30,),
        single,
    )
    yield (
        "recurrent, element-wise, multi-step",
        nn.Sequential(
            linear(30, 20, 2),
            layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda x, y: x + y, "m"),
            linear(20, 10, 1),
            neuron.LIFNode(**steps),
        ),
        (30,),
        multi,
    )


class SEW(nn.Module):
    """A sum of spikes around a block."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = linear(30, 20, 3), linear(20, 20, 3), linear(20, 10, 2)
        self.sn1, self.sn2, self.sn3 = kind(), kind(), kind()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step."""
        x = self.sn1(self.fc1(x))
        x = x + self.sn2(self.fc2(x))
        found: Tensor = self.sn3(self.fc3(x))
        return found


def single(module: nn.Module, x: Tensor) -> Tensor:
    """A module in single-step mode."""
    framework("spikingjelly.activation_based.functional").reset_net(module)
    return torch.stack([module(step) for step in x])


def multi(module: nn.Module, x: Tensor) -> Tensor:
    """A module in multi-step mode."""
    framework("spikingjelly.activation_based.functional").reset_net(module)
    found: Tensor = module(x)
    return found


def stacked(module: nn.Module, x: Tensor) -> Tensor:
    """A module that returns a list of membranes."""
    framework("spikingjelly.activation_based.functional").reset_net(module)
    return torch.stack(module(x))
