"""What the float view of a deployed network has to decide before it can be drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from spikeport.network import (
    DeployedNetwork,
    Population,
    ReadoutKind,
    Reset,
    WeightedConnection,
    require_lif,
    require_lif_populations,
)
from spikeport.network.fixed_point import DECAY_UNITY, VTH_MAX

VIEW = "in a float view"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which parts of a network take which form.

    Attributes:
        spatial: inputs and populations that are (C, L) or (C, H, W) in the view; the rest is flat.
        carriers: per population with a bias, the connection whose map can carry it, if any.
        reached: inputs, and populations to which a path leads from an input.
    """

    spatial: frozenset[str]
    carriers: Mapping[str, WeightedConnection]
    reached: frozenset[str]

    def stays_spatial(self, part: WeightedConnection) -> bool:
        """Whether a connection maps feature maps in the view too, or becomes a matrix."""
        return _stays_spatial(part, self.spatial)


def view_populations(network: DeployedNetwork) -> tuple[Population, ...]:
    """The populations, of which the float view can show LIF neurons only: NIR has no others.

    Raises:
        InputError: a population is of another neuron model.
    """
    return require_lif_populations(network.populations, VIEW)


def lay_out(network: DeployedNetwork) -> Layout:
    """Decide; a population is spatial if convolutions of spatial sources are all that feeds it."""
    found = {p.name: _bias_carrier(network, p) for p in view_populations(network)}
    carriers = {name: carrier for name, carrier in found.items() if carrier is not None}
    reached = {part.name for part in network.inputs}
    while more := {c.target for c in network.connections if c.source in reached} - reached:
        reached |= more
    spatial = {name for name, part in network.sources.items() if len(part.shape) > 1}
    while flat := {
        p.name
        for p in network.populations
        if p.name in spatial
        and (
            p.name not in reached
            or (p.bias.any() and p.name not in carriers)
            or not all(_stays_spatial(c, spatial) for c in network.weighted_into(p.name))
        )
    }:
        spatial -= flat
    return Layout(frozenset(spatial), carriers, frozenset(reached))


def _stays_spatial(part: WeightedConnection, spatial: Collection[str]) -> bool:
    """Whether the source has positions, and NIR can type-check the map, as `portable` writes it."""
    if not part.spatial or part.source not in spatial:
        return False
    sides = part.weight.shape[2:]
    return bool((sides[0] - sides[-1]) % 2 == 0)


def _bias_carrier(network: DeployedNetwork, part: Population) -> WeightedConnection | None:
    """The connection whose map can carry the bias: undelayed, straight into v, of fitting shape."""
    if part.decay_u < DECAY_UNITY or not part.bias.any():
        return None
    by_channel = part.bias.reshape(part.shape[0], -1)
    uniform = len(part.shape) > 1 and bool((by_channel == by_channel[:, :1]).all())
    for connection in network.weighted_into(part.name):
        if not connection.delay and (uniform or not connection.spatial):
            return connection
    return None


def view_notes(network: DeployedNetwork) -> tuple[str, ...]:
    """Where the float view is only near the network, beside integer arithmetic."""
    notes = []
    if len(_resets(network)) > 1:
        notes.append(f"populations differ in reset; the view resets by {common_reset(network)}")
    notes += [
        f"'{p.name}': v starts at {p.v_init}, in the view at 0"
        for p in network.populations
        if p.v_init
    ]
    notes += [
        f"'{p.name}': rests {p.refractory} steps after a spike, in the view it does not"
        for p in view_populations(network)
        if p.refractory and not never_spikes(network, p.name)
    ]
    for readout in network.readouts:
        if readout.kind is ReadoutKind.MEMBRANE and not never_spikes(network, readout.population):
            notes.append(f"'{readout.population}': its membrane is read, the view shows its spikes")
    return tuple(notes)


def common_reset(network: DeployedNetwork) -> Reset:
    """The one reset of a float network: SUBTRACT where all that can spike subtract."""
    return Reset.SUBTRACT if _resets(network) == {Reset.SUBTRACT} else Reset.ZERO


def _resets(network: DeployedNetwork) -> set[Reset]:
    return {p.reset for p in view_populations(network) if not never_spikes(network, p.name)}


def never_spikes(network: DeployedNetwork, name: str) -> bool:
    """A population that is only read by its membrane, with the highest threshold there is."""
    return (
        require_lif(network.by_name[name], VIEW).vth == VTH_MAX
        and all(c.source != name for c in network.connections)
        and all(r.kind is ReadoutKind.MEMBRANE for r in network.readouts if r.population == name)
    )
