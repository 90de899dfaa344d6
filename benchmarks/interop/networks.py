"""Our networks: random weights under which every layer fires."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.foreign.layers import conv, linear, norm
from benchmarks.interop.frameworks.graphs import DT, HIDDEN, OUTPUTS, STEPS, chain, full, looped
from spikeport import FloatNetwork, Semantics, export_float, from_module, quantize
from spikeport.export.nir import preset
from spikeport.export.nir.deployed import float_view
from spikeport.network import DeployedNetwork, Input, Reset
from spikeport.trainer import LI, LIF

Array = NDArray[Any]
BATCH = 8
RATE = 0.3
SEED = 0
DECAY = 0.75
ZERO, SUBTRACT = Reset.ZERO, Reset.SUBTRACT


class Ours(NamedTuple):
    """A network as floats, what is written of it, and its input (T, B, *shape)."""

    name: str
    view: FloatNetwork
    written: FloatNetwork | DeployedNetwork
    x: Array


def ours(names: Collection[str]) -> Iterator[Ours]:
    """The networks of these names as floats, and as the float view of their chip integers.

    Rules of a step that a chip does not have leave only the former.
    """
    for name in names:
        torch.manual_seed(SEED)
        network = _KINDS[name]()
        shape = network.inputs[0].shape
        rng = np.random.default_rng(SEED)
        x = (rng.random((STEPS, BATCH, *shape)) < RATE).astype(np.uint8)
        yield Ours(name, network, network, x)
        if name in RULED:
            continue
        deployed = quantize(network, x.astype(np.float64)).network
        yield Ours(f"{name}, chip", float_view(deployed), deployed, x)


def _kinds() -> Mapping[str, Callable[[], FloatNetwork]]:
    def both(name: str, make: Callable[[Reset], FloatNetwork]) -> dict[str, Any]:
        return {f"{name}, {reset}": lambda r=reset: make(r) for reset in (ZERO, SUBTRACT)}

    return {
        **both("MLP", lambda reset: _exported(_mlp(reset), (12,))),
        **both("CNN", lambda reset: _exported(_cnn(reset, 2, 8, 4, 6), (2, 8, 8))),
        "CNN 28x28, zero": lambda: _exported(_cnn(ZERO, 1, 28, 8, 16), (1, 28, 28)),
        **both("sum of currents", lambda reset: _exported(_Block(reset, False), (2, 8, 8))),
        **both("sum of spikes", lambda reset: _exported(_Block(reset, True), (2, 8, 8))),
        **both("recurrent, bias", lambda reset: _recurrent(reset, True)),
        **both("recurrent", lambda reset: _recurrent(reset, False)),
        "CUBA, zero": _cuba,
        **both("IF", lambda reset: _exported(_mlp(reset, decay=1.0), (12,))),
        **{name: partial(_ruled, rules) for name, rules in RULED.items()},
        "LI readout": lambda: _exported(_mlp(ZERO, readout=LI(DECAY)), (12,)),
    }


def _exported(module: nn.Module, shape: tuple[int, ...]) -> FloatNetwork:
    return export_float(from_module(module, Input("input", shape), steps=STEPS))


def _mlp(reset: Reset, decay: float = DECAY, readout: nn.Module | None = None) -> nn.Module:
    def neurons() -> LIF:
        return LIF(decay, reset=reset)

    gain = 1.2 * (2 - decay)
    layers = linear(12, HIDDEN, gain), neurons(), linear(HIDDEN, OUTPUTS, gain)
    return nn.Sequential(*layers, neurons() if readout is None else readout)


def _cnn(reset: Reset, channels: int, side: int, first: int, second: int) -> nn.Module:
    """Batch norms, which are folded, and average pools, which become sums."""
    features = second * (side // 4) ** 2
    return nn.Sequential(
        conv(channels, first, 1.5, bias=False),
        norm(first),
        LIF(DECAY, reset=reset),
        nn.AvgPool2d(2),
        conv(first, second, 1.0),
        norm(second),
        LIF(DECAY, reset=reset),
        nn.AvgPool2d((2, 2)),
        nn.Flatten(),
        linear(features, OUTPUTS, 8 / features**0.5),
        LIF(DECAY, reset=reset),
    ).eval()


class _Block(nn.Module):
    """A residual block with a shortcut."""

    def __init__(self, reset: Reset, of_spikes: bool) -> None:
        super().__init__()
        self.of_spikes = of_spikes
        self.conv1, self.conv2, self.conv3 = conv(2, 4, 2.0), conv(4, 4, 1.5), conv(4, 4, 1.0)
        self.lif1, self.lif2 = LIF(DECAY, reset=reset), LIF(DECAY, reset=reset)
        self.lif3, self.lif4 = LIF(DECAY, reset=reset), LIF(DECAY, reset=reset)
        self.fc = linear(256, OUTPUTS, 0.4)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step."""
        first = self.lif1(self.conv1(x))
        second = self.conv3(self.lif2(self.conv2(first)))
        spikes = self.lif3(second if self.of_spikes else second + first)
        summed = spikes + first if self.of_spikes else spikes
        found: Tensor = self.lif4(self.fc(summed.flatten(1)))
        return found


