"""`from_module`: convert a torch module to a `SpikingNetwork`."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Input, Shape
from spikeport.trainer.network.foreign import describe, owner
from spikeport.trainer.network.graph import Node
from spikeport.trainer.network.layers import output_shape, unsupported
from spikeport.trainer.network.network import SpikingNetwork
from spikeport.trainer.neurons import LI, LIF
from spikeport.trainer.rules import GradientRule

_SUMS = (operator.add, operator.iadd, torch.add)
_SIZES = (getattr, operator.getitem, "size")
"""Operations on shapes, which are only used for flattening."""


def from_module(
    module: nn.Module, input: Input, steps: int, rule: GradientRule = GradientRule.RATE_M
) -> SpikingNetwork:
    """Build a network from the module's layers, which are shared, so an optimizer remains valid.

    The module is written for one step, like any torch network: it maps x (B, *input.shape) to
    scores (B, N), with `LIF` in place of an activation function; called directly, it runs one step.
    It may contain convolutions along one or two axes, linear layers, average, adaptive average (to
    one position) and max-pools, batch norms, dropouts, `LIF`, a final `LI`, sums and flattening;
    pools and flattening also as functions. Layers keep their names, with `_` for `.`.

    Raises:
        InputError: the module cannot be traced, or contains something a spiking network cannot; the
            message names the layer, and for one of another framework the function that takes it.
    """
    title = f"module {type(module).__name__}"
    for name, layer in module.named_modules():
        if owner(layer) is not None:
            raise InputError(describe(name, layer))
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # the module's own code may raise anything
        raise InputError(
            f"{title}: cannot be traced, its forward must not depend on the values or sizes of "
            f"its input: {error}"
        ) from error
    build = _Build(module, input)
    for node in graph.nodes:
        match node.op:
            case "placeholder" if build.value_of:
                raise InputError(f"{title}: has a second argument '{node.target}', must have one")
            case "placeholder":
                build.value_of[node] = input.name
            case "call_module":
                build.add_module(node, module.get_submodule(str(node.target)))
            case "call_function" | "call_method":
                build.add_call(node)
            case "get_attr":
                raise InputError(f"layer '{node.name}': only layers may own tensors")
            case _:
                (output,) = node.args
                if output not in build.value_of:
                    raise InputError(f"{title}: must return one tensor, returns {output}")
                nodes = _leading_to(build.value_of[output], build.nodes)
    return SpikingNetwork(input, nodes, steps, rule).train(module.training)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LIF | LI) or super().is_leaf_module(m, module_qualified_name)


class _Build:
    """Builds the network; `value_of` maps a traced value to the layer that computes it."""

    def __init__(self, module: nn.Module, input: Input) -> None:
        self.module = module
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {input.name: input.shape}
        self.value_of: dict[Any, str] = {}

    def add_module(self, node: fx.Node, op: nn.Module) -> None:
        """Add a call of one of the module's layers."""
        match op:
            case nn.Flatten():
                self._flatten(node, (op.start_dim, op.end_dim) == (1, -1))
            case nn.AdaptiveAvgPool2d():
                self._average_all(node, op.output_size)
            case _:
                self._add(node, op, node.args)

    def add_call(self, node: fx.Node) -> None:
        """Add an operation that is not a layer."""
        target: Any = node.target
        options: tuple[Any, ...] = node.args[1:]
        named: dict[str, Any] = node.kwargs
        rest = (*options, *named.values())
        if target in _SIZES:
            return
        if target in _SUMS and not named:
            self._add(node, nn.Identity(), node.args)
        elif target in (torch.flatten, "flatten"):
            self._flatten(node, rest in ((1,), (1, -1)))
        elif target in ("view", "reshape"):
            size = math.prod(self.shapes.get(self._source(node), ()))
            self._flatten(node, len(rest) == 2 and rest[1] in (-1, size))
        elif target is functional.adaptive_avg_pool2d:
            self._average_all(node, rest[0])
        elif target in (torch.mean, "mean"):
            axes = rest[0] if rest and isinstance(rest[0], tuple | list) else ()
            self._average_all(node, 1 if {axis % 4 for axis in axes} == {2, 3} else axes)
        elif target is functional.avg_pool2d:
            self._add(node, nn.AvgPool2d(*options, **named), node.args[:1])
        elif target is functional.max_pool2d:
            self._add(node, nn.MaxPool2d(*options, **named), node.args[:1])
        else:
            raise InputError(
                f"layer '{node.name}': {getattr(target, '__name__', target)} is not supported in "
                "spiking networks; use a layer of torch.nn, or LIF for an activation"
            )

    def _add(self, node: fx.Node, op: Any, arguments: tuple[Any, ...]) -> None:
        sources = tuple(self.value_of.get(value, "") for value in arguments)
        if "" in sources:
            raise InputError(f"layer '{node.name}': takes {arguments}, must take outputs of layers")
        if problem := unsupported(op):
            raise InputError(f"layer '{node.name}': {problem}")
        self.shapes[node.name] = output_shape(node.name, op, self.shapes[sources[0]])
        self.nodes.append(Node(node.name, sources, op))
        self.value_of[node] = node.name

    def _flatten(self, node: fx.Node, whole: bool) -> None:
        """Add no node: linear layers flatten their input, other layers ignore flattening."""
        if not whole:
            raise InputError(f"layer '{node.name}': must flatten all but the batch axis")
        self.value_of[node] = self._source(node)

    def _average_all(self, node: fx.Node, size: Any) -> None:
        shape = self.shapes.get(self._source(node), ())
        if size not in (1, (1, 1)) or len(shape) != 3:
            raise InputError(
                f"layer '{node.name}': must average (C, H, W) to one position, "
                f"received {shape} and {size}"
            )
        self._add(node, nn.AvgPool2d(shape[1:]), node.args[:1])

    def _source(self, node: fx.Node) -> str:
        return self.value_of.get(node.args[0], "")


def _leading_to(output: str, nodes: list[Node]) -> list[Node]:
    """The nodes that `output` needs, `output` last."""
    needed = {output}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return [node for node in nodes if node.name in needed]
