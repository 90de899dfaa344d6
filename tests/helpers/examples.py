"""The examples of a page, run in order, and what they print against what the page shows.

A page's `sh` blocks contain one command per line; `# exit code 1` follows a command that fails on
purpose. Its `python` blocks share their names. A `text` block shows what the block before it
prints: all of it, or parts, with lines of `...` where something is left out. A `python` block with
a title runs elsewhere, with another framework; GIVEN stands for the files that it writes.

`python -m tests.helpers.examples PAGE ...` runs pages and writes what they print now into their
`text` blocks, except for those that leave something out, and their pictures: files of the same
name that they write, and the parts of the report in PARTS.
`python -m tests.helpers.examples --elsewhere PYTHON PAGE` runs the blocks with a title in another
interpreter, and the others of the page on the files that these have written, which
`--record ARCHIVE` keeps.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.browser import browser
from tests.helpers.command import call
from tests.helpers.layout import ROOT

BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.S | re.M)
ELSEWHERE = re.compile(r"^```python title=[^\n]*\n(.*?)^```$", re.S | re.M)
FIXTURES = ROOT / "tests" / "fixtures"
GIVEN = {
    page: (archive, {file: f"{folder}{stored}" for file, stored in names.items()})
    for page, archive, folder, names in (
        (
            "rockpool.md",
            "interop.zip",
            "rockpool/",
            {"rockpool.nir": "cuba.nir", "spikes.npy": "cuba.npy", "inputs.npy": "flat.in.npy"},
        ),
        (
            "spyx.md",
            "interop.zip",
            "spyx/",
            {"spyx.nir": "lif.nir", "spikes.npy": "lif.npy", "inputs.npy": "flat.in.npy"},
        ),
        (
            "lava-dl.md",
            "slayer.zip",
            "",
            {name: name for name in ("slayer.net", "spikes.npy", "inputs.npy")},
        ),
    )
}
"""Files that a page starts with, and where they are in which archive."""
CLOSE = 0.1
"""Relative; another processor trains other weights."""
LEFT_OUT = re.compile(r"^\.\.\.$", re.M)
PARTS = {
    "spikes.png": ("#activity figure",),
    "energy.png": ("#energy h4", "#energy table"),
}
"""Pictures that are a part of `ladder/report.html`: CSS selectors of what the part contains."""
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass
class Place:
    """A folder in which pages are run, one after another, and what its commands printed.

    Attributes:
        printed: by command; one that several pages begin with is run once.
    """

    folder: Path
    printed: dict[str, str] = field(default_factory=dict)

    def run(self, text: str, **given: Any) -> Iterator[tuple[str, str]]:
        """Run a page; gives (what it shows, what is printed) for each of its `text` blocks.

        `given` are names that its `python` blocks take for granted.
        """
        names: dict[str, Any] = {"__name__": "__main__", **given}
        printed = ""
        with contextlib.chdir(self.folder), _environment():
            for language, block in BLOCK.findall(text):
                if language == "text":
                    yield block, printed
                elif language == "sh":
                    printed = "".join(map(self._command, block.replace("\\\n", "").splitlines()))
                else:
                    with contextlib.redirect_stdout(io.StringIO()) as out:
                        exec(compile(block, "<example>", "exec"), names)
                    printed = out.getvalue()

    def give(self, page: str) -> None:
        """Put the files there that a page starts with."""
        if page in GIVEN:
            stored, files = GIVEN[page]
            with zipfile.ZipFile(FIXTURES / stored) as archive:
                for name, member in files.items():
                    (self.folder / name).write_bytes(archive.read(member))

    def _command(self, line: str) -> str:
        if line not in self.printed:
            command, _, expected = line.partition("# exit code ")
            arguments = shlex.split(command)
            if arguments[0] == "spikeport":
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    code = call(arguments[1:])
                printed = out.getvalue()
            else:
                done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
                code, printed = done.returncode, done.stdout
            assert code == int(expected or 0), f"{line}: exit code {code}\n{printed}"
            self.printed[line] = printed
        return self.printed[line]


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The commands of this interpreter's environment."""
    before = dict(os.environ)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before['PATH']}"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def missing(shown: str, printed: str) -> str:
    """The first part of what a page shows that was not printed there; "" if all was.

    Words must be the same, and zeros; other numbers may differ by a tenth.
    """
    parts = [part.split() for part in LEFT_OUT.split(_plain(shown))]
    words = _plain(printed).split()
    end = len(words) - len(parts[-1])
    start = 0
    for index, part in enumerate(parts):
        places = range(start, len(words) - len(part) + 1)
        if index == len(parts) - 1:
            places = range(max(end, start), len(words) + 1)[:1]
        if index == 0:
            places = range(start, 1) if len(parts) > 1 or end == 0 else range(0)
        found = next((p for p in places if _alike(part, words[p : p + len(part)])), None)
        if found is None:
            return " ".join(part)
        start = found + len(part)
    return ""


