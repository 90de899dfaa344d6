"""Maps onto cores against an independent recount, at limits and beyond them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.networks import dense_chain
from spikeport import map_network
from spikeport.errors import CheckFailedError, InputError
from spikeport.hardware import TargetFile, read_target
from spikeport.mapping import Resource, core_limits, find_misfits
from spikeport.mapping.bounds import lower_bounds
from spikeport.mapping.encodings import encoding_of
from spikeport.mapping.packing import pack
from spikeport.mapping.placement import Places, improved, least_hops, starts
from spikeport.mapping.plan import plan
from spikeport.mapping.splitting import split
from spikeport.mapping.tiling import Tiling
from spikeport.network import (
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Sparse,
    SumPool2d,
    afferents,
    depths,
    waits,
)
from spikeport.plugins import PluginKind, plugins
from spikeport.simulators import assumed_counts, run_reference
from tests.helpers.chips import STORAGE, chip, chips
from tests.helpers.map_checker import errors, neurons_of
from tests.helpers.strategies import networks, samples_for


def even(rng: np.random.Generator, *shape: int) -> NDArray[np.int16]:
    """Random weights of both signs."""
    return (2 * rng.integers(-9, 9, shape)).astype(np.int16)


def sparse_network(seed: int) -> DeployedNetwork:
    """A sparse connection between populations of several axes, and a convolution after it."""
    rng = np.random.default_rng(seed)
    matrix = 2 * rng.integers(-60, 60, (24, 30)) * (rng.random((24, 30)) < 0.2)
    matrix[3, 7] = 2
    kernel = even(rng, 4, 1, 3, 2)
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
    wrong, _ = find_misfits(network, core_limits(target))
    if wrong:
        told = f"^network cannot be mapped to made-up: {re.escape('; '.join(map(str, wrong)))}$"
        with pytest.raises(CheckFailedError, match=told):
            map_network(network, target, share_cores=share_cores)
        return
    made = map_network(network, target, share_cores=share_cores)
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


@st.composite
def cut(draw: st.DrawFn, shape: tuple[int, ...]) -> Tiling:
    """A tiling with cuts anywhere."""
    places = [draw(st.sets(st.integers(1, size - 1), max_size=3)) if size > 1 else set()
              for size in shape]  # fmt: skip
    edges = [(0, *sorted(cuts), size) for cuts, size in zip(places, shape, strict=True)]
    return Tiling(shape, tuple(edges))


@settings(max_examples=150)
@given(st.data(), networks() | st.integers(0, 2**32 - 1).map(sparse_network), chips())
def test_bounds_hold_for_pieces_that_are_cut_anywhere(
    data: st.DataObject, network: DeployedNetwork, target: TargetFile
) -> None:
    made = plan(network, core_limits(target))
    tilings = {
        name: Tiling.whole(shape) if name not in network.by_name else data.draw(cut(shape))
        for name, shape in made.shapes.items()
    }
    demands = []
    for name in network.order:
        tiling = tilings[name]
        found = made.demands(name, tiling, tilings)
        demands.append(found)
        sizes = tuple(
            np.array([end - first for first, end in side])
            for side in zip(*tiling.boxes, strict=True)
        )
        for part in network.weighted_into(name):
            least = made.encodings[part.name].fewest_bits(sizes)
            assert (least <= made.encodings[part.name].stored(tiling)[1]).all()
    together = np.concatenate(demands)
    spatial = [made.positions(name, tilings[name]) for name in network.order]
    bases = made.limits.storage.bases
    if (together > made.capacity).any() or (bases is not None and max(spatial) > bases):
        return
    for share_cores in (True, False):
        bounds = lower_bounds(made, share_cores=share_cores)
        cores = pack(together, [{}] * len(together), made.capacity, {})
        assert max(bounds.values()) <= (len(cores) if share_cores else len(together))


@settings(max_examples=60)
@given(networks() | st.integers(0, 2**32 - 1).map(sparse_network), chips())
def test_connections_that_share_an_encoding_count_as_if_each_had_its_own(
    network: DeployedNetwork, target: TargetFile
) -> None:
    made = plan(network, core_limits(target))
    depth, _ = depths(network, lambda part: 1)
    wait = waits(network, depth, lambda part: 1)
    own = {
        part.name: encoding_of(
            part,
            network.sources[part.source].shape,
            network.by_name[part.target].shape,
            wait[part.name],
            made.limits.storage,
            lines=network.lines(part.source),
            positional=made.encodings[part.name].positional,
        )
        for part in network.weighted_connections
    }
    apart = dataclasses.replace(made, encodings=own)
    tilings, wrong = split(made)
    assert (tilings, wrong) == split(apart)
    for name in network.order:
        for tiling in (tilings[name], Tiling.finest(made.shapes[name])):
            demands = [one.demands(name, tiling, tilings) for one in (made, apart)]
            assert (demands[0] == demands[1]).all()
            assert made.packets(name, tiling) == apart.packets(name, tiling)
    assert lower_bounds(made, share_cores=True) == lower_bounds(apart, share_cores=True)


def test_parallel_connections_of_equal_form_share_an_encoding() -> None:
    """Storage depends on the form of a kernel and the bits of a weight, not on its values."""
    rng = np.random.default_rng(0)
    kernels = [even(rng, 4, 2, 3, 3) for _ in range(3)]
    inputs = tuple(Input(name, (2, 6, 6)) for name in "abc")
    network = DeployedNetwork(
        inputs,
        (Population("out", (4, 6, 6), vth=5),),
        tuple(
            Conv2d(part.name, "out", kernel, padding=(1, 1), exponent=shift)
            for part, kernel, shift in zip(inputs, kernels, (0, 1, 0), strict=True)
        ),
        (Readout("out"),),
        2,
    )
    made = plan(network, core_limits(read_target(plugins(PluginKind.TARGET)["loihi1"])))
    assert list(made.into("out").values()) == [3]
    narrow = dataclasses.replace(
        network.weighted_connections[2], stride=(1, 1), dilation=(2, 2), padding=(2, 2)
    )
    other = dataclasses.replace(network, connections=(*network.connections[:2], narrow))
    assert sorted(plan(other, made.limits).into("out").values()) == [1, 2]


def test_the_bound_of_memory_knows_that_groups_have_lists_of_their_own() -> None:
    # 3 + 3 synapses of 6 bits take 2 words of 24 bits; one list of 6, in blocks of 5, would take 3
    kernel = 8 * np.array([-31, 5, 9, 31, 3, 7], np.int16).reshape(6, 1, 1, 1)
    network = DeployedNetwork(
        (Input("x", (2, 1, 1)),),
        (Population("a", (6, 1, 1), vth=9),),
        (Conv2d("x", "a", kernel, groups=2),),
        (Readout("a"),),
        3,
    )
    target = chip(**STORAGE["blocks"], synapse_memory_bits_per_core=48)
    made = map_network(network, target, share_cores=False)
    assert errors(network, made) == []
    assert [core.usage[Resource.MEMORY] for core in made.cores] == [48]
    assert made.lower_bound == 1


@settings(max_examples=40)
@given(networks(), chips(), st.booleans(), st.integers(1, 30), st.data())
def test_more_cores_leave_less_to_the_busiest(
    network: DeployedNetwork,
    target: TargetFile,
    share_cores: bool,
    more: int,
    data: st.DataObject,
) -> None:
    if find_misfits(network, core_limits(target))[0]:
        return
    sizes = {part.name: part.size for part in network.populations}
    given_work = {name: data.draw(st.floats(0.125, 8)) for name in sizes}
    work = data.draw(st.sampled_from([None, given_work]))
    fewest = map_network(network, target, share_cores=share_cores, work=work)
    cores = len(fewest.cores) + more
    made = map_network(network, target, share_cores=share_cores, cores=cores, work=work)
    assert errors(network, made) == []
    assert len(made.cores) <= cores
    assert 1 / cores - 1e-9 <= made.busiest <= fewest.busiest
    if work is not None:
        total = sum(work.values())
        for core in made.cores:
            held = [made.pieces[number] for number in core.pieces]
            own = sum(work[p.population] * p.neurons / sizes[p.population] for p in held)
            assert core.work == pytest.approx(own / total)
    assert sum(core.work for core in made.cores) == pytest.approx(1)


def test_spare_cores_shorten_the_step_down_to_one_neuron_each() -> None:
    network, target = dense_chain(4, 10, 6, steps=3), chip(neurons_per_core=64)
    assert [len(map_network(network, target, cores=n).cores) for n in (1, 4, 99)] == [1, 4, 11]
    # a neuron of layer01 has a visit and ten synapses, of 10 (1 + 4) + 6 (1 + 10) events in all
    assert map_network(network, target, cores=99).busiest == pytest.approx(11 / 116)
    made = map_network(network, target, cores=99, work={"layer00": 30, "layer01": 10})
    assert made.busiest == pytest.approx(30 / 40 / 10)
    assert made.imbalance == pytest.approx(16 * 3 / 40 - 1)


def test_pieces_are_of_equal_size_where_columns_allow_it() -> None:
    """15 rows of 49 columns; a part has 32 columns or fewer, so rows are cut in five."""
    kernel = even(np.random.default_rng(0), 36, 1, 1, 1)
    network = DeployedNetwork(
        (Input("x", (1, 15, 49)),),
        (Population("a", (36, 15, 49), vth=9),),
        (Conv2d("x", "a", kernel),),
        (Readout("a"),),
        1,
    )
    made = map_network(network, "loihi2")
    assert Counter(piece.neurons for piece in made.pieces) == {36 * 3 * 32: 5, 36 * 3 * 17: 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cores": 1}, "cores is 1, must be at least the 3 that the network takes"),
        ({"work": {"layer00": 1}}, "population 'layer01' has no work"),
        (
            {"work": {"layer00": 1, "layer01": 1, "other": 1}},
            "population 'other' has work but is not in the network",
        ),
        (
            {"work": {"layer00": 1, "layer01": -1}},
            "work of population 'layer01' is -1, must be finite and not negative",
        ),
        (
            {"work": {"layer00": 1, "layer01": math.inf}},
            "work of population 'layer01' is inf, must be finite and not negative",
        ),
        (
            {"work": {"layer00": 0, "layer01": 0}},
            "work is 0 for all populations, must be positive for one",
        ),
    ],
)
def test_a_budget_or_work_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        map_network(dense_chain(4, 10, 6, steps=3), chip(), **options)
    assert str(caught.value) == f"map: {message}"


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


@settings(max_examples=60)
@given(st.data(), networks(max_steps=3), chips())
def test_packets_and_hops_of_a_run(
    data: st.DataObject, network: DeployedNetwork, target: TargetFile
) -> None:
    """Every spike counted by itself, against the map's own counts."""
    if find_misfits(network, core_limits(target))[0]:
        return
    made = map_network(network, target)
    run = run_reference(network, data.draw(samples_for(network)))
    place = {number: core for core in made.cores for number in core.pieces}
    wide = made.limits.mesh.tiles_per_row
    expected = Counter[str]()
    for part in network.weighted_connections:
        source, target_shape = network.sources[part.source], network.by_name[part.target].shape
        home = {
            neuron: place[number]
            for number, piece in enumerate(made.pieces)
            if piece.population == part.source
            for neuron in neurons_of(piece, source.shape)
        }
        for number, piece in enumerate(made.pieces):
            if piece.population != part.target or part.source not in run.spike_counts:
                continue
            to = place[number]
            reached = {
                neuron
                for one in neurons_of(piece, target_shape)
                for neuron, _ in afferents(part, source.shape, one)
            }
            for neuron in reached:
                spikes = int(run.spike_counts[part.source].ravel()[neuron])
                start = home[neuron]
                east = abs(start.column + wide * start.chip - to.column - wide * to.chip)
                north = abs(start.row - to.row)
                expected["packets"] += spikes
                expected["hops_east_west"] += spikes * east
                expected["hops_north_south"] += spikes * north
                expected["within_core"] += spikes * (start is to)
                expected["between_tiles"] += spikes * (east + north > 0)
                expected["between_chips"] += spikes * (start.chip != to.chip)
    found = made.traffic(run)
    for name in ("packets", "hops_east_west", "hops_north_south", "within_core",
                 "between_tiles", "between_chips"):  # fmt: skip
        assert round(getattr(found, name), 6) == expected[name], name
    assert found.least_hops is not None
    assert found.least_hops <= found.hops + 1e-6
    assert found.packets == pytest.approx(
        found.within_core + found.within_tile + found.between_tiles
    )


