from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, check_graph
from spikeport.network import Coding, Input
from spikeport.runs import Run, Trace
from spikeport.simulators import run_float
from spikeport.simulators.ties import compare_float


def network() -> FloatNetwork:
    ones = np.ones(2)
    nodes = {
        "x": nir.Input({"input": np.array([2])}),
        "a": nir.IF(ones, ones, 0 * ones),
        "w": nir.Linear(np.eye(2) * 0.75),
        "b": nir.IF(ones, ones, 0 * ones),
        "out": nir.Output({"output": np.array([2])}),
    }
    edges = [("x", "a"), ("a", "w"), ("w", "b"), ("b", "out")]
    return FloatNetwork(
        check_graph(nodes, edges, 1e-3).graph,
        1e-3,
        8,
        (Input("x", (2,), Coding.GRADED, 0, 2048, 1024.0),),
    )


def run(x: np.ndarray, strict: bool = True) -> Run:
    return run_float(network().with_rules(strict=strict), x, record=("spikes", "v_charged"))


def test_equal_runs() -> None:
    x = np.array([[0.4, 0.7], [0.3, 1.2]])
    found = compare_float(run(x), run(x), network())
    assert found.differing == {"a": 0, "b": 0}
    assert (sum(found.differing.values()), found.at_threshold, found.unexplained) == (0, 0, 0)
    assert found.first is None


def test_a_tie_explains_all_that_follows_in_its_sample() -> None:
    x = np.array([[0.3, 0.7], [0.3, 0.5]])  # 0.5 + 0.5 meets the threshold exactly
    found = compare_float(run(x), run(x, strict=False), network())
    assert (found.samples_with_ties, found.at_threshold, found.unexplained) == (1, 1, 0)
    assert found.differing["a"] > 1
    assert found.differing["b"] > 0
    assert found.first is not None
    assert (found.first.population, found.first.neuron, found.first.sample) == ("a", (1,), 1)
    assert (found.first.step, found.first.values) == (1, (0.0, 1.0))


def test_other_differences_are_not_explained() -> None:
    x = np.array([[0.3, 0.5], [0.3, 0.7]])
    other = run(x + np.array([[0, 0], [0, 0.4]]), strict=False)
    found = compare_float(run(x), other, network())
    assert found.samples_with_ties == 1
    assert found.unexplained > 0
    assert found.unexplained < sum(found.differing.values())
    assert found.first is not None
    assert found.first.sample == 1


def test_a_difference_beyond_the_tolerance_is_not_a_tie() -> None:
    x = np.array([[0.3, 0.5]])
    assert compare_float(run(x - 1e-6), run(x, strict=False), network()).unexplained > 0
    assert compare_float(run(x - 1e-6), run(x, strict=False), network(), 1e-5).unexplained == 0


def test_missing_traces_are_named() -> None:
    x = np.array([[0.3, 0.5]])
    bare = replace(run(x), trace=Trace())
    with pytest.raises(InputError, match="'float' did not record spikes of 'a'"):
        compare_float(bare, run(x), network())
    fewer = run(np.array([[0.3, 0.5], [0.1, 0.2]]))
    with pytest.raises(InputError, match=r"'a' has spikes \(8, 1, 2\) and \(8, 2, 2\)"):
        compare_float(run(x), fewer, network())
