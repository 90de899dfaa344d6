"""The ladder of networks from other tools: it starts with their graph, or with chip integers."""

from __future__ import annotations

import json
import os
import shlex
import zipfile
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from benchmarks.interop.spikes import CHANGED
from spikeport.backends.lava import lava_status
from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, read_nir_float
from spikeport.ladder import LadderConfig, run_ladder, write_ladder
from spikeport.network import load_network
from spikeport.parity import Limits
from spikeport.trainer import Dataset, make_dataset
from spikeport.workflow import open_network
from tests.helpers.command import Spikeport, one_line

DT_S = 1e-4
ARCHIVE = Path(__file__).parent / "fixtures" / "interop.zip"
SHARED = os.environ.get("SPIKEPORT_DATA")
BRAILLE = Path(str(SHARED)) / "nir/neuromorphs-NIR/paper/03_rnn"
FEW = LadderConfig(
    samples=8, reference_samples=1, lava_samples=1, limits=Limits(100.0, max_spike_change=100.0)
)
"""Random weights and labels: only what must be equal is judged."""
EXACT = ["quantized, in the trainer", "after NIR write and read", "scalar reference"]
EXACT += ["Lava"] if lava_status().version else []
DT_S = 1e-4
RULES_OF_NORSE = "Norse has only"
CLIMBING = {
    # network: why Norse cannot run it under the rules of its framework, None if it can
    "lava-dl/recurrent": None,
    "spikingjelly/lif": None,
    "spikingjelly/if": "r is not 1, which Norse ignores",
    "spikingjelly/lif_undecayed": "r is not 1, which Norse ignores",
    "spikingjelly/lif_v_reset": "v_leak is not 0, which Norse treats differently",
    "spikingjelly/cuba": None,
    "snntorch/synaptic": RULES_OF_NORSE,
    "snntorch/leaky": RULES_OF_NORSE,
    "snntorch/recurrent": RULES_OF_NORSE,
    "sinabs/iaf_single": RULES_OF_NORSE,
    "sinabs/lif_single": RULES_OF_NORSE,
}
REFUSED = {
    "rockpool/lif": "multiple_spikes is true",
    "spyx/lif": "late_spikes is true",
}


def data_of(x: np.ndarray, classes: int) -> Dataset:
    """Samples (T, B, N) with arbitrary labels, for training and test."""
    pair = x.swapaxes(0, 1), np.arange(x.shape[1]) % classes
    return make_dataset(pair, pair, steps=len(x), classes=classes)