def test_event_counts_are_spread_evenly() -> None:
    network = dense_chain(4, 10, 6, steps=3)
    made = map_network(network, chip(neurons_per_core=5, cores_per_tile=1, tiles_per_row=4))
    counts = assumed_counts(network, 0.5)
    found = made.traffic(counts)
    assert found.packets == 2 * counts.spikes["layer00"]
    assert found.input_packets == 2 * counts.input_events["input"]
    assert found.basis == f"{counts.samples} samples of 3 steps"


def test_activity_of_another_network_is_refused() -> None:
    network = dense_chain(4, 10, 6, steps=3)
    made = map_network(network, "loihi1")
    other = dense_chain(4, 10, 5, steps=3)
    run = run_reference(other, {"input": np.zeros((1, 4), np.int64)})
    with pytest.raises(InputError, match=r"^map: the run is of network .*, must be of"):
        made.traffic(run)
    counts = assumed_counts(other, 0.5)
    lacking = dataclasses.replace(counts, spikes={"layer00": 1})
    with pytest.raises(InputError, match=r"^map: the activity has no count for 'layer01'$"):
        made.traffic(lacking)


@given(st.integers(2, 24), st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4))
def test_exchanges_of_cores_save_hops(count: int, seed: int, per_tile: int, across: int) -> None:
    limits = core_limits(chip(cores=12, cores_per_tile=per_tile, tiles_per_row=across))
    messages = np.random.default_rng(seed).random((count, count))

    def hops(places: Places) -> float:
        apart = np.abs(places.column[:, None] - places.column)
        apart += np.abs(places.row[:, None] - places.row)
        return float((messages * apart).sum())

    for start in starts(limits, count):
        better = improved(messages, start)
        assert least_hops(messages, per_tile) <= hops(better) + 1e-9
        assert sorted(better.core) == list(range(count))
        assert hops(better) <= hops(start) + 1e-9
        for one in range(count):
            for other in range(one):
                swapped = np.arange(count)
                swapped[[one, other]] = other, one
                assert hops(better.of(swapped)) >= hops(better) * (1 - 1e-3)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"cores": None, "neurons_per_core": None},
            "no core limits: its target.toml has no 'cores' and no 'neurons_per_core' in [limits]",
        ),
        (
            {"neurons_per_core": None},
            "no core limits: its target.toml has no 'neurons_per_core' in [limits]",
        ),
        ({"neurons_per_core": 0}, "limit 'neurons_per_core' is 0, must be at least 1"),
        ({"synapses_per_block": 0}, "limit 'synapses_per_block' is 0, must be at least 1"),
        ({"synapse_word_bits": 0}, "limit 'synapse_word_bits' is 0, must be at least 1"),
        ({"index_bits": -1}, "limit 'index_bits' is -1, must be at least 0"),
        ({"synapse_header_bits": 2**62}, f"limit 'synapse_header_bits' is {2**62}, must be at "
         "most 1048576"),
        ({"cores": 2**63}, f"limit 'cores' is {2**63}, must be at most 1099511627776"),
    ],
)  # fmt: skip
def test_a_target_without_core_limits(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        map_network(dense_chain(4, 10, steps=3), chip(**limits))
    assert str(caught.value) == f"target 'made-up' cannot be mapped: {message}"


STORAGE_LIMITS = ("synapse_word_bits", "synapse_header_bits", "index_bits")
COUNTS = (
    *("cores", "neurons_per_core", "cores_per_tile", "tiles_per_row", "pieces_per_core"),
    *("input_axons_per_core", "output_axons_per_core", "synapse_memory_bits_per_core"),
    *("synapses_per_block", "axon_bases_per_core", "output_axons_per_position"),
)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("storage", ["loihi1", "loihi2"])
@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, 2**20) for name in STORAGE_LIMITS), *((name, 2**40) for name in COUNTS)],
)
def test_the_largest_limit_can_be_counted_with(name: str, value: int, storage: str) -> None:
    network = sparse_network(1)
    made = map_network(network, chip(**{**STORAGE[storage], name: value}))
    assert errors(network, made) == []
    traffic = made.traffic()
    assert traffic.least_hops is not None
    assert traffic.least_hops <= traffic.hops + 1e-9
    assert made.lower_bound <= len(made.cores)


