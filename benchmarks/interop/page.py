"""The tables of docs/interop.md from measured.json: `python -m benchmarks.interop.page`.

The page has them between `<!-- measured -->` lines; a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.interop.exceptions import CAUSES, OURS, THEIRS, Known, Row, found

MEASURED = Path(__file__).with_name("measured.json")
PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
MARK = "<!-- measured -->\n"
NAMES = {
    "nir": "nir",
    "nirtorch": "nirtorch",
    "norse": "Norse",
    "snntorch": "snnTorch",
    "spikingjelly": "SpikingJelly",
    "sinabs": "Sinabs",
    "rockpool": "Rockpool",
    "spyx": "Spyx",
    "lava-dl": "lava-dl",
}


def main() -> None:
    """Write the tables into the page."""
    parts = PAGE.read_text(encoding="utf-8").split(MARK)
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    parts[1::2] = ["\n" + text + "\n" for text in tables(measured)]
    PAGE.write_text(MARK.join(parts), encoding="utf-8")


def tables(measured: dict[str, Any]) -> list[str]:
    """Theirs, ours, and the causes, as Markdown."""
    numbers = {key: str(i) for i, key in enumerate(_used(measured), 1)}
    return [
        "\n".join(_theirs(measured["theirs"], measured["versions"], numbers)),
        "\n".join(_ours(measured["ours"], numbers)),
        "\n".join(_causes(measured["versions"], numbers)),
    ]


def _used(measured: dict[str, Any]) -> list[str]:
    """Causes in the order in which the tables name them."""
    known = [found(row, THEIRS) for row in measured["theirs"]]
    known += [found(row, OURS) for row in measured["ours"]]
    return list(dict.fromkeys(key for one in known if one for key in one.causes))


def _theirs(rows: Sequence[Row], versions: dict[str, str], numbers: Any) -> Iterator[str]:
    yield "| framework | networks | output values | differ | under the default rules | exceptions |"
    yield "|---|---|---|---|---|---|"
    for framework in dict.fromkeys(row["network"].partition("/")[0] for row in rows):
        every = [row for row in rows if row["network"].startswith(f"{framework}/")]
        same = [row for row in every if row["outcome"] == "same"]
        values = sum(row["compared"] for row in same)
        default = sum(row["by_default"] for row in same)
        exceptions = [
            f"{row['network'].partition('/')[2]}: {_outcome(row)}{_marks(row, THEIRS, numbers)}"
            for row in every
            if row["outcome"] != "same"
        ]
        yield (
            f"| {NAMES[framework]} {versions[framework]} | {len(same)} | {values:,} | 0 | "
            f"{default:,} | {'; '.join(exceptions)} |"
        )


def _ours(rows: Sequence[Row], numbers: Any) -> Iterator[str]:
    frameworks = list(dict.fromkeys(row["framework"] for row in rows))
    yield f"| network | {' | '.join(NAMES[name] for name in frameworks)} |"
    yield "|---" * (len(frameworks) + 1) + "|"
    by_place = {(row["network"], row["framework"]): row for row in rows}
    for name in dict.fromkeys(row["network"].partition(", chip")[0] for row in rows):
        cells = []
        for framework in frameworks:
            both = [by_place[name, framework], by_place[f"{name}, chip", framework]]
            texts = [f"{_outcome(row)}{_marks(row, OURS, numbers)}" for row in both]
            cells.append("; ".join(dict.fromkeys(texts)))
        yield f"| {name} | {' | '.join(cells)} |"


def _outcome(row: Row) -> str:
    if row["outcome"] == "same":
        return "0" if row["compared"] else "read"
    return f"{row['differing']:,}" if row["outcome"] == "differs" else str(row["outcome"])


def _marks(row: Row, exceptions: Sequence[Known], numbers: Any) -> str:
    known = found(row, exceptions)
    return "" if known is None else f" ({', '.join(numbers[key] for key in known.causes)})"


def _causes(versions: dict[str, str], numbers: dict[str, str]) -> Iterator[str]:
    yield "| | framework | cause | place |"
    yield "|---|---|---|---|"
    for key, number in numbers.items():
        cause = CAUSES[key]
        name = f"{NAMES[cause.framework]} {versions[cause.framework]}"
        yield f"| {number} | {name} | {cause.text} | `{cause.where}` |"


if __name__ == "__main__":
    main()
