"""The results folder of a ladder: its networks, an HTML page and JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikeport.ladder.config import LadderConfig
from spikeport.ladder.document import ladder_document
from spikeport.ladder.forms import FILES as NETWORKS
from spikeport.ladder.run import Ladder, run_ladder
from spikeport.ladder.stages import LadderNetwork, StageProgress
from spikeport.report.document import to_json
from spikeport.report.html import render_html
from spikeport.report.markdown import render_markdown
from spikeport.storage import write_text
from spikeport.trainer.data import Dataset
from spikeport.trainer.network import SpikingNetwork

FILES = (*NETWORKS, "report.html", "report.md", "ladder.json")
"""The files that `write_ladder` writes to its folder."""


def write_ladder(
    model: LadderNetwork,
    data: Dataset,
    folder: Path,
    config: LadderConfig | None,
    command: str,
    progress: StageProgress = lambda stage, done, total: None,
    *,
    ann: SpikingNetwork | None = None,
) -> Ladder:
    """Call `run_ladder`, then write its report to the same folder: HTML, Markdown and JSON.

    Args:
        command: the command that reproduces this.
        ann: what the network was converted from, see `run_ladder`.
    """
    ladder_run = run_ladder(model, data, folder, config, progress, ann=ann)
    ladder_run = replace(ladder_run, report=replace(ladder_run.report, command=command))
    document = ladder_document(ladder_run, data, config or LadderConfig())
    write_text(folder / "report.html", render_html(document))
    write_text(folder / "report.md", render_markdown(document))
    write_text(folder / "ladder.json", to_json(document))
    return ladder_run