def test_an_unknown_target() -> None:
    with pytest.raises(InputError, match=r"^target 'loihi3' is unknown, must be one of loihi1, lo"):
        map_network(dense_chain(4, 10, steps=3), "loihi3")


LIMITS = [
    ("neurons_per_core", 5, 5),
    ("synapse_memory_bits_per_core", 240, 5),
    ("input_axons_per_core", 6, 5),
    ("output_axons_per_core", 10, 5),
]


@pytest.mark.parametrize(("name", "value", "neurons"), LIMITS)
def test_each_limit_at_its_value_and_one_below(name: str, value: int, neurons: int) -> None:
    """Five neurons of six sources and two targets, 8 bits per synapse: one core, then several."""
    rng = np.random.default_rng(1)
    network = DeployedNetwork(
        (Input("x", (6,)),),
        (Population("a", (neurons,), vth=9), Population("b", (1,), vth=9)),
        (
            Dense("x", "a", rng.choice([-254, 2], (neurons, 6)).astype(np.int16)),
            Dense("a", "b", np.full((1, neurons), 2, np.int16), name="first"),
            Dense("a", "b", np.full((1, neurons), 2, np.int16), name="second"),
        ),
        (Readout("b"),),
        1,
    )
    for limit in (value, value - 1):
        given_limits: dict[str, Any] = {"neurons_per_core": 50, name: limit}
        if name == "input_axons_per_core" and limit < value:
            with pytest.raises(CheckFailedError, match="one neuron needs 6 input axons"):
                map_network(network, chip(**given_limits))
            continue
        if name == "input_axons_per_core":
            given_limits[name] = 10  # b needs 10
        made = map_network(network, chip(**given_limits))
        pieces = [piece for piece in made.pieces if piece.population == "a"]
        assert len(pieces) == (1 if limit == value else 2), name
        assert errors(network, made) == []


