"""What `spikeport energy` prints, on a screen of 80 columns, and its JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console  # noqa: TID251

from spikeport.energy import LEVELS, builtin_profiles, estimate_energy, load_profile
from spikeport.network import (
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    save_network,
)
from spikeport.report.energy_tables import render_energy
from spikeport.simulators import assumed_counts
from tests.helpers.command import call

NAMES = ("x", "population_one", "classification_readout")
NETWORK = DeployedNetwork(
    (Input(NAMES[0], (50,), Coding.GRADED, -9, 9),),
    (Population(NAMES[1], (40,), vth=3), Population(NAMES[2], (10,), vth=3)),
    (
        Dense(NAMES[0], NAMES[1], np.ones((40, 50), np.int16)),
        Dense(NAMES[1], NAMES[2], np.ones((10, 40), np.int16)),
    ),
    (Readout(NAMES[2]),),
    10,
)


def printed(profile: str, width: int, activity: float = 0.3, ann_macs: int | None = None) -> str:
    report = estimate_energy(
        NETWORK,
        assumed_counts(NETWORK, activity),
        load_profile(profile),
        accuracy=0.975,
        ann_macs=ann_macs,
    )
    screen = Console(file=io.StringIO(), width=width, color_system=None)
    screen.print(render_energy("network.spikeport", report, details=True))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("profile", builtin_profiles())
@pytest.mark.parametrize("activity", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("ann_macs", [None, 123_456_789])
def test_it_fits_80_columns_and_breaks_no_word(
    profile: str, activity: float, ann_macs: int | None
) -> None:
    text = printed(profile, 80, activity, ann_macs)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    words = set(text.replace("(", " ").replace(")", " ").split())
    # Nothing that a wide screen shows is broken on a narrow one.
    wide = printed(profile, 200, activity, ann_macs).replace("(", " ").replace(")", " ")
    assert set(wide.split()) - {"─" * len(word) for word in wide.split()} <= words
    last = "synapse" if ann_macs is None else "MAC"
    for heading in (*LEVELS, "events", "Term", "bits", "energy", "cheaper", last):
        assert heading in words


def test_it_states_the_regime_time_layers_and_other_devices() -> None:
    text = printed("loihi1", 100)
    for line in (
        "Dominated by the static part",
        "What would lower it: ",
        "With a host in every step: host-dominated",
        "with a host in every step",
        "values sent to x by a host",
        "of which MACs of graded input",
        "a step, set by population_one",
        "samples per second",
        "energy x delay",
        "total, per step",
        "total, per correct answer (97.5 %)",
        "population_one (1 core)",
        "classification_readout (1 core)",
        "matched, 45 nm",
        "int8, Cortex-M4",
        "spikes per",
    ):
        assert line in text, line


def test_the_ann_of_a_converted_network_is_named_with_its_own_multiplications() -> None:
    assert sum(part.weight.size for part in NETWORK.weighted_connections) == 2400
    text = " ".join(printed("loihi1", 200, 0.3, ann_macs=480).split())
    assert "The ANN that the network was converted from, one pass" in text
    # 0.3 messages x 2,400 synapses x 10 steps
    assert "the one of 480 MACs unless the synaptic events per MAC (here 15)" in text
    assert "The network's own layers have 2,400 MACs." in text
    assert "spikes per" not in text
    assert "own layers have" not in printed("loihi1", 200, 0.3, ann_macs=2400)


def test_a_profile_without_times_says_so() -> None:
    text = printed("digital", 80)
    assert "samples per second" not in text
    assert "with a host" not in text
    assert "Not included: routing, static power, time, " in text


def test_the_command_prints_all_of_it_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "n.spikeport"
    save_network(NETWORK, path)
    capsys.readouterr()
    assert call(["energy", str(path), "--activity", "0.1", "--profile", "loihi2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["regime"] == max(told["regime_shares"], key=told["regime_shares"].__getitem__)
    assert told["with_host"] is told["regime_with_host"] is told["accuracy"] is None
    assert set(told["by_layer"]) == set(told["cores"]) == set(NAMES[1:])
    assert told["time_per_step_ns"]["low"] > 200
    assert told["input_values"] == {"x": 50 * 1000}
    assert {one["device"] for one in told["comparisons"]} > {"matched", "int8", "mcu", "gpu"}
    constants = {(one["name"], one["unit"], one["level"]): one for one in told["constants"]}
    price = constants["synapse_dense", "pJ", "nominal"]
    assert (price["value"], price["basis"], price["all_in"]) == (30.1, "derived", True)
    assert constants["visit (instead)", "pJ", "high"]["all_in"]
    assert constants["neurons_on_core", "neurons", "nominal"]["value"] == 2142


def test_a_run_on_data_gives_the_energy_per_correct_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = DeployedNetwork(
        (Input("image", (1, 8, 8), Coding.GRADED, 0, 16, scale=16.0),),
        (Population("out", (10,), vth=3),),
        (Dense("image", "out", np.ones((10, 64), np.int16)),),
        (Readout("out"),),
        10,
    )
    path = tmp_path / "n.spikeport"
    save_network(network, path)

    def told(verb: str) -> dict[str, Any]:
        capsys.readouterr()
        assert call([verb, str(path), "--samples", "30", "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    accuracy, energy = told("run")["accuracy"], told("energy")
    assert 0 < accuracy < 1
    assert energy["accuracy"] == accuracy
    right = energy["total_per_correct_answer"]["nominal"]
    assert right == pytest.approx(energy["total_per_sample"]["nominal"] / accuracy)
