from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, read_nir
from spikeport.export.nir.deployed import float_view, form_of
from spikeport.export.nir.graph import difference
from spikeport.export.nir.layout import view_notes
from spikeport.export.nir.metadata import deployed_metadata
from spikeport.export.nir.portable import portable
from spikeport.network import (
    LOIHI,
    Coding,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
    SumPool2d,
    dense_form,
    require_lif_populations,
)
from spikeport.runs import SampleSet
from spikeport.simulators import run_float, run_native
from spikeport.workflow import write_nir
from tests.helpers.strategies import networks, samples_for

QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture],
)  # fmt: skip


@QUICK
@given(network=networks())
def test_any_deployed_network_comes_back_and_nir_reads_it(
    network: DeployedNetwork, tmp_path: Path
) -> None:
    write_nir(network, tmp_path / "a.nir")
    again = read_nir(tmp_path / "a.nir", isolate=False)
    assert isinstance(again, DeployedNetwork)
    assert again == network
    assert nir.read(tmp_path / "a.nir").nodes


def with_thresholds(view: FloatNetwork, other: FloatNetwork) -> dict[str, Any]:
    """The nodes of a view with the thresholds of another."""
    nodes = {name: copy.copy(node) for name, node in view.graph.nodes.items()}
    for name, node in nodes.items():
        if hasattr(node, "v_threshold"):
            node.v_threshold = other.graph.nodes[name].v_threshold
    return nodes


@QUICK
@given(
    rows=st.lists(st.lists(st.integers(-8, 8), min_size=5, max_size=5), min_size=1, max_size=4),
    vth=st.integers(1, 12),
    scale=st.floats(1e-3, 1e3),
    reset=st.sampled_from(Reset),
    seed=st.integers(0, 99),
)
def test_rounding_decides_no_spike_of_a_view(
    rows: list[list[int]], vth: int, scale: float, reset: Reset, seed: int
) -> None:
    """Without a leak the view is exact, and v equals vth often; float32 may reach it from above."""
    weight = np.array(rows) * 2
    given: dict[str, Any] = {"decay_v": 0, "vth": 2 * vth, "reset": reset, "scale": scale}
    network = DeployedNetwork(
        (Input("x", (5,)),),
        (Population("n", (len(rows),), decay_u=LOIHI.decay_unity, **given),),
        (Dense("x", "n", weight),),
        (Readout("n", ReadoutKind.SPIKES),),
        steps=20,
    )
    x = np.random.default_rng(seed).random((20, 6, 5)) < 0.5
    exact = run_native(network, x, record=("spikes",)).trace
    assert exact is not None
    for dtype in (np.float32, np.float64):
        trace = run_float(float_view(network), x, record=("spikes",), dtype=dtype).trace
        assert trace is not None
        assert np.array_equal(trace.spikes["n"], exact.spikes["n"])


@QUICK
@given(data=st.data())
def test_both_forms_of_the_view_fire_alike_and_are_read(
    data: st.DataObject, tmp_path: Path
) -> None:
    """The graphs that 0.1.0 wrote, and today's, of which some readers run more.

    Today's thresholds are higher by less than the chip can tell; here they are given to both.
    """
    network = data.draw(networks(max_payloads=(1,)))
    old, new = (float_view(network, form=form) for form in (1, 2))
    samples = data.draw(samples_for(network))
    taken = SampleSet({p.name: samples[p.name] for p in new.inputs})
    alike = dataclasses.replace(old, graph=nir.NIRGraph(with_thresholds(old, new), old.graph.edges))
    runs = [run_float(view, taken, record=("spikes", "v")) for view in (alike, new)]
    first, second = (run.trace for run in runs)
    assert first is not None
    assert second is not None
    for name, spikes in first.spikes.items():
        assert np.array_equal(second.spikes[name], spikes)
    for name, scores in runs[0].scores.items():
        np.testing.assert_allclose(runs[1].scores[name], scores, rtol=1e-6)
    assert form_of(new) == 2 or difference(old.graph, new.graph) is None
    path = tmp_path / "a.nir"
    nodes = {name: as_first_written(node) for name, node in old.graph.nodes.items()}
    metadata = deployed_metadata(network, old, 1, view_notes(network))
    nir.write(path, nir.NIRGraph(nodes, old.graph.edges, metadata=metadata, type_check=False))
    assert read_nir(path, isolate=False) == network


