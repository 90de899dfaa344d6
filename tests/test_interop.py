"""Networks that frameworks ran and wrote, read and run here under their presets.

`fixtures/interop.zip` was made by the frameworks themselves: `python -m benchmarks.interop`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.interop.environments import ENVIRONMENTS, LISTS
from benchmarks.interop.spikes import CHANGED, spikes
from spikeport.export.nir import PRESETS
from tests.helpers.pages import match, page

ARCHIVE = Path(__file__).parent / "fixtures" / "interop.zip"
with zipfile.ZipFile(ARCHIVE) as _archive:
    NETWORKS = sorted(n.removesuffix(".nir") for n in _archive.namelist() if n.endswith(".nir"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("interop")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(made)
    return made


def loaded(path: Path) -> np.ndarray:
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array


def differing(folder: Path, name: str, rules: Mapping[str, object]) -> int:
    x = loaded(folder / name.partition("/")[0] / "input.npy")
    theirs = loaded(folder / f"{name}.npy")
    assert theirs.any()
    return int((spikes(folder / f"{name}.nir", x, **rules) != theirs).sum())


@pytest.mark.parametrize("name", NETWORKS)
def test_no_spike_differs_under_the_preset(folder: Path, name: str) -> None:
    framework = name.partition("/")[0]
    assert differing(folder, name, {"semantics": framework, **CHANGED.get(name, {})}) == 0


def test_presets_are_needed(folder: Path) -> None:
    """Only SLAYER's rules are the default ones."""
    for framework in {name.partition("/")[0] for name in NETWORKS} - {"lava-dl"}:
        networks = [name for name in NETWORKS if name.startswith(framework)]
        assert any(differing(folder, name, {}) for name in networks)


def test_every_change_of_a_preset_is_needed(folder: Path) -> None:
    for name in CHANGED:
        assert differing(folder, name, {"semantics": name.partition("/")[0]})


def test_the_page_states_what_was_compared(folder: Path) -> None:
    sizes = [loaded(folder / f"{name}.npy").size for name in NETWORKS]
    by_default = sum(differing(folder, name, {}) for name in NETWORKS)
    stated = match(r"compares: (\d+) networks .*? ([\d,]+) output\nvalues", page("semantics.md"))
    assert stated.groups() == (str(len(NETWORKS)), f"{sum(sizes):,}")
    assert f"0 differ under the presets and {by_default:,} under the" in page("semantics.md")


def test_every_preset_is_recorded() -> None:
    """Norse is installed with the tests, which run it: `test_norse.py`."""
    found = {name.partition("/")[0] for name in NETWORKS}
    assert found == ENVIRONMENTS.keys() == PRESETS.keys() - {"norse"}
    assert set(ENVIRONMENTS.values()) == LISTS.keys()
    assert all(path.exists() for path in LISTS.values())
    assert CHANGED.keys() <= set(NETWORKS)
