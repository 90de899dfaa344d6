"""The scalar specification against numbers worked out by hand."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError, UnsupportedError
from spikeport.network import (
    LOIHI,
    BiasInjection,
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
    int32,
)
from spikeport.network.neurons.lif import neuron_step
from spikeport.simulators import reference, run_reference
from spikeport.simulators.reference import connection_current
from tests.helpers.networks import digits_like, listed_synapses

M = 2**23
MEMORYLESS = Population("p", (1,), vth=131071)
"""u = a << 6 of this step only, v integrates it; never fires below its top."""


def one_neuron(steps: int, weight: int = 2, delay: int = 0, **dynamics: Any) -> DeployedNetwork:
    return DeployedNetwork(
        inputs=(Input("x", (1,)),),
        populations=(Population("p", (1,), **dynamics),),
        connections=(Dense("x", "p", np.array([[weight]]), delay=delay),),
        readouts=(Readout("p"),),
        steps=steps,
    )


def traced(network: DeployedNetwork, samples: Any, name: str, population: str = "p") -> list[int]:
    """The recorded values of the first sample's first neuron, one per step."""
    trace = run_reference(network, samples, record=("spikes", "u", "v")).trace
    assert trace is not None
    values: list[int] = getattr(trace, name)[population][:, 0].reshape(network.steps, -1)[:, 0]
    return [int(value) for value in values]


def test_a_bias_acts_from_the_first_step_and_every_sample_starts_anew() -> None:
    network = one_neuron(3, vth=131071, bias=np.array([100]))
    trace = run_reference(network, np.zeros((2, 1), int), record=("v",)).trace
    assert trace is not None
    assert trace.v["p"][:, :, 0].T.tolist() == [[100, 200, 300], [100, 200, 300]]


def test_the_bias_exponent_shifts_the_mantissa_left() -> None:
    network = one_neuron(2, vth=131071, bias=np.array([-3]), bias_exponent=7)
    assert traced(network, [[0]], "v") == [-384, -768]


@pytest.mark.parametrize(
    ("a", "u"),
    [
        (2**17 - 1, M - 64),
        (2**17, M),  # +M is inside, unlike two's complement
        (2**17 + 1, -M + 64),
        (-(2**17) + 1, -M + 64),
        (-(2**17), M),
        (-(2**17) - 1, M - 64),
        (5 * 2**17, 3 * M),  # one turn only: 5M - 2M
        (2**25, -(2**31) + 2 * M),  # a << 6 has wrapped in int32 first
        (2**25 + 1, -(2**31) + 64 + 2 * M),
    ],
)
def test_u_wraps_once(a: int, u: int) -> None:
    assert neuron_step(MEMORYLESS, 0, 0, 0, a, 0, LOIHI)[0] == u


def test_v_saturates_on_both_sides() -> None:
    assert neuron_step(MEMORYLESS, 0, M - 10, 0, 0, 100, LOIHI) == (0, 0, 0, True)
    assert neuron_step(MEMORYLESS, 0, -M + 10, 0, 0, -100, LOIHI) == (0, -(M - 1), 0, False)
    kept = Population("p", (1,), vth=131071, reset=Reset.SUBTRACT)
    # The top threshold is (2^17 - 1) << 6 = M - 64, the saturated v is M - 1: 63 are left.
    assert neuron_step(kept, 0, M - 10, 0, 0, 100, LOIHI) == (0, 63, 0, True)


def test_an_overloaded_u_beyond_24_bits_saturates_v() -> None:
    u, v, _, spike = neuron_step(Population("p", (1,), vth=9), 0, 0, 0, -(2**24), 0, LOIHI)
    assert (u, v, spike) == (-(2**30) + 2 * M, -(M - 1), False)


def test_decay_truncates_toward_zero() -> None:
    assert [LOIHI.decayed(x, 2048) for x in (3, -3, 1, -1)] == [1, -1, 0, 0]
    assert [LOIHI.decayed(x, 1) for x in (1, -1, 4096, -4096)] == [0, 0, 4095, -4095]
    assert [LOIHI.decayed(x, 0) for x in (M, -M)] == [M, -M]
    assert LOIHI.decayed(M, 4096) == 0


