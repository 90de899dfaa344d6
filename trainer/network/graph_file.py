"""The graph of a network as plain data, from which it is rebuilt without the code that made it.

One entry per layer: name, inputs, kind (a class of torch.nn, `LIF` or `LI`), the options that its
constructor takes, and the names of parameters that are not trained. A layer used several times is
described once; later uses name the first in `same_as`. Weights are stored apart, by state name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from spikeport.errors import FileFormatError, ModuleReadingError
from spikeport.network import Input, Reset
from spikeport.text import quoted
from spikeport.trainer.network.graph import Node
from spikeport.trainer.network.layers import Channels
from spikeport.trainer.network.network import SpikingNetwork
from spikeport.trainer.neurons import LI, LIF, QuantizedReLU
from spikeport.trainer.rules import GradientRule

MOST = 2**31 - 1
"""Largest size that a layer may state."""


class _Rule(NamedTuple):
    """What an option must be, in words and as a check."""

    text: str
    holds: Callable[[object], bool]


def _is_real(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _sides(least: int) -> _Rule:
    def holds(value: object) -> bool:
        sides = value if isinstance(value, list) else [value]
        return 1 <= len(sides) <= 2 and all(type(s) is int and least <= s <= MOST for s in sides)

    return _Rule(f"one or two integers in {least}..{MOST}", holds)


_COUNT = _Rule(f"an integer in 1..{MOST}", lambda value: type(value) is int and 1 <= value <= MOST)
_INDEX = _Rule(f"an integer in 0..{MOST}", lambda value: type(value) is int and 0 <= value <= MOST)
_WINDOW, _PADDING = _sides(1), _sides(0)
_NAMED_PADDING = _Rule(
    f"'same', 'valid' or {_PADDING.text}",
    lambda value: value in ("same", "valid") or _PADDING.holds(value),
)
_LEVELS = _Rule(f"{_COUNT.text} or null", lambda value: value is None or _COUNT.holds(value))
_FLAG = _Rule("true or false", lambda value: isinstance(value, bool))
_REAL = _Rule("a finite number", _is_real)
_MOMENTUM = _Rule("a finite number or null", lambda value: value is None or _is_real(value))
_RESET = _Rule(f"one of {', '.join(Reset)}", lambda value: value in tuple(Reset))


_CONV: dict[str, _Rule] = {
    "in_channels": _COUNT,
    "out_channels": _COUNT,
    "kernel_size": _WINDOW,
    "stride": _WINDOW,
    "padding": _NAMED_PADDING,
    "dilation": _WINDOW,
    "groups": _COUNT,
    "bias": _FLAG,
}
_POOL: dict[str, _Rule] = {"kernel_size": _WINDOW, "stride": _WINDOW, "padding": _PADDING}
_NORM: dict[str, _Rule] = {"num_features": _COUNT, "eps": _REAL, "momentum": _MOMENTUM}
_KINDS: dict[str, tuple[type[nn.Module], dict[str, _Rule]]] = {
    "Conv1d": (nn.Conv1d, _CONV),
    "Conv2d": (nn.Conv2d, _CONV),
    "Linear": (nn.Linear, {"in_features": _COUNT, "out_features": _COUNT, "bias": _FLAG}),
    "BatchNorm1d": (nn.BatchNorm1d, _NORM),
    "BatchNorm2d": (nn.BatchNorm2d, _NORM),
    "Dropout": (nn.Dropout, {"p": _REAL}),
    "Dropout2d": (nn.Dropout2d, {"p": _REAL}),
    "AvgPool1d": (nn.AvgPool1d, _POOL),
    "AvgPool2d": (nn.AvgPool2d, _POOL),
    "MaxPool2d": (nn.MaxPool2d, {**_POOL, "dilation": _WINDOW}),
    "Identity": (nn.Identity, {}),
    "Flatten": (nn.Flatten, {}),
    "Channels": (Channels, {"start": _INDEX, "stop": _INDEX, "step": _COUNT}),
    "LIF": (
        LIF,
        {
            "decay": _REAL,
            "v_threshold": _REAL,
            "reset": _RESET,
            "detach_reset": _FLAG,
            "alpha": _REAL,
            "strict": _FLAG,
        },
    ),
    "LI": (LI, {"decay": _REAL}),
    "ReLU": (nn.ReLU, {}),
    "QuantizedReLU": (QuantizedReLU, {"levels": _LEVELS}),
}
_OPTIONAL: dict[str, dict[str, tuple[_Rule, Any]]] = {
    "AvgPool2d": {"divisor_override": (_COUNT, None)},
    "LIF": {"v_init": (_REAL, 0.0)},
}
"""Options of kinds with their defaults, described only if they have another value."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def describe_graph(network: SpikingNetwork) -> list[dict[str, Any]]:
    """The layers of a network as plain data for JSON.

    Raises:
        InputError: names a layer that plain data cannot describe: of a class of the user's own,
            with hooks or parametrizations, with a parameter shared between layers, or with
            parameters that are not float32.
    """
    first: dict[int, str] = {}
    owners: dict[int, str] = {}
    layers: list[dict[str, Any]] = []
    for node in network.nodes:
        layer: dict[str, Any] = {"name": node.name, "inputs": list(node.inputs)}
        op = node.op
        if id(op) in first:
            layers.append({**layer, "same_as": first[id(op)]})
            continue
        first[id(op)] = node.name
        _check_plain(node, owners)
        _, options = _KINDS[type(op).__name__]
        frozen = [name for name, part in op.named_parameters() if not part.requires_grad]
        layers.append(
            {
                **layer,
                "kind": type(op).__name__,
                "options": {name: _option(op, name) for name in (*options, *_set_options(op))},
                "frozen": frozen,
            }
        )
    return layers


