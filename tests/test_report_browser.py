"""The report in a real browser: nothing leaves it, nothing runs out of the screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeport.ladder import LadderConfig, run_demo, write_ladder
from spikeport.network import Coding, Input
from spikeport.parity import Limits
from spikeport.report.document import document_of
from spikeport.report.html import HEADINGS, render_html
from spikeport.report.section import Topic, section_of
from spikeport.trainer import LIF, PUBLISHED, Dataset, TrainConfig
from tests.helpers.browser import MISSING, Browser, browser
from tests.helpers.reports import broken, estimate, figured

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.slow,
]
SCREENS = [(390, 844), (1280, 800)]
ALWAYS = {*HEADINGS} - {Topic.OTHER}
"""The sections of every ladder of a float network."""
LOOSE = Limits(max_drop_points=100.0, max_spike_change=100.0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    few = LadderConfig(samples=48, calibration=32, reference_samples=1, lava_samples=1)
    run_demo(folder, training=TrainConfig(epochs=1), ladder=replace(few, limits=LOOSE))
    return folder / "report.html"


@pytest.fixture(scope="module")
def narrow_resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_of_resnet18(tmp_path_factory, width=4)


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_of_resnet18(tmp_path_factory, width=64)


def report_of_resnet18(tmp_path_factory: pytest.TempPathFactory, width: int) -> Path:
    """ResNet-18 for CIFAR, in its full size with a width of 64, untrained."""
    folder = tmp_path_factory.mktemp("resnet18")
    random: Any = np.random.default_rng(0)
    declared = Input("input", (3, 32, 32), Coding.GRADED, 0, 255, scale=255.0)
    x = random.integers(0, 256, (6, 3, 32, 32)).astype(np.float32) / 255
    y = random.integers(0, 10, 6)
    data = Dataset("random images", x[:4], y[:4], x[4:], y[4:], declared, 10)
    torch.manual_seed(0)
    model = PUBLISHED["resnet18"](declared, 10, 4, LIF(), width=width).eval()
    with torch.no_grad():  # Untrained weights are too small to make every layer fire.
        for weight in model.layers.parameters():
            if weight.ndim == 4:
                weight.mul_(4)
    config = LadderConfig(calibration=4, reference_samples=0, lava_samples=0, limits=LOOSE)
    write_ladder(model, data, folder, config, "a ladder of a ResNet-18")
    return folder / "report.html"


@pytest.fixture(
    params=[
        *("demo", "narrow_resnet18"),
        pytest.param("resnet18", marks=pytest.mark.scale("test_reports_of_ladders")),
    ]
)
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_reports_of_ladders(
    chromium: Browser, page: Path, width: int, height: int, dark: bool
) -> None:
    assert page.stat().st_size < 2_000_000
    chromium.screen(width, height, dark=dark)
    chromium.open(page)
    assert chromium.console() == []
    assert chromium.requests() == [page.as_uri()]
    assert too_wide(chromium) == []
    sections = dict(chromium.evaluate(
        "return [...document.querySelectorAll('section')].map(s => [s.id, s.innerText.trim()])"
    ))  # fmt: skip
    assert set(sections) == {str(topic) for topic in ALWAYS}
    for topic, text in sections.items():
        assert len(text) > len(HEADINGS[topic]) + 40, topic
    assert chromium.evaluate("return document.querySelectorAll('svg.raster path').length") >= 3
    assert chromium.evaluate("return document.querySelectorAll('.bins path').length") >= 6
    assert chromium.evaluate("return document.querySelectorAll('.cores path').length") >= 2
    assert chromium.evaluate("return document.querySelectorAll('.counts tbody tr').length") == 10
    first = chromium.evaluate(FIRST_SCREEN)
    assert [question for question, _ in first][:4] == [
        "Does it fit Intel Loihi, 14 nm?",
        "Is its accuracy kept?",
        "Are its spikes the same?",
        "Energy per sample",
    ], "the first screen answers whether, on what chip, and at what cost"
    assert all(bottom <= height for _, bottom in first), first


FIRST_SCREEN = """
return [...document.querySelectorAll('.claims > div')].map(
    claim => [claim.querySelector('dt').innerText, claim.getBoundingClientRect().bottom])
"""
TOO_WIDE = """
const edge = document.documentElement.clientWidth;
for (const one of document.querySelectorAll('details')) one.open = true;
const inside = e => e.closest('pre, .scroll') !== null && !e.matches('pre, .scroll');
const found = [...document.querySelectorAll('body *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && (box.right > edge + 0.5 || box.left < -0.5) && !inside(e);
}).map(e => e.outerHTML.slice(0, 120));
if (document.documentElement.scrollWidth > edge) found.push('the page scrolls');
return found;
"""


def too_wide(chromium: Browser) -> list[str]:
    """What lies beyond the edges of the screen, with everything unfolded."""
    found: list[str] = chromium.evaluate(TOO_WIDE)
    return found


def test_names_of_any_length_stay_on_a_phone(chromium: Browser, tmp_path: Path) -> None:
    long = "population_" * 12
    wide = section_of("Wide", [{f"column {k} of {long}": k * 10**12 for k in range(12)}])
    document = document_of(
        replace(broken(), command=f"spikeport ladder {long}"),
        {long: estimate()},
        [wide, figured(long), figured(long, classes=100)],
        data={"name": long},
    )
    (tmp_path / "long.html").write_text(render_html(document))
    chromium.screen(390, 844)
    chromium.open(tmp_path / "long.html")
    assert too_wide(chromium) == []


def test_the_printed_report_shows_what_is_folded(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "p.html").write_text(render_html(document_of(broken(), {"native": estimate()})))
    chromium.screen(794, 1123, medium="print")
    chromium.open(tmp_path / "p.html")
    folded = "return document.querySelector('details table').getBoundingClientRect().height"
    assert chromium.evaluate(folded) > 50
    assert chromium.evaluate("return document.documentElement.scrollWidth") <= 794
