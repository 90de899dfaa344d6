"""`from_module` and `from_ann`: convert a torch module to a `SpikingNetwork`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import fx, nn

from spikeport.errors import ModuleReadingError
from spikeport.network import Input
from spikeport.trainer.network.ann_building import AnnBuild
from spikeport.trainer.network.ann_layers import refused_in_ann
from spikeport.trainer.network.building import KNOWN, OWN_TENSOR, Build, called, unknown
from spikeport.trainer.network.foreign import describe, owner
from spikeport.trainer.network.graph import Node, leading_to
from spikeport.trainer.network.layers import unsupported
from spikeport.trainer.network.network import SpikingNetwork
from spikeport.trainer.neurons import LI, LIF, Activation, QuantizedReLU
from spikeport.trainer.rules import GradientRule

_CONVERT = "use LIF, or train an ANN (activation 'relu') and convert it (spikeport convert)"


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
    _check_none(title, "not supported", tuple(_refused(module, graph)))
    nodes = _built(Build(module, input), graph, title)
    return SpikingNetwork(input, nodes, steps, rule).train(module.training)


def from_ann(module: nn.Module, input: Input) -> SpikingNetwork:
    """Read an ANN, trained or not, from a module, whose layers are shared.

    The network computes what the module computes; `is_ann` is true, it has one step, and is
    trained by backpropagation (rule `BPTT_M`). The module may contain what that of `from_module`
    may, with these activations, as layers or functions, in place or not: ReLU, `QuantizedReLU`, and
    clipped ones (ReLU6, Hardtanh(0, b), clamp), which become a `QuantizedReLU` without levels. Each
    call of an activation is one of the network, so a ReLU may be used many times. Not max-pools:
    integrate-and-fire neurons cannot take a maximum of rates.

    Raises:
        InputError: the module cannot be traced, contains something that cannot be converted (the
            message lists all such layers with their remedies), or has no activation.
    """
    title = f"module {type(module).__name__}"
    graph = check_convertible(module)
    nodes = _built(AnnBuild(module, input), graph, title)
    network = SpikingNetwork(input, nodes, 1, GradientRule.BPTT_M)
    if not network.is_ann:
        raise ModuleReadingError(f"{title}: has no activation, such as ReLU, to convert")
    return network.train(module.training)


def check_convertible(module: nn.Module) -> fx.Graph:
    """The graph of a module, if `from_ann` takes all of its layers; needs no samples.

    Raises:
        InputError: as `from_ann`.
    """
    title = f"module {type(module).__name__}"
    graph = _traced(module, title)
    _check_none(title, "not convertible", tuple(refused_in_ann(module, graph)))
    return graph


def _check_none(title: str, verdict: str, refused: Sequence[tuple[str, str, str]]) -> None:
    listed = [f"layer '{name}': {problem}" for name, _, problem in refused]
    if len(listed) == 1:
        raise ModuleReadingError(listed[0])
    if listed:
        raise ModuleReadingError(
            f"{title}: {len(listed)} layers are {verdict}:", *(f"- {each}" for each in listed)
        )


def _built(build: Build, graph: fx.Graph, title: str) -> list[Node]:
    """The nodes that the module's output needs."""
    for node in graph.nodes:
        _place_input(node)
        match node.op:
            case "placeholder" if build.value_of:
                raise ModuleReadingError(
                    f"{title}: has a second argument '{node.target}', must have one"
                )
            case "placeholder":
                build.value_of[node] = build.input
            case "call_module":
                build.add_module(node, build.module.get_submodule(str(node.target)))
            case "call_function" | "call_method":
                build.add_call(node)
    (output,) = graph.output_node().args
    if output not in build.value_of:
        raise ModuleReadingError(f"{title}: must return one tensor, returns {output}")
    return leading_to(build.value_of[output], build.nodes)


def refused_layers(module: nn.Module, *, ann: bool = False) -> tuple[tuple[str, str, str], ...]:
    """Layers and functions that are refused for what they are: name, kind and reason.

    Args:
        ann: those that `from_ann` refuses, not `from_module`.

    Raises:
        InputError: the module cannot be traced, or has layers of another framework.
    """
    graph = _traced(module, f"module {type(module).__name__}")
    return tuple((refused_in_ann if ann else _refused)(module, graph))


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
            kind = type(layer).__name__
            replaced = isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d)
            if isinstance(layer, Activation):
                told = f"{kind} is not a layer that a spiking network can contain; {_CONVERT}"
                yield node.name, kind, told
            elif not replaced and (problem := unsupported(layer)):
                yield node.name, kind, problem
        elif node.op in ("call_function", "call_method") and node.target not in KNOWN:
            yield node.name, called(node), unknown(node)
        elif node.op == "get_attr":
            yield node.name, "tensor", OWN_TENSOR


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LIF | LI | QuantizedReLU) or super().is_leaf_module(
            m, module_qualified_name
        )


def _place_input(node: fx.Node) -> None:
    """Turn an input that is given by name, as in conv(input=x), into the first argument."""
    if node.op in ("call_module", "call_function") and not node.args and node.kwargs:
        named = dict(node.kwargs)
        given = named.pop("input" if "input" in named else next(iter(named)))
        node.args, node.kwargs = (given,), named