def as_first_written(node: Any) -> Any:
    """What a convolution was stood in its own metadata."""
    made, was = portable(node)
    if was:
        made.metadata = {"spikeport": json.dumps(was, sort_keys=True)}
    return made


def looped(delay: int) -> DeployedNetwork:
    """x to a, a to b and back; b to itself."""
    wide = np.full((3, 3), 4, np.int16)
    return DeployedNetwork(
        (Input("x", (4,)),),
        (Population("a", (3,), 9), Population("b", (3,), 9)),
        (
            Dense("x", "a", WEIGHT),
            Dense("a", "b", wide),
            Dense("b", "a", -wide, delay=delay, name="back"),
            Dense("b", "b", -wide, delay=1, name="self"),
        ),
        (Readout("b"),),
        9,
    )


def test_a_delay_of_one_step_that_closes_a_cycle_is_that_of_the_cycle() -> None:
    view = float_view(looped(1))
    assert not any(isinstance(node, nir.Delay) for node in view.graph.nodes.values())
    assert view.checked.plan.feedback == {("back", "a"), ("self", "b")}
    longer = float_view(looped(2))
    assert [n for n, x in longer.graph.nodes.items() if isinstance(x, nir.Delay)] == ["back_delay"]
    assert longer.checked.plan.feedback == {("self", "b")}


def test_a_delay_stays_where_another_edge_would_close_the_cycle() -> None:
    """An Input of a name that sorts first enters at b, so that a to b would be the way back."""
    network = looped(1)
    entered = network.replace(
        connections=(*network.connections, Dense("x", "b", WEIGHT, name="a_first"))
    )
    view = float_view(entered)
    delayed = {n for n, node in view.graph.nodes.items() if isinstance(node, nir.Delay)}
    assert delayed == {"back_delay"}
    assert view.checked.plan.feedback == {("self", "b")}


def test_the_gains_of_a_synaptic_current_are_those_that_frameworks_accept() -> None:
    network = single(decay_u=1024, decay_v=512, vth=3000)
    node = float_view(network, 1e-3).graph.nodes["n"]
    np.testing.assert_allclose(node.r, 8, rtol=1e-6)
    np.testing.assert_allclose(node.w_in, 4, rtol=1e-6)
    np.testing.assert_allclose(node.r, node.tau_mem / 1e-3, rtol=1e-6)


def test_a_reset_to_zero_is_not_in_the_file(tmp_path: Path) -> None:
    """nir <= 1.0.4 opens no file with a v_reset, nir 1.0.8 reads zeros."""
    path = tmp_path / "a.nir"
    write_nir(single(decay_u=1024, decay_v=512, vth=3000), path)
    with h5py.File(path) as file:
        assert "v_reset" not in file["node/nodes/n"]
        assert "v_threshold" in file["node/nodes/n"]
    assert np.array_equal(nir.read(path).nodes["n"].v_reset, np.zeros(3, np.float32))
    network = float_view(single(vth=3000))
    node = dataclasses.replace(network.graph.nodes["n"], v_reset=np.full(3, -0.5, np.float32))
    graph = nir.NIRGraph({**network.graph.nodes, "n": node}, network.graph.edges, type_check=False)
    write_nir(dataclasses.replace(network, graph=graph), path)
    again = read_nir(path, isolate=False)
    assert isinstance(again, FloatNetwork)
    assert np.array_equal(again.graph.nodes["n"].v_reset, np.full(3, -0.5, np.float32))


