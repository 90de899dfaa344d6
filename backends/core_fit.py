"""Whether the cores of a chip hold a network."""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends.limitation import Limitation, UnsupportedFeature
from spikeport.hardware import TargetFile
from spikeport.mapping import core_limits, find_misfits, has_core_limits
from spikeport.mapping.limits import Setting
from spikeport.network import DeployedNetwork


def core_limitations(file: TargetFile) -> tuple[Limitation, ...]:
    """The limitation by the cores of a chip; none if its file does not state their limits.

    A neuron that needs more than a core has stops the network if that limit is verified. More
    cores than a chip has are reported, as several chips can be combined.

    Raises:
        InputError: a limit of its cores is not positive.
    """
    if not has_core_limits(file.limits):
        return ()
    limits = core_limits(file)
    formats = ", formats of synapses" if Setting.SYNAPSES in file.limits else ""

    def find(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
        wrong, need = find_misfits(network, limits)
        for one in wrong:
            yield UnsupportedFeature(
                f"population '{one.population}' ({one.neurons} of {one.size} neurons)",
                f"{one.unit} of a neuron",
                one.value,
                one.limit.value,
                one.remedy,
                one.limit.citation,
                stops=one.limit.verified,
                verified=one.limit.verified,
            )
        if need.cores > limits.cores.value:
            chips = -(-need.cores // limits.cores.value)
            yield UnsupportedFeature(
                "the network",
                "cores, at least" if wrong else "cores",
                need.cores,
                limits.cores.value,
                f"use {chips} chips, or make '{need.largest}' smaller, which takes most cores",
                limits.cores.citation,
                verified=limits.cores.verified,
            )

    return (
        Limitation(
            f"neurons with more synapses{formats}, sources or targets than a core holds, and more "
            f"than {limits.cores.value} cores, which need several chips; see `spikeport map`",
            find,
        ),
    )