def test_a_negative_exponent_floors_the_accumulated_sum() -> None:
    halved = Dense("x", "p", np.array([[1, 1]]), exponent=-1)
    assert [connection_current(halved, total, LOIHI) for total in (3, -3, -1)] == [1, -2, -1]
    # 1 + 1 is halved to 1; two weights halved one by one would have given 0.
    network = DeployedNetwork(
        (Input("x", (2,)),), (MEMORYLESS,), (halved,), (Readout("p"),), steps=1
    )
    assert traced(network, [[1, 1]], "u") == [1 << 6]


def test_a_positive_exponent_and_sums_wrap_in_int32() -> None:
    doubled = Dense("x", "p", np.array([[1]]), exponent=1)
    assert connection_current(doubled, 2**30, LOIHI) == -(2**31)
    assert connection_current(doubled, 2**31 + 5, LOIHI) == 10
    assert int32(2**31) == -(2**31)


@pytest.mark.parametrize(
    "kernel",
    [
        Conv1d("x", "p", np.ones((1, 1, 1), int), exponent=1),
        Conv2d("x", "p", np.ones((1, 1, 1, 1), int), exponent=1),
    ],
)
def test_a_convolution_wraps_its_sum_to_24_bits_before_the_exponent(
    kernel: Conv1d | Conv2d,
) -> None:
    assert [connection_current(kernel, s, LOIHI) for s in (M - 1, M, -M, -M - 1)] == [
        2 * M - 2,
        -2 * M,
        -2 * M,
        2 * M - 2,
    ]


def test_a_spike_needs_v_strictly_above_the_threshold() -> None:
    assert traced(one_neuron(1, vth=2, bias=np.array([128])), [[0]], "spikes") == [0]
    assert traced(one_neuron(1, vth=2, bias=np.array([129])), [[0]], "spikes") == [1]


def test_resets() -> None:
    zero = one_neuron(4, vth=1, bias=np.array([100]))
    assert traced(zero, [[0]], "v") == [0, 0, 0, 0]
    subtract = one_neuron(4, vth=1, bias=np.array([100]), reset=Reset.SUBTRACT)
    assert traced(subtract, [[0]], "v") == [36, 72, 108, 144]


def test_a_neuron_rests_after_a_spike() -> None:
    """Two refractory steps: v = 100 fires in every third step and stays where the reset left it."""
    zero = one_neuron(7, vth=1, bias=np.array([100]), refractory=2)
    assert traced(zero, [[0]], "spikes") == [1, 0, 0, 1, 0, 0, 1]
    assert traced(zero, [[0]], "v") == [0] * 7
    # 100 - 64 = 36; 136 - 64 = 72, above the threshold of 64, yet silent; 172 - 64 = 108.
    subtract = one_neuron(7, vth=1, bias=np.array([100]), refractory=2, reset=Reset.SUBTRACT)
    assert traced(subtract, [[0]], "spikes") == [1, 0, 0, 1, 0, 0, 1]
    assert traced(subtract, [[0]], "v") == [36, 36, 36, 72, 72, 72, 108]
    # Nor does v decay at rest: 36 / 2 + 100 = 118 fires and leaves 54.
    decaying = one_neuron(
        4, vth=1, bias=np.array([100]), refractory=2, reset=Reset.SUBTRACT, decay_v=2048
    )
    assert traced(decaying, [[0]], "v") == [36, 36, 36, 54]


def test_the_current_evolves_while_refractory() -> None:
    # u: 128, 64, 32, 16; the 64 of the step at rest is lost to v, which then sums 32 and 16.
    network = one_neuron(4, vth=1, decay_u=2048, refractory=1)
    pulse = np.array([1, 0, 0, 0]).reshape(4, 1, 1)
    assert traced(network, pulse, "u") == [128, 64, 32, 16]
    assert traced(network, pulse, "spikes") == [1, 0, 0, 0]
    assert traced(network, pulse, "v") == [0, 0, 32, 48]


