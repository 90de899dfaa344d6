"""Run and measure a float network as in training: `evaluate`."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spikeport.runs import (
    RecordSpec,
    Run,
    Samples,
    Trace,
    check_float_samples,
    check_names,
    sample_count,
    select,
)
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.measure.chip_evaluation import evaluate_chip
from spikeport.trainer.measure.events import FanOut, Tally
from spikeport.trainer.measure.topology import Path, paths
from spikeport.trainer.network import Node, SpikingNetwork, deployable
from spikeport.trainer.network.layers import Map
from spikeport.trainer.network.network import run
from spikeport.trainer.network.passes import apply_stateless, integrate
from spikeport.trainer.neurons import LI, LIF, charge_and_fire
from spikeport.trainer.rules import GradientRule
from spikeport.version import __version__

RECORDABLE = ("spikes", "v_charged")
BATCH = 256
LARGEST = 1 << 21
"""Number of values of one layer over all steps of a batch: 8 MiB in float32, which caches hold.

Convolutions of larger batches take up to three times as long: their results go to fresh memory.
"""


@torch.no_grad()
def evaluate(network: AnyNetwork, samples: Samples, record: RecordSpec = ()) -> Run:
    """Run inference of the `deployable` network and count its events.

    Scores are those of the network, (B, N). Populations are the LIF layers, connections the
    convolutions and linear layers, under their own names. An update is a neuron-step in which v or
    the current (including bias and batch norm) was not zero. A `QATNetwork` is run by
    `evaluate_chip`.

    Args:
        samples: float units, (B, *shape) presented at every step, or (T, B, *shape).
        record: which of "spikes" and "v_charged" to keep in `Run.trace`.

    Raises:
        InputError: samples do not fit the declared input of the network, `record` contains an
            unknown name, or the network cannot be expressed as neurons and weighted connections.
    """
    if isinstance(network, QATNetwork):
        return evaluate_chip(network, samples, record)
    record = check_names(record, RECORDABLE)
    network = deployable(network)
    network.rule = GradientRule.RATE_M
    inputs = (network.input,)
    arrays = check_float_samples(inputs, network.steps, samples)
    count = sample_count(inputs, arrays)
    dtype = next(network.parameters()).dtype
    started = time.perf_counter()
    meter = _Meter(network.steps, paths(network), record)
    scores = []
    batch = samples_at_once(network)
    for first in range(0, count, batch):
        chosen = select(inputs, arrays, slice(first, first + batch))[network.input.name]
        x = network.time_major(torch.tensor(chosen, dtype=dtype))
        meter.present(network.input.name, x)
        scores.append(run(network, x, meter.apply))
    return Run(
        backend="trainer",
        version=f"{__version__} (torch {torch.__version__})",
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


def samples_at_once(network: SpikingNetwork, steps: int | None = None) -> int:
    """Number of samples to process together, so that memory is bounded; T may be another one."""
    largest = (steps or network.steps) * max(math.prod(shape) for shape in network.shapes.values())
    return max(1, min(BATCH, LARGEST // largest))


@dataclass(frozen=True, slots=True, eq=False)
class _Meter:
    """Runs the layers of a network and measures their activity."""

    steps: int
    paths: Sequence[Path]
    record: Collection[str]
    tally: Tally = field(default_factory=Tally)
    reached: dict[Path, FanOut] = field(default_factory=dict)
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
        """Apply one layer to (1 or T, B, ...)."""
        if isinstance(node.op, LI):
            return integrate(node, x, steps, {})
        if not isinstance(node.op, LIF):
            return apply_stateless(node, x)
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
        """The recorded values, (T, B, *shape)."""
        return Trace.of(
            {
                kind: {name: torch.cat(parts, dim=1).numpy() for name, parts in kept.items()}
                for kind, kept in self.kept.items()
            }
        )

    def _send(self, source: str, values: Tensor, repeats: int = 1) -> None:
        for path in (found for found in self.paths if found.source == source):
            if path not in self.reached:
                self.reached[path] = path.reached(values.shape[2:])
            self.tally.deliver(path.connection.name, values, self.reached[path], repeats)
