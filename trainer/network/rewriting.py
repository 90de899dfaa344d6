"""Rewrite a network as neurons and weighted connections only, as a chip needs it.

Sums and dropouts disappear, linear layers in a row become one connection, unweighted edges between
neurons become one-to-one connections, and a max-pool of spikes becomes neurons that fire if any
neuron in their window does. All this is exact, and `Deployment.rewrites` says what became of which
layers. What has no equivalent is an `Obstacle`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from spikeport.checks import NAME_RULE, is_name
from spikeport.errors import InputError, UnsupportedError
from spikeport.network import Coding, Reset, Shape
from spikeport.network.composition import became
from spikeport.network.linear_maps import (
    FLATTENED,
    REMEDIES,
    SHIFTED,
    Kernel,
    Matrix,
    as_matrix,
    features,
    flattened,
    uniform,
)
from spikeport.trainer.network.graph import Node, leading_to
from spikeport.trainer.network.layers import Dropout, Map, Offset
from spikeport.trainer.network.linear_form import Array, connection, layer, window_sums
from spikeport.trainer.network.linear_terms import LinearTerms, Sum, Term, Value
from spikeport.trainer.network.network import SpikingNetwork
from spikeport.trainer.network.obstacles import Met, Obstacle
from spikeport.trainer.neurons import LI, LIF, Activation


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """A network in which every connection has weights, and what became of which layers.

    Attributes:
        rewrites: a sentence each.
    """

    network: SpikingNetwork
    rewrites: tuple[str, ...]


def deployable(network: SpikingNetwork) -> SpikingNetwork:
    """The network of `deployment`."""
    return deployment(network).network


def deployment(network: SpikingNetwork) -> Deployment:
    """An equivalent network in which every connection has weights.

    Layers that need no rewriting are shared, not copied. Others are made from the current weights
    and, for batch norms, the running statistics.

    Raises:
        InputError: lists every obstacle with its remedy.
    """
    _check_spiking(network)
    build = _Build(network)
    if build.obstacles:
        raise UnsupportedError(_refused(len(build.obstacles)), *(f"- {o}" for o in build.obstacles))
    same = SpikingNetwork(
        network.input, build.made, network.steps, network.rule, network.provenance
    )
    return Deployment(same.train(network.training), tuple(dict.fromkeys(build.rewrites)))


def check_deployment(network: SpikingNetwork) -> tuple[str, ...]:
    """What `deployment` would rewrite; also checks what only matters when it is exported.

    Raises:
        InputError: lists every obstacle with its remedy.
    """
    if found := find_obstacles(network):
        raise UnsupportedError(_refused(len(found)), *(f"- {o}" for o in found))
    return tuple(dict.fromkeys(_Build(network).rewrites))


def find_obstacles(network: SpikingNetwork) -> tuple[Met, ...]:
    """Everything that prevents the deployment of a network."""
    if network.is_ann:
        return tuple(
            Obstacle.ACTIVATION.met(node.name, kind=type(node.op).__name__)
            for node in network.nodes
            if isinstance(node.op, Activation)
        )
    return (*_Build(network).obstacles, *_obstacles_to_export(network))


def one_to_one(source: str, target: str) -> str:
    """Name of the one-to-one connection between two layers of neurons."""
    return f"{source}_to_{target}"


def _check_spiking(network: SpikingNetwork) -> None:
    if network.is_ann:
        raise UnsupportedError(
            "network: is an ANN, which sends no spikes; convert it first: spikeport convert"
        )


def _refused(count: int) -> str:
    return f"network: cannot be deployed, {count} rule(s) broken:"


def _obstacles_to_export(network: SpikingNetwork) -> Iterator[Met]:
    neurons = [node for node in network.nodes if isinstance(node.op, LIF)]
    for node in neurons[1:]:
        for field in ("reset", "strict"):
            value, other = (getattr(each.op, field) for each in (node, neurons[0]))
            if value != other:
                facts = {"field": field, "value": value, "other": other, "first": neurons[0].name}
                yield Obstacle.NEURONS.met(node.name, **facts)
    for node in neurons:
        if node.op.v_init and node.op.reset is Reset.ZERO:
            yield Obstacle.START.met(node.name, value=node.op.v_init, reset=node.op.reset)
    if network.input.coding is Coding.BIAS:
        first = next(node for node in network.nodes if network.input.name in node.inputs)
        yield Obstacle.INPUT.met(first.name, input=network.input.name)
    for node in network.nodes:
        if not is_name(node.name):
            yield Obstacle.NAME.met(node.name, rule=NAME_RULE)


@dataclass(frozen=True, slots=True, eq=False)
class _Feed:
    """What neurons, or the scores, receive.

    Attributes:
        layers: weighted layers that stay as they are.
        rest: everything else.
        shape: of both.
    """

    layers: tuple[str, ...]
    rest: Sum
    shape: Shape


class _Build:
    """Makes the nodes of the deployable network, and collects obstacles and rewrites."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.rewrites: list[str] = []
        network = self._without_dead_ends(network)
        self.network = network
        self.linear = LinearTerms(network)
        self.obstacles: list[Met] = []
        for name, problem in self.linear.problems.items():
            self._refuse_shape(name, problem)
        self.made: list[Node] = []
        self._like = next(network.parameters(), torch.zeros(()))
        feeds = {
            node.name: self._feed(node.name, self.linear.given[node.name], node.inputs[0])
            for node in network.nodes
            if isinstance(node.op, LIF | LI)
        }
        scores = self._scores()
        kept = self._kept([*feeds.values(), scores])
        self._names = {name for name in network.shapes if self.linear.is_source(name)} | kept
        for node in network.nodes:
            self._note_repeated(node)
            if isinstance(node.op, nn.MaxPool2d):
                self._add_max_pool(node, node.op)
            elif isinstance(node.op, LIF | LI):
                self.made.append(Node(node.name, self._add_feed(node, feeds[node.name]), node.op))
            elif node.name in kept:
                self.made.append(Node(node.name, self.linear.given[node.name].layers, node.op))
        if isinstance(scores, _Feed):
            self._add_scores(scores)

    def _without_dead_ends(self, network: SpikingNetwork) -> SpikingNetwork:
        """Only the layers that lead to the scores."""
        nodes = leading_to(network.output, network.nodes)
        if len(nodes) == len(network.nodes):
            return network
        kept = {node.name for node in nodes}
        for node in reversed(network.nodes):
            if node.name not in kept and isinstance(node.op, LIF):
                self.rewrites.append(f"'{node.name}' was left out, it does not lead to the scores")
        return SpikingNetwork(network.input, nodes, network.steps, network.rule)

    def _feed(self, name: str, value: Value, like: str) -> _Feed:
        shape = self.network.shapes[like]
        stay, rest = [], []
        for each, count in Counter(value.layers).items():
            plain = not (self.linear.is_source(each) or self.linear.is_pool(each))
            if plain and count == 1 and not self._is_split(each):
                stay.append(each)
            else:
                rest += [each] * count
        return self._summed(name, replace(value, layers=tuple(rest)), tuple(stay), shape)

    def _summed(self, name: str, value: Value, layers: tuple[str, ...], shape: Shape) -> _Feed:
        """These layers, and a value in terms of neurons."""
        try:
            return _Feed(layers, self.linear.sum(value, shape), shape)
        except InputError as problem:
            self._refuse_shape(name, str(problem))
            return _Feed(layers, self.linear.sum(Value(), shape), shape)

    def _is_split(self, name: str) -> bool:
        """Whether a weighted layer feeds neurons of different gain, which scales its weights."""
        gains = {
            (type(node.op).__name__, node.op.decay)
            for node in self.linear.readers(name)
            if isinstance(node.op, LIF | LI)
        }
        if self.linear.reads(name):
            gains.add(("scores", 1.0))
        if len(gains) > 1:
            self.rewrites.append(
                f"'{name}' became a connection for each of its targets, because their decays differ"
            )
        return len(gains) > 1

    def _scores(self) -> _Feed | str:
        """The neurons or the layer that the scores are read from, or what they are made of."""
        output = self.network.output
        value = self.linear.values[output]
        match value.layers:
            case (name,) if (
                not value.terms and value.bias is None and name != self.network.input.name
            ):
                weighted = not (self.linear.is_source(name) or self.linear.is_pool(name))
                if self.linear.is_source(name) or (weighted and not self._is_split(name)):
                    return name
        return self._summed(output, value, (), self.network.shapes[output])

    def _kept(self, feeds: list[_Feed | str]) -> set[str]:
        """Linear layers that are still needed as they are."""
        waiting = [each for each in feeds if isinstance(each, str)]
        for feed in feeds:
            if isinstance(feed, _Feed):
                waiting += [*feed.layers, *(term.source for term in feed.rest.terms)]
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if not self.linear.is_source(name) and name not in found:
                found.add(name)
                waiting += self.linear.given[name].layers
        return found

    def _note_repeated(self, node: Node) -> None:
        for name, count in Counter(self.linear.given[node.name].layers).items():
            if count > 1 and not isinstance(node.op, nn.Identity | Dropout):
                self.rewrites.append(
                    f"'{node.name}' receives '{name}' {count} times, so that its weights are "
                    f"{count} times as large"
                )

    def _add_max_pool(self, node: Node, op: nn.MaxPool2d) -> None:
        given = self.linear.given[node.name]
        sources = self._sources(given)
        before = self.linear.nodes.get(sources[0])
        if len(sources) != 1 or before is None or not isinstance(before.op, LIF):
            self.obstacles.append(Obstacle.MAX_POOL.met(node.name, sources=_listed(sources)))
            return
        any_of = Node(
            self._unused(f"{node.name}_any"),
            sources,
            layer(window_sums(op, self.network.shapes[sources[0]]), None, self._like),
        )
        # Half a spike is between none and one for either comparison.
        fires = LIF(0.0, 0.5, before.op.reset, strict=before.op.strict)
        self.made += [any_of, Node(node.name, (any_of.name,), fires)]
        self.rewrites.append(
            f"'{node.name}' became neurons that fire if any neuron in their window does"
        )

    def _sources(self, value: Value) -> tuple[str, ...]:
        """The layers that a value is the sum of, as the user named them."""
        composed = [term.layers[-1] if term.layers else term.source for term in value.terms]
        return (*value.layers, *dict.fromkeys(composed))

    def _add_feed(self, node: Node, feed: _Feed) -> tuple[str, ...]:
        """Add the connections into neurons; returns the names of all that they receive."""
        bias = feed.rest.bias
        names = [*feed.layers]
        for term, made in self._connections(node.name, feed):
            rows = _rows(made, bias) if bias.any() else None
            if rows is not None:
                bias = np.zeros(feed.shape)
            names.append(self._add_connection(node.name, term, made, rows))
        if bias.any():
            names.append(self._add_offset(node, bias, (*names, *node.inputs)[0]))
        return tuple(names)

    def _connections(self, target: str, feed: _Feed) -> Iterator[tuple[Term, Kernel | Matrix]]:
        """The terms of what neurons receive, all in the same shape.

        Flattening between convolutions and their neurons is moved behind these, if nothing else
        reaches them.
        """
        shape, terms = feed.shape, feed.rest.terms
        found = {features(term.map) for term in terms} | ({None} if feed.layers else set())
        if len(shape) == 1 and len(found) == 1 and (maps := found.pop()) is not None:
            shape, terms = maps, tuple(replace(t, map=flattened(t.map, maps)) for t in terms)
        for term in terms:
            try:
                made = connection(term.map)
                if isinstance(made, Kernel) and made.unflattened != shape:
                    made = as_matrix(made, FLATTENED)
            except InputError as problem:
                self._refuse_shape(target, str(problem))
                continue
            if isinstance(made, Matrix) and len(shape) > 1:
                self._refuse_shape(term.layers[-1], f"{made.reason}; {REMEDIES[made.reason]}")
                continue
            yield term, made

    def _add_connection(
        self, target: str, term: Term, made: Kernel | Matrix, rows: Array | None
    ) -> str:
        """Add one connection, with a bias for each row of its weights; returns its name."""
        weighted = [n for n in term.layers if isinstance(self.linear.nodes[n].op, Map)]
        joined = one_to_one(term.source, target)
        name = self._unused(*(weighted or term.layers[-1:])[:1], "_".join(term.layers), joined)
        op = layer(made, rows, self._like)
        parts = [part for n in weighted for part in self.linear.nodes[n].op.parameters()]
        trained = bool(parts) and all(part.requires_grad for part in parts)
        op.requires_grad_(trained)
        self.made.append(Node(name, (term.source,), op))
        if not term.layers:
            neurons = "the scores" if target == self.network.output else f"'{target}'"
            self.rewrites.append(f"'{term.source}' reaches {neurons} by one-to-one connections")
        elif len(term.layers) > 1 or not _same(self.linear.nodes[term.layers[0]].op, made):
            self.rewrites.append(became(term.layers, made))
        return name

    def _add_offset(self, node: Node, bias: Array, source: str) -> str:
        """Add a bias that no weighted layer can have; returns its name."""
        if not (isinstance(node.op, LIF | LI) and node.op.decay < 1):
            self.obstacles.append(Obstacle.BORDER.met(node.name))
        name = self._unused(f"{node.name}_bias")
        self.made.append(Node(name, (source,), Offset(torch.tensor(bias).to(self._like))))
        self.rewrites.append(
            f"the bias of '{node.name}' differs between the positions of a channel, because a "
            "shift meets padding"
        )
        return name

    def _add_scores(self, feed: _Feed) -> None:
        """Add the layer that the scores are read from."""
        output = self.network.output
        if (count := len(feed.rest.terms)) != 1:
            self.obstacles.append(Obstacle.SCORES.met(output, count=count))
            return
        (term,) = feed.rest.terms
        bias = feed.rest.bias
        try:
            made = connection(term.map)
            if _rows(made, bias) is None:
                made = as_matrix(made, SHIFTED)
        except InputError as problem:
            self._refuse_shape(output, str(problem))
            return
        rows = _rows(made, bias) if bias.any() else None
        self._add_connection(output, term, made, rows)

    def _refuse_shape(self, name: str, problem: str) -> None:
        reason, _, fix = problem.rpartition("; ")
        self.obstacles.append(Obstacle.SHAPE.met(name, reason=reason, remedy=fix))

    def _unused(self, *names: str) -> str:
        """The first name that is not taken yet."""
        name = next((n for n in names if n and n not in self._names), names[-1])
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _rows(made: Kernel | Matrix, bias: Array) -> Array | None:
    """A bias of neurons as one for each row of the weights; None if there is none."""
    return bias.reshape(-1) if isinstance(made, Matrix) else uniform(bias.reshape(made.unflattened))


def _same(op: nn.Module, made: Kernel | Matrix) -> bool:
    """Whether the weights of a layer are those of a connection in number and geometry."""
    return isinstance(op, Map) and tuple(op.weight.shape) == made.weight.shape


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)
