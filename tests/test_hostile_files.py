"""Small files with large declarations, and wrong types: one clear error and little memory."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import resource
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import save

from spikeport.checks import MAX_STEPS
from spikeport.energy import load_profile
from spikeport.errors import InputError
from spikeport.export import read_nir
from spikeport.export.nir import FloatNetwork
from spikeport.network import (
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    load_network,
    save_network,
)
from spikeport.runs import load_state
from spikeport.sharding.store import load_shard
from spikeport.storage import check_seal, parse_change, parse_json, sealed
from spikeport.storage.hdf5_seal import SIZE, seal
from spikeport.storage.tensors import with_digest
from spikeport.traces import compare_files, read_trace
from spikeport.trainer import load_checkpoint
from spikeport.trainer.data import load_npz
from spikeport.trainer.data.events import Binning
from spikeport.trainer.data.files import read_idx
from spikeport.trainer.data.folder import decode
from spikeport.trainer.data.npz import load_events
from spikeport.trainer.recipe import load_recipe
from tests.fuzz.fingerprints import fingerprint
from tests.fuzz.kinds import KINDS, chip
from tests.fuzz.tensors import join, split

SPACE = 2**30


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than SPACE of address space on top of what is in use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPACE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refused(read: Callable[[Path], Any], path: Path, limit: int = 2**20) -> str:
    """The error message for a small file, raised before memory is allocated."""
    assert path.stat().st_size <= limit
    with little_memory(), pytest.raises(InputError) as caught:
        read(path)
    assert not isinstance(caught.value.__cause__, MemoryError)
    assert "more memory than is available" not in str(caught.value)
    return str(caught.value)


def made(name: str, folder: Path) -> Path:
    path = folder / KINDS[name].file
    KINDS[name].make(path)
    return path


def redocument(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the JSON document of a tensor file and correct its digest."""
    table, data = split(path.read_bytes())
    (key,) = table["__metadata__"]
    header = json.loads(table["__metadata__"][key])
    header.pop("digest")
    change(header)
    arrays = safetensors.numpy.load(path.read_bytes())
    table["__metadata__"][key] = json.dumps(with_digest(header, arrays))
    path.write_bytes(join(table, data))
    return path


