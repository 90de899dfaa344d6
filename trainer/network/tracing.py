"""`from_module`: convert a torch module to a `SpikingNetwork`."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from spikeport.errors import ModuleReadingError
from spikeport.network import Input, Shape
from spikeport.trainer.network.foreign import describe, owner
from spikeport.trainer.network.graph import Node, leading_to
from spikeport.trainer.network.layers import Channels, output_shape, unsupported
from spikeport.trainer.network.network import SpikingNetwork
from spikeport.trainer.neurons import LI, LIF
from spikeport.trainer.rules import GradientRule

_SUMS = (operator.add, operator.iadd, torch.add)
_PARTS = (torch.chunk, torch.split, "chunk", "split")
_SIZES = (getattr, operator.getitem, "size")
"""Operations on shapes, which are only used for flattening."""
_FLATTEN = (torch.flatten, "flatten")
_RESHAPE = ("view", "reshape")
_ADAPTIVE = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d)
_MEAN = (torch.mean, "mean")
_POOLS = {
    functional.avg_pool1d: nn.AvgPool1d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.max_pool2d: nn.MaxPool2d,
}
_KNOWN = {*_SUMS, *_PARTS, *_SIZES, *_FLATTEN, *_RESHAPE, *_ADAPTIVE, *_MEAN, *_POOLS}
"""Functions and methods that a network may consist of, as `_Build.add_call` reads them."""


def from_module(
    module: nn.Module, input: Input, steps: int, rule: GradientRule = GradientRule.RATE_M
) -> SpikingNetwork:
    """Build a network from the module's layers, which are shared, so an optimizer remains valid.

    The module is written for one step, like any torch network: it maps x (B, *input.shape) to
    scores (B, N), with `LIF` in place of an activation function; called directly, it runs one step.
    It may contain convolutions along one or two axes, linear layers, average, adaptive average
    (windows of one size) and max-pools, batch norms, dropouts, `LIF`, a final `LI`, sums,
    flattening and channels (slices, `chunk` and `split`); pools and flattening also as functions.
    Layers keep their names, with `_` for `.`.

    Raises:
        InputError: the module cannot be traced, or contains something a spiking network cannot; the
            message names the layer, and for one of another framework the function that takes it.
    """
    title = f"module {type(module).__name__}"
    graph = _traced(module, title)
    if len(refused := tuple(_refused(module, graph))) > 1:
        listed = (f"- layer '{name}': {problem}" for name, _, problem in refused)
        raise ModuleReadingError(f"{title}: {len(refused)} layers are not supported:", *listed)
    build = _Build(module, input)
    for node in graph.nodes:
        _place_input(node)
        match node.op:
            case "placeholder" if build.value_of:
                raise ModuleReadingError(
                    f"{title}: has a second argument '{node.target}', must have one"
                )
            case "placeholder":
                build.value_of[node] = input.name
            case "call_module":
                build.add_module(node, module.get_submodule(str(node.target)))
            case "call_function" | "call_method":
                build.add_call(node)
            case "get_attr":
                raise ModuleReadingError(f"layer '{node.name}': only layers may own tensors")
            case _:
                (output,) = node.args
                if output not in build.value_of:
                    raise ModuleReadingError(f"{title}: must return one tensor, returns {output}")
                nodes = leading_to(build.value_of[output], build.nodes)
    return SpikingNetwork(input, nodes, steps, rule).train(module.training)


def refused_layers(module: nn.Module) -> tuple[tuple[str, str, str], ...]:
    """Layers and functions that `from_module` refuses for what they are: name, kind and reason.

    Raises:
        InputError: the module cannot be traced, or has layers of another framework.
    """
    graph = _traced(module, f"module {type(module).__name__}")
    return tuple(_refused(module, graph))


def _traced(module: nn.Module, title: str) -> fx.Graph:
    for name, layer in module.named_modules():
        if owner(layer) is not None:
            raise ModuleReadingError(describe(name, layer))
    try:
        return _Tracer().trace(module)
    except (Exception, SystemExit) as error:  # the module's own code may raise anything
        raise ModuleReadingError(
            f"{title}: cannot be traced, its forward must not depend on the values or sizes of "
            f"its input: {error}"
        ) from error


def _refused(module: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str, str]]:
    for node in graph.nodes:
        if node.op == "call_module":
            layer = module.get_submodule(str(node.target))
            replaced = isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d)
            if not replaced and (problem := unsupported(layer)):
                yield node.name, type(layer).__name__, problem
        elif node.op in ("call_function", "call_method") and node.target not in _KNOWN:
            yield node.name, _called(node), _unknown(node)


def _called(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _unknown(node: fx.Node) -> str:
    return (
        f"{_called(node)} is not supported in spiking networks; use a layer of torch.nn, or LIF "
        "for an activation"
    )


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
        self.flat: set[Any] = set()
        """Values that are flattened for the module, but not by a layer of the network."""
        self.parts: dict[Any, tuple[slice, ...]] = {}
        """Values split into channels: those of each part."""

    def add_module(self, node: fx.Node, op: nn.Module) -> None:
        """Add a call of one of the module's layers."""
        match op:
            case nn.Flatten():
                self._flatten(node, (op.start_dim, op.end_dim) == (1, -1))
            case nn.AdaptiveAvgPool1d() | nn.AdaptiveAvgPool2d():
                self._average(node, op.output_size)
            case _:
                self._add(node, op, node.args)

    def add_call(self, node: fx.Node) -> None:
        """Add an operation that is not a layer."""
        target: Any = node.target
        options: tuple[Any, ...] = node.args[1:]
        named: dict[str, Any] = node.kwargs
        rest = (*options, *named.values())
        if target is operator.getitem and node.args[0] in self.value_of:
            self._select(node, node.args[0], options[0])
        elif target is operator.getitem and node.args[0] in self.parts:
            whole: Any = node.args[0]
            parts, place = self.parts[whole], options[0]
            if not isinstance(place, int) or not -len(parts) <= place < len(parts):
                raise ModuleReadingError(f"layer '{node.name}': takes part {place} of {len(parts)}")
            self._add_channels(node, whole.args[0], parts[place])
        elif target in _SIZES:
            return
        elif target in _PARTS:
            self._split(node, target in (torch.chunk, "chunk"), options, named)
        elif target in _SUMS and not named:
            self._add(node, nn.Identity(), node.args)
        elif target in _FLATTEN:
            self._flatten(node, rest in ((1,), (1, -1)))
        elif target in _RESHAPE:
            size = math.prod(self.shapes.get(self._source(node), ()))
            self._flatten(node, len(rest) == 2 and rest[1] in (-1, size))
        elif target in _ADAPTIVE:
            self._average(node, rest[0])
        elif target in _MEAN:
            self._mean(node, rest[0] if rest else ())
            if True not in rest[1:]:  # keepdim
                self.flat.add(node)
        elif target in _POOLS:
            self._add(node, _POOLS[target](*options, **named), node.args[:1])
        else:
            raise ModuleReadingError(f"layer '{node.name}': {_unknown(node)}")

    def _add(self, node: fx.Node, op: Any, arguments: tuple[Any, ...]) -> None:
        sources = tuple(self.value_of.get(value, "") for value in arguments)
        if "" in sources:
            raise ModuleReadingError(
                f"layer '{node.name}': takes {arguments}, must take outputs of layers"
            )
        if problem := unsupported(op):
            raise ModuleReadingError(f"layer '{node.name}': {problem}")
        differ = len({self.shapes[source] for source in sources}) > 1
        if differ or isinstance(op, nn.BatchNorm1d | Channels):
            sources = tuple(
                self._flattened(source) if value in self.flat else source
                for value, source in zip(arguments, sources, strict=True)
            )
        elif self.flat.intersection(arguments):
            self.flat.add(node)
        self.shapes[node.name] = output_shape(node.name, op, self.shapes[sources[0]])
        self.nodes.append(Node(node.name, sources, op))
        self.value_of[node] = node.name

    def _flatten(self, node: fx.Node, whole: bool) -> None:
        """Add no node: linear layers flatten their input, and most others act on each neuron."""
        if not whole:
            raise ModuleReadingError(f"layer '{node.name}': must flatten all but the batch axis")
        self.value_of[node] = self._source(node)
        self.flat.add(node)

    def _flattened(self, source: str) -> str:
        """The layer that flattens `source`, for layers that act on its features."""
        name = f"{source}_flat"
        if len(self.shapes[source]) == 1:
            return source
        if name not in self.shapes:
            self.shapes[name] = (math.prod(self.shapes[source]),)
            self.nodes.append(Node(name, (source,), nn.Flatten()))
        return name

    def _select(self, node: fx.Node, value: Any, index: Any) -> None:
        """Add x[:, a:b:c]."""
        every = slice(None)
        first, *rest = index if isinstance(index, tuple) else (index, every)
        chosen, *others = rest or (every,)
        if any(each not in (every, ...) for each in (first, *others)) or not _forward(chosen):
            raise ModuleReadingError(
                f"layer '{node.name}': must take a slice of the channels, as in x[:, a:b]"
            )
        self._add_channels(node, value, chosen)

    def _split(self, node: fx.Node, even: bool, options: Any, named: Mapping[str, Any]) -> None:
        """Store the parts of `chunk` and `split`, which `getitem` adds."""
        given = dict(zip(("size", "dim"), options, strict=False)) | {
            ("dim" if key == "dim" else "size"): value for key, value in named.items()
        }
        source, size = self._source(node), given.get("size")
        if given.get("dim", 0) != 1 or source not in self.shapes:
            raise ModuleReadingError(f"layer '{node.name}': must split the channels, dim=1")
        count = self._channels(node.args[0])
        if even and isinstance(size, int):
            size = -(-count // size)
        sizes = [size] * -(-count // size) if isinstance(size, int) else list(size or ())
        ends = list(accumulate(sizes))
        self.parts[node] = tuple(
            slice(end - width, min(end, count)) for end, width in zip(ends, sizes, strict=True)
        )

    def _add_channels(self, node: fx.Node, value: Any, chosen: slice) -> None:
        count = self._channels(value)
        start, stop, step = chosen.indices(count)
        if not range(start, stop, step):
            raise ModuleReadingError(f"layer '{node.name}': takes none of {count} channels")
        self._add(node, Channels(start, stop, step), (value,))

    def _mean(self, node: fx.Node, axes: Any) -> None:
        """Add a mean over all positions."""
        shape = self.shapes.get(self._source(node), ())
        given = axes if isinstance(axes, tuple | list) else (axes,)
        positions = set(range(2, len(shape) + 1))
        if not positions or {axis % (len(shape) + 1) for axis in given} != positions:
            raise ModuleReadingError(
                f"layer '{node.name}': must average all positions of (C, H, W) or (C, L), "
                f"received {shape} and axes {axes}"
            )
        self._average(node, 1)

    def _average(self, node: fx.Node, size: Any) -> None:
        """Add an adaptive pool, if all its windows are of the same size."""
        shape = self.shapes.get(self._source(node), ())
        axes = len(shape) - 1
        wanted = (size,) * axes if isinstance(size, int) else tuple(size)
        windows = [n // k for n, k in zip(shape[1:], wanted, strict=False) if k and n % k == 0]
        if axes not in (1, 2) or len(windows) != axes or len(wanted) != axes:
            raise ModuleReadingError(
                f"layer '{node.name}': must average windows of one size, received {shape} for "
                f"{size} positions"
            )
        pool = nn.AvgPool1d(windows[0]) if axes == 1 else nn.AvgPool2d((windows[0], windows[1]))
        self._add(node, pool, node.args[:1])

    def _channels(self, value: Any) -> int:
        shape = self.shapes[self.value_of[value]]
        return math.prod(shape) if value in self.flat else shape[0]

    def _source(self, node: fx.Node) -> str:
        return self.value_of.get(node.args[0], "")


def _place_input(node: fx.Node) -> None:
    """Turn an input that is given by name, as in conv(input=x), into the first argument."""
    if node.op in ("call_module", "call_function") and not node.args and node.kwargs:
        named = dict(node.kwargs)
        given = named.pop("input" if "input" in named else next(iter(named)))
        node.args, node.kwargs = (given,), named


def _forward(chosen: Any) -> bool:
    """Whether an index is a slice of whole numbers that does not go backwards."""
    if not isinstance(chosen, slice):
        return False
    parts = (chosen.start, chosen.stop, chosen.step)
    return all(part is None or type(part) is int for part in parts) and (chosen.step or 1) > 0