def rebuild_graph(
    layers: list[Any], input: Input, steps: int, rule: GradientRule = GradientRule.RATE_M
) -> SpikingNetwork:
    """The network that `describe_graph` described, with weights still to be loaded.

    Raises:
        InputError: the description breaks a rule; the message names layer and key.
    """
    nodes: list[Node] = []
    made: dict[str, nn.Module] = {}
    for place, layer in enumerate(layers):
        if not isinstance(layer, dict):
            raise FileFormatError(f"layer {place} is {type(layer).__name__}, must be a table")
        name, inputs = layer.get("name"), layer.get("inputs")
        if not isinstance(name, str):
            raise FileFormatError(f"layer {place} has no name")
        subject = f"layer '{name[:40]}'"
        if not isinstance(inputs, list) or not all(isinstance(each, str) for each in inputs):
            raise FileFormatError(f"{subject}: inputs must be a list of names")
        _keys(
            subject,
            layer,
            {"name", "inputs", *(("same_as",) if "same_as" in layer else _DESCRIBED)},
        )
        if "same_as" in layer:
            if not isinstance(layer["same_as"], str) or layer["same_as"] not in made:
                raise FileFormatError(f"{subject}: same_as does not name an earlier layer")
            op = made[layer["same_as"]]
        else:
            op = made[name] = _made(subject, layer)
        nodes.append(Node(name, tuple(inputs), op))  # type: ignore[arg-type]  # of _KINDS
    return SpikingNetwork(input, nodes, steps, rule)


_DESCRIBED = ("kind", "options", "frozen")


def _keys(subject: str, given: Mapping[str, Any], wanted: set[str]) -> None:
    if wrong := sorted(given.keys() ^ wanted):
        problem = "is missing" if wrong[0] in wanted else "is unknown"
        raise FileFormatError(f"{subject}: key '{wrong[0][:40]}' {problem}")


def _made(subject: str, layer: Mapping[str, Any]) -> nn.Module:
    kind, options, frozen = (layer[key] for key in _DESCRIBED)
    if not isinstance(kind, str) or kind not in _KINDS:
        shown = quoted(str(kind)[:40])
        raise FileFormatError(f"{subject}: kind is {shown}, must be one of {', '.join(_KINDS)}")
    build, rules = _KINDS[kind]
    if not isinstance(options, dict):
        raise FileFormatError(f"{subject}: options must be a table")
    optional = _OPTIONAL.get(kind, {})
    rules = rules | {name: rule for name, (rule, _) in optional.items() if name in options}
    _keys(subject, options, set(rules))
    for name, rule in rules.items():
        if not rule.holds(options[name]):
            shown = quoted(str(options[name])[:40])
            raise FileFormatError(f"{subject}: {name} is {shown}, must be {rule.text}")
    given = {n: tuple(v) if isinstance(v, list) else v for n, v in options.items()}
    try:
        op = build(**given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise FileFormatError(f"{subject}: {error}") from None
    parameters = dict(op.named_parameters())
    if not isinstance(frozen, list) or not all(
        isinstance(each, str) and each in parameters for each in frozen
    ):
        raise FileFormatError(f"{subject}: frozen must be a list of its parameters")
    for each in frozen:
        parameters[each].requires_grad = False
    return op


def _set_options(op: nn.Module) -> list[str]:
    optional = _OPTIONAL.get(type(op).__name__, {})
    return [name for name, (_, default) in optional.items() if getattr(op, name) != default]


def _option(op: nn.Module, name: str) -> Any:
    value = op.bias is not None if name == "bias" else getattr(op, name)
    if isinstance(value, tuple):
        return [int(side) for side in value]
    return str(value) if isinstance(value, Reset) else value


def _check_plain(node: Node, owners: dict[int, str]) -> None:
    subject, op = f"layer '{node.name}'", node.op
    kind = _KINDS.get(type(op).__name__)
    if kind is None or type(op) is not kind[0]:
        raise ModuleReadingError(
            f"{subject}: is a {type(op).__name__}, which a checkpoint cannot describe; use the "
            "layer of torch.nn itself, without parametrizations, or spikeport's LIF or LI"
        )
    if any(getattr(op, hooks) for hooks in _HOOKS):
        raise ModuleReadingError(
            f"{subject}: has hooks, which passes and checkpoints ignore; remove them"
        )
    for name, part in op.named_parameters():
        if owners.setdefault(id(part), node.name) != node.name:
            raise ModuleReadingError(
                f"{subject}: shares its {name} with layer '{owners[id(part)]}'; call one layer "
                "twice instead"
            )
        if str(part.dtype) != "torch.float32":
            raise ModuleReadingError(f"{subject}: {name} is {part.dtype}, must be torch.float32")
