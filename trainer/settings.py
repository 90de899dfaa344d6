"""Strict checks of settings: an unknown key or a wrong type is one error that names the key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from spikeport.errors import InputError, SettingsError
from spikeport.storage import nearest
from spikeport.text import quoted

T = TypeVar("T")


def read_settings(
    kind: type[T], raw: dict[str, Any], subject: str, changes: Mapping[str, Any] | None = None
) -> T:
    """Build a dataclass from the tables of a TOML file.

    Args:
        raw: the tables; modified in place.
        subject: begins every error message.
        changes: values by dotted key that override those in `raw`.

    Raises:
        InputError: an unknown key (the nearest known one is named), a value of the wrong type or
            out of its range.
    """
    for key, value in (changes or {}).items():
        given = key + value if isinstance(value, str) else key
        if any("\ud800" <= character <= "\udfff" for character in given):
            raise SettingsError(f"{subject}: '{key}' is {quoted(value)}, must be UTF-8, as in TOML")
        _set(raw, subject, key, value)
    try:
        # As JSON, because strict mode then accepts lists and names of enumeration members.
        text = json.dumps(raw, default=str)
    except ValueError as error:  # an integer of thousands of digits
        raise SettingsError(f"{subject}: contains a value that cannot be read: {error}") from error
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        _refuse(kind, subject, error)


def _set(raw: dict[str, Any], subject: str, key: str, value: Any) -> None:
    *tables, name = key.split(".")
    table = raw
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{subject}: '{key}' cannot be set, '{part}' is not a table")
    table[name] = value


def _refuse(kind: type[Any], subject: str, error: ValidationError) -> NoReturn:
    """Raise the first error as an `InputError`."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "unexpected_keyword_argument":
        raise SettingsError(f"{subject}: unknown key '{key}'{_hint(kind, key)}") from None
    if isinstance(cause := fault.get("ctx", {}).get("error"), InputError):
        raise SettingsError(f"{subject}: {cause}") from None
    if fault["type"] == "enum":
        known = fault["ctx"]["expected"].replace(" or ", ", ")
        raise SettingsError(
            f"{subject}: '{key}' is {quoted(fault['input'])}, must be one of {known}"
        ) from None
    reason = fault["msg"][:1].lower() + fault["msg"][1:]
    raise SettingsError(f"{subject}: '{key}' is {quoted(fault['input'])}: {reason}") from None


def _hint(kind: type[Any], key: str) -> str:
    """Suggest the nearest known key, or the same key in another table."""
    known = list(_keys(kind))
    table, dot, name = key.rpartition(".")
    siblings = [k for k in known if k.startswith(table + dot) and k.count(".") == key.count(".")]
    elsewhere = [k for k in known if k.rpartition(".")[2] == name]
    return f"; did you mean '{elsewhere[0]}'?" if elsewhere else nearest(key, siblings)


def _keys(kind: type[Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a dataclass and its nested dataclasses."""
    hints = get_type_hints(kind)
    for part in dataclasses.fields(kind):
        yield prefix + part.name
        for hint in (hints[part.name], *get_args(hints[part.name])):  # or one that may be None
            if isinstance(hint, type) and dataclasses.is_dataclass(hint):
                yield from _keys(hint, f"{prefix}{part.name}.")
