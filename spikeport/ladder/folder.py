"""The ladder as a folder: the networks it was made of, a page to read and data to compute with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikeport.ladder.stages import Ladder, LadderConfig, Progress, climb
from spikeport.report.document import to_json
from spikeport.report.html import render_html
from spikeport.report.quantization import quantization_sections
from spikeport.storage import make_folder, write_text
from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.data import Dataset

FILES = ("float.nir", "network.spikeport", "deployed.nir", "report.html", "ladder.json")
"""The files that `write_ladder` writes to its folder."""


def write_ladder(
    model: AnyNetwork,
    data: Dataset,
    folder: Path,
    config: LadderConfig | None,
    command: str,
    progress: Progress = lambda stage, done, total: None,
) -> Ladder:
    """`climb`, then write `report.html` and `ladder.json` beside the networks.

    Args:
        command: what a user types to get this again.
    """
    make_folder(folder)
    climbed = climb(model, data, folder, config, progress)
    climbed = replace(climbed, report=replace(climbed.report, command=command))
    made = climbed.quantization
    sections = () if made is None else quantization_sections(made.as_dict())
    page = render_html(climbed.report, climbed.deployed_energy, sections)
    write_text(folder / "report.html", page)
    write_text(folder / "ladder.json", to_json(climbed.report, climbed.energy, sections))
    return climbed
