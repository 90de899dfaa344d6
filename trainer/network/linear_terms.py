"""The value of each linear layer of a network, as a sum of linear maps of neurons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np
from torch import nn

from spikeport.errors import InputError
from spikeport.network import Shape, SumPool2d
from spikeport.network.composition import added, compose
from spikeport.network.linear_maps import Elementwise, LinearMap
from spikeport.trainer.network.graph import Node
from spikeport.trainer.network.layers import Dropout, Map, Offset, pair, zeros
from spikeport.trainer.network.linear_form import Array, linear_map
from spikeport.trainer.network.network import SpikingNetwork
from spikeport.trainer.neurons import LI, LIF


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A linear map of what `source` sends: neurons, the input, or an average pool of them.

    Attributes:
        layers: the layers that the map is made of, in order; empty for the source itself.
    """

    source: str
    map: LinearMap
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The sum of layers that stay as they are, and of terms and a bias that were composed.

    Attributes:
        layers: their names; a name that occurs twice counts twice.
        bias: of the shape of the value.
    """

    layers: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    bias: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """The same as terms only, at most one for each source where they can be added."""

    terms: tuple[Term, ...]
    bias: Array


class LinearTerms:
    """Finds which layers can stay as they are, and composes the others.

    Attributes:
        given: the summed input of each layer.
        values: the output of each layer.
        problems: why a layer could not be composed, by its name.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        self.network = network
        self.nodes = {node.name: node for node in network.nodes}
        self.given: dict[str, Value] = {}
        self.values = {network.input.name: Value((network.input.name,))}
        self.problems: dict[str, str] = {}
        self._sums: dict[str, Sum] = {}
        self._readers, self._read = _readers(network)
        for node in network.nodes:
            self.given[node.name] = given = _added(self.values[name] for name in node.inputs)
            self.values[node.name] = self._value(node, given)

    def is_source(self, name: str) -> bool:
        """Whether a layer sends spikes or is the input, or may be taken for one: it is refused."""
        if name not in self.nodes or name in self.problems:
            return True
        return isinstance(self.nodes[name].op, LIF | LI | nn.MaxPool2d)

    def is_pool(self, name: str) -> bool:
        """Whether a layer is an average pool that stays one."""
        return not self.is_source(name) and isinstance(self.nodes[name].op, nn.AvgPool2d)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The layers that receive a layer's output, directly or in a sum."""
        return self._readers[name]

    def reads(self, name: str) -> bool:
        """Whether the scores are read from a layer, directly or in a sum."""
        return name in self._read

    def sum(self, value: Value, shape: Shape) -> Sum:
        """A value of this shape in terms of neurons.

        Raises:
            InputError: a matrix would be too large.
        """
        bias = np.zeros(shape) if value.bias is None else value.bias
        terms: list[Term] = []
        for name in value.layers:
            if self.is_source(name) or self.is_pool(name):
                own = self.network.shapes[name]
                terms.append(Term(name, Elementwise(own, own, np.ones(own))))
                continue
            if name not in self._sums:
                self._sums[name] = self._composed(self.nodes[name])
            terms += self._sums[name].terms
            bias = bias + self._sums[name].bias
        return Sum(_merged([*terms, *value.terms]), bias)

    def _value(self, node: Node, given: Value) -> Value:
        if isinstance(node.op, nn.Identity | Dropout):
            return given
        if isinstance(node.op, LIF | LI | nn.MaxPool2d) or self._stays(node, given):
            return Value((node.name,))
        try:
            made = self._composed(node)
        except InputError as problem:
            self.problems[node.name] = str(problem)
            return Value((node.name,))
        return Value((), made.terms, made.bias if made.bias.any() else None)

    def _stays(self, node: Node, given: Value) -> bool:
        """Whether a linear layer has a counterpart on the chip as it is."""
        if isinstance(node.op, Offset):
            return True
        names = given.layers
        if given.terms or given.bias is not None or len(set(names)) < len(names):
            return False
        match node.op:
            case nn.AvgPool2d():
                return all(map(self.is_source, names)) and _sums_windows(node.op)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                (name, *others) = names
                map_before = not self.is_source(name) and isinstance(self.nodes[name].op, Map)
                alone = len(self.readers(name)) + self.reads(name) == 1
                return map_before and not others and alone
            case nn.Conv1d() | nn.Conv2d() if any(a != b for a, b in zeros(node.op)):
                return False
            case nn.Conv1d() | nn.Conv2d() | nn.Linear():
                pools = [name for name in names if self.is_pool(name)]
                areas = {prod(pair(self.nodes[name].op.kernel_size)) for name in pools}  # type: ignore[arg-type]
                plain = len(pools) + sum(map(self.is_source, names)) == len(names)
                return plain and len(areas) + (len(pools) < len(names)) == 1
        return False

    def _composed(self, node: Node) -> Sum:
        shape = self.network.shapes[node.inputs[0]]
        given = self.sum(self.given[node.name], shape)
        step, bias = linear_map(node.op, shape)
        visible = () if isinstance(node.op, nn.Flatten) else (node.name,)
        terms = [
            Term(term.source, compose(term.map, step), (*term.layers, *visible))
            for term in given.terms
        ]
        return Sum(_merged(terms), step.apply(given.bias) + bias)


def _added(values: Iterable[Value]) -> Value:
    parts = list(values)
    biases = [part.bias for part in parts if part.bias is not None]
    return Value(
        tuple(name for part in parts for name in part.layers),
        tuple(term for part in parts for term in part.terms),
        sum(biases[1:], biases[0]) if biases else None,
    )


def _merged(terms: list[Term]) -> tuple[Term, ...]:
    """The terms, those of one source added up where one map holds them."""
    made: list[Term] = []
    for term in terms:
        for at, other in enumerate(made):
            both = added(other.map, term.map) if other.source == term.source else None
            if both is not None:
                names = dict.fromkeys((*other.layers, *term.layers))
                made[at] = Term(term.source, both, tuple(names))
                break
        else:
            made.append(term)
    return tuple(made)


def _readers(network: SpikingNetwork) -> tuple[dict[str, tuple[Node, ...]], tuple[str, ...]]:
    """The layers that receive each layer's output, through sums and dropouts; those of the scores.

    The scores are those of the layers named second.
    """
    ends: dict[str, tuple[str, ...]] = {network.input.name: (network.input.name,)}
    found: dict[str, list[Node]] = {name: [] for name in network.shapes}
    for node in network.nodes:
        inputs = tuple(end for name in node.inputs for end in ends[name])
        passes = isinstance(node.op, nn.Identity | Dropout)
        ends[node.name] = inputs if passes else (node.name,)
        if not passes:
            for name in inputs:
                found[name].append(node)
    return {name: tuple(nodes) for name, nodes in found.items()}, ends[network.output]


def _sums_windows(op: nn.AvgPool2d) -> bool:
    """Whether the chip has this pool, in front of weights."""
    try:
        SumPool2d(pair(op.kernel_size), pair(op.stride), pair(op.padding))
    except InputError:
        return False
    return op.divisor_override is None
