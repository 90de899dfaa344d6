"""`estimate_mapped_energy`: map a network, then estimate its energy."""

from __future__ import annotations

from spikeport.energy import EnergyReport, HardwareProfile, estimate_energy, population_work
from spikeport.errors import EnergyError
from spikeport.mapping import map_network
from spikeport.network import DeployedNetwork
from spikeport.plugins import PluginKind, plugins
from spikeport.runs import EventCounts


def estimate_mapped_energy(
    network: DeployedNetwork,
    counts: EventCounts,
    profile: HardwareProfile,
    *,
    accuracy: float | None = None,
    cores: int | None = None,
    ann_macs: int | None = None,
) -> EnergyReport:
    """Map a network onto the profile's chip, then estimate its energy with cores, packets and hops.

    Args:
        counts, accuracy, ann_macs: as for `spikeport.estimate_energy`.
        cores: divide the work of the run among up to this many; by default as few as possible.

    Raises:
        InputError: the profile is that of no installed target, or its target states no limits of
            cores; the counts are those of another network; the network takes more than `cores`.
        CheckFailedError: a single neuron needs more than a core has.
    """
    if profile.name not in plugins(PluginKind.TARGET):
        raise EnergyError(
            f"energy: profile '{profile.name}' is no installed target, so nothing is mapped to it"
        )
    made = map_network(
        network, profile.name, cores=cores, work=work_of_run(network, counts, profile)
    )
    placement = made.placement(counts)
    return estimate_energy(
        network, counts, profile, placement=placement, accuracy=accuracy, ann_macs=ann_macs
    )


def work_of_run(
    network: DeployedNetwork, counts: EventCounts, profile: HardwareProfile
) -> dict[str, float] | None:
    """Work of each population as `spikeport.map_network` takes it; None without times."""
    work = population_work(network, counts, profile)
    return work if any(work.values()) else None
