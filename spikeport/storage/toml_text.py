"""Parse untrusted TOML, with limits on size, nesting and integers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from spikeport.errors import SettingsError
from spikeport.storage.limits import MAX_INTEGER, MAX_NESTING, MAX_TEXT_BYTES


def read_text(path: Path) -> str:
    """Read a UTF-8 file of at most MAX_TEXT_BYTES.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, is longer, or is not UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise OSError(f"has more than {MAX_TEXT_BYTES} bytes")
    return data.decode("utf-8")


def parse_toml(text: str, subject: str) -> dict[str, Any]:
    """Parse TOML into nested dictionaries.

    Raises:
        InputError: not TOML, nested deeper than MAX_NESTING, or an integer beyond 64 bits.
    """
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise SettingsError(f"{subject}: is nested deeper than {MAX_NESTING}") from None
    except ValueError as error:  # the base of TOMLDecodeError
        raise SettingsError(f"{subject}: is not TOML: {error}") from error
    waiting: list[tuple[str, Any, int]] = [("", found, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if depth > MAX_NESTING:
            raise SettingsError(f"{subject}: '{name[:80]}' is nested deeper than {MAX_NESTING}")
        if isinstance(value, dict):
            waiting += [
                (f"{name}.{key}"[:200] if name else key, item, depth + 1)
                for key, item in value.items()
            ]
        elif isinstance(value, list):
            waiting += [(name, item, depth + 1) for item in value]
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise SettingsError(f"{subject}: '{name[:80]}' is an integer beyond 64 bits")
    return found
