"""Targets of quantization: what each takes of the numbers that quantization chooses.

Quantization asks the constraints where it chooses a number, and knows no target by name; without a
target, every number that a Loihi core takes is allowed. The constraints of a chip follow from the
limits in its `target.toml`, whatever package it is from; a file format is a row of `FORMATS`; a
backend has none. What is not a choice of quantization, such as delays and fan-in, is refused by the
same rules that `spikeport check` applies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from spikeport.checks import one_of
from spikeport.errors import SpikeportError, UnsupportedError
from spikeport.export.netx.layers import BIAS_EXPONENT
from spikeport.export.netx.layout import layers_of
from spikeport.export.netx.synapse import kept_exactly
from spikeport.export.quantize.lowered import LoweredNetwork, Role
from spikeport.hardware import ChipLimits, read_target
from spikeport.network import LOIHI, DeployedNetwork, accumulator_max, population_bound
from spikeport.plugins import Plugin, PluginKind, plugins


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
            raise UnsupportedError(
                f"node '{node}': its neurons have {count} different decays or starts, but a layer "
                "of netx has one decay of u, one of v and starts at 0; use one time constant in "
                "the whole layer"
            )
    constant = {part.name for part in lowered.populations if part.role is Role.CONSTANT}
    by_name = {part.name: part for part in lowered.populations}
    for connection in lowered.connections:
        if connection.source in constant:
            raise UnsupportedError(
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
        graded: whether spikes carry values; otherwise graded inputs are sent as binary digits.
        sum_max: largest sum of a step, in weight units; None if there is no limit.
        weight_bits: most bits of a weight.
        bias_min: lowest mantissa of a bias.
        exponent_min: lowest exponent of weights of graded inputs. Down to -6, that of a sum loses
            no bits, because sums are 64 times coarser than u.
        exponent_max: highest exponent of weights that are not biases.
    """

    bias_exponents: tuple[int, ...] = LOIHI.bias_exponents
    pools: bool = True
    keeps: Callable[..., bool] = _every_matrix
    check_lowered: Callable[[LoweredNetwork], object] = _every_network
    check: Callable[[DeployedNetwork], object] = _every_network
    graded: bool = True
    sum_max: int | None = None
    weight_bits: int = LOIHI.weight_bits
    bias_min: int = LOIHI.bias_mantissa_min
    exponent_min: int = -LOIHI.activation_shift
    exponent_max: int = LOIHI.weight_exponent_max

    def binding(self, free: DeployedNetwork) -> Iterator[tuple[str, Constraints]]:
        """What has an effect on a network that was quantized without it, each in words.

        Args:
            free: the network without any constraint.

        Yields:
            The constraint, and all others without it.
        """
        populations, connections = free.populations, free.weighted_connections
        if not self.graded and any(part.graded for part in free.inputs):
            yield "spikes carry no value", replace(self, graded=True)
        most = self.sum_max
        if most is not None and any(population_bound(free, p.name) > most for p in populations):
            yield f"sums of at most {most} in a step", replace(self, sum_max=None)
        if any(part.weight_bits > self.weight_bits for part in connections):
            found = f"weights of at most {self.weight_bits} bits"
            yield found, replace(self, weight_bits=LOIHI.weight_bits)
        if any((part.bias < self.bias_min).any() for part in populations):
            found = f"bias mantissas of at least {self.bias_min}"
            yield found, replace(self, bias_min=LOIHI.bias_mantissa_min)
        if any(part.bias_exponent not in self.bias_exponents for part in populations):
            exponents = ", ".join(map(str, self.bias_exponents))
            yield f"bias exponent {exponents}", replace(self, bias_exponents=LOIHI.bias_exponents)
        if any(part.exponent < self.exponent_min for part in connections):
            found = f"weight exponents of at least {self.exponent_min}"
            yield found, replace(self, exponent_min=ANY.exponent_min)
        if any(part.exponent > self.exponent_max for part in connections):
            found = f"weight exponents of at most {self.exponent_max}"
            yield found, replace(self, exponent_max=ANY.exponent_max)
        if self.keeps is not _every_matrix:
            yield "weights that come through unchanged", replace(self, keeps=_every_matrix)


ANY = Constraints()
FORMATS: Mapping[str, Constraints] = {
    "netx": Constraints(
        (BIAS_EXPONENT,),
        False,
        kept_exactly,
        _one_layer_per_node,
        layers_of,
        exponent_min=0,
        exponent_max=0,
    ),
}


def constraints_of(name: str) -> Constraints:
    """The constraints of a file format, a chip or a backend.

    Raises:
        InputError: there is none of that name (the message lists all), or a limit is invalid.
        BackendUnavailableError: it is that of another package, which cannot be loaded.
    """
    chips, backends = plugins(PluginKind.TARGET), plugins(PluginKind.BACKEND)
    if name in FORMATS:
        return FORMATS[name]
    if name in chips:
        return _of_chip(read_target(chips[name]).limits)
    if name in backends and backends[name].load().takes == "deployed":
        return ANY
    able = [one for one, plugin in backends.items() if _runs_deployed(plugin)]
    one_of("target", (*FORMATS, *able, *chips), name)
    return ANY


def _runs_deployed(plugin: Plugin) -> bool:
    try:
        return bool(plugin.load().takes == "deployed")
    except SpikeportError:
        return False


def _of_chip(limits: ChipLimits) -> Constraints:
    """What quantization can keep to by its choices; `check` knows the rest."""

    def value(name: str, otherwise: int) -> int:
        return limits[name].value if name in limits else otherwise

    sums = accumulator_max(limits["sum_bits"].value, LOIHI) if "sum_bits" in limits else None
    return Constraints(
        graded=bool(value("graded_payloads", True)),
        sum_max=sums,
        weight_bits=min(value("weight_bits", LOIHI.weight_bits), LOIHI.weight_bits),
        bias_min=value("bias_mantissa_min", LOIHI.bias_mantissa_min),
        exponent_min=0
        if value("exponent_shifts_weights", False)
        else min(max(value("weight_exponent_min", ANY.exponent_min), ANY.exponent_min), 0),
    )
