"""Networks of snnTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.foreign import framework
from benchmarks.foreign.layers import conv, linear, norm


def networks() -> Iterator[tuple[str, nn.Module, tuple[int, ...], Any]]:
    """(name, module, shape of a sample, how it is run)."""
    snn: Any = framework("snntorch")

    def hidden(kind: Any = snn.Leaky, **given: Any) -> Any:
        return kind(**{"beta": 0.9, "init_hidden": True} | given)

    def mlp(gain: float = 0.8, /, **given: Any) -> nn.Module:
        return nn.Sequential(
            linear(30, 20, gain), hidden(**given), linear(20, 10, gain), hidden(**given)
        )

    yield "mlp Leaky, defaults", mlp(), (30,), sequential
    yield "mlp Leaky, reset zero", mlp(reset_mechanism="zero"), (30,), sequential
    for reset in ("subtract", "zero"):
        given: dict[str, Any] = {"reset_mechanism": reset, "reset_delay": False}
        yield f"mlp Leaky, {reset}, no delay", mlp(**given), (30,), sequential
    each = {"beta": torch.rand(20), "threshold": torch.rand(20) + 0.5}
    yield (
        "mlp Leaky, per neuron",
        nn.Sequential(linear(30, 20, 1), hidden(**each), linear(20, 10, 0.5), hidden(beta=1.0)),
        (30,),
        sequential,
    )
    synaptic: dict[str, Any] = {"kind": snn.Synaptic, "alpha": 0.7}
    yield "mlp Synaptic, defaults", mlp(0.2, **synaptic), (30,), sequential
    zero: dict[str, Any] = {"reset_mechanism": "zero", "reset_delay": False}
    yield "mlp Synaptic, zero, no delay", mlp(0.2, **synaptic, **zero), (30,), sequential
    yield "loop of the tutorials", Tutorial(snn), (30,), whole
    yield "loop over (B, T), membranes", BatchFirst(snn), (30,), membranes
    yield (
        "conv, batch norm, average pool",
        nn.Sequential(
            conv(2, 6, 0.7),
            norm(6),
            hidden(),
            nn.AvgPool2d(2),
            conv(6, 8, 0.5),
            hidden(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            linear(32, 10, 1),
            hidden(),
        ),
        (2, 8, 8),
        sequential,
    )
    yield "conv in a loop, pools as functions", Convolutional(snn), (2, 8, 8), whole
    kinds: dict[str, dict[str, Any]] = {
        "defaults": {},
        "zero, no delay": zero,
        "subtract, no delay": {"reset_delay": False},
        "one to one": {"all_to_all": False, "V": torch.rand(20) - 0.5},
    }
    for name, given in kinds.items():
        recurrent = {"all_to_all": True, "linear_features": 20} | given
        if name == "one to one":
            del recurrent["linear_features"]
        yield (
            f"recurrent RLeaky, {name}",
            nn.Sequential(
                linear(30, 20, 1),
                hidden(snn.RLeaky, **recurrent),
                linear(20, 10, 1.5),
                hidden(**(given if "reset_delay" in given else {})),
            ),
            (30,),
            sequential,
        )
    convolution = {"all_to_all": True, "conv2d_channels": 4, "kernel_size": 3}
    yield (
        "recurrent RLeaky, convolution",
        nn.Sequential(
            conv(2, 4, 1),
            hidden(snn.RLeaky, **convolution),
            nn.Flatten(),
            linear(64, 10, 1),
            hidden(),
        ),
        (2, 4, 4),
        sequential,
    )


class Tutorial(nn.Module):
    """The loop that snnTorch's tutorials show, with T from the input."""

    def __init__(self, snn: Any) -> None:
        super().__init__()
        self.fc1, self.lif1 = linear(30, 20, 0.8), snn.Leaky(beta=0.95)
        self.fc2, self.lif2 = linear(20, 10, 1.5), snn.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and membranes (T, B, 10) of x (T, B, 30)."""
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for step in range(x.size(0)):
            cur1 = self.fc1(x[step].flatten(1))
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class BatchFirst(nn.Module):
    """A readout by membranes, over x (B, T, 30)."""

    def __init__(self, snn: Any) -> None:
        super().__init__()
        self.fc1, self.syn = linear(30, 20, 0.7), snn.Synaptic(alpha=0.6, beta=0.8)
        self.fc2, self.out = linear(20, 10, 1.5), snn.Leaky(beta=0.8, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        """Membranes (T, B, 10)."""
        syn, mem1 = self.syn.init_synaptic()
        mem2 = self.out.init_leaky()
        found = []
        for step in range(x.shape[1]):
            spk, syn, mem1 = self.syn(self.fc1(x[:, step]), syn, mem1)
            _, mem2 = self.out(self.fc2(spk), mem2)
            found.append(mem2)
        return torch.stack(found)


class Convolutional(nn.Module):
    """Convolutions, with one layer used twice and pools as functions."""

    def __init__(self, snn: Any) -> None:
        super().__init__()
        self.conv1, self.lif1 = conv(2, 6, 1), snn.Leaky(beta=0.9)
        self.conv2, self.lif2 = conv(6, 6, 0.7), snn.Leaky(beta=0.9)
        self.pool = nn.AvgPool2d(2)
        self.fc, self.lif3 = linear(24, 10, 0.5), snn.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (T, B, 10)."""
        mem1, mem2, mem3 = (lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3))
        found = []
        for now in x:
            spk1, mem1 = self.lif1(self.pool(self.conv1(now)), mem1)
            spk2, mem2 = self.lif2(self.conv2(spk1), mem2)
            pooled = self.pool(spk2) + functional.avg_pool2d(spk1, 2)
            spk3, mem3 = self.lif3(self.fc(pooled.view(pooled.size(0), -1)), mem3)
            found.append(spk3)
        return torch.stack(found)


def sequential(module: nn.Module, x: Tensor) -> Tensor:
    """A module with hidden states, one step after another."""
    framework("snntorch.utils").reset(module)
    return torch.stack([module(step) for step in x])


def whole(module: nn.Module, x: Tensor) -> Tensor:
    """A module with a loop of its own."""
    returned = module(x)
    found: Tensor = returned[0] if isinstance(returned, tuple) else returned
    return found


def membranes(module: nn.Module, x: Tensor) -> Tensor:
    """A module with a loop of its own over (B, T)."""
    found: Tensor = module(x.transpose(0, 1))
    return found
