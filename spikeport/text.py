"""Text from outside (names, paths, values, what other programs say) as it may be shown.

What a file or a user gives is printed as it is, except for characters that do not stand for
themselves on a line: those are escaped as Python does it (`\\x1b`, `\\n`, `\\u202e`), so that they
cannot command a terminal, begin a line, or hide or reorder the text around them.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

LONGEST_WORD = 500
"""Characters of one word in a message; a path has at most a few hundred."""
LONGEST_MESSAGE = 4000
LONGEST_VALUE = 200
"""Characters of a value that a message quotes."""
_MARK = 40
"""Room for what `cut` says in the place of what it leaves out."""

# Printable by their category, but drawn as nothing or as a space.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def shown(text: str) -> str:
    """`text` with every character escaped that is not printable; stable when applied again.

    Escaped are controls (C0, C1, line breaks, tabs), spaces other than " ", bidirectional and
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
    """`text`, or its beginning and end with its length between them; at most `longest` long."""
    if len(text) <= longest:
        return text
    tail = (longest - _MARK) // 3
    head = longest - _MARK - tail
    return f"{text[:head]}… ({len(text):,} characters) …{text[-tail:]}"


def quoted(value: Any, longest: int = LONGEST_VALUE) -> str:
    """A value as a message names it: text in quotes, all else as its repr, cut and escaped."""
    if isinstance(value, str):
        return f"'{shown(cut(str(value), longest))}'"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits, nesting as deep
        text = f"a value of type {type(value).__name__} that is too long to be written"
    return shown(cut(text, longest))


def one_line(message: str) -> str:
    """A message on one line: escaped, with long words and what is beyond any message cut."""
    text = _WORD.sub(lambda word: cut(word[0], LONGEST_WORD), shown(message))
    # Shorter than the limit, so that what is put in front of it later does not cut it again.
    return text if len(text) <= LONGEST_MESSAGE else cut(text, LONGEST_MESSAGE * 3 // 4)


def json_text(data: Any, **options: Any) -> str:
    """Indented JSON of the true text: what cannot be shown stands in it as JSON's `\\uXXXX`."""
    text = json.dumps(data, indent=2, ensure_ascii=False, **options)
    return "\n".join(map(_escaped_in_json, text.split("\n")))  # within strings it writes \n


def is_web_address(url: str) -> bool:
    """Whether a link to `url` leads to a page: http or https and a host, nothing else."""
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
