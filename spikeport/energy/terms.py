"""The terms of dynamic energy: the events that each one counts, its price, its colour in reports.

This table defines a term completely. Estimates, the energy loss in training, tables, charts and the
keys that a profile may price follow from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from spikeport.runs import EventCounts
from spikeport.runs import EventScope as EventScope


class SynapseKind(StrEnum):
    """Storage format of a connection, which determines what an event on it costs.

    DENSE stores a row of weights per source neuron, zeros included; CONV one kernel that all
    positions share; SPARSE each synapse with the index of its target.
    """

    DENSE = "dense"
    CONV = "conv"
    SPARSE = "sparse"


class EventKind(StrEnum):
    """What is counted, by the name of its field in `EventCounts`.

    Synaptic events form an interval: those on non-zero weights, plus those on stored zeros at the
    levels at which the profile charges them. All other counts are the same at each level.
    """

    VISITS = "visits"
    UPDATES = "updates"
    SPIKES = "spikes"
    INPUT_EVENTS = "input_events"
    MESSAGES = "messages"
    SYNAPTIC_EVENTS = "synaptic_events"

    @property
    def scope(self) -> EventScope:
        """What each count belongs to."""
        return EventCounts.SCOPES[self]


class Regime(StrEnum):
    """The part of the bill that dominates it."""

    SYNAPSES = "synapse"
    NEURONS = "neuron"
    ROUTING = "routing"
    STATIC = "static"
    HOST = "host"

    @property
    def remedy(self) -> str:
        """What lowers the energy of a network that it dominates."""
        return REMEDIES[self]


REMEDIES = {
    Regime.SYNAPSES: "fewer synaptic events: fewer spikes (train with an energy budget), fewer "
    "steps, pruned weights, smaller fan-out",
    Regime.NEURONS: "fewer neurons or fewer steps: they cost energy in every step, whether they "
    "spike or not",
    Regime.ROUTING: "fewer spikes, or layers on fewer and nearer cores",
    Regime.STATIC: "shorter or fewer steps: work spread over more cores of the same chip, fewer "
    "chips; fewer spikes help only as far as steps become shorter",
    Regime.HOST: "a host that does not take part in every step: several steps per exchange, or "
    "input and output on the chip",
}


REGIMES = {
    EventKind.VISITS: Regime.NEURONS,
    EventKind.UPDATES: Regime.NEURONS,
    EventKind.SPIKES: Regime.NEURONS,
    EventKind.INPUT_EVENTS: Regime.HOST,
    EventKind.MESSAGES: Regime.ROUTING,
    EventKind.SYNAPTIC_EVENTS: Regime.SYNAPSES,
}
MAC = "mac"
"""Key of the price of a graded value times a weight, instead of that of a spike's event."""


@dataclass(frozen=True, slots=True)
class EnergyTerm:
    """Events times a price.

    Attributes:
        price: key of the price per event in a profile's table `energy_pj`, and in `time_ns` if its
            events take time.
        colour: class of the report's style sheet.
        storage: count only connections of this storage format; None counts all of them.
        per_hop: key of a price that is added for every hop of a packet, if any.
    """

    title: str
    events: EventKind
    price: str
    colour: str
    storage: SynapseKind | None = None
    per_hop: str | None = None

    @property
    def regime(self) -> Regime:
        """The part of the bill that the term belongs to."""
        return REGIMES[self.events]

    @property
    def fixed(self) -> bool:
        """Whether its events stay the same if fewer spikes are sent; so taken for updates."""
        return self.events in (EventKind.VISITS, EventKind.UPDATES)

    @property
    def timed(self) -> bool:
        """Whether its events take time; those of inputs do not, as inputs occupy no core."""
        return self.events.scope is not EventScope.INPUT

    def covers(self, storage: SynapseKind) -> bool:
        """Whether events of connections of this storage format belong to this term."""
        return self.storage in (None, storage)


TERMS = (
    EnergyTerm(
        "synapses, dense", EventKind.SYNAPTIC_EVENTS, "synapse_dense", "c1", SynapseKind.DENSE
    ),
    EnergyTerm("synapses, conv", EventKind.SYNAPTIC_EVENTS, "synapse_conv", "c2", SynapseKind.CONV),
    EnergyTerm(
        "synapses, sparse", EventKind.SYNAPTIC_EVENTS, "synapse_sparse", "c8", SynapseKind.SPARSE
    ),
    EnergyTerm("neuron visits", EventKind.VISITS, "visit", "c3"),
    EnergyTerm("neuron updates", EventKind.UPDATES, "update", "c4"),
    EnergyTerm("spike generation", EventKind.SPIKES, "fire", "c5"),
    EnergyTerm("routing", EventKind.MESSAGES, "packet", "c6", per_hop="hop"),
)
STATIC_POWER, STATIC_COLOUR = "static power", "c7"
HOST_COLOUR = "c9"


def east_west(per_hop: str) -> str:
    """Key of the price of an east-west hop, where it differs from a north-south one."""
    return f"{per_hop}_east_west"


def energy_keys(terms: Iterable[EnergyTerm]) -> tuple[str, ...]:
    """Keys that a profile may price in pJ."""
    keys = [term.price for term in terms]
    hops = [term.per_hop for term in terms if term.per_hop is not None]
    return (*keys, *hops, *map(east_west, hops), MAC)


def time_keys(terms: Iterable[EnergyTerm]) -> tuple[str, ...]:
    """Keys that a profile may price in ns."""
    return (*(term.price for term in terms if term.timed), MAC, "receive", "barrier")
