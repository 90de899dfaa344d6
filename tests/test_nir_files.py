from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from spikeport.errors import InputError, OutputError
from spikeport.export.nir import (
    FloatNetwork,
    check_graph,
    read_nir,
    read_nir_deployed,
    read_nir_float,
)
from spikeport.export.nir.flatten import safe_names
from spikeport.export.nir.graph import difference
from spikeport.export.nir.semantics import IntegratorGain, Semantics
from spikeport.network import Coding, Input, Reset
from spikeport.simulators import run_float
from spikeport.storage import hdf5 as hdf5_file
from spikeport.workflow import inspect_network, write_nir
from tests.fuzz.kinds import chip

DT = 1e-4
RNG = np.random.default_rng(0)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(1e-3, 2e-2, shape).astype(np.float32)


def values(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def conv(stride: Any, padding: Any, groups: int, kernel: tuple[int, int]) -> nir.Conv2d:
    weight = values(4, 4 // groups, *kernel)
    return nir.Conv2d(None, weight, stride, padding, (1, 1), groups, values(4))


def conv1d(stride: int, padding: Any, groups: int, kernel: int = 3) -> nir.Conv1d:
    weight = values(4, 4 // groups, kernel)
    return nir.Conv1d(None, weight, stride, padding, 2, groups, values(4))


IMAGE, SERIES, FLAT = (4, 8, 8), (4, 9), (5,)
NODES: dict[str, tuple[tuple[int, ...], Any]] = {
    "Affine": (FLAT, nir.Affine(values(3, 5), values(3))),
    "Linear": (FLAT, nir.Linear(values(3, 5).astype(np.float64))),
    "Scale": (IMAGE, nir.Scale(values(*IMAGE))),
    "Conv2d": (IMAGE, conv((2, 1), (1, 2), 1, (3, 3))),
    "Conv2d same": (IMAGE, conv((1, 1), "same", 1, (3, 3))),
    "Conv2d valid": (IMAGE, conv((1, 1), "valid", 1, (3, 3))),
    "Conv2d grouped": (IMAGE, conv((1, 1), (0, 0), 2, (3, 3))),
    "Conv2d depthwise": (IMAGE, conv((1, 1), "same", 4, (3, 3))),
    "Conv2d wide": (IMAGE, conv((1, 2), (0, 1), 1, (3, 5))),
    "Conv2d tall, grouped": (IMAGE, conv((1, 1), "valid", 2, (5, 1))),
    "Conv2d wide same": (IMAGE, conv((1, 1), "same", 1, (1, 3))),
    "Conv1d": (SERIES, conv1d(2, 1, 1)),
    "Conv1d same": (SERIES, conv1d(1, "same", 1, 4)),
    "Conv1d valid": (SERIES, conv1d(3, "valid", 1)),
    "Conv1d grouped": (SERIES, conv1d(1, 3, 2)),
    "Conv1d depthwise": (SERIES, conv1d(1, "same", 4)),
    "Conv1d of one channel": ((1, 9), nir.Conv1d(None, values(3, 1, 2), 1, 0, 1, 1, values(3))),
    "SumPool2d": (IMAGE, nir.SumPool2d(np.array([2, 3]), np.array([2, 2]), np.array([1, 0]))),
    "AvgPool2d": (IMAGE, nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
    "Flatten a series": ((1, 9), nir.Flatten({"input": np.array((1, 9))}, 0, -1)),
    "Flatten": (IMAGE, nir.Flatten({"input": np.array(IMAGE)}, 0, -1)),
    "Delay": (FLAT, nir.Delay(positive(5))),
    "Delay of one channel": ((1, 9), nir.Delay(positive(1, 9))),
    "Threshold": (IMAGE, nir.Threshold(values(*IMAGE))),
    "I": (FLAT, nir.I(values(5))),
    "IF": (IMAGE, nir.IF(values(*IMAGE), values(*IMAGE), values(*IMAGE))),
    "LI": (FLAT, nir.LI(positive(5), values(5), values(5))),
    "LIF": (IMAGE, nir.LIF(positive(*IMAGE), *(values(*IMAGE) for _ in range(4)))),
    "CubaLI": (FLAT, nir.CubaLI(positive(5), positive(5), *(values(5) for _ in range(3)))),
    "CubaLIF": (FLAT, nir.CubaLIF(positive(5), positive(5), *(values(5) for _ in range(5)))),
}


def around(shape: tuple[int, ...], *nodes: Any) -> FloatNetwork:
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    ends = nir.Input({"input": np.array(shape)}), nir.Output({"output": None})
    every = dict(zip(names, (ends[0], *nodes, ends[1]), strict=True))
    graph = check_graph(every, itertools.pairwise(names), DT).graph
    inputs = (Input("input", shape, Coding.GRADED, -3, 200, 7.5),)
    return FloatNetwork(graph, DT, 12, inputs, Semantics(reset=Reset.SUBTRACT, strict=False))


@pytest.mark.parametrize("name", NODES)
def test_every_node_round_trips_and_nir_reads_it(name: str, tmp_path: Path) -> None:
    shape, node = NODES[name]
    network, path = around(shape, node), tmp_path / "a.nir"
    write_nir(network, path)
    again = read_nir(path, isolate=False)
    assert isinstance(again, FloatNetwork)
    assert difference(network.graph, again.graph) is None
    for field in ("dt_s", "steps", "inputs", "semantics"):
        assert getattr(network, field) == getattr(again, field)
    others = nir.read(path)
    assert set(others.nodes) == set(network.graph.nodes)
    for key, there in others.nodes.items():
        ours = again.graph.nodes[key]
        assert np.array_equal(there.output_type["output"], ours.output_type["output"])


def test_difference_sees_every_field() -> None:
    shape, node = NODES["CubaLIF"]
    network = around(shape, node).graph
    for field in ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"):
        other = around(shape, node).graph
        changed = getattr(other.nodes["n0"], field).copy()
        changed[2] += 1e-3
        setattr(other.nodes["n0"], field, changed)
        assert difference(network, other) == f"node 'n0' (CubaLIF): field '{field}' differs"
    wider = around(shape, node).graph
    wider.nodes["n0"].r = wider.nodes["n0"].r.astype(np.float64)
    assert difference(network, wider) == "node 'n0' (CubaLIF): field 'r' differs"
    further = nir.NIRGraph(network.nodes, [*network.edges, ("n0", "n0")], type_check=False)
    assert difference(network, further) == "edge ('n0', 'n0') is only in one of them"
    fewer = nir.NIRGraph(
        {name: node for name, node in network.nodes.items() if name != "n0"}, [], type_check=False
    )
    assert difference(network, fewer) == "node 'n0' is only in one of them"
    other = nir.NIRGraph(
        {**network.nodes, "n0": nir.I(r=values(5))}, network.edges, type_check=False
    )
    assert difference(network, other) == "node 'n0' is CubaLIF in one and I in the other"


def test_kernels_that_nir_cannot_type_check_still_round_trip(tmp_path: Path) -> None:
    network = around(IMAGE, conv((1, 1), (0, 0), 1, (2, 3)))
    write_nir(network, tmp_path / "a.nir")
    again = read_nir(tmp_path / "a.nir", isolate=False)
    assert isinstance(again, FloatNetwork)
    assert difference(network.graph, again.graph) is None
    assert nir.read(tmp_path / "a.nir", type_check=False)


@pytest.mark.parametrize("was", ["{", "[]", '{"groups": 0}', '{"groups": 99}', '{"groups": "x"}',
                                 '{"kernel_size": [9, 9]}', '{"kernel_size": 3}'])  # fmt: skip
@pytest.mark.parametrize("own", [False, True])
def test_damaged_convolution_metadata(was: str, own: bool, tmp_path: Path) -> None:
    """In the graph's metadata, or in the node's own, where 0.1.0 stored it."""
    path = tmp_path / "a.nir"
    write_nir(around(*NODES["Conv2d grouped"]), path)
    with h5py.File(path, "a") as file:
        graph = file["node/metadata"]
        if own:
            del graph["spikeport_portable"]
            file["node/nodes/n0"].create_group("metadata")["spikeport"] = was
        else:
            text = was if was == "{" else f'{{"n0": {was}}}'
            replace(graph, "spikeport_portable", text)
    message = r"'spikeport_portable' is damaged|'n0' \(Conv2d\): damaged metadata"
    with pytest.raises(InputError, match=message):
        read_nir(path, isolate=False)


@pytest.mark.parametrize("text", ["[]", "3", '"x"', '{"n0": 1, "n0": 2}'])
def test_damaged_metadata_of_all_convolutions(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(around(*NODES["Conv2d grouped"]), path)
    with h5py.File(path, "a") as file:
        replace(file["node/metadata"], "spikeport_portable", text)
    with pytest.raises(InputError, match="metadata 'spikeport_portable' is damaged"):
        read_nir(path, isolate=False)


@pytest.mark.parametrize("name", ["Conv1d", "Conv2d"])
def test_a_changed_grouped_convolution_is_found(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(around(*NODES[f"{name} grouped"]), path)
    with h5py.File(path, "a") as file:
        file["node/nodes/n0/weight"][0, 3] = 1
    with pytest.raises(InputError, match=rf"'n0' \({name}\): its weight was changed"):
        read_nir(path, isolate=False)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3, 3)])
def test_a_kernel_has_the_axes_of_its_convolution(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(around(*NODES["Conv1d"]), path)
    with h5py.File(path, "a") as file:
        replace(file["node/nodes/n0"], "weight", np.ones(shape))
    with pytest.raises(InputError, match=r"weight has shape .*must have 3 non-empty axes"):
        read_nir(path, isolate=False)


@pytest.mark.parametrize(
    ("declared", "node", "shape"),
    [
        ((1, 5), nir.Linear(values(3, 5)), (5,)),
        ((1, 1, 5), nir.I(values(5)), (5,)),
        ((1, 5), nir.I(values(1, 5)), (1, 5)),
        ((1, 9), nir.Conv1d(None, values(3, 1, 2), 1, 0, 1, 1, values(3)), (1, 9)),
        ((1, 1, 9), nir.Conv1d(None, values(3, 1, 2), 1, 0, 1, 1, values(3)), (1, 9)),
        ((1, 1, 4, 8, 8), NODES["Conv2d"][1], (4, 8, 8)),
        ((1, 9), nir.Flatten({"input": None}, 0, -1), (1, 9)),
    ],
)
def test_batch_axes_left_in_an_input_go(
    declared: tuple[int, ...], node: Any, shape: tuple[int, ...]
) -> None:
    ends = nir.Input({"input": np.array(declared)}), nir.Output({"output": None})
    nodes = {"input": ends[0], "n0": node, "output": ends[1]}
    graph = check_graph(nodes, [("input", "n0"), ("n0", "output")], DT).graph
    assert tuple(graph.nodes["input"].input_type["input"]) == shape


def test_what_flatten_and_an_input_must_say() -> None:
    ends = nir.Input({"input": np.array([2, 3])}), nir.Output({"output": None})
    for start, end in ((2, 2), (-3, -1), (1, 0), (0, 5)):
        nodes = {
            "input": ends[0],
            "n0": nir.Flatten({"input": None}, start, end),
            "output": ends[1],
        }
        message = rf"node 'n0' \(Flatten\): start_dim {start}, end_dim {end} do not fit \(2, 3\)"
        with pytest.raises(InputError, match=message):
            check_graph(nodes, [("input", "n0"), ("n0", "output")], DT)
    silent = {"input": nir.Input({"input": None}), "output": ends[1]}
    with pytest.raises(InputError, match=r"node 'input' \(Input\): declares no shape"):
        check_graph(silent, [("input", "output")], DT)


def test_subgraphs_with_loose_ports_or_names_given_twice(tmp_path: Path) -> None:
    neuron = nir.I(values(5))
    nir.write(tmp_path / "a.nir", wrapped("sub", wrapped("deep", neuron)))
    with h5py.File(tmp_path / "a.nir", "a") as file:
        edges = file["node/nodes/sub/edges"]
        left = [edge for edge in edges[()].tolist() if edge[0] != b"input"]
        replace(file["node/nodes/sub"], "edges", np.array(left))
    message = r"node 'sub\.input' \(subgraph port\) needs an edge on both sides"
    with pytest.raises(InputError, match=message):
        read_nir(tmp_path / "a.nir", dt_s=DT, steps=3)
    nir.write(tmp_path / "b.nir", wrapped("sub", wrapped("deep", neuron)))
    with h5py.File(tmp_path / "b.nir", "a") as file:
        file.copy("node/nodes/sub/nodes/deep", "node/nodes/sub.deep")
    with pytest.raises(InputError, match=r"node 'sub\.deep' is defined twice"):
        read_nir(tmp_path / "b.nir", dt_s=DT, steps=3)


def test_arguments_go_before_metadata(tmp_path: Path) -> None:
    write_nir(around(*NODES["LIF"]), tmp_path / "a.nir")
    again = read_nir(tmp_path / "a.nir", dt_s=2e-4, steps=3, reset=Reset.ZERO, strict=True)
    assert isinstance(again, FloatNetwork)
    assert (again.dt_s, again.steps, again.semantics) == (2e-4, 3, Semantics())


def foreign(path: Path, *nodes: Any, shape: tuple[int, ...] = FLAT) -> Path:
    nir.write(path, around(shape, *nodes).graph)
    return path


def test_foreign_files_need_dt_and_steps(tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.nir", nir.I(values(5)))
    with pytest.raises(InputError, match=r"no time step in the file.*give dt_s"):
        read_nir(path, steps=3)
    with pytest.raises(InputError, match=r"no number of steps in the file.*give steps"):
        read_nir(path, dt_s=DT)
    with pytest.raises(InputError, match="dt_s is -1"):
        read_nir(path, dt_s=-1, steps=3)
    with pytest.raises(InputError, match="inputs: the graph has"):
        read_nir(path, dt_s=DT, steps=3, inputs=(Input("x", (5,)),))
    network = read_nir(path, dt_s=DT, steps=3)
    assert isinstance(network, FloatNetwork)
    assert network.inputs == (Input("input", (5,)),)
    assert network.semantics == Semantics()


@pytest.mark.parametrize(
    ("rule", "gains"),
    [
        (IntegratorGain.NIR, [1, 2 * DT, 3 * DT, 4 * DT, 5 * DT]),
        (IntegratorGain.PER_STEP, [1, 2, 3, 4, 5]),
        (IntegratorGain.PER_SECOND, [DT, 2 * DT, 3 * DT, 4 * DT, 5 * DT]),
    ],
)
def test_integrator_gain_is_a_choice(
    rule: IntegratorGain, gains: list[float], tmp_path: Path
) -> None:
    path = foreign(tmp_path / "a.nir", nir.I(np.array([1.0, 2, 3, 4, 5])))
    network = read_nir_float(path, dt_s=DT, steps=1, integrator_gain=rule)
    found = run_float(network, np.ones((1, 5))).scores["output"]
    np.testing.assert_allclose(found, [gains])
    write_nir(network, tmp_path / "b.nir")
    assert read_nir_float(tmp_path / "b.nir").semantics.integrator_gain is rule


def test_odd_time_constants_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = foreign(tmp_path / "a.nir", nir.LI(np.full(5, 20.0), values(5), values(5)))
    read_nir(path, dt_s=DT, steps=3)
    assert "'n0': tau is 2e+05 to 2e+05 times dt" in caplog.text


def wrapped(name: str, node: Any) -> nir.NIRGraph:
    ends = nir.Input({"input": np.array(FLAT)}), nir.Output({"output": np.array(FLAT)})
    return nir.NIRGraph(
        {"input": ends[0], name: node, "output": ends[1]}, [("input", name), (name, "output")]
    )


def test_nested_graphs_become_flat(tmp_path: Path) -> None:
    leaf = nir.I(values(5))
    inner = wrapped("lif.0", leaf)
    outer = wrapped("sub", wrapped("deep", inner))
    nir.write(tmp_path / "a.nir", outer)
    network = read_nir(tmp_path / "a.nir", dt_s=DT, steps=3)
    assert isinstance(network, FloatNetwork)
    assert set(network.graph.edges) == {("input", "sub_deep_lif_0"), ("sub_deep_lif_0", "output")}
    assert np.array_equal(network.graph.nodes["sub_deep_lif_0"].r, leaf.r)


def test_names_are_made_safe_and_stay_unique() -> None:
    evil = "x'); __import__('os').system('true') #"
    made = safe_names(["0", "fc.1", "fc_1", evil, "a" * 99, "a" * 98, "", "lif"])
    assert made["lif"] == "lif"
    assert made["fc_1"] == "fc_1"
    assert made["0"] == "node_0"
    assert len(set(made.values())) == len(made)
    assert all(name.isidentifier() and len(name) <= 64 for name in made.values())


def test_unsafe_names_are_not_written(tmp_path: Path) -> None:
    nodes = around(*NODES["Affine"]).graph.nodes
    renamed = {"a.b" if name == "n0" else name: node for name, node in nodes.items()}
    graph = check_graph(renamed, [("input", "a.b"), ("a.b", "output")], DT).graph
    network = FloatNetwork(graph, DT, 3, (Input("input", FLAT),))
    with pytest.raises(InputError, match=r"node 'a\.b': name must be"):
        write_nir(network, tmp_path / "a.nir")
    assert not (tmp_path / "a.nir").exists()


def test_inputs_must_be_those_of_the_graph() -> None:
    network = around(*NODES["Affine"])
    with pytest.raises(InputError, match=r"inputs: the graph has .*but {'x'"):
        FloatNetwork(network.graph, DT, 3, (Input("x", FLAT),))


def test_writing_harms_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    path.write_bytes(b"keep")
    with pytest.raises(InputError, match="has its own time step"):
        write_nir(around(*NODES["Affine"]), path, dt_s=1.0)
    assert path.read_bytes() == b"keep"
    with pytest.raises(OutputError, match="cannot be written"):
        write_nir(around(*NODES["Affine"]), tmp_path / "missing" / "a.nir")


def replace(group: h5py.Group, name: str, value: Any) -> None:
    del group[name]
    group[name] = value


Damage = Callable[[h5py.File], None]
LIF_GROUP = "node/nodes/n1"


def _delete(path: str) -> Damage:
    return lambda file: file.__delitem__(path)


def _set(path: str, value: Any) -> Damage:
    def damage(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = value

    return damage


def _first_tau(value: float) -> Damage:
    return lambda file: file[f"{LIF_GROUP}/tau"].__setitem__(0, value)


def _soft(file: h5py.File) -> None:
    replace(file["node/nodes"], "n0", h5py.SoftLink("/node/nodes/n1"))


def _loop(file: h5py.File) -> None:
    file["node/nodes/again"] = file["node"]


def _external(file: h5py.File) -> None:
    replace(file["node/nodes/n0"], "weight", h5py.ExternalLink("other.h5", "/secret"))


def _outside(file: h5py.File) -> None:
    del file["node/nodes/n0/weight"]
    file["node/nodes/n0"].create_dataset(
        "weight", (3, 5), "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
    )


def _virtual(file: h5py.File) -> None:
    del file["node/nodes/n0/weight"]
    layout = h5py.VirtualLayout((3, 5), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "/secret", (3, 5))
    file["node/nodes/n0"].create_virtual_dataset("weight", layout)


def _bomb(file: h5py.File) -> None:
    del file["node/nodes/n0/weight"]
    file["node/nodes/n0"].create_dataset("weight", (40000, 5000), "f4", compression="gzip")


def _giant(file: h5py.File) -> None:
    del file["node/nodes/n0/weight"]
    file["node/nodes/n0"].create_dataset("weight", (2**20, 2**20), "f4", chunks=(64, 64))


def _deep(file: h5py.File) -> None:
    group = file["node"]
    for _ in range(20):
        group = group.require_group("nodes").create_group("g")
        group["type"] = "NIRGraph"
        group["edges"] = np.empty((0, 2), "S1")


def _edge(first: str, second: str) -> Damage:
    def damage(file: h5py.File) -> None:
        edges = [*((a.decode(), b.decode()) for a, b in file["node/edges"][()]), (first, second)]
        replace(file["node"], "edges", np.array(edges, dtype=h5py.string_dtype()))

    return damage


def _long_edge(file: h5py.File) -> None:
    _edge("n0", "n" * 2000)(file)


def _group_as_field(file: h5py.File) -> None:
    del file["node/nodes/n0/bias"]
    file["node/nodes/n0"].create_group("bias")


BAD: dict[str, tuple[Damage, str]] = {
    "no node": (_delete("node"), "no group 'node'"),
    "no edges": (_delete("node/edges"), r"'/node' \(NIRGraph\): 'edges' is missing"),
    "no nodes": (_delete("node/nodes"), "group 'nodes' is missing"),
    "no type": (_delete("node/nodes/n0/type"), "'/node/nodes/n0' has no type"),
    "unknown type": (_set("node/nodes/n0/type", "Evil"), "'/node/nodes/n0': type 'Evil' is not"),
    "numeric type": (_set("node/nodes/n0/type", 3), "'/node/nodes/n0' has no type"),
    "missing field": (_delete(f"{LIF_GROUP}/r"), r"node 'n1' \(LIF\): field 'r' is missing"),
    "extra field": (_set(f"{LIF_GROUP}/x", 1.0), r"node 'n1' \(LIF\): unknown field 'x'"),
    "field is a group": (_group_as_field, "'/node/nodes/n0/bias' is a group, must be a value"),
    "text field": (_set(f"{LIF_GROUP}/tau", "soon"), r"node 'n1' \(LIF\): tau has type <U4"),
    "tau NaN": (_first_tau(np.nan), r"node 'n1' \(LIF\): tau is nan, must be positive and finite"),
    "tau zero": (_first_tau(0), r"node 'n1' \(LIF\): tau is 0.0, must be positive"),
    "tau negative": (_first_tau(-1), r"tau is -1.0, must be positive"),
    "tau infinite": (_first_tau(np.inf), r"tau is inf, must be positive"),
    "NaN weight": (_set("node/nodes/n0/weight", np.full((3, 5), np.nan)), "weight contains NaN"),
    "shapes of a neuron": (_set(f"{LIF_GROUP}/r", np.ones(4)), "fields differ in shape"),
    "width": (_set("node/nodes/n0/weight", np.ones((3, 6))), r"\(Affine\): expects shape \(6,"),
    "bias": (_set("node/nodes/n0/bias", np.ones(6)), r"'n0' \(Affine\): bias has shape \(6,\)"),
    "input shape": (_set("node/nodes/input/shape", [0]), r"'input' \(Input\): shape is \[0\]"),
    "edge to nothing": (_edge("n0", "ghost"), r"edge \('n0', 'ghost'\): node 'ghost' does not"),
    "edge twice": (_edge("n0", "n1"), r"edge \('n0', 'n1'\) is given 2 times"),
    "long name": (_long_edge, "must be a name of at most 1024"),
    "odd edges": (_set("node/edges", np.ones((3, 2))), "must be N x 2 names"),
    "no edge": (_set("node/edges", np.empty((0, 2), "S1")), r"'input' \(Input\) has no outgoing"),
    "version 99": (_set("version", "99.0"), "NIR version is '99.0', this Spikeport reads"),
    "version number": (_set("version", 1), r"NIR version is np.int64\(1\)"),
    "soft link": (_soft, "'/node/nodes/n0' is a SoftLink, links are refused"),
    "external link": (_external, "'/node/nodes/n0/weight' is a ExternalLink"),
    "hard-link loop": (_loop, "linked more than once"),
    "external storage": (_outside, "stores its data outside of the file"),
    "virtual data": (_virtual, "stores its data outside of the file"),
    "compression bomb": (_bomb, "declares 800000000 bytes .* more than 256 times its size"),
    "giant": (_giant, "declares 4398046511104 bytes"),
    "deep nesting": (_deep, "nested deeper than 16"),
    "damaged metadata": (_set("node/metadata/spikeport", "{"), "metadata 'spikeport' is damaged"),
    "foreign metadata": (_set("node/metadata/spikeport", "[]"), "metadata 'spikeport' is damaged"),
    "later metadata": (
        _set("node/metadata/spikeport", '{"kind": "float", "version": 9}'),
        "metadata 'spikeport' has version 9",
    ),
    "metadata without dt": (
        _set("node/metadata/spikeport", '{"kind": "deployed", "version": 1}'),
        "metadata 'spikeport' is damaged: dt_s is None",
    ),
    "metadata without T": (
        _set("node/metadata/spikeport", '{"kind": "float", "version": 1, "dt_s": 1e-4}'),
        "metadata 'spikeport' is damaged: KeyError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_give_one_clear_error(case: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.nir"
    neuron = nir.LIF(positive(3), values(3), values(3), values(3), values(3))
    write_nir(around(FLAT, nir.Affine(values(3, 5), values(3)), neuron), path)
    damage, message = BAD[case]
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(InputError, match=message) as caught:
        read_nir(path, isolate=False)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(40), None])
def test_files_that_are_not_nir(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a NIR \(HDF5\) file|no such file"):
        read_nir(path, isolate=False)


def test_a_bare_node_is_no_graph(tmp_path: Path) -> None:
    nir.write(tmp_path / "a.nir", nir.I(values(5)))
    with pytest.raises(InputError, match="contains a single I node, must contain a NIRGraph"):
        read_nir(tmp_path / "a.nir", dt_s=DT, steps=2)


def test_truncated_files(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(around(*NODES["LIF"]), path)
    whole = path.read_bytes()
    for size in (100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="not a NIR"):
            read_nir(path, isolate=False)


def test_absent_version_and_v_reset_are_those_of_old_files(tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.nir", NODES["LIF"][1], shape=IMAGE)
    with h5py.File(path, "a") as file:
        del file["version"], file["node/nodes/n0/v_reset"]
    network = read_nir(path, dt_s=DT, steps=2)
    assert isinstance(network, FloatNetwork)
    assert not network.graph.nodes["n0"].v_reset.any()


def test_size_limits_can_be_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nir"
    write_nir(around(FLAT, nir.Affine(np.zeros((300, 5)), np.zeros(300))), path)
    monkeypatch.setattr(hdf5_file, "MAX_OBJECTS", 5)
    with pytest.raises(InputError, match="contains more than 5 objects"):
        read_nir(path, isolate=False)
    monkeypatch.setattr(hdf5_file, "MAX_OBJECTS", 1000)
    with h5py.File(path, "a") as file:
        weights = file["node/nodes/n0"]
        del weights["weight"]
        weights.create_dataset("weight", data=np.zeros((10_000, 5)), compression="gzip")
    monkeypatch.setattr(hdf5_file, "MAX_TOTAL_BYTES", 100_000)
    with pytest.raises(InputError, match="the limits are"):
        read_nir(path, isolate=False)
    monkeypatch.setattr(hdf5_file, "MAX_TOTAL_BYTES", 10_000)
    with pytest.raises(InputError, match=r"has \d+ bytes, the limit is 10000"):
        read_nir(path, isolate=False)


def test_reading_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(around(*NODES["LIF"]), path)
    before = path.read_bytes()
    os.chmod(path, 0o444)
    read_nir(path, isolate=False)
    assert path.read_bytes() == before


def test_typed_readers_refuse_the_other_kind(tmp_path: Path) -> None:
    network = around(*NODES["LIF"])
    write_nir(network, tmp_path / "float.nir")
    write_nir(chip(), tmp_path / "deployed.nir")
    assert difference(read_nir_float(tmp_path / "float.nir").graph, network.graph) is None
    assert read_nir_deployed(tmp_path / "deployed.nir") == chip()
    with pytest.raises(InputError, match=r"float\.nir: a float graph without chip integers"):
        read_nir_deployed(tmp_path / "float.nir", isolate=False)
    with pytest.raises(InputError, match=r"deployed\.nir: contains a deployed network"):
        read_nir_float(tmp_path / "deployed.nir", isolate=False)


@pytest.mark.parametrize(
    ("declared", "node", "axes"),
    [
        ((20, 5), nir.Linear(values(3, 5)), 1),
        ((20, 1, 5), nir.I(values(5)), 1),
        ((7, 4, 8, 8), NODES["Conv2d"][1], 3),
    ],
)
def test_batch_and_time_axes_of_an_input_are_named(
    declared: tuple[int, ...], node: Any, axes: int
) -> None:
    """As Rockpool 3.1.0 writes them."""
    ends = nir.Input({"input": np.array(declared)}), nir.Output({"output": None})
    nodes = {"input": ends[0], "n0": node, "output": ends[1]}
    message = (
        rf"node 'input' \(Input\): shape .* has \d axes, the nodes after it take {axes}; a NIR"
    )
    with pytest.raises(InputError, match=message):
        check_graph(nodes, [("input", "n0"), ("n0", "output")], DT)


def test_a_file_that_was_not_written_to_its_end_is_named(tmp_path: Path) -> None:
    """As exporters leave it that hand h5py what it cannot store, such as Norse 1.1.0."""
    with h5py.File(tmp_path / "a.nir", "w") as file:
        file["version"] = "1.0.8"
        file.create_group("node")
    with pytest.raises(InputError, match=r"'/node' has no type; was the file written to its end\?"):
        read_nir(tmp_path / "a.nir", isolate=False)


def test_names_that_hdf5_takes_for_paths(tmp_path: Path) -> None:
    """nir writes a node 'a/b' as a node 'a' with a group 'b', and cannot read it either."""
    nodes = {
        "input": nir.Input({"input": np.array(FLAT)}),
        "a/b": nir.I(values(5)),
        "output": nir.Output({"output": np.array(FLAT)}),
    }
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, [("input", "a/b"), ("a/b", "output")]))
    with pytest.raises(InputError, match="'/node/nodes/a' has no type"):
        read_nir(tmp_path / "a.nir", isolate=False)


def test_a_nested_graph_of_the_wrong_width_is_refused(tmp_path: Path) -> None:
    """nir writes it with `type_check=False`, and then cannot read it."""
    inner = wrapped("lif", nir.I(values(5)))
    narrow = nir.Input({"input": np.array([4])})
    nodes = {"input": narrow, "sub": inner, "output": nir.Output({"output": np.array(FLAT)})}
    graph = nir.NIRGraph(nodes, [("input", "sub"), ("sub", "output")], type_check=False)
    nir.write(tmp_path / "a.nir", graph)
    with pytest.raises(InputError, match=r"expects shape \(5,\), received \(4,\)"):
        read_nir(tmp_path / "a.nir", isolate=False)


SENTENCES = ("'conv1' and 'pool1' became one convolution", 'quotes " and \u00fcmlauts')


def test_rewrites_are_stored_and_shown(tmp_path: Path) -> None:
    network = dataclasses.replace(around(*NODES["LIF"]), rewrites=SENTENCES)
    write_nir(network, tmp_path / "a.nir")
    again = read_nir_float(tmp_path / "a.nir")
    assert again.rewrites == SENTENCES
    assert inspect_network(again).as_dict()["rewritten"] == "; ".join(SENTENCES)
    assert set(nir.read(tmp_path / "a.nir").metadata) == {"spikeport", "spikeport_rewrites"}
    plain = dataclasses.replace(network, rewrites=())
    write_nir(plain, tmp_path / "plain.nir")
    assert read_nir_float(tmp_path / "plain.nir").rewrites == ()
    assert set(nir.read(tmp_path / "plain.nir").metadata) == {"spikeport"}


@pytest.mark.parametrize("text", ["{", "{}", '"one"', "[1]", "[null]", "3", 5, np.ones(3)])
def test_damaged_rewrites(text: Any, tmp_path: Path) -> None:
    write_nir(around(*NODES["LIF"]), tmp_path / "a.nir")
    with h5py.File(tmp_path / "a.nir", "a") as file:
        file["node/metadata/spikeport_rewrites"] = text
    with pytest.raises(InputError, match="metadata 'spikeport_rewrites' is damaged"):
        read_nir(tmp_path / "a.nir", isolate=False)


def test_rewrites_must_be_sentences() -> None:
    with pytest.raises(InputError, match="rewrites contain 3, must be sentences"):
        dataclasses.replace(around(*NODES["LIF"]), rewrites=(3,))  # type: ignore[arg-type]
