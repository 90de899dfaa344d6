"""Targets of quantization: what each takes of the numbers that quantization chooses.

A target is a row of this table. Quantization asks the row where it chooses a number, and knows no
target by name; without a target, every number that a Loihi core takes is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from spikeport.export.netx.layers import BIAS_EXPONENT
from spikeport.export.netx.layout import layers_of
from spikeport.export.netx.synapse import kept_exactly
from spikeport.network import LOIHI, DeployedNetwork


def _every_matrix(*_: NDArray[Any]) -> bool:
    return True


def _every_network(_: DeployedNetwork) -> None:
    """Nothing to check."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """Constraints on a quantized network.

    Attributes:
        bias_exponents: those to choose from, smallest first.
        pools: whether a connection may sum windows of its source first.
        keeps: whether dense weights come through unchanged; takes the matrices of all connections
            into a population. Kernels of convolutions always do.
        check: refuses a network that the target cannot take, by an `InputError` that names the
            part, its value, the rule and the remedy.
    """

    bias_exponents: tuple[int, ...] = LOIHI.bias_exponents
    pools: bool = True
    keeps: Callable[..., bool] = _every_matrix
    check: Callable[[DeployedNetwork], object] = _every_network


ANY = Constraints()
TARGETS: Mapping[str, Constraints] = {
    "netx": Constraints((BIAS_EXPONENT,), False, kept_exactly, layers_of),
}
