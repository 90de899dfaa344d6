"""NIR graphs, traces and rasters that others published, read and run; none was made here.

They lie in the folder `nir` of the data that SPIKEPORT_DATA names. The graphs, traces and rasters
of `neuromorphs-NIR/paper` belong to Pedersen et al., "Neuromorphic intermediate representation",
Nature Communications 15, 2024.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from spikeport import check
from spikeport.backends import run as run_backend
from spikeport.backends.lava import lava_status
from spikeport.energy import estimate_energy, load_profile
from spikeport.errors import InputError
from spikeport.export.nir import (
    PRESETS,
    FloatNetwork,
    Semantics,
    preset,
    read_nir_contents,
    read_nir_float,
)
from spikeport.network import Coding, DeployedNetwork, Input
from spikeport.runs import encode_samples
from spikeport.simulators import run_float, run_native
from spikeport.workflow import quantize

SHARED = os.environ.get("SPIKEPORT_DATA")
FOLDER = Path(str(SHARED)) / "nir"
SINGLE = "neuromorphs-NIR/paper/01_lif"
BRAILLE = "neuromorphs-NIR/paper/03_rnn"
DT = 1e-4
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(SHARED is None, reason="SPIKEPORT_DATA names no data folder"),
]

READ = (
    "Jegp-NIR-demo-repo/braille_braille_checkpoint.nir",
    "kmheckel-spyx/braille_noDelay_bias_zero_subgraph.nir",
    "kmheckel-spyx/braille_noDelay_noBias_subtract_subgraph.nir",
    "kmheckel-spyx/lif_norse.nir",
    f"{SINGLE}/debug_spike_representation/two_lif_neurons.nir",
    f"{SINGLE}/lif_norse.nir",
    f"{SINGLE}/lif_rockpool.nir",
    f"{BRAILLE}/braille_noDelay_bias_zero.nir",
    f"{BRAILLE}/braille_noDelay_noBias_subtract.nir",
    "neuromorphs-NIRTorch/tests/braille.nir",
    "neuromorphs-NIRTorch/tests/lif_norse.nir",
    "norse-norse/braille.nir",
)
DANGLING = "subgraph 'lif1': edge ('input', 'lif'): node 'lif' does not exist"
REFUSED = {
    "Jegp-NIR-demo-repo/scnn_model.nir": "'/node' (NIRGraph): 'edges' is missing",
    f"{BRAILLE}/extras/braille_noDelay_bias_zero_subgraph.nir": DANGLING,
    f"{BRAILLE}/extras/braille_noDelay_noBias_subtract_subgraph.nir": DANGLING,
    "synsense-rockpool/braille.nir": (
        "node 'hidden.input' (Input) declares shape (12,), received (38,)"
    ),
}


def test_every_graph_is_read_or_refused() -> None:
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.nir")}
    assert found == {*READ, *REFUSED}


@pytest.mark.parametrize("name", READ)
def test_graphs_that_are_read(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Under the rules of every framework, of which all but Sinabs and Spyx count in seconds."""
    contents = read_nir_contents(FOLDER / name)
    assert not isinstance(contents, DeployedNetwork)
    assert (contents.dt_s, contents.steps, contents.semantics) == (None, None, Semantics())
    assert contents.provenance["source"] == Path(name).name
    for framework in (None, *PRESETS):
        network = read_nir_float(
            FOLDER / name, dt_s=DT, steps=6, semantics=framework, isolate=False
        )
        (part,) = network.inputs
        x = np.random.default_rng(0).integers(0, 2, (6, 3, *part.shape)).astype(float)
        assert all(np.isfinite(scores).all() for scores in run_float(network, x).scores.values())
        if framework is None:
            odd = ["r is what Rockpool writes"] if name.endswith("lif_rockpool.nir") else []
            assert len(caplog.messages) == len(odd)
            assert all(text in message for text, message in zip(odd, caplog.messages, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_graphs_that_are_refused(name: str) -> None:
    for arguments in ({}, {"dt_s": DT, "steps": 6}):
        with pytest.raises(InputError) as caught:
            read_nir_contents(FOLDER / name, **arguments)  # type: ignore[arg-type]
        assert str(caught.value) == f"{FOLDER / name}: {REFUSED[name]}"


@pytest.mark.parametrize("framework", [None, *PRESETS])
@pytest.mark.parametrize("name", ["bias_zero", "noBias_subtract"])
def test_nested_and_flat_graphs_fire_alike(name: str, framework: str | None) -> None:
    """Every spike of both layers; the nested one is Spyx's repaired version."""
    files = (
        FOLDER / BRAILLE / f"braille_noDelay_{name}.nir",
        FOLDER / f"kmheckel-spyx/braille_noDelay_{name}_subgraph.nir",
    )
    x = (np.random.default_rng(0).uniform(size=(256, 8, 12)) < 0.3).astype(float)
    spikes = []
    for file in files:
        network = read_nir_float(file, dt_s=DT, steps=len(x), semantics=framework, isolate=False)
        trace = run_float(network, x, record=("spikes",)).trace
        assert trace is not None
        spikes.append(list(trace.spikes.values()))
    for flat, nested in zip(*spikes, strict=True):
        assert flat.any()
        assert np.array_equal(flat, nested)


def test_scalar_parameters_take_the_shape_of_their_layer() -> None:
    path = FOLDER / "Jegp-NIR-demo-repo/braille_braille_checkpoint.nir"
    network = read_nir_float(path, dt_s=DT, steps=10)
    assert network.graph.nodes["lif2"].tau_mem.shape == (7,)


# One neuron, 1,000 steps, with the input, membrane and spikes of each platform


EXPONENTIAL = Semantics(discretization="exponential")  # type: ignore[arg-type]
ZERO = {"reset": "zero", "reset_timing": "before-decay"}
TRACES: dict[str, tuple[str, Semantics, float, float | None]] = {
    # platform: graph, rules, membrane per membrane of ours, largest difference of the membrane,
    # None if it is compared only up to the first spike
    "norse": ("norse", PRESETS["norse"], 1, 3e-8),
    "snntorch": ("norse", PRESETS["snntorch"], 25, None),
    "spyx": ("norse", PRESETS["spyx"].changed(input_gain="equation"), 1, 1e-7),  # type: ignore[arg-type]
    "sinabs": ("norse", PRESETS["sinabs"], 1, 2e-8),
    "rockpool": ("rockpool", PRESETS["rockpool"], 1, 2e-8),
    "nengo": ("norse", EXPONENTIAL, 10, 2e-8),
    "spinnaker2": ("norse", Semantics(), 25, 5e-4),
    "exact": ("norse", EXPONENTIAL, 1, None),
}
"""How the published traces were made:

snntorch: it moved dt/tau into the threshold, so its membrane is 25 times ours. The membrane at a
    spike is that of networks that it reads, see the next test.
spyx: a version of 2023, which scaled the input by dt/tau; 1.0.0 does not.
sinabs: its input column is already scaled.
spinnaker2: fixed-point numbers.
exact: the solution of the equation, which resets within a step.
"""


def single(graph: str, rules: Semantics, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and membrane of the published neuron."""
    inputs = (Input("input", (1,), Coding.GRADED, 0, 100, 100.0),)
    path = FOLDER / SINGLE / f"lif_{graph}.nir"
    network = read_nir_float(
        path, dt_s=DT, steps=len(x), semantics=rules, inputs=inputs, isolate=False
    )
    trace = run_float(network, x.reshape(-1, 1, 1), record=("spikes", "v")).trace
    assert trace is not None
    ((spikes,), (v,)) = trace.spikes.values(), trace.v.values()
    return spikes.ravel(), v.ravel()


def published(platform: str) -> np.ndarray:
    return np.loadtxt(FOLDER / SINGLE / f"lif_{platform}.csv", delimiter=",").T


def test_every_platform_is_here() -> None:
    found = {path.stem.removeprefix("lif_") for path in (FOLDER / SINGLE).glob("*.csv")}
    assert found == TRACES.keys()


@pytest.mark.parametrize("platform", TRACES)
def test_a_single_neuron_agrees_with_each_platform(platform: str) -> None:
    graph, rules, unit, difference = TRACES[platform]
    x, v, spikes = published(platform)
    found, membrane = single(graph, rules, x)
    assert spikes.sum() == 4
    assert np.array_equal(found, spikes)
    until = int(np.flatnonzero(spikes)[0]) if difference is None else len(v)
    np.testing.assert_allclose(unit * membrane[:until], v[:until], 0, difference or 1e-6)


def test_snntorch_resets_networks_that_it_reads_to_zero() -> None:
    x, v, spikes = published("snntorch")
    found, membrane = single("norse", PRESETS["snntorch"].changed(**ZERO), x)  # type: ignore[arg-type]
    assert np.array_equal(found, spikes)
    np.testing.assert_allclose(25 * membrane, v, rtol=0, atol=1e-6)


REFUSED_BY_CHIPS = {
    "spyx": "late_spikes is true",
    "sinabs": "multiple_spikes is true",
    "rockpool": "multiple_spikes is true",
}


@pytest.mark.parametrize("platform", TRACES)
def test_its_chip_integers_agree_or_are_refused(platform: str) -> None:
    graph, rules, _, _ = TRACES[platform]
    x, _, spikes = published(platform)
    inputs = (Input("input", (1,), Coding.GRADED, 0, 100, 100.0),)
    path = FOLDER / SINGLE / f"lif_{graph}.nir"
    network = read_nir_float(
        path, dt_s=DT, steps=len(x), semantics=rules, inputs=inputs, isolate=False
    )
    samples = x.reshape(-1, 1, 1)
    if platform in REFUSED_BY_CHIPS:
        with pytest.raises(InputError, match=REFUSED_BY_CHIPS[platform]):
            quantize(network, samples)
        return
    made = quantize(network, samples).network
    encoded = encode_samples(made.inputs, made.steps, samples)
    trace = run_native(made, encoded, record=("spikes",)).trace
    assert trace is not None
    (found,) = trace.spikes.values()
    assert np.array_equal(found.ravel(), spikes)


BRAILLE_GRAPHS = {
    # graph: whether its biases enter through a synaptic filter
    f"{BRAILLE}/braille_noDelay_bias_zero.nir": True,
    f"{BRAILLE}/braille_noDelay_noBias_subtract.nir": False,
    "Jegp-NIR-demo-repo/braille_braille_checkpoint.nir": False,
    "kmheckel-spyx/braille_noDelay_bias_zero_subgraph.nir": True,
    "kmheckel-spyx/braille_noDelay_noBias_subtract_subgraph.nir": False,
    "neuromorphs-NIRTorch/tests/braille.nir": True,
    "norse-norse/braille.nir": True,
}


def braille(name: str, **rules: Any) -> FloatNetwork:
    reset = "subtract" if "subtract" in name else "zero"
    return read_nir_float(
        FOLDER / name, dt_s=DT, steps=256, isolate=False, **{"reset": reset, **rules}
    )


def events(count: int) -> np.ndarray:
    """As frequent as those of the Braille letters, from random sensors."""
    return (np.random.default_rng(0).uniform(size=(256, count, 12)) < 0.1).astype(float)


@pytest.mark.parametrize("name", BRAILLE_GRAPHS)
def test_braille_graphs_run_alike_on_all_simulators(name: str) -> None:
    network, x = braille(name), events(24)
    made = quantize(network, x)
    given = encode_samples(made.network.inputs, 256, x[:, :2])
    record = ("spikes", "u", "v")
    backends = ["native", "cuda", "reference", *(["lava"] if lava_status().version else [])]
    options: dict[str, dict[str, Any]] = {"cuda": {"device": "cpu"}}
    first, *others = (
        run_backend(on, made.network, given, record=record, **options.get(on, {}))
        for on in backends
    )
    assert first.trace is not None
    for other in others:
        assert other.trace is not None
        for what in record:
            for part, values in first.trace[what].items():
                np.testing.assert_array_equal(values, other.trace[what][part])
    assert first.counts is not None
    assert ("constant" in first.spike_counts) == BRAILLE_GRAPHS[name]
    if BRAILLE_GRAPHS[name]:
        assert (first.spike_counts["constant"] == 2 * 256).all()
        into = {c.name for c in made.network.weighted_connections if c.source == "constant"}
        assert all(first.counts.messages[c] >= 2 * 255 for c in into)
    assert estimate_energy(made.network, first.counts, load_profile("loihi1"))
    assert all(found.runs for found in check(made.network, backends))


@pytest.mark.parametrize("rules", [{}, {"semantics": "snntorch", "reset_timing": "before-decay"}])
@pytest.mark.parametrize("name", BRAILLE_GRAPHS)
def test_braille_graphs_keep_their_predictions(name: str, rules: Any) -> None:
    """Nearly all of them: the hidden layer is recurrent, so a spike that moves moves others."""
    report = quantize(braille(name, **rules), events(96)).report
    assert report.predictions.rate is not None
    assert report.predictions.rate > 0.8
    worst = max(part.relative_error for part in report.populations)
    assert worst < 0.2


def test_other_rules_fire_at_other_steps() -> None:
    """So the agreement above shows something."""
    for platform in ("spyx", "sinabs", "rockpool"):
        graph, _, _, _ = TRACES[platform]
        x, _, spikes = published(platform)
        assert not np.array_equal(single(graph, Semantics(), x)[0], spikes)


# The hidden layer of the Braille network on thirteen platforms, one test sample of class 1

RASTERS = {
    "lava": ["bias_zero"],
    "nengo": ["bias_zero", "noBias_subtract"],
    "norse": ["bias_zero", "noBias_subtract"],
    "rockpool": ["noBias_subtract"],
    "s2": ["bias_zero", "noBias_subtract"],
    "snntorch": ["bias_zero", "noBias_subtract"],
    "spyx": ["bias_zero", "noBias_subtract"],
    "xylo": ["noBias_subtract"],
}
CLASSES = {"lava": 2, "xylo": 4}
"""Where the platform's own spikes lead to another class than 1."""


def readout(name: str, raster: np.ndarray, rules: Semantics) -> Any:
    """The scores of the layers after the hidden one, for its spikes (T, N)."""
    path = FOLDER / BRAILLE / f"braille_noDelay_{name}.nir"
    whole = read_nir_float(path, dt_s=DT, steps=256, isolate=False)
    size = raster.shape[1]
    nodes = {
        "hidden": nir.Input({"input": np.array([size])}),
        **{part: whole.graph.nodes[part] for part in ("fc2", "lif2")},
        "output": nir.Output({"output": None}),
    }
    edges = [("hidden", "fc2"), ("fc2", "lif2"), ("lif2", "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    inputs = (Input("hidden", (size,), Coding.GRADED, 0, 2, 1.0),)
    return run_float(FloatNetwork(graph, DT, 256, inputs, rules), raster[:, None]).scores["output"]


def test_every_raster_is_here() -> None:
    found = {path.stem for path in (FOLDER / BRAILLE).glob("*_activity_*.npy")}
    assert found == {f"{p}_activity_noDelay_{n}" for p, names in RASTERS.items() for n in names}


@pytest.mark.parametrize(("platform", "name"), [(p, n) for p in RASTERS for n in RASTERS[p]])
def test_published_hidden_spikes_lead_to_the_class(platform: str, name: str) -> None:
    raster = np.load(FOLDER / BRAILLE / f"{platform}_activity_noDelay_{name}.npy").astype(float)
    raster = raster if len(raster) == 256 else raster.T
    rules = preset(platform, {"CubaLIF"}) if platform in PRESETS else Semantics()
    for semantics in (rules, replace(rules, reset="subtract"), replace(rules, reset="zero")):  # type: ignore[arg-type]
        (scores,) = readout(name, raster, semantics)
        assert scores.argmax() == CLASSES.get(platform, 1)
        assert np.count_nonzero(scores == scores.max()) == 1
