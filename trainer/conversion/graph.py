"""Changes of an ANN's graph: other activations, batch norms folded into weights."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikeport.errors import ConversionError
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.graph import walk
from spikeport.trainer.network.layers import Convolution, Map, Norm
from spikeport.trainer.network.passes import apply_stateless
from spikeport.trainer.neurons import Activation, QuantizedReLU
from spikeport.trainer.rules import GradientRule


def check_ann(network: SpikingNetwork) -> None:
    """Refuse what cannot be converted.

    Raises:
        InputError: the network has no activations, takes a maximum, or does not end in a linear
            layer.
    """
    if not network.is_ann:
        raise ConversionError(
            "network: has no activation (ReLU, QuantizedReLU), so there is nothing to convert; "
            "spiking networks are quantized or exported directly"
        )
    for node in network.nodes:
        if isinstance(node.op, nn.MaxPool2d):
            raise ConversionError(
                f"layer '{node.name}': is a max-pool; the maximum of firing rates is not the rate "
                "of any neuron: replace it by an average pool and train the ANN again"
            )
    last = network.nodes[-1]
    if isinstance(last.op, Activation):
        raise ConversionError(
            f"layer '{last.name}': the network ends in a {type(last.op).__name__}, must end in a "
            "linear layer, whose mean over time is the scores"
        )


def activations(network: SpikingNetwork) -> dict[str, nn.ReLU | QuantizedReLU]:
    """The activations of an ANN by name, in order of computation."""
    return {node.name: node.op for node in network.nodes if isinstance(node.op, Activation)}


@torch.no_grad()
def activation_values(network: SpikingNetwork, x: Tensor) -> dict[str, Tensor]:
    """The outputs (B, ...) of all activations of an ANN in evaluation mode, for x (B, *shape)."""
    found: dict[str, Tensor] = {}

    def apply(node: Node, value: Tensor) -> Tensor:
        if isinstance(node.op, Activation):
            value = found[node.name] = node.op(value)
            return value
        return apply_stateless(node, value[None])[0]

    walk(network.nodes, {network.input.name: x}, apply, ())
    return found


def activation_arrays(network: SpikingNetwork, x: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """`activation_values` of an array, as arrays."""
    values = activation_values(network.eval(), torch.tensor(x, dtype=torch.float32))
    return {name: value.numpy() for name, value in values.items()}


def ann(network: SpikingNetwork, nodes: list[Node]) -> SpikingNetwork:
    """A network of these nodes with the input of `network`, in its mode."""
    made = SpikingNetwork(network.input, nodes, 1, GradientRule.BPTT_M)
    return made.train(network.training)


def copy_of(network: SpikingNetwork) -> SpikingNetwork:
    """An independent copy on the CPU, in evaluation mode, each activation with its own threshold.

    An activation used several times, as `self.relu` often is, becomes one for each use.
    """
    network = copy.deepcopy(network).cpu().eval()
    nodes = [
        replace(node, op=copy.deepcopy(node.op)) if isinstance(node.op, Activation) else node
        for node in network.nodes
    ]
    return ann(network, nodes)


def with_activations(
    network: SpikingNetwork, build: Callable[[str], nn.ReLU | QuantizedReLU]
) -> SpikingNetwork:
    """The network with other activations, `build(name)`; all other layers are shared."""
    nodes = [
        replace(node, op=build(node.name)) if isinstance(node.op, Activation) else node
        for node in network.nodes
    ]
    return ann(network, nodes)


def quantized(
    network: SpikingNetwork, thresholds: Mapping[str, float], levels: int | None
) -> SpikingNetwork:
    """The network with quantized clipped activations of these thresholds."""
    return with_activations(network, lambda name: QuantizedReLU(levels, thresholds[name]))


def thresholds_of(network: SpikingNetwork) -> dict[str, float]:
    """The thresholds of an ANN with quantized activations.

    Raises:
        InputError: an activation is a ReLU, which has none.
    """
    found = {}
    for name, op in activations(network).items():
        if not isinstance(op, QuantizedReLU):
            raise ConversionError(f"layer '{name}': is a ReLU, which has no threshold")
        found[name] = max(float(op.v_threshold.detach()), QuantizedReLU.SMALLEST)
    return found


def folded(network: SpikingNetwork) -> SpikingNetwork:
    """The network in evaluation mode with batch norms folded into the maps before them.

    W' = gamma W / sqrt(variance + eps), b' = beta + gamma (b - mean) / sqrt(variance + eps). Norms
    that follow something else, or a map that feeds several layers, stay as they are.
    """
    network = copy.deepcopy(network).eval()
    readers = Counter(name for node in network.nodes for name in node.inputs)
    uses = Counter(id(node.op) for node in network.nodes)
    by_name = {node.name: node for node in network.nodes}
    fused: dict[str, Map] = {}
    stands_for: dict[str, str] = {}
    for node in network.nodes:
        if not isinstance(node.op, Norm) or len(node.inputs) != 1:
            continue
        before = by_name.get(node.inputs[0])
        if before is None or not isinstance(before.op, Map):
            continue
        if readers[before.name] == 1 and uses[id(before.op)] == 1:
            fused[before.name] = _fused(before.op, node.op)
            stands_for[node.name] = before.name
    nodes = [
        Node(
            node.name,
            tuple(stands_for.get(name, name) for name in node.inputs),
            fused.get(node.name, node.op),
        )
        for node in network.nodes
        if node.name not in stands_for
    ]
    return ann(network, nodes)


def _fused(op: Map, norm: Norm) -> Map:
    if isinstance(op, Convolution):
        return fuse_conv_bn_eval(op, norm)
    return fuse_linear_bn_eval(op, norm)


@torch.no_grad()
def reestimate_norms(network: SpikingNetwork, batches: list[Tensor]) -> None:
    """Set the running statistics of batch norms to the average over these batches.

    Needed where the graph has changed: statistics belong to the values that a norm received.
    """
    norms = [node.op for node in network.nodes if isinstance(node.op, Norm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average
    was_training = network.training
    network.train()
    for x in batches:
        network.training_pass(x)
    network.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
