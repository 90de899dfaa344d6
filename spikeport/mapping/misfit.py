"""`Misfit`: a neuron that fits no core, however its population is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikeport.hardware import Limit
from spikeport.mapping.limits import RESOURCES, Resource
from spikeport.mapping.plan import Plan
from spikeport.mapping.tiling import Tiling

REMEDIES: Mapping[Resource, str] = {
    Resource.NEURONS: "use a target with larger cores",
    Resource.MEMORY: "store fewer bits per weight, or let each neuron read fewer sources",
    Resource.INPUT_AXONS: "let each neuron read fewer sources, such as by a convolution, a pool or "
    "a layer between",
    Resource.OUTPUT_AXONS: "make the populations after it smaller, or let each neuron reach fewer "
    "of them",
    Resource.PIECES: "use a target with larger cores",
}
UNITS: Mapping[Resource, str] = {Resource.MEMORY: "bits of synapse memory"}


@dataclass(frozen=True, slots=True)
class Misfit:
    """What a single neuron needs beyond the limit of a core.

    Attributes:
        value: of the neuron that needs most.
        neurons: number of neurons of the population that need too much.
    """

    population: str
    resource: Resource
    value: int
    neurons: int
    limit: Limit

    @property
    def unit(self) -> str:
        """The resource, as the unit of a number."""
        return UNITS.get(self.resource, str(self.resource))

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.resource]

    def __str__(self) -> str:
        return (
            f"population '{self.population}': one neuron needs {self.value} {self.unit}, a core "
            f"has {self.limit.value} ({self.limit.citation}); {self.remedy}"
        )


def misfits(plan: Plan, name: str, tilings: Mapping[str, Tiling]) -> tuple[Misfit, ...]:
    """What single neurons of a population need too much of, given the pieces after it."""
    demands = plan.demands(name, Tiling.finest(plan.shapes[name]), tilings)
    over = demands > plan.capacity
    return tuple(
        Misfit(
            name, resource, int(demands[:, k].max()), int(over[:, k].sum()),
            plan.limits.capacity[resource],
        )
        for k, resource in enumerate(RESOURCES) if np.any(over[:, k])
    )  # fmt: skip
