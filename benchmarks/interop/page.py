"""The tables of docs/interop.md from measured.json: `python -m benchmarks.interop.page`.

The page has them between `<!-- measured -->` lines; a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
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
    """Theirs; ours; ours for each framework; causes of its words; causes: as Markdown."""
    numbers = {key: str(i) for i, key in enumerate(_used(measured), 1)}
    plain = [row for row in measured["ours"] if "word" not in row]
    for_each = [row for row in measured["ours"] if "word" in row]
    made = (
        _theirs(measured["theirs"], measured["versions"], numbers),
        _matrix(plain, lambda row: f"{_outcome(row)}{_marks(row, OURS, numbers)}"),
        _matrix(for_each, lambda row: f"{_outcome(row)} {row['word']}"),
        _words(for_each),
        _causes(measured["versions"], numbers),
    )
    return ["\n".join(lines) for lines in made]


def _used(measured: dict[str, Any]) -> list[str]:
    """Causes in the order in which the tables name them."""
    known = [found(row, THEIRS) for row in measured["theirs"]]
    known += [found(row, OURS) for row in measured["ours"] if "word" not in row]
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


def _matrix(rows: Sequence[Row], cell: Callable[[Row], str]) -> Iterator[str]:
    """Networks by frameworks: the float network, and after a semicolon the chip's if it differs."""
    frameworks = list(dict.fromkeys(row["framework"] for row in rows))
    yield f"| network | {' | '.join(NAMES[name] for name in frameworks)} |"
    yield "|---" * (len(frameworks) + 1) + "|"
    by_place = {(row["network"], row["framework"]): cell(row) for row in rows}
    for name in dict.fromkeys(row["network"].partition(", chip")[0] for row in rows):
        cells = [
            "; ".join(
                dict.fromkeys(
                    by_place[both, framework]
                    for both in (name, f"{name}, chip")
                    if (both, framework) in by_place
                )
            )
            for framework in frameworks
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def _words(rows: Sequence[Row]) -> Iterator[str]:
    """Why a file is not exact, with the networks."""
    yield "| framework | cause | networks |"
    yield "|---|---|---|"
    concerned: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for cause in row.get("causes", ()):
            named = concerned.setdefault((row["framework"], cause), [])
            named.append(row["network"].partition(", chip")[0])
    for (framework, cause), networks in concerned.items():
        yield f"| {NAMES[framework]} | {cause} | {'; '.join(dict.fromkeys(networks))} |"


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
