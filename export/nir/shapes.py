"""Output shapes of NIR nodes.

They are not computed by nir, whose version 1.0.8 is wrong for grouped convolutions and for kernels
that are not square. No shape includes a batch axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import nir
import numpy as np

from spikeport.errors import GraphError
from spikeport.export.nir.fields import NODE_TYPES, Shape, kind, label, node_values
from spikeport.network.geometry import window_count

fail = GraphError.fail


def output_shape(name: str, node: Any, given: Shape | None) -> Shape:
    """Output shape of `node`, not an Input, for an input of shape `given` (None: unknown)."""
    subject = label(name, node)
    match node:
        case nir.Output():
            return _output(subject, node, given or ())
        case nir.Affine() | nir.Linear():
            weight = np.asarray(node.weight)
            expected = (*weight.shape[:-2], weight.shape[-1])
            made = weight.shape[:-1]
            _meet(subject, expected, given)
            if isinstance(node, nir.Affine) and np.shape(node.bias) != made:
                fail(f"{subject}: bias has shape {np.shape(node.bias)}, must be {made}")
            return made
        case nir.Conv1d() | nir.Conv2d():
            return _conv(subject, node, given)
        case nir.SumPool2d() | nir.AvgPool2d():
            kernel, stride, padding = (
                [int(n) for n in side] for side in (node.kernel_size, node.stride, node.padding)
            )
            return _windows(subject, given, given and given[0], kernel, stride, padding, (1, 1))
        case nir.Flatten():
            return _flatten(subject, node, given or ())
        case _:
            own = _elementwise_shape(subject, node)
            if given is None or not shared(own, given):
                _meet(subject, own, given)
            return given or own


def parameter_shape(node: Any) -> Shape:
    """The shape of the parameters of a node that keeps the shape of its input."""
    return np.shape(next(iter(node_values(node).values())))


def shared(own: Shape, layer: Shape) -> bool:
    """Whether neurons of a layer share parameters: scalars, (1,), or (C, 1, 1) for (C, H, W)."""
    fitting = len(own) == len(layer) and all(
        mine in (1, size) for mine, size in zip(own, layer, strict=True)
    )
    return own != layer and (fitting or own in ((), (1,)))


def input_shape(name: str, node: nir.Input, targets: Iterable[Any]) -> Shape:
    """Shape declared by an Input.

    Leading axes of size one that `targets`, the nodes after it, do not have are leftover batch and
    time axes.
    """
    subject = label(name, node)
    if (value := node.input_type["input"]) is None:
        fail(f"{subject}: declares no shape")
    shape = tuple(int(n) for n in value)
    most = max((axes for target in targets if (axes := _axes(target))), default=3)
    while len(shape) > most and shape[0] == 1:
        shape = shape[1:]
    if most < len(shape):
        fail(
            f"{subject}: shape {shape} has {len(shape)} axes, the nodes after it take {most}; a "
            "NIR shape has no batch and no time axis, write it without them"
        )
    if len(shape) not in (1, 2, 3):
        fail(f"{subject}: shape {tuple(value)} must be (N,), (C, L) or (C, H, W)")
    return shape


def conv_sides(node: nir.Conv1d | nir.Conv2d, field: str) -> tuple[int, ...]:
    """`stride`, `dilation` or numeric `padding` of a convolution along each of its axes."""
    axes = np.ndim(node.weight) - 2
    return tuple(int(n) for n in np.broadcast_to(getattr(node, field), (axes,)))


def conv_padding(node: nir.Conv1d | nir.Conv2d) -> tuple[tuple[int, int], ...]:
    """Zeros (before, after) along each axis; "same" puts an odd one after."""
    kernel = np.shape(node.weight)[2:]
    if node.padding == "same":
        sides = zip(conv_sides(node, "dilation"), kernel, strict=True)
        return tuple((d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for d, k in sides)
    if node.padding == "valid":
        return tuple((0, 0) for _ in kernel)
    return tuple((n, n) for n in conv_sides(node, "padding"))


def _meet(subject: str, expected: Shape, given: Shape | None) -> None:
    if given is not None and tuple(expected) != tuple(given):
        fail(f"{subject}: expects shape {tuple(expected)}, received {tuple(given)}")


def _elementwise_shape(subject: str, node: Any) -> Shape:
    """Shape of the parameters of a node that keeps the shape of its input; () if it takes any."""
    if kind(node) not in NODE_TYPES:
        fail(f"{subject}: type is not supported, must be one of {', '.join(NODE_TYPES)}")
    if not NODE_TYPES[kind(node)].elementwise:
        fail(f"{subject}: no rule says what shape it maps to")
    return parameter_shape(node)


def _axes(node: Any) -> int:
    """Number of axes of a node's input, 0 if it accepts any."""
    match node:
        case nir.Affine() | nir.Linear():
            return np.ndim(node.weight) - 1
        case nir.Conv1d():
            return 2
        case nir.Conv2d() | nir.SumPool2d() | nir.AvgPool2d():
            return 3
        case nir.Output() | nir.Flatten():
            return 0
    own = _elementwise_shape(f"node of type {kind(node)}", node)
    return 0 if own == (1,) else len(own)


