"""What NIR leaves open, as options of every verb; the examples of docs/semantics.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from typer.main import get_command

from spikeport.cli._app import VERBS, app
from spikeport.export.nir import PRESETS, read_nir_float
from spikeport.export.nir.presets import WITH_SYNAPSES, rules_text
from spikeport.export.nir.semantics import DEFAULTS, RULES
from spikeport.network import load_network
from tests.helpers.command import Spikeport, one_line
from tests.helpers.pages import page, table

OPTIONS = {"--dt", "--steps", "--semantics", "--reset", "--strict", "--input-shape"}
OPENING = {
    *("quantize", "export", "run", "compare", "ladder", "check", "map", "energy", "inspect"),
    "diagnose",
}
GIVEN = ("--dt", "1e-3", "--steps", "5")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A network for the digits, of a tool that states nothing."""
    rng, ones = np.random.default_rng(0), np.ones(10, np.float32)
    graph = nir.NIRGraph.from_list(
        nir.Input({"input": np.array([1, 8, 8])}),
        nir.Flatten({"input": None}, 0),
        nir.Linear(rng.normal(size=(10, 64)).astype(np.float32)),
        nir.LIF(2e-3 * ones, 2 * ones, 0 * ones, ones),
        nir.Output({"output": np.array([10])}),
    )
    nir.write(tmp_path / "theirs.nir", graph)
    return tmp_path / "theirs.nir"


def test_every_verb_that_opens_a_network_takes_the_same_options() -> None:
    commands: Any = get_command(app)
    taking = {
        name: {option for part in command.params for option in part.opts} & OPTIONS
        for name, command in commands.commands.items()
    }
    assert {name for name, options in taking.items() if options == OPTIONS} == OPENING
    own = {"train": {"--steps", "--reset"}, "convert": {"--steps"}}
    rest = VERBS.keys() - OPENING
    assert {name: taking[name] for name in rest if taking[name]} == own


