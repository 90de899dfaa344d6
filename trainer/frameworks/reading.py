"""Read a module of another framework: its layers, and the networks that they make."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

import torch
from torch import nn

from spikeport.errors import InputError, ModuleReadingError
from spikeport.network import (
    FlattenLayer,
    ForeignLayer,
    ForeignModel,
    Input,
    ScaleLayer,
    Shape,
    SumPoolLayer,
)
from spikeport.network.linear_maps import uniform
from spikeport.trainer.description import torch_layer
from spikeport.trainer.frameworks.neuron import (
    Neuron,
    as_layer,
    as_lif,
    fitted,
    resting_at_zero,
    start_rules,
)
from spikeport.trainer.frameworks.origins import BATCH, Layout
from spikeport.trainer.frameworks.recording import Leaf, Recorder
from spikeport.trainer.network import Node, SpikingNetwork, describe, owner
from spikeport.trainer.network.graph import leading_to
from spikeport.trainer.network.layers import Map, output_shape, pair, unsupported, zeros
from spikeport.trainer.network.linear_form import connection, layer, linear_map
from spikeport.trainer.rules import GradientRule

_log = logging.getLogger(__name__)
Module: TypeAlias = nn.Module
"""For packages that do not import torch."""
LeafOf = Callable[[str, nn.Module], Leaf | None]


@dataclass(frozen=True, slots=True)
class Framework:
    """What is specific to a framework.

    Attributes:
        title, package, tested: its name, its package, and the version that was compared.
        layouts: of the inputs of its modules, in the order in which they are tried.
        leaf: what a module of the framework is, or None if it is a container.
        batch: the batch that a module was built for, if it was built for one.
        fresh: forget the states of a module.
    """

    title: str
    package: str
    tested: str
    layouts: tuple[Layout, ...]
    leaf: LeafOf
    batch: Callable[[nn.Module], int | None] = lambda module: None
    fresh: Callable[[nn.Module], None] = lambda module: None


@dataclass(frozen=True, slots=True)
class Reading:
    """The layers of a module: `nodes` in order of their first call, neurons as `Neuron`."""

    framework: Framework
    title: str
    input: Input
    steps: int
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    output: str


def read(framework: Framework, module: nn.Module, input: Input, steps: int) -> Reading:
    """Run the module once on zeros and read its layers.

    Raises:
        InputError: a layer is not supported, or is used in an unsupported way.
    """
    title = f"module {type(module).__name__}"
    leaves = dict(_leaves(framework, module))
    if not any(isinstance(leaf.op, Neuron) for _, leaf in leaves.values()):
        raise ModuleReadingError(f"{title}: contains no neurons of {framework.title}")
    problems: list[tuple[int, InputError]] = []
    for layout in framework.layouts:
        recorder = Recorder(input, leaves)
        try:
            return _recorded(framework, title, recorder, module, layout, steps)
        except InputError as error:
            problems.append((len(recorder.nodes), error))
    raise max(problems, key=lambda problem: problem[0])[1]


def _recorded(
    framework: Framework,
    title: str,
    recorder: Recorder,
    module: nn.Module,
    layout: Layout,
    steps: int,
) -> Reading:
    input = recorder.input
    batch = framework.batch(module)
    batch = (BATCH if steps != BATCH else BATCH + 1) if batch is None else batch
    like = next(module.parameters(), torch.zeros(()))
    x = torch.zeros((*layout.size(steps, batch), *input.shape), device=like.device)
    with _as_it_was(module):
        framework.fresh(module)
        try:
            output = recorder.run(module, x, layout, steps, batch)
        except InputError as error:
            raise type(error)(f"{title}: {error}") from error
        except (Exception, SystemExit) as error:  # the module's own code may raise anything
            shape = tuple(x.shape)
            raise ModuleReadingError(
                f"{title}: fails on an input of shape {shape}: {error}"
            ) from error
    loops = max(recorder.calls.values(), default=0)
    if loops > 1 and loops != steps:
        raise ModuleReadingError(f"{title}: computes {loops} steps, but steps is {steps}")
    if len(output.sources) != 1 or output.sources == (input.name,):
        raise ModuleReadingError(
            f"{title}: must return the output of one layer, returns {output.sources}"
        )
    (last,) = output.sources
    if output.state not in ("", "v"):
        raise ModuleReadingError(
            f"{title}: returns a state of '{last}', must return spikes or the membrane"
        )
    nodes = leading_to(last, list(recorder.nodes.values()))
    nodes = [
        _settled(node, recorder.shapes, output.state == "v" and node.name == last) for node in nodes
    ]
    silent = getattr(nodes[-1].op, "threshold", True) is None
    if output.alien and silent:  # any other result of an operation was refused
        _log.warning(
            "%s: returns the membrane of '%s' summed or averaged over time, but the score of a "
            "network is its membrane at the last step",
            title, last,
        )  # fmt: skip
    return Reading(framework, title, input, steps, tuple(nodes), recorder.shapes, last)


def _leaves(
    framework: Framework, module: nn.Module
) -> Iterator[tuple[nn.Module, tuple[str, Leaf]]]:
    """Layers that are not looked into, with their names."""
    inside: set[str] = set()
    for path, part in module.named_modules():
        if any(path.startswith(f"{name}.") for name in inside):
            continue
        name = path.replace(".", "_") or "layer"
        name = f"_{name}" if name[0].isdigit() else name
        found = owner(part)
        if found not in (None, framework.package):
            raise ModuleReadingError(describe(name, part))
        leaf = framework.leaf(name, part) if found else _torch_leaf(part)
        if leaf is None:
            continue
        if part._forward_hooks or part._forward_pre_hooks:
            raise ModuleReadingError(
                f"layer '{name}': has hooks, which may change what it computes"
            )
        inside.add(path)
        yield part, (name, leaf)


def _torch_leaf(part: nn.Module) -> Leaf | None:
    is_torch = type(part).__module__.startswith("torch.nn.modules.")
    container = isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    return Leaf(part) if is_torch and not container else None


@contextlib.contextmanager
def _as_it_was(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards the module has the states and modes that it had before."""
    kept = []
    for part in module.modules():
        state = {n: dict(v) if type(v) is dict else v for n, v in part.__dict__.items()}
        values = {n: b.clone() for n, b in part._buffers.items() if b is not None}
        kept.append((part, state, values))
    module.eval()
    try:
        yield
    finally:
        for part, state, values in kept:
            part.__dict__.clear()
            part.__dict__.update(state)
            with torch.no_grad():
                for name, value in values.items():
                    buffer = part._buffers[name]
                    if buffer is not None and buffer.shape == value.shape:
                        buffer.copy_(value)