def _output(subject: str, node: nir.Output, given: Shape) -> Shape:
    """Check the shape of an Output; leading axes of size one are leftover batch and time axes."""
    declared = node.output_type["output"]
    if declared is not None and len(declared):
        shape = tuple(int(n) for n in declared)
        while shape != given and len(shape) > len(given) and shape[0] == 1:
            shape = shape[1:]
        _meet(subject, shape, given)
    return given


def _conv(subject: str, node: nir.Conv1d | nir.Conv2d, given: Shape | None) -> Shape:
    weight = np.asarray(node.weight)
    groups = int(node.groups)
    stride, dilation = conv_sides(node, "stride"), conv_sides(node, "dilation")
    if node.padding == "same" and max(stride) > 1:
        fail(f"{subject}: padding 'same' needs stride 1, has {node.stride}")
    if weight.shape[0] % groups:
        fail(f"{subject}: groups {groups} must divide {weight.shape[0]} output channels")
    if np.shape(node.bias) != weight.shape[:1]:
        fail(f"{subject}: bias has shape {np.shape(node.bias)}, must be {weight.shape[:1]}")
    fits = given is not None and len(given) == weight.ndim - 1
    if given and fits and given[0] != weight.shape[1] * groups:
        fail(f"{subject}: expects {weight.shape[1] * groups} channels, received {given[0]}")
    if given and fits and node.padding == "same":
        return (weight.shape[0], *given[1:])
    padding = [side[0] for side in conv_padding(node)]
    return _windows(subject, given, weight.shape[0], weight.shape[2:], stride, padding, dilation)


def _windows(
    subject: str,
    given: Shape | None,
    channels: Any,
    kernel: Sequence[int],
    stride: Iterable[int],
    padding: Iterable[int],
    dilation: Iterable[int],
) -> Shape:
    if given is None or len(given) != 1 + len(kernel):
        axes = "(C, L)" if len(kernel) == 1 else "(C, H, W)"
        fail(f"{subject}: expects shape {axes}, received {given}")
    sides = zip(given[1:], kernel, stride, padding, dilation, strict=True)
    made = tuple(window_count(*side) for side in sides)
    if min(made) < 1:
        fail(f"{subject}: its kernel does not fit into {given}")
    return (int(channels), *made)


def _flatten(subject: str, node: nir.Flatten, given: Shape) -> Shape:
    rank = len(given)
    start = node.start_dim + rank if node.start_dim < 0 else node.start_dim
    end = node.end_dim + rank if node.end_dim < 0 else node.end_dim
    if not 0 <= start < max(rank, 1) or not start <= end < max(rank, 1):
        fail(f"{subject}: start_dim {node.start_dim}, end_dim {node.end_dim} do not fit {given}")
    return (*given[:start], prod(given[start : end + 1]), *given[end + 1 :])
