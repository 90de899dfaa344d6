"""`map_network`: place the neurons and synapses of a network on the cores of a chip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import CheckFailedError, UnknownNameError
from spikeport.hardware import TargetFile, read_target
from spikeport.mapping.bounds import lower_bounds
from spikeport.mapping.core_map import Core, CoreMap, Piece
from spikeport.mapping.limits import RESOURCES, CoreLimits, core_limits
from spikeport.mapping.misfit import Misfit
from spikeport.mapping.packing import pack
from spikeport.mapping.placement import MOST, Places, improved, starts
from spikeport.mapping.plan import Demands, Plan, Tilings, plan
from spikeport.mapping.settings import settings_of
from spikeport.mapping.splitting import split
from spikeport.mapping.traffic import core_messages, tally
from spikeport.network import DeployedNetwork
from spikeport.plugins import PluginKind, plugins


def map_network(
    network: DeployedNetwork, target: str | TargetFile, *, share_cores: bool = True
) -> CoreMap:
    """Map a network onto the cores of a target.

    Each population is cut into the fewest pieces that fit a core, pieces are put together on cores
    (best-fit decreasing), and cores are placed on the mesh so that packets take few hops. All of
    this is a heuristic; `CoreMap.lower_bound` says how far from optimal it can be.

    Args:
        target: name of a chip, or the content of its file.
        share_cores: whether a core may hold pieces of several populations; if not, every piece has
            a core of its own, as in the published maps of nengo-loihi and of Lava.

    Raises:
        InputError: the target is unknown, or states no limits of its cores.
        CheckFailedError: a single neuron needs more than a core has; the message names every such
            population, value, limit and remedy.
    """
    made = plan(network, core_limits(_file(target)))
    tilings, wrong = split(made)
    if wrong:
        told = "; ".join(map(str, wrong))
        raise CheckFailedError(f"network cannot be mapped to {made.limits.target}: {told}")
    pieces, demands = _pieces(made, tilings)
    groups = _groups(made, pieces, demands, share_cores=share_cores)
    core_of = np.empty(len(pieces), np.int64)
    for number, group in enumerate(groups):
        core_of[group] = number
    places = _places(made, tilings, core_of, len(groups))
    return CoreMap(
        network_hash=network.content_hash,
        limits=made.limits,
        share_cores=share_cores,
        pieces=tuple(pieces),
        cores=_cores(made.limits, groups, demands, places),
        lower_bounds=lower_bounds(made, share_cores=share_cores),
        _plan=made,
        _tilings=tilings,
        _places=places,
    )


def find_misfits(
    network: DeployedNetwork, limits: CoreLimits
) -> tuple[tuple[Misfit, ...], int | None]:
    """What of a network fits no core, and otherwise how many cores it needs.

    Cores are not placed, which takes less time than `map_network`.

    Raises:
        InputError: a connection of a kind that cannot be mapped.
    """
    made = plan(network, limits)
    tilings, wrong = split(made)
    if wrong:
        return wrong, None
    return (), len(_groups(made, *_pieces(made, tilings), share_cores=True))


def _file(target: str | TargetFile) -> TargetFile:
    if isinstance(target, TargetFile):
        return target
    known = plugins(PluginKind.TARGET)
    if target not in known:
        raise UnknownNameError(f"target '{target}' is unknown, must be one of {', '.join(known)}")
    return read_target(known[target])


def _pieces(made: Plan, tilings: Tilings) -> tuple[list[Piece], Demands]:
    pieces: list[Piece] = []
    rows = []
    for name in made.network.order:
        demands = made.demands(name, tilings[name], tilings)
        rows.append(demands)
        for box, row in zip(tilings[name].boxes, demands.tolist(), strict=True):
            pieces.append(Piece(name, box, dict(zip(RESOURCES, row, strict=True))))
    return pieces, np.concatenate(rows)


def _groups(
    made: Plan, pieces: Sequence[Piece], demands: Demands, *, share_cores: bool
) -> list[list[int]]:
    """The pieces of each core, in the order of their first pieces."""
    if not share_cores:
        return [[number] for number in range(len(pieces))]
    settings = {part.name: settings_of(made, part) for part in made.network.populations}
    groups = pack(
        demands,
        [settings[piece.population] for piece in pieces],
        made.capacity,
        {name: limit.value for name, limit in made.limits.settings.items()},
    )
    return sorted(groups)


def _places(made: Plan, tilings: Tilings, core_of: NDArray[np.int64], cores: int) -> Places:
    """Where each core lies."""
    best = min(
        starts(made.limits, cores),
        key=lambda places: tally(made, tilings, places.of(core_of), None, "").hops,
    )
    if cores > MOST:
        return best
    return improved(core_messages(made, tilings, core_of, cores), best)


def _cores(
    limits: CoreLimits, groups: Sequence[Sequence[int]], demands: Demands, places: Places
) -> tuple[Core, ...]:
    return tuple(
        Core(
            chip=int(chip),
            column=int(column) - int(chip) * limits.mesh.tiles_per_row,
            row=int(row),
            pieces=tuple(group),
            usage=dict(zip(RESOURCES, demands[list(group)].sum(axis=0).tolist(), strict=True)),
        )
        for group, chip, column, row in zip(
            groups, places.chip, places.column, places.row, strict=True
        )
    )
