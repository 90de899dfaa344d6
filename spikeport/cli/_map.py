"""`map`: the cores that a network takes on a chip."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io
from spikeport.cli._foreign import Foreign, origin_facts, origin_tables, takes_foreign
from spikeport.cli._tables import facts_table
from spikeport.hardware import Limit
from spikeport.mapping import Resource
from spikeport.report.screen import Table

if TYPE_CHECKING:
    from spikeport.mapping import CoreMap, Traffic

SVG = (".svg",)
SHOWN = (Resource.NEURONS, Resource.MEMORY, Resource.INPUT_AXONS, Resource.OUTPUT_AXONS)
"""Columns of the tables."""
APART = "populations apart"
"""Reason for the lower bound if populations do not share cores."""


@takes_foreign
def map_(
    network: Annotated[Path, typer.Argument(help="Deployed network (.spikeport, .nir or .net).")],
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="NAME", help="A chip, such as loihi1.")
    ] = "loihi1",
    counts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Count packets from the event counts (.json) printed by `run --json`, instead of "
            "one spike of each neuron.",
        ),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw the map as SVG.")
    ] = None,
    layers_apart: Annotated[
        bool,
        typer.Option(
            "--layers-apart",
            help="Do not put pieces of several populations on one core, as nengo-loihi and Lava.",
        ),
    ] = False,
    spread: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Use up to N cores, so that the busiest, which sets the length of a step, has "
            "less to do; without it, as few cores as possible.",
        ),
    ] = None,
    cores: Annotated[
        bool, typer.Option("--cores", help="Print a row for each core instead of each population.")
    ] = False,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Map a deployed network onto the cores of a chip: how many, how full, how far spikes travel.

    Populations are cut into pieces that fit the limits of a core. Limits that are not verified are
    marked with *; `--json` has the source of each limit.
    """
    from spikeport.mapping import map_network

    if svg is not None:
        _io.check_out("--svg", svg, SVG, network, counts)
    opened = _io.open_deployed(network, foreign)
    events = work = None
    if counts is not None:
        from spikeport.energy import builtin_profiles, load_profile
        from spikeport.simulators import load_counts
        from spikeport.workflow.mapped_energy import work_of_run

        events = load_counts(counts, opened)
        if target in builtin_profiles():
            work = work_of_run(opened, events, load_profile(target))
    made = map_network(opened, target, share_cores=not layers_apart, cores=spread, work=work)
    traffic = made.traffic(events)
    if svg is not None:
        from spikeport.report.core_map import draw_core_map
        from spikeport.storage import write_text

        write_text(svg, draw_core_map(made, f"{network.name} on {made.limits.title}"))
    data = {
        **origin_facts(opened),
        **made.as_dict(),
        "traffic": dataclasses.asdict(traffic) | {"hops_per_packet": traffic.hops_per_packet},
    }
    shown = [
        facts_table(
            f"{network.name} on {made.limits.title}", _facts(made, traffic, timed=work is not None)
        )
    ]
    shown.append(cores_table(made) if cores else populations_table(made))
    _io.emit(as_json, data, *origin_tables(opened), *shown)


def _facts(made: CoreMap, traffic: Traffic, *, timed: bool) -> dict[str, str]:
    used, bound = len(made.cores), made.lower_bound
    scarce = next(name for name, cores in made.lower_bounds.items() if cores == bound)
    because = APART if scarce is Resource.PIECES and not made.share_cores else scarce
    limited = made.limits.capacity
    facts = {
        "cores": f"{used:,}, on {made.chips:,} chip{'s' * (made.chips > 1)} of "
        f"{made.limits.cores.value}",
        "lower bound": f"{bound:,} ({because}); this map has {made.gap:.0%} more",
        "utilisation": "mean of these cores: "
        + ", ".join(f"{one} {made.utilisation(one):.1%}" for one in SHOWN if one in limited),
        "busiest core": f"{made.busiest:.1%} of the work "
        + (f"for {traffic.basis}" if timed else "if every neuron and input sends one message")
        + f"; evenly divided, each would have {1 / used:.1%}",
        "packets": f"{traffic.packets:,.0f} for {traffic.basis}, and "
        f"{traffic.input_packets:,.0f} from inputs",
        "hops": f"{traffic.hops_per_packet:.2f} per packet: {traffic.hops_east_west:,.0f} "
        f"east-west, {traffic.hops_north_south:,.0f} north-south",
    }
    if traffic.least_hops is not None:
        facts["hops"] += f"; no placement needs fewer than {traffic.least_hops:,.0f}"
    if traffic.packets:
        facts["crossing tiles"] = f"{traffic.between_tiles / traffic.packets:.1%} of packets"
    if made.chips > 1 and traffic.packets:
        facts["crossing chips"] = f"{traffic.between_chips / traffic.packets:.1%} of packets"
    unverified = dict.fromkeys(
        limit.citation for limit in made.limits.stated.values() if not limit.verified
    )
    if unverified:
        facts["not verified"] = "; ".join(unverified)
    return facts


def _columns(made: CoreMap, table: Table) -> dict[Resource, Limit]:
    """Add a column for each limited resource but the number of pieces; their limits."""
    limits = {one: limit for one, limit in made.limits.capacity.items() if one in SHOWN}
    for name, limit in limits.items():
        table.add_column(f"{name}{'' if limit.verified else ' *'}", justify="right")
    return limits


def populations_table(made: CoreMap) -> Table:
    """For each population the fullest of its pieces, in percent of a core."""
    table = Table("Populations: the largest share of a core that a piece needs")
    table.add_column("name")
    table.add_column("pieces", justify="right")
    limits = _columns(made, table)
    found = defaultdict(list)
    for piece in made.pieces:
        found[piece.population].append(piece.demand)
    for population, demands in found.items():
        shares = [
            f"{max(demand[one] for demand in demands) / limit.value:.1%}"
            for one, limit in limits.items()
        ]
        table.add_row(population, f"{len(demands):,}", *shares)
    table.add_row("limit", "", *(f"{limit.value:,}" for limit in limits.values()), style="italic")
    return table


def cores_table(made: CoreMap) -> Table:
    """How full each core is."""
    table = Table("Cores: share of each resource that is needed")
    table.add_column("chip", justify="right")
    table.add_column("tile")
    table.add_column("populations")
    limits = _columns(made, table)
    for core in made.cores:
        names = dict.fromkeys(made.pieces[number].population for number in core.pieces)
        shares = [f"{core.usage[one] / limit.value:.1%}" for one, limit in limits.items()]
        table.add_row(str(core.chip + 1), f"{core.column},{core.row}", ", ".join(names), *shares)
    return table
