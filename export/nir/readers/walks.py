"""The orders in which readers run the nodes of a graph, and the edges that then deliver late."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from spikeport.export.nir.graph import CheckedGraph, Edge


def depth_first(edges: Iterable[Edge], root: str) -> tuple[str, ...]:
    """The order of nirtorch's `GraphExecutor`: depth first along the edges as a file has them.

    nirtorch 2.6: graph_utils.py `trace_execution`; each node runs before all that it reaches first,
    even if another of its sources has not run yet.
    """
    follow: dict[str, list[str]] = {}
    for source, target in edges:
        follow.setdefault(source, []).append(target)
    order: dict[str, None] = {}
    stack = [root]
    while stack:
        name = stack.pop()
        if name not in order:
            order[name] = None
            stack += reversed(follow.get(name, []))
    return tuple(order)


def late_edges(order: Sequence[str], edges: Iterable[Edge]) -> frozenset[Edge]:
    """The edges whose source runs after their target, or at the same time."""
    place = {name: index for index, name in enumerate(order)}
    last = len(place)
    return frozenset((a, b) for a, b in edges if place.get(a, last) >= place.get(b, last))


def depth_first_edges(checked: CheckedGraph) -> tuple[Edge, ...]:
    """Edges in an order for `depth_first`: those back first, then in order of computation.

    A path that only leads back is walked before the one to the Output, because a reader returns
    what the last node of its walk sends.
    """
    plan = checked.plan
    place = {name: index for index, name in enumerate(plan.order)}
    ends = _reach_an_output(checked)
    forward = [edge for edge in checked.graph.edges if edge not in plan.feedback]
    backward = sorted(plan.feedback)
    key = [(b in ends, place[b], a, b) for a, b in forward]
    return (*backward, *((a, b) for _, _, a, b in sorted(key)))


def _reach_an_output(checked: CheckedGraph) -> frozenset[str]:
    """The nodes with a path to an Output that no step of a loop is part of."""
    into: dict[str, list[str]] = {}
    for source, target in checked.graph.edges:
        if (source, target) not in checked.plan.feedback:
            into.setdefault(target, []).append(source)
    found = set(checked.graph.outputs)
    waiting = list(found)
    while waiting:
        more = set(into.get(waiting.pop(), ())) - found
        found |= more
        waiting += more
    return frozenset(found)


def first_come(kinds: Mapping[str, str], edges: Collection[Edge]) -> frozenset[Edge] | None:
    """The late edges of nirtorch's `nir_to_torch`; None if it never ends.

    nirtorch 2.6: nir_interpreter.py `_construct_fx_graph`. Nodes come in order of name, as HDF5 has
    them, and wait until their sources are there; a node with several sources does not wait for one
    that it reaches itself.

    Args:
        kinds: the type of each node.
    """
    queue = deque(sorted(kinds))
    sources: dict[str, list[str]] = {name: [] for name in kinds}
    for source, target in edges:
        sources[target].append(source)
    reach = _reachable(kinds, edges)
    done: set[str] = set()
    late: set[Edge] = set()
    for _ in range(len(queue) ** 2 + len(queue) + 1):
        if not queue:
            return frozenset(late)
        name = queue.popleft()
        waits = not done and kinds[name] != "Input"
        waits |= kinds[name] == "Output" and bool(queue)
        missing = [source for source in sources[name] if source not in done]
        loops = len(sources[name]) > 1 and kinds[name] != "Output"
        if waits or any(not (loops and source in reach[name]) for source in missing):
            queue.append(name)
            continue
        late |= {(source, name) for source in missing}
        done.add(name)
    return None


def _reachable(names: Iterable[str], edges: Iterable[Edge]) -> dict[str, set[str]]:
    follow: dict[str, set[str]] = {name: set() for name in names}
    for source, target in edges:
        follow[source].add(target)
    found = {}
    for name in follow:
        seen: set[str] = set()
        waiting = [*follow[name], name]
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                waiting += follow[one]
        found[name] = seen
    return found
