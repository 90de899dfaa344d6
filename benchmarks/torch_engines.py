"""The same networks in Norse, snnTorch and SpikingJelly, built from the same integer weights.

One executor runs the populations; connections are torch's Linear, Conv2d and AvgPool2d, and each
framework provides its neuron. v is in weight units: a spike if v > vth, then v <- 0. Only the
truncation of v to integers is missing, so spikes agree except for a few near the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.engines import Run, Variant
from spikeport.network import (
    LOIHI,
    Conv2d,
    DeployedNetwork,
    Population,
    WeightedConnection,
    require_lif,
)

DT_S = 0.001


class Neuron(Protocol):
    """A population of one framework, including its state.

    Attributes:
        gain: factor on the current for which the framework's update gives the required v.
    """

    gain: float

    def reset(self) -> None:
        """Clear the state after a sample."""

    def step(self, current: Tensor) -> Tensor:
        """Spikes (B, ...) of one step."""

    def sequence(self, current: Tensor) -> Tensor:
        """Spikes (T, B, ...) of all steps."""


class _Norse:
    """LIFBoxCell: v + dt tau_mem_inv (i - v), so the current is divided by the leak."""

    def __init__(self, leak: float, threshold: int) -> None:
        from norse.torch import LIFBoxCell
        from norse.torch.functional.lif_box import LIFBoxParameters

        self.gain = 1 / leak
        parameters = LIFBoxParameters(
            tau_mem_inv=torch.tensor(leak / DT_S), v_th=torch.tensor(float(threshold))
        )
        self.cell = LIFBoxCell(parameters, dt=DT_S)
        self.state: Any = None

    def reset(self) -> None:
        self.state = None

    def step(self, current: Tensor) -> Tensor:
        spikes: Tensor
        spikes, self.state = self.cell(current, self.state)
        return spikes

    def sequence(self, current: Tensor) -> Tensor:
        return torch.stack([self.step(one) for one in current])


class _SnnTorch:
    """Leaky with reset to zero; its delayed reset gives the same spikes as an immediate one."""

    gain = 1.0

    def __init__(self, leak: float, threshold: int) -> None:
        import snntorch

        self.cell = snntorch.Leaky(
            beta=1 - leak, threshold=float(threshold), reset_mechanism="zero"
        )
        self.mem: Any = None

    def reset(self) -> None:
        self.mem = self.cell.reset_mem()

    def step(self, current: Tensor) -> Tensor:
        spikes: Tensor
        spikes, self.mem = self.cell(current, self.mem)
        return spikes

    def sequence(self, current: Tensor) -> Tensor:
        return torch.stack([self.step(one) for one in current])


class _SpikingJelly:
    """LIFNode in multi-step mode, `decay_input` off; it fires at v >= its threshold."""

    gain = 1.0

    def __init__(self, leak: float, threshold: int) -> None:
        from spikingjelly.activation_based.neuron import LIFNode

        above = float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
        self.node = LIFNode(tau=1 / leak, decay_input=False, v_threshold=above, v_reset=0.0)
        self.node.eval()

    def reset(self) -> None:
        self.node.reset()

    def step(self, current: Tensor) -> Tensor:
        self.node.step_mode = "s"
        spikes: Tensor = self.node(current)
        return spikes

    def sequence(self, current: Tensor) -> Tensor:
        self.node.step_mode = "m"
        spikes: Tensor = self.node(current)
        return spikes


NEURONS: Mapping[str, Callable[[float, int], Neuron]] = {
    "norse": _Norse,
    "snntorch": _SnnTorch,
    "spikingjelly": _SpikingJelly,
}


class Times(nn.Module):
    """A one-to-one connection with equal weights, as the plain factor used by frameworks."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """x times the factor."""
        return x * self.factor


@dataclass(frozen=True)
class Layer:
    """A population and its inputs: (source, delay, module)."""

    name: str
    received: tuple[tuple[str, int, nn.Module], ...]
    neuron: Neuron


def engine(name: str) -> Callable[[DeployedNetwork, NDArray[np.uint8], int], Run]:
    """The engine of one framework."""

    def build(network: DeployedNetwork, spikes: NDArray[np.uint8], threads: int) -> Run:
        torch.set_num_threads(threads)
        layers = [
            _layer(network, require_lif(network.by_name[n]), NEURONS[name]) for n in network.order
        ]
        source = network.inputs[0].name
        output = network.readouts[0].population
        inputs = torch.from_numpy(spikes).to(torch.float32)

        def run(variant: Variant, count: bool) -> Mapping[str, int]:
            walk = _by_layers if variant.order == "layers" else _by_steps
            totals = dict.fromkeys([layer.name for layer in layers] if count else [output], 0)
            # Norse sets requires_grad on its states, which inference_mode forbids
            with torch.no_grad():
                for part in torch.split(inputs, variant.batch, dim=1):
                    for layer in layers:
                        layer.neuron.reset()
                    for name, fired in walk(layers, source, part, frozenset(totals)).items():
                        totals[name] += int(fired.sum(dtype=torch.float64))
            return totals

        return run

    return build


def _by_steps(
    layers: Iterable[Layer], source: str, inputs: Tensor, wanted: frozenset[str]
) -> dict[str, Tensor]:
    """Run all layers in every step; return spikes (B, ...) of `wanted` populations, summed."""
    previous: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    for given in inputs:
        now = {source: given}
        for layer in layers:
            current: Tensor | None = None
            for name, delay, module in layer.received:
                spikes = previous.get(name) if delay else now[name]
                if spikes is not None:
                    received = module(spikes)
                    current = received if current is None else current + received
            if current is None:
                raise ValueError(f"population '{layer.name}' has no input in the first step")
            now[layer.name] = layer.neuron.step(current)
        for name in wanted:
            sums[name] = sums[name] + now[name] if name in sums else now[name]
        previous = now
    return sums


def _by_layers(
    layers: Iterable[Layer], source: str, inputs: Tensor, wanted: frozenset[str]
) -> dict[str, Tensor]:
    """Run all steps of a layer before the next; feedback to itself is added step by step."""
    emitted = {source: inputs}
    for layer in layers:
        current: Tensor | None = None
        loops = []
        for name, delay, module in layer.received:
            if delay:
                loops.append(module)
                continue
            received = module(emitted[name].flatten(0, 1)).unflatten(0, inputs.shape[:2])
            current = received if current is None else current + received
        if current is None:
            raise ValueError(f"population '{layer.name}' receives only from itself")
        if not loops:
            emitted[layer.name] = layer.neuron.sequence(current)
            continue
        spikes = [layer.neuron.step(current[0])]
        for given in current[1:]:
            for module in loops:
                given = given + module(spikes[-1])
            spikes.append(layer.neuron.step(given))
        emitted[layer.name] = torch.stack(spikes)
    return {name: emitted[name].sum(0) for name in wanted}


def _layer(
    network: DeployedNetwork, part: Population, neuron: Callable[[float, int], Neuron]
) -> Layer:
    made = neuron(part.decay_v / LOIHI.decay_unity, part.vth)
    received = []
    for synapses in network.weighted_connections:
        if synapses.target != part.name:
            continue
        if synapses.delay not in (0, 1) or (synapses.delay and synapses.source != part.name):
            raise ValueError(f"connection '{synapses.name}': only loops may be delayed, by 1")
        shape = network.sources[synapses.source].shape
        module = _module(synapses, len(shape), made.gain).eval()
        received.append((synapses.source, synapses.delay, module))
    return Layer(part.name, tuple(received), made)


def _module(part: WeightedConnection, axes: int, gain: float) -> nn.Module:
    stages: list[nn.Module] = []
    if part.pool is not None:
        sides = (part.pool.kernel_size, part.pool.stride, part.pool.padding)
        stages.append(nn.AvgPool2d(*sides, divisor_override=1))
    weight = torch.from_numpy(part.weight.astype(np.float32) * gain * 2.0**part.exponent)
    if isinstance(part, Conv2d):
        diagonal = _one_to_one(part)
        if diagonal is not None:
            return nn.Sequential(*stages, Times(diagonal * gain))
        groups, (outputs, inputs) = part.groups, weight.shape[:2]
        options = (part.stride, part.padding, part.dilation, groups)
        kernel = (weight.shape[2], weight.shape[3])
        conv = nn.Conv2d(inputs * groups, outputs, kernel, *options, bias=False)
        stages.append(_holding(conv, weight))
    else:
        if axes > 1:
            stages.append(nn.Flatten(1))
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        stages.append(_holding(linear, weight))
    return stages[0] if len(stages) == 1 else nn.Sequential(*stages)


def _holding(module: nn.Linear | nn.Conv2d, weight: Tensor) -> nn.Module:
    module.weight = nn.Parameter(weight, requires_grad=False)
    return module


def _one_to_one(part: Conv2d) -> float | None:
    """The weight of a 1x1 convolution that connects each channel only to itself, otherwise None."""
    outputs, inputs, *kernel = part.weight.shape
    if kernel != [1, 1] or part.stride != (1, 1) or outputs != inputs * part.groups:
        return None
    blocks = part.weight.reshape(part.groups, inputs, inputs)
    factor = int(blocks[0, 0, 0])
    same = (blocks == factor * np.eye(inputs, dtype=np.int16)).all()
    return factor * 2.0**part.exponent if same else None