def _settled(node: Node, shapes: Mapping[str, Shape], membrane: bool) -> Node:
    """The node with its parameters in the shape of the layer."""
    op: Any = node.op
    subject = f"layer '{node.name}'"
    if not isinstance(op, Neuron):
        return node
    subject = f"{subject} ({op.kind})"
    values: dict[str, Any] = {}
    for field in ("keep", "gain", "threshold", "leak", "reset_to", "start", "keep_syn"):
        if (value := getattr(op, field)) is not None:
            values[field] = fitted(f"{subject}: {field}", value, shapes[node.name])
    if not values["gain"].all():
        raise ModuleReadingError(f"{subject}: its membrane takes nothing of its input")
    for field in values.keys() & {"keep", "keep_syn"}:
        low, high = values[field].min(), values[field].max()
        if not 0 <= low <= high <= 1:
            raise ModuleReadingError(
                f"{subject}: keeps {low:g} to {high:g} of its state per step, must lie in 0..1"
            )
    never = op.rules.get("reset") == "none"
    if membrane and not never:
        raise ModuleReadingError(
            f"{subject}: its membrane is returned although it is reset by spikes; return its spikes"
        )
    if never and not membrane:
        raise ModuleReadingError(
            f"{subject}: is never reset after a spike, so that only its membrane can be returned"
        )
    if membrane:
        values |= {"threshold": None, "rules": {}}
    settled: Any = resting_at_zero(replace(op, **values))
    return Node(node.name, node.inputs, settled)


# What the layers make


def trainable_network(reading: Reading, rule: GradientRule) -> SpikingNetwork:
    """The module as a `SpikingNetwork` that shares its parameters.

    Raises:
        InputError: a layer has no counterpart that can be trained; the message names it.
    """
    nodes = []
    for node in reading.nodes:
        op: Any = node.op
        if isinstance(op, Neuron):
            op = as_lif(node.name, op)
        elif not type(op).__module__.startswith("torch.nn."):
            op = _plain(op)
        nodes.append(Node(node.name, node.inputs, op))
    return SpikingNetwork(reading.input, nodes, reading.steps, rule)


def _plain(op: nn.Module) -> Any:
    """A layer of torch with the parameters of a framework's own subclass of it."""
    base: Any = next(b for b in type(op).__mro__ if b.__module__.startswith("torch.nn."))
    plain = base.__new__(base)
    plain.__dict__.update(op.__dict__)
    return plain


