from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from rich.console import Console

from spikeport.energy import Interval
from spikeport.parity import ParityReport
from spikeport.report.document import SCHEMA, document_of, to_json
from spikeport.report.headline import headline
from spikeport.report.html import render_html
from spikeport.report.section import cell_text, section_of
from spikeport.report.terminal import MANY, render_terminal
from spikeport.report.units import (
    format_count,
    format_energy,
    format_percent,
    format_range,
    format_time,
)
from tests.helpers.reports import HASH, Page, broken, estimate, ladder, quantization


def page(report: ParityReport) -> Page:
    return Page(render_html(document_of(report, {"native": estimate()}, [quantization()])))


def test_page_loads_nothing_and_runs_nothing() -> None:
    html = render_html(document_of(ladder(), {"native": estimate()}, [quantization()]))
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
    html = render_html(document_of(evil), title="<b>&")
    assert "<script" not in html
    assert "run &lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "<title>&lt;b&gt;&amp;</title>" in html


def test_page_of_an_empty_ladder_has_no_verdict_to_praise() -> None:
    html = render_html(document_of(ParityReport((), "", 0, 1, {})))
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


def test_a_deep_network_has_one_column_of_spikes_on_a_terminal() -> None:
    shallow, deep = ({f"lif{k}": 720 for k in range(count)} for count in (MANY, MANY + 1))
    for spikes, together in ((shallow, False), (deep, True)):
        rows = tuple(dataclasses.replace(row, spikes=spikes) for row in ladder().rows)
        text = terminal(dataclasses.replace(ladder(), rows=rows))
        assert ("all populations" in text) == together
        assert (f"lif{MANY - 1}" in text) != together
    assert f"the report has those of each of {MANY + 1} populations" in text
    assert str(2 * (MANY + 1)) in text  # 720 spikes of each in 360 samples


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
    assert json.loads(to_json(document_of(ladder(), sections=[endless])))["sections"][0][
        "rows"
    ] == [{"sqnr_db": None}]


def test_headlines() -> None:
    assert headline(ladder()) == "Nothing lost: every integer stage is identical, spike for spike"
    partial = dataclasses.replace(ladder(), skipped=broken().skipped)
    assert headline(partial) == "Every integer stage that ran is identical, spike for spike"
    floats = dataclasses.replace(ladder(), rows=ladder().rows[:4])
    assert headline(floats) == "Every stage passed"
    twice = dataclasses.replace(broken(), rows=(*broken().rows, broken().rows[-1]))
    assert headline(twice) == "Parity broken at 2 of 7 stages"


def test_json_is_stable_and_versioned() -> None:
    text = to_json(document_of(ladder(), {"native": estimate()}, [quantization()]))
    assert text == to_json(document_of(ladder(), {"native": estimate()}, [quantization()]))
    data = json.loads(text)
    assert list(data) == [
        *("schema", "verdict", "parity", "energy", "priced", "sections"),
        *("fit", "network", "data", "limits"),
    ]
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
    assert format_range(Interval(7_090_096, 0, 0)) == "0 (7.09–0) µJ"
    assert format_time(2.5e6) == "2.50 ms"
    assert format_time(113) == "113 ns"
    assert format_time(14.2e9) == "14.2 s"
    assert [format_count(v) for v in (3, 31.02, 1234.5, 61250)] == ["3", "31.0", "1,234", "61,250"]
    assert format_percent(0.9775) == "97.8 %"
