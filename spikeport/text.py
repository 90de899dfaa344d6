"""Make untrusted text (names, paths, values, output of other programs) safe to display.

Text is shown verbatim, except for characters that cannot be printed within a line. They are escaped
as in a Python string (`\\x1b`, `\\n`, `\\u202e`), so that they cannot control a terminal, start a
new line, or hide or reorder the text around them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

LONGEST_WORD = 500
"""Longest word in a message, in characters; paths have a few hundred at most."""
LONGEST_MESSAGE = 4000
LONGEST_VALUE = 200
"""Longest value that a message quotes, in characters."""
_MARK = 40
"""Length of the note that `cut` puts in place of the removed text."""

# Printable by Unicode category, but rendered as nothing or as a space.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def shown(text: str) -> str:
    """`text` with all unprintable characters escaped; idempotent.

    Escapes control characters (C0, C1, line breaks, tabs), spaces other than " ", bidirectional and
    other format characters, zero-width and blank characters, lone surrogates (bytes of a file
    name that are not UTF-8), private and unassigned code points.
    """
    if text.isprintable() and (text.isascii() or _BLANK.search(text) is None):
        return text
    return "".join(
        character
        if character.isprintable() and _BLANK.match(character) is None
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def cut(text: str, longest: int) -> str:
    """Shorten `text` to at most `longest` characters: its start, its length, its end."""
    if len(text) <= longest:
        return text
    tail = (longest - _MARK) // 3
    head = longest - _MARK - tail
    return f"{text[:head]}… ({len(text):,} characters) …{text[-tail:]}"


def quoted(value: Any, longest: int = LONGEST_VALUE) -> str:
    """A value for a message: strings in quotes, other types as repr; shortened and escaped."""
    if isinstance(value, str):
        return f"'{shown(cut(str(value), longest))}'"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits, deep nesting
        text = f"a value of type {type(value).__name__} that is too long to print"
    return shown(cut(text, longest))


def one_line(message: str) -> str:
    """A message on one line: escaped, with long words and long messages shortened."""
    text = _WORD.sub(lambda word: cut(word[0], LONGEST_WORD), shown(message))
    # Below the limit, so that a prefix added later does not shorten it again.
    return text if len(text) <= LONGEST_MESSAGE else cut(text, LONGEST_MESSAGE * 3 // 4)


def first_of(sentences: Sequence[str], most: int = 4) -> str:
    """The first of many sentences in one line, and the number of the others."""
    rest = len(sentences) - most
    text = "; ".join(sentences[:most])
    return text if rest <= 0 else f"{text}; and {rest} more, which --json lists"


def json_text(data: Any, **options: Any) -> str:
    """Indented JSON of the original text, with unprintable characters as `\\uXXXX`."""
    text = json.dumps(data, indent=2, ensure_ascii=False, **options)
    return "\n".join(
        map(_escaped_in_json, text.split("\n"))
    )  # line breaks within strings are escaped


def is_web_address(url: str) -> bool:
    """Whether `url` may become a link: http or https, with a host."""
    if shown(url) != url or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _escaped_in_json(line: str) -> str:
    if shown(line) == line:
        return line
    return "".join(
        character if shown(character) == character else json.dumps(character)[1:-1]
        for character in line
    )