@QUICK
@given(data=st.data())
def test_without_decays_the_view_fires_as_the_integers_do(data: st.DataObject) -> None:
    """No truncation, no saturation, no rounding: every spike is equal, whatever the structure."""
    network = data.draw(
        networks(v_init=False, dense_exponents=(0,), conv_exponents=(0,), max_payloads=(1,))
    )
    reset = data.draw(st.sampled_from(Reset))
    network = network.replace(
        populations=tuple(
            dataclasses.replace(
                p, decay_u=4096, decay_v=0, reset=reset, vth=p.vth % 300, refractory=0
            )
            for p in require_lif_populations(network.populations)
        )
    )
    samples = data.draw(samples_for(network))
    view = float_view(network)
    taken = SampleSet({p.name: samples[p.name] for p in view.inputs})
    ours = run_float(view, taken, record=("spikes",))
    exact = run_native(network, samples, record=("spikes",))
    assert ours.trace is not None
    assert exact.trace is not None
    for name, spikes in ours.trace.spikes.items():
        flat = spikes.reshape(*spikes.shape[:2], -1)
        assert np.array_equal(exact.trace.spikes[name].reshape(flat.shape), flat)


WEIGHT = (np.random.default_rng(0).integers(-60, 60, (3, 4)) * 2).astype(np.int16)


def single(readout: ReadoutKind = ReadoutKind.SPIKES, **population: Any) -> DeployedNetwork:
    return DeployedNetwork(
        (Input("x", (4,), Coding.GRADED, -50, 50, 10.0),),
        (Population("n", (3,), scale=37.0, **population),),
        (Dense("x", "n", WEIGHT, exponent=1),),
        (Readout("n", readout),),
        steps=9,
    )


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("bias", [0, 900])
@pytest.mark.parametrize("decay_v", [0, 512, 4096])
@pytest.mark.parametrize("decay_u", [0, 1024, 4096])
def test_membranes_are_the_integers_in_float_units(
    decay_u: int, decay_v: int, bias: int, reset: Reset
) -> None:
    network = single(
        decay_u=decay_u,
        decay_v=decay_v,
        bias=np.full(3, bias),
        bias_exponent=3,
        vth=3000,
        reset=reset,
    )
    x = np.random.default_rng(1).uniform(-1, 1, (9, 6, 4)).round(1)
    exact = run_native(network, np.rint(x * 10).astype(int), record=("spikes", "v"))
    view = float_view(network)
    run = run_float(view, x, record=("spikes", "v"))
    assert run.trace is not None
    assert exact.trace is not None
    assert np.array_equal(run.trace.spikes["n"], exact.trace.spikes["n"])
    assert exact.trace.spikes["n"].any()
    v = exact.trace.v["n"] / (64 * 37.0)
    # each truncation loses less than one unit of 1/64, and they add up over the steps
    np.testing.assert_allclose(run.trace.v["n"], v, atol=9 * 10 / (64 * 37), rtol=1e-5)
    kinds = {type(node).__name__ for node in view.graph.nodes.values()}
    neuron = "IF" if decay_v == 0 else "LIF"
    if decay_u == 1024 and decay_v and not bias:
        neuron = "CubaLIF"
    assert neuron in kinds
    assert ("LI" in kinds) == (decay_u == 1024 and neuron != "CubaLIF")
    assert ("I" in kinds) == (decay_u == 0)


def test_membrane_readouts() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (6, 4)).round(1)
    for decay_v, node in ((0, None), (512, nir.LI)):
        network = single(
            ReadoutKind.MEMBRANE, vth=LOIHI.vth_max, decay_v=decay_v, bias=np.full(3, 64)
        )
        view = float_view(network)
        assert view_notes(network) == ()
        assert all(isinstance(n, node or nir.Affine) for n in view.graph.nodes.values()
                   if not isinstance(n, nir.Input | nir.Output | nir.Affine))  # fmt: skip
        exact = run_native(network, np.rint(x * 10).astype(int)).scores["n"] / (64 * 37.0)
        (scores,) = run_float(view, x).scores.values()
        scale = 1 if node else network.steps
        np.testing.assert_allclose(scores * scale, exact, atol=0.05)
    spiking = single(ReadoutKind.MEMBRANE, vth=100, v_init=5, refractory=3)
    assert view_notes(spiking) == (
        "'n': v starts at 5, in the view at 0",
        "'n': rests 3 steps after a spike, in the view it does not",
        "'n': its membrane is read, the view shows its spikes",
    )


