"""Limits of a chip, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeport.errors import SettingsError
from spikeport.hardware.sources import Source, source_of
from spikeport.storage import nearest
from spikeport.storage.toml_table import Table

LIMIT_KEYS = ("value", "source", "verified")


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        value: an integer, or true or false for a feature that a chip has or does not have.
        verified: whether it was checked in the source itself, not only in secondary sources.
    """

    value: int
    source: Source
    verified: bool

    @property
    def citation(self) -> str:
        """Citation of its source."""
        return self.source.citation


@dataclass(frozen=True, slots=True)
class ChipLimits:
    """All limits of a chip by name; their names depend on the chip.

    Attributes:
        subject: begins every error message.
    """

    subject: str
    by_name: Mapping[str, Limit]

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def __getitem__(self, name: str) -> Limit:
        """The limit of that name.

        Raises:
            InputError: there is none; the nearest name is suggested.
        """
        if name not in self.by_name:
            raise SettingsError(f"{self.subject}: '{name}' is missing{nearest(name, self.by_name)}")
        return self.by_name[name]


def read_limits(listed: Table, sources: Mapping[str, Source]) -> ChipLimits:
    """Read the table `limits` of a target's TOML file.

    Raises:
        InputError: a limit without value, source or `verified`.
    """
    return ChipLimits(
        listed.subject, {name: _limit(listed.table(name, LIMIT_KEYS), sources) for name in listed}
    )


def _limit(table: Table, sources: Mapping[str, Source]) -> Limit:
    value = table.flag_or_integer("value")
    return Limit(value, source_of(table, sources), table.take("verified", bool))
