"""`front`: accuracy versus energy, with one trained network per budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.errors import InputError
from spikeport.report.screen import Table
from spikeport.storage import make_folder, parse_json, write_text
from spikeport.text import quoted

if TYPE_CHECKING:
    from spikeport.trainer.chip import QATNetwork
    from spikeport.trainer.pareto import ParetoPoint


def front(
    budgets: Annotated[
        str, typer.Option(metavar="ENERGIES", help="Per sample, comma-separated: 10uJ,5uJ,800nJ.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder; created if missing.")],
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
    from spikeport.cli._training import chip_start, watching
    from spikeport.report.pareto import draw_pareto_front
    from spikeport.report.units import parse_energy
    from spikeport.storage import parse_change
    from spikeport.trainer.data import load_dataset
    from spikeport.trainer.measure.metrics import spread
    from spikeport.trainer.pareto import pareto_files, train_pareto_front
    from spikeport.trainer.ranks import process_group, share
    from spikeport.trainer.recipe import load_recipe

    asked = dict(parse_change(change) for change in changes or ())
    if energy_profile is not None:
        asked["training.energy_profile"] = energy_profile
    chosen = load_recipe(recipe, asked)
    config = chosen.training if bits is None else chosen.on_chip(bits)
    limits = [parse_energy(text, "--budgets") / 1e6 for text in budgets.split(",")]
    written = ("front.json", "front.svg", *pareto_files(limits, started=start is not None))
    _io.check_out_folder(out, written, recipe, chosen.data.name, start, teacher)
    document: dict[str, Any] = {
        "recipe": recipe,
        "start": None if start is None else str(start),
        "weight_bits": bits,
        "energy_profile": config.energy_profile,
    }
    with process_group(config.device), ExitStack() as stack:
        first = share()[0] == 0
        if first:
            _check_same(out, document)
        data = load_dataset(chosen.data, config.steps)
        begin: Path | QATNetwork | None = start
        if bits is not None:
            begin = chip_start(start, bits, spread(data.train_x, chosen.chip.calibration))
        points = []
        watch = stack.enter_context(watching(config.epochs, None, lines and first, first))
        for point in train_pareto_front(
            config, data, limits, out, start=begin, teacher=teacher or start, watch=lambda _: watch
        ):
            points.append(point)
            if first:
                found = {**document, "points": [each.as_dict() for each in points]}
                write_text(out / "front.json", json.dumps(found, indent=2) + "\n")
                write_text(out / "front.svg", draw_pareto_front(found["points"], chosen.title))
    if first:
        _io.emit(as_json, {**document, "points": [p.as_dict() for p in points]}, _table(points))


def _check_same(folder: Path, document: dict[str, Any]) -> None:
    """Create the folder, or check that its contents belong to the same front."""
    make_folder(folder)
    path = folder / "front.json"
    if not path.exists():
        return
    try:
        found = parse_json(path.read_text("utf-8"))
        before = {key: found[key] for key in document}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a front of this program: {error}") from error
    for key, value in document.items():
        if before[key] != value:
            raise InputError(
                f"{path}: was created with {key} {quoted(before[key])}, cannot continue with "
                f"{quoted(value)}; choose another --out"
            )


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