def _recurrent(reset: Reset, biased: bool) -> FloatNetwork:
    rng = np.random.default_rng(SEED)
    first, back, last = (
        _weights(rng, *s) for s in ((HIDDEN, 12), (HIDDEN, HIDDEN), (OUTPUTS, HIDDEN))
    )
    tau = DT / (1 - DECAY)

    def lif(size: int) -> Any:
        zero = full(size, 0)
        return nir.LIF(full(size, tau), full(size, tau / DT), zero, full(size, 1.0), zero)

    bias = rng.uniform(-0.1, 0.2, HIDDEN).astype(np.float32)
    nodes = [nir.Linear(first), lif(HIDDEN), nir.Linear(last), lif(OUTPUTS)]
    loop = nir.Affine(back, bias) if biased else nir.Linear(back)
    return FloatNetwork(
        looped(chain((12,), nodes), "n1", loop),
        DT,
        STEPS,
        (Input("input", (12,)),),
        Semantics(reset=reset),
    )


def _cuba() -> FloatNetwork:
    rng = np.random.default_rng(SEED)
    nodes: list[Any] = []
    for shape, threshold in (((HIDDEN, 12), 1.5), ((OUTPUTS, HIDDEN), 1.0)):
        size = shape[0]
        tau_syn, tau_mem = DT / 0.5, DT / 0.25
        taus = full(size, tau_syn), full(size, tau_mem)
        zero, threshold_each = full(size, 0), full(size, threshold)
        gains = full(size, tau_mem / DT), zero, threshold_each, zero, full(size, tau_syn / DT)
        nodes += [nir.Linear(_weights(rng, *shape)), nir.CubaLIF(*taus, *gains)]
    graph = chain((12,), nodes)
    return FloatNetwork(graph, DT, STEPS, (Input("input", (12,)),))


def _ruled(framework: str) -> FloatNetwork:
    """Neurons with the rules of a framework, which a file states in Spikeport's metadata only."""
    rng = np.random.default_rng(SEED)
    nodes: list[Any] = []
    for shape in ((HIDDEN, 12), (OUTPUTS, HIDDEN)):
        zero, each = full(shape[0], 0), full(shape[0], 1)
        bias = rng.uniform(-0.1, 0.1, shape[0]).astype(np.float32)
        tau = full(shape[0], DT / (1 - DECAY))
        nodes += [nir.Affine(_weights(rng, *shape), bias), nir.LIF(tau, each, zero, each / 2, zero)]
    graph, inputs = chain((12,), nodes), (Input("input", (12,)),)
    return FloatNetwork(graph, DT, STEPS, inputs, preset(framework, ["LIF"]))


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    found = rng.uniform(-0.6, 0.9, shape) / np.sqrt(shape[-1])
    return np.asarray(found, np.float32)


RULED = {"MLP, rules of Sinabs": "sinabs", "MLP, rules of Spyx": "spyx"}
"""Networks with other rules than the default, and the framework whose rules they are."""
_KINDS = _kinds()
NAMES = tuple(_KINDS)
