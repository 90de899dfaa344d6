"""Graphs that need several populations or a constant source: in the ladder, on all simulators."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.backends import run as run_backend
from spikeport.energy import estimate_energy, load_profile
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.deployed import float_view
from spikeport.export.quantize.lower import lower
from spikeport.ladder import LadderConfig, run_ladder
from spikeport.network import Coding, DeployedNetwork, Input
from spikeport.parity import Limits
from spikeport.runs import Run, Samples, encode_samples
from spikeport.simulators import run_float
from spikeport.simulators.float_counts import float_counts, in_populations
from spikeport.trainer import load_digits_split
from spikeport.workflow import quantize
from tests.helpers.lava import needs_lava
from tests.helpers.quantize_networks import DT, affine, conv

STEPS = 12
LAYERS = ("map", "filtered", "gate", "out")


def mixed() -> FloatNetwork:
    """Feature maps with decays of each channel, a filter with a bias, a Threshold, a readout."""
    rng = np.random.default_rng(3)

    def own(low: float, high: float, size: int) -> NDArray[np.float64]:
        return rng.choice(rng.uniform(low * DT, high * DT, 2), size)

    tau = np.broadcast_to(own(2, 9, 4)[:, None, None], (4, 8, 8)).copy()
    maps = nir.LIF(tau, tau / DT, np.zeros((4, 8, 8)), np.ones((4, 8, 8)))
    times = own(2, 9, 20), own(2, 9, 20)
    filtered = nir.CubaLIF(*times, times[1] / DT, np.zeros(20), np.ones(20), w_in=times[0] / DT)
    last = own(3, 20, 10)
    nodes: dict[str, Any] = {
        "input": nir.Input({"input": np.array([1, 8, 8])}),
        "conv": conv(rng.normal(0.1, 0.3, (4, 1, 3, 3)), 0.1, padding=1),
        "map": maps,
        "pool": nir.SumPool2d(*(np.array([n, n]) for n in (2, 2, 0))),
        "flat": nir.Flatten({"input": None}, 0, -1),
        "fc1": affine(rng.normal(0.05, 0.2, (20, 64)), rng.normal(0, 0.1, 20)),
        "filtered": filtered,
        "back": nir.Linear(rng.normal(0, 0.2, (20, 20))),
        "fc2": affine(rng.normal(0, 1, (20, 20)), 0.1),
        "gate": nir.Threshold(rng.uniform(-0.2, 0.5, 20)),
        "fc3": affine(rng.normal(0.1, 0.5, (10, 20))),
        "out": nir.LIF(last, last / DT, np.zeros(10), np.ones(10)),
        "output": nir.Output({"output": None}),
    }
    order = [name for name in nodes if name != "back"]
    edges = [*itertools.pairwise(order), ("filtered", "back"), ("back", "filtered")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    source = Input("input", (1, 8, 8), Coding.GRADED, 0, 255, 255.0)
    return FloatNetwork(graph, DT, STEPS, (source,))


def images(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8)) / 255


def compared(network: DeployedNetwork, samples: Samples, *others: str) -> Run:
    """The run on native, which equals that on other simulators in every value of every trace."""
    given = encode_samples(network.inputs, network.steps, samples)
    first, *rest = (
        run_backend(name, network, given, record=("spikes", "u", "v"))
        for name in ("native", *others)
    )
    assert first.trace is not None
    for other in rest:
        assert other.trace is not None
        for what in ("spikes", "u", "v"):
            assert first.trace[what].keys() == other.trace[what].keys()
            for name, values in first.trace[what].items():
                np.testing.assert_array_equal(values, other.trace[what][name], f"{what} of {name}")
        assert other.counts == first.counts
    return first


def test_populations_are_named_after_their_node_and_counted() -> None:
    lowered = lower(mixed())
    names = {part.name: part.node for part in lowered.populations}
    assert set(names.values()) == {*LAYERS, ""}
    parts = {node: [n for n, own in names.items() if own == node] for node in LAYERS}
    assert parts["map"] == [f"map_{n + 1}" for n in range(len(parts["map"]))]
    assert len(parts["filtered"]) == 4
    assert parts["out"][-1] == "output"
    assert f"'map' became {len(parts['map'])} populations, 'map_1' to" in "\n".join(
        lowered.rewrites
    )
    assert "from 'constant', a neuron that fires at every step" in "\n".join(lowered.rewrites)
    assert "'output' reads 'out' through 10 neurons" in "\n".join(lowered.rewrites)


def test_they_run_on_every_simulator_and_are_priced() -> None:
    graph, x = mixed(), images(16)
    made = quantize(graph, x, static=True)
    run = compared(made.network, x[:3], "reference")
    assert run.counts is not None
    assert run.counts.spikes["constant"] == 3 * STEPS
    into = [c for c in made.network.weighted_connections if c.source == "constant"]
    assert run.counts.synaptic_events["constant_to_filtered_1"] == 3 * STEPS * np.count_nonzero(
        next(c for c in into if c.name == "constant_to_filtered_1").weight
    )
    assert estimate_energy(made.network, run.counts, load_profile("loihi1")).total.nominal > 0
    wanted = run_float(graph, x, record=("spikes", "v", "v_charged"))
    counts = float_counts(graph, x, wanted)
    assert counts.spikes["constant"] == 16 * STEPS
    named = in_populations(graph, wanted)
    assert named.spike_counts.keys() == run.spike_counts.keys()
    assert named.spike_counts["output"].sum() == wanted.spike_counts["out"].sum()
    assert float_view(made.network).output_count == 10


@needs_lava
@pytest.mark.slow
def test_they_run_on_lava() -> None:
    compared(quantize(mixed(), images(16), static=True).network, images(2), "lava")


def test_they_climb_the_ladder(tmp_path: Path) -> None:
    config = LadderConfig(
        samples=24,
        calibration=32,
        reference_samples=2,
        lava_samples=0,
        limits=Limits(max_drop_points=100.0, max_spike_change=100.0),
    )
    report = run_ladder(mixed(), load_digits_split(), tmp_path, config).report
    assert report.passed
    rows = {row.stage: row for row in report.rows}
    difference = rows["quantized, native"].difference
    assert difference is not None
    made = set(rows["quantized, native"].spikes)
    assert set(difference.spikes) == made
    assert None not in difference.spikes.values()
    assert difference.spikes["constant"] == 0
    assert rows["scalar reference"].verdict == "identical"
