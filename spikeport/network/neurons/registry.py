"""The list of neuron models of deployed networks, and everything derived from it."""

from __future__ import annotations

from collections.abc import Iterable

from spikeport.errors import NetworkError
from spikeport.network.neurons.atrlif import ATRLIFPopulation
from spikeport.network.neurons.lif import Population
from spikeport.network.neurons.model import AnyPopulation, StateVariable

MODELS: tuple[type[AnyPopulation], ...] = (Population, ATRLIFPopulation)
"""All models.

Network files, probes, traces and the scalar reference follow from this list; the native simulator,
the one for GPUs and Lava have tables of their own and refuse a model that is not in theirs.
"""

STATE_VARIABLES: dict[str, StateVariable] = {
    variable.name: variable for model in MODELS for variable in model.STATE
}
"""State variables of all models by name; a name means the same in all models that have it."""

RECORDABLE_STATE = tuple(name for name, variable in STATE_VARIABLES.items() if variable.recordable)
"""State variables of all models that traces and probes can record."""

SHARED_STATE = tuple(
    name for name in RECORDABLE_STATE if all(name in (v.name for v in m.STATE) for m in MODELS)
)
"""State variables common to all models."""


def require_lif(part: AnyPopulation, where: str = "here") -> Population:
    """Return the population if it consists of LIF neurons.

    Args:
        where: context for the error message, such as "in training".

    Raises:
        InputError: its neurons are of another model.
    """
    if not isinstance(part, Population):
        raise NetworkError(
            f"population '{part.name}' has {part.MODEL} neurons, {where} they must be LIF"
        )
    return part


def require_lif_populations(
    parts: Iterable[AnyPopulation], where: str = "here"
) -> tuple[Population, ...]:
    """Return the populations if all consist of LIF neurons; see `require_lif`."""
    return tuple(require_lif(part, where) for part in parts)
