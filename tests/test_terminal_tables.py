"""Numbers, words of headers and names of rows of additional tables stay whole on any screen."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.cli._tables import connections_table, counts_table, facts_table, populations_tables
from spikeport.report.screen import Table, show
from spikeport.report.section import cell_text, section_of
from spikeport.report.terminal import render_section, render_terminal
from spikeport.runs import EventCounts
from tests.helpers.reports import broken, estimate, ladder
from tests.helpers.screen import on_screen
from tests.helpers.target_networks import plain

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=11), min_size=1, max_size=3)
NUMBERS = st.none() | st.integers(-(2**31), 2**31) | st.floats(allow_nan=False)


def test_no_number_and_no_word_of_a_header_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "weights": 131071, "threshold": 131072, "weight exponent": -3, "scale": 1234.5678,
        "saturated share": 0.01234, "error of weights": 0.001234, "clipped biases": 1310712,
        "decay of u": 4096,
    }  # fmt: skip
    show(render_section(section_of("Quantization", [{"layer": "population", **row}])))
    words = capsys.readouterr().out.split()
    for name, value in row.items():
        assert cell_text(value) in words
        assert set(name.split()) <= set(words)


def test_a_fact_without_a_value_is_a_dash_as_in_every_table() -> None:
    shown = on_screen(facts_table("Trained", {"energy_uj": None}), 60)
    assert f"energy uj │ {cell_text(None)} │" in shown


@given(
    st.lists(WORDS.map(" ".join), min_size=1, max_size=12, unique=True),
    st.data(),
    st.integers(40, 130),
)
def test_nothing_is_cut_on_a_screen_of_any_width(
    columns: list[str], data: st.DataObject, width: int
) -> None:
    rows = [
        {"layer": f"layer{k}", **{name: data.draw(NUMBERS) for name in columns}} for k in range(2)
    ]
    rows[0][columns[0]] = 1_310_712
    text = on_screen(render_section(section_of("Title", rows, "Note")), width)
    found = Counter(text.split())
    wanted = Counter(word for name in columns for word in name.split())
    wanted += Counter(cell_text(row[name]) for row in rows for name in columns)
    assert wanted <= found
    tables = sum(set(line.strip()) == {"─"} for line in text.splitlines())
    assert found["layer"] == found["layer0"] == found["layer1"] == tables >= 1
    assert max(map(len, text.splitlines())) <= width
    assert (found["Title"], found["Note"]) == (1, 1)


def test_a_table_that_fits_is_not_divided() -> None:
    row = {"layer": "fc1", **{f"c{k}": 10**k for k in range(7)}}
    assert on_screen(render_section(section_of("", [row])), 100).count("layer") == 1


def test_cells_that_had_to_be_cut_say_so() -> None:
    table = Table()
    table.add_column("number", no_wrap=True)
    table.add_row("1,310,712")
    assert "1,310…" in on_screen(table, 10)


@given(
    st.lists(
        st.tuples(WORDS.map(" ".join), st.sampled_from(["left", "right"]), st.booleans()),
        min_size=1,
        max_size=10,
    ),
    st.data(),
    st.integers(40, 130),
    st.booleans(),
)
def test_words_of_any_heading_and_cells_of_numbers_stay_whole(
    columns: list[tuple[str, str, bool]], data: st.DataObject, width: int, framed: bool
) -> None:
    table, wanted = Table(framed=framed, tight=not framed), Counter[str]()
    cells = []
    for header, justify, no_wrap in columns:
        table.add_column(header, justify=justify, no_wrap=no_wrap)  # type: ignore[arg-type]
        number = justify == "right" or no_wrap
        cells.append(cell_text(data.draw(NUMBERS)) if number else "words that wrap")
        wanted += Counter([*header.split(), *([cells[-1]] if number else [])])
    table.add_row(*cells)
    text = on_screen(table, width)
    assert wanted <= Counter(text.translate(dict.fromkeys(map(ord, "│┃"), " ")).split())
    assert max(map(len, text.splitlines())) <= width


HEADINGS = "Accuracy Spikes differ Predictions Energy per sample Verdict synaptic events training"


def test_the_ladder_keeps_its_headings_on_80_columns() -> None:
    for report in (ladder(), broken()):
        text = on_screen(render_terminal(report, {"native": estimate()}), 80)
        assert max(map(len, text.splitlines())) <= 80
        assert set(HEADINGS.split()) <= set(text.split())
        assert "…" not in text
        for row in report.rows:
            assert set(row.stage.split()) <= set(text.split())
    first = text.split("\n\n")[0]
    assert "Verdict" in first, "the verdict stands beside the stage"


def test_tables_of_a_network_keep_their_headings_on_80_columns() -> None:
    network = plain()
    counts = EventCounts(
        samples=1, steps=1, spikes={"a": 1_310_712}, visits={"a": 1_310_712},
        updates={"a": 1_310_712}, input_events={"x": 1}, messages={"x_to_a": 1_310_712},
        synaptic_events={"x_to_a": 1_310_712}, synaptic_events_all={"x_to_a": 1_310_712},
    )  # fmt: skip
    tables = [*populations_tables(network), connections_table(network), counts_table(counts)]
    for table in tables:
        found = on_screen(table, 80).translate(dict.fromkeys(map(ord, "│┃"), " ")).split()
        for column in table._columns:
            assert set(column.header.plain.split()) <= set(found)
