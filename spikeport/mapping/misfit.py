"""`Misfit`: a neuron that fits no core, however its population is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spikeport.hardware import Limit
from spikeport.mapping.limits import RESOURCES, Resource, Setting
from spikeport.mapping.plan import Demands, Plan
from spikeport.mapping.settings import settings_of
from spikeport.mapping.tiling import Tiling

LARGER = "use a target with larger cores"
REMEDIES: Mapping[Resource | Setting, str] = {
    Resource.NEURONS: LARGER,
    Resource.MEMORY: "let each neuron read fewer sources, such as by a pool in front of it",
    Resource.INPUT_AXONS: "let each neuron read at most {limit} sources, such as by a pool or a "
    "convolution in front of it",
    Resource.OUTPUT_AXONS: "make the populations after it smaller, so that they take fewer cores",
    Resource.PIECES: LARGER,
    Setting.DYNAMICS: LARGER,
    Setting.THRESHOLD: LARGER,
    Setting.SYNAPSES: "let connections into it share exponent, bits and delay, or merge them",
}
UNITS: Mapping[Resource | Setting, str] = {
    Resource.MEMORY: "bits of synapse memory",
    Setting.DYNAMICS: "formats of neurons",
    Setting.THRESHOLD: "thresholds",
    Setting.SYNAPSES: "formats of synapses",
}


@dataclass(frozen=True, slots=True)
class Misfit:
    """What a single neuron needs beyond the limit of a core.

    Attributes:
        value: of the neuron that needs most.
        neurons: number of neurons of the population that need too much, of `size`.
    """

    population: str
    resource: Resource | Setting
    value: int
    neurons: int
    size: int
    limit: Limit

    @property
    def unit(self) -> str:
        """The resource, as the unit of a number."""
        return UNITS.get(self.resource, str(self.resource))

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.resource].format(limit=self.limit.value)

    def __str__(self) -> str:
        return (
            f"population '{self.population}': one neuron needs {self.value} {self.unit}, a core "
            f"has {self.limit.value} ({self.limit.citation}); {self.remedy}"
        )


def misfits(plan: Plan, name: str, tilings: Mapping[str, Tiling]) -> tuple[Misfit, ...]:
    """What single neurons of a population need too much of, given the pieces of all others."""
    finest = Tiling.finest(plan.shapes[name])
    demands = plan.demands(name, finest, tilings, own=tilings[name])
    return (*beyond(plan, name, demands), *_settings(plan, name))


def beyond(plan: Plan, name: str, demands: Demands) -> Iterator[Misfit]:
    """Demands of single neurons that are beyond the limits of a core."""
    over = demands > plan.capacity
    for k, resource in enumerate(RESOURCES):
        if count := int(over[:, k].sum()):
            most = int(demands[:, k].max())
            size = plan.network.by_name[name].size
            yield Misfit(name, resource, most, count, size, plan.limits.capacity[resource])


def _settings(plan: Plan, name: str) -> Iterator[Misfit]:
    population = plan.network.by_name[name]
    needed = settings_of(plan, population)
    for setting, limit in plan.limits.settings.items():
        if (count := len(needed[setting])) > limit.value:
            yield Misfit(name, setting, count, population.size, population.size, limit)
