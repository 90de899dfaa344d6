"""Interoperability with other frameworks by NIR files, in both directions.

`python -m benchmarks.interop ENVIRONMENTS [--json FILE] [--record FILE] [--frameworks NAME ...]`

ENVIRONMENTS is a folder that `python -m benchmarks.interop.environments` has made. Theirs: each
framework runs random networks on random spikes and exports them; each file is read with the
framework's preset and run on the same spikes. Ours: random networks are written, and each framework
reads and runs the files. The tables say how many output values differ; every exception has a cause
in `exceptions.toml`, and in files written for a framework (`export --for`) the word of each network
must be true. Exits with 1 if one has no cause, a known one has gone, or a word is wrong.

`--json benchmarks/interop/measured.json` keeps the results that docs/interop.md shows
(`python -m benchmarks.interop.page`), `--record tests/fixtures/interop.zip` files and spikes for
the tests.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.interop import ours, theirs
from benchmarks.interop.environments import ENVIRONMENTS, python
from benchmarks.interop.exceptions import OURS, THEIRS, contradictions, misplaced, versions
from benchmarks.interop.networks import RULED

WRITERS = tuple(name for name in ENVIRONMENTS if name not in ("nir", "nirtorch"))


def main() -> None:
    """Print one row per network and framework."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--frameworks", nargs="+", choices=ENVIRONMENTS, default=[*ENVIRONMENTS])
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        written = [*_theirs(chosen.frameworks, chosen.environments, Path(folder))]
        if chosen.record:
            theirs.record(Path(folder), chosen.record, written)
    read = [*_ours(chosen.frameworks, chosen.environments)]
    if chosen.json:
        results = {"versions": versions(), "theirs": written, "ours": read}
        chosen.json.write_text(_text(results), encoding="utf-8")
    measured = set(chosen.frameworks)
    problems = [
        *contradictions(written, [x for x in THEIRS if x.networks[0].split("/")[0] in measured]),
        *contradictions(read, [x for x in OURS if x.framework in measured]),
        *misplaced(chosen.environments),
    ]
    print("\n".join(problems))
    sys.exit(bool(problems))


def _theirs(frameworks: Sequence[str], environments: Path, folder: Path) -> Iterator[Any]:
    print("theirs written, ours read")
    for framework in WRITERS:
        if framework in frameworks:
            for row in theirs.measure(framework, python(environments, framework), folder):
                print(_line(row))
                yield row


def _ours(frameworks: Sequence[str], environments: Path) -> Iterator[Any]:
    """Plain files, then files for each framework."""
    every = ours.made()
    for plain in (True, False):
        networks = [one for one in every if not plain or one[0].name not in RULED]
        print("ours written, theirs read" if plain else "ours written for each framework")
        for framework in ours.READERS:
            if framework in frameworks:
                with tempfile.TemporaryDirectory() as folder:
                    place, interpreter = Path(folder), python(environments, framework)
                    given = ours.write(place, networks, framework, plain)
                    for row in ours.measure(framework, interpreter, place, given):
                        print(_line(row))
                        yield row


def _text(results: dict[str, Any]) -> str:
    """JSON with one row on each line."""
    parts = {}
    for key, part in results.items():
        rows = part if isinstance(part, list) else [part]
        lines = ",\n".join(json.dumps(row) for row in rows)
        parts[key] = f"[\n{lines}\n]" if isinstance(part, list) else lines
    return "{\n" + ",\n".join(f'"{key}": {part}' for key, part in parts.items()) + "\n}\n"


def _line(row: dict[str, Any]) -> str:
    name = f"{row.get('framework', ''):12} {row['network']:36} {row['outcome']:12}"
    name += f" {row['word']:12}" if "word" in row else ""
    if "says" in row:
        return f"{name} {row['says'][:90]}"
    text = f"{name} {row['differing']:5} of {row['compared']:5}"
    if "by_default" in row:
        text += f", {row['by_default']} under the default rules"
    if "by_changes" in row:
        text += f", {row['by_changes']} under {', '.join(row['under'])}"
    return text


if __name__ == "__main__":
    main()
