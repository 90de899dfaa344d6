"""The command line where data and network declare different values, and energy without data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from spikeport import assumed_counts, estimate_energy, load_profile, run_native
from spikeport import network as parts
from spikeport.errors import InputError
from spikeport.network import Coding, DeployedNetwork, Input, load_network, save_network
from spikeport.simulators import load_counts
from tests.helpers.command import call, one_line

untyped: Any = parts  # accepts values of undeclared types, as users pass them
BiasInjection = untyped.BiasInjection
Conv2d = untyped.Conv2d
Dense = untyped.Dense
Population = untyped.Population
Readout = untyped.Readout
SumPool2d = untyped.SumPool2d
Network: Callable[..., DeployedNetwork] = untyped.DeployedNetwork

T = 4


def made_for(part: Input) -> DeployedNetwork:
    weight = np.random.default_rng(0).integers(-60, 60, (10, part.size)) * 2
    return Network(
        part, Population("out", 10, vth=300), Dense(part.name, "out", weight), Readout("out"), T
    )


def saved(folder: Path, *declared: Any) -> Path:
    path = folder / "n.spikeport"
    save_network(made_for(Input("x", (1, 8, 8), *declared)), path)
    return path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    def run(*arguments: object) -> tuple[int, str, str, str]:
        capsys.readouterr()
        caplog.clear()
        code = call([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err, caplog.text

    return run


VERBS: list[tuple[str, ...]] = [
    ("run",),
    ("compare", "-b", "native,reference"),
    ("energy",),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_data_in_the_declared_range_cause_no_warning(tmp_path: Path, said: Any, verb: Any) -> None:
    path = saved(tmp_path, Coding.GRADED, 0, 16, 16.0)
    code, _, err, log = said(*verb, path, "-n", T)
    assert (code, err, log) == (0, "", "")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_data_beyond_the_declared_range(tmp_path: Path, said: Any, verb: Any) -> None:
    path = saved(tmp_path, Coding.GRADED, 0, 8, 16.0)
    code, _, err, log = said(*verb, path, "-n", 9)
    assert code == 2
    assert "lie beyond 0..0.5, the declared range of graded values" in one_line(err)
    assert "declares values of 0..0.5, data set 'digits' has 0..1" in log
    code, _, err, _ = said(*verb, path, "-n", 9, "--clip")
    assert (code, err) == (0, "")


def test_what_was_clipped_and_rounded_is_shown(tmp_path: Path, said: Any) -> None:
    path = saved(tmp_path, Coding.GRADED, 0, 4, 5.0)
    _, out, _, _ = said("run", path, "-n", 9, "--clip", "--json")
    told = json.loads(out)["input_x"]
    assert told.startswith("input 'x': ")
    assert "of 576 values clipped" in told
    assert "values rounded (by" in told


def test_pixels_into_a_network_of_spikes(tmp_path: Path, said: Any) -> None:
    code, _, err, _ = said("run", saved(tmp_path), "-n", 9)
    assert code == 2
    assert "declared as spikes, which are 0 or 1" in one_line(err)


def test_other_normalisation_is_warned_about_on_standard_error(tmp_path: Path) -> None:
    path = saved(tmp_path, Coding.GRADED, -128, 160, 64.0)
    script = f"import sys; sys.argv = ['spikeport', 'run', {str(path)!r}, '-n', '9']; main()"
    command = [sys.executable, "-c", f"from spikeport.cli import main; {script}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "declares values of -2..2.5, data set 'digits' has 0..1" in one_line(done.stderr)


def test_a_foreign_file_takes_its_input_from_the_data_set(tmp_path: Path, said: Any) -> None:
    ones = np.ones(10, np.float32)
    lif = nir.LIF(tau=2e-3 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones)
    weight = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
    nodes = nir.Input({"input": np.array([1, 8, 8])}), nir.Flatten({"input": None}, 0)
    foreign, chip = tmp_path / "foreign.nir", tmp_path / "chip.spikeport"
    graph = nir.NIRGraph.from_list(
        *nodes, nir.Linear(weight), lif, nir.Output({"output": np.array([10])})
    )
    nir.write(foreign, graph)
    given = ("--dt", "1e-3", "-T", 5)
    code, _, _, log = said("quantize", foreign, "-o", chip, *given)
    assert code == 0
    assert "those of data set 'digits', graded values of 0..1 (integers 0..16)" in log
    (part,) = load_network(chip).inputs
    assert (part.coding, part.high / part.scale) == (Coding.GRADED, 1)
    assert said("run", chip, "-n", 9)[3] == ""
    _, out, _, _ = said("inspect", foreign, *given)
    assert "assumed, not stated in the file" in " ".join(out.split())


def test_energy_from_the_counts_of_a_run(tmp_path: Path, said: Any) -> None:
    path, counts = saved(tmp_path, Coding.GRADED, 0, 16, 16.0), tmp_path / "run.json"
    _, expected, _, _ = said("energy", path, "-n", 9, "--json")
    _, out, _, _ = said("run", path, "-n", 9, "--json")
    counts.write_text(out)
    _, shown, _, _ = said("energy", path, "--counts", counts, "--json")
    # Counts say nothing of the classes.
    assert json.loads(shown) == json.loads(expected) | {"accuracy": None}
    alone = json.loads(out)["counts"]
    counts.write_text(json.dumps(alone))
    assert said("energy", path, "--counts", counts, "--json")[1] == shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples is 0, must lie in"),
        ({"steps": 3}, "counts are for T = 3, must be T = 4"),
        ({"spikes": {"out": 1.5}}, "spikes of 'out' is 1.5, must be an integer"),
        ({"spikes": {"out": -1}}, "spikes of 'out' is -1, must lie in"),
        (
            {"spikes": {"other": 1}},
            "spikes has ['other'], must have one number for each of ['out']",
        ),
        ({"messages": 7}, "messages has 7, must have one number for each of ['x_to_out']"),
        ({"updates": None}, "updates has None"),
        ({"hops": {"x_to_out": 1}}, "count 'hops' is unknown, must be one of samples, steps, spi"),
        ({"\x1b[2J" * 99: 1}, "is unknown, must be one of samples, steps"),
        (None, "count 'samples' is missing, needs"),
        ("[1, 2]", "count 'samples' is missing, needs"),
        ("{", "is not a JSON file"),
        ("[" * 3000, "is not a JSON file"),
        ("", "is not a JSON file"),
    ],
)
def test_invalid_counts_are_refused(tmp_path: Path, said: Any, change: Any, message: str) -> None:
    path, counts = saved(tmp_path, Coding.GRADED, 0, 16, 16.0), tmp_path / "run.json"
    _, out, _, _ = said("run", path, "-n", 9, "--json")
    whole = json.loads(out)["counts"]
    if not isinstance(change, str):
        change = json.dumps({} if change is None else whole | change)
    counts.write_text(change)
    code, _, err, _ = said("energy", path, "--counts", counts)
    assert code == 2
    assert message in one_line(err)


def test_counts_that_cannot_be_read(tmp_path: Path, said: Any) -> None:
    path = saved(tmp_path, Coding.GRADED, 0, 16, 16.0)
    code, _, err, _ = said("energy", path, "--counts", tmp_path / "none.json")
    assert code == 2
    assert "none.json: cannot be read: No such file" in one_line(err)
    code, _, err, _ = said("energy", path, "--counts", path)
    assert code == 2
    assert "is not a JSON file" in one_line(err)
    code, _, err, _ = said("energy", path, "--counts", path, "--activity", "0.1")
    assert code == 2
    assert "--activity 0.1 and --counts exclude each other" in one_line(err)


@pytest.mark.parametrize(
    ("activity", "message"),
    [
        ("much", "--activity is 'much', must be a number"),
        ("x=0.1", "activity of 'out' is missing"),
        ("x=0.1,out=a", "must be a number"),
        ("x=0.1,out=0.1,y=1", "'y' does not send messages"),
        ("1.5", "is 1.5, must lie in 0..1"),
        ("-0.1", "must lie in 0..1"),
        ("nan", "must lie in 0..1"),
    ],
)
def test_invalid_activities_are_refused(
    tmp_path: Path, said: Any, activity: str, message: str
) -> None:
    code, _, err, _ = said("energy", saved(tmp_path), f"--activity={activity}")
    assert code == 2
    assert message in one_line(err)


def test_events_of_an_activity_are_those_of_a_run_that_has_it() -> None:
    """A network in which every neuron sends in every step, so that a run has activity 1."""
    rng = np.random.default_rng(1)
    image, drive = Input("image", (2, 6, 6)), Input("drive", (3,), Coding.BIAS, 0, 5)
    kernel = rng.integers(0, 2, (3, 2, 3, 3)) * 2
    network = Network(
        (image, drive),
        (Population("conv", (3, 3, 3), vth=0, bias=1), Population("out", 3, vth=0, bias=1)),
        (
            Conv2d("image", "conv", kernel, padding=1, pool=SumPool2d(2, 2)),
            Dense("conv", "out", rng.integers(0, 2, (3, 27)) * 4, delay=2),
            BiasInjection("drive", "out"),
        ),
        Readout("out"),
        5,
    )
    x = {"image": np.ones((7, 2, 6, 6), int), "drive": np.zeros((7, 3), int)}
    run = run_native(network, x)
    assert run.counts is not None
    assert assumed_counts(network, 1.0, samples=7) == run.counts
    half = assumed_counts(network, {"image": 0.5, "conv": 0.5, "out": 0.5}, samples=14)
    for kind in ("spikes", "messages", "synaptic_events", "synaptic_events_all"):
        assert getattr(half, kind) == getattr(run.counts, kind)
    silent = assumed_counts(network, 0)
    assert silent.total("synaptic_events") == silent.total("spikes") == 0
    prices = load_profile("loihi1")
    energy = [estimate_energy(network, c, prices).total_per_sample.nominal for c in (silent, half)]
    assert energy[0] < energy[1]
    with pytest.raises(InputError, match="samples is 0"):
        assumed_counts(network, 1.0, samples=0)


def test_a_file_of_counts_of_another_network(tmp_path: Path, said: Any) -> None:
    path, counts = saved(tmp_path, Coding.GRADED, 0, 16, 16.0), tmp_path / "run.json"
    counts.write_text(said("run", path, "-n", 9, "--json")[1])
    other = made_for(Input("y", (1, 8, 8)))
    with pytest.raises(
        InputError, match=r"input_events has \['x'\], must have one number for each of"
    ):
        load_counts(counts, other)
