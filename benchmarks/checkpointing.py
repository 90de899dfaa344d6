"""BPTT with less memory: torch's checkpointing on our layers, and SpikingJelly with its `memopt`.

All of it trains a network of `spikeport.trainer.models` in multi-step mode, cut where the spikes of
one layer are all that passes on: into residual blocks, or layers where there are none. A checkpoint
keeps the input of a part and computes the rest again in the backward pass. `memopt` packs these
inputs as bits where they are spikes. Its levels 2 to 4 measure peaks of CUDA memory, so here parts
are chosen beforehand: blocks, or the convolution, norm and neurons of a layer, which level 2 finds.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.foreign import framework, installed
from spikeport.network import Reset
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.network.graph import Node, stateless_nodes, walk
from spikeport.trainer.network.passes import Training
from spikeport.trainer.neurons import LIF
from spikeport.trainer.rules import GradientRule

CHECKPOINT = "checkpoint"
JELLY = "spikingjelly"
MEMOPT = {"memopt_blocks": "blocks", "memopt_layers": "layers"}
PEERS = (CHECKPOINT, JELLY, *MEMOPT)


def available(rule: str) -> bool:
    """Whether what a rule needs is installed."""
    return rule not in (JELLY, *MEMOPT) or installed("spikingjelly")


def peer(name: str, network: SpikingNetwork) -> Checkpointed | Jelly:
    """`network` trained otherwise, with the same initial weights; its samples are (B, *shape)."""
    if name == CHECKPOINT:
        return Checkpointed(network)
    return Jelly(network, MEMOPT.get(name))


def segments(network: SpikingNetwork) -> Iterator[tuple[str, Sequence[Node]]]:
    """The parts of a network, each with the only value of earlier parts that it receives."""
    nodes, first, source = network.nodes, 0, network.input.name
    for at, node in enumerate(nodes, 1):
        later = {name for other in nodes[at:] for name in other.inputs}
        made = {network.input.name, *(other.name for other in nodes[:at])}
        if at == len(nodes) or (isinstance(node.op, LIF) and later & made == {node.name}):
            yield source, nodes[first:at]
            first, source = at, node.name


class Checkpointed(nn.Module):
    """BPTT in multi-step mode that keeps the input of each part only.

    Running statistics move twice in a step; no gradient depends on them.
    """

    gradient_scale = 1.0

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, N)."""
        steps, value = self.network.steps, x[None]
        for source, nodes in segments(self.network):

            def run(given: Tensor, source: str = source, nodes: Sequence[Node] = nodes) -> Tensor:
                layers, last = Training(GradientRule.BPTT_M, steps), nodes[-1].name
                found = walk(nodes, {source: given}, lambda n, c: layers(n, c, steps), {last})
                return found[last]

            value = checkpoint(run, value, use_reentrant=False)
        return value.mean(0).flatten(1)


class Jelly(nn.Module):
    """A network of SpikingJelly's layers; `memopt` checkpoints "blocks", "layers" or nothing."""

    gradient_scale = 1.0

    def __init__(self, network: SpikingNetwork, memopt: str | None = None) -> None:
        super().__init__()
        spiking = {node.name for node in network.nodes if isinstance(node.op, LIF)}
        constant = {node.name for node in stateless_nodes(network.nodes)}
        self.parts = nn.Sequential()
        for source, nodes in segments(network):
            part = Part(source, nodes, network.steps, constant)
            if memopt == "layers":
                part.checkpoint_chains(spiking)
            whole = memopt == "blocks"
            self.parts.append(_checkpointed(part, packed=source in spiking) if whole else part)
        self._reset = framework("spikingjelly.activation_based.functional").reset_net

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, N)."""
        self._reset(self)
        found: Tensor = self.parts(x[None])
        return found.mean(0).flatten(1)


class Part(nn.Module):
    """Layers that receive one value, (T or 1, B, ...), as chains such as convolution, norm, LIF.

    Layers before the first neurons run once if the input is constant, as ours do.
    """

    def __init__(
        self, source: str, nodes: Sequence[Node], steps: int, constant: Container[str]
    ) -> None:
        super().__init__()
        self._source, self._steps, self._constant = source, steps, constant
        self._chains = list(_chains(nodes, constant))
        self.layers = nn.ModuleDict(
            {
                chain[0].name: nn.Sequential(*(_layer(node.op) for node in chain))
                for chain in self._chains
            }
        )

    def checkpoint_chains(self, spiking: Container[str]) -> None:
        """Keep the input of each chain only, packed if it is one of these layers' spikes."""
        for first, *_ in self._chains:
            packed = len(first.inputs) == 1 and first.inputs[0] in spiking
            self.layers[first.name] = _checkpointed(self.layers[first.name], packed=packed)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last chain."""
        values, last = {self._source: x}, ""
        for chain in self._chains:
            first, last = chain[0], chain[-1].name
            given, *others = (values[name] for name in first.inputs)
            for other in others:
                given = given + other
            if first.name not in self._constant:
                given = given.expand(self._steps, *given.shape[1:])
            values[last] = self.layers[first.name](given)
        return values[last]


def _chains(nodes: Sequence[Node], constant: Container[str]) -> Iterator[Sequence[Node]]:
    """Runs of layers of which each receives only the output, and is its only receiver."""
    first = 0
    for at, node in enumerate(nodes[1:], 1):
        before = nodes[at - 1]
        receivers = [other for other in nodes if before.name in other.inputs]
        moves = before.name in constant and node.name not in constant
        if node.inputs != (before.name,) or receivers != [node] or moves:
            yield nodes[first:at]
            first = at
    yield nodes[first:]


def _checkpointed(module: nn.Module, *, packed: bool) -> nn.Module:
    memopt = framework("spikingjelly.activation_based.memopt")
    compressor = memopt.BitSpikeCompressor() if packed else None
    found: nn.Module = memopt.checkpoint_module(module, compressor=compressor)
    return found


def _layer(op: nn.Module) -> nn.Module:
    """SpikingJelly's layer with the parameters of ours."""
    neuron = framework("spikingjelly.activation_based.neuron")
    layer = framework("spikingjelly.activation_based.layer")
    surrogate = framework("spikingjelly.activation_based.surrogate")
    made: Any
    match op:
        case LIF():
            return neuron.LIFNode(  # type: ignore[no-any-return]
                tau=1 / (1 - op.decay), decay_input=False, v_threshold=op.v_threshold,
                v_reset=None if op.reset is Reset.SUBTRACT else 0.0, step_mode="m",
                surrogate_function=surrogate.Sigmoid(op.alpha), detach_reset=op.detach_reset,
            )  # fmt: skip
        case nn.Conv2d():
            made = layer.Conv2d(
                op.in_channels, op.out_channels, op.kernel_size, op.stride, op.padding,
                op.dilation, op.groups, op.bias is not None, step_mode="m",
            )  # fmt: skip
        case nn.BatchNorm2d():
            made = layer.BatchNorm2d(op.num_features, op.eps, op.momentum, step_mode="m")
        case nn.Linear():
            made = layer.Linear(op.in_features, op.out_features, op.bias is not None, step_mode="m")
            made.load_state_dict(op.state_dict())
            return nn.Sequential(layer.Flatten(step_mode="m"), made)
        case nn.AvgPool2d():
            made = layer.AvgPool2d(op.kernel_size, op.stride, op.padding, step_mode="m")
        case nn.Flatten():
            made = layer.Flatten(step_mode="m")
        case _:
            made = nn.Identity()
    made.load_state_dict(op.state_dict())
    return made  # type: ignore[no-any-return]
