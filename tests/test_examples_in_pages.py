"""The tutorials and the pages of frameworks, run word for word."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import spikeport
from benchmarks.foreign import installed
from tests.helpers.examples import ELSEWHERE, GIVEN, Place, missing, pictures
from tests.helpers.layout import ROOT

DOCS = ROOT / "docs"
TUTORIALS = [DOCS / "tutorials" / f"{name}.md" for name in ("nir", "lava", "energy")]
LAVA = DOCS / "tutorials" / "lava.md"
FRAMEWORKS = sorted((DOCS / "frameworks").glob("*.md"))
IMPORTED = re.compile(r"^(?:import|from) (norse|snntorch|spikingjelly|sinabs)\b", re.M)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("pages"))


def name(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("path", [*TUTORIALS, *FRAMEWORKS], ids=name)
def test_examples_print_what_the_page_shows(path: Path, place: Place) -> None:
    text = path.read_text("utf-8")
    if missed := [package for package in IMPORTED.findall(text) if not installed(package)]:
        pytest.skip(f"{missed[0]} is not installed")
    place.give(path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of frameworks
        ran = list(place.run(text))
    assert ran
    for shown, printed in ran:
        part = missing(shown, printed)
        assert not part, f"`python -m tests.helpers.examples {path}` updates: {part}\n{printed}"
    for picture in pictures(text):
        if (drawn := place.folder / picture).exists():
            kept = (path.parent / picture).read_text("utf-8")
            assert not missing(kept, drawn.read_text("utf-8")), picture


@pytest.mark.slow
def test_examples_of_pages_that_begin_with_a_network_run(place: Place) -> None:
    train, quantize = re.findall(r"^spikeport (?:train|quantize).*$", LAVA.read_text(), re.M)[:2]
    assert not list(place.run(f"```sh\n{train}\n{quantize}\n```\n"))
    data = spikeport.load_dataset("digits")
    chip = spikeport.load_network(place.folder / "digits.spikeport")
    samples = spikeport.encode_samples(chip.inputs, chip.steps, data.test_x[:4])
    run = spikeport.run("native", chip, samples)
    nn = torch.nn
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), spikeport.LIF(0.5), nn.Linear(9, 10))
    pages: dict[str, dict[str, Any]] = {
        "export.md": {},
        "mapping.md": {"network": chip, "run": run},
        "networks.md": {
            "data": data,
            "network": spikeport.from_module(layers, data.input, steps=8),
            "x": torch.tensor(data.train_x[:4]),
            "y": torch.tensor(data.train_y[:4]),
        },
    }
    for page, given in pages.items():
        text = (DOCS / page).read_text("utf-8")
        assert not list(place.run(text, spikeport=spikeport, torch=torch, **given))


def test_every_page_runs() -> None:
    assert {path.stem for path in TUTORIALS} == {p.stem for p in (DOCS / "tutorials").glob("*.md")}


@pytest.mark.parametrize("path", FRAMEWORKS, ids=name)
def test_examples_for_other_environments_are_python(path: Path) -> None:
    found = ELSEWHERE.findall(path.read_text("utf-8"))
    assert bool(found) == (path.name in GIVEN)
    for block in found:
        assert "np.save" in block
        compile(block, str(path), "exec")


@pytest.mark.parametrize("path", [*TUTORIALS, *FRAMEWORKS], ids=name)
def test_no_block_is_forgotten(path: Path) -> None:
    """A fence with another word, or with a space, would not be run."""
    opened = re.findall(r"^```(.*)\n(?:.*\n)*?```$", path.read_text("utf-8"), re.M)
    assert {one for one in opened if not one.startswith("python title=")} <= {
        "",
        "sh",
        "python",
        "text",
    }


@pytest.mark.parametrize(
    ("shown", "printed", "part"),
    [
        ("a 1,000 b\n", "a  1,049 b", ""),
        ("a 1,000 b\n", "a 1,200 b", "a 1,000 b"),
        ("a 0\n", "a 1", "a 0"),
        ("┏━━┓\n", "┏━━━━┓", ""),
        ("a\n", "a b", "a"),
        ("a\n...\n", "a b", ""),
        ("...\nb\n", "a b", ""),
        ("...\nb\n", "a b c", "b"),
        ("a\n...\nc 10\n...\ne\n", "a b c 9.5 d e", ""),
        ("a\n...\nd\n...\nc\n...\n", "a c d", "c"),
        ("x\n...\n", "a x", "x"),
    ],
)
def test_what_a_page_shows_is_compared(shown: str, printed: str, part: str) -> None:
    assert missing(shown, printed) == part


@pytest.mark.parametrize("path", TUTORIALS, ids=name)
def test_tutorials_show_pictures(path: Path) -> None:
    for picture in pictures(path.read_text("utf-8")) or ["none"]:
        assert (path.parent / picture).is_file(), picture
