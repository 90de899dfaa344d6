"""Sparse connections: those of a Dense with the same matrix in every number, wherever they run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nir
import numpy as np
import pytest
import scipy.sparse  # type: ignore[import-untyped]
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport import check
from spikeport.backends.lava.backend import run_many
from spikeport.backends.lava.schedule import obstacles
from spikeport.energy import estimate_energy, load_profile, topology_of
from spikeport.energy.profile import parse_profile
from spikeport.errors import InputError
from spikeport.export import read_nir, write_nir_file
from spikeport.export.nir.deployed import float_view
from spikeport.network import (
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    Sparse,
    WeightedConnection,
    afferents,
    dense_form,
    fan_out,
    largest_sum,
    load_network,
    save_network,
)
from spikeport.network.file import FORMAT
from spikeport.runs import Probe, Run
from spikeport.simulators import Stream, run_native, run_reference
from spikeport.simulators.reference_check import check_neurons, sample_probes
from spikeport.storage import write_tensors
from spikeport.trainer import evaluate_deployed
from spikeport.trainer.chip import QATNetwork
from tests.helpers.command import call
from tests.helpers.lava import needs_lava
from tests.helpers.networks import ALL, digits_like
from tests.helpers.strategies import networks, samples_for

RELAXED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def sparse_of(
    part: Dense, matrix: NDArray[Any], stored: NDArray[np.bool_] | None = None
) -> Sparse | Dense:
    """A Sparse in the place of `part`; it stores what is `stored` of the matrix."""
    stored = matrix != 0 if stored is None else stored
    if not stored.any():
        return part
    rows, columns = np.nonzero(stored)
    return Sparse(
        part.source,
        part.target,
        matrix[rows, columns],
        columns.astype(np.int32),
        np.searchsorted(rows, np.arange(len(matrix) + 1)),
        matrix.shape[1],
        part.exponent,
        part.weight_bits,
        part.delay,
        part.name,
    )


def twin(network: DeployedNetwork, zeros: float = 0.0, seed: int = 0) -> DeployedNetwork:
    """The network with every Dense, its pool included, as a Sparse.

    Args:
        zeros: share of weights of zero that are stored.
    """
    rng = np.random.default_rng(seed)
    parts: list[Any] = []
    for part in network.connections:
        if isinstance(part, Dense):
            matrix = dense_form(part, network.sources[part.source].shape)
            stored = (matrix != 0) | (rng.random(matrix.shape) < zeros)
            part = sparse_of(part, matrix, stored)
        parts.append(part)
    return network.replace(connections=tuple(parts))


def assert_same_numbers(actual: Run, expected: Run) -> None:
    """Everything but the stored zeros and the network is the same."""
    assert actual.counts is not None
    assert expected.counts is not None
    stored = expected.counts.synaptic_events_all
    assert dataclasses.replace(actual.counts, synaptic_events_all=stored) == expected.counts
    for name, scores in expected.scores.items():
        np.testing.assert_array_equal(actual.scores[name], scores)
    assert (actual.trace is None) == (expected.trace is None)
    if actual.trace is not None and expected.trace is not None:
        for variable in ALL:
            for name, values in getattr(expected.trace, variable).items():
                np.testing.assert_array_equal(getattr(actual.trace, variable)[name], values)


def one_layer(part: WeightedConnection, **input_: Any) -> DeployedNetwork:
    return DeployedNetwork(
        (Input("x", (4,), **input_),),
        (Population("p", (3,), vth=20, decay_v=200),),
        (part,),
        (Readout("p"),),
        steps=5,
    )


MATRIX = np.array([[0, 8, 0, -6], [0, 0, 0, 0], [12, 0, -256, 0]], np.int16)


def small(**changes: Any) -> Sparse:
    return dataclasses.replace(Sparse.from_matrix("x", "p", MATRIX), **changes)


# Where it runs


@pytest.mark.slow
@RELAXED
@given(data=st.data())
def test_any_network_runs_as_with_dense_connections(data: st.DataObject) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    expected = run_reference(network, samples, record=ALL)
    sparse = twin(network)
    for run in (run_reference, run_native):
        got = run(sparse, samples, record=ALL)
        assert_same_numbers(got, expected)
        assert got.counts is not None
        for part in sparse.weighted_connections:
            if isinstance(part, Sparse):
                events = got.counts.synaptic_events[part.name]
                assert got.counts.synaptic_events_all[part.name] == events


@pytest.mark.slow
@RELAXED
@given(data=st.data(), zeros=st.sampled_from([0.2, 1.0]))
def test_stored_zeros_count_and_change_nothing_else(data: st.DataObject, zeros: float) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    sparse = twin(network, zeros)
    expected = run_reference(sparse, samples, record=ALL)
    got = run_native(sparse, samples, record=ALL)
    assert_same_numbers(got, expected)
    assert got.counts == expected.counts
    assert_same_numbers(expected, run_reference(network, samples, record=ALL))
    if zeros == 1 and all(part.pool is None for part in network.weighted_connections):
        assert expected.counts == run_reference(network, samples).counts


@RELAXED
@given(data=st.data())
def test_training_evaluates_it_alike(data: st.DataObject) -> None:
    sparse = twin(data.draw(networks(max_payloads=(1, 255))), zeros=0.2)
    samples = data.draw(samples_for(sparse))
    got = evaluate_deployed(sparse, samples, record=ALL)
    expected = run_reference(sparse, samples, record=ALL)
    assert_same_numbers(got, expected)
    assert got.counts == expected.counts


@RELAXED
@given(data=st.data(), cut=st.integers(1, 5))
def test_streams_and_probes_are_those_of_any_network(data: st.DataObject, cut: int) -> None:
    sparse = twin(data.draw(networks()), zeros=0.2)
    samples = data.draw(samples_for(sparse.replace(steps=6)))
    whole = run_reference(sparse.replace(steps=6), samples, record=ALL)
    assert whole.trace is not None
    stream = Stream(sparse, whole.samples)
    name = sparse.order[-1]
    probes = (Probe(name, ("u", "v", "spikes"), (0,)),)
    runs = []
    for steps in (slice(0, cut), slice(cut, 6)):
        chunk = {
            part.name: values if values.ndim == 1 + len(part.shape) else values[steps]
            for part in sparse.inputs
            for values in [np.asarray(samples[part.name])]
        }
        runs.append(stream.push(chunk, steps=len(range(6)[steps]), record=probes))
    for variable in ALL:
        parts = [getattr(run.trace, variable)[name].reshape(run.steps, -1) for run in runs]
        expected = getattr(whole.trace, variable)[name].reshape(6, whole.samples, -1)[..., 0]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def lava_networks() -> list[tuple[DeployedNetwork, Any]]:
    """Pools, recurrence, exponents, delays; payloads of both signs; odd weights of one sign."""
    rng = np.random.default_rng(3)
    digits, images = digits_like()
    shaped = (rng.integers(-12, 12, (24, 36)) * 16) * (rng.random((24, 36)) < 0.2)
    inhibitory = -rng.integers(1, 255, (6, 24)) * (rng.random((6, 24)) < 0.3)
    network = DeployedNetwork(
        (Input("x", (3, 4, 3), Coding.GRADED, -900, 700),),
        (
            Population("a", (2, 3, 4), vth=3000, decay_u=500, decay_v=200, reset=Reset.SUBTRACT),
            Population("b", (6,), vth=20, bias=np.full(6, 4000), bias_exponent=6),
        ),
        (
            Sparse.from_matrix("x", "a", shaped, exponent=2, weight_bits=5),
            Sparse.from_matrix("a", "b", inhibitory, exponent=-1),
            Sparse.from_matrix("a", "a", 2 * np.eye(24), delay=2),
        ),
        (Readout("b"),),
        steps=7,
    )
    return [
        (twin(digits.replace(steps=6), zeros=0.1), images[:3]),
        (network, rng.integers(-900, 701, (7, 4, 3, 4, 3))),
    ]


@needs_lava
def test_lava_runs_it_as_its_own_sparse_process() -> None:
    pairs = lava_networks()
    for run, (network, samples) in zip(run_many(pairs, record=ALL), pairs, strict=True):
        expected = run_reference(network, samples, record=ALL)
        assert_same_numbers(run, expected)
        assert run.counts == expected.counts
        assert expected.counts is not None
        assert min(expected.counts.spikes.values()) > 0


@needs_lava
@settings(
    deadline=None,
    max_examples=1,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(st.data())
def test_random_networks_on_lava(data: st.DataObject) -> None:
    cases: list[tuple[DeployedNetwork, dict[str, NDArray[Any]]]] = []
    while len(cases) < 8:
        network = twin(data.draw(networks(adaptive=len(cases) % 2 == 0, max_steps=10)), zeros=0.2)
        sparse = any(isinstance(part, Sparse) for part in network.connections)
        if sparse and not list(obstacles(network)):
            cases.append((network, data.draw(samples_for(network))))
    for (network, samples), run in zip(cases, run_many(cases, record=ALL), strict=True):
        expected = run_reference(network, samples, record=ALL)
        assert_same_numbers(run, expected)
        assert run.counts == expected.counts


@RELAXED
@given(data=st.data())
def test_nir_files_keep_random_networks(data: st.DataObject) -> None:
    sparse = twin(data.draw(networks()), zeros=0.2)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.nir"
        write_nir_file(sparse, path)
        assert read_nir(path, isolate=False) == sparse


def test_lava_and_the_chips_support_it() -> None:
    for found in check(one_layer(small()), ["lava", "loihi1", "loihi2"]):
        assert found.unsupported == (), found.target


def test_a_network_that_no_matrix_of_could_be_held_runs() -> None:
    """100,000 x 100,000 with 10^6 synapses, and as many of the population to itself."""
    size, synapses = 100_000, 10**6
    rng = np.random.default_rng(0)
    place = np.unique(rng.integers(0, size**2, synapses))
    weight = (rng.integers(-60, 61, len(place)) * 2).astype(np.int16)
    columns = (place % size).astype(np.int32)
    rows = np.searchsorted(place, np.arange(size + 1) * size)
    parts = [
        Sparse(source, "p", weight, columns, rows, size, delay=delay)
        for source, delay in (("x", 0), ("p", 1))
    ]
    network = DeployedNetwork(
        (Input("x", (size,)),),
        (Population("p", (size,), vth=90, decay_v=300),),
        tuple(parts),
        (Readout("p"),),
        steps=4,
    )
    samples = (rng.random((4, 1, size)) < 0.05).astype(np.uint8)
    run = run_native(network, samples, record=sample_probes(network, 20))
    assert run.counts is not None
    assert run.counts.spikes["p"] > 10_000
    reached = np.bincount(columns, minlength=size)
    assert run.counts.synaptic_events_all["x_to_p"] == (samples[:, 0] @ reached).sum()
    assert check_neurons(network, samples, run).equal
    with pytest.raises(InputError, match=r"needs a matrix of 100000 x 100000 entries"):
        float_view(network)


# What it is


def test_what_the_kind_says_of_itself_is_what_its_matrix_says() -> None:
    rng = np.random.default_rng(1)
    matrix = ((rng.integers(-50, 50, (6, 12)) * 2) * (rng.random((6, 12)) < 0.3)).astype(np.int16)
    part = Sparse.from_matrix("a", "b", matrix)
    dense = Dense("a", "b", matrix)
    shape = (3, 2, 2)
    np.testing.assert_array_equal(dense_form(part, shape), matrix)
    nonzero, stored = fan_out(part, shape)
    np.testing.assert_array_equal(nonzero, fan_out(dense, shape)[0])
    np.testing.assert_array_equal(stored, nonzero)
    for low, high in ((0, 1), (-1, 1), (-7, 3), (2, 9)):
        assert largest_sum(part, low, high) == largest_sum(dense, low, high)
    for target in range(6):
        wanted = [(n, w) for n, w in afferents(dense, shape, target) if w]
        assert list(afferents(part, shape, target)) == wanted
    assert part.macs(6) == np.count_nonzero(matrix)


def test_it_is_made_of_arrays_and_of_scipys_matrices() -> None:
    made = small()
    assert made.weight.tolist() == [8, -6, 12, -256]
    assert made.indices.tolist() == [1, 3, 0, 2]
    assert made.indptr.tolist() == [0, 2, 2, 4]
    for matrix in (
        scipy.sparse.csr_matrix(MATRIX),
        scipy.sparse.csc_matrix(MATRIX),
        scipy.sparse.coo_array(MATRIX),
        scipy.sparse.lil_matrix(MATRIX),
        MATRIX.tolist(),
        MATRIX.astype(np.float32),
    ):
        assert one_layer(Sparse.from_matrix("x", "p", matrix)) == one_layer(made)


def test_scipys_duplicates_are_summed_and_its_zeros_stored() -> None:
    entries = np.array([0, 100, 60, 100], np.int8), np.array([3, 2, 0, 2]), np.array([0, 1, 4, 4])
    part = Sparse.from_matrix("x", "p", scipy.sparse.csr_matrix(entries, (3, 4)))
    assert part.weight.tolist() == [0, 60, 200]
    assert part.indices.tolist() == [3, 0, 2]
    assert part.indptr.tolist() == [0, 1, 3, 3]
    unsorted = scipy.sparse.csr_matrix(
        (np.array([4, 2]), np.array([3, 1]), np.array([0, 2, 2, 2])), (3, 4)
    )
    assert Sparse.from_matrix("x", "p", unsorted).indices.tolist() == [1, 3]
    assert unsorted.indices.tolist() == [3, 1]  # the matrix given is left as it was


def test_it_cannot_be_changed() -> None:
    part = small()
    for array in (part.weight, part.indices, part.indptr):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


WRONG: dict[str, dict[str, Any]] = {
    "weight has shape (0,), must have 1 non-empty axes": {"weight": []},
    "weight 3 at (2,) is off the 8-bit grid for mixed signs": {"weight": [8, -6, 3, -256]},
    "3 indices for 4 weights": {"indices": [1, 3, 0]},
    "indices has 2 axes, must have 1": {"indices": [[1, 3, 0, 2]]},
    "indices is 1.5 at (0,), must be integers": {"indices": [1.5, 3, 0, 2]},
    "indices span 0..4, must lie in 0..3": {"indices": [1, 4, 0, 2]},
    "indices span -1..3, must lie in 0..3": {"indices": [1, 3, -1, 2]},
    "indices of row 0 must increase, each source neuron only once": {"indices": [3, 1, 0, 2]},
    "indices of row 2 must increase, each source neuron only once": {"indices": [1, 3, 2, 2]},
    "indptr of 4 entries spans 0..3, must be at least 2 and span 0..4": {"indptr": [0, 2, 2, 3]},
    "indptr of 4 entries spans 1..4": {"indptr": [1, 2, 2, 4]},
    "indptr of 0 entries spans nothing": {"indptr": []},
    "indptr falls from 3 to 2 in row 1, must not decrease": {"indptr": [0, 3, 2, 4]},
    "columns is 0, must lie in 1..": {"columns": 0},
    "exponent is 8, must lie in -8..7": {"exponent": 8},
    "delay is 63, must lie in 0..62": {"delay": 63},
    "weight_bits is 9, must lie in 1..8": {"weight_bits": 9},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_csr_matrix_on_the_grid_is_refused(message: str) -> None:
    with pytest.raises(InputError) as error:
        small(**WRONG[message])
    assert f"connection 'x_to_p': {message}" in str(error.value)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((3, 4)), r"weight has shape \(0,\)"),
        (np.zeros(3), r"matrix has shape \(3,\), must have 2 axes"),
        (MATRIX / 16, r"weight is 0.5 at \(0,\), must be integers; 3 of 4 are fractions"),
        ([[1, 2], [3]], "matrix is not an array of numbers"),
    ],
)
def test_what_is_no_matrix_of_mantissas_is_refused(matrix: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sparse.from_matrix("x", "p", matrix)


def test_a_matrix_of_another_shape_than_its_ends_is_refused() -> None:
    with pytest.raises(InputError, match=r"matrix has shape \(4, 3\), must be \(3, 4\)"):
        one_layer(Sparse.from_matrix("x", "p", MATRIX.T))


def test_training_in_chip_arithmetic_refuses_it_by_name() -> None:
    with pytest.raises(InputError, match="'x_to_p': is Sparse, whose weights cannot be trained"):
        QATNetwork(one_layer(small()))


# Files


@RELAXED
@given(network=networks(), zeros=st.sampled_from([0.0, 0.3]))
def test_files_hold_all_of_it(network: DeployedNetwork, zeros: float) -> None:
    sparse = twin(network, zeros)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "n.spikeport"
        save_network(sparse, path)
        assert load_network(path) == sparse


@pytest.mark.parametrize(
    ("arrays", "columns", "message"),
    [
        ({"indices": [1, 3, 0, 4]}, 4, "indices span 0..4, must lie in 0..3"),
        ({"indices": [1, 1, 0, 2]}, 4, "indices of row 0 must increase"),
        ({"indptr": [0, 3, 2, 4]}, 4, "indptr falls from 3 to 2 in row 1"),
        ({"indptr": [0, 2, 4]}, 4, r"matrix has shape \(2, 4\), must be \(3, 4\)"),
        ({"indptr": None}, 4, "'x_to_p': its indptr is missing"),
        ({"weight": [8, -6]}, 4, "4 indices for 2 weights"),
        ({}, 2**31 - 1, r"matrix has shape \(3, 2147483647\), must be \(3, 4\)"),
        ({}, 2**40, "columns is 1099511627776, must lie in 1..2147483647"),
        ({}, "4", "columns is '4', must be an integer"),
    ],
)
def test_a_file_that_holds_no_csr_matrix_is_refused(
    arrays: dict[str, list[int] | None], columns: Any, message: str, tmp_path: Path
) -> None:
    network, path = one_layer(small()), tmp_path / "n.spikeport"
    data, held = network.canonical_form()
    (part,) = data["connections"]
    part["columns"] = columns
    for name, values in arrays.items():
        dtype = held.pop(f"x_to_p.{name}").dtype
        if values is not None:
            held[f"x_to_p.{name}"] = np.array(values, dtype)
    header = {"content_hash": network.content_hash, "provenance": {}, "network": data}
    write_tensors(path, FORMAT, header, held)
    with pytest.raises(InputError, match=message):
        load_network(path)


def test_stored_zeros_are_part_of_the_network() -> None:
    stored = Sparse("x", "p", [8, 0], [1, 3], [0, 2, 2, 2], 4)  # type: ignore[arg-type]
    plain = Sparse("x", "p", [8], [1], [0, 1, 1, 1], 4)  # type: ignore[arg-type]
    assert one_layer(stored) != one_layer(plain)


def test_nir_shows_a_linear_with_zeros_and_gives_the_same_network_back(tmp_path: Path) -> None:
    network = twin(digits_like()[0], zeros=0.1)
    assert sum(isinstance(part, Sparse) for part in network.connections) == 3
    path = tmp_path / "n.nir"
    write_nir_file(network, path)
    got = read_nir(path)
    assert isinstance(got, DeployedNetwork)
    assert got == network
    assert got.content_hash == network.content_hash
    sparse, dense = (
        float_view(one_layer(part)).graph.nodes["x_to_p"]
        for part in (small(exponent=1), Dense("x", "p", MATRIX, exponent=1))
    )
    assert isinstance(sparse, nir.Linear)
    np.testing.assert_array_equal(sparse.weight != 0, MATRIX != 0)
    np.testing.assert_array_equal(sparse.weight, dense.weight)


def test_inspect_shows_how_many_synapses_are_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "n.spikeport"
    save_network(one_layer(small()), path)
    assert call(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "Sparse" in shown
    assert "4 of 3x4" in shown


# Energy


def test_events_are_priced_by_stored_synapses() -> None:
    part = Sparse("x", "p", [8, 0, 4], [1, 3, 0], [0, 2, 2, 3], 4)  # type: ignore[arg-type]
    network = one_layer(part)
    counts = run_native(network, np.ones((2, 4), np.uint8)).counts
    assert counts is not None
    assert (counts.synaptic_events["x_to_p"], counts.synaptic_events_all["x_to_p"]) == (20, 30)
    report = estimate_energy(network, counts, load_profile("loihi1"))
    (term,) = (term for term in report.terms if term.name == "synapses, sparse")
    assert term.energy.low == pytest.approx(30 * 23.6)
    assert term.energy.nominal == pytest.approx(30 * 33.6)
    assert term.energy.high == pytest.approx(30 * 44.375)
    assert topology_of(network).macs == 3
    assert any(
        text.startswith("Synaptic events, sparse: zero weights are charged at low and nominal and")
        for text in report.assumptions
    )


def test_a_profile_without_a_price_for_it_leaves_it_unpriced() -> None:
    """As profiles are that were written before there were sparse connections."""
    path = Path(__file__).parent / "files" / "prices_only.toml"
    profile = parse_profile(path.read_text("utf-8"), "profile 'older'")
    network = one_layer(small())
    counts = run_native(network, np.ones((2, 4), np.uint8)).counts
    assert counts is not None
    assert "synapses, sparse" in estimate_energy(network, counts, profile).unpriced