def foreign_model(reading: Reading) -> ForeignModel:
    """The module as layers in plain NumPy.

    Raises:
        InputError: a layer is not supported, or two layers of neurons need different rules.
    """
    layers: list[ForeignLayer] = []
    stands_for: dict[str, tuple[str, ...]] = {reading.input.name: (reading.input.name,)}
    taken = {reading.input.name, *(node.name for node in reading.nodes)}
    for node in reading.nodes:
        op: Any = node.op
        inputs = tuple(end for name in node.inputs for end in stands_for[name])
        stands_for[node.name] = (node.name,)
        if len(set(inputs)) < len(inputs):
            raise ModuleReadingError(f"layer '{node.name}': receives the same values twice")
        if isinstance(op, nn.Dropout | nn.Dropout2d):
            stands_for[node.name] = inputs
        elif isinstance(op, Neuron):
            layers += _neurons(node.name, inputs, op, reading.shapes[node.name], taken)
        else:
            shapes = [reading.shapes[name] for name in node.inputs]
            layers.append(_layer(node.name, inputs, op, shapes[0]))
    framework = reading.framework
    return ForeignModel(
        reading.input,
        tuple(layers),
        stands_for[reading.output][0],
        reading.steps,
        _common_rules(reading),
        {"format": f"{framework.title} {installed(framework)}", "source": reading.title},
    )


def installed(framework: Framework) -> str:
    """The version of the framework that is installed; warns if it is not the tested one."""
    try:
        found = version(framework.package)
    except PackageNotFoundError:
        found = "unknown"
    if found != framework.tested:
        _log.warning(
            "%s %s: modules were compared with version %s", framework.title, found, framework.tested
        )
    return found


def _neurons(
    name: str, inputs: tuple[str, ...], neuron: Neuron, shape: Shape, taken: set[str]
) -> Iterator[ForeignLayer]:
    def unused(suffix: str) -> str:
        found = f"{name}_{suffix}"
        while found in taken:
            found += "_"
        taken.add(found)
        return found

    if neuron.drive is not None:
        driven = unused("input")
        yield _layer(driven, inputs, neuron.drive, ())
        inputs = (driven,)
    if neuron.loop is None:
        yield as_layer(name, inputs, neuron)
        return
    loop = unused("recurrent")
    yield as_layer(name, (*inputs, loop), neuron)
    if isinstance(neuron.loop, nn.Module):
        yield _layer(loop, (name,), neuron.loop, shape)
    else:
        yield ScaleLayer(loop, (name,), neuron.loop)


def _layer(name: str, inputs: tuple[str, ...], op: Any, given: Shape) -> ForeignLayer:
    if isinstance(op, nn.Flatten):
        return FlattenLayer(name, inputs)
    if isinstance(op, nn.LPPool2d):
        if op.norm_type != 1 or op.ceil_mode:
            raise ModuleReadingError(
                f"layer '{name}': must sum whole windows (norm_type 1, no ceil_mode)"
            )
        sides = pair(op.kernel_size), pair(op.stride or op.kernel_size)
        return SumPoolLayer(name, inputs, *sides)
    if isinstance(op, nn.AdaptiveAvgPool2d) and op.output_size in (1, (1, 1)):
        op = nn.AvgPool2d((given[1], given[2]))
    if isinstance(op, nn.MaxPool2d):
        raise ModuleReadingError(
            f"layer '{name}': NIR has no max-pool; give trainable=True, whose network can be "
            "deployed if the max-pool follows a layer of LIF, or use an average pool"
        )
    if problem := unsupported(op):
        raise ModuleReadingError(f"layer '{name}': {problem}")
    if isinstance(op, nn.AvgPool1d | nn.AvgPool2d):
        output_shape(name, op, given)  # names windows that are not whole
    return torch_layer(name, inputs, _as_convolution(op, given) if _is_beyond_nir(op) else op)


def _is_beyond_nir(op: nn.Module) -> bool:
    """Whether NIR has no such pool, or no convolution with such a padding."""
    match op:
        case nn.AvgPool2d():
            return op.divisor_override is not None
        case nn.Conv1d() | nn.Conv2d():
            return any(before != after for before, after in zeros(op))
    return isinstance(op, nn.AvgPool1d)


def _as_convolution(op: Any, given: Shape) -> Map:
    """The same for inputs of shape `given`, in float64."""
    made, bias = linear_map(op, given)
    exact = torch.zeros((), dtype=torch.float64)
    return layer(connection(made), uniform(bias), exact)


def _common_rules(reading: Reading) -> dict[str, str | bool]:
    """The rules of all neurons together."""
    rules: dict[str, str | bool] = {}
    by: dict[str, str] = {}
    starts: tuple[str, ...] = ("zero", "v_leak", "v_reset")
    for node in reading.nodes:
        neuron: Any = node.op
        if not isinstance(neuron, Neuron):
            continue
        for rule, value in neuron.rules.items():
            if rules.setdefault(rule, value) != value:
                raise ModuleReadingError(
                    f"layers '{by[rule]}' and '{node.name}' differ in {rule} ({rules[rule]} and "
                    f"{value}), but a float network has only one"
                )
            by.setdefault(rule, node.name)
        starts = tuple(start for start in starts if start in start_rules(neuron))
        if not starts:
            raise ModuleReadingError(
                f"layer '{node.name}' ({neuron.kind}): starts neither at 0 nor where it leaks or "
                "is reset to, or differs in that from the layers before it"
            )
    return {**rules, "start": starts[0]}