@pytest.mark.parametrize("limit", [3, 2])
def test_formats_of_synapses_of_one_population(limit: int) -> None:
    weight = np.full((4, 3), 2, np.int16)
    network = DeployedNetwork(
        (Input("x", (3,)),),
        (Population("a", (4,), vth=9),),
        tuple(Dense("x", "a", weight, exponent=k, name=f"c{k}") for k in range(3)),
        (Readout("a"),),
        1,
    )
    target = chip(synapse_formats_per_core=limit)
    if limit == 3:
        assert errors(network, map_network(network, target)) == []
        return
    with pytest.raises(CheckFailedError) as caught:
        map_network(network, target)
    assert str(caught.value) == (
        "network cannot be mapped to made-up: population 'a': one neuron needs 3 formats of "
        "synapses, a core has 2 (Made up for a test); let connections into it share exponent, bits "
        "and delay, or merge them"
    )


def test_several_misfits_are_told_at_once() -> None:
    network = dense_chain(20, 4, 30, 2, steps=1)
    wrong, need = find_misfits(network, core_limits(chip(input_axons_per_core=10)))
    assert [(one.population, one.value, one.neurons) for one in wrong] == [
        ("layer00", 20, 4),
        ("layer02", 30, 2),
    ]
    assert (need.cores, need.largest) == (6, "layer01")


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 300), st.integers(4, 90), st.integers(0, 2**32 - 1))
def test_sparse_feedback(neurons: int, synapses: int, axons: int, seed: int) -> None:
    """Output axons of a population that projects to itself depend on its own pieces."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((neurons, neurons), np.int64)
    matrix[rng.integers(0, neurons, synapses), rng.integers(0, neurons, synapses)] = 4
    network = DeployedNetwork(
        (Input("x", (2,)),),
        (Population("a", (neurons,), vth=9),),
        (
            Dense("x", "a", even(rng, neurons, 2)),
            Sparse.from_matrix("a", "a", matrix, delay=1),
        ),
        (Readout("a"),),
        1,
    )
    tried(network, chip(output_axons_per_core=axons, neurons_per_core=16), share_cores=True)
