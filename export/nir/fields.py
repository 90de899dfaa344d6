"""The NIR nodes supported by Spikeport, as one table: each field with its rule.

Reading a file and checking a graph in memory use the same table, so no type and no field can be
forgotten in one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import MAX_SIDE, MAX_SIZE, check_unmasked
from spikeport.errors import GraphError
from spikeport.text import quoted

fail = GraphError.fail

Shape = tuple[int, ...]
Parse = Callable[[str, Any], Any]


def label(name: str, node: Any) -> str:
    """How messages refer to a node: `node 'lif1' (LIF)`."""
    return f"node '{name}' ({type(node).__name__})"


def real(subject: str, value: Any) -> NDArray[Any]:
    """Finite numbers; float32 and float64 are kept, other types become float64."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        fail(f"{subject} has type {array.dtype}, must be numbers")
    kept = array.dtype.kind == "f" and array.dtype.itemsize in (4, 8)
    array = np.array(array, dtype=array.dtype.newbyteorder("=") if kept else np.float64, order="C")
    if not np.isfinite(array).all():
        fail(f"{subject} contains NaN or infinity, must be finite")
    return array


def positive(subject: str, value: Any) -> NDArray[Any]:
    """Time constants: finite and above zero."""
    array = np.asarray(value)
    if array.dtype.kind in "fiu" and not (np.isfinite(array) & (array > 0)).all():
        worst = array.ravel()[~(np.isfinite(array) & (array > 0)).ravel()][0]
        fail(f"{subject} is {worst}, must be positive and finite")
    return real(subject, array)


def not_negative(subject: str, value: Any) -> NDArray[Any]:
    """Delays: finite, zero or more."""
    array = real(subject, value)
    if array.size and array.min() < 0:
        fail(f"{subject} is {array.min()}, must not be negative")
    return array


def weight(least: int, most: int | None = None) -> Parse:
    """Weights with at least `least` axes, none of them empty, and at most `most`."""

    def parse(subject: str, value: Any) -> NDArray[Any]:
        array = real(subject, value)
        if array.ndim < least or array.ndim > (most or array.ndim) or 0 in array.shape:
            fail(f"{subject} has shape {array.shape}, must have {least} non-empty axes")
        return array

    return parse


def integer(low: int) -> Parse:
    """One integer, at least `low`."""

    def parse(subject: str, value: Any) -> int:
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "iu":
            fail(f"{subject} is {quoted(value)}, must be one integer")
        if int(array.item()) < low:
            fail(f"{subject} is {array.item()}, must be at least {low}")
        return int(array.item())

    return parse


def pair(low: int) -> Parse:
    """Two integers, at least `low`; a single integer is used twice."""

    def parse(subject: str, value: Any) -> tuple[int, int]:
        array = np.atleast_1d(np.asarray(value))
        if array.dtype.kind not in "iu" or array.shape not in ((1,), (2,)):
            fail(f"{subject} is {quoted(value)}, must be one or two integers")
        if array.min() < low or array.max() > MAX_SIDE:
            fail(f"{subject} is {array.tolist()}, must lie in {low}..{MAX_SIDE}")
        first, *rest = (int(item) for item in array)
        return (first, rest[0] if rest else first)

    return parse


def pair_array(low: int) -> Parse:
    """Like `pair`, in the array form that NIR uses for pooling nodes."""

    def parse(subject: str, value: Any) -> NDArray[np.int64]:
        return np.array(pair(low)(subject, value), np.int64)

    return parse


def padding(numbers: Parse) -> Parse:
    """The values accepted by `numbers`, or "same" or "valid"."""

    def parse(subject: str, value: Any) -> Any:
        if not isinstance(value, str | bytes):
            return numbers(subject, value)
        text = value.decode() if isinstance(value, bytes) else value
        if text not in ("same", "valid"):
            fail(f"{subject} is {quoted(text)}, must be numbers, 'same' or 'valid'")
        return text

    return parse


def shape(subject: str, value: Any) -> NDArray[np.int64] | None:
    """Sizes without a batch axis; None and an empty shape mean that none is declared."""
    array = np.asarray([] if value is None else value).reshape(-1)
    if array.size == 0:
        return None
    if array.dtype.kind not in "iu" or array.min() < 1 or array.max() > MAX_SIZE:
        fail(f"{subject} is {array.tolist()}, must be positive sizes")
    return array.astype(np.int64)


@dataclass(frozen=True, slots=True)
class NodeType:
    """One type of NIR node.

    Attributes:
        make: its class.
        fields: those in a file, each with its rule.
        optional: fields that a file may leave out.
        elementwise: it keeps the shape of its input, and its fields have that shape.
        membrane: it is neurons, which integrate their input.
        threshold: the field with its threshold, if its output is spikes.
    """

    make: type[Any]
    fields: Mapping[str, Parse]
    optional: frozenset[str] = frozenset()
    elementwise: bool = False
    membrane: bool = False
    threshold: str | None = None


_R = {"r": real}
_LEAK = {"v_leak": real}
_SPIKE = {"v_threshold": real, "v_reset": real}
_CUBA = {"tau_syn": positive, "tau_mem": positive, **_R, **_LEAK, "w_in": real}
_POOL = {"kernel_size": pair_array(1), "stride": pair_array(1), "padding": pair_array(0)}
_RESET = frozenset({"v_reset"})


def _conv(axes: int, numbers: Callable[[int], Parse]) -> Mapping[str, Parse]:
    return {
        "input_shape": shape,
        "weight": weight(2 + axes, 2 + axes),
        "stride": numbers(1),
        "padding": padding(numbers(0)),
        "dilation": numbers(1),
        "groups": integer(1),
        "bias": real,
    }


