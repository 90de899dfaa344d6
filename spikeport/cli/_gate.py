"""`compare` as a gate: tolerances, and the files for continuous integration."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from spikeport.cli import _io
from spikeport.errors import OptionError
from spikeport.parity import Gate, Tolerances, load_tolerances
from spikeport.storage import write_text

XML, MARKDOWN = (".xml",), (".md",)
TolerancesFile = Annotated[
    Path | None,
    typer.Option(
        "--tolerances",
        metavar="FILE",
        help="What may differ and still pass (.toml), such as max_differing_spikes = 3; "
        "docs/ci.md lists all keys.",
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit",
        metavar="FILE",
        help="Write every check as a JUnit test case to this file (.xml).",
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown", metavar="FILE", help="Write every check as a Markdown table to this file."
    ),
]


@dataclass(frozen=True, slots=True)
class GateFiles:
    """The options that make `compare` a gate."""

    tolerances: Path | None
    junit: Path | None
    markdown: Path | None

    def refuse_for_traces(self) -> None:
        """Refuse all of them for trace files, which state no predictions and no events."""
        for name in ("tolerances", "junit", "markdown"):
            if (path := getattr(self, name)) is not None:
                raise OptionError(f"--{name} {path}: of no use for trace files; compare networks")

    def open(self, inputs: Sequence[Path | str | None]) -> Tolerances | None:
        """The tolerances; with files to write, but none given, everything must be equal."""
        read = [*inputs, self.tolerances]
        if self.junit is not None:
            _io.check_out("--junit", self.junit, XML, *read)
        if self.markdown is not None:
            _io.check_out("--markdown", self.markdown, MARKDOWN, *read, self.junit)
        if self.tolerances is not None:
            return load_tolerances(self.tolerances)
        return None if self.junit is None and self.markdown is None else Tolerances()

    def write(self, gate: Gate, read: Sequence[Path | None]) -> None:
        """Write the requested files, with the SHA-256 of the files that were read."""
        if self.junit is not None:
            from spikeport.report.junit import write_junit

            write_junit(self.junit, gate, _hashes([*read, self.tolerances]))
        if self.markdown is not None:
            from spikeport.report.markdown import render_gate

            write_text(self.markdown, render_gate(gate))


def _hashes(files: Sequence[Path | None]) -> dict[str, str]:
    """The SHA-256 of each file, by a name that says so; by its path if the name is taken."""
    found: dict[str, str] = {}
    for path in files:
        if path is not None:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            named = f"sha256 of {path.name}"
            found[f"sha256 of {path}" if named in found else named] = digest
    return found
