from __future__ import annotations

import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from spikeport.energy import (
    ConnectionInfo,
    EnergyReport,
    Interval,
    SynapseKind,
    Topology,
    estimate_energy,
    load_profile,
)
from spikeport.parity import Criterion, LadderRow, ParityReport, SkippedStage, accuracy
from spikeport.parity.report import Difference
from spikeport.report.document import SCHEMA, to_json
from spikeport.report.headline import headline
from spikeport.report.html import render_html
from spikeport.report.section import Section, cell_text, section_of
from spikeport.report.terminal import render_terminal
from spikeport.report.units import (
    format_count,
    format_energy,
    format_percent,
    format_range,
    format_time,
)
from spikeport.runs import EventCounts
from spikeport.traces import Divergence

HASH = "4f2ac9d17be0" + "5" * 52
CHANGED = "changed by quantization (expected)"


def row(
    stage: str, backend: str, version: str, correct: int, n: int,
    rule: Criterion | None, verdict: str,
    differing: tuple[int, int, int] = (0, 0, 0), answers: int = 0, ties: int | None = None,
    wall_s: float = 0.8,
) -> LadderRow:  # fmt: skip
    spikes = {"conv1": 812 * n, "conv2": 604 * n, "out": 31 * n + 7}
    return LadderRow(
        stage=stage, backend=backend, version=version,
        network_hash="" if rule in (None, Criterion.TIES) else HASH,
        accuracy=accuracy(correct, n), spikes=spikes, synaptic_events=61_250 * n,
        energy_pj=Interval(2.1e6, 9.4e6, 21.7e6), rule=rule,
        difference=None if rule is None else Difference(
            n, dict(zip(spikes, differing, strict=True)), answers, 0, (), ties, None),
        verdict=verdict, passed=not verdict.startswith("FAILED"), wall_s=wall_s,
    )  # fmt: skip


def ladder() -> ParityReport:
    return ParityReport(
        rows=(
            row("Float, in training", "spikeport trainer", "0.1.0", 354, 360, None,
                "start of the ladder", wall_s=1.9),
            row("Float NIR graph", "float", "0.1.0", 354, 360, Criterion.TIES,
                "identical except for 3 ties", (2, 1, 0), ties=3),
            row("Norse", "norse", "1.1.0", 354, 360, Criterion.TIES, "identical",
                ties=0, wall_s=4.1),
            row("Quantized", "native", "0.1.0", 352, 360, Criterion.CHANGE, CHANGED,
                (9120, 7033, 411), answers=4, wall_s=0.21),
            row("After NIR write and read", "native", "0.1.0", 352, 360, Criterion.EXACT,
                "identical", wall_s=0.2),
            row("Lava", "lava", "0.10.0", 32, 32, Criterion.EXACT, "identical", wall_s=14.2),
            row("Scalar reference", "reference", "0.1.0", 4, 4, Criterion.EXACT, "identical",
                wall_s=8.8),
        ),
        network_hash=HASH, samples=360, steps=16,
        environment={"spikeport": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "nir": "1.0.8",
                     "norse": "1.1.0", "lava-nc": "0.10.0"},
        command="spikeport demo --seed 0",
    )  # fmt: skip


def broken() -> ParityReport:
    found = Divergence("conv2", (3, 1, 0), 5, 7, "spikes", (0.0, 1.0), 10)
    verdict = f"FAILED: spikes differ, 12 in 'conv2'; first at {found}"
    lava = row("Lava", "lava", "0.10.0", 30, 32, Criterion.EXACT, verdict, (0, 12, 3), answers=2)
    skipped = SkippedStage("Norse", "norse", "norse is not installed", "pip install norse")
    rows = (*ladder().rows[:5], lava)
    return dataclasses.replace(ladder(), rows=rows, skipped=(skipped,))


