"""Paths of linear nodes through a NIR graph, with their delays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise, product
from typing import Any

import nir
import numpy as np

from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.fields import NEURONS
from spikeport.export.nir.graph import delay_steps
from spikeport.export.quantize.fold import Complain

POPULATIONS = (*NEURONS, nir.Threshold)
"""Nodes that become populations."""
MAX_PATHS = 1000
"""Number of connections into one population that a graph of linear nodes may become."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Nodes between a source and a target.

    Attributes:
        nodes: in order. A Delay node of several delays is one path for each: there, it is a `Scale`
            that passes the neurons with this delay.
        waits: steps by which each node delays.
        loops: for each edge, including the first and the last, the steps by which it delays because
            it closes a cycle.
        split: some Delay node has several delays.
    """

    source: str
    nodes: tuple[tuple[str, Any], ...]
    waits: tuple[int, ...]
    loops: tuple[int, ...]
    loop_bias: bool
    split: bool

    @property
    def delay(self) -> int:
        """Steps from the source to the target."""
        return sum(self.waits) + sum(self.loops)

    def bias_delay(self, place: int) -> int:
        """Steps before the bias of the node at `place` first arrives at the target.

        With `loop_bias`, edges that close a cycle deliver biases from the first step on, unless a
        Delay node lies in front of them.
        """
        late, waits = 0, False
        for (_, node), wait, loop in zip(
            self.nodes[place:], self.waits[place:], self.loops[place + 1 :], strict=True
        ):
            waits |= isinstance(node, nir.Delay) or wait > 0
            late += wait + (0 if self.loop_bias and not waits else loop)
        return late

    def onwards(self, place: int) -> tuple[tuple[str, int], ...]:
        """Names and delays of the nodes from `place` on: equal for paths that share them."""
        names = (name for name, _ in self.nodes)
        return tuple(zip(names, self.waits, strict=True))[place:]


def paths_into(network: FloatNetwork, node: str, complain: Complain) -> list[Path]:
    """All paths to `node` from the inputs and from nodes that become populations.

    Complains about cycles without neurons, and about more than `MAX_PATHS` paths.
    """
    nodes = network.graph.nodes
    found: list[Path] = []
    for names in _names(nodes, network.checked.sources, node, (), complain):
        found += islice(_with_delays(network, (*names, node)), MAX_PATHS + 1)
        if len(found) > MAX_PATHS:
            complain(
                f"node '{node}': more than {MAX_PATHS} paths through linear nodes lead there; "
                "put neurons in between"
            )
            return []
    return found


def _names(
    nodes: Mapping[str, Any],
    feeds: Mapping[str, tuple[str, ...]],
    node: str,
    after: tuple[str, ...],
    complain: Complain,
) -> Iterator[tuple[str, ...]]:
    """All paths from an Input or neurons to `node`: the source, then the nodes in between."""
    for source in feeds[node]:
        if source in after:
            complain(f"node '{source}': is on a cycle without neurons; put some into it")
        elif isinstance(nodes[source], (*POPULATIONS, nir.Input)):
            yield (source, *after)
        else:
            yield from _names(nodes, feeds, source, (source, *after), complain)


def _with_delays(network: FloatNetwork, names: tuple[str, ...]) -> Iterator[Path]:
    """One path for each combination of the delays of its Delay nodes."""
    nodes, semantics = network.graph.nodes, network.semantics
    feedback = network.checked.plan.feedback
    loops = tuple(semantics.loop_delay * (edge in feedback) for edge in pairwise(names))
    source, *middle, _ = names
    choices = [list(_choices(nodes[name], network.dt_s)) for name in middle]
    for chosen in product(*choices):
        yield Path(
            source,
            tuple((name, node) for name, (node, _) in zip(middle, chosen, strict=True)),
            tuple(wait for _, wait in chosen),
            loops,
            semantics.loop_bias,
            split=any(len(each) > 1 for each in choices),
        )


def _choices(node: Any, dt_s: float) -> Iterator[tuple[Any, int]]:
    """A node with its delay, or for each delay of a Delay node the neurons that have it."""
    if not isinstance(node, nir.Delay):
        yield node, 0
        return
    waits = delay_steps(node, dt_s)
    found = np.unique(waits)
    for wait in found:
        passes = node if len(found) == 1 else nir.Scale((waits == wait).astype(np.float64))
        yield passes, int(wait)
