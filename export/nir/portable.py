"""Convert nodes to the form that most readers understand, and back.

NIR counts the axes of Flatten without a batch axis. Some readers forget to add one (Norse,
snnTorch, nirtorch's default), so files count from the end, where a batch axis makes no difference.

nir infers shapes as if every convolution had one group and a square kernel. In files, a grouped
convolution is therefore stored ungrouped with zeros between the groups, and a kernel that is not
square is padded with zeros to a square one. The original form is stored in the graph's metadata,
and reading restores it exactly; 0.1.0 stored it in the node's, which nir <= 1.0.4 cannot open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import MAX_SIDE, integer, pair
from spikeport.errors import FileFormatError
from spikeport.export.nir.fields import label
from spikeport.storage import parse_json

KEY = "spikeport"
KEY_OF_GRAPH = "spikeport_portable"
CONVOLUTIONS = (nir.Conv1d, nir.Conv2d)


def portable(node: Any) -> tuple[Any, dict[str, Any]]:
    """An equal convolution with one group and, if possible, a square kernel; and what it was.

    Flatten counts its axes from the end. Other nodes are returned as they are.

    Kernels whose sides differ by an odd number (2 x 3) are not padded: the zeros would be on one
    side only, which NIR's padding cannot express. nir reads such a node only with
    `type_check=False`.
    """
    if isinstance(node, nir.Flatten):
        return from_the_end(node), {}
    if not isinstance(node, CONVOLUTIONS):
        return node, {}
    weight = np.asarray(node.weight)
    height, width = weight.shape[2], weight.shape[-1]
    was: dict[str, Any] = {}
    if node.groups > 1:
        was["groups"] = int(node.groups)
        weight = _spread(weight, int(node.groups))
    padding = node.padding
    if height != width and (height - width) % 2 == 0:
        was |= {"kernel_size": [height, width], "padding": padding}
        grow = [(max(height, width) - side) // 2 for side in (height, width)]
        weight = np.pad(weight, ((0, 0), (0, 0), *((n, n) for n in grow)))
        if not isinstance(padding, str):
            padding = _grown(padding, grow, node.dilation)
        elif padding == "valid":
            padding = _grown((0, 0), grow, node.dilation)
    return (_replace(node, weight, padding, 1) if was else node), was


def from_the_end(node: nir.Flatten) -> nir.Flatten:
    """The same Flatten of a checked graph, with negative axes."""
    axes = len(node.input_type["input"])
    start, end = (n - axes if n >= 0 else n for n in (node.start_dim, node.end_dim))
    return nir.Flatten(node.input_type, start, end)


def portable_graph(graph: nir.NIRGraph) -> tuple[dict[str, Any], dict[str, str]]:
    """The nodes in portable form, and the graph metadata that says what they were."""
    nodes, changed = {}, {}
    for name, node in graph.nodes.items():
        nodes[name], was = portable(node)
        if was:
            changed[name] = was
    return nodes, {KEY_OF_GRAPH: json.dumps(changed, sort_keys=True)} if changed else {}


def stated_forms(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What `portable_graph` stated, as text per node.

    Raises:
        InputError: it is damaged.
    """
    text = metadata.get(KEY_OF_GRAPH, "{}")
    try:
        return {name: json.dumps(was) for name, was in parse_json(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(f"metadata '{KEY_OF_GRAPH}' is damaged ({error})") from error


def restore(name: str, node: Any, stated: str | None = None) -> Any:
    """Undo `portable` according to the graph's metadata (`stated`) or the node's.

    Raises:
        InputError: the metadata is damaged, or the weights no longer have the zeros.
    """
    text = node.metadata.get(KEY) if stated is None else stated
    if not isinstance(node, CONVOLUTIONS) or text is None:
        return node
    try:
        was = parse_json(text)
        if unknown := was.keys() - {"groups", "kernel_size", "padding"}:
            raise ValueError(f"unknown key {min(unknown)[:40]!r}")
        out, _, *sides = node.weight.shape
        groups = integer("groups", was.get("groups", 1), 1, out)
        kernel = [integer("kernel_size", n, 1, MAX_SIDE) for n in was.get("kernel_size", sides)]
        if not all(k <= n for k, n in zip(kernel, sides, strict=True)):
            raise ValueError(f"groups {groups}, kernel_size {kernel}")
        padding = was.get("padding", node.padding)
        if isinstance(padding, list):
            padding = pair("padding", padding)
        kept = ((n - k) // 2 for n, k in zip(sides, kernel, strict=True))
        taken = (slice(first, first + k) for first, k in zip(kept, kernel, strict=True))
        weight = node.weight[(slice(None), slice(None), *taken)]
        weight = np.ascontiguousarray(_gather(weight, groups))
        restored = _replace(node, weight, padding, groups)
        again, _ = portable(restored)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise FileFormatError(f"{label(name, node)}: damaged metadata ({error})") from error
    if not np.array_equal(again.weight, node.weight) or again.padding != node.padding:
        raise FileFormatError(
            f"{label(name, node)}: its weight was changed after writing in places where its {was} "
            "must be zero"
        )
    return restored


def _replace(node: Any, weight: NDArray[Any], padding: Any, groups: int) -> Any:
    made = type(node)(None, weight, node.stride, padding, node.dilation, groups, node.bias)
    made.input_shape = node.input_shape
    made.input_type, made.output_type = node.input_type, node.output_type
    return made


def _grown(padding: tuple[int, int], grow: list[int], dilation: Any) -> tuple[int, int]:
    first, second = (p + n * d for p, n, d in zip(padding, grow, dilation, strict=True))
    return (int(first), int(second))


def _spread(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """(O, I / g, ...) to (O, I, ...), with zeros outside of the groups."""
    out, inner = weight.shape[:2]
    full = np.zeros((out, inner * groups, *weight.shape[2:]), weight.dtype)
    for group, rows in enumerate(np.split(np.arange(out), groups)):
        full[rows, group * inner : (group + 1) * inner] = weight[rows]
    return full


def _gather(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """Undo `_spread`."""
    out, inner = weight.shape[0], weight.shape[1] // groups
    rows = np.split(np.arange(out), groups)
    return np.concatenate(
        [weight[r, g * inner : (g + 1) * inner] for g, r in enumerate(rows)], axis=0
    )
