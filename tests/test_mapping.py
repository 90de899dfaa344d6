"""Maps onto cores against an independent recount, at limits and beyond them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.networks import dense_chain, resnet18
from spikeport import map_network
from spikeport.errors import InputError
from spikeport.hardware import TargetFile
from spikeport.mapping import Resource
from spikeport.network import (
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Sparse,
    SumPool2d,
    afferents,
)
from spikeport.runs import EventCounts
from spikeport.simulators import run_reference
from tests.helpers.chips import STORAGE, chip, chips
from tests.helpers.map_checker import errors, neurons_of
from tests.helpers.pilotnet import FILE, pilotnet
from tests.helpers.strategies import networks, samples_for

DATA = os.environ.get("SPIKEPORT_DATA")


def sparse_network(seed: int) -> DeployedNetwork:
    """A sparse connection between populations of several axes, and a convolution after it."""
    rng = np.random.default_rng(seed)
    matrix = 2 * rng.integers(-60, 60, (24, 30)) * (rng.random((24, 30)) < 0.2)
    matrix[3, 7] = 2
    kernel = 2 * rng.integers(-9, 9, (4, 1, 3, 2))
    return DeployedNetwork(
        (Input("x", (30,)),),
        (Population("a", (2, 4, 3), vth=9), Population("b", (4, 4, 2), vth=9)),
        (
            Sparse.from_matrix("x", "a", matrix),
            Conv2d("a", "b", kernel, padding=(1, 0), groups=2),
            Sparse.from_matrix("b", "a", np.eye(24, 32, dtype=int), delay=1, name="back"),
        ),
        (Readout("b"),),
        3,
    )


def tried(network: DeployedNetwork, target: TargetFile, *, share_cores: bool) -> None:
    """Map and recount; what cannot be mapped must name a neuron that no core holds."""
    try:
        made = map_network(network, target, share_cores=share_cores)
    except InputError as error:
        assert "cannot be mapped to made-up: population '" in str(error)
        assert "one neuron needs" in str(error)
        return
    assert errors(network, made) == []
    assert made.lower_bound <= len(made.cores)


@settings(max_examples=150)
@given(networks(), chips(), st.booleans())
def test_every_neuron_and_synapse_is_on_one_core_within_its_limits(
    network: DeployedNetwork, target: TargetFile, share_cores: bool
) -> None:
    tried(network, target, share_cores=share_cores)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), chips(), st.booleans())
def test_sparse_and_grouped_connections(seed: int, target: TargetFile, share_cores: bool) -> None:
    tried(sparse_network(seed), target, share_cores=share_cores)


@settings(max_examples=60)
@given(networks(), st.sampled_from(["loihi1", "loihi2"]), st.booleans())
def test_small_networks_fit_one_chip(
    network: DeployedNetwork, target: str, share_cores: bool
) -> None:
    made = map_network(network, target, share_cores=share_cores)
    assert errors(network, made) == []
    assert made.chips == 1


def even(rng: np.random.Generator, *shape: int) -> NDArray[np.int16]:
    """Random weights of both signs."""
    return (2 * rng.integers(-9, 9, shape)).astype(np.int16)


def mapped_dense(neurons: int, pool: SumPool2d | None) -> DeployedNetwork:
    """A dense connection from a feature map of 3 x 4 x 4."""
    rng = np.random.default_rng(neurons)
    seen = 48 if pool is None else 12
    return DeployedNetwork(
        (Input("x", (5,)),),
        (Population("a", (3, 4, 4), vth=9), Population("b", (neurons,), vth=9)),
        (
            Dense("x", "a", even(rng, 48, 5)),
            Dense("a", "b", even(rng, neurons, seen), pool=pool),
        ),
        (Readout("b"),),
        2,
    )


@given(
    st.integers(1, 20),
    st.sampled_from([None, SumPool2d((2, 2), (2, 2)), SumPool2d((1, 2), (2, 2))]),
    st.integers(1, 60),
    st.sampled_from(sorted(STORAGE)),
)
def test_a_dense_connection_with_an_axon_for_each_position(
    neurons: int, pool: SumPool2d | None, axons: int, storage: str
) -> None:
    network = mapped_dense(neurons, pool)
    limits: dict[str, Any] = {"neurons_per_core": 9, **STORAGE[storage]}
    tried(network, chip(input_axons_per_core=axons, **limits), share_cores=False)
    tried(network, chip(input_axons_per_core=axons, output_axons_per_core=40, **limits),
          share_cores=True)  # fmt: skip


def test_an_axon_for_each_position_where_neurons_have_too_many() -> None:
    network = mapped_dense(4, None)
    made = map_network(network, chip(neurons_per_core=64, input_axons_per_core=48))
    b = next(piece for piece in made.pieces if piece.population == "b")
    assert b.demand[Resource.INPUT_AXONS] == 48
    made = map_network(network, chip(neurons_per_core=64, input_axons_per_core=47))
    b = next(piece for piece in made.pieces if piece.population == "b")
    assert b.demand[Resource.INPUT_AXONS] == 16
    assert errors(network, made) == []
