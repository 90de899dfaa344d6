"""`front`: accuracy versus energy, with one trained network per budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io
from spikeport.report.screen import Table

if TYPE_CHECKING:
    from spikeport.trainer.pareto import ParetoPoint


def front(
    budgets: Annotated[
        str,
        typer.Option(
            metavar="ENERGIES",
            help="Energy budgets per sample, comma-separated, such as 10uJ,5uJ,800nJ.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Output folder; created if missing."),
    ],
    recipe: _io.RecipeName = "digits",
    changes: _io.Changes = None,
    start: _io.Start = None,
    teacher: _io.Teacher = None,
    bits: _io.ChipBits = None,
    energy_profile: _io.EnergyPrices = None,
    lines: _io.Lines = False,
    as_json: _io.Json = False,
) -> None:
    """Train one network per energy budget and plot accuracy against energy.

    All start from the same network, --from or one that is first trained without a budget. The
    folder receives a checkpoint per budget, front.json and the plot front.svg, updated after each;
    running the same command again continues where it stopped. With --bits all are trained in chip
    arithmetic.
    """
    from spikeport.cli._training import check_start, watching
    from spikeport.report.units import parse_energy
    from spikeport.storage import parse_change
    from spikeport.trainer.recipe import load_recipe
    from spikeport.workflow import front_files, write_pareto_front

    asked = dict(parse_change(change) for change in changes or ())
    if energy_profile is not None:
        asked["training.energy_profile"] = energy_profile
    chosen = load_recipe(recipe, asked)
    config = chosen.training if bits is None else chosen.on_chip(bits)
    limits = [parse_energy(text, "--budgets") / 1e6 for text in budgets.split(",")]
    written = front_files(limits, started=start is not None)
    _io.check_out_folder(out, written, recipe, chosen.data.name, start, teacher)
    check_start(bits, start)
    found = write_pareto_front(
        chosen,
        recipe,
        limits,
        out,
        bits=bits,
        start=start,
        teacher=teacher or start,
        watch=watching(config, None, lines),
    )
    if found.rank == 0:
        _io.emit(as_json, found.as_dict(), _table(found.points))


def _table(points: Sequence[ParetoPoint]) -> Table:
    table = Table("Accuracy and dynamic energy per sample")
    table.add_column("budget µJ")
    for name in ("accuracy %", "spikes", "synaptic events", "energy µJ, low .. nominal .. high"):
        table.add_column(name, justify="right")
    table.add_column("met")
    for point in points:
        rate, energy = point.accuracy, point.energy_uj
        table.add_row(
            "none" if point.budget_uj is None else f"{point.budget_uj:g}",
            f"{100 * rate.rate:.2f} ({100 * rate.low:.2f}..{100 * rate.high:.2f})",
            f"{point.spikes:,.1f}",
            f"{point.synaptic_events:,.1f}",
            f"{energy.low:.3g} .. {energy.nominal:.3g} .. {energy.high:.3g}",
            {None: "", True: "yes", False: "no"}[point.met],
        )
    return table
