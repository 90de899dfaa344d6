"""Whether the cores of a chip hold a network."""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends.limitation import Limitation, UnsupportedFeature
from spikeport.hardware import TargetFile
from spikeport.mapping import core_limits, find_misfits, has_core_limits
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

    def find(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
        wrong, cores = find_misfits(network, limits)
        for one in wrong:
            more = f" ({one.neurons} such neurons)" if one.neurons > 1 else ""
            unverified = "" if one.limit.verified else ", which is not verified"
            yield UnsupportedFeature(
                f"population '{one.population}'",
                f"a neuron that needs {one.value} {one.unit}{more}",
                f"a core has {one.limit.value}{unverified}; {one.remedy}",
                one.limit.citation,
                stops=one.limit.verified,
            )
        if cores is not None and cores > limits.cores.value:
            chips = -(-cores // limits.cores.value)
            why = f"one chip has {limits.cores.value}, so it needs {chips} chips"
            yield UnsupportedFeature("the network", f"{cores} cores", why, limits.cores.citation)

    return (
        Limitation(
            "neurons with more synapses, sources or targets than a core holds, and more than "
            f"{limits.cores.value} cores, which need several chips; see `spikeport map`",
            find,
        ),
    )
