"""Selection of what a run records: variables of all or some populations, or of some neurons."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from spikeport.checks import integers
from spikeport.errors import InputError, UnknownNameError
from spikeport.network import RECORDABLE_STATE, SHARED_STATE, AnyPopulation, DeployedNetwork
from spikeport.runs.run import Chosen

KNOWN_VARIABLES = ("spikes", *RECORDABLE_STATE)
"""Everything that can be recorded for some neuron model."""
RECORDABLE = ("spikes", *SHARED_STATE)
"""What can be recorded for every neuron model."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Variables of one population to record.

    Attributes:
        variables: any of "spikes", "u" and "v", and of the other state variables of its neuron
            model; None for all.
        neurons: flat indices (C order) within the population; None for all.

    Raises:
        InputError: a variable is unknown, no neurons are given, or an index is invalid.
    """

    population: str
    variables: tuple[str, ...] | None = None
    neurons: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.variables is not None:
            names = check_names(self.variables, KNOWN_VARIABLES)
            object.__setattr__(self, "variables", names)
        if self.neurons is None:
            return
        some = np.atleast_1d(integers(f"probe of '{self.population}'", self.neurons, np.int64))
        flat = tuple(sorted(set(some.ravel().tolist())))
        if not flat or flat[0] < 0:
            raise InputError(
                f"probe of '{self.population}': neurons {flat}, needs at least one, from 0 on"
            )
        object.__setattr__(self, "neurons", flat)


RecordSpec = str | Probe | Collection[str | Probe]
"""What to record: a plain name means that variable of every population that has it. Duplicates are
recorded once. A single name or probe needs no list."""


def recordable(part: AnyPopulation) -> tuple[str, ...]:
    """What can be recorded of a population, in the order of KNOWN_VARIABLES."""
    return ("spikes", *(variable.name for variable in part.STATE if variable.recordable))


def everything(network: DeployedNetwork) -> tuple[str, ...]:
    """Everything that can be recorded of a network, in the order of KNOWN_VARIABLES."""
    found = {name for part in network.populations for name in recordable(part)}
    return tuple(name for name in KNOWN_VARIABLES if name in found)


def record_items(record: RecordSpec) -> tuple[str | Probe, ...]:
    """`record` as a tuple; a string is a single item."""
    return (record,) if isinstance(record, str | Probe) else tuple(record)


def check_names(record: RecordSpec, known: Collection[str], where: str = "") -> tuple[str, ...]:
    """`record` as a tuple of names, all of which must be `known`.

    Args:
        where: context for the error message, such as " in norse".

    Raises:
        InputError: an item is not a known name.
    """
    items = record_items(record)
    for item in items:
        if item not in known:
            raise UnknownNameError(
                f"record: {item!r} cannot be recorded{where}, only {', '.join(known)}"
            )
    return items  # type: ignore[return-value]  # all are in `known`


Selection = dict[tuple[str, str], Chosen | None]
"""Per recorded (variable, population), the selected neurons; None for all."""


def selection(network: DeployedNetwork, record: RecordSpec) -> Selection:
    """Resolve `record` for `network`, in the order of KNOWN_VARIABLES and of the populations.

    Raises:
        InputError: a name, population or neuron does not exist.
    """
    found: dict[tuple[str, str], set[int] | None] = {}
    for probe in _probes(network, record):
        for variable in probe.variables or recordable(network.by_name[probe.population]):
            key = variable, probe.population
            before = found.get(key, set())
            wanted = None if probe.neurons is None else set(probe.neurons)
            found[key] = None if before is None or wanted is None else before | wanted
    return {
        (variable, part.name): None
        if (flat := found[variable, part.name]) is None
        else Chosen(np.array(sorted(flat), np.int64), part.shape)
        for variable in KNOWN_VARIABLES
        for part in network.populations
        if (variable, part.name) in found
    }


def parse_probe(text: str) -> Probe:
    """Parse a probe of the form POPULATION[:VARIABLES[:NEURONS]]: `lif1`, `lif1:spikes,v`,
    `out:v:0,4-7`.

    Raises:
        InputError: it has another form, or breaks a rule of `Probe`.
    """
    population, *rest = text.split(":")
    variables = tuple(rest[0].split(",")) if rest else None
    if len(rest) < 2:
        return Probe(population, variables)
    neurons: set[int] = set()
    for part in ":".join(rest[1:]).split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(
                f"probe '{text}': '{part}' is not a neuron, must be like 3 or 3-8; the form is "
                "POPULATION[:VARIABLES[:NEURONS]]"
            )
        neurons.update(range(int(first), int(last or first) + 1))
    return Probe(population, variables, tuple(neurons))


def _probes(network: DeployedNetwork, record: RecordSpec) -> list[Probe]:
    probes: list[Probe] = []
    for item in record_items(record):
        if isinstance(item, Probe):
            probes.append(item)
        else:
            names = check_names(item, KNOWN_VARIABLES)
            having = [part.name for part in network.populations if item in recordable(part)]
            if not having:
                raise InputError(
                    f"record: no population of the network has {item}, only "
                    f"{', '.join(everything(network))} can be recorded"
                )
            probes += (Probe(name, names) for name in having)
    for probe in probes:
        if probe.population not in network.by_name:
            raise UnknownNameError(
                f"record: '{probe.population}' is not a population of the network, it has "
                f"{', '.join(network.by_name)}"
            )
        part = network.by_name[probe.population]
        for variable in probe.variables or ():
            if variable not in recordable(part):
                raise InputError(
                    f"record: '{part.name}' has {part.MODEL} neurons, of which only "
                    f"{', '.join(recordable(part))} can be recorded, not {variable}"
                )
        if probe.neurons is not None and probe.neurons[-1] >= part.size:
            raise InputError(
                f"record: neuron {probe.neurons[-1]} of '{probe.population}', which has {part.size}"
            )
    return probes
