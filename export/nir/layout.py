"""Layout of the float view of a deployed network: shapes, biases and reset."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from spikeport.network import (
    LOIHI,
    DeployedNetwork,
    Population,
    ReadoutKind,
    Reset,
    WeightedConnection,
    require_lif,
    require_lif_populations,
)

VIEW = "in a float view"


@dataclass(frozen=True, slots=True)
class Layout:
    """The form of each part of a network in its float view.

    Attributes:
        spatial: inputs and populations that are (C, L) or (C, H, W) in the view; the rest is flat.
        carriers: per population with a bias, the connection whose map can carry it, if any.
        reached: inputs, and populations with a path from an input.
    """

    spatial: frozenset[str]
    carriers: Mapping[str, WeightedConnection]
    reached: frozenset[str]

    def stays_spatial(self, part: WeightedConnection) -> bool:
        """Whether a connection maps feature maps in the view too, or becomes a matrix."""
        return _stays_spatial(part, self.spatial)


def view_populations(network: DeployedNetwork) -> tuple[Population, ...]:
    """The populations, all of LIF neurons, the only model of a float view in NIR.

    Raises:
        InputError: a population is of another neuron model.
    """
    return require_lif_populations(network.populations, VIEW)


def lay_out(network: DeployedNetwork) -> Layout:
    """Choose a layout; a population is spatial if fed only by convolutions of spatial sources."""
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
    """The connection whose map can carry the bias: no delay, directly into v, matching shape."""
    if part.decay_u < LOIHI.decay_unity or not part.bias.any():
        return None
    by_channel = part.bias.reshape(part.shape[0], -1)
    uniform = len(part.shape) > 1 and bool((by_channel == by_channel[:, :1]).all())
    for connection in network.weighted_into(part.name):
        if not connection.delay and (uniform or not connection.spatial):
            return connection
    return None


def loop_connections(network: DeployedNetwork) -> frozenset[str]:
    """The connections with a delay of one step that are part of a cycle."""
    follow: dict[str, set[str]] = {}
    for connection in network.connections:
        follow.setdefault(connection.source, set()).add(connection.target)

    def reaches(start: str, goal: str) -> bool:
        seen, waiting = {start}, [start]
        while waiting:
            name = waiting.pop()
            if name == goal:
                return True
            more = follow.get(name, set()) - seen
            seen |= more
            waiting += more
        return False

    return frozenset(
        one.name
        for one in network.weighted_connections
        if one.delay == 1 and reaches(one.target, one.source)
    )


def view_notes(network: DeployedNetwork) -> tuple[str, ...]:
    """Approximations of the float view other than integer arithmetic, one sentence each."""
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
    """The reset of the float network: SUBTRACT if all populations that can spike subtract."""
    return Reset.SUBTRACT if _resets(network) == {Reset.SUBTRACT} else Reset.ZERO


def _resets(network: DeployedNetwork) -> set[Reset]:
    return {p.reset for p in view_populations(network) if not never_spikes(network, p.name)}


def never_spikes(network: DeployedNetwork, name: str) -> bool:
    """Whether a population has the highest threshold and only its membrane is read."""
    return (
        require_lif(network.by_name[name], VIEW).vth == network.arithmetic.vth_max
        and all(c.source != name for c in network.connections)
        and all(r.kind is ReadoutKind.MEMBRANE for r in network.readouts if r.population == name)
    )
