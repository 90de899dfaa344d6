"""NIR files are read in a separate process: same results, and no file can hang the caller."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export import read_nir
from spikeport.export.nir.hdf5 import RawFile, RawGraph, RawNode, read_raw
from spikeport.export.nir.isolated import read_isolated
from spikeport.export.nir.metadata import KEY
from spikeport.storage import hdf5_seal, isolated_read
from spikeport.workflow import write_nir
from tests.helpers.networks import small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_nir(small(provenance={"made": "by hand"}), tmp_path / "a.nir")
    return tmp_path / "a.nir"


def same(a: object, b: object) -> bool:
    match a, b:
        case RawFile(), RawFile():
            kept = (a.file_bytes, a.sha256) == (b.file_bytes, b.sha256)
            return kept and same(a.graph, b.graph)
        case RawGraph(), RawGraph():
            return a.edges == b.edges and same(a.nodes, b.nodes) and same(a.metadata, b.metadata)
        case RawNode(), RawNode():
            return a.type == b.type and same(a.fields, b.fields) and same(a.metadata, b.metadata)
        case dict(), dict():
            return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
        case str(), str():
            return a == b
    first, second = np.asarray(a), np.asarray(b)
    return first.dtype == second.dtype and np.array_equal(first, second)


def test_nothing_is_lost_on_the_way(path: Path) -> None:
    assert same(read_isolated(path, KEY), read_raw(path, KEY))


def test_nested_graphs_and_scalars_come_through(tmp_path: Path) -> None:
    ones = np.ones(3, ">f4")
    lif = nir.LIF(tau=ones, r=ones, v_leak=ones, v_threshold=ones)
    inner = nir.NIRGraph.from_list(nir.Scale(ones), lif, type_check=False)
    nir.write(tmp_path / "n.nir", nir.NIRGraph.from_list(inner, nir.Scale(ones), type_check=False))
    apart = read_isolated(tmp_path / "n.nir", KEY).graph
    here = read_raw(tmp_path / "n.nir", KEY).graph
    assert list(apart.nodes) == list(here.nodes)
    assert apart.edges == here.edges
    assert any(isinstance(node, RawGraph) for node in apart.nodes.values())


def test_a_refusal_is_told_in_the_same_words(tmp_path: Path, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    for file in (path, tmp_path / "gone.nir"):
        with pytest.raises(InputError) as here:
            read_nir(file, isolate=False)
        with pytest.raises(InputError) as apart:
            read_nir(file)
        assert str(apart.value) == str(here.value)


def test_a_current_folder_that_is_gone(path: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = (
        "import os, sys; os.chdir(sys.argv[2]); os.rmdir(sys.argv[2])\n"
        "sys.path.append('a.hook')\n"
        "from spikeport.export import read_nir; print(read_nir(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(gone)], capture_output=True, text=True
    )
    if "SystemError: error return without exception set" in done.stderr:
        pytest.skip("this Python (3.13.0) cannot import NumPy in such a folder")
    assert done.stdout.startswith("DeployedNetwork("), done.stderr


def test_nothing_of_the_current_folder_is_run(path: Path, tmp_path: Path) -> None:
    for name in ("json", "h5py"):
        (tmp_path / f"{name}.py").write_text("open('planted', 'w')")
    script = "import sys; from spikeport.export import read_nir; print(read_nir(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("DeployedNetwork("), done.stderr
    assert not (tmp_path / "planted").exists()


def test_a_file_that_keeps_libhdf5_busy_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The size of a global heap object, plus its own head of 16 bytes, wraps around to 0.
    data = bytearray(path.read_bytes())
    first_object = data.index(b"GCOL") + 16
    struct.pack_into("<Q", data, first_object + 8, 2**64 - 16)
    path.write_bytes(bytes(data[: -hdf5_seal.SIZE]))  # unsealed, as other tools write
    monkeypatch.setattr(isolated_read, "SECONDS", 2)
    with pytest.raises(InputError, match=r"a\.nir: damaged: reading it took more than 2 s"):
        read_nir(path)