_neuron = partial(NodeType, elementwise=True, membrane=True, threshold="v_threshold")
_integrator = partial(NodeType, elementwise=True, membrane=True)

NODE_TYPES: Mapping[str, NodeType] = {
    "Input": NodeType(nir.Input, {"shape": shape}),
    "Output": NodeType(nir.Output, {"shape": shape}),
    "Affine": NodeType(nir.Affine, {"weight": weight(2), "bias": real}),
    "Linear": NodeType(nir.Linear, {"weight": weight(2)}),
    "Scale": NodeType(nir.Scale, {"scale": real}, elementwise=True),
    "Conv1d": NodeType(nir.Conv1d, _conv(1, integer), frozenset({"input_shape"})),
    "Conv2d": NodeType(nir.Conv2d, _conv(2, pair), frozenset({"input_shape"})),
    "SumPool2d": NodeType(nir.SumPool2d, _POOL),
    "AvgPool2d": NodeType(nir.AvgPool2d, _POOL),
    "Flatten": NodeType(
        nir.Flatten,
        {"input_type": shape, "start_dim": integer(-8), "end_dim": integer(-8)},
        frozenset({"input_type"}),
    ),
    "Delay": NodeType(nir.Delay, {"delay": not_negative}, elementwise=True),
    "Threshold": NodeType(
        nir.Threshold, {"threshold": real}, elementwise=True, threshold="threshold"
    ),
    "I": _integrator(nir.I, _R),
    "IF": _neuron(nir.IF, {**_R, **_SPIKE}, _RESET),
    "LI": _integrator(nir.LI, {"tau": positive, **_R, **_LEAK}),
    "LIF": _neuron(nir.LIF, {"tau": positive, **_R, **_LEAK, **_SPIKE}, _RESET),
    "CubaLI": _integrator(nir.CubaLI, _CUBA, frozenset({"w_in"})),
    "CubaLIF": _neuron(nir.CubaLIF, {**_CUBA, **_SPIKE}, _RESET | {"w_in"}),
}
SPIKING: Mapping[str, str] = {
    name: spec.threshold for name, spec in NODE_TYPES.items() if spec.threshold is not None
}
"""Nodes whose output is spikes, with the field of their threshold."""
INTEGRATING = frozenset(
    name for name, spec in NODE_TYPES.items() if spec.membrane and spec.threshold is None
)
"""Neurons whose output is their membrane."""
NEURONS = tuple(spec.make for spec in NODE_TYPES.values() if spec.membrane)
"""Classes of neurons, with and without spikes."""


def kind(node: Any) -> str:
    """NIR's name for the type of a node."""
    return type(node).__name__


def time_constants(node: Any) -> tuple[str, ...]:
    """The fields of a node that are time constants."""
    fields = NODE_TYPES[kind(node)].fields
    return tuple(sorted(field for field, parse in fields.items() if parse is positive))


def make_node(name: str, type_name: str, values: Mapping[str, Any]) -> Any:
    """Create a checked NIR node; neuron parameters are broadcast to one shape.

    Raises:
        InputError: type or field is unknown, a field is missing or breaks its rule; the message
            names node and field.
    """
    if type_name not in NODE_TYPES:
        fail(
            f"node '{name}': type '{type_name}' is not supported, must be one of "
            f"{', '.join(NODE_TYPES)}"
        )
    spec = NODE_TYPES[type_name]
    subject = f"node '{name}' ({type_name})"
    for field in values:
        if field not in spec.fields:
            fail(f"{subject}: unknown field '{field}', known are {', '.join(spec.fields)}")
        check_unmasked(f"{subject}: {field}", values[field])
    for field in spec.fields:
        if values.get(field) is None and field not in spec.optional and field != "shape":
            fail(f"{subject}: field '{field}' is missing")
    given = {
        field: parse(f"{subject}: {field}", values[field])
        for field, parse in spec.fields.items()
        if values.get(field) is not None
    }
    if spec.elementwise:
        given = _broadcast(subject, given)
    return _construct(spec, given)


def node_values(node: Any) -> dict[str, Any]:
    """The fields of a node in memory, in the form used in files."""
    match kind(node):
        case "Input":
            return {"shape": node.input_type["input"]}
        case "Output":
            return {"shape": node.output_type["output"]}
        case "Flatten":
            declared = (node.input_type or {}).get("input")
            return {"input_type": declared, "start_dim": node.start_dim, "end_dim": node.end_dim}
        case name if name in NODE_TYPES:
            return {field: getattr(node, field) for field in NODE_TYPES[name].fields}
    return {}


def _broadcast(subject: str, values: dict[str, Any]) -> dict[str, Any]:
    shapes = {field: array.shape for field, array in values.items() if array.shape != ()}
    if len(set(shapes.values())) > 1:
        fail(f"{subject}: fields differ in shape: {shapes}; all must have the layer's shape")
    target = next(iter(shapes.values()), ())
    if 0 in target:
        fail(f"{subject}: fields have shape {target}, must not be empty")
    return {field: np.array(np.broadcast_to(a, target)) for field, a in values.items()}


def _construct(spec: NodeType, values: dict[str, Any]) -> Any:
    if spec.make is nir.Input:
        return nir.Input({"input": values.get("shape")})
    if spec.make is nir.Output:
        return nir.Output({"output": values.get("shape")})
    if spec.make is nir.Flatten:
        return nir.Flatten({"input": None}, values["start_dim"], values["end_dim"])
    if spec.make in (nir.Conv1d, nir.Conv2d):
        # nir 1.0.8 would infer wrong types from it for grouped and non-square kernels
        values["input_shape"] = None
    return spec.make(**values)
