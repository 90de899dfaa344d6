"""The neuron models of deployed networks, and what follows from their list."""

from __future__ import annotations

from collections.abc import Iterable

from spikeport.errors import InputError
from spikeport.network.neurons.lif import Population
from spikeport.network.neurons.model import AnyPopulation, StateVariable

MODELS: tuple[type[AnyPopulation], ...] = (Population,)
"""Every model; a new one is complete once it stands here."""

STATE_VARIABLES: dict[str, StateVariable] = {
    variable.name: variable for model in MODELS for variable in model.STATE
}
"""State variables of any model by name; a name means the same in all that have it."""

RECORDABLE_STATE = tuple(name for name, variable in STATE_VARIABLES.items() if variable.recordable)
"""State variables of any model that traces and probes can hold."""

SHARED_STATE = tuple(
    name for name in RECORDABLE_STATE if all(name in (v.name for v in m.STATE) for m in MODELS)
)
"""Those that every model has."""


def as_lif(part: AnyPopulation, where: str = "here") -> Population:
    """The population, which must be one of LIF neurons.

    Args:
        where: of the error message, such as "in training".

    Raises:
        InputError: its neurons are of another model.
    """
    if not isinstance(part, Population):
        raise InputError(
            f"population '{part.name}' has {part.MODEL} neurons, {where} they must be LIF"
        )
    return part


def lif_populations(parts: Iterable[AnyPopulation], where: str = "here") -> tuple[Population, ...]:
    """The populations, all of which must be of LIF neurons; see `as_lif`."""
    return tuple(as_lif(part, where) for part in parts)
