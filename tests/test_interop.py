"""Networks that frameworks ran and wrote, run here under their presets, and ours in theirs.

`fixtures/interop.zip` was made by the frameworks themselves: `python -m benchmarks.interop`.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.foreign import installed
from benchmarks.interop import ours, theirs
from benchmarks.interop.environments import ENVIRONMENTS, LISTS
from benchmarks.interop.exceptions import CAUSES, OURS, THEIRS, Known, contradictions
from benchmarks.interop.exceptions import versions as pinned
from benchmarks.interop.networks import RULED
from benchmarks.interop.page import MARK, MEASURED, tables
from benchmarks.interop.spikes import CHANGED, spikes
from spikeport.export.nir import PRESETS
from tests.helpers.pages import match, page

ARCHIVE = Path(__file__).parent / "fixtures" / "interop.zip"
with zipfile.ZipFile(ARCHIVE) as _archive:
    NETWORKS = sorted(n.removesuffix(".nir") for n in _archive.namelist() if n.endswith(".nir"))
LIVE = ("norse", "snntorch", "spikingjelly", "sinabs")
"""The frameworks that `make` installs."""
FOR = {"framework": "f", "outcome": "differs", "compared": 9, "causes": []}
"""A row of a file written for a framework."""
RESULTS = json.loads(MEASURED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("interop")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(made)
    return made


def differing(folder: Path, name: str, rules: Mapping[str, Any]) -> int:
    recorded = np.load(folder / f"{name}.npy", allow_pickle=False)
    recorded = recorded.reshape(*recorded.shape[:2], -1)
    assert recorded.any()
    return int((spikes(name, folder, **rules) != recorded).sum())


@pytest.mark.parametrize("name", NETWORKS)
def test_no_spike_differs_under_the_preset(folder: Path, name: str) -> None:
    framework = name.partition("/")[0]
    assert differing(folder, name, {"semantics": framework, **CHANGED.get(name, {})}) == 0


def test_presets_are_needed(folder: Path) -> None:
    """Only SLAYER's rules are the default ones, and Norse's for the networks that it writes."""
    for framework in {name.partition("/")[0] for name in NETWORKS} - {"lava-dl", "norse"}:
        networks = [name for name in NETWORKS if name.startswith(framework)]
        assert any(differing(folder, name, {}) for name in networks)


def test_every_change_of_a_preset_is_needed(folder: Path) -> None:
    for name in CHANGED.keys() & set(NETWORKS):
        assert differing(folder, name, {"semantics": name.partition("/")[0]})


def test_every_preset_and_kind_of_network_is_recorded() -> None:
    recorded = {name.partition("/")[0] for name in NETWORKS}
    assert recorded == PRESETS.keys()
    assert ENVIRONMENTS.keys() == PRESETS.keys() | {"nir", "nirtorch"}
    assert set(ENVIRONMENTS.values()) == LISTS.keys()
    assert all(path.exists() for path in LISTS.values())
    unable = {"conv": {"rockpool"}, "recurrent": {"spikingjelly", "spyx", "norse"}}
    for kind, without in unable.items():
        having = {n.partition("/")[0] for n in NETWORKS if n.partition("/")[2].startswith(kind)}
        assert having == PRESETS.keys() - without
    assert CHANGED.keys() <= {row["network"] for row in RESULTS["theirs"]}


# Frameworks that are installed


def needs(package: str) -> Any:
    skip = pytest.mark.skipif(not installed(package), reason=f"{package} is not installed")
    return pytest.param(package, marks=[skip, pytest.mark.slow])


@pytest.mark.parametrize("framework", [needs(name) for name in LIVE])
def test_what_a_framework_writes_now_has_its_spikes_here(framework: str, tmp_path: Path) -> None:
    now = outcomes(theirs.measure(framework, Path(sys.executable), tmp_path))
    then = outcomes(r for r in RESULTS["theirs"] if r["network"].startswith(f"{framework}/"))
    newer_nir = {"sinabs/lif_by_exporter"}  # compresses scalars, which HDF5 refuses
    assert {name: now[name] for name in now.keys() - newer_nir} == {
        name: then[name] for name in then.keys() - newer_nir
    }


@pytest.fixture(scope="module")
def networks() -> Any:
    names = "MLP, zero", "MLP, subtract", "CNN, zero", "recurrent, zero", "CUBA, zero", "IF, zero"
    return ours.made(names)


@pytest.mark.parametrize("framework", [needs(name) for name in ("nir", "nirtorch", *LIVE)])
def test_what_we_write_now_has_our_spikes_there(
    framework: str, networks: Any, tmp_path: Path
) -> None:
    """From files for anyone and from files for this framework, which reads all in one process."""
    known = [one for one in OURS if one.framework == framework]
    given = {
        stem: file
        for plain in (True, False)
        for stem, file in ours.write(tmp_path, networks, framework, plain).items()
    }
    rows = list(ours.measure(framework, Path(sys.executable), tmp_path, given))
    assert len(rows) == 2 * len(networks) == 24
    assert not [text for text in contradictions(rows, known) if "not among" not in text]


def outcomes(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    return {row["network"]: (row["outcome"], row.get("differing", 0)) for row in rows}


# Results and their page


def test_every_exception_has_a_cause_and_every_cause_an_exception() -> None:
    assert list(contradictions(RESULTS["theirs"], THEIRS)) == []
    assert list(contradictions(RESULTS["ours"], OURS)) == []
    assert {key for one in (*THEIRS, *OURS) for key in one.causes} == CAUSES.keys()
    assert RESULTS["versions"] == pinned()


@pytest.mark.parametrize(
    ("row", "known", "says"),
    [
        ({"outcome": "differs"}, [], "no cause is known"),
        ({"outcome": "same"}, [Known(["a"], "differs", ["x"])], "expected was differs"),
        ({"outcome": "refused"}, [Known(["a"], "differs", ["x"])], "expected was differs"),
        (
            {"outcome": "differs", "by_changes": 3},
            [Known(["a"], "differs", ["x"], ["reset=zero"])],
            "3 differ under reset=zero",
        ),
        ({"outcome": "same"}, [Known(["b"], "differs", ["x"])], "not among the networks"),
        ({**FOR, "word": "exact", "differing": 5}, [], "is exact, but differs: 5"),
        ({**FOR, "word": "approximate"}, [], "without a cause"),
        ({**FOR, "word": "unsupported", "causes": ["x"], "outcome": "same"}, [], "nothing differs"),
    ],
)
def test_contradictions_are_named(row: dict[str, Any], known: list[Known], says: str) -> None:
    (text,) = contradictions([{"network": "a", **row}], known)
    assert says in text


def test_the_page_shows_the_results() -> None:
    assert page("interop.md").split(MARK)[1::2] == [f"\n{text}\n" for text in tables(RESULTS)]


def test_who_gives_our_spikes() -> None:
    """MLPs, convolutions with pools and recurrent layers, with reset to zero: at least these."""
    kinds = "MLP, zero", "CNN, zero", "CNN 28x28, zero", "recurrent, bias, zero", "recurrent, zero"
    written = {*kinds, *(f"{kind}, chip" for kind in kinds)}
    same: dict[tuple[str, bool], set[str]] = {}
    for row in RESULTS["ours"]:
        if row["outcome"] == "same":
            same.setdefault((row["framework"], "word" in row), set()).add(row["network"])
    assert written <= same["spikingjelly", False]
    for framework in ("norse", "snntorch", "spikingjelly"):
        assert written <= same[framework, True]
    assert same["nir", True] == {row["network"] for row in RESULTS["ours"]}
    assert same["nir", False] == same["nir", True] - RULED.keys()
    assert "MLP, rules of Sinabs" in same["sinabs", True] & same["rockpool", True]
    assert "MLP, rules of Spyx" in same["spyx", True]


def test_the_page_on_semantics_states_what_was_compared() -> None:
    same = [row for row in RESULTS["theirs"] if row["outcome"] == "same"]
    values, by_default = (sum(row[key] for row in same) for key in ("compared", "by_default"))
    stated = match(r"compares: (\d+) networks .*? ([\d,]+) output\nvalues", page("semantics.md"))
    assert stated.groups() == (str(len(same)), f"{values:,}")
    assert f"0 differ under the presets and {by_default:,} under the" in page("semantics.md")


def test_every_place_in_their_code_is_a_file_and_a_line() -> None:
    for cause in CAUSES.values():
        assert re.fullmatch(r"[\w/]+\.py:\d+", cause.where), cause.where