def test_rest_ends_with_the_sample_and_none_begins_with_one() -> None:
    network = one_neuron(3, vth=1, v_init=65, bias=np.array([100]), refractory=63)
    run = run_reference(network, np.zeros((2, 1), int), record=("spikes",))
    assert run.trace is not None
    assert run.trace.spikes["p"][:, :, 0].T.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_a_neuron_at_rest_counts_as_updated_if_anything_moves() -> None:
    pulse = np.array([1, 1, 0, 0]).reshape(4, 1, 1)
    # Step 1 has input and u, step 2 still u; in step 3 all is zero, though it is refractory.
    counts = run_reference(one_neuron(4, vth=1, refractory=5), pulse).counts
    assert counts is not None
    assert (counts.updates["p"], counts.visits["p"], counts.spikes["p"]) == (3, 4, 1)


def test_current_decays_and_is_not_reset() -> None:
    # u: 128 halves each step; v: 128 fires at vth 1 (64), 64 does not, then 64 + 32 does.
    network = one_neuron(4, vth=1, decay_u=2048)
    pulse = np.array([1, 0, 0, 0]).reshape(4, 1, 1)
    assert traced(network, pulse, "u") == [128, 64, 32, 16]
    assert traced(network, pulse, "spikes") == [1, 0, 1, 0]
    assert traced(network, pulse, "v") == [0, 64, 0, 16]


def test_v_init_is_the_charge_at_the_start_of_each_sample() -> None:
    network = one_neuron(2, vth=1, v_init=64, bias=np.array([1]))
    run = run_reference(network, np.zeros((3, 1), int))
    assert run.scores["p"].tolist() == [[1], [1], [1]]


def test_a_message_acts_delay_steps_later_within_the_sample() -> None:
    pulse = np.array([1, 0, 0, 1]).reshape(4, 1, 1)
    network = one_neuron(4, vth=100, delay=2)
    assert traced(network, pulse, "u") == [0, 0, 128, 0]
    counts = run_reference(network, pulse).counts
    assert counts is not None
    assert (counts.messages, counts.input_events) == ({"x_to_p": 1}, {"x": 2})


def test_a_self_loop_feeds_spikes_back() -> None:
    loop = Dense("p", "p", np.array([[-2]]), delay=1, name="loop")
    base = one_neuron(4, vth=1, bias=np.array([100]))
    network = base.replace(connections=(*base.connections, loop))
    # 100 fires; then 100 - 128 = -28; then 72 fires; then -28 again.
    assert traced(network, [[0]], "spikes") == [1, 0, 1, 0]
    assert traced(network, [[0]], "v") == [0, -28, 0, -28]


def test_two_connections_and_graded_messages_add_up() -> None:
    network = DeployedNetwork(
        inputs=(
            Input("x", (2,), Coding.GRADED, -(2**23), 2**23 - 1),
            Input("spike", (1,)),
            Input("extra", (1,), Coding.BIAS, -10, 10),
        ),
        populations=(Population("p", (1,), vth=131071, bias=np.array([5]), bias_exponent=1),),
        connections=(
            Dense("x", "p", np.array([[6, -4]])),
            Dense("spike", "p", np.array([[3]]), exponent=2),
            BiasInjection("extra", "p"),
        ),
        readouts=(Readout("p", ReadoutKind.MEMBRANE),),
        steps=1,
    )
    run = run_reference(network, {"x": [[10, 7]], "spike": [[1]], "extra": [[-7]]})
    # a = 60 - 28 + (3 << 2) = 44; b = (5 - 7) << 1 = -4; v = (44 << 6) - 4.
    assert run.scores["p"].tolist() == [[44 * 64 - 4]]
    assert run.counts is not None
    assert run.counts.synaptic_events == {"x_to_p": 2, "spike_to_p": 1}
    assert run.counts.input_events == {"x": 2, "spike": 1, "extra": 1}


def test_a_convolution_is_a_cross_correlation() -> None:
    weight = np.array([1, 2, 3, 4]).reshape(1, 1, 2, 2)
    kernel = Conv2d("x", "p", weight, padding=(1, 1))
    reached = listed_synapses(kernel, (1, 1, 1))
    # The only pixel meets tap (1, 1) of the first window and tap (0, 0) of the last.
    assert sorted(reached[0]) == [(0, 4), (1, 3), (2, 2), (3, 1)]


def test_groups_and_dilation_reach_the_right_channels() -> None:
    weight = np.array([10, 20, 30, 40]).reshape(2, 1, 1, 2)
    kernel = Conv2d("x", "p", weight, dilation=(1, 2), groups=2)
    reached = listed_synapses(kernel, (2, 1, 3))
    assert reached == [[(0, 10)], [], [(0, 20)], [(1, 30)], [], [(1, 40)]]


