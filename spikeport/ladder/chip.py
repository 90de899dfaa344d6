"""Whether the chip that a ladder is priced on can run its network."""

from __future__ import annotations

from spikeport.backends import TargetCheck, check
from spikeport.energy import HardwareProfile
from spikeport.network import DeployedNetwork
from spikeport.plugins import PluginKind, plugins


def check_chip(network: DeployedNetwork, profile: HardwareProfile) -> TargetCheck | None:
    """`spikeport.check` for the chip of a profile; None if the profile is not that of a target."""
    if profile.name not in plugins(PluginKind.TARGET):
        return None
    return check(network, [profile.name])[0]
