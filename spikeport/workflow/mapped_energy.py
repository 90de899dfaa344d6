"""`estimate_mapped_energy`: map a network, then estimate its energy."""

from __future__ import annotations

from spikeport.energy import EnergyReport, HardwareProfile, estimate_energy
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
) -> EnergyReport:
    """Map a network onto the profile's chip, then estimate its energy with cores, packets and hops.

    Args:
        counts, accuracy: of a run, as for `spikeport.estimate_energy`.

    Raises:
        InputError: the profile is that of no installed target, or its target states no limits of
            cores; the counts are those of another network.
        CheckFailedError: a single neuron needs more than a core has.
    """
    if profile.name not in plugins(PluginKind.TARGET):
        raise EnergyError(
            f"energy: profile '{profile.name}' is no installed target, so nothing is mapped to it"
        )
    placement = map_network(network, profile.name).placement(counts)
    return estimate_energy(network, counts, profile, placement=placement, accuracy=accuracy)
