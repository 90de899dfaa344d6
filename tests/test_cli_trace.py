"""`run --trace --probe` and `compare --trace`."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeport.backends.lava import lava_status
from spikeport.network import (
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    save_network,
)
from spikeport.runs import RECORDABLE, Run
from spikeport.simulators import run_native
from spikeport.traces import read_trace
from spikeport.traces.writer import write_trace
from tests.helpers.command import Spikeport, one_line
from tests.helpers.run_comparison import changed


def network() -> DeployedNetwork:
    rng = np.random.default_rng(0)
    return DeployedNetwork(
        inputs=(Input("x", (1, 8, 8), Coding.GRADED, 0, 16, scale=16.0),),
        populations=(
            Population("hidden", (2, 3, 3), vth=12000, decay_u=2048, decay_v=128),
            Population("out", (10,), vth=400),
        ),
        connections=(
            Dense("x", "hidden", (2 * rng.integers(-20, 40, (18, 64))).astype(np.int16)),
            Dense("hidden", "out", (2 * rng.integers(-60, 90, (10, 18))).astype(np.int16)),
        ),
        readouts=(Readout("out"),),
        steps=7,
    )


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    save_network(network(), tmp_path / "n.spikeport")
    return tmp_path / "n.spikeport"


def traced(spikeport: Spikeport, chip: Path, name: str, *options: object) -> Path:
    path = chip.with_name(name)
    code, _, err = spikeport("run", chip, "-n", 5, "--trace", path, *options)
    assert (code, err) == (0, "")
    return path


def test_run_writes_everything(spikeport: Spikeport, chip: Path) -> None:
    path = chip.with_name("t.h5")
    code, out, _ = spikeport("run", chip, "-n", 5, "--trace", path, "--json")
    assert code == 0
    untraced = json.loads(spikeport("run", chip, "-n", 5, "--json")[1])
    for name in ("predictions", "spikes", "synaptic_events", "accuracy"):
        assert json.loads(out)[name] == untraced[name]
    header, trace = read_trace(path)
    assert header.network_hash == network().content_hash
    assert header.order == ("hidden", "out")
    for variable in RECORDABLE:
        assert getattr(trace, variable)["hidden"].shape == (7, 5, 2, 3, 3)
        assert getattr(trace, variable)["out"].shape == (7, 5, 10)
    assert trace.spikes["out"].any()


def test_probes_choose(spikeport: Spikeport, chip: Path) -> None:
    path = traced(spikeport, chip, "t.h5", "--probe", "out:spikes,v", "--probe", "hidden:u:0,4-6")
    _, trace = read_trace(path)
    assert set(trace.spikes) == set(trace.v) == {"out"}
    assert trace.neurons["u", "hidden"].flat.tolist() == [0, 4, 5, 6]
    assert trace.u["hidden"].shape == (7, 5, 4)
    for arguments, message in (
        (("--probe", "out"), "needs --trace FILE"),
        (("--trace", path, "--probe", "in"), "'in' is not a population of the network"),
        (("--trace", path, "--probe", "out:w"), "'w' cannot be recorded"),
        (("--trace", path, "--probe", "out:v:10"), "neuron 10 of 'out', which has 10"),
    ):
        code, out, err = spikeport("run", chip, "-n", 5, *arguments)
        assert (code, out) == (2, "")
        assert message in one_line(err)


def test_equal_traces(spikeport: Spikeport, chip: Path) -> None:
    a = traced(spikeport, chip, "a.h5")
    b = traced(spikeport, chip, "b.h5", "-b", "reference")
    code, out, err = spikeport("compare", "--trace", a, b)
    assert (code, err) == (0, "")
    assert "First divergence" not in out
    code, out, _ = spikeport("compare", "--trace", a, b, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["equal"] is True
    assert found["first"] is None
    assert {(t["population"], t["variable"]): t["compared"] for t in found["totals"]} == {
        (name, variable): 7 * 5 * size
        for name, size in (("hidden", 18), ("out", 10))
        for variable in RECORDABLE
    }


@pytest.mark.parametrize("variable", RECORDABLE)
def test_the_first_difference_is_shown(spikeport: Spikeport, chip: Path, variable: str) -> None:
    a = traced(spikeport, chip, "a.h5")
    run = run_native(network(), np.zeros((5, 1, 8, 8), np.int32))
    header, trace = read_trace(a)
    whole = Run(
        run.backend, run.version, header.network_hash, 5, 7, run.scores, run.spike_counts,
        run.counts, trace, 0.0,
    )  # fmt: skip
    b = chip.with_name("b.h5")
    late = ("spikes", "out", 6, 0, 0)
    write_trace(b, changed(whole, (variable, "hidden", 4, 3, 14), late), order=header.order)
    code, out, err = spikeport("compare", "--trace", a, b)
    assert code == 1
    where = "sample 3, step 4, population 'hidden', neuron (1, 1, 2)"
    assert f"compare: {where}: {variable}" in one_line(err)
    assert "'hidden', neuron 14 (1, 1, 2), sample 3, step 4" in out
    code, out, _ = spikeport("compare", "--trace", a, b, "--json")
    assert code == 1
    found = json.loads(out)
    assert found["equal"] is False
    assert found["first"]["flat"] == 14
    before, after = found["first"]["values"]
    assert abs(after - before) == 1
    assert [moment["step"] for moment in found["context"]] == [1, 2, 3, 4]
    assert found["context"][-1]["values"][variable] == [before, after]
    assert {(t["population"], t["variable"]) for t in found["totals"] if t["differing"]} == {
        ("hidden", variable),
        ("out", "spikes"),
    }


def test_what_cannot_be_compared(spikeport: Spikeport, chip: Path) -> None:
    a = traced(spikeport, chip, "a.h5")
    fewer = chip.with_name("fewer.h5")
    assert spikeport("run", chip, "-n", 4, "--trace", fewer)[0] == 0
    cut = chip.with_name("cut.h5")
    cut.write_bytes(a.read_bytes()[:-100])
    text = chip.with_name("text.h5")
    text.write_text("no trace")
    linked = chip.with_name("linked.h5")
    with h5py.File(linked, "w") as file:
        file["header"] = h5py.ExternalLink(str(a), "/header")
    for other, message in (
        (fewer, "samples is 5 in the first trace and 4 in the second"),
        (cut, "cut.h5: not a Spikeport trace"),
        (text, "text.h5: not a Spikeport trace"),
        (linked, "links are refused"),
        (chip, "n.spikeport: not a Spikeport trace"),
        (chip.with_name("gone.h5"), "no such file"),
    ):
        code, out, err = spikeport("compare", "--trace", a, other)
        assert (code, out) == (2, "")
        assert message in one_line(err)
    code, _, err = spikeport("compare", "--trace", a)
    assert code == 2
    assert "needs a second trace file" in one_line(err)


def test_backends_are_compared_in_u_and_v_too(spikeport: Spikeport, chip: Path) -> None:
    code, out, _ = spikeport("compare", chip, "-b", "native,reference", "--trace", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["rows"][1]["verdict"] == "identical"
    assert found["traces"]["reference"]["equal"] is True
    assert len(found["traces"]["reference"]["totals"]) == 6
    assert spikeport("compare", chip, "-b", "native,reference", "--trace")[0] == 0


@pytest.mark.skipif(lava_status()[0] is None, reason="needs Lava")
def test_lava_is_compared_in_u_and_v_too(spikeport: Spikeport, chip: Path) -> None:
    command = ("compare", chip, "-n", 2, "-b", "native,lava", "--trace", "--json")
    code, out, _ = spikeport(*command)
    assert code == 0
    assert json.loads(out)["traces"]["lava"]["equal"] is True


def test_a_wrong_state_fails_although_every_spike_is_equal(
    spikeport: Spikeport, chip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikeport import backends

    def broken(name: str, *arguments: object, **options: object) -> Run:
        run = honest(name, *arguments, **options)  # type: ignore[arg-type]
        return changed(run, ("v", "out", 2, 1, 3)) if name == "reference" else run

    honest = backends.run
    monkeypatch.setattr("spikeport.workflow.comparison.run_backend", broken)
    code, out, err = spikeport("compare", chip, "-b", "native,reference", "--trace")
    assert code == 1
    assert "spikes are equal, states are not" in one_line(err)
    assert "sample 1, step 2, population 'out', neuron (3): v" in one_line(err)
    assert "First divergence: 'out', neuron 3, sample 1, step 2, v" in out
