"""Render the stored results of a ladder again."""

from __future__ import annotations

from pathlib import Path

from spikeport.errors import InputError
from spikeport.report.document import Document
from spikeport.report.html import render_html
from spikeport.report.markdown import render_markdown
from spikeport.report.stored import read_document
from spikeport.storage import write_text

RENDERED = {".html": render_html, ".md": render_markdown}
"""What a report is rendered as, by the suffix of the file."""


def write_report(results: str | Path, out: str | Path) -> Document:
    """Render the report of a ladder that has run, to an HTML page or to Markdown.

    Args:
        results: the folder of the ladder, or its `ladder.json`.
        out: file to write, `.html` or `.md`.

    Returns:
        What the report states; `verdict` says whether to trust the deployment.

    Raises:
        InputError: no such results, or they break the schema of a report; another suffix.
        BackendUnavailableError: jinja2 or jsonschema is not installed.
    """
    out = Path(out)
    if (render := RENDERED.get(out.suffix)) is None:
        raise InputError(f"{out}: must end in {' or '.join(RENDERED)}")
    document = read_document(results)
    write_text(out, render(document))
    return document
