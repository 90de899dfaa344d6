"""Networks of Norse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.foreign import framework
from benchmarks.foreign.layers import conv, linear, norm


def networks() -> Iterator[tuple[str, nn.Module, tuple[int, ...], Any]]:
    """(name, module, shape of a sample, how it is run)."""
    n = framework("norse.torch")

    def box(**given: Any) -> Any:
        return n.LIFBoxParameters(**({"tau_mem_inv": torch.tensor(250.0)} | given))

    def lif(**given: Any) -> Any:
        return n.LIFParameters(**({"tau_mem_inv": torch.tensor(250.0)} | given))

    def mlp(first: nn.Module, second: nn.Module, gain: float = 4.0) -> nn.Module:
        layers = linear(30, 20, gain), first, linear(20, 10, gain), second
        made: nn.Module = n.SequentialState(*layers)
        return made

    yield "mlp LIFBoxCell", mlp(n.LIFBoxCell(box()), n.LIFBoxCell(box())), (30,), step_by_step
    yield (
        "mlp LIFBoxCell, subtract",
        mlp(*(n.LIFBoxCell(box(reset_method=n.reset_subtract)) for _ in range(2))),
        (30,),
        step_by_step,
    )
    per_neuron = {
        "tau_mem_inv": torch.rand(20) * 400 + 50,
        "v_th": torch.rand(20) + 0.3,
        "v_leak": torch.rand(20) * 0.2,
        "v_reset": torch.rand(20) * 0.2 - 0.3,
    }
    yield (
        "mlp LIFBoxCell, per neuron, leak",
        mlp(n.LIFBoxCell(box(**per_neuron)), n.LIFBoxCell(box(v_leak=torch.tensor(0.1)))),
        (30,),
        step_by_step,
    )
    rest = {"v_leak": torch.tensor(-0.5), "v_reset": torch.tensor(-0.5), "v_th": torch.tensor(0.4)}
    yield (
        "mlp LIFCell, resting at -0.5",
        mlp(n.LIFCell(lif(**rest)), n.LIFCell(lif(**rest)), 1),
        (30,),
        step_by_step,
    )
    yield "mlp LIFCell, defaults", mlp(n.LIFCell(), n.LIFCell(), 2), (30,), step_by_step
    yield "mlp IAFCell", mlp(n.IAFCell(), n.IAFCell(), 0.5), (30,), step_by_step
    yield "mlp LIF, sequence", mlp(n.LIF(lif()), n.LIF(lif()), 1), (30,), all_steps
    yield (
        "mlp LIF, LI readout, sequence",
        mlp(n.LIF(lif()), n.LI(n.LIParameters(tau_mem_inv=torch.tensor(80.0)))),
        (30,),
        all_steps,
    )
    yield (
        "conv, batch norm, average pool",
        n.SequentialState(
            conv(2, 6),
            norm(6),
            n.LIFBoxCell(box()),
            nn.AvgPool2d(2),
            conv(6, 8, 1),
            n.LIFCell(lif()),
            nn.AvgPool2d(2),
            nn.Flatten(),
            linear(32, 10),
            n.LIFBoxCell(box()),
        ),
        (2, 8, 8),
        step_by_step,
    )
    yield (
        "conv, Lift, sequence",
        n.SequentialState(
            n.Lift(conv(2, 6, 1)),
            n.LIF(lif()),
            n.Lift(nn.AvgPool2d(2)),
            nn.Flatten(2),
            linear(96, 10, 1),
            n.LIF(lif()),
        ),
        (2, 8, 8),
        all_steps,
    )
    yield (
        "recurrent LIFRecurrentCell",
        n.SequentialState(n.LIFRecurrentCell(30, 20, lif()), linear(20, 10), n.LIFBoxCell(box())),
        (30,),
        step_by_step,
    )
    yield (
        "recurrent LIFRecurrent, autapses",
        n.SequentialState(
            n.LIFRecurrent(30, 20, lif(), autapses=True), linear(20, 10), n.LIF(lif())
        ),
        (30,),
        all_steps,
    )
    yield "own module, residual, own loop", Residual(n.LIFBoxCell, box), (30,), whole


class Residual(nn.Module):
    """Sums of spikes, in a loop over time of its own."""

    def __init__(self, cell: Any, box: Any) -> None:
        super().__init__()
        self.fc1, self.fc2, self.out = linear(30, 20), linear(20, 20), linear(20, 10)
        self.lif1, self.lif2, self.lif3 = (cell(box()) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (T, B, 10) of x (T, B, 30)."""
        s1 = s2 = s3 = None
        spikes = []
        for step in range(x.shape[0]):
            z1, s1 = self.lif1(self.fc1(x[step]), s1)
            z2, s2 = self.lif2(self.fc2(z1), s2)
            z3, s3 = self.lif3(self.out(z1 + z2), s3)
            spikes.append(z3)
        return torch.stack(spikes)


def step_by_step(module: nn.Module, x: Tensor) -> Tensor:
    """A module of cells, one step after another."""
    state, found = None, []
    for step in x:
        out, state = module(step, state)
        found.append(out)
    return torch.stack(found)


def all_steps(module: nn.Module, x: Tensor) -> Tensor:
    """A module of layers that take all steps."""
    found: Tensor = module(x)[0]
    return found


def whole(module: nn.Module, x: Tensor) -> Tensor:
    """A module with a loop of its own."""
    found: Tensor = module(x)
    return found
