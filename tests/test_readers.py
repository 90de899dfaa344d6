"""Files for other readers: what they make of them, and that we read our own network from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.nir import READERS, Fidelity, FloatNetwork, read_nir
from spikeport.export.nir.deployed import float_view
from spikeport.export.nir.graph import difference
from spikeport.export.nir.readers import judge
from spikeport.export.nir.readers.wiring import RESERVED
from spikeport.network import Input
from spikeport.workflow import portability, write_nir
from tests.helpers.graphs import (
    DT,
    Parts,
    chain,
    float_networks,
    network,
    outputs,
    spikes_into,
)
from tests.helpers.readers import INSTALLED, run_in
from tests.helpers.strategies import networks

QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture],
)  # fmt: skip
EXACT, APPROXIMATE, UNSUPPORTED = Fidelity
P = Parts(3)
IMAGE = (2, 6, 6)
FLAT = nir.Flatten({"input": None}, 0, -1)
RISING = np.linspace(3, 20, 8).astype(np.float32)


def pool(kind: Any, side: int, padding: int = 0) -> Any:
    return kind(np.array([side, side]), np.array([side, side]), np.array([padding, padding]))


def one_layer(node: Any, **rules: Any) -> FloatNetwork:
    return chain(P.affine(8, 6), node, **rules)


def lif_of(
    tau: Any = 8.0, r: Any = 1.0, threshold: Any = 0.0629, leak: float = 0.0, reset: float = 0.0
) -> Any:
    each = (np.broadcast_to(np.float32(v), 8).copy() for v in (tau * DT, r, leak, threshold, reset))
    return nir.LIF(*each)


def between(node: Any) -> FloatNetwork:
    return chain(P.affine(8, 6), node, P.linear(4, 8), P.lif(4))


def mlp(**rules: Any) -> FloatNetwork:
    return chain(P.affine(8, 6), P.lif(8), P.affine(4, 8), P.lif(4), **rules)


def recurrent(bias: float = 0.25, **rules: Any) -> FloatNetwork:
    nodes = {
        "fc": P.affine(8, 6), "lif": P.lif(8),
        "rec": nir.Affine(P.grid(8, 8, fan=2), P.full(bias, 8)),
        "last": P.linear(4, 8), "end": P.lif(4, theta=0.053),
    }  # fmt: skip
    edges = [("x", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "last")]
    return network(nodes, [*edges, ("last", "end"), ("end", "out")], **rules)


def diamond() -> FloatNetwork:
    nodes = {
        "fc": P.affine(8, 6), "lif": P.lif(8), "a": P.affine(4, 8), "b": P.linear(4, 8),
        "end": P.lif(4, theta=0.203),
    }  # fmt: skip
    edges = [("x", "fc"), ("fc", "lif"), ("lif", "a"), ("lif", "b"), ("a", "end"), ("b", "end")]
    return network(nodes, [*edges, ("end", "out")])


def skip() -> FloatNetwork:
    nodes = {
        "fc": P.affine(8, 6), "lif": P.lif(8), "a": P.affine(8, 8), "mid": P.lif(8),
        "both": P.linear(4, 8), "end": P.lif(4, theta=0.203),
    }  # fmt: skip
    edges = [
        ("x", "fc"),
        ("fc", "lif"),
        ("lif", "a"),
        ("a", "mid"),
        ("mid", "both"),
        ("lif", "both"),
    ]
    return network(nodes, [*edges, ("both", "end"), ("end", "out")])


MULTIPLE: dict[str, Any] = {"reset": "subtract", "strict": False, "multiple_spikes": True}
ALL_EXACT = dict.fromkeys(("norse", "snntorch", "spikingjelly"), EXACT)
NOT_HERE = dict.fromkeys(("norse", "snntorch", "spikingjelly", "sinabs"), UNSUPPORTED)
OTHER_RULE = dict.fromkeys(("norse", "snntorch", "spikingjelly"), APPROXIMATE)
CASES: Mapping[str, tuple[FloatNetwork, Mapping[str, Fidelity]]] = {
    "LIF": (mlp(), {**ALL_EXACT, "sinabs": APPROXIMATE}),
    "IF": (chain(P.affine(8, 6), P.integrate(8)), {**ALL_EXACT, "sinabs": APPROXIMATE}),
    "CubaLIF": (one_layer(P.cuba(8)), {**ALL_EXACT, "sinabs": UNSUPPORTED}),
    "subtraction": (
        mlp(reset="subtract"),
        {**OTHER_RULE, "norse": EXACT, "sinabs": APPROXIMATE},
    ),
    "subtraction of IF": (
        chain(P.affine(8, 6), P.integrate(8), reset="subtract"),
        {**OTHER_RULE, "norse": EXACT},
    ),
    "late subtraction": (mlp(reset="subtract", reset_timing="after-decay"), OTHER_RULE),
    "several spikes": (mlp(**MULTIPLE), {**OTHER_RULE, "sinabs": EXACT}),
    "late spikes": (mlp(late_spikes=True), {**OTHER_RULE, "sinabs": APPROXIMATE}),
    "ties": (chain(P.affine(8, 6), P.integrate(8, theta=1.0)), ALL_EXACT),
    "ties fire": (chain(P.affine(8, 6), P.integrate(8, theta=1.0), strict=False), ALL_EXACT),
    "exponential": (mlp(discretization="exponential"), ALL_EXACT),
    "another r": (chain(P.affine(8, 6), P.lif(8, r=2.5)), ALL_EXACT),
    "each its tau": (
        one_layer(lif_of(RISING)),
        {"norse": EXACT, "snntorch": UNSUPPORTED, "spikingjelly": UNSUPPORTED},
    ),
    "each its tau, unscaled": (
        one_layer(lif_of(RISING, RISING, 0.503)),
        {"norse": EXACT, "snntorch": EXACT, "spikingjelly": UNSUPPORTED},
    ),
    "tau below dt": (
        one_layer(lif_of(0.7, 1.0, 0.503)),
        {**NOT_HERE, "norse": EXACT},
    ),
    "tau = dt": (one_layer(lif_of(1.0, 1.0, 0.503)), ALL_EXACT),
    "v_leak": (
        one_layer(lif_of(leak=0.05)),
        {
            "norse": APPROXIMATE,
            "snntorch": UNSUPPORTED,
            "spikingjelly": UNSUPPORTED,
            "sinabs": UNSUPPORTED,
        },
    ),
    "starting at v_leak": (one_layer(lif_of(leak=0.05), start="v_leak"), {"norse": EXACT}),
    "v_reset": (
        one_layer(lif_of(reset=-0.2)),
        {"norse": APPROXIMATE, "snntorch": APPROXIMATE, "spikingjelly": UNSUPPORTED},
    ),
    "v_leak = v_reset = start": (
        one_layer(lif_of(leak=-0.05, reset=-0.05), start="v_reset"),
        {"spikingjelly": EXACT, "snntorch": UNSUPPORTED},
    ),
    "convolution": (
        chain(
            P.conv(3, 2, (3, 3)),
            P.lif(3, 4, 4),
            pool(nir.SumPool2d, 2),
            FLAT,
            P.affine(4, 12),
            P.lif(4),
            shape=IMAGE,
        ),
        {**ALL_EXACT, "sinabs": UNSUPPORTED},
    ),
    "convolution and IF": (
        chain(
            P.conv(3, 2, (3, 3)),
            P.integrate(3, 4, 4),
            pool(nir.SumPool2d, 2),
            FLAT,
            P.affine(4, 12),
            P.integrate(4),
            shape=IMAGE,
        ),
        {**ALL_EXACT, "sinabs": APPROXIMATE},
    ),
    "grouped": (
        chain(P.conv(4, 2, (3, 3), groups=2), FLAT, P.affine(4, 64), P.lif(4), shape=IMAGE),
        ALL_EXACT,
    ),
    "kernel of 2 x 3": (
        chain(P.conv(4, 2, (2, 3)), FLAT, P.affine(4, 80), P.lif(4), shape=IMAGE),
        NOT_HERE,
    ),
    "padded pool": (
        chain(pool(nir.SumPool2d, 2, 1), FLAT, P.affine(4, 32), P.lif(4), shape=IMAGE),
        ALL_EXACT,
    ),
    "average": (
        chain(pool(nir.AvgPool2d, 2), FLAT, P.affine(4, 18), P.lif(4, theta=0.0503), shape=IMAGE),
        ALL_EXACT,
    ),
    "along one axis": (
        chain(P.conv(3, 2, (3,)), P.lif(3, 5), FLAT, P.affine(4, 15), P.lif(4), shape=(2, 7)),
        {"norse": UNSUPPORTED, "snntorch": EXACT, "spikingjelly": EXACT, "sinabs": UNSUPPORTED},
    ),
    "Scale": (chain(P.affine(8, 6), nir.Scale(RISING / 10), P.lif(8)), ALL_EXACT),
    "Scale of channels": (
        chain(nir.Scale(P.full(0.5, *IMAGE)), FLAT, P.affine(4, 72), P.lif(4), shape=IMAGE),
        ALL_EXACT,
    ),
    "maps of Sinabs": (
        chain(
            P.conv(4, 2, (3, 3), groups=2),
            pool(nir.AvgPool2d, 2),
            nir.Scale(P.full(0.5, 4, 2, 2)),
            pool(nir.SumPool2d, 2, 1),
            FLAT,
            P.linear(8, 16),
            nir.Scale(RISING),
            P.affine(4, 8),
            P.lif(4),
            shape=IMAGE,
            **MULTIPLE,
        ),
        {"sinabs": EXACT},
    ),
    "Scale of places": (
        chain(nir.Scale(P.grid(*IMAGE)), FLAT, P.affine(4, 72), P.lif(4), shape=IMAGE),
        NOT_HERE,
    ),
    "Threshold": (between(nir.Threshold(P.full(0.3, 8))), NOT_HERE),
    "Delay": (between(nir.Delay(P.full(2 * DT, 8))), NOT_HERE),
    "I": (between(nir.I(P.full(1, 8))), NOT_HERE),
    "LI": (
        chain(P.affine(8, 6), nir.LI(P.full(8 * DT, 8), P.full(1, 8), P.full(0, 8))),
        {**NOT_HERE, "sinabs": APPROXIMATE},
    ),
    "LI without a gain": (
        chain(P.affine(8, 6), nir.LI(P.full(8 * DT, 8), P.full(8, 8), P.full(0, 8))),
        {**NOT_HERE, "sinabs": EXACT},
    ),
    "CubaLI": (
        chain(P.affine(8, 6), nir.CubaLI(*(P.full(v, 8) for v in (4 * DT, 8 * DT, 8, 0, 4)))),
        NOT_HERE,
    ),
    "recurrence": (recurrent(), {**ALL_EXACT, "sinabs": UNSUPPORTED}),
    "recurrent bias at t = 0": (recurrent(2.0, loop_bias=True), OTHER_RULE),
    "a loop of two steps": (recurrent(loop_delay=2), OTHER_RULE),
    "self-loop": (
        network(
            {"fc": P.affine(8, 6), "lif": P.lif(8)},
            [("x", "fc"), ("fc", "lif"), ("lif", "lif"), ("lif", "out")],
        ),
        {**ALL_EXACT, "sinabs": UNSUPPORTED},
    ),
    "skip": (skip(), {**ALL_EXACT, "sinabs": APPROXIMATE}),
    "diamond": (
        diamond(),
        {"norse": UNSUPPORTED, "snntorch": EXACT, "spikingjelly": EXACT, "sinabs": UNSUPPORTED},
    ),
    "names of attributes": (
        chain(
            P.affine(8, 6),
            P.lif(8),
            P.affine(4, 8),
            P.lif(4),
            names=("type", "keys", "graph", "_modules"),
        ),
        ALL_EXACT,
    ),
    "one neuron": (chain(P.affine(1, 6), P.lif(1)), ALL_EXACT),
}
PAIRS = [(name, reader) for name, (_, words) in CASES.items() for reader in words]


@pytest.mark.parametrize(("name", "reader"), PAIRS)
def test_words_are_true(name: str, reader: str, tmp_path: Path) -> None:
    """Exact is 0 differing outputs, and anything else is an error or a difference."""
    if reader not in INSTALLED:
        pytest.skip(f"{reader} is not installed")
    ours, words = CASES[name]
    path, x = tmp_path / "a.nir", spikes_into(ours, samples=24)
    found = write_nir(ours, path, reader=reader, allow_unsupported=True)
    assert found is not None
    assert found.word is words[reader], found.as_dict()
    expected = outputs(ours, x)
    assert expected.any()
    try:
        theirs = run_in(reader, path, x, ours.semantics)
    except Exception:
        assert found.word is UNSUPPORTED
        return
    same = theirs.shape == expected.shape and np.allclose(theirs, expected, atol=1e-4)
    assert same == (found.word is EXACT), found.as_dict()


@QUICK
@given(ours=float_networks(), reader=st.sampled_from(INSTALLED or ("nir",)))
def test_random_networks_that_are_exact_fire_alike(
    ours: FloatNetwork, reader: str, tmp_path: Path
) -> None:
    path, x = tmp_path / "a.nir", spikes_into(ours)
    found = write_nir(ours, path, reader=reader, allow_unsupported=True)
    assert found is not None
    if reader in INSTALLED and found.word is EXACT:
        np.testing.assert_array_equal(run_in(reader, path, x, ours.semantics), outputs(ours, x))


@QUICK
@given(ours=float_networks(), reader=st.sampled_from(sorted(READERS)))
def test_a_float_network_comes_back_from_a_file_for_any_reader(
    ours: FloatNetwork, reader: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.nir"
    write_nir(ours, path, reader=reader, allow_unsupported=True)
    again = read_nir(path, isolate=False)
    assert isinstance(again, FloatNetwork)
    assert difference(ours.graph, again.graph) is None
    assert (again.dt_s, again.steps, again.semantics) == (ours.dt_s, ours.steps, ours.semantics)
    assert again.inputs == ours.inputs


@QUICK
@given(deployed=networks(), reader=st.sampled_from(sorted(READERS)))
def test_a_deployed_network_comes_back_from_a_file_for_any_reader(
    deployed: Any, reader: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.nir"
    found = write_nir(deployed, path, reader=reader, allow_unsupported=True)
    assert read_nir(path, isolate=False) == deployed
    assert found == portability(deployed, reader)
    assert {one.node for one in found.nodes} == set(float_view(deployed).graph.nodes)


def test_what_a_reader_does_not_run_is_refused_with_remedies(tmp_path: Path) -> None:
    ours, _ = CASES["Delay"]
    message = (
        r"SpikingJelly 2.0.0 does not run 1 of 6 nodes: node 'n1' \(Delay\): SpikingJelly stops at "
        r"this type of node"
    )
    with pytest.raises(InputError, match=message):
        write_nir(ours, tmp_path / "a.nir", reader="spikingjelly")
    leaking, _ = CASES["v_leak"]
    with pytest.raises(InputError, match=r"v_leak other than 0 \(instead: a bias in front of the"):
        write_nir(leaking, tmp_path / "a.nir", reader="snntorch")
    assert not (tmp_path / "a.nir").exists()
    with pytest.raises(InputError, match=r"reader 'snn': must be one of nir, .*did you mean"):
        write_nir(ours, tmp_path / "a.nir", reader="snn")


def test_several_inputs_and_outputs_are_refused() -> None:
    nodes = {"x": nir.Input({"input": np.array([6])}), "y": nir.Input({"input": np.array([6])})}
    for name in ("out", "other"):
        nodes[name] = nir.Output({"output": None})
    edges = [("x", "sum"), ("y", "sum"), ("sum", "lif"), ("lif", "out"), ("lif", "other")]
    graph = nir.NIRGraph({**nodes, "sum": P.affine(8, 6), "lif": P.lif(8)}, edges, type_check=False)
    inputs = (Input("x", (6,)), Input("y", (6,)))
    both = FloatNetwork(graph, DT, 4, inputs)
    for reader in READERS.keys() - {"nir"}:
        words = {one.node: one.word for one in judge(both, reader).nodes}
        assert {words[name] for name in ("x", "y", "out", "other")} == {UNSUPPORTED}
    assert judge(both, "nir").word is EXACT


@pytest.mark.parametrize("reader", sorted(READERS.keys() - {"nir", "nirtorch"}))
def test_files_state_the_time_step_of_the_reader(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(mlp(), path, reader=reader)
    node = nir.read(path).nodes["n1"]
    steps = (node.tau if hasattr(node, "tau") else node.tau_mem) / READERS[reader].dt_s
    exponential = READERS[reader].semantics(frozenset({"LIF"})).discretization == "exponential"
    lost = 1 - np.exp(-1 / steps) if exponential else 1 / steps
    np.testing.assert_allclose(lost, 1 / 8, rtol=1e-5)


def test_every_file_counts_the_axes_of_flatten_from_the_end(tmp_path: Path) -> None:
    """A batch axis makes no difference then, which Norse, snnTorch and nirtorch forget to add."""
    ours, _ = CASES["convolution"]
    write_nir(ours, tmp_path / "a.nir")
    with h5py.File(tmp_path / "a.nir") as file:
        flat = file["node/nodes/n3"]
        assert (flat["start_dim"][()], flat["end_dim"][()]) == (-3, -1)
    again = read_nir(tmp_path / "a.nir", isolate=False)
    assert isinstance(again, FloatNetwork)
    assert (again.graph.nodes["n3"].start_dim, again.graph.nodes["n3"].end_dim) == (0, -1)


def test_edges_back_come_first_for_norse(tmp_path: Path) -> None:
    write_nir(recurrent(), tmp_path / "a.nir", reader="norse")
    edges = nir.read(tmp_path / "a.nir").edges
    assert edges.index(("lif", "rec")) < edges.index(("lif", "last"))


def test_a_changed_graph_makes_its_own_form_stale(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(mlp(), path, reader="snntorch")
    with h5py.File(path, "a") as file:
        file["node/nodes/n0/weight"][0, 0] += 1
    with pytest.raises(InputError, match="was changed after it was written for another reader"):
        read_nir(path, isolate=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda form: form.pop("names"),
        lambda form: form.update(names={"n0": "a/b"}),
        lambda form: form.update(names=[]),
        lambda form: form.update(nodes={"n9": {"type": "LIF"}}),
        lambda form: form.update(nodes={"n1": {"type": "LIF", "tau": {"array": "missing"}}}),
        lambda form: form.update(edges=[["x"]]),
        lambda form: form.update(edges=3),
    ],
)
def test_a_damaged_own_form_is_an_error(change: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(mlp(), path, reader="snntorch")
    with h5py.File(path, "a") as file:
        header = json.loads(file["node/metadata/spikeport"][()])
        change(header["original"])
        del file["node/metadata/spikeport"]
        file["node/metadata/spikeport"] = json.dumps(header)
    with pytest.raises(InputError, match=re.escape("damaged: original")):
        read_nir(path, isolate=False)


def test_reserved_names_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    nirtorch = pytest.importorskip("nirtorch")
    eye = nir.Linear(np.eye(2, dtype=np.float32))
    ends = nir.Input({"input": np.array([2])}), nir.Output({"output": np.array([2])})
    graph = nir.NIRGraph.from_list(ends[0], eye, ends[1])
    modules = [torch.nn.ModuleDict(), nirtorch.nir_to_torch(graph, {})]
    layers = {nir.Linear: torch.nn.Linear(2, 2)}
    with pytest.warns(DeprecationWarning, match=r"nirtorch\.load"):
        modules.append(nirtorch.load(graph, lambda node: layers.get(type(node))))
    public = {name for one in modules for name in dir(one) if not name.startswith("_")}
    assert public - set(graph.nodes) <= RESERVED