def test_view_of_a_readout_does_not_change_the_reset_of_the_rest() -> None:
    weight = np.full((3, 3), 2, np.int16)
    hidden = Population("h", (3,), vth=5, reset=Reset.SUBTRACT)
    network = single(vth=LOIHI.vth_max)
    network = DeployedNetwork(
        network.inputs,
        (*network.populations, hidden),
        (Dense("x", "h", network.weighted_connections[0].weight), Dense("h", "n", weight)),
        (Readout("n", ReadoutKind.MEMBRANE),),
        4,
    )
    assert float_view(network).semantics.reset is Reset.SUBTRACT
    mixed = network.replace(readouts=(Readout("n"),))
    assert float_view(mixed).semantics.reset is Reset.ZERO
    assert "differ in reset" in view_notes(mixed)[0]


@pytest.mark.parametrize("field", ["weight", "v_threshold"])
def test_a_changed_float_view_makes_the_integers_stale(field: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    network = single(vth=3000, decay_v=512)
    write_nir(network, path)
    with h5py.File(path, "a") as file:
        node = "x_to_n" if field == "weight" else "n"
        data = file[f"node/nodes/{node}/{field}"]
        data[...] = data[()] * 1.01
    with pytest.raises(InputError, match=f"'{field}' differs.*integers in its metadata are stale"):
        read_nir(path, isolate=False)
    with h5py.File(path, "a") as file:
        del file["node/metadata"]
    assert isinstance(read_nir(path, dt_s=1e-4, steps=9), FloatNetwork)


def test_changed_integers_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    write_nir(single(vth=3000), path)
    with h5py.File(path, "a") as file:
        file["node/metadata/spikeport_arrays/x_to_n.weight"][0, 0] += 2
    with pytest.raises(InputError, match=r"content hash is .* changed after writing"):
        read_nir(path, isolate=False)
    with h5py.File(path, "a") as file:
        del file["node/metadata/spikeport_arrays"]
    with pytest.raises(InputError, match="metadata 'spikeport' is damaged"):
        read_nir(path, isolate=False)


def test_other_tools_carry_the_integers_along(tmp_path: Path) -> None:
    network = single(vth=3000)
    write_nir(network, tmp_path / "a.nir", dt_s=1e-3)
    nir.write(tmp_path / "b.nir", nir.read(tmp_path / "a.nir"))
    assert read_nir(tmp_path / "b.nir") == network
    with pytest.raises(InputError, match="contains a deployed network"):
        read_nir(tmp_path / "b.nir", steps=3)


def test_matrices_beyond_memory_are_refused() -> None:
    huge = Input("x", (2**31 - 1,))
    network = DeployedNetwork((huge,), (Population("n", (9,), 3),), (), (Readout("n"),), 2)
    with pytest.raises(InputError, match="'n': its float view needs a matrix of 9 x 2147483647"):
        float_view(network)


def test_matrices_of_convolutions_and_pools() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.integers(-5, 6, (4, 7, 8)).astype(float)
    image = torch.from_numpy(x)
    pool = SumPool2d((2, 3), (2, 3), (1, 0))
    summed = 6 * torch.nn.functional.avg_pool2d(image[None], (2, 3), (2, 3), (1, 0))
    np.testing.assert_allclose(pool.matrix(x.shape) @ x.ravel(), summed.ravel().numpy())
    weight = (rng.integers(-20, 20, (6, 2, 3, 2)) * 2).astype(np.int16)
    for pooled, source in ((None, image[None]), (pool, summed)):
        part = Conv2d("a", "b", weight, (2, 1), (2, 1), (1, 2), 2, pool=pooled)
        expected = torch.nn.functional.conv2d(
            source, torch.from_numpy(weight).double(), None, (2, 1), (2, 1), (1, 2), 2
        )
        matrix = dense_form(part, x.shape)
        np.testing.assert_allclose(matrix @ x.ravel(), expected.ravel().numpy(), atol=1e-9)
    line = Conv1d("a", "b", weight[..., 0], 2, 1, 2, 2)
    expected = torch.nn.functional.conv1d(
        image[None, :, 0], torch.from_numpy(weight[..., 0]).double(), None, 2, 1, 2, 2
    )
    matrix = dense_form(line, (4, 8))
    np.testing.assert_allclose(matrix @ x[:, 0].ravel(), expected.ravel().numpy(), atol=1e-9)
