"""The order in which populations can be run over many steps at once."""

from __future__ import annotations

from spikeport.network import DeployedNetwork

Component = tuple[str, ...]
"""Populations on common cycles, in evaluation order; a single one if it is on none."""


def components(network: DeployedNetwork) -> list[tuple[Component, bool]]:
    """Strongly connected components, sources first, and whether each is recurrent.

    Delays make no difference to connections: a component needs nothing from later components.
    """
    targets: dict[str, set[str]] = {name: set() for name in network.order}
    for c in network.weighted_connections:
        if c.source in targets:
            targets[c.source].add(c.target)
    reached = {name: _reachable(targets, name) for name in targets}
    waiting = list(network.order)
    found: list[tuple[Component, bool]] = []
    while waiting:
        first = next(
            name
            for name in waiting
            if all(other in reached[name] for other in waiting if name in reached[other])
        )
        members = tuple(
            name
            for name in waiting
            if name == first or (name in reached[first] and first in reached[name])
        )
        found.append((members, first in reached[first]))
        waiting = [name for name in waiting if name not in members]
    return found


def _reachable(targets: dict[str, set[str]], start: str) -> set[str]:
    """Populations that can be reached by a path of at least one connection."""
    seen: set[str] = set()
    open_ends = [start]
    while open_ends:
        for name in targets[open_ends.pop()] - seen:
            seen.add(name)
            open_ends.append(name)
    return seen
