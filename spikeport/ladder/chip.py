"""The chip that a ladder is priced on: whether it can run the network, and on which cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spikeport.backends import TargetCheck, check_deployed
from spikeport.energy import EnergyReport, HardwareProfile, estimate_energy
from spikeport.errors import CheckFailedError, InputError
from spikeport.mapping import CoreMap, Traffic, map_network
from spikeport.network import DeployedNetwork
from spikeport.plugins import PluginKind, plugins
from spikeport.report.energy_stages import mapped_stage
from spikeport.report.fit import Fit, fit_of
from spikeport.runs import EventCounts
from spikeport.workflow.mapped_energy import work_of_run


@dataclass(frozen=True, slots=True)
class Chip:
    """A network on a chip.

    Attributes:
        title: how the chip is called.
        checked: features that it does not support; None if the profile is not that of a target.
        map: the network on its cores; None if there is none, for the reason `unmapped`.
        traffic: packets of all samples between these cores.
        energy: of all samples, with the cores, packets and hops of the map, by how it was made:
            on the fewest cores, and on all cores of its chips.
    """

    title: str
    checked: TargetCheck | None = None
    map: CoreMap | None = None
    traffic: Traffic | None = None
    energy: Mapping[str, EnergyReport] = field(default_factory=dict)
    unmapped: str = ""

    @property
    def fit(self) -> Fit | None:
        """Whether the chip can run the network; None if that was not checked."""
        if self.checked is None:
            return None
        cores = 0 if self.map is None else len(self.map.cores)
        return fit_of(self.checked, self.title, cores, 0 if self.map is None else self.map.chips)


def on_chip(
    network: DeployedNetwork,
    profile: HardwareProfile,
    counts: EventCounts,
    ann_macs: int | None = None,
) -> Chip:
    """Check a network against the chip of a profile, and map it onto its cores.

    Args:
        ann_macs: of the ANN to compare energies with, see `estimate_energy`.
    """
    if profile.name not in plugins(PluginKind.TARGET):
        return Chip(profile.title, unmapped="the profile of the prices is not that of a target")
    checked = check_deployed(network, [profile.name])[0]
    work = work_of_run(network, counts, profile)
    try:
        found = map_network(network, profile.name, work=work)
        every_core = found.chips * found.limits.cores.value
        spread = map_network(network, profile.name, cores=every_core, work=work)
    except (CheckFailedError, InputError) as error:
        return Chip(profile.title, checked, unmapped=str(error))
    energy: dict[str, EnergyReport] = {}
    for made in (found, spread):
        estimate = estimate_energy(
            network, counts, profile, placement=made.placement(counts), ann_macs=ann_macs
        )
        energy.setdefault(mapped_stage(len(made.cores)), estimate)
    return Chip(profile.title, checked, found, found.traffic(counts), energy)
