"""Targets of quantization: what each takes of the numbers that quantization chooses.

A target is a row of this table. Quantization asks the row where it chooses a number, and knows no
target by name; without a target, every number that a Loihi core takes is allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.netx.layers import BIAS_EXPONENT
from spikeport.export.netx.layout import layers_of
from spikeport.export.netx.synapse import kept_exactly
from spikeport.export.quantize.lowered import LoweredNetwork, Role
from spikeport.network import LOIHI, DeployedNetwork


def _every_matrix(*_: NDArray[Any]) -> bool:
    return True


def _every_network(_: LoweredNetwork | DeployedNetwork) -> None:
    """Nothing to check."""


def _one_layer_per_node(lowered: LoweredNetwork) -> None:
    """Refuse what became several populations, where the target has one layer for each node.

    Raises:
        InputError: names the node, what differs in it, and the remedy.
    """
    counts = Counter(part.node for part in lowered.populations if part.role is Role.NEURONS)
    for node, count in counts.items():
        if count > 1:
            raise InputError(
                f"node '{node}': its neurons have {count} different decays or starts, but a layer "
                "of netx has one decay of u, one of v and starts at 0; use one time constant in "
                "the whole layer"
            )
    constant = {part.name for part in lowered.populations if part.role is Role.CONSTANT}
    by_name = {part.name: part for part in lowered.populations}
    for connection in lowered.connections:
        if connection.source in constant:
            raise InputError(
                f"node '{by_name[connection.target].node}': a bias enters through its synaptic "
                "filter, but netx adds biases to v; use a map without bias in front of it, or "
                "neurons without a synaptic filter"
            )


@dataclass(frozen=True, slots=True)
class Constraints:
    """Constraints on a quantized network.

    Attributes:
        bias_exponents: those to choose from, smallest first.
        pools: whether a connection may sum windows of its source first.
        keeps: whether dense weights come through unchanged; takes the matrices of all connections
            into a population. Kernels of convolutions always do.
        check_lowered: refuses, before any rounding, what became several populations.
        check: refuses a network that the target cannot take, by an `InputError` that names the
            part, its value, the rule and the remedy.
    """

    bias_exponents: tuple[int, ...] = LOIHI.bias_exponents
    pools: bool = True
    keeps: Callable[..., bool] = _every_matrix
    check_lowered: Callable[[LoweredNetwork], object] = _every_network
    check: Callable[[DeployedNetwork], object] = _every_network


ANY = Constraints()
TARGETS: Mapping[str, Constraints] = {
    "netx": Constraints((BIAS_EXPONENT,), False, kept_exactly, _one_layer_per_node, layers_of),
}
