"""The graph of a spiking network: its nodes, the rules for them, and graph traversal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from spikeport.errors import ModuleReadingError
from spikeport.network import Input, Shape
from spikeport.trainer.network.layers import Op, output_shape, unsupported
from spikeport.trainer.neurons import LI, LIF, Activation


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One layer; its input is the sum of the outputs of `inputs`."""

    name: str
    inputs: tuple[str, ...]
    op: Op


def walk(
    nodes: Iterable[Node],
    values: Mapping[str, Tensor],
    apply: Callable[[Node, Tensor], Tensor],
    wanted: Iterable[str],
) -> dict[str, Tensor]:
    """Run `nodes` on known `values` with `apply(node, summed input)`.

    Returns the values of `wanted`; others are freed after their last use.
    """
    nodes, known, wanted = tuple(nodes), dict(values), set(wanted)
    last_use = {name: place for place, node in enumerate(nodes) for name in node.inputs}
    for place, node in enumerate(nodes):
        total = known[node.inputs[0]]
        for name in node.inputs[1:]:
            total = total + known[name]
        for name in set(node.inputs):
            if last_use[name] == place and name not in wanted:
                del known[name]
        known[node.name] = apply(node, total)
    return {name: known[name] for name in wanted}


def leading_to(output: str, nodes: Sequence[Node]) -> list[Node]:
    """The nodes that the one named `output` needs, and itself, in their order."""
    needed = {output}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return [node for node in nodes if node.name in needed]


def check_nodes(input: Input, nodes: Sequence[Node], steps: int) -> dict[str, Shape]:
    """Check a graph and return the shapes of all outputs; a broken rule is one clear error."""
    if steps < 1:
        raise ModuleReadingError(f"network: steps (T) is {steps}, must be at least 1")
    if not nodes:
        raise ModuleReadingError("network: has no layers, needs at least one")
    shapes = {input.name: input.shape}
    taken = nn.ModuleDict()
    for place, node in enumerate(nodes):
        subject = f"layer '{node.name}'"
        if node.name in shapes:
            raise ModuleReadingError(f"{subject}: the name is used twice, names must be unique")
        if not (node.name.isascii() and node.name.isidentifier()):
            raise ModuleReadingError(f"{subject}: the name must be letters, digits and '_'")
        if hasattr(taken, node.name):
            raise ModuleReadingError(
                f"{subject}: the name is reserved by torch.nn.ModuleDict, use another"
            )
        if not node.inputs:
            raise ModuleReadingError(f"{subject}: has no inputs, needs at least one")
        for name in node.inputs:
            if name not in shapes:
                raise ModuleReadingError(f"{subject}: input '{name}' is not an earlier layer")
        if problem := unsupported(node.op):
            raise ModuleReadingError(f"{subject}: {problem}")
        given = {name: shapes[name] for name in node.inputs}
        if len(set(given.values())) > 1:
            raise ModuleReadingError(
                f"{subject}: its inputs differ in shape and cannot be summed: {given}"
            )
        shapes[node.name] = output_shape(node.name, node.op, shapes[node.inputs[0]])
        if isinstance(node.op, LI) and place < len(nodes) - 1:
            raise ModuleReadingError(f"{subject}: LI never spikes, it can only be the last layer")
    _check_ann(nodes, steps)
    return shapes


def _check_ann(nodes: Sequence[Node], steps: int) -> None:
    """A network with activations is an ANN: it has no neurons, and one step."""
    active = next((node for node in nodes if isinstance(node.op, Activation)), None)
    if active is None:
        return
    subject = f"layer '{active.name}': is a {type(active.op).__name__}"
    if spiking := next((node for node in nodes if isinstance(node.op, LIF | LI)), None):
        raise ModuleReadingError(
            f"{subject}, but '{spiking.name}' is {type(spiking.op).__name__}: use LIF for every "
            "activation, or train an ANN and convert it"
        )
    if steps != 1:
        raise ModuleReadingError(
            f"{subject}, and steps (T) is {steps}: an ANN has 1; T is chosen when it is converted"
        )


def stateless_nodes(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Nodes without neurons before them: a constant input gives them constant outputs."""
    moving: set[str] = set()
    for node in nodes:
        if isinstance(node.op, LIF | LI) or moving & set(node.inputs):
            moving.add(node.name)
    return tuple(node for node in nodes if node.name not in moving)


def shifted_nodes(nodes: Sequence[Node]) -> frozenset[str]:
    """Names of layers that receive outputs of batch norms, with no neurons between.

    If each step has statistics of its own, the mean of such outputs is not the output for the mean.
    """
    found: set[str] = set()
    norms: set[str] = set()
    for node in nodes:
        if isinstance(node.op, LIF | LI):
            continue
        if (norms | found) & set(node.inputs):
            found.add(node.name)
        if isinstance(node.op, nn.BatchNorm1d | nn.BatchNorm2d):
            norms.add(node.name)
    return frozenset(found)
