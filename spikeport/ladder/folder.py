"""The results folder of a ladder: its networks, an HTML page and JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikeport.ladder.config import LadderConfig
from spikeport.ladder.run import Ladder, StageProgress, run_ladder
from spikeport.ladder.stages import LadderNetwork
from spikeport.report.document import to_json
from spikeport.report.html import render_html
from spikeport.report.origin import origin_sections
from spikeport.report.quantization import quantization_sections
from spikeport.storage import make_folder, write_text
from spikeport.trainer.data import Dataset

FILES = ("float.nir", "network.spikeport", "deployed.nir", "report.html", "ladder.json")
"""The files that `write_ladder` writes to its folder."""


def write_ladder(
    model: LadderNetwork,
    data: Dataset,
    folder: Path,
    config: LadderConfig | None,
    command: str,
    progress: StageProgress = lambda stage, done, total: None,
) -> Ladder:
    """Call `run_ladder`, then write `report.html` and `ladder.json` to the same folder.

    Args:
        command: the command that reproduces this.
    """
    make_folder(folder)
    ladder_run = run_ladder(model, data, folder, config, progress)
    ladder_run = replace(ladder_run, report=replace(ladder_run.report, command=command))
    made = ladder_run.quantization
    sections = origin_sections(ladder_run.network.provenance)
    sections += () if made is None else quantization_sections(made.as_dict())
    page = render_html(ladder_run.report, ladder_run.deployed_energy, sections)
    write_text(folder / "report.html", page)
    write_text(folder / "ladder.json", to_json(ladder_run.report, ladder_run.energy, sections))
    return ladder_run
