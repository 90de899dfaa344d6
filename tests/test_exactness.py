"""The check of exactness passes where native is right and fails where one value is wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import exactness
from benchmarks.networks import Case, dense_chain
from benchmarks.scaling import Series
from spikeport.runs import Run
from spikeport.simulators import run_native
from tests.helpers.benchmark_networks import NETWORKS, residual
from tests.helpers.run_comparison import changed


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {
        "small": Case("small", NETWORKS["recurrent"], 3, 1),
        "maps": Case("feature maps", residual, 3, 1),
    }
    series = {"grown": Series(lambda n: (dense_chain(20, n, 10, steps=30), 2), (10, 40), 1)}
    monkeypatch.setattr(exactness, "CASES", cases)
    monkeypatch.setattr(exactness, "SERIES", series)
    monkeypatch.setattr(exactness, "WHOLE", ("small",))


def test_all_networks_are_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "exact.json"
    assert exactness.main(["--neurons", "5", "--json", str(report)]) == 0
    rows = json.loads(report.read_text())
    places = [(row["network"], row["activity"], row["whole"]) for row in rows]
    assert places == [
        *((n, a, whole) for n, a in (("small", 0.02), ("small", 0.1), ("small", 0.3))
          for whole in (False, True)),
        *(("feature maps", activity, False) for activity in (0.02, 0.1, 0.3)),
        ("grown 40", 0.1, False),
    ]  # fmt: skip
    assert all((row["differing"], row["first"]) == (0, "") for row in rows)
    assert (rows[1]["samples"], rows[1]["neurons"], rows[1]["neuron_steps"]) == (1, 32, 32 * 12)
    assert rows[-1]["neuron_steps"] == rows[-1]["neurons"] * 30 * 2
    assert "32 (all)" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["u", "v", "spikes", "counts", "scores"])
def test_one_wrong_number_of_native_ends_with_1(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(*args: Any, **options: Any) -> Run:
        run = run_native(*args, **options)
        if variable in ("u", "v", "spikes"):
            # neuron 0 is always among those that are checked
            return changed(run, (variable, "hidden", 7, 0, 0)) if run.trace else run
        if run.trace is not None:
            return run
        if variable == "scores":
            return dataclasses.replace(run, scores=_one_more(run.scores))
        assert run.counts is not None
        spikes = {name: count + 1 for name, count in run.counts.spikes.items()}
        return dataclasses.replace(run, counts=dataclasses.replace(run.counts, spikes=spikes))

    monkeypatch.setattr(exactness, "run_native", wrong)
    assert exactness.main(["--networks", "small", "--neurons", "2"]) == 1
    shown = capsys.readouterr().out
    if variable in ("u", "v", "spikes"):
        place = "sample 0, step 7, population 'hidden', neuron (0)"
        assert f"small, input 2 %: {place}: {variable}" in shown
    else:
        assert "small, input 2 %: 1 scores or counts" in shown


def _one_more(scores: Mapping[str, Any]) -> dict[str, Any]:
    more = {name: np.array(values) for name, values in scores.items()}
    next(iter(more.values()))[0, 0] += 1
    return more


def test_unknown_networks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        exactness.main(["--networks", "small,vast"])
    assert "unknown: vast; choose from small, maps, grown" in capsys.readouterr().err
