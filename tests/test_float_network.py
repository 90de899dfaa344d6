"""A float network checks its graph once; whoever gets it can trust it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, graph, read_nir_float
from spikeport.network import Input
from spikeport.simulators import run_float
from spikeport.workflow import write_nir
from tests.helpers.quantize_networks import (
    DT,
    affine,
    chain,
    integrate_and_fire,
    leaky,
    quantized,
    spikes_in,
)

X = np.ones((2, 3))


def small() -> FloatNetwork:
    nodes = {"fc": affine(np.eye(2, 3)), "lif": leaky((2,), 0.5)}
    return chain(nodes, spikes_in(3))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs that are checked from here on."""
    seen: list[Any] = []
    compute_order = graph.compute_order

    def counted(checked: nir.NIRGraph, dt_s: float) -> Any:
        seen.append(checked)
        return compute_order(checked, dt_s)

    monkeypatch.setattr(graph, "compute_order", counted)
    return seen


def test_a_graph_is_checked_once_on_its_way(tmp_path: Path, checks: list[Any]) -> None:
    network = small()
    assert len(checks) == 1
    write_nir(network, tmp_path / "a.nir")
    run_float(network, X)
    run_float(replace(network, inputs=(spikes_in(3),)).with_rules(strict=True), X)
    quantized(network, X)
    assert len(checks) == 1
    opened = read_nir_float(tmp_path / "a.nir", isolate=False)
    quantized(opened, X)
    assert len(checks) == 2


def test_calibration_checks_only_the_graph_that_it_makes(checks: list[Any]) -> None:
    """A linear readout gets an integrator, so that graph is another one."""
    quantized(chain({"fc": affine(np.eye(2, 3))}, spikes_in(3)), X)
    assert len(checks) == 2


def test_the_graph_given_stays_the_users_own() -> None:
    weight = np.eye(2, 3)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "fc": nir.Linear(weight),
        "output": nir.Output({"output": None}),
    }
    drawn = nir.NIRGraph(nodes, [("input", "fc"), ("fc", "output")], type_check=False)
    network = FloatNetwork(drawn, DT, 4, (Input("input", (3,)),))
    before = run_float(network, X).scores["output"]
    weight[:] = 7.0
    assert np.array_equal(run_float(network, X).scores["output"], before)
    assert drawn.nodes["output"].output_type["output"] is None
    with pytest.raises(ValueError, match="read-only"):
        network.graph.nodes["fc"].weight[0, 0] = 7.0


def _other_field(checked: nir.NIRGraph) -> None:
    checked.nodes["lif"].v_threshold = np.full(2, 9.0)


def _other_node(checked: nir.NIRGraph) -> None:
    checked.nodes["lif"] = integrate_and_fire((2,))


def _fewer_edges(checked: nir.NIRGraph) -> None:
    checked.edges.pop()


@pytest.mark.parametrize("change", [_other_field, _other_node, _fewer_edges])
def test_a_changed_graph_gives_no_stale_results(change: Any) -> None:
    network = small()
    change(network.graph)
    for use in (lambda: run_float(network, X), lambda: quantized(network, X)):
        with pytest.raises(InputError, match="its graph was changed after it was checked"):
            use()


def test_a_changed_graph_is_checked_anew_as_another_network() -> None:
    network = small()
    assert run_float(network, X).scores["output"].any()
    _other_field(network.graph)
    assert not run_float(replace(network, graph=network.graph), X).scores["output"].any()
    _fewer_edges(network.graph)
    with pytest.raises(InputError, match="has no outgoing edge"):
        replace(network, graph=network.graph)


def test_another_time_step_is_checked_anew() -> None:
    """A Delay shorter than half a step delays nothing, so the order of computation differs."""
    delay = nir.Delay(np.full(3, 0.6 * DT))
    network = chain({"wait": delay, "fc": affine(np.eye(2, 3))}, spikes_in(3))
    assert network.checked.plan.delays == {"wait"}
    assert replace(network, dt_s=2 * DT).checked.plan.delays == frozenset()
