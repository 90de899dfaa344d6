"""Known exceptions with their causes, and what contradicts them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks.interop.environments import ENVIRONMENTS, LISTS

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something differs or is refused: the place in the framework's code, FILE:LINE."""

    framework: str
    text: str
    where: str
    holds: str


@dataclass(frozen=True, slots=True)
class Known:
    """An exception.

    Attributes:
        networks: patterns of names.
        outcome: as in the rows, other than "same".
        causes: keys of `CAUSES`.
        under: the changes of our network under which nothing differs.
        framework: of our networks that it reads; in the others' names already.
        only: of our networks, those of "float" or "chip".
    """

    networks: Sequence[str]
    outcome: str
    causes: Sequence[str]
    under: Sequence[str] = ()
    framework: str = ""
    only: str = ""

    def holds_for(self, row: Row) -> bool:
        """Whether this row is meant."""
        name, chip, _ = row["network"].partition(", chip")
        return (
            any(fnmatchcase(name, pattern) for pattern in self.networks)
            and self.framework == row.get("framework", "")
            and self.only in ("", "chip" if chip else "float")
            and "word" not in row
        )


_DATA = tomllib.loads(Path(__file__).with_name("exceptions.toml").read_text(encoding="utf-8"))
CAUSES: Mapping[str, Cause] = {key: Cause(**one) for key, one in _DATA["cause"].items()}
THEIRS: Sequence[Known] = [Known(**one) for one in _DATA["theirs"]]
OURS: Sequence[Known] = [Known(**one) for one in _DATA["ours"]]


def found(row: Row, exceptions: Iterable[Known]) -> Known | None:
    """The exception of a row."""
    return next((one for one in exceptions if one.holds_for(row)), None)


def contradictions(rows: Sequence[Row], exceptions: Sequence[Known]) -> Iterator[str]:
    """Rows without their exception, exceptions without their rows, and causes that do not prove."""
    for row in rows:
        if "word" in row:
            yield from _wrong_word(row)
            continue
        known = found(row, exceptions)
        what = f"{row['network']} {row.get('framework', '')} {row['outcome']}"
        if known is None:
            if row["outcome"] != "same":
                yield f"{what}: no cause is known"
        elif row["outcome"] != known.outcome:
            yield f"{what}: expected was {known.outcome} ({', '.join(known.causes)})"
        elif row.get("by_changes"):
            yield f"{what}: {row['by_changes']} differ under {', '.join(known.under)}"
    for one in exceptions:
        if not any(one.holds_for(row) for row in rows):
            yield f"{one.framework} {', '.join(one.networks)}: is not among the networks"


def _wrong_word(row: Row) -> Iterator[str]:
    """A file for a framework: exact means without a difference, all else has a cause."""
    what = f"{row['network']} for {row['framework']} is {row['word']}"
    if row["word"] == "exact" and row["outcome"] != "same":
        yield f"{what}, but {row['outcome']}: {row.get('says', row.get('differing'))}"
    if row["word"] != "exact" and not row["causes"]:
        yield f"{what}, without a cause"
    if row["word"] == "unsupported" and row["outcome"] == "same" and row["compared"]:
        yield f"{what}, but nothing differs"


def misplaced(environments: Path) -> Iterator[str]:
    """Causes whose line does not contain what they name."""
    for key, cause in CAUSES.items():
        file, _, line = cause.where.partition(":")
        places = (environments / ENVIRONMENTS[cause.framework]).glob(
            f"lib/python3*/site-packages/{file}"
        )
        lines = [place.read_text(encoding="utf-8").splitlines() for place in places]
        if not lines or cause.holds not in lines[0][int(line) - 1]:
            yield f"cause {key}: {cause.where} does not contain {cause.holds!r}"


def versions() -> dict[str, str]:
    """The version of each framework that its environment pins."""
    pinned: dict[str, str] = {}
    for framework, environment in ENVIRONMENTS.items():
        lines = LISTS[environment].read_text(encoding="utf-8").splitlines()
        listed = dict(line.split("==") for line in lines if "==" in line)
        pinned[framework] = listed[framework]
    return pinned
