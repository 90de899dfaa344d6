"""`map_network`: place the neurons and synapses of a network on the cores of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import CheckFailedError, UnknownNameError, ValueRangeError
from spikeport.hardware import TargetFile, read_target
from spikeport.mapping.bounds import lower_bounds
from spikeport.mapping.core_map import Core, CoreMap
from spikeport.mapping.layout import Layout, fewest_cores, least_work, shares_of_work
from spikeport.mapping.limits import RESOURCES, CoreLimits, core_limits
from spikeport.mapping.misfit import Misfit
from spikeport.mapping.placement import MOST, Places, hops_of, improved, starts
from spikeport.mapping.plan import Plan, Tilings, plan
from spikeport.mapping.traffic import core_messages, tally
from spikeport.network import DeployedNetwork
from spikeport.plugins import PluginKind, plugins


def map_network(
    network: DeployedNetwork,
    target: str | TargetFile,
    *,
    share_cores: bool = True,
    cores: int | None = None,
    work: Mapping[str, float] | None = None,
) -> CoreMap:
    """Map a network onto the cores of a target.

    Each population is cut into the fewest pieces that fit a core, of equal size as far as
    possible, pieces are put together on cores (best-fit decreasing), and cores are placed on the
    mesh so that packets take few hops. All of this is a heuristic; `CoreMap.lower_bound` says how
    far from optimal it can be.

    Args:
        target: name of a chip, or the content of its file.
        share_cores: whether a core may hold pieces of several populations; if not, every piece has
            a core of its own, as in the published maps of nengo-loihi and of Lava.
        cores: use up to this many, so that the busiest core, which sets the length of a step, has
            less to do; by default as few as possible.
        work: of each population, in any unit, such as `spikeport.energy.population_work`; by
            default the visits of its neurons and the events on its synapses if every neuron and
            input sends one message.

    Raises:
        InputError: the target is unknown, or states no limits of its cores; the network takes more
            than `cores`; `work` lacks a population, or is negative, not finite or 0 for all.
        CheckFailedError: a single neuron needs more than a core has; the message names every such
            population, value, limit and remedy.
    """
    made = plan(network, core_limits(_file(target)))
    shares = shares_of_work(made, work)
    layout, wrong = fewest_cores(made, shares, share_cores=share_cores)
    if layout is None:
        told = "; ".join(map(str, wrong))
        raise CheckFailedError(f"network cannot be mapped to {made.limits.target}: {told}")
    if cores is not None:
        if cores < len(layout.groups):
            raise ValueRangeError(
                f"map: cores is {cores}, must be at least the {len(layout.groups)} that the "
                "network takes"
            )
        layout = least_work(made, layout, shares, cores, share_cores=share_cores)
    core_of = np.empty(len(layout.pieces), np.int64)
    for number, group in enumerate(layout.groups):
        core_of[group] = number
    places = _places(made, layout.tilings, core_of, len(layout.groups))
    return CoreMap(
        network_hash=network.content_hash,
        limits=made.limits,
        share_cores=share_cores,
        pieces=layout.pieces,
        cores=_cores(made.limits, layout, places),
        lower_bounds=lower_bounds(made, share_cores=share_cores),
        _plan=made,
        _tilings=layout.tilings,
        _places=places,
    )


@dataclass(frozen=True, slots=True)
class CoreNeed:
    """Cores that a network takes.

    Attributes:
        cores: if something fits no core, those that no map could do without.
        largest: the population that is cut into most pieces, or else has most neurons.
    """

    cores: int
    largest: str


def find_misfits(
    network: DeployedNetwork, limits: CoreLimits
) -> tuple[tuple[Misfit, ...], CoreNeed]:
    """What of a network fits no core, and how many cores it needs.

    Cores are not placed, which takes less time than `map_network`.

    Raises:
        InputError: a connection of a kind that cannot be mapped.
    """
    made = plan(network, limits)
    layout, wrong = fewest_cores(made, shares_of_work(made, None), share_cores=True)
    if layout is None:
        least = max(lower_bounds(made, share_cores=True).values())
        return wrong, CoreNeed(least, max(network.populations, key=lambda part: part.size).name)
    largest = max(network.order, key=lambda name: layout.tilings[name].count)
    return (), CoreNeed(len(layout.groups), largest)


def _file(target: str | TargetFile) -> TargetFile:
    if isinstance(target, TargetFile):
        return target
    known = plugins(PluginKind.TARGET)
    if target not in known:
        raise UnknownNameError(f"target '{target}' is unknown, must be one of {', '.join(known)}")
    return read_target(known[target])


def _places(made: Plan, tilings: Tilings, core_of: NDArray[np.int64], cores: int) -> Places:
    """Where each core lies."""
    found = starts(made.limits, cores)
    if cores > MOST:
        return min(
            found, key=lambda places: tally(made, tilings, places.of(core_of), None, "").hops
        )
    messages = core_messages(made, tilings, core_of, cores)
    return min(
        (improved(messages, places) for places in found),
        key=lambda places: hops_of(messages, places),
    )


def _cores(limits: CoreLimits, layout: Layout, places: Places) -> tuple[Core, ...]:
    demands = layout.demands
    return tuple(
        Core(
            chip=int(chip),
            column=int(column) - int(chip) * limits.mesh.tiles_per_row,
            row=int(row),
            pieces=tuple(group),
            usage=dict(zip(RESOURCES, demands[list(group)].sum(axis=0).tolist(), strict=True)),
            work=work,
        )
        for group, work, chip, column, row in zip(
            layout.groups, layout.work, places.chip, places.column, places.row, strict=True
        )
    )