def estimate() -> EnergyReport:
    connections = {
        "input_to_conv1": ConnectionInfo(SynapseKind.CONV, "input", "conv1"),
        "conv1_to_conv2": ConnectionInfo(SynapseKind.CONV, "conv1", "conv2"),
        "conv2_to_out": ConnectionInfo(SynapseKind.DENSE, "conv2", "out"),
    }
    n, steps, sizes = 360, 16, {"conv1": 1024, "conv2": 512, "out": 10}
    messages = {"input_to_conv1": 420 * n, "conv1_to_conv2": 812 * n, "conv2_to_out": 604 * n}
    nonzero = {
        "input_to_conv1": 31_000 * n,
        "conv1_to_conv2": 84_000 * n,
        "conv2_to_out": 5_400 * n,
    }
    counts = EventCounts(
        samples=n, steps=steps, spikes={"conv1": 812 * n, "conv2": 604 * n, "out": 31 * n},
        visits={name: size * steps * n for name, size in sizes.items()},
        updates={name: size * steps * n * 3 // 4 for name, size in sizes.items()},
        input_events={"input": 420 * n}, messages=messages, synaptic_events=nonzero,
        synaptic_events_all={**nonzero, "conv2_to_out": 6_040 * n},
    )  # fmt: skip
    topology = Topology(connections, graded_inputs=("input",), macs=250_000)
    return estimate_energy(topology, counts, load_profile("loihi1"))


def quantization() -> Section:
    return section_of(
        "Quantization, layer by layer",
        [
            {"layer": "conv1", "scale": 181.33, "exponent": 0, "weights clipped": 0,
             "rounded to zero": 12, "rms error": 0.00213},
            {"layer": "conv2", "scale": 96.5, "exponent": 1, "weights clipped": 3,
             "rounded to zero": 2041, "rms error": 0.00391},
            {"layer": "out", "scale": 143.0, "exponent": 0, "weights clipped": 0,
             "rounded to zero": 8, "rms error": None},
        ],
        note="Weights clipped to the grid and weights that rounding made zero.",
    )  # fmt: skip


class Page(HTMLParser):
    """What a page loads, whether its tags close in order, and its text."""

    void = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.void:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster") or (name == "href" and tag != "a"):
                self.loads.append(f"{tag} {value}")
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and (value or "").startswith("#"):
                self.anchors.append((value or "")[1:])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def page(report: ParityReport) -> Page:
    return Page(render_html(report, {"native": estimate()}, [quantization()]))


def test_page_loads_nothing_and_runs_nothing() -> None:
    html = render_html(ladder(), {"native": estimate()}, [quantization()])
    parsed = Page(html)
    assert parsed.open == []
    assert parsed.loads == []
    assert "script" not in parsed.tags
    assert not re.search(r"url\(|@import", html)
    assert len(html.encode()) < 100_000


def test_page_shows_every_stage_population_term_constant_and_section() -> None:
    text = page(ladder()).text
    report, energy = ladder(), estimate()
    for entry in report.rows:
        for part in (entry.stage, entry.backend, entry.version, entry.verdict):
            assert part in text
        assert format_percent(entry.accuracy.rate) in text
        for name in entry.spikes:
            assert name in text
    for term in energy.terms:
        assert term.name in text
        for value in energy.per_sample(term.energy).as_dict().values():
            assert format_energy(value) in text
    for note in (*energy.warnings, *energy.assumptions, *energy.unpriced):
        assert note in text
    for name, _, price in energy.profile.prices():
        assert name in text
        for constant in (price.low, price.nominal, price.high):
            assert f"{constant.value:g}" in text
            assert constant.source.citation in text
            assert constant.source.conditions in text
    assert "7,033 differ" in text
    assert "2,041" in text
    assert "spikeport demo --seed 0" in text
    assert HASH in text
    assert "numpy" in text


def test_page_is_navigable() -> None:
    parsed = page(ladder())
    assert len(parsed.ids) == len(set(parsed.ids))
    assert set(parsed.anchors) <= set(parsed.ids)
    assert parsed.tags.count("h1") == 1


def test_page_says_what_failed_and_what_did_not_run() -> None:
    text = page(broken()).text
    assert "Parity broken at the stage 'Lava'" in text
    assert "spikes differ, 12 in 'conv2'; first at sample 5, step 7" in text
    assert "norse is not installed" in text
    assert "pip install norse" in text


def test_page_escapes_what_it_is_given() -> None:
    evil = dataclasses.replace(ladder(), command="run <script>alert(1)</script> & more")
    html = render_html(evil, title="<b>&")
    assert "<script" not in html
    assert "run &lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "<title>&lt;b&gt;&amp;</title>" in html


def test_page_of_an_empty_ladder_has_no_verdict_to_praise() -> None:
    html = render_html(ParityReport((), "", 0, 1, {}))
    assert "Nothing was run" in html
    assert 'class="hero bad"' in html


def terminal(report: ParityReport, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(render_terminal(report, {"native": estimate()}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


def test_terminal_fits_100_columns_and_tells_the_same() -> None:
    text = terminal(ladder())
    assert max(len(line) for line in text.splitlines()) <= 100
    for part in ("98.3 % [96.4, 99.2]", "16,564", "static power", "Overhead-dominated",
                 "Nothing lost: every integer stage is identical"):  # fmt: skip
        assert part in text
    for entry in ladder().rows:
        assert entry.stage.split()[-1] in text


def test_terminal_says_what_failed_and_what_did_not_run() -> None:
    text = " ".join(terminal(broken()).split())
    assert "Lava: FAILED: spikes differ, 12 in 'conv2'; first at sample 5, step 7" in text
    assert "Norse: not run: norse is not installed. To fix: pip install norse" in text
    assert "Parity broken at the stage 'Lava'" in text


def test_sections_keep_column_order_and_align_numbers() -> None:
    section = section_of("x", [{"a": "one", "b": 1}, {"a": "two", "c": None}])
    assert section.columns == ("a", "b", "c")
    assert section.rows == (("one", 1, None), ("two", None, None))
    assert section.numeric == (False, True, True)
    values = (None, True, 1234, 0.123456, float("inf"), "s")
    assert [cell_text(v) for v in values] == ["–", "yes", "1,234", "0.1235", "∞", "s"]
    endless = section_of("x", [{"sqnr_db": float("inf")}])
    assert json.loads(to_json(ladder(), sections=[endless]))["sections"][0]["rows"] == [
        {"sqnr_db": None}
    ]


def test_headlines() -> None:
    assert headline(ladder()) == "Nothing lost: every integer stage is identical, spike for spike"
    partial = dataclasses.replace(ladder(), skipped=broken().skipped)
    assert headline(partial) == "Every integer stage that ran is identical, spike for spike"
    floats = dataclasses.replace(ladder(), rows=ladder().rows[:4])
    assert headline(floats) == "Every stage passed"
    twice = dataclasses.replace(broken(), rows=(*broken().rows, broken().rows[-1]))
    assert headline(twice) == "Parity broken at 2 of 7 stages"


def test_json_is_stable_and_versioned() -> None:
    text = to_json(ladder(), {"native": estimate()}, [quantization()])
    assert text == to_json(ladder(), {"native": estimate()}, [quantization()])
    data = json.loads(text)
    assert list(data) == ["schema", "parity", "energy", "sections"]
    assert data["schema"] == SCHEMA == "spikeport.report/1"
    assert data["parity"]["passed"] is True
    assert [r["stage"] for r in data["parity"]["rows"]] == [r.stage for r in ladder().rows]
    assert data["parity"]["rows"][3]["difference"]["spikes"]["conv1"] == 9120
    assert data["energy"]["native"]["total"]["nominal"] == estimate().total.nominal
    assert data["sections"][0]["rows"][1]["rounded to zero"] == 2041


@pytest.mark.parametrize(
    ("energy_pj", "text"),
    [(0, "0 pJ"), (0.034, "0.034 pJ"), (35.5, "35.5 pJ"), (999.4, "999 pJ"), (999.9, "1.00 nJ"),
     (1234, "1.23 nJ"), (99_960, "100 nJ"), (4.56e6, "4.56 µJ"), (1.094e9, "1.09 mJ"),
     (2.5e15, "2,500 J")],
)  # fmt: skip
def test_energy_in_the_unit_that_suits(energy_pj: float, text: str) -> None:
    assert format_energy(energy_pj) == text


def test_other_numbers() -> None:
    assert format_range(Interval(5.4e5, 3.2e6, 1.21e7)) == "3.20 (0.54–12.1) µJ"
    assert format_time(2.5e6) == "2.50 ms"
    assert format_time(113) == "113 ns"
    assert format_time(14.2e9) == "14.2 s"
    assert [format_count(v) for v in (3, 31.02, 1234.5, 61250)] == ["3", "31.0", "1,234", "61,250"]
    assert format_percent(0.9775) == "97.8 %"