def test_a_convolution_along_one_axis_by_hand() -> None:
    """x = 1 2 3 4 0, stride 2, padding 1, dilation 2: windows read (-1, 1), (1, 3) and (3, 5)."""
    kernel = Conv1d("x", "p", np.array([[[2, -4]]]), stride=2, padding=1, dilation=2)
    assert kernel.output_shape((1, 5)) == (1, 3)
    reached = [sorted(targets) for targets in listed_synapses(kernel, (1, 5))]
    assert reached == [[], [(0, -4), (1, 2)], [], [(1, -4), (2, 2)], []]
    network = DeployedNetwork(
        (Input("x", (1, 5), Coding.GRADED, 0, 9),),
        (Population("p", (1, 3), vth=131071),),
        (kernel,),
        (Readout("p", ReadoutKind.MEMBRANE),),
        steps=1,
    )
    run = run_reference(network, [[[1, 2, 3, 4, 0]]])
    assert run.scores["p"].tolist() == [[-8 * 64, (2 * 2 - 4 * 4) * 64, 2 * 4 * 64]]
    assert run.counts is not None
    # Neurons 1 and 3 reach two synapses each, the others none; the zero sends no message.
    assert (run.counts.messages, run.counts.synaptic_events) == ({"x_to_p": 4}, {"x_to_p": 4})


def test_groups_along_one_axis_reach_their_own_channels() -> None:
    kernel = Conv1d("x", "p", np.array([10, 20, 30, 40]).reshape(2, 1, 2), groups=2)
    assert listed_synapses(kernel, (2, 2)) == [[(0, 10)], [(0, 20)], [(1, 30)], [(1, 40)]]


def test_a_sum_pool_drops_what_fills_no_window() -> None:
    pooled = Dense("x", "p", np.array([[7, 9]]), pool=SumPool2d((1, 2), (1, 2)))
    assert listed_synapses(pooled, (1, 1, 5)) == [[(0, 7)], [(0, 7)], [(0, 9)], [(0, 9)], []]


def test_updates_count_neurons_that_could_change() -> None:
    pulse = np.array([0, 1, 0, 0]).reshape(4, 1, 1)
    # Step 0 is silent; step 1 has input; step 2 still holds v = 128; so does step 3.
    held = run_reference(one_neuron(4, vth=100), pulse).counts
    # Fired and memoryless but for u of step 1, which is still there before step 2.
    fired = run_reference(one_neuron(4, vth=1), pulse).counts
    assert held is not None
    assert fired is not None
    assert (held.updates["p"], fired.updates["p"], held.visits["p"]) == (3, 2, 4)


def test_static_samples_are_timed_samples_that_repeat() -> None:
    network = one_neuron(5, vth=3, delay=1)
    static = run_reference(network, [[1], [0]], record=("v",))
    timed = run_reference(network, [[[1], [0]]] * 5, record=("v",))
    assert static.trace is not None
    assert timed.trace is not None
    assert np.array_equal(static.trace.v["p"], timed.trace.v["p"])
    assert static.counts == timed.counts
    assert static.spike_counts["p"].tolist() == [2]


def test_an_unknown_record_is_an_error() -> None:
    with pytest.raises(InputError, match="record: 'w' cannot be recorded, only spikes, u, v"):
        run_reference(one_neuron(1, vth=1), [[1]], record=("w",))


def test_the_specification_needs_no_compiler() -> None:
    code = "import sys, spikeport.simulators.reference; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_more_synapses_than_can_be_listed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network, samples = digits_like()
    windows = 8 * (3 * 8 - 2) ** 2  # of three taps along each side, less those beyond the border
    stored = windows + 20 * 128 * 4 + 20 * 20 + 20 * 10
    monkeypatch.setattr(reference, "MOST_SYNAPSES", stored)
    run_reference(network, samples[:1])
    monkeypatch.setattr(reference, "MOST_SYNAPSES", stored - 1)
    message = (
        f"backend 'reference': the network has {stored:,} synapses, runs at most {stored - 1:,}; "
        "check_neurons recomputes sampled neurons of a network of any size"
    )
    with pytest.raises(UnsupportedError, match=message):
        run_reference(network, samples[:1])
