"""The Pareto front of a recipe as a folder: a checkpoint per budget, the numbers, the plot."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spikeport.errors import FileFormatError, TrainingError
from spikeport.report.pareto import draw_pareto_front
from spikeport.storage import output_folder, parse_json, write_text
from spikeport.text import quoted
from spikeport.trainer.data import load_dataset
from spikeport.trainer.loop import Start, TrainingCallbacks
from spikeport.trainer.measure.metrics import spread
from spikeport.trainer.pareto import ParetoPoint, pareto_files, train_pareto_front
from spikeport.trainer.ranks import process_group, share
from spikeport.trainer.recipe import Recipe
from spikeport.workflow.recipes import qat_start

FILES = ("front.json", "front.svg")


@dataclass(frozen=True, slots=True)
class ParetoFront:
    """Networks of one recipe with different energy budgets, all from the same start.

    Attributes:
        recipe: its name.
        start: the checkpoint they started from; None if one was trained first.
        weight_bits: in chip arithmetic; None for float networks.
        points: the start, then one per budget.
        rank: which of the processes this is; only the first one, 0, writes the files.
    """

    recipe: str
    start: str | None
    weight_bits: int | None
    energy_profile: str
    points: tuple[ParetoPoint, ...]
    rank: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as in `front.json`."""
        return {**self._made_with(), "points": [point.as_dict() for point in self.points]}

    def _made_with(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe,
            "start": self.start,
            "weight_bits": self.weight_bits,
            "energy_profile": self.energy_profile,
        }

    def check_same(self, folder: Path) -> None:
        """Check that what the folder contains belongs to the same front.

        Raises:
            InputError: it contains another front, or something else.
        """
        path = folder / "front.json"
        if not path.exists():
            return
        document = self._made_with()
        try:
            found = parse_json(path.read_text("utf-8"))
            before = {key: found[key] for key in document}
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(f"{path}: is not a front of this program: {error}") from error
        for key, value in document.items():
            if before[key] != value:
                raise TrainingError(
                    f"{path}: was created with {key} {quoted(before[key])}, cannot continue with "
                    f"{quoted(value)}; choose another --out"
                )

    def write(self, folder: Path, title: str) -> None:
        """Write `front.json` and `front.svg`."""
        document = self.as_dict()
        write_text(folder / "front.json", json.dumps(document, indent=2) + "\n")
        write_text(folder / "front.svg", draw_pareto_front(document["points"], title))


def front_files(budgets_uj: Sequence[float], *, started: bool) -> tuple[str, ...]:
    """Names of all files written by `write_pareto_front`.

    Args:
        started: whether a start is given.
    """
    return (*FILES, *pareto_files(budgets_uj, started=started))


def write_pareto_front(
    recipe: Recipe,
    name: str,
    budgets_uj: Sequence[float],
    folder: str | os.PathLike[str],
    *,
    bits: int | None = None,
    start: Path | None = None,
    teacher: Start | None = None,
    watch: AbstractContextManager[TrainingCallbacks] | None = None,
) -> ParetoFront:
    """Train one network per energy budget and plot accuracy against energy.

    The folder receives a checkpoint per budget, `front.json` and the plot `front.svg`, updated
    after each; calling again with the same arguments continues where it stopped.

    Args:
        name: of the recipe, stored in `front.json`.
        budgets_uj: dynamic energies per sample, µJ.
        bits: train in chip arithmetic with this number of bits per weight; needs a start.
        start: checkpoint that all start from; by default one that is first trained without a
            budget.
        teacher: see `train`.
        watch: context manager that yields the callbacks for training.

    Raises:
        InputError: as for `train_pareto_front`; `bits` without a start; or the folder contains the
            front of other arguments.
    """
    folder = Path(folder)
    config = recipe.training if bits is None else recipe.on_chip(bits)
    front = ParetoFront(
        name, None if start is None else str(start), bits, config.energy_profile, ()
    )
    with process_group(config.device):
        front = replace(front, rank=share()[0])
        writes = front.rank == 0
        if writes:
            front.check_same(folder)
        kept = output_folder(folder) if writes else nullcontext()
        with kept, watch or nullcontext(TrainingCallbacks()) as callbacks:
            data = load_dataset(recipe.data, config.steps)
            begin: Start | None = start
            if bits is not None:
                samples = spread(data.train_x, recipe.chip.calibration)
                begin = qat_start(start, bits, samples, recipe.chip.target)
            for point in train_pareto_front(
                config,
                data,
                budgets_uj,
                folder,
                start=begin,
                teacher=teacher,
                watch=lambda _: callbacks,
            ):
                front = replace(front, points=(*front.points, point))
                if writes:
                    front.write(folder, recipe.title)
    return front
