"""Parse untrusted JSON strictly."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from spikeport.storage.limits import MAX_INTEGER, MAX_NESTING

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)
"""A string, which may lack its end so that no text is searched twice, or a bracket."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON as RFC 8259 defines it: no NaN or Infinity; duplicate keys are refused too.

    Raises:
        ValueError: not JSON, nested too deeply, a duplicate key, or a number outside the range of
            float64 or of 64-bit integers.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    _check_nesting(text)
    return json.loads(
        text,
        parse_constant=_constant,
        parse_float=_float,
        parse_int=_integer,
        object_pairs_hook=_object,
    )


def _check_nesting(text: str) -> None:
    depth = 0
    for found in _BRACKETS.finditer(text):
        first = found[0][0]
        depth += (first in "[{") - (first in "]}")
        if depth > MAX_NESTING:
            raise ValueError(f"is nested too deeply, more than {MAX_NESTING} levels")


def _constant(text: str) -> float:
    raise ValueError(f"number {text} is not finite")


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"number {text[:20]} is not finite")
    return value


def _integer(text: str) -> int:
    if len(text) > 24 or abs(value := int(text)) > MAX_INTEGER:
        raise ValueError(f"number {text[:20]}... is too large")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {twice[:40]!r}")
    return found
