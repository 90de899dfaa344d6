"""The facts of a report are the same on the page, in Markdown and in JSON, which has a schema."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from spikeport.errors import InputError
from spikeport.parity import Criterion, Drift, ParityReport
from spikeport.report.document import Document, document_of, to_json
from spikeport.report.figures import Cores, Matrix, Raster, runs_in, steps_text
from spikeport.report.fit import Fit
from spikeport.report.html import render_html
from spikeport.report.markdown import literal, render_markdown
from spikeport.report.section import Section, Topic, cell_text, section_of
from spikeport.report.stored import document_from, read_document, schema
from spikeport.report.terminal import render_terminal
from spikeport.report.units import format_percent
from spikeport.report.verdict import Level
from spikeport.storage import parse_json
from spikeport.text import shown
from tests.helpers.effort import examples
from tests.helpers.reports import (
    Page,
    broken,
    estimate,
    figured,
    ladder,
    quantization,
    with_ann,
)
from tests.helpers.screen import on_screen

CHIP = Fit("loihi1", "Intel Loihi, 14 nm", ("input 'x': graded spikes of 0..16",), 1)


def full(report: ParityReport | None = None) -> Document:
    return document_of(
        report or ladder(),
        {"native": estimate(), "lava": estimate()},
        [quantization(), figured()],
        priced="native",
        fit=CHIP,
        network={"neurons": 1546, "kind": "chip integers (deployed)"},
        data={"name": "digits", "classes": 10},
        limits={"max_drop_points": 2.0},
    )


# ------------------------------------------------------------------------------ any document


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CELL = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT | FINITE
STEPS = st.lists(st.integers(0, 30), unique=True).map(sorted)


@st.composite
def sections(draw: st.DrawFn) -> Section:
    columns = draw(st.lists(TEXT, max_size=5, unique=True))
    rows = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, CELL)), max_size=3))
    steps = draw(STEPS)
    raster = Raster(draw(TEXT), (4,), 9, 31, 31, (steps_text(steps),))
    size = draw(st.integers(1, 30))
    index = st.integers(0, size - 1)
    cells = draw(st.lists(st.tuples(index, index, st.integers(1, 99)), unique_by=lambda c: c[:2]))
    matrix = Matrix(draw(TEXT), draw(TEXT), draw(TEXT), size, tuple(cells))
    made = section_of(draw(TEXT), rows, draw(TEXT), topic=draw(st.sampled_from(Topic)))
    figures = (raster, matrix, *figured(draw(TEXT)).figures)
    return dataclasses.replace(made, figures=figures, warnings=tuple(draw(st.lists(TEXT))))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    report = draw(
        st.sampled_from([ladder(), broken(), with_ann(ladder()), ParityReport((), "", 0, 1, {})])
    )
    report = dataclasses.replace(report, command=draw(TEXT))
    energy = {draw(TEXT): estimate()} if draw(st.booleans()) else {}
    fit = draw(
        st.none() | st.builds(Fit, TEXT, TEXT, st.lists(TEXT).map(tuple), st.integers(0, 99))
    )
    facts = draw(st.dictionaries(TEXT, CELL, max_size=3))
    return document_of(
        report, energy, draw(st.lists(sections(), max_size=2)), fit=fit, network=facts
    )


@settings(max_examples=30)
@given(documents())
def test_stored_documents_are_read_back_unchanged(document: Document) -> None:
    text = to_json(document)
    data = parse_json(text)
    Draft202012Validator(schema()).validate(data)
    again = document_from(data)
    assert to_json(again) == text
    assert render_html(again) == render_html(document)
    assert render_markdown(again) == render_markdown(document)


@settings(max_examples=30)
@given(documents())
def test_page_markdown_and_json_state_the_same(document: Document) -> None:
    stored = json.loads(to_json(document))
    page, markdown = Page(render_html(document)), html.unescape(render_markdown(document))
    assert page.open == page.loads == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.anchors) <= set(page.ids)
    stated = [stored["verdict"]["headline"]]
    for claim in stored["verdict"]["claims"]:
        stated += [claim["answer"], *claim["details"]]
    for row in document.parity.rows:
        stated += [row.stage, format_percent(row.accuracy.rate)]
        stated.append(row.verdict.removeprefix("FAILED: "))
    for section in document.sections:
        stated += [section.title, section.note, *section.warnings]
        stated += [cell_text(cell) for row in section.rows for cell in row]
    for fact in map(shown, stated):
        assert fact in page.text
        assert fact in markdown


@given(STEPS)
def test_runs_of_steps_are_those_steps(steps: list[int]) -> None:
    runs = runs_in(steps_text(steps))
    assert [k for first, last in runs for k in range(first, last + 1)] == steps


# ------------------------------------------------------------------------------------ schema


def test_the_schema_is_a_schema_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(schema())
    for report in (ladder(), broken()):
        data = json.loads(to_json(full(report)))
        Draft202012Validator(schema()).validate(data)
        assert list(undescribed(data, schema(), "$")) == []
    data["parity"]["rows"][0]["novel"] = 1
    assert list(undescribed(data, schema(), "$")) == ["$.parity.rows.novel"]


def undescribed(data: Any, rule: Mapping[str, Any], where: str) -> Iterator[str]:
    """Keys of `data` for which the schema has no words."""
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].rpartition("/")[2]]
    choices = rule.get("anyOf", rule.get("oneOf", ()))
    if choices:
        root = {"$defs": schema()["$defs"]}
        fitting = (one for one in choices if Draft202012Validator({**root, **one}).is_valid(data))
        yield from undescribed(data, next(fitting), where)
    elif isinstance(data, list):
        for item in data:
            yield from undescribed(item, rule.get("items", {}), where)
    elif isinstance(data, dict):
        known, others = rule.get("properties", {}), rule.get("additionalProperties")
        for key, value in data.items():
            if key not in known and others is None:
                yield f"{where}.{key}"
            else:
                yield from undescribed(value, known.get(key, others), f"{where}.{key}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(schema="spikeport.report/9"),
         r"schema is 'spikeport.report/9', this version reads reports of 'spikeport.report/1'"),
        (lambda data: data["parity"]["rows"][0]["accuracy"].update(n=0),
         r"'\$.parity.rows\[0\].accuracy.n' is 0, which breaks the rule .*'minimum': 1"),
        (lambda data: data["sections"][1]["figures"][0]["spikes"].append("<script>"),
         r"spikes\[2\]' is '<script>', which breaks the rule .*'pattern'"),
        (lambda data: data.pop("parity"), r"'\$' is .* which breaks the rule .*'required'"),
        (lambda data: data["energy"]["native"]["terms"][0].update(colour='x" onload="y'),
         r"terms\[0\].colour' is .*, which breaks the rule .*'pattern'"),
    ],
)  # fmt: skip
def test_a_file_that_breaks_the_schema_is_refused_in_one_line(
    change: Any, message: str, tmp_path: Path
) -> None:
    data = json.loads(to_json(full()))
    change(data)
    (tmp_path / "ladder.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as caught:
        read_document(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not the JSON of a report"), ("[]", "schema is None"), ("[" * 99, "nested too deep"),
     ('{"a": NaN}', "not finite")],
)  # fmt: skip
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_document(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_document(tmp_path)


def places(data: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in JSON data."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*where, key)
        if isinstance(value, dict | list):
            yield from places(value, (*where, key))


STORED = to_json(full(with_ann(broken())))
PLACES = list(places(json.loads(STORED)))
JSON = CELL | st.lists(CELL, max_size=2) | st.dictionaries(TEXT, CELL, max_size=2)


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_damaged_reports_are_refused_or_rendered(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    data = json.loads(STORED)
    for (*where, last), value in changes:
        found = data
        try:
            for key in where:
                found = found[key]
            found[last] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change removed the place
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_text(json.dumps(data))
    try:
        document = read_document(path)
    except InputError:
        return
    page = Page(render_html(document))
    assert page.open == page.loads == []
    assert render_markdown(document)


def test_integers_written_as_floats_are_integers() -> None:
    """To a JSON schema, 3.0 is an integer; an index must be one."""
    data = json.loads(to_json(full(with_ann(ladder()))), parse_int=float)
    Draft202012Validator(schema()).validate(data)
    again = document_from(data)
    assert again.parity == with_ann(ladder())
    assert render_html(again)


def test_reports_of_the_first_release_are_read() -> None:
    """Version 0.1.0 wrote fewer keys: the page shows what they state."""
    data = json.loads(to_json(full()))
    for key in ("verdict", "priced", "fit", "network", "data", "limits"):
        del data[key]
    for row in data["parity"]["rows"]:
        for key in ("network", "spikes_before", "extra_errors", "unexplained"):
            (row["difference"] or {}).pop(key, None)
    for section in data["sections"]:
        for key in ("topic", "columns", "figures"):
            del section[key]
    for priced in data["energy"].values():
        del priced["title"], priced["host_step_us"]
        for term in priced["terms"]:
            del term["colour"]
        for constant in priced["constants"]:
            del constant["what"]
    Draft202012Validator(schema()).validate(data)
    text = Page(render_html(document_from(data))).text
    assert "Nothing lost: every integer stage is identical, spike for spike" in text
    assert "2,041" in text
    assert "M. Davies" in text


# ----------------------------------------------------------------------------------- verdict


def test_the_verdict_answers_four_questions() -> None:
    verdict = full().verdict
    assert verdict.level is Level.WARN
    assert verdict.headline.endswith("; but Intel Loihi, 14 nm cannot run this network")
    assert [(claim.question, claim.answer) for claim in verdict.claims] == [
        ("Does it fit Intel Loihi, 14 nm?", "No"),
        ("Is its accuracy kept?", "97.8 %"),
        ("Are its spikes the same?", "Yes, 0 differ"),
        ("Energy per sample", "4.86–114 µJ"),
    ]
    assert verdict.claims[0].details == CHIP.stopping
    assert verdict.claims[3].details == (
        "nominal 42.0 µJ, of which 4.95 µJ dynamic; static-dominated",
        "computing time 386 µs, 6.60 µs to 1.02 ms",
        "native, without a map: cores are assumed, and a message is one packet",
        "an estimate, nothing was measured",
    )


def test_the_verdict_states_the_energy_after_mapping_if_there_is_a_map() -> None:
    placed = dataclasses.replace(estimate(), placed=True)
    energy = {"native": estimate(), "after mapping onto 7 cores": placed}
    document = document_of(ladder(), energy, priced="after mapping onto 7 cores")
    assert document.verdict.claims[-1].details[-2:] == (
        "after mapping onto 7 cores",
        "an estimate, nothing was measured",
    )
    assert list(document.shown_energy) == ["after mapping onto 7 cores"]
    assert document_from(document.as_dict()).verdict == document.verdict
    assert "; after mapping onto 7 cores; an estimate" in render_markdown(document)


def test_the_verdict_states_that_it_is_of_the_fewest_cores_and_what_more_cost() -> None:
    placed = dataclasses.replace(estimate(), placed=True)
    more = dataclasses.replace(placed, samples=2 * placed.samples)
    maps = {"after mapping onto 7 cores": placed, "after mapping onto 99 cores": more}
    document = document_of(
        ladder(), {"native": estimate(), **maps}, priced="after mapping onto 7 cores"
    )
    told = "after mapping onto 7 cores, the fewest; nominal 21.0 µJ after mapping onto 99 cores"
    assert told in document.verdict.claims[-1].details
    assert told in render_markdown(document)
    assert list(document.shown_energy) == ["after mapping onto 7 cores"]
    shown = {"after mapping onto 7 cores": placed}
    text = on_screen(render_terminal(document.parity, shown, mapped=maps), 120)
    assert told in text
    assert text.count("Energy per sample, ") == 1


def test_spikes_are_the_same_where_a_stage_failed_for_what_quantization_lost() -> None:
    rows = tuple(
        dataclasses.replace(row, passed=False, verdict="FAILED: 'out' has fewer spikes")
        if row.rule is Criterion.EXACT
        else row
        for row in ladder().rows
    )
    verdict = full(dataclasses.replace(ladder(), rows=rows)).verdict
    assert verdict.level is Level.BAD
    assert verdict.claims[2].answer == "Yes, 0 differ"
    spikes = full(broken()).verdict.claims[2]
    assert (spikes.answer, spikes.details[-1]) == ("No, 15 differ", "at Lava")


def test_what_fits_is_praised_and_what_broke_is_not() -> None:
    fitting = dataclasses.replace(full(), fit=dataclasses.replace(CHIP, stopping=()))
    assert fitting.verdict.level is Level.GOOD
    assert fitting.verdict.claims[0].answer == "Yes"
    partly = dataclasses.replace(fitting.parity, skipped=broken().skipped)
    doubted = dataclasses.replace(fitting, parity=partly).verdict
    assert (doubted.level, doubted.claims[2].level) == (Level.WARN, Level.WARN)
    assert doubted.claims[2].details[-1] == "not run: Norse"
    bad = full(broken()).verdict
    assert bad.level is Level.BAD
    assert bad.claims[2].answer == "No, 15 differ"
    assert bad.claims[2].details[-1] == "at Lava"


def test_a_loss_of_accuracy_is_said() -> None:
    rows = tuple(
        dataclasses.replace(row, passed=False, verdict="FAILED: accuracy fell")
        if row.rule is Criterion.CHANGE or row.stage.startswith("After")
        else row
        for row in ladder().rows
    )
    trained = tuple(dataclasses.replace(row, drift=Drift(row.accuracy.n, 9, 9, {})) for row in rows)
    verdict = full(dataclasses.replace(ladder(), rows=trained)).verdict
    assert verdict.level is verdict.claims[1].level is Level.BAD
    assert verdict.claims[1].answer == "No, 97.8 %"
    assert "-2.50 points against training; 9 of 360 predictions differ" in verdict.claims[1].details


# ------------------------------------------------------------------------------------ figures


def test_figures_are_drawn_from_their_data() -> None:
    page = render_html(full())
    assert "M0 0h0.9v.8h-0.9zM1 0h" in page
    assert page.count("<svg") == 3  # raster, histogram and cores; ten classes are a table
    assert 'aria-label="conv1: 4 spikes of 2 of 512 neurons, 16 steps"' in page
    assert '<td class="hit5">30</td>' in page
    assert '<td class="miss1">2</td>' in page
    many = dataclasses.replace(full(), sections=(figured(classes=100),))
    assert render_html(many).count("<svg") == 4


def test_the_cores_of_a_chip_are_squares_in_tiles() -> None:
    chip = Cores("Chip 1", 10, 4, 2, ("a", "b"), ((0, 0, 3, 1, 50), (1, 0, 0, 0, 100)))
    assert chip.size == (2 * 2.4 - 0.4, 2 * 2.4 - 0.4)
    assert chip.outline.count("z") == 10
    assert chip.paths == [(1, "a", "M2.4 0.9v-0.9h.9v0.9z"), (2, "b", "M1 1.9v-0.45h.9v0.45z")]


def test_a_raster_of_many_steps_merges_them() -> None:
    raster = Raster("a", (0,), 1, 1000, 1000, ("0-999",))
    assert raster.path == "M0 0h1000v.8h-1000z"
    assert raster.count == 1000


def test_many_figures_are_folded() -> None:
    one = figured()
    page = render_html(
        dataclasses.replace(full(), sections=(dataclasses.replace(one, figures=one.figures * 5),))
    )
    assert "<summary>11 more</summary>" in page


# ----------------------------------------------------------------------------------- markdown


def test_markdown_begins_with_the_verdict_and_has_whole_tables() -> None:
    text = render_markdown(full(broken()))
    first, *_ = text.split("\n")
    assert first == "## Spikeport report: Parity broken at the stage 'Lava'"
    for block in re.split(r"\n\n", text):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.split("\n")}) == 1
    assert text.count("<details>") == text.count("</details>")
    assert "not run: norse is not installed" in text


@given(TEXT)
def test_names_have_no_effect_in_markdown(name: str) -> None:
    text = literal(name)
    assert html.unescape(text) == shown(name) or "&" not in text
    assert not re.search(r"[\\`*_{}\[\]<>|@~$]|&(?!#\d+;)|(?<!&)#", text)
    assert "\n" not in text
    assert "://" not in text