def unpacked(name: str, folder: Path) -> tuple[FloatNetwork, Dataset]:
    """A network that a framework wrote, under its rules, and random spikes for it."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        path = archive.extract(f"{name}.nir", folder)
    rules: dict[str, Any] = {"semantics": name.partition("/")[0], **CHANGED.get(name, {})}
    network = read_nir_float(path, dt_s=DT_S, steps=40, isolate=False, **rules)
    x = np.random.default_rng(0).uniform(size=(40, 16, *network.inputs[0].shape)) < 0.3
    return network, data_of(x.astype(float), 7)


@pytest.mark.parametrize("name", CLIMBING)
def test_a_foreign_graph_climbs_from_its_float_graph(name: str, tmp_path: Path) -> None:
    network, data = unpacked(name, tmp_path)
    ladder = write_ladder(network, data, tmp_path / "out", FEW, "ladder")
    verdicts = {row.stage: row.verdict for row in ladder.report.rows}
    skipped = {stage.stage: stage.reason for stage in ladder.report.skipped}
    assert ladder.report.passed
    assert next(iter(verdicts)) == "float NIR graph"
    assert [verdicts[stage] for stage in EXACT] == ["identical"] * len(EXACT)
    assert all(ladder.report.rows[0].spikes.values())
    if (reason := CLIMBING[name]) is None:
        assert verdicts["same file in Norse"].startswith("identical")
    else:
        assert reason in skipped["same file in Norse"]
    for file in ("network.spikeport", "deployed.nir"):
        assert open_network(tmp_path / "out" / file) == ladder.network
    document = json.loads((tmp_path / "out" / "ladder.json").read_text())
    (origin,) = (part for part in document["sections"] if part["title"] == "Read from another tool")
    facts = {row["fact"]: row["value"] for row in origin["rows"]}
    framework, _, file = name.partition("/")
    assert facts["source"] == f"{file}.nir"
    assert facts["semantics"].startswith(f"{framework}: ")


@pytest.mark.parametrize("name", REFUSED)
def test_a_foreign_graph_that_no_chip_runs_is_refused_by_rule(name: str, tmp_path: Path) -> None:
    network, data = unpacked(name, tmp_path)
    with pytest.raises(InputError, match=f"cannot be deployed, .*(?s:.)*{REFUSED[name]}"):
        run_ladder(network, data, tmp_path, FEW)


@pytest.mark.data
@pytest.mark.skipif(SHARED is None, reason="SPIKEPORT_DATA names no data folder")
@pytest.mark.parametrize(("name", "reset"), [("noBias", "subtract"), ("bias", "zero")])
def test_the_braille_graphs_are_identical_up_to_lava(name: str, reset: Any, tmp_path: Path) -> None:
    path = BRAILLE / f"braille_noDelay_{name}_{reset}.nir"
    network = read_nir_float(path, dt_s=DT_S, steps=256, reset=reset)
    x = (np.random.default_rng(0).uniform(size=(256, 16, 12)) < 0.3).astype(float)
    report = run_ladder(network, data_of(x, 7), tmp_path, FEW).report
    verdicts = {row.stage: row.verdict for row in report.rows}
    assert report.passed
    assert [verdicts[stage] for stage in ("same file in Norse", *EXACT)] == ["identical"] * (
        1 + len(EXACT)
    )


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


COUNTS = ("-n", "16", "--lava-samples", "0", "--reference-samples", "1")


def test_the_verb_takes_what_the_file_leaves_open(
    theirs: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    rules = ("--dt", "1e-3", "-T", "5", "--semantics", "norse", "--reset", "subtract", "--strict")
    code, text, err = spikeport("ladder", theirs, *rules, *COUNTS, "-o", tmp_path / "out", "--json")
    document = json.loads(text)
    stages = [row["stage"] for row in document["parity"]["rows"]]
    assert code in (0, 1), err  # random weights may lose more than a point
    assert stages[0] == "float NIR graph"
    assert "scalar reference" in stages
    again = shlex.split(document["parity"]["command"])
    stated = ("--dt", "0.001", "--steps", "5", "--semantics", "norse", "--reset", "subtract")
    assert again[5 : 5 + len(stated) + 1] == [*stated, "--strict"]
    out = tmp_path / "again"
    assert spikeport(*again[1:], "-o", out, "--json")[0] == code
    repeated = json.loads((out / "ladder.json").read_text())
    assert repeated["energy"] == document["energy"]


def test_deployed_files_start_with_their_integers(
    theirs: Path, tmp_path: Path, spikeport: Spikeport
) -> None:
    chip, out = tmp_path / "chip.spikeport", tmp_path / "out"
    given = ("--dt", "1e-3", "-T", "5", "--target", "netx")
    assert spikeport("quantize", theirs, *given, "-o", chip)[0] == 0
    assert spikeport("export", chip, "-o", tmp_path / "chip.net")[0] == 0
    for name in ("chip.spikeport", "chip.net"):
        code, text, err = spikeport("ladder", tmp_path / name, *COUNTS, "-o", out, "--json")
        assert code == 0, err
        rows = json.loads(text)["parity"]["rows"]
        assert [row["stage"] for row in rows] == [
            "deployed, native",
            "after NIR write and read",
            "scalar reference",
        ]
        assert [row["verdict"] for row in rows[1:]] == ["identical"] * 2
        assert rows[0]["network_hash"] == load_network(chip).content_hash
    code, _, err = spikeport("ladder", chip, "--bits", "4", "-o", out)
    assert (code, one_line(err)) == (
        2,
        f"spikeport: --bits 4: {chip} already contains chip integers",
    )


@pytest.mark.parametrize("name", ["chip.spikeport", "m.safetensors"])
def test_options_of_other_files_are_refused(
    name: str, tmp_path: Path, spikeport: Spikeport
) -> None:
    code, _, err = spikeport("ladder", tmp_path / name, "--dt", "1e-3", "-o", tmp_path / "out")
    assert code == 2
    assert "the file states its own" in one_line(err)
