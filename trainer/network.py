"""`SpikingNetwork`: ordinary PyTorch layers and LIF neurons as one graph, and its three passes.

Training runs the *spiking pass* without gradients, then the *rate pass* on the mean input with
them. Gradients of the mean output equal those of backpropagation through time under the method's
independence assumption; memory for them does not grow with T. With `net.train()` a network is an
ordinary module:

    loss = cross_entropy(net(x), y)
    (loss / net.steps).backward()    # the method's 1/T rule: the logged loss is not divided

Inside, activations are (T, B, ...), or (1, B, ...) where they do not change over the steps: what
stands before the first neurons is then computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.network import Input
from spikeport.samples import batch_shape
from spikeport.trainer.batch_norm import (
    Statistics,
    normalize,
    rate_norm,
    running_statistics,
    sequence_statistics,
    update_running,
)
from spikeport.trainer.lif import LIF, RateRecord, rate_rule, spike, spike_and_record

Op = nn.Conv2d | nn.Linear | nn.AvgPool2d | nn.BatchNorm1d | nn.BatchNorm2d | LIF


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One layer; its input is the sum of the outputs of `inputs`."""

    name: str
    inputs: tuple[str, ...]
    op: Op


@dataclass(frozen=True, slots=True)
class Record:
    """What a spiking pass hands to the rate pass, by layer name."""

    neurons: Mapping[str, RateRecord]
    norms: Mapping[str, Statistics]

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step over all LIF layers."""
        spikes = sum(float(record.rate.sum()) for record in self.neurons.values())
        return spikes / max(1, sum(record.rate.numel() for record in self.neurons.values()))


class SpikingNetwork(nn.Module):
    """A graph of layers run for T steps; its answer is the time mean of the last layer.

    Attributes:
        input: shape, coding and scale of the input; nodes name it as `input.name`.
        nodes: in an order in which each one's inputs come first.
        steps: T.

    Raises:
        InputError: names clash, an input is unknown, or a layer has an option the chip lacks.
    """

    def __init__(self, input: Input, nodes: Sequence[Node], steps: int) -> None:
        super().__init__()
        check_nodes(input, nodes, steps)
        self.input = input
        self.nodes = tuple(nodes)
        self.steps = steps
        self.layers = nn.ModuleDict({n.name: n.op for n in nodes if not isinstance(n.op, LIF)})

    @property
    def output(self) -> str:
        """Name of the last layer."""
        return self.nodes[-1].name

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, N) of x (B, *shape) or (T, B, *shape).

        In training mode spiking pass, then rate pass: differentiable. Else inference.
        """
        if not self.training:
            return self.inference(x)
        _, record = self.spiking_pass(x)
        return self.rate_pass(x, record)

    @torch.no_grad()
    def spiking_pass(self, x: Tensor) -> tuple[Tensor, Record]:
        """Mean output (B, N) of the spiking network and its record; updates running statistics."""
        neurons: dict[str, RateRecord] = {}
        norms: dict[str, Statistics] = {}

        def apply(node: Node, x: Tensor) -> Tensor:
            match node.op:
                case LIF():
                    spikes, neurons[node.name] = spike_and_record(node.op, x, self.steps)
                    return spikes
                case nn.BatchNorm1d() | nn.BatchNorm2d():
                    statistics = norms[node.name] = sequence_statistics(x)
                    update_running(node.op, statistics, self.steps * x[0].numel() // x.shape[2])
                    return normalize(node.op, x, statistics)
            return over_time(node.op, x)

        return self.walk(self.time_major(x), apply).mean(0), Record(neurons, norms)

    def rate_pass(self, x: Tensor, record: Record) -> Tensor:
        """Mean output (B, N) again, now differentiable: the layers once, on mean inputs."""

        def apply(node: Node, c: Tensor) -> Tensor:
            match node.op:
                case LIF():
                    return rate_rule(c, record.neurons[node.name])
                case nn.BatchNorm1d() | nn.BatchNorm2d():
                    return rate_norm(node.op, c, record.norms[node.name])
            return linear_map(node.op, c)

        return self.walk(self.time_major(x).mean(0), apply)

    @torch.no_grad()
    def inference(self, x: Tensor) -> Tensor:
        """Mean output (B, N) of the spiking network with running statistics."""

        def apply(node: Node, x: Tensor) -> Tensor:
            return spike(node.op, x, self.steps) if isinstance(node.op, LIF) else still(node.op, x)

        return self.walk(self.time_major(x), apply).mean(0)

    def walk(self, x: Tensor, apply: Callable[[Node, Tensor], Tensor]) -> Tensor:
        """Run the graph on x with `apply(node, summed input)`; values are dropped after use."""
        uses = [name for node in self.nodes for name in node.inputs]
        waiting = {name: uses.count(name) for name in uses}
        values = {self.input.name: x}
        for node in self.nodes:
            total = values[node.inputs[0]]
            for name in node.inputs[1:]:
                total = total + values[name]
            values[node.name] = apply(node, total)
            for name in node.inputs:
                waiting[name] -= 1
                if not waiting[name]:
                    del values[name]
        return values[self.output]

    def time_major(self, x: Tensor) -> Tensor:
        """(B, *shape) as (1, B, *shape); (T, B, *shape) as it is."""
        shape = self.input.shape
        if x.ndim == len(shape) + 1 and x.shape[1:] == shape:
            return x[None]
        if x.ndim == len(shape) + 2 and x.shape[2:] == shape and x.shape[0] == self.steps:
            return x
        raise InputError(
            f"input '{self.input.name}': samples have shape {tuple(x.shape)}, must be "
            f"{batch_shape('B', shape)} or {batch_shape('T, B', shape)} with T = {self.steps}"
        )


def linear_map(op: Op, x: Tensor) -> Tensor:
    """Convolution, linear layer or pool on (B, ...)."""
    if isinstance(op, nn.Linear):
        return op(x.flatten(1))  # type: ignore[no-any-return]
    assert not isinstance(op, LIF)
    return op(x)  # type: ignore[no-any-return]


def over_time(op: Op, x: Tensor) -> Tensor:
    """`linear_map` on all steps at once, (T, B, ...)."""
    y = linear_map(op, x.flatten(0, 1))
    return y.view(*x.shape[:2], *y.shape[1:])


def still(op: Op, x: Tensor) -> Tensor:
    """A layer without neurons as inference runs it, (T, B, ...)."""
    if isinstance(op, nn.BatchNorm1d | nn.BatchNorm2d):
        return normalize(op, x, running_statistics(op))
    return over_time(op, x)


def check_nodes(input: Input, nodes: Sequence[Node], steps: int) -> None:
    """Refuse a graph that could not be run or not be deployed, with one clear error."""
    if steps < 1:
        raise InputError(f"network: steps (T) is {steps}, must be at least 1")
    if not nodes:
        raise InputError("network: has no layers, needs at least one")
    known = {input.name}
    for node in nodes:
        subject = f"layer '{node.name}'"
        if node.name in known:
            raise InputError(f"{subject}: the name is used twice, names must be unique")
        if not node.inputs:
            raise InputError(f"{subject}: has no inputs, needs at least one")
        for name in node.inputs:
            if name not in known:
                raise InputError(f"{subject}: input '{name}' is no earlier layer")
        if problem := _unsupported(node.op):
            raise InputError(f"{subject}: {problem}")
        known.add(node.name)


def _unsupported(op: Op) -> str | None:
    match op:
        case nn.Conv2d():
            if op.padding_mode != "zeros" or isinstance(op.padding, str):
                return f"padding {op.padding!r} ({op.padding_mode}) must be numbers, with zeros"
        case nn.AvgPool2d():
            if op.ceil_mode or not op.count_include_pad or op.divisor_override:
                return "an average pool must count its padding and keep whole windows only"
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if not (op.affine and op.track_running_stats):
                return "a batch norm must have gamma, beta and running statistics"
        case nn.Linear() | LIF():
            return None
        case _:
            return f"{type(op).__name__} is no layer that a spiking network can hold"
    return None
