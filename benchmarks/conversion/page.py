"""The tables of the benchmark as Markdown."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.conversion.tables import STEPS, ways

ERRORS = {
    "quantization": "Quantization error",
    "deviation": "Deviation error",
    "total": "Total error against the ANN",
    "input_sigma": "Standard deviation of the input, in thresholds",
}


def page(folder: Path) -> str:
    """All tables of the results in `folder`."""
    found = sorted(folder.glob("table-*.json"))
    return "\n".join(line for path in found for line in _network(path))


def _network(path: Path) -> Iterator[str]:
    results = json.loads(path.read_text())
    name = path.stem.removeprefix("table-")
    yield f"## {name}: ANN {100 * results['ann']['accuracy']:.1f} %"
    yield ""
    yield from _table("Accuracy, % (its ANN)", results, _accuracy)
    for key, title in ERRORS.items():
        yield from _table(f"{title}, relative rms", results, functools.partial(_error, key=key))


def _table(title: str, results: Mapping[str, Any], cell: Any) -> Iterator[str]:
    yield f"**{title}**"
    yield ""
    yield f"| | {' | '.join(f'T = {n}' for n in STEPS)} |"
    yield "|---|" + "---|" * len(STEPS)
    for way in ways():
        cells = []
        for steps in STEPS:
            keys = [key for key in results if key.startswith(f"{way.name}|")]
            key = next((k for k in keys if str(steps) in k.split("|")[1].split(",")), None)
            cells.append("" if key is None else cell(results[key], str(steps)))
        if any(cells):
            yield f"| {way.name} | {' | '.join(cells)} |"
    yield ""


def _accuracy(result: Mapping[str, Any], steps: str) -> str:
    return f"{100 * result['accuracy'][steps]:.1f} ({100 * result['ann']:.1f})"


def _error(result: Mapping[str, Any], steps: str, *, key: str) -> str:
    return f"{result['summary'][steps][key]:.3f}"
