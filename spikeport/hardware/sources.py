"""Sources of the numbers about a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from spikeport.errors import SettingsError
from spikeport.storage import nearest
from spikeport.storage.toml_table import Table

SOURCE_KEYS = ("citation", "url", "basis", "conditions", "includes_static", "all_in")
"""`all_in` may be left out."""


class Basis(StrEnum):
    """How a source obtained its numbers."""

    SIMULATED = "simulated"
    MEASURED = "measured"
    FITTED = "fitted"
    DERIVED = "derived"
    ASSUMED = "assumed"
    ALL_IN = "all-in"
    PUBLISHED = "published"
    """A property of the design, stated by its maker or in the code of a public tool for it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where numbers come from, and the conditions under which they hold.

    Attributes:
        includes_static: whether the numbers already include leakage.
        all_in: whether a price per event already includes the cost of all other events, so that
            nothing may be added to it. Numbers of basis `all-in` do, others where the file says so.
    """

    key: str
    citation: str
    url: str
    basis: Basis
    conditions: str
    includes_static: bool
    all_in: bool = False


def read_sources(listed: Table) -> dict[str, Source]:
    """Read the table `sources` of a TOML file, by key.

    Raises:
        InputError: an unknown or missing key; an empty citation; no conditions.
    """
    return {key: _source(key, listed.table(key, SOURCE_KEYS)) for key in listed}


def source_of(table: Table, sources: Mapping[str, Source]) -> Source:
    """The source named in a constant's table.

    Raises:
        InputError: it is missing or unknown.
    """
    key = table.take("source", str)
    if key not in sources:
        raise SettingsError(f"{table.subject}: source '{key}' is unknown{nearest(key, sources)}")
    return sources[key]


def _source(key: str, table: Table) -> Source:
    text = {name: table.take(name, str) for name in ("citation", "url", "conditions")}
    for name in ("citation", "conditions"):
        if not text[name].strip():
            raise SettingsError(f"{table.subject}: '{name}' is empty")
    basis = table.take("basis", str)
    if basis not in list(Basis):
        raise SettingsError(f"{table.subject}: basis '{basis}' must be one of {', '.join(Basis)}")
    return Source(
        key=key,
        basis=Basis(basis),
        includes_static=table.take("includes_static", bool),
        all_in=basis == Basis.ALL_IN or ("all_in" in table and table.take("all_in", bool)),
        **text,
    )
