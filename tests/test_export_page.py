"""docs/export.md against what the table of readers says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import pytest

from spikeport.export.nir import READERS, FloatNetwork
from spikeport.export.nir.fields import NODE_TYPES
from spikeport.export.nir.readers import judge
from tests.helpers.graphs import DT, Parts, chain, network
from tests.helpers.pages import page, table

PAGE = page("export.md")
P = Parts(5)
IMAGE = (2, 6, 6)
FLAT = nir.Flatten({"input": None}, 0, -1)
SIDES = np.array([2, 2]), np.array([2, 2]), np.array([0, 0])
EACH = np.linspace(3, 20, 8).astype(np.float32)


def lif(
    tau: Any = 8.0, r: Any = 1.0, leak: float = 0, threshold: Any = 0.1, reset: float = 0
) -> Any:
    values = (tau * DT, r, leak, threshold, reset)
    return nir.LIF(*(np.broadcast_to(np.float32(value), 8).copy() for value in values))


def flat(node: Any, **rules: Any) -> FloatNetwork:
    return chain(P.affine(8, 6), node, P.linear(4, 8), **rules)


def image(*nodes: Any) -> FloatNetwork:
    return chain(*nodes, shape=IMAGE)


def loop(bias: float = 0.0, **rules: Any) -> FloatNetwork:
    nodes = {"fc": P.affine(8, 6), "n": P.lif(8), "rec": nir.Affine(P.grid(8, 8), P.full(bias, 8))}
    edges = [("x", "fc"), ("fc", "n"), ("n", "rec"), ("rec", "n"), ("n", "out")]
    return network(nodes, edges, **rules)


def branched(*, skip: bool) -> FloatNetwork:
    nodes = {"n": P.lif(6), "a": P.affine(6, 6), "b": P.affine(6, 6), "last": P.lif(6)}
    edges = [("x", "n"), ("n", "a"), ("a", "last"), ("last", "out")]
    if skip:
        del nodes["b"]
        return network(nodes, [*edges, ("n", "last")])
    return network(nodes, [*edges, ("n", "b"), ("b", "last")])


TYPES: Mapping[str, tuple[FloatNetwork, str]] = {
    "Affine": (chain(P.affine(8, 6)), "n0"),
    "Linear": (chain(P.linear(8, 6)), "n0"),
    "Scale": (flat(nir.Scale(EACH)), "n1"),
    "Conv1d": (chain(P.conv(3, 2, (3,)), shape=(2, 6)), "n0"),
    "Conv2d": (image(P.conv(3, 2, (3, 3))), "n0"),
    "SumPool2d": (image(nir.SumPool2d(*SIDES)), "n0"),
    "AvgPool2d": (image(nir.AvgPool2d(*SIDES)), "n0"),
    "Flatten": (image(FLAT), "n0"),
    "Delay": (flat(nir.Delay(P.full(DT, 8))), "n1"),
    "Threshold": (flat(nir.Threshold(P.full(1, 8))), "n1"),
    "I": (flat(nir.I(P.full(1, 8))), "n1"),
    "IF": (flat(P.integrate(8)), "n1"),
    "LI": (flat(nir.LI(P.full(8 * DT, 8), P.full(1, 8), P.full(0, 8))), "n1"),
    "LIF": (flat(lif()), "n1"),
    "CubaLI": (flat(nir.CubaLI(*(P.full(v, 8) for v in (4 * DT, 8 * DT, 8, 0, 4)))), "n1"),
    "CubaLIF": (flat(P.cuba(8)), "n1"),
}
NETWORKS: Mapping[str, FloatNetwork] = {
    "neurons fire if v >= v_threshold": flat(lif(), strict=False),
    "exponential decays": flat(lif(), discretization="exponential"),
    "another r, w_in or dt": flat(P.lif(8, r=3)),
    "reset by subtraction": flat(lif(), reset="subtract"),
    "reset by subtraction, v starts at v_reset": flat(
        lif(reset=0.5), reset="subtract", start="v_reset"
    ),
    "subtraction after the decay": flat(lif(), reset="subtract", reset_timing="after-decay"),
    "several spikes per step, subtraction, >=": flat(
        lif(), reset="subtract", strict=False, multiple_spikes=True
    ),
    "spikes a step late, subtraction after the decay": flat(
        lif(), reset="subtract", reset_timing="after-decay", late_spikes=True
    ),
    "v_leak": flat(lif(leak=0.05)),
    "v_leak, at which v starts": flat(lif(leak=0.05), start="v_leak"),
    "v_reset": flat(lif(reset=-0.1)),
    "v_leak = v_reset, at which v starts": flat(lif(leak=-0.1, reset=-0.1), start="v_reset"),
    "each neuron its tau, inputs not scaled": flat(lif(EACH, EACH)),
    "each neuron its threshold": flat(lif(threshold=EACH)),
    "LIF of feature maps": image(P.conv(3, 2, (3, 3)), P.lif(3, 4, 4)),
    "a kernel of 2 x 3": image(P.conv(3, 2, (2, 3))),
    "recurrence": loop(),
    "a recurrent bias that acts from the first step on": loop(1.0, loop_bias=True),
    "a skip path": branched(skip=True),
    "two branches with a map on each": branched(skip=False),
}


@pytest.mark.parametrize("type_name", TYPES)
def test_words_of_types(type_name: str) -> None:
    ours, node = TYPES[type_name]
    rows = {row["node"]: row for row in table(PAGE, "node", *READERS)}
    assert rows.keys() == TYPES.keys() == NODE_TYPES.keys() - {"Input", "Output"}
    for reader in READERS:
        (found,) = (one for one in judge(ours, reader).nodes if one.node == node)
        assert found.type == type_name
        assert rows[type_name][reader] == found.word


@pytest.mark.parametrize("name", NETWORKS)
def test_words_of_networks(name: str) -> None:
    readers = [reader for reader in READERS if reader != "nirtorch"]
    rows = {row["network"].replace("`", ""): row for row in table(PAGE, "network", *readers)}
    assert rows.keys() == NETWORKS.keys()
    for reader in readers:
        assert rows[name][reader] == judge(NETWORKS[name], reader).word, reader


def test_versions_and_loading() -> None:
    rows = table(PAGE, "reader", "examined", "loaded by", "time step of its files")
    stated = {row["reader"].strip("`"): row for row in rows}
    assert stated.keys() == READERS.keys()
    for name, reader in READERS.items():
        assert stated[name]["examined"] == reader.version
        call = judge(NETWORKS["recurrence"], name).load
        assert stated[name]["loaded by"].strip("`") == call
        dt = "the network's" if reader.dt_s is None else f"{reader.dt_s:g} s"
        assert stated[name]["time step of its files"] == dt
