"""The compiled simulator equals the specification in every number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.errors import CheckFailedError, InputError
from spikeport.network import (
    LOIHI,
    ATRLIFPopulation,
    Coding,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    SumPool2d,
    WeightedConnection,
    require_lif_populations,
)
from spikeport.simulators import run_native, run_reference
from spikeport.simulators.components import components
from spikeport.simulators.native import neurons, population, state
from spikeport.simulators.native.carry import carried
from spikeport.simulators.native.plan import cut, plan_of
from spikeport.simulators.native.registers import decayed as compiled_decayed
from spikeport.simulators.native.registers import decayed_short
from tests.helpers.effort import examples
from tests.helpers.networks import ALL, digits_like
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for

EVEN = np.arange(-18, 20, 2, dtype=np.int16)


@pytest.mark.parametrize(
    "part",
    [
        Population("p", (5,), vth=3, decay_v=400, refractory=2),
        ATRLIFPopulation("p", (5,), theta_0=2, theta_step=3, decay_theta=100),
    ],
    ids=lambda part: part.MODEL,
)
def test_the_step_of_each_model_is_chosen_by_the_type_of_its_constants(part: Any) -> None:
    """From Python as in compiled loops, and it makes the step of the specification."""
    model, registers = neurons.compiled_model(part), part.registers(LOIHI)
    state = model.state(
        *(np.full((1, 5 if r.kept else 0), r.initial, r.variable.dtype) for r in registers)
    )
    received, fired = np.array([0, 1, 2, 40, -7], np.int32), np.zeros(5, np.uint8)
    dynamics, variant = model.dynamics(part), model.variant(part, False)
    rest = (variant, False, 0, 0, 5, received, received, fired)
    touched = neurons.neuron_loop(state, dynamics, *rest)
    start = tuple(register.initial for register in registers)
    assert touched == sum(part.may_move(start, int(a), 0, LOIHI) for a in received)
    for i, a in enumerate(received):
        after, spike = part.step(start, int(a), 0, LOIHI)
        assert (tuple(int(values[0, i]) for values in state), bool(fired[i])) == (after, spike)
    assert fired.any()
    assert not fired.all()


@pytest.mark.slow
@settings(
    deadline=None,
    max_examples=600,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    data=st.data(),
    threads=st.sampled_from([1, 2]),
    memory=st.sampled_from([1, 500, 2**20]),
    record=st.sampled_from([ALL, ("spikes",), ()]),
)
def test_random_networks_run_as_specified(
    data: st.DataObject, threads: int, memory: int, record: tuple[str, ...]
) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    expected = run_reference(network, samples, record=record)
    actual = run_native(network, samples, record=record, threads=threads, memory_bytes=memory)
    assert_equal_runs(actual, expected)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), piece=st.sampled_from([1, 9, 40]))
def test_states_recorded_a_few_steps_at_a_time_are_the_specified_ones(
    data: st.DataObject, piece: int
) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    record = data.draw(st.sampled_from([("u",), ("v",), ALL]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "PIECE", piece)
        actual = run_native(network, samples, record=record)
    assert_equal_runs(actual, run_reference(network, samples, record=record))


def test_random_networks_hold_every_construct() -> None:
    found: Counter[str] = Counter()

    @settings(
        max_examples=100,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def collect(network: DeployedNetwork) -> None:
        found.update({type(part).__name__ for part in network.connections})
        found.update({f"{len(part.shape)} axes" for part in network.populations})
        found.update({part.reset for part in require_lif_populations(network.populations)})
        found.update({part.coding for part in network.inputs})
        found["pool"] += any(part.pool is not None for part in network.weighted_connections)
        found["delay"] += any(part.delay > 0 for part in network.weighted_connections)
        found["groups"] += any(
            getattr(part, "groups", 1) > 1 for part in network.weighted_connections
        )
        found["refractory"] += any(
            r.variable.name == "rest" and r.kept
            for p in network.populations
            for r in p.registers(LOIHI)
        )
        found["v_init"] += any(part.v_init != 0 for part in network.populations)
        found["recurrence"] += any(recurrent for _, recurrent in components(network))

    collect()
    wanted = ["Dense", "Conv1d", "Conv2d", "BiasInjection", *Reset, *Coding]
    wanted += ["1 axes", "2 axes", "3 axes", "pool", "delay", "groups", "refractory", "v_init"]
    assert min(found[name] for name in [*wanted, "recurrence"]) >= 5, found


def one_layer(
    connection: WeightedConnection, source: Input, shape: tuple[int, ...], steps: int = 3
) -> DeployedNetwork:
    """`connection` from input "x" to population "p" with lossy decays."""
    return DeployedNetwork(
        (source,),
        (Population("p", shape, vth=9000, decay_u=700, decay_v=41, reset=Reset.SUBTRACT),),
        (connection,),
        (Readout("p"),),
        steps,
    )


@pytest.mark.parametrize("activity", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("sign", [-1, 0, 1])
@pytest.mark.parametrize("high", [1, 255])
def test_many_extreme_weights_sum_exactly(sign: int, activity: float, high: int) -> None:
    """More rows than 16 bits can sum, and graded values that matrix products can take."""
    rng = np.random.default_rng(3)
    weight = rng.choice([-256, 254] if sign == 0 else [0, 255 * sign], (5, 700))
    coding = Coding.SPIKES if high == 1 else Coding.GRADED
    network = one_layer(Dense("x", "p", weight), Input("x", (700,), coding, 0, high), (5,))
    for shape in ((2, 700), (3, 2, 700)):
        samples = rng.integers(1, high, shape, endpoint=True) * (rng.random(shape) < activity)
        assert_equal_runs(
            run_native(network, samples, record=ALL), run_reference(network, samples, record=ALL)
        )


def test_sums_of_messages_of_both_signs_wrap_as_specified() -> None:
    """Weights of both signs add up where the messages have both signs, though none exceeds 1."""
    weight = np.resize(np.array([254, -256], np.int16), (1, 600))
    net = DeployedNetwork(
        (Input("x", (600,), Coding.GRADED, -1, 1),),
        (Population("p", (1,), vth=9),),
        (Dense("x", "p", weight),),
        (Readout("p"),),
        steps=2,
    )
    samples = {"x": np.resize(np.array([1, -1]), (1, 600))}
    expected = run_reference(net, samples, record=ALL)
    assert expected.trace is not None
    assert int(expected.trace.u["p"][0, 0, 0]) < 0  # the sum of 153,000 weight units has wrapped u
    assert_equal_runs(run_native(net, samples, record=ALL), expected)


def test_a_layer_wider_than_a_band_of_rows_runs_as_specified() -> None:
    rng = np.random.default_rng(4)
    weight = rng.integers(-128, 128, (4100, 3), np.int16) * np.int16(2)
    network = one_layer(Dense("x", "p", weight), Input("x", (3,)), (4100,))
    samples = rng.integers(0, 2, (3, 2, 3))
    assert_equal_runs(
        run_native(network, samples, record=ALL), run_reference(network, samples, record=ALL)
    )


@pytest.mark.parametrize("high", [1, 7])
@pytest.mark.parametrize(("channels", "groups"), [(20, 20), (40, 20), (20, 4), (24, 1)])
def test_convolutions_along_one_axis_run_as_specified(
    channels: int, groups: int, high: int
) -> None:
    rng = np.random.default_rng(7)
    weight = rng.integers(-128, 128, (channels, 20 // groups, 3), np.int16) * np.int16(2)
    connection = Conv1d("x", "p", weight, padding=2, dilation=2, groups=groups)
    coding = Coding.SPIKES if high == 1 else Coding.GRADED
    network = one_layer(connection, Input("x", (20, 9), coding, 0, high), (channels, 9))
    samples = rng.integers(0, high, (3, 2, 20, 9), endpoint=True) * rng.integers(0, 2, (20, 9))
    assert_equal_runs(
        run_native(network, samples, record=ALL), run_reference(network, samples, record=ALL)
    )


@pytest.mark.parametrize("delays", [(0, 0), (3, 0), (0, 3, 1)])
def test_currents_of_several_static_inputs_are_summed_in_pieces(delays: tuple[int, ...]) -> None:
    """More currents than are kept at once: 40 steps of 5 samples of 1000 neurons."""
    rng = np.random.default_rng(8)
    names = [f"x{i}" for i in range(len(delays))]
    network = DeployedNetwork(
        tuple(Input(name, (2,), Coding.GRADED, -9, 9) for name in names),
        (Population("p", (1000,), vth=300, decay_u=700, decay_v=41),),
        tuple(
            Dense(name, "p", rng.choice(EVEN, (1000, 2)), delay=delay)
            for name, delay in zip(names, delays, strict=True)
        ),
        (Readout("p"),),
        steps=40,
    )
    samples = {name: rng.integers(-9, 10, (5, 2)) for name in names}
    assert_equal_runs(run_native(network, samples, threads=1), run_reference(network, samples))


@pytest.mark.parametrize("pool", [None, SumPool2d((2, 2), (2, 2))])
@pytest.mark.parametrize(("channels", "groups"), [(20, 20), (40, 20), (20, 4)])
@pytest.mark.parametrize("high", [1, 7])
def test_grouped_convolutions_run_as_specified(
    channels: int, groups: int, high: int, pool: SumPool2d | None
) -> None:
    rng = np.random.default_rng(6)
    weight = rng.integers(-128, 128, (channels, 20 // groups, 3, 3), np.int16) * np.int16(2)
    connection = Conv2d("x", "p", weight, padding=(1, 1), groups=groups, pool=pool)
    coding = Coding.SPIKES if high == 1 else Coding.GRADED
    size = 4 if pool is None else 2
    network = one_layer(connection, Input("x", (20, 4, 4), coding, 0, high), (channels, size, size))
    shape = (3, 2, 20, 4, 4)
    samples = rng.integers(0, high, shape, endpoint=True) * rng.integers(0, 2, shape)
    assert_equal_runs(
        run_native(network, samples, record=ALL), run_reference(network, samples, record=ALL)
    )


@given(
    state=st.integers(-(2**31), 2**31 - 1),
    decay=st.integers(0, 4096),
)
@settings(deadline=None, max_examples=1000)
def test_decay_in_32_bits_is_the_specified_one(state: int, decay: int) -> None:
    assert compiled_decayed(np.int32(state), np.int32(4096 - decay)) == LOIHI.decayed(state, decay)


@given(
    state=st.integers(-(2**23) + 1, 2**23 - 1),
    sixteenths=st.integers(0, 256),
)
@settings(deadline=None, max_examples=1000)
def test_short_decay_of_24_bits_is_the_specified_one(state: int, sixteenths: int) -> None:
    keep = np.int32(16 * sixteenths)
    assert decayed_short(np.int32(state), keep) == LOIHI.decayed(state, 4096 - 16 * sixteenths)


def test_components_are_cycles_in_an_order_that_serves_every_delay() -> None:
    one = np.array([[2]])
    names = ("after", "before", "first", "second")
    network = DeployedNetwork(
        (Input("x", (1,)),),
        tuple(Population(name, (1,), vth=1) for name in names),
        (
            Dense("x", "first", one),
            Dense("before", "after", one, delay=3),
            Dense("first", "second", one),
            Dense("second", "first", one, delay=1),
            Dense("second", "before", one, delay=2),
        ),
        (Readout("after"),),
        steps=5,
    )
    assert components(network) == [
        (("first", "second"), True),
        (("before",), False),
        (("after",), False),
    ]


def test_samples_and_steps_are_cut_to_fit() -> None:
    network, _ = digits_like()
    none: frozenset[str] = frozenset()
    for memory in (1, 5000, 20_000, 10**6):
        samples, steps = cut(
            plan_of(network), 12, none, memory_bytes=memory, share=40, replay=False
        )
        per_step = 64 * 4 + 512 + 24 + 16
        used = samples * (8 * 542 + 24 + steps * per_step)
        assert used <= memory or (samples, steps) == (1, 1)
        assert steps == 12 or samples == 1
        assert (-(-40 // samples)) * samples - 40 < -(-40 // samples)
    whole = cut(plan_of(network), 12, none, memory_bytes=10**9, share=40, replay=False)
    assert whole == (40, 12)


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("refractory", [1, 5, 63])
def test_refractory_neurons_run_as_specified(refractory: int, reset: Reset) -> None:
    """Many refractory periods that end, in one block and step by step; their target has none."""
    rng = np.random.default_rng(8)

    def even(*shape: int) -> NDArray[np.int16]:
        return rng.integers(-9, 30, shape, np.int16) * np.int16(2)

    network = DeployedNetwork(
        (Input("x", (20,)),),
        (
            Population("a", (21,), vth=60, decay_u=900, decay_v=700, reset=reset,
                       refractory=refractory),
            Population("b", (5,), vth=60, reset=reset),
        ),
        (
            Dense("x", "a", even(21, 20)),
            Dense("a", "b", even(5, 21)),
            Dense("b", "b", even(5, 5), delay=1, name="loop"),
        ),
        (Readout("b"),),
        steps=150,
    )  # fmt: skip
    samples = (rng.random((150, 2, 20)) < 0.1).astype(np.int8)
    expected = run_reference(network, samples, record=ALL)
    assert expected.trace is not None
    spikes = expected.trace.spikes["a"]
    windows = np.lib.stride_tricks.sliding_window_view(spikes, refractory + 1, axis=0)
    assert windows.sum(axis=-1).max() == 1
    assert spikes.sum(axis=0).min() > 150 / (refractory + 1) / 2
    for memory in (1, 2**20):
        assert_equal_runs(run_native(network, samples, record=ALL, memory_bytes=memory), expected)
        assert run_native(network, samples, memory_bytes=memory).counts == expected.counts


@pytest.mark.parametrize("exponent", [-8, -1, 0, 1, 7])
@pytest.mark.parametrize("kernel", [(), (1,), (1, 1)])
def test_overload_wraps_and_saturates_as_specified(kernel: tuple[int, ...], exponent: int) -> None:
    payloads = np.array([-(2**23), -(2**15) - 1, 2**15, 2**16 + 1, 2**22, 2**23 - 1])
    weight = np.array([[254, -256]], np.int16)
    made: Any = (Dense, Conv1d, Conv2d)[len(kernel)]
    connection = made("x", "p", weight.reshape(1, 2, *kernel), exponent=exponent)
    network = DeployedNetwork(
        inputs=(Input("x", (2, *kernel), Coding.GRADED, -(2**23), 2**23 - 1),),
        populations=(Population("p", (1, *kernel), vth=131071, decay_u=100, decay_v=1),),
        connections=(connection,),
        readouts=(Readout("p"),),
        steps=4,
    )
    samples = np.stack(np.meshgrid(payloads, payloads), axis=-1).reshape(-1, 2, *kernel)
    assert_equal_runs(
        run_native(network, samples, record=ALL), run_reference(network, samples, record=ALL)
    )


def test_neither_threads_nor_chunks_change_a_result() -> None:
    network, samples = digits_like()
    whole = run_native(network, samples, record=ALL, threads=1)
    assert whole.counts is not None
    assert min(whole.counts.spikes.values()) > 0
    assert_equal_runs(run_native(network, samples, record=ALL, threads=2), whole)
    done: list[tuple[int, int]] = []
    alone = run_native(
        network,
        samples,
        record=ALL,
        memory_bytes=1,
        progress=lambda part, total: done.append((part, total)),
    )
    assert_equal_runs(alone, whole)
    assert done == [(sample + 1, 40) for sample in range(40)]


def test_threads_below_one_are_an_error() -> None:
    network, samples = digits_like()
    with pytest.raises(InputError, match="threads is 0, must be at least 1"):
        run_native(network, samples, threads=0)


def test_read_only_samples_are_fine() -> None:
    network, samples = digits_like()
    samples.setflags(write=False)
    assert run_native(network, samples).samples == 40


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_replay_of_its_own_record_gives_the_same_run(data: st.DataObject) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    plain = run_native(network, samples, record=ALL, threads=1)
    assert plain.trace is not None
    replayed = run_native(network, samples, record=ALL, recorded=plain.trace.spikes, threads=1)
    assert_equal_runs(replayed, plain)


def test_replay_records_only_what_is_asked_for() -> None:
    network, samples = digits_like()
    plain = run_native(network, samples, record=("spikes",))
    assert plain.trace is not None
    assert run_native(network, samples, recorded=plain.trace.spikes).trace is None
    voltage = run_native(network, samples, record=("v",), recorded=plain.trace.spikes).trace
    assert voltage is not None
    assert (set(voltage.spikes), set(voltage.v)) == (set(), set(network.by_name))


def test_replay_names_the_flipped_spike() -> None:
    network, samples = digits_like()
    trace = run_native(network, samples, record=("spikes",)).trace
    assert trace is not None
    recorded = {name: spikes.copy() for name, spikes in trace.spikes.items()}
    # The last step, so that no later spike depends on it; of a population that feeds others.
    recorded["conv"][11, 7, 3, 2, 5] ^= 1
    was = int(trace.spikes["conv"][11, 7, 3, 2, 5])
    with pytest.raises(
        CheckFailedError,
        match=rf"population 'conv': recorded spikes differ from computed ones in 1 of 245760 "
        rf"places, first at logical step 11 \(from 0\) of sample 7, neuron \(3, 2, 5\): "
        rf"recorded {1 - was}, computed {was}",
    ):
        run_native(network, samples, recorded=recorded, memory_bytes=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r | {"ghost": r["out"]}, "'ghost' is not a population of the network"),
        (lambda r: {"out": r["out"], "conv": r["conv"]}, "population 'hidden' is missing"),
        (lambda r: r | {"out": r["out"][1:]}, r"'out' has shape \(11, 40, 10\), must be \(12, 40"),
        (lambda r: r | {"out": r["out"] + 1}, "'out' has values other than 0 and 1"),
    ],
)
def test_a_record_that_does_not_fit_is_an_error(
    change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    network, samples = digits_like()
    trace = run_native(network, samples, record=("spikes",)).trace
    assert trace is not None
    with pytest.raises(InputError, match=message):
        run_native(network, samples, recorded=change(dict(trace.spikes)))


@settings(max_examples=25)
@given(networks(), st.integers(1, 3))
def test_no_state_variable_begins_in_another(network: DeployedNetwork, samples: int) -> None:
    """Not even an empty one: loops would find that they overlap, and compute without vectors."""
    held = carried(plan_of(network), samples)
    arrays = [values for variables in held.neurons.values() for values in variables]
    firsts = [values.ctypes.data for values in arrays]
    for values, first in zip(arrays, firsts, strict=True):
        within = [other for other in firsts if first <= other < first + values.nbytes]
        assert within in ([first], [])
        assert values.size == 0 or first % 64 == 0


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_chunks_of_a_run_share_large_states_and_leave_none(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(state, "_IDLE_BYTES", 0)
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    expected = run_reference(network, samples, record=ALL)
    run = run_native(network, samples, record=ALL, threads=1, memory_bytes=1)
    assert_equal_runs(run, expected)
    assert plan_of(network).idle == []
