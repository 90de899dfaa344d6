"""Read TOML tables strictly: unknown keys, missing keys and wrong types are errors."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from spikeport.errors import InputError, SettingsError
from spikeport.storage.toml_text import parse_toml
from spikeport.text import quoted

T = TypeVar("T")


class Table:
    """A table with known keys only; values are taken out with their type checked.

    Raises:
        InputError: a key that is not in `known`; the message begins with `subject` and names the
            nearest known key.
    """

    def __init__(self, raw: Mapping[str, Any], subject: str, known: Iterable[str]) -> None:
        self._raw = raw
        self.subject = subject
        allowed = tuple(known)
        for key in raw:
            if key not in allowed:
                raise SettingsError(f"{subject}: unknown key '{key}'{nearest(key, allowed)}")

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def take(self, key: str, kind: type[T]) -> T:
        """The value of a required key, of type `kind`; true is not an integer."""
        if key not in self._raw:
            raise SettingsError(f"{self.subject}: key '{key}' is missing")
        value = self._raw[key]
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise SettingsError(
                f"{self.subject}: '{key}' is {quoted(value)}, must be of type {kind.__name__}"
            )
        return value

    def number(self, key: str) -> float:
        """The value of a required key that may be an integer or a float."""
        value = self._raw.get(key)
        try:
            return float(value) if type(value) is int else self.take(key, float)
        except OverflowError:
            raise SettingsError(
                f"{self.subject}: '{key}' is {quoted(value)}, must fit a 64-bit float"
            ) from None

    def flag_or_integer(self, key: str) -> int:
        """The value of a required key that is an integer, or true or false."""
        return self.take(key, bool if isinstance(self._raw.get(key), bool) else int)

    def table(self, key: str, known: Iterable[str] | None = None) -> Table:
        """The table under `key`; any key is allowed if `known` is None."""
        inner = self.take(key, dict)
        return Table(inner, f"{self.subject}: {key}", inner if known is None else known)


def nearest(key: str, known: Iterable[str]) -> str:
    """The end of an error message that suggests the known key most like `key`; may be empty."""
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""


def parse_change(text: str) -> tuple[str, Any]:
    """Split `key=value`; the value is parsed as TOML, or taken as a plain string if that fails.

    Raises:
        InputError: there is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"--set '{text}': must be key=value, as in training.steps=2")
    try:
        return key.strip(), parse_toml(f"value = {value}", f"--set '{key.strip()}'")["value"]
    except InputError as error:
        if isinstance(error.__cause__, tomllib.TOMLDecodeError):
            return key.strip(), value.strip()
        raise
