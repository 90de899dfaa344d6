"""The layers of a traced module as the nodes of a network, one by one."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from spikeport.errors import ModuleReadingError
from spikeport.network import Input, Shape
from spikeport.trainer.network.graph import Node
from spikeport.trainer.network.layers import Channels, output_shape, unsupported

_SUMS = (operator.add, operator.iadd, torch.add, "add")
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
KNOWN = {*_SUMS, *_PARTS, *_SIZES, *_FLATTEN, *_RESHAPE, *_ADAPTIVE, *_MEAN, *_POOLS}
"""Functions and methods that a network may consist of, as `Build.add_call` reads them."""

OWN_TENSOR = "only layers may own tensors; use a layer of torch.nn"


def called(node: fx.Node) -> str:
    """Name of the function or method that a node calls."""
    return str(getattr(node.target, "__name__", node.target))


def unknown(node: fx.Node) -> str:
    """Why a spiking network cannot contain a function or method."""
    return (
        f"{called(node)} is not supported in spiking networks; use a layer of torch.nn, or LIF "
        "for an activation"
    )


class Build:
    """Builds the network; `value_of` maps a traced value to the layer that computes it."""

    def __init__(self, module: nn.Module, input: Input) -> None:
        self.module = module
        self.input = input.name
        self.device = next(module.parameters(), torch.empty(0)).device
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
            raise ModuleReadingError(f"layer '{node.name}': {unknown(node)}")

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


def _forward(chosen: Any) -> bool:
    """Whether an index is a slice of whole numbers that does not go backwards."""
    if not isinstance(chosen, slice):
        return False
    parts = (chosen.start, chosen.stop, chosen.step)
    return all(part is None or type(part) is int for part in parts) and (chosen.step or 1) > 0
