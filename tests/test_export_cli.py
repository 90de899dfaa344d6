"""`export --for` and what `inspect` says about other readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import pytest

from spikeport.export.nir import READERS, FloatNetwork, read_nir
from spikeport.export.nir.graph import difference
from spikeport.network import load_network, save_network
from spikeport.workflow import write_nir
from tests.helpers.command import Spikeport, one_line
from tests.helpers.graphs import DT, Parts, chain
from tests.helpers.networks import small_network

P = Parts(1)
RUNS = chain(P.affine(8, 6), P.lif(8), P.affine(4, 8), P.lif(4))
DELAYED = chain(P.affine(8, 6), nir.Delay(P.full(2 * DT, 8)), P.linear(4, 8), P.lif(4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_nir(RUNS, tmp_path / "runs.nir")
    write_nir(DELAYED, tmp_path / "delayed.nir")
    save_network(small_network(), tmp_path / "chip.spikeport")
    return tmp_path


@pytest.mark.parametrize("reader", sorted(READERS))
def test_export_for_a_reader_says_what_it_makes_of_each_node(
    reader: str, folder: Path, spikeport: Spikeport
) -> None:
    options = ("--for", reader, "--allow-unsupported", "-o", folder / "a.nir")
    code, out, err = spikeport("export", folder / "runs.nir", *options, "--json")
    assert code == 0, err
    found = json.loads(out)["portability"]
    assert found["reader"] == reader
    assert [one["node"] for one in found["nodes"]] == ["x", "n0", "n1", "n2", "n3", "out"]
    assert {one["word"] for one in found["nodes"]} <= {"exact", "approximate", "unsupported"}
    again = read_nir(folder / "a.nir", isolate=False)
    assert isinstance(again, FloatNetwork)
    assert difference(again.graph, RUNS.graph) is None


def test_tables(folder: Path, spikeport: Spikeport) -> None:
    out_file = folder / "a.nir"
    code, out, _ = spikeport("export", folder / "runs.nir", "--for", "norse", "-o", out_file)
    assert code == 0
    assert "Norse 1.1.0: exact" in out
    assert "norse.torch.from_nir(nir.read(path), dt=0.001)" in out
    code, out, _ = spikeport("inspect", folder / "delayed.nir")
    assert code == 0
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if "│" in line}
    assert "unsupported" in rows["snntorch"]
    assert "n1" in rows["snntorch"]
    assert "exact" in rows["nir"]


def test_what_is_unsupported_is_refused_unless_wanted(folder: Path, spikeport: Spikeport) -> None:
    given: tuple[Any, ...] = (
        "export",
        folder / "delayed.nir",
        "--for",
        "snntorch",
        "-o",
        folder / "a.nir",
    )
    code, out, err = spikeport(*given)
    assert (code, out) == (2, "")
    assert "snnTorch 1.0.0 does not run 1 of 6 nodes: node 'n1' (Delay)" in one_line(err)
    assert not (folder / "a.nir").exists()
    assert spikeport(*given, "--allow-unsupported")[0] == 0
    assert (folder / "a.nir").exists()


def test_integers_come_back_from_a_file_for_a_reader(folder: Path, spikeport: Spikeport) -> None:
    options = ("--for", "norse", "--allow-unsupported", "-o", folder / "a.nir", "--json")
    code, out, err = spikeport("export", folder / "chip.spikeport", *options)
    assert code == 0, err
    assert json.loads(out)["read_back_equal"] is True
    assert read_nir(folder / "a.nir") == load_network(folder / "chip.spikeport")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--for", "snn", "-o", "a.nir"), "reader 'snn': must be one of nir, nirtorch, norse"),
        (("--allow-unsupported", "-o", "a.nir"), "--allow-unsupported: needs --for"),
        (("--for", "norse", "-o", "a.net"), "suffix '.net'"),
    ],
)
def test_bad_options(
    options: tuple[str, ...], message: str, folder: Path, spikeport: Spikeport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    code, _, err = spikeport("export", "runs.nir", *options)
    assert code == 2
    assert message in one_line(err)


def test_inspect_names_every_reader_and_the_nodes_concerned(
    folder: Path, spikeport: Spikeport
) -> None:
    _, out, _ = spikeport("inspect", folder / "delayed.nir", "--json")
    rows = {row["reader"]: row for row in json.loads(out)["readers"]}
    assert rows.keys() == READERS.keys()
    assert rows["spikingjelly"] == {
        "reader": "spikingjelly", "word": "unsupported", "nodes": ["n1"],
    }  # fmt: skip
    assert rows["nir"] == {"reader": "nir", "word": "exact", "nodes": []}
    _, out, _ = spikeport("inspect", folder / "chip.spikeport", "--json")
    assert [row["reader"] for row in json.loads(out)["readers"]] == [*READERS]
