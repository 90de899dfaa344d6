"""What `make quick` selects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.layout import ROOT
from tests.quick import CORE, LENGTHY, READERS, defining, described, nearest, select


def module(name: str) -> Path:
    return ROOT / "tests" / f"test_{name}.py"


def test_names_are_followed_through_stubs_to_the_module_that_defines_them() -> None:
    assert defining("spikeport", "Dense") == defining("spikeport.network", "Dense")
    assert defining("spikeport", "Dense") == ROOT / "spikeport/network/connections/dense.py"
    assert defining("spikeport.export", "read_nir") == ROOT / "export/nir/reader.py"
    assert defining("numpy", "array") is None


def test_the_core_comes_first_then_what_is_nearest() -> None:
    changed = ROOT / "export/nir/shapes.py"
    chosen = [path.stem.removeprefix("test_") for path in select(frozenset({changed})).chosen]
    assert set(chosen[: len(CORE)]) == set(CORE)
    after = [nearest(module(name), frozenset({changed})) or 0 for name in chosen[len(CORE) :]]
    assert after == sorted(after)
    assert {"nir_files", "float_nir"} <= set(chosen)
    assert "scratch" not in chosen


@pytest.mark.parametrize(
    ("changed", "test"),
    [
        ("tests/test_scratch.py", "scratch"),
        ("tests/helpers/mounts.py", "files"),
        ("backends/targets/loihi1/target.toml", "check"),
        ("docs/check.md", "stated_facts"),
        ("docs/tutorials/nir.md", "pages"),
        ("pyproject.toml", "packaging"),
    ],
)
def test_each_kind_of_file_leads_to_its_tests(changed: str, test: str) -> None:
    assert module(test) in select(frozenset({ROOT / changed})).chosen
    assert module(test) not in select(frozenset()).chosen


def test_what_is_left_out_is_named() -> None:
    changed = frozenset({module("lava_faults")})
    selection = select(changed)
    assert set(selection.chosen) | set(selection.left_out) == set(
        (ROOT / "tests").glob("test_*.py")
    )
    (line,) = (x for x in described(selection, changed).splitlines() if "left out (" in x)
    assert set(LENGTHY) <= set(line.split(": ")[1].split(", "))


def test_named_modules_exist() -> None:
    for name in (*CORE, *READERS, *LENGTHY):
        assert module(name).exists()


def test_tests_of_scale_name_one_that_always_runs() -> None:
    source = "\n".join(path.read_text() for path in sorted((ROOT / "tests").glob("test_*.py")))
    named = re.findall(r'[.]scale\("(\w+)"\)', source)
    assert len(named) == len(re.findall(r"mark[.]scale", source)) > 0
    for name in named:
        assert re.search(rf"^def {name}\(", source, re.MULTILINE), name