def _plain(text: str) -> str:
    """Without the length of lines, which follows from the width of numbers."""
    return re.sub(r"[━─═]+", "─", text)


def _alike(shown: list[str], printed: list[str]) -> bool:
    return len(shown) == len(printed) and all(map(_close, shown, printed))


def _close(shown: str, printed: str) -> bool:
    if shown == printed:
        return True
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    pairs = zip(*(map(_value, NUMBER.findall(word)) for word in (shown, printed)), strict=True)
    return all(abs(a - b) <= CLOSE * min(abs(a), abs(b)) for a, b in pairs)


def _value(digits: str) -> float:
    return float(digits.replace(",", ""))


def run_elsewhere(page: Path, python: str, record: Path | None) -> None:
    """Run a page with the framework that blocks with a title need; `record` keeps their files."""
    text = page.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for block in ELSEWHERE.findall(text):
            subprocess.run([python, "-c", block], cwd=folder, check=True)
        if record:
            with zipfile.ZipFile(record, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(Path(folder).iterdir()):
                    archive.write(path, path.name)
        for shown, printed in Place(Path(folder)).run(text):
            sys.stdout.write(f"{missing(shown, printed) or 'as shown'}\n")


def update(page: Path, place: Place) -> None:
    """Write what a page's examples print, and its pictures, into the page and next to it."""
    text = page.read_text("utf-8")
    place.give(page.name)
    ran = list(place.run(text))
    for shown, printed in ran:
        if not LEFT_OUT.search(shown):
            lines = "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())
            text = text.replace(f"```text\n{shown}```", f"```text\n{lines}```", 1)
        elif part := missing(shown, printed):
            sys.stdout.write(f"{page}: not printed: {part}\n{printed}")
    storage = page.with_suffix(".new")
    storage.write_text(text, "utf-8")
    storage.replace(page)
    for name in pictures(text):
        made = place.folder / name
        if made.exists():
            shutil.copy(made, page.parent / name)
        elif name in PARTS:
            _photograph(place.folder / "ladder" / "report.html", PARTS[name], page.parent / name)


def pictures(text: str) -> list[str]:
    """Files next to a page that it shows."""
    return re.findall(r"!\[[^\]]*\]\(([\w.-]+)\)", text)


def _photograph(report: Path, parts: tuple[str, ...], path: Path) -> None:
    with browser() as shown:
        shown.screen(900, 800)
        shown.open(report)
        shown.picture(path, *parts)


def main() -> None:
    """Update pages, or run them with another framework."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--elsewhere", metavar="PYTHON")
    parser.add_argument("--record", metavar="ARCHIVE", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for page in chosen.pages:
            if chosen.elsewhere:
                run_elsewhere(page, chosen.elsewhere, chosen.record)
            else:
                update(page.resolve(), place)


if __name__ == "__main__":
    main()
