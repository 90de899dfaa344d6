"""The float network as training sees it, run and measured: `evaluate`."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Shape
from spikeport.runs import Run, Trace
from spikeport.samples import Samples, check_float_samples, sample_count, select
from spikeport.simulators.results import spikeport_version
from spikeport.trainer.deployment import deployable
from spikeport.trainer.events import FanOut, Tally, fan_out
from spikeport.trainer.layers import Map
from spikeport.trainer.lif import LI, LIF, charge_and_fire
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.passes import integrate, run, still
from spikeport.trainer.rules import Rule

RECORDABLE = ("spikes", "v_charged")
BATCH = 256
LARGEST = 1 << 24
"""Values of one layer over all steps of a batch: 64 MiB in float32."""


@torch.no_grad()
def evaluate(network: SpikingNetwork, samples: Samples, record: Collection[str] = ()) -> Run:
    """Run inference of the `deployable` network and count its events.

    Scores are the network's, (B, N). Populations are the LIF layers, connections the convolutions
    and linear layers, under their own names. An update is a neuron-step in which v or the current
    (bias and batch norm included) was not zero.

    Args:
        samples: float units, (B, *shape) presented at every step, or (T, B, *shape).
        record: which of "spikes" and "v_charged" to keep in `Run.trace`.

    Raises:
        InputError: samples do not fit the network, a name in `record` is unknown, or the network
            holds what neurons and weighted connections cannot express.
    """
    for name in record:
        if name not in RECORDABLE:
            raise InputError(f"record: '{name}' cannot be recorded, only {', '.join(RECORDABLE)}")
    network = deployable(network)
    network.rule = Rule.RATE_M
    inputs = (network.input,)
    arrays = check_float_samples(inputs, network.steps, samples)
    count = sample_count(inputs, arrays)
    dtype = next(network.parameters()).dtype
    started = time.perf_counter()
    meter = _Meter(network.steps, routes(network), record)
    scores = []
    batch = samples_at_once(network)
    for first in range(0, count, batch):
        chosen = select(inputs, arrays, slice(first, first + batch))[network.input.name]
        x = network.time_major(torch.tensor(chosen, dtype=dtype))
        meter.present(network.input.name, x)
        scores.append(run(network, x, meter.apply))
    return Run(
        backend="trainer",
        version=f"{spikeport_version()} (torch {torch.__version__})",
        network_hash="",
        samples=count,
        steps=network.steps,
        scores={network.output: torch.cat(scores).numpy()},
        spike_counts={name: total.numpy() for name, total in meter.fired.items()},
        counts=meter.tally.counts(
            count,
            network.steps,
            {name: total.numel() for name, total in meter.fired.items()},
            [network.input.name],
            [node.name for node in network.nodes if isinstance(node.op, Map)],
        ),
        trace=meter.trace() if record else None,
        wall_s=time.perf_counter() - started,
    )


def samples_at_once(network: SpikingNetwork) -> int:
    """How many samples go through all layers and steps together, so that memory is bounded."""
    largest = network.steps * max(math.prod(shape) for shape in network.shapes.values())
    return max(1, min(BATCH, LARGEST // largest))


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """From neurons or an input through pools to a convolution or linear layer."""

    connection: Node
    pools: tuple[nn.AvgPool2d, ...]

    def reached(self, source: Shape) -> FanOut:
        """Synapses per neuron of a source of shape `source`."""
        op = self.connection.op
        assert isinstance(op, Map)  # routes() ends at no other
        weight = op.weight.detach().to(torch.float64)

        def unit_map(present: Tensor, x: Tensor) -> Tensor:
            for pool in self.pools:
                x = functional.avg_pool2d(
                    x, pool.kernel_size, pool.stride, pool.padding, divisor_override=1
                )
            if isinstance(op, nn.Linear):
                return functional.linear(x.flatten(1), present)
            convolve = functional.conv1d if isinstance(op, nn.Conv1d) else functional.conv2d
            return convolve(x, present, None, op.stride, op.padding, op.dilation, op.groups)

        present = (weight != 0).to(weight.dtype), torch.ones_like(weight)
        return FanOut(*(fan_out(partial(unit_map, mask), source) for mask in present))


def routes(network: SpikingNetwork) -> dict[str, list[Route]]:
    """By neurons or input of a deployable network, the connections that their messages reach."""
    nodes = {node.name: node for node in network.nodes}
    found: dict[str, list[Route]] = defaultdict(list)

    def trace(connection: Node, name: str, pools: tuple[nn.AvgPool2d, ...]) -> None:
        if name in nodes and isinstance(pool := nodes[name].op, nn.AvgPool2d):
            for source in nodes[name].inputs:
                trace(connection, source, (pool, *pools))
        else:
            found[name].append(Route(connection, pools))

    for node in network.nodes:
        if isinstance(node.op, Map):
            for source in node.inputs:
                trace(node, source, ())
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Meter:
    """Runs the layers of a network and measures what passes through them."""

    steps: int
    routes: Mapping[str, list[Route]]
    record: Collection[str]
    tally: Tally = field(default_factory=Tally)
    reached: dict[Route, FanOut] = field(default_factory=dict)
    fired: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, dict[str, list[Tensor]]] = field(
        default_factory=lambda: {kind: defaultdict(list) for kind in RECORDABLE}
    )

    def present(self, name: str, x: Tensor) -> None:
        """Count a batch of input values (1 or T, B, *shape)."""
        repeats = self.steps // len(x)
        self.tally.input_events[name] += int((x != 0).sum()) * repeats
        self._send(name, x, repeats)

    def apply(self, node: Node, x: Tensor, steps: int) -> Tensor:
        """One layer on (1 or T, B, ...)."""
        if isinstance(node.op, LI):
            return integrate(node, x, steps, {})
        if not isinstance(node.op, LIF):
            return still(node, x)
        passed = charge_and_fire(node.op, x, self.steps)
        before, charged, spikes = map(torch.stack, zip(*passed, strict=True))
        name = node.name
        self.tally.updates[name] += int(((before != 0) | (x != 0)).sum())
        total = (spikes != 0).sum((0, 1))
        self.tally.spikes[name] += int(total.sum())
        self.fired[name] = self.fired.get(name, 0) + total
        self._send(name, spikes)
        for kind, values in (("spikes", spikes.to(torch.uint8)), ("v_charged", charged)):
            if kind in self.record:
                self.kept[kind][name].append(values)
        return spikes

    def trace(self) -> Trace:
        """What was recorded, (T, B, *shape)."""
        return Trace(
            **{
                kind: {name: torch.cat(parts, dim=1).numpy() for name, parts in kept.items()}
                for kind, kept in self.kept.items()
            },
            neurons={},
        )

    def _send(self, source: str, values: Tensor, repeats: int = 1) -> None:
        for route in self.routes.get(source, ()):
            if route not in self.reached:
                self.reached[route] = route.reached(values.shape[2:])
            self.tally.deliver(route.connection.name, values, self.reached[route], repeats)
