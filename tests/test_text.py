"""How names and values from files and users are displayed: verbatim, on one line, shortened."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.energy.profile import parse_profile
from spikeport.errors import (
    MOST_DETAILS,
    BackendUnavailableError,
    CheckFailedError,
    InputError,
    OutputError,
    SpikeportError,
)
from spikeport.text import (
    LONGEST_MESSAGE,
    LONGEST_VALUE,
    LONGEST_WORD,
    cut,
    is_web_address,
    json_text,
    one_line,
    quoted,
    shown,
)

ANY_TEXT = st.text(st.characters(codec=None, categories=None))
"""Surrogates, controls and unassigned code points too."""

PLAIN = (
    *("a[/b].spikeport", "net[bold].spikeport", ":x:.nir", "[link=http://x]y[/link]", "[red]"),
    *("\\[bold]", "a\\", "%s %d", "{0}", "$x$", "<script>", "&lt;", ":smile:", "", "-x", " a  b "),
    *("CON", "größe.nir", "神经.nir", "😀", "'", '"', "`rm`", "$(x)", "*?", "#", "~"),
)
HIDDEN = {
    "\x1b[2J": "\\x1b[2J",
    "a\nspikeport: done": "a\\nspikeport: done",
    "\r": "\\r",
    "\t": "\\t",
    "\x00\x07\x7f": "\\x00\\x07\\x7f",
    "\x9b31m": "\\x9b31m",  # C1: the control sequence introducer in one character
    "\x85\u2028\u2029": "\\x85\\u2028\\u2029",
    "a\u202ecod.exe": "a\\u202ecod.exe",
    "\u2066\u2069\u200f\u061c": "\\u2066\\u2069\\u200f\\u061c",
    "a\u200bb\u200d\u2060\ufeff\u00ad": "a\\u200bb\\u200d\\u2060\\ufeff\\xad",
    "\u3164\u2800\u034f\ufe0f": "\\u3164\\u2800\\u034f\\ufe0f",
    "\U000e0041": "\\U000e0041",  # tags: invisible text
    "\xa0\u3000": "\\xa0\\u3000",
    "\udcff": "\\udcff",
    "\ue000": "\\ue000",
}


@pytest.mark.parametrize("text", PLAIN)
def test_printable_text_is_shown_unchanged(text: str) -> None:
    assert shown(text) == text
    assert one_line(text) == text
    assert str(InputError(text)) == text


@pytest.mark.parametrize(("text", "expected"), HIDDEN.items())
def test_unprintable_characters_are_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert quoted(text) == f"'{expected}'"
    assert str(InputError(f"{text}: no such file")) == f"{expected}: no such file"


@given(ANY_TEXT)
def test_shown_text_is_printable_and_stable(text: str) -> None:
    found = shown(text)
    assert found.isprintable()
    assert not {unicodedata.category(c) for c in found} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert shown(found) == found
    found.encode("utf-8")
    if all(shown(c) == c for c in text):
        assert found == text
    else:
        assert len(found) > len(text)


@given(ANY_TEXT, st.integers(60, 300))
def test_cut_text_keeps_both_ends_and_says_its_length(text: str, longest: int) -> None:
    text *= 40
    found = cut(text, longest)
    assert len(found) <= longest
    if len(text) <= longest:
        assert found == text
    else:
        head, said, tail = found.partition(f"… ({len(text):,} characters) …")
        assert said
        assert text.startswith(head)
        assert text.endswith(tail)
        assert min(len(head), len(tail)) > 5


@given(ANY_TEXT, ANY_TEXT, st.sampled_from([1, 30, 1000]))
def test_messages_are_one_printable_line_of_limited_length(
    first: str, second: str, times: int
) -> None:
    text = one_line(f"{first * times}: name '{second * times}' is unknown")
    assert text.isprintable()
    assert len(text) <= LONGEST_MESSAGE
    assert one_line(text) == text
    assert text.endswith("is unknown")


@pytest.mark.parametrize("name", ["a" * 10_000, "a " * 5_000, "[red]" * 2_000])
def test_a_name_of_ten_thousand_characters(name: str) -> None:
    message = str(InputError(f"n.nir: node '{name}' is not reachable from any input"))
    assert len(message) <= LONGEST_MESSAGE
    assert message.startswith("n.nir: node '")
    assert message.endswith("' is not reachable from any input")
    assert "(10,0" in message
    short = quoted(name)
    assert len(short) <= LONGEST_VALUE + 2
    assert "(10,000 characters)" in short
    wrapped = str(InputError(f"folder/n.nir: {InputError(message)}"))
    assert wrapped == f"folder/n.nir: {message}"


def test_a_path_is_never_cut() -> None:
    path = "/" + "/".join(["folder"] * 60)
    assert len(path) < LONGEST_WORD
    assert one_line(f"{path}: no such file") == f"{path}: no such file"


def test_values_that_python_cannot_write_or_writes_at_length() -> None:
    assert quoted(16**5000) == "a value of type int that is too long to print"
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert quoted(nested) == "a value of type list that is too long to print"
    assert len(quoted(list(range(10**5)))) <= LONGEST_VALUE
    assert "characters)" in quoted(np.arange(999).tolist())
    assert quoted({"a\x1b": None}) == "{'a\\x1b': None}"
    assert quoted(None) == "None"


@pytest.mark.parametrize(
    "kind", [SpikeportError, InputError, OutputError, CheckFailedError, BackendUnavailableError]
)
def test_errors_keep_their_details_on_lines_of_their_own(kind: type[SpikeportError]) -> None:
    error = kind("it said:\x1b", "first\nspikeport: done", "  second")
    text = "it said:\\x1b\n  first\\nspikeport: done\n    second"
    assert str(error) == text
    assert str(pickle.loads(pickle.dumps(error))) == text
    many = kind("broken:", *map(str, range(10**4)))
    assert len(str(many).splitlines()) == 1 + MOST_DETAILS
    assert str(many).endswith(f"\n  … and {10**4 - MOST_DETAILS + 1:,} more")
    assert str(pickle.loads(pickle.dumps(many))) == str(many)


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers()))
def test_json_holds_the_original_text_without_control_characters(data: dict[str, object]) -> None:
    text = json_text(data)
    assert text.replace("\n", "").isprintable()
    text.encode("utf-8")
    # JSON cannot distinguish a surrogate pair from the character that it encodes.
    assert json.loads(text) == json.loads(json.dumps(data))


@pytest.mark.parametrize(
    ("url", "links"),
    [
        ("https://a.example/x?y=1#z", True),
        ("http://a.example", True),
        ("HTTPS://A.EXAMPLE", True),
        *(("javascript:alert(1)", False), ("JavaScript:alert(1)", False)),
        *((" javascript:alert(1)", False), ("java\tscript:alert(1)", False)),
        *(("java\nscript:alert(1)", False), ("\x01javascript:alert(1)", False)),
        *(("data:text/html,<script>", False), ("vbscript:x", False), ("file:///etc", False)),
        *(("//a.example", False), ("http:a.example", False), ("https://", False), ("", False)),
        *(("https://a.example/\u202e", False), ("https://a b", False), ("https://[", False)),
        *(("https:\\\\a.example", False), ("blob:https://a.example", False)),
    ],
)
def test_only_pages_are_linked_to(url: str, links: bool) -> None:
    assert is_web_address(url) is links


def test_numbers_of_a_profile_beyond_floats(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    text = (root / "backends" / "targets" / "loihi1" / "target.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("value = "))
    with pytest.raises(InputError, match="value' is an integer beyond 64 bits"):
        parse_profile(text.replace(line, f"value = 0x{'f' * 5000}", 1), "p")


def test_warnings_from_any_library_are_printed_as_text() -> None:
    script = (
        "import logging, warnings; from spikeport.cli._warnings import show_warnings\n"
        "show_warnings()\n"
        "logging.getLogger('spikeport.x').warning('node %s', 'a\\x1b[2J\\nspikeport: done')\n"
        "warnings.warn('b\\x1b[2J\\nspikeport: done', stacklevel=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == (
        "node a\\x1b[2J\\nspikeport: done\nUserWarning: b\\x1b[2J\\nspikeport: done\n"
    )