def test_run_and_quantize_say_what_was_stated_and_assumed(
    theirs: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    code, out, err = spikeport("run", theirs, *GIVEN, "-n", 5, "--reset", "subtract", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["source"] == "theirs.nir"
    assert facts["stated"] == "dt_s=0.001; steps=5; reset=subtract"
    assert set(re.findall(r"(\w+)=", facts["assumed"])) == {*RULES} - {"reset"}
    assert "digits" in facts["assumed_inputs"]
    chip = tmp_path / "chip.spikeport"
    code, out, err = spikeport(
        *("quantize", theirs, *GIVEN, "-o", chip, "--calibration", 8, "--json"),
        *("--semantics", "lava-dl", "--semantics", "strict=false"),
    )
    assert code == 0, err
    made, shown = load_network(chip).provenance, json.loads(out)
    assert (
        made["source_sha256"] == read_nir_float(theirs, dt_s=1, steps=1).provenance["source_sha256"]
    )
    for name in ("source", "stated", "semantics", "assumed_inputs"):
        assert made[name] == shown[name]
    assert made["stated"] == "dt_s=0.001; steps=5; strict=false"
    assert made["semantics"].startswith("lava-dl: ")
    code, out, _ = spikeport("inspect", chip)
    assert "theirs.nir" in out


def test_a_table_shows_it_too(theirs: Path, spikeport: Spikeport) -> None:
    code, out, _ = spikeport("run", theirs, *GIVEN, "-n", 5, "--semantics", "snntorch")
    shown = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert "semantics snntorch: discretization=euler;" in shown
    assert "stated dt_s=0.001; steps=5" in shown


def test_inspect_says_what_the_file_does_not_state(theirs: Path, spikeport: Spikeport) -> None:
    code, out, _ = spikeport("inspect", theirs)
    shown = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert "steps not stated dt s not stated" in shown
    code, out, _ = spikeport("inspect", theirs, "--json")
    assert code == 0
    assert '"dt_s": null' in out


def test_an_exported_graph_keeps_its_rules_and_origin(
    theirs: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    ours = tmp_path / "ours.nir"
    assert spikeport("export", theirs, *GIVEN, "--semantics", "sinabs", "-o", ours)[0] == 0
    network = read_nir_float(ours)
    assert network.semantics == PRESETS["sinabs"]
    assert network.provenance["source"] == "theirs.nir"
    assert spikeport("run", ours, "-n", 5)[0] == 0
    code, _, err = spikeport("quantize", ours, "-o", tmp_path / "chip.spikeport")
    assert code == 2
    assert "multiple_spikes is true, but on the chip" in err


def test_compare_takes_a_float_graph(theirs: Path, tmp_path: Path, spikeport: Spikeport) -> None:
    pytest.importorskip("norse")
    given = (*GIVEN, "--semantics", "norse", "-n", 5, "--json")
    code, out, err = spikeport("compare", theirs, *given)
    assert code == 0, err
    found = json.loads(out)
    assert [row["stage"] for row in found["rows"]] == ["float", "norse"]
    assert found["semantics"].startswith("norse: ")
    ours = tmp_path / "ours.nir"
    assert spikeport("export", theirs, *GIVEN, "-o", ours)[0] == 0
    code, out, err = spikeport("compare", ours, ours, "--backends", "float", "-n", 5)
    assert code == 0, err
    other = tmp_path / "other.nir"
    assert spikeport("export", theirs, *GIVEN, "--semantics", "sinabs", "-o", other)[0] == 0
    code, _, err = spikeport("compare", ours, other, "--backends", "float", "-n", 5)
    assert code == 1
    assert "differences do not begin at the threshold" in one_line(err)


def test_compare_refuses_what_has_no_meaning(
    theirs: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    ours, chip = tmp_path / "ours.nir", tmp_path / "chip.spikeport"
    assert spikeport("export", theirs, *GIVEN, "-o", ours)[0] == 0
    assert spikeport("quantize", ours, "-o", chip, "--calibration", 8)[0] == 0
    code, _, err = spikeport("compare", ours, chip, "-n", 2)
    assert (code, "one network is deployed, the other is a float graph" in err) == (2, True)
    code, _, err = spikeport("compare", ours, "--trace", "-n", 2)
    assert (code, "traces of a float network differ by rounding" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--semantics", "tensorflow"), "--semantics 'tensorflow': must be one of norse, snntorch"),
        (("--semantics", "dt=1"), "--semantics 'dt=1': no such rule, must be one of"),
        (("--reset", "zero", "--semantics", "reset=zero"), "--reset: also given as --semantics"),
        (("--input-shape", "1,8,8"), "argument input_shape: a NIR file states its own shapes"),
    ],
)
def test_odd_options(
    theirs: Path, spikeport: Spikeport, options: tuple[str, ...], message: str
) -> None:
    code, _, err = spikeport("inspect", theirs, *options)
    assert code == 2
    assert message in one_line(err)


def test_a_file_that_states_everything_takes_none_of_it(
    theirs: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    chip = tmp_path / "chip.spikeport"
    assert spikeport("quantize", theirs, *GIVEN, "-o", chip, "--calibration", 8)[0] == 0
    code, _, err = spikeport("run", chip, *GIVEN)
    assert code == 2
    assert "dt_s, steps must not be given, the file states its own" in one_line(err)


def test_netx_files_take_theirs_everywhere(tmp_path: Path, spikeport: Spikeport) -> None:
    from tests.helpers.netx import dense, write_file

    weight = (2 * np.random.default_rng(5).integers(-60, 60, (10, 64))).astype(np.int16)
    path = write_file(tmp_path / "a.net", dense(weight), steps=None)
    given = ("--steps", "5", "--input-shape", "1,8,8")
    images = (255 * np.random.default_rng(0).integers(0, 2, (20, 8, 8))).astype(np.uint8)
    data = tmp_path / "spikes.npz"
    np.savez(
        data, x_train=images, y_train=np.arange(20) % 10, x_test=images, y_test=np.arange(20) % 10
    )
    for verb in (
        ["run", path, "--data", data, "-n", 4],
        ["compare", path, "--data", data, "-n", 2],
        ["energy", path, "--data", data, "-n", 4],
        ["check", path, "--target", "lava"],
        ["inspect", path],
    ):
        code, out, err = spikeport(*verb, *given)
        assert code == 0, (verb, err)
        assert "a.net" in out
        code, out, err = spikeport(*verb, *given, "--json")
        assert "the input consists of 0/1 spikes" in out


# The page


def test_the_page_lists_every_rule_with_its_values() -> None:
    text = page("semantics.md")
    rows = table(text, "rule", "values, the default first", "meaning")
    listed: dict[str, list[str]] = {}
    for row in rows:
        listed.setdefault(row["rule"].strip("`"), []).extend(
            value.strip().strip("`") for value in row["values, the default first"].split(",")
        )
    assert list(listed) == list(RULES)
    usual = DEFAULTS.as_dict()
    for name, values in listed.items():
        assert values[0] == str(usual[name]).lower()
        kinds = type(getattr(DEFAULTS, name))
        if isinstance(usual[name], str):
            assert set(values) == {one.value for one in kinds}


def test_the_page_lists_every_preset() -> None:
    rows = table(page("semantics.md"), "preset", "differs from the default in")
    found = {row["preset"].strip("`"): row["differs from the default in"] for row in rows}
    assert found.keys() == PRESETS.keys()
    usual = DEFAULTS.as_dict()
    for name, text in found.items():
        if text == "nothing":
            assert PRESETS[name] == DEFAULTS
        if text == "as `sinabs`":
            assert PRESETS[name] == PRESETS["sinabs"]
            continue
        rules = {n: r for n, r in PRESETS[name].as_dict().items() if r != usual[n]}
        assert "; ".join(re.findall(r"`(\w+=[^`]*)`", text)) == rules_text(rules)
        for rule in WITH_SYNAPSES.get(name, {}).values():
            assert f"CubaLIF: `{rule}`" in text


def test_the_example_of_the_page(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(theirs.parent)
    (example,) = re.findall(r"```python\n(.*?)```", page("semantics.md"), re.S)
    exec(compile(example, "docs/semantics.md", "exec"), {})


def test_the_commands_of_the_page(
    theirs: Path, spikeport: Spikeport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(theirs.parent)
    (commands,) = re.findall(r"```sh\n(.*?)```", page("semantics.md"), re.S)
    for line in commands.replace("\\\n", "").splitlines():
        assert spikeport(*line.split()[1:])[0] == 0, line
