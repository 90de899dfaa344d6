"""`report`: render the stored results of a ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeport.cli import _io


def report(
    results: Annotated[
        Path, typer.Argument(help="Folder of a ladder or demo, or its ladder.json.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="HTML page (.html) or Markdown (.md); default: report.html next to ladder.json.",
        ),
    ] = None,
    as_json: _io.Json = False,
) -> None:
    """Render the report of a ladder again, from its stored results; nothing is run.

    The Markdown is made for pull requests and summaries of continuous integration.
    """
    from spikeport.report.stored import FILE
    from spikeport.report.terminal import render_verdict
    from spikeport.workflow import write_report
    from spikeport.workflow.reports import RENDERED

    folder = results if results.is_dir() else results.parent
    made = folder / "report.html" if out is None else out
    stored = results / FILE if results.is_dir() else results
    _io.check_out("--out", made, tuple(RENDERED), stored)
    verdict = write_report(results, made).verdict
    _io.emit(as_json, {"report": str(made), **verdict.as_dict()}, render_verdict(verdict),
             f"Report: {made}")  # fmt: skip