def put(*place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set a value within a document."""

    def change(document: Any) -> None:
        for key in place[:-1]:
            document = document[key]
        document[place[-1]] = value

    return change


# What a file declares


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("network", "populations", 0, "shape", value=[2**30]), r"'a': bias has shape"),
        (put("network", "steps", value=2**31), r"steps \(T\) is 2147483648, must lie"),
        (put("network", "steps", value=True), r"steps \(T\) is True"),
        (put("network", "connections", 0, "delay", value=2**20), "delay"),
        (put("network", "connections", 3, "padding", value=[2**15, 2**15]), "gives shape"),
        (put("network", "populations", value=[{}] * 5000), "there are 5000, the limit is 4096"),
        (put("network", "colour", value=1), "unknown key 'colour'"),
        (put("colour", value=1), "unknown key 'colour'"),
        (
            put("provenance", value={"made": 3}),
            "provenance: 'made' is 3, must map strings to strings",
        ),
    ],
)
def test_a_network_that_declares_too_much(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = redocument(made("network", tmp_path), change)
    with pytest.raises(InputError, match=message):
        load_network(path)
    refused(load_network, path)


def test_an_input_too_large_for_its_file(tmp_path: Path) -> None:
    network = DeployedNetwork(
        (Input("x", (1, 2**15, 2**15)),),
        (Population("p", (1, 1, 1), 1),),
        (Conv2d("x", "p", np.full((1, 1, 1, 1), 2, np.int16), stride=(2**15, 2**15)),),
        (Readout("p"),),
        2,
    )
    save_network(network, tmp_path / "n.spikeport")
    message = refused(load_network, tmp_path / "n.spikeport")
    assert "inputs declares 1073741824 elements, the limit for a file of" in message


def test_a_tensor_of_a_type_that_numpy_lacks(tmp_path: Path) -> None:
    path = tmp_path / "n.spikeport"
    header = json.dumps({"format": "spikeport.network", "version": 1})
    path.write_bytes(
        save({"a.weight": torch.zeros(4, dtype=torch.bfloat16)}, {"spikeport": header})
    )
    assert "tensor 'a.weight' has type BF16, must be one of BOOL" in refused(load_network, path)
    assert "has type BF16" in refused(load_checkpoint, path)


def write(path: Path, graph: nir.NIRGraph) -> None:
    nir.write(path, graph, compression=None)


def scalar_lif(shape: tuple[int, ...], count: int = 1) -> nir.NIRGraph:
    """LIF layers that have one number for all of their neurons."""
    one = np.array(0.5, np.float32)
    nodes: dict[str, Any] = {"x": nir.Input({"input": np.array(shape)})}
    nodes |= {f"n{i}": nir.LIF(one, one, one, one) for i in range(count)}
    nodes["y"] = nir.Output({"output": np.array(shape)})
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False)


@pytest.mark.parametrize(
    ("shape", "count"), [((2**30,), 1), ((2**20,), 40), ((64, 2**15, 2**15), 1)]
)
def test_too_many_neurons_for_the_file(tmp_path: Path, shape: tuple[int, ...], count: int) -> None:
    path = tmp_path / "a.nir"
    write(path, scalar_lif(shape, count))
    message = refused(lambda p: read_nir(p, dt_s=1e-4, steps=4), path, 2**19)
    assert "elements, the limit for a file of" in message


def test_honest_scalars_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.nir", scalar_lif((2, 128, 128), 3))
    network = read_nir(tmp_path / "a.nir", dt_s=1e-4, steps=4, isolate=False)
    assert isinstance(network, FloatNetwork)
    assert network.graph.nodes["n2"].tau.shape == (2, 128, 128)


@pytest.mark.parametrize("node", ["conv", "pool", "delay"])
def test_nodes_that_expand_small_files(tmp_path: Path, node: str) -> None:
    big = np.array([2**15, 2**15])
    one = np.ones((64, 1, 1, 1), np.float32)
    found: Any = {
        "conv": nir.Conv2d((8, 8), one, 1, (2**15, 2**15), 1, 1, np.ones(64, np.float32)),
        "pool": nir.SumPool2d(np.array([1, 1]), np.array([1, 1]), big),
        "delay": nir.Delay(np.array(1e30)),
    }[node]
    nodes = {
        "x": nir.Input({"input": np.array([1, 8, 8])}),
        "n": found,
        "lif": scalar_lif((1,)).nodes["n0"],
        "y": nir.Output({"output": np.array([], np.int64)}),
    }
    edges = [("x", "n"), ("n", "lif"), ("lif", "y")]
    path = tmp_path / "a.nir"
    write(path, nir.NIRGraph(nodes, edges, type_check=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refused(lambda p: read_nir(p, dt_s=1e-4, steps=4, isolate=False), path)
    assert ("elements" in message) if node != "delay" else ("delay is 1e+34 steps" in message)


@pytest.mark.slow
def test_a_gigabyte_chunk_for_a_small_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write(path, scalar_lif((5,)))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n0/tau"]
        place = file["node/nodes/n0"]
        place.create_dataset("tau", (5,), "f4", chunks=(2**28,), maxshape=(None,), compression=9)
        place["tau"][0] = 1.0
    message = refused(lambda p: read_nir(p, dt_s=1e-4, steps=4, isolate=False), path, 2**21)
    assert "has 20 bytes in chunks of (268435456,)" in message


def change_trace(path: Path, samples: int, steps: int, width: int) -> None:
    """A trace of spikes only, in which nothing ever fires."""
    header = json.loads(h5py.File(path)["header"][:].tobytes())
    header |= {"samples": samples, "steps": steps, "shapes": {"b": [width]}}
    header |= {"recorded": [["spikes", "b"]]}
    with h5py.File(path, "w") as file:
        file["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        count = file.create_dataset(
            "spikes/b/count", (samples,), "u4", chunks=(min(samples, 2**16),)
        )
        count[:1] = 0
        for name in ("step", "neuron"):
            file.create_dataset(f"spikes/b/{name}", (0,), "u4", chunks=(64,), maxshape=(None,))
    path.write_bytes(sealed(path.read_bytes()))


@pytest.mark.parametrize(
    ("samples", "steps", "width", "message"),
    [
        (1, 2**30, 1, "one sample would take 1073741824 bytes"),
        (1, 2**30, 4, "one sample would take"),
        (2**22, 1000, 100, "4194304 samples would take"),
        (2**40, 1, 1, "only"),
    ],
)
def test_traces_that_declare_more_than_they_hold(
    tmp_path: Path, samples: int, steps: int, width: int, message: str
) -> None:
    path = made("trace", tmp_path)
    change_trace(path, samples, steps, width)
    assert message in refused(read_trace, path)
    assert message in refused(lambda p: compare_files(p, p), path)


def test_a_long_silent_trace_is_read(tmp_path: Path) -> None:
    path = made("trace", tmp_path)
    change_trace(path, 3, 10**5, 20)
    _, trace = read_trace(path)
    assert trace.spikes["b"].shape == (10**5, 3, 20)
    assert not trace.spikes["b"].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("classes", value=2**40), "classes is 1099511627776, must lie in"),
        (put("classes", value=2**31 - 1), r"is torch.float32 \(4, .* must be .*\(2147483647,"),
        (put("classes", value=4.0), "'classes' input should be a valid integer"),
        (put("config", "widths", value=[2**20, 2**20]), "must be torch.float32"),
        (put("config", "widths", value=[2] * 5000), "there are 5000, the limit is 4096"),
        (put("config", "lr", value="0.3"), "'config.lr' input should be a valid number"),
        (put("config", "detach_reset", value="false"), "'config.detach_reset' input should be"),
        (put("config", "steps", value=True), "'config.steps' input should be a valid integer"),
        (put("config", "steps", value=3.9), "'config.steps' input should be a valid integer"),
        (put("input", "shape", value=[1, 2**15, 2**15]), "must be"),
        (put("input", "low", value="0"), "low is '0', must be an integer"),
        (put("history", 0, "epoch", value="1"), "'history.0.epoch' input should be"),
        (put("progress", "hits", value=1.5), "'progress.hits' input should be"),
        (put("teacher", value=3), "'teacher' input should be a valid string"),
        (put("more", value=3), "'more' unexpected keyword argument"),
    ],
)
def test_checkpoints_with_inflated_or_inconsistent_declarations(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = redocument(made("checkpoint", tmp_path), change)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)
    refused(load_checkpoint, path)


def events(path: Path, **changes: Any) -> Path:
    KINDS["events"].make(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez_compressed(path, **(arrays | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "steps", "message"),
    [
        ({"sensor": np.array([2, 2**14, 2**14])}, 16, "bytes, the limit for 120 events"),
        ({"sensor": np.array([2, -8, 8])}, 5, "sensor: size is -8, must lie in 1..32768"),
        ({"sensor": np.array([2, 2**40, 8])}, 5, "sensor: size is 1099511627776"),
        ({"sensor": np.array(["a", "b", "c"])}, 5, "sensor is .* must be"),
        ({"train_labels": np.array(list("abcdef"))}, 5, "train_labels is <U1"),
        ({"train_x": np.full(120, 10**9)}, 5, "x is 1000000000, must lie in 0..7"),
        ({"train_t": np.array(["1"] * 120)}, 5, "train_t is <U1"),
    ],
)
def test_events_that_declare_too_much(
    tmp_path: Path, changes: dict[str, Any], steps: int, message: str
) -> None:
    path = events(tmp_path / "e.npz", **changes)
    with pytest.raises(InputError, match=message):
        load_events(path, Binning(steps))
    refused(lambda p: load_events(p, Binning(steps)), path)


def test_event_positions_beyond_the_largest_sensor_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    KINDS["events"].make(path)
    with np.load(path) as file:
        arrays = {name: array for name, array in file.items() if name != "sensor"}
    for wrong, message in ((np.full(120, 10**9), "largest position is 10"), ("x" * 3, "is <U3")):
        np.savez(path, **(arrays | {"train_x": np.asarray(wrong)}))
        assert message in refused(lambda p: load_events(p, Binning(5)), path)


def spoiled_zip(path: Path, place: int, value: int) -> Path:
    """Put a value into the first entry of a zip file and of its directory."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    struct.pack_into("<H", data, entry + place, value)
    struct.pack_into("<H", data, place - 2, value)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize(("place", "value"), [(8, 1), (8, 0x41), (10, 99), (10, 93), (10, 12)])
def test_archives_that_are_encrypted_or_use_another_compression(
    tmp_path: Path, place: int, value: int
) -> None:
    path = spoiled_zip(made("images", tmp_path), place, value)
    assert "is not a readable .npz file" in refused(load_npz, path)


def test_bombs_of_zip_gzip_and_png(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            buffer = io.BytesIO()
            np.save(buffer, np.zeros((2**9, 2**8, 2**9), np.uint8))
            archive.writestr(f"{name}.npy", buffer.getvalue())
    assert "more than 256 times its size" in refused(load_npz, tmp_path / "b.npz")
    head = struct.pack(">HBB3I", 0, 8, 3, 2**10, 2**10, 2**8)
    (tmp_path / "i.gz").write_bytes(gzip.compress(head + bytes(2**28)))
    assert "more than 256 times" in refused(lambda p: read_idx(p, 3), tmp_path / "i.gz")
    for side in (2**13 + 2, 2**14, 2**15):  # below, between and above Pillow's own limits
        ihdr = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr
        data += struct.pack(">I", zlib.crc32(ihdr)) + bytes(12)
        (tmp_path / "a.png").write_bytes(data)
        assert "a.png" in refused(lambda p: decode(p, 8, None), tmp_path / "a.png")


# Values of another type


def float_nir(path: Path, **changes: Any) -> Path:
    KINDS["float NIR"].make(path)
    with h5py.File(path, "r+") as file:
        header = json.loads(file["node/metadata/spikeport"][()])
        text = json.dumps(header | changes).replace('"10^400"', "1" + "0" * 400)
        del file["node/metadata/spikeport"]
        file["node/metadata/spikeport"] = text
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 3.9}, "steps is 3.9, must be an integer"),
        ({"steps": "7"}, "steps is '7', must be an integer"),
        ({"steps": True}, "steps is True, must be an integer"),
        ({"steps": 2**70}, "is too large"),
        ({"steps": 2**40}, f"must lie in 1..{MAX_STEPS}"),
        ({"steps": None}, "steps is None"),
        ({"strict": "false"}, "strict is 'false', must be true or false"),
        ({"strict": 0}, "strict is 0, must be true or false"),
        ({"strict": None}, "strict is None, must be true or false"),
        ({"reset": "none"}, "reset is 'none'"),
        ({"reset": ["zero"]}, r"reset is \['zero'\]"),
        ({"dt_s": True}, "dt_s is True"),
        ({"dt_s": "1e-4"}, "dt_s is '1e-4'"),
        ({"dt_s": float("inf")}, "Infinity is not finite"),
        ({"dt_s": float("nan")}, "NaN is not finite"),
        ({"dt_s": "10^400"}, "is too large"),
        ({"inputs": [{"name": "x", "low": "0"}]}, "low is '0'"),
        ({"inputs": [{"name": "x", "colour": 1}]}, "colour"),
        ({"inputs": 3}, "damaged"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"version": True}, "version"),
        ({"provenance": {"source": 3}}, "provenance: 'source' is 3, must map strings to strings"),
        ({"provenance": "x"}, "damaged"),
        ({"semantics": {}}, "version 1 and its 'semantics' contradict each other"),
        ({"version": 2}, "version 2 and its 'semantics' contradict each other"),
        ({"version": 2, "semantics": {"start": "soon"}}, "start is 'soon', must be one of"),
        ({"version": 2, "semantics": {"late_spikes": 1}}, "late_spikes is 1, must be true or"),
        ({"version": 2, "semantics": {"loop_delay": "3"}}, "loop_delay is '3', must be an integer"),
        ({"version": 2, "semantics": {"loop_delay": 2**40}}, f"must lie in 1..{MAX_STEPS}"),
        ({"version": 2, "semantics": {"colour": 1}}, "semantics: unknown rule 'colour'"),
        ({"version": 2, "semantics": {"reset": "zero"}}, "semantics: unknown rule 'reset'"),
        ({"version": 2, "semantics": 3}, "damaged"),
    ],
)
def test_facts_of_a_float_nir_are_not_converted(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = float_nir(tmp_path / "a.nir", **changes)
    with pytest.raises(InputError, match=message):
        read_nir(path, isolate=False)


def test_arguments_of_a_float_network_are_not_converted() -> None:
    network = read_float()
    for field, value in (("steps", 3.9), ("steps", "7"), ("steps", 2**70), ("semantics", "zero")):
        facts = {"steps": 3, field: value}
        with pytest.raises(InputError, match=field):
            FloatNetwork(network.graph, 1e-4, inputs=network.inputs, **facts)  # type: ignore[arg-type]


def read_float() -> FloatNetwork:
    from tests.fuzz.kinds import float_network

    return float_network()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN is not finite"),
        ("-Infinity", "-Infinity is not finite"),
        ("1e400", "1e400 is not finite"),
        ("1" + "0" * 400, "is too large"),
        ("9" * 5000, "is too large"),
        ("[" * 3000, "nested too deeply"),
        ('{"a":' * 3000, "nested too deeply"),
        ("[" * 33 + "]" * 33, "nested too deeply, more than 32 levels"),
        ('{"a": 1, "a": 2}', "duplicate key 'a'"),
        (str(2**65), "is too large"),
        ("{'a': 1}", "Expecting"),
    ],
)
def test_strict_json(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_json_of_ordinary_data_is_unchanged() -> None:
    data = {"a": [1, -2.5, 1e-300, 2**64, None, True, "é\u2028"], "b": {"": []}}
    assert parse_json(json.dumps(data)) == data


@pytest.mark.parametrize("text", ["a = " + "[" * 3000, "[" * 3000, "a = " + "{b=" * 3000])
@pytest.mark.parametrize("load", [load_recipe, load_profile])
def test_deeply_nested_toml_is_refused(
    tmp_path: Path, load: Callable[[Path], Any], text: str
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    assert "nested deeper than 32" in refused(load, path) or "is not TOML" in refused(load, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".".join("a" * 5000) + " = 1", "nested deeper than 32"),
        ("a = " + "[" * 40 + "]" * 40, "nested deeper than 32"),
        ("a = 1" + "0" * 400, "'a' is an integer beyond 64 bits"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("# " + "x" * 2**20, "more than 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("load", [load_recipe, load_profile])
def test_toml_beyond_limits(
    tmp_path: Path, load: Callable[[Path], Any], text: str, message: str
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    assert message in refused(load, path, 2**21)
    for change in ("a=" + "[" * 3000, "a=" + "9" * 400):
        with pytest.raises(InputError, match="--set 'a'"):
            parse_change(change)


def test_a_deeply_nested_shard_is_run_again(tmp_path: Path) -> None:
    for text in ("[" * 3000, '{"key": "k", "run": 1e400}', "[]", '{"key": "k"}'):
        content = safetensors.numpy.save({"a": np.zeros(3)}, metadata={"spikeport.shard": text})
        (tmp_path / "k.shard").write_bytes(content)
        assert load_shard(tmp_path, "k") is None


def test_lengths_of_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.spikeport"
    for length in (2**31, 2**63, 2**64 - 1, 0):
        path.write_bytes(struct.pack("<Q", length) + b"{}" + bytes(100))
        refused(load_network, path)
        refused(load_checkpoint, path)
        refused(lambda p: load_state(p, chip()), path)


def test_many_objects_end_soon(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write(path, scalar_lif((5,)))
    with h5py.File(path, "r+", libver="latest") as file:
        for number in range(5000):
            file["node/nodes"].create_group(f"g{number}")
    assert "there are 5003, the limit is 4096" in refused(
        lambda p: read_nir(p, dt_s=1e-4, steps=4, isolate=False), path, 2**23
    )


@pytest.mark.parametrize("node", ["delay", "cuba"])
def test_neurons_without_parameters(tmp_path: Path, node: str) -> None:
    path = made("float NIR", tmp_path)
    with h5py.File(path, "r+") as file:
        for field in [name for name in file[f"node/nodes/{node}"] if name != "type"]:
            del file[f"node/nodes/{node}/{field}"]
            file[f"node/nodes/{node}/{field}"] = np.zeros(0)
    assert "fields have shape (0,), must not be empty" in refused(
        lambda p: read_nir(p, isolate=False), path
    )


def test_masked_parameters_are_refused() -> None:
    masked = np.ma.masked_array(np.ones(5, np.float32), [True, False, False, False, False])
    network = read_float()
    network.graph.nodes["cuba"].tau_mem = masked
    with pytest.raises(InputError, match=r"'cuba' \(CubaLIF\): tau_mem: some values are masked"):
        FloatNetwork(network.graph, 1e-4, 7, network.inputs)


# Digests


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.digest])
def test_no_flipped_bit_goes_unnoticed(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    path = made(name, tmp_path)
    good, expected = path.read_bytes(), fingerprint(kind.read(path))
    places = np.random.default_rng(0).integers(0, len(good), 60)
    for number, place in enumerate(places.tolist()):
        data = bytearray(good)
        data[place] ^= 1 << number % 8
        path.write_bytes(bytes(data))
        try:
            found = fingerprint((kind.quick or kind.read)(path))
        except InputError:
            continue
        assert found == expected, place


@pytest.mark.parametrize("name", [name for name in KINDS if name.endswith("0.1.0")])
def test_files_without_digest_or_seal_read_the_same(name: str, tmp_path: Path) -> None:
    new, old = name.removesuffix(" 0.1.0"), tmp_path / "old"
    old.mkdir()
    kind = KINDS[name]
    assert fingerprint(kind.read(made(name, old))) == fingerprint(kind.read(made(new, tmp_path)))


def test_every_truncation_of_a_sealed_file_is_refused(tmp_path: Path) -> None:
    for name in ("trace", "float NIR"):
        path = made(name, tmp_path)
        good = path.read_bytes()
        assert check_seal(path)
        for length in [*range(0, len(good) - SIZE, 997), *range(len(good) - SIZE + 1, len(good))]:
            path.write_bytes(good[:length])
            with pytest.raises(InputError, match=r"not a .*HDF5"):
                (KINDS[name].quick or KINDS[name].read)(path)


def test_a_seal_is_the_digest_of_all_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    with path.open("r+b", buffering=0) as file:
        seal(file)
    assert path.read_bytes() == sealed(b"content")
    assert check_seal(path)
    path.write_bytes(b"Content" + path.read_bytes()[7:])
    with pytest.raises(InputError, match="does not match its stored digest: it was changed"):
        check_seal(path)


def test_other_tools_read_sealed_files_and_drop_the_seal(tmp_path: Path) -> None:
    path = made("float NIR", tmp_path)
    assert set(nir.read(path, type_check=False).nodes) == set(read_float().graph.nodes)
    with h5py.File(path, "r+") as file:
        file["node/nodes/cuba/tau_mem"][0] = 0.5
    assert not check_seal(path)
    network = read_nir(path)
    assert isinstance(network, FloatNetwork)
    assert network.graph.nodes["cuba"].tau_mem[0] == 0.5


def test_a_big_network_in_a_row_is_sorted_soon(tmp_path: Path) -> None:
    one = np.full((1, 1), 2, np.int16)
    names = [f"p{number}" for number in range(2000)]
    network = DeployedNetwork(
        (Input("x", (1,)),),
        tuple(Population(name, (1,), 1) for name in names),
        tuple(Dense(a, b, one) for a, b in zip(["x", *names], names, strict=False)),
        (Readout(names[-1]),),
        2,
    )
    save_network(network, tmp_path / "n.spikeport")
    assert load_network(tmp_path / "n.spikeport").order == tuple(names)
