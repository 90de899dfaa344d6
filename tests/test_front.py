"""Energy budgets on the command line: units, facts, and the accuracy-energy front."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from spikeport.errors import InputError
from spikeport.report.pareto import draw_pareto_front
from spikeport.report.units import parse_energy
from tests.helpers.command import Spikeport, one_line

CHANGES = {"architecture": "mlp", "widths": [24, 48], "steps": 2, "epochs": 2, "v_threshold": 0.5}
SMALL = [part for k, v in CHANGES.items() for part in ("--set", f"training.{k}={v}")]


@pytest.mark.parametrize(
    ("text", "energy_pj"),
    [
        *(("5uJ", 5e6), ("5 µJ", 5e6), ("5\N{GREEK SMALL LETTER MU}J", 5e6), (" 0.5mJ ", 5e8)),
        *(("800nJ", 8e5), ("1e3pJ", 1e3), ("2J", 2e12), ("2.5E-1uJ", 2.5e5)),
    ],
)
def test_energies_are_read_with_their_units(text: str, energy_pj: float) -> None:
    assert parse_energy(text, "budget") == pytest.approx(energy_pj)


@pytest.mark.parametrize("text", ["5", "", "uJ", "5 kJ", "5MJ", "-5uJ", "0uJ", "1.2.3uJ", "5uJuJ"])
def test_energies_without_a_unit_are_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=rf"^budget is '{text}', must be a number above 0 with its"
    ):
        parse_energy(text, "budget")


def test_train_tells_whether_the_budget_is_kept(spikeport: Spikeport, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    common = (*SMALL, "--json", "-o")
    code, text, _ = spikeport("train", *common, out)
    assert code == 0
    assert "energy_budget_uj" not in json.loads(text)
    changed = ("--from", out, "--set", "training.validation=0.2")
    for lr, met in ((0.3, True), (1e-6, False)):
        options = ("--energy-budget", "100 nJ", "--lr", lr)
        code, text, _ = spikeport(
            "train", *common, tmp_path / "kept.safetensors", *changed, *options
        )
        facts = json.loads(text)
        assert facts["energy_budget_met"] is met
        assert facts["energy_profile"] == "loihi1"
        best = facts["best_test_energy_uj_per_sample"]
        assert (best <= facts["energy_budget_uj"]) is met
    assert facts["energy_budget_uj"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--energy-budget", "5"),
            "--energy-budget is '5', must be a number above 0 with its unit",
        ),
        (("--energy-budget", "1nJ"), "energy_budget_uj is 0.001, but without spikes"),
        (("--energy-penalty", "-1"), "energy_penalty is -1.0, must be at least 0"),
        (("--energy-profile", "lohi1"), "did you mean 'loihi1'"),
        (("--from", "nowhere.safetensors"), "nowhere.safetensors: no such file"),
    ],
)
def test_bad_energy_options(
    spikeport: Spikeport, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = spikeport("train", "-o", tmp_path / "m.safetensors", *SMALL, *arguments)
    assert code == 2
    assert message in one_line(err)
    assert os.listdir(tmp_path) == []


def test_front_trains_one_network_per_budget_and_resumes(
    spikeport: Spikeport, tmp_path: Path
) -> None:
    out = tmp_path / "front"
    command = ("front", "digits", "-o", out, *SMALL, "--json")
    code, text, _ = spikeport(*command, "--budgets", "9uJ")
    assert code == 0
    first = json.loads(text)["points"]
    files = {name: (out / name).stat().st_mtime_ns for name in os.listdir(out)}
    assert set(files) == {
        *("unbounded.safetensors", "budget-9uJ.safetensors", "front.json", "front.svg")
    }
    code, text, _ = spikeport(*command, "--budgets", "9uJ,95nJ")
    points = json.loads(text)["points"]
    assert points[:2] == first
    assert [point["budget_uj"] for point in points] == [None, 9.0, 0.095]
    assert points[2]["energy_uj"]["nominal"] < points[0]["energy_uj"]["nominal"]
    assert points[2]["synaptic_events"] < points[0]["synaptic_events"]
    assert json.loads((out / "front.json").read_text())["points"] == points
    for name in ("unbounded.safetensors", "budget-9uJ.safetensors"):
        assert (out / name).stat().st_mtime_ns == files[name]
    ElementTree.parse(out / "front.svg")
    start = out / "unbounded.safetensors"
    code, _, err = spikeport(*command, "--budgets", "9uJ", "--from", start)
    assert code == 2
    assert "front.json: was created with start None, cannot continue with" in one_line(err)
    code, text, _ = spikeport(
        *("front", "digits", "-o", tmp_path / "other", *SMALL, "--json", "--budgets", "9uJ"),
        *("--from", start),
    )
    assert code == 0
    assert json.loads(text)["points"][0] == points[0]
    assert not (tmp_path / "other" / "unbounded.safetensors").exists()
    code, _, err = spikeport(*command, "--budgets", "9uJ,9000nJ")
    assert code == 2
    assert "budget 9 µJ is given twice" in one_line(err)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"recipe": NaN}', '{"recipe": 1, "recipe": 1}', "1"]
)
def test_a_damaged_front_is_one_error(spikeport: Spikeport, tmp_path: Path, text: str) -> None:
    (tmp_path / "front.json").write_text(text)
    code, _, err = spikeport("front", "digits", "-o", tmp_path, *SMALL, "--budgets", "9uJ")
    assert code == 2
    assert "front.json: is not a front of this program" in one_line(err)


def point(budget: float | None, energy: float, accuracy: float, **changes: Any) -> dict[str, Any]:
    return {
        "budget_uj": budget,
        "met": None if budget is None else energy <= budget,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.02,
        "accuracy_high": min(1.0, accuracy + 0.02),
        "test_samples": 360,
        "energy_uj": {"low": 0.7 * energy, "nominal": energy, "high": 2 * energy},
    } | changes


def test_the_picture_holds_every_network_within_its_borders() -> None:
    points = [point(None, 20.0, 0.98), point(5.0, 4.9, 0.97), point(0.002, 0.003, 0.4)]
    picture = ElementTree.fromstring(draw_pareto_front(points, "a < b & c"))
    tag = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in picture.iter(f"{tag}text")]
    for expected in ("a < b & c", "no budget", "≤ 5 µJ", "≤ 2 nJ (missed)"):
        assert expected in texts
    assert len(list(picture.iter(f"{tag}circle"))) == 3
    for line in picture.iter(f"{tag}line"):
        assert 0 <= float(line.get("x1", "-1")) <= float(line.get("x2", "-1")) <= 760
        assert min(float(line.get("y1", "-1")), float(line.get("y2", "-1"))) >= 0
    ElementTree.fromstring(draw_pareto_front(points[:1], "one"))


def test_a_folder_that_cannot_be_made_is_one_clear_error(
    spikeport: Spikeport, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = str(tmp_path / "file" / "x")
    code, _, err = spikeport("front", "digits", "--budgets", "5uJ", "--out", folder)
    assert code == 2
    assert "cannot be made" in err
