from __future__ import annotations

import dataclasses

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.quantize.lower import lower
from spikeport.network import Coding, Input, ReadoutKind, SumPool2d
from tests.helpers.quantize_networks import (
    DT,
    affine,
    chain,
    conv,
    integrate_and_fire,
    leaky,
    network,
    spikes_in,
)


def test_lif_equation_becomes_decay_gain_and_bias() -> None:
    node = nir.LIF(
        tau=np.full(2, 4 * DT),
        r=np.array([2.0, 8.0]),
        v_leak=np.full(2, 0.4),
        v_threshold=np.full(2, 1.5),
    )
    lowered = lower(chain({"fc": affine([[1.0], [1.0]], [3.0, 5.0]), "lif": node}, spikes_in(1)))
    (lif,) = lowered.populations
    assert (lif.name, lif.keep_u, lif.keep_v, lif.threshold) == ("lif", 0.0, 0.75, 1.5)
    np.testing.assert_allclose(lowered.connections[0].weight, [[0.5], [2.0]])
    np.testing.assert_allclose(lif.bias, [0.5 * 3 + 0.1, 2.0 * 5 + 0.1])
    assert lowered.readouts[0].population == "lif"
    assert lowered.readouts[0].kind is ReadoutKind.SPIKES


def test_cuba_lif_equation_becomes_two_decays() -> None:
    node = nir.CubaLIF(
        tau_syn=np.full(1, 2 * DT),
        tau_mem=np.full(1, 4 * DT),
        r=np.full(1, 3.0),
        v_leak=np.zeros(1),
        v_threshold=np.ones(1),
        w_in=np.full(1, 5.0),
    )
    lowered = lower(chain({"fc": nir.Linear(np.ones((1, 1))), "cuba": node}, spikes_in(1)))
    assert (lowered.populations[0].keep_u, lowered.populations[0].keep_v) == (0.5, 0.75)
    np.testing.assert_allclose(lowered.connections[0].weight, [[0.5 * 5 * 0.25 * 3]])


@pytest.mark.parametrize(("r", "gain"), [(1.0, 1.0), (1 / DT, 1.0), (500.0, 0.5)])
def test_if_gain(r: float, gain: float) -> None:
    node = nir.IF(r=np.full(1, r), v_threshold=np.ones(1))
    lowered = lower(chain({"fc": affine([[2.0]]), "if": node}, spikes_in(1)))
    np.testing.assert_allclose(lowered.connections[0].weight, [[2.0 * gain]])


def test_pool_scale_and_flatten_fold_into_the_map() -> None:
    lowered = lower(
        chain(
            {
                "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
                "scale": nir.Scale(np.array([1.0, 3.0]).reshape(2, 1, 1) * np.ones((2, 2, 1))),
                "flat": nir.Flatten({"input": None}, 0, -1),
                "fc": affine(np.arange(12.0).reshape(3, 4), [1.0, 2.0, 3.0]),
                "if": integrate_and_fire((3,)),
            },
            spikes_in((2, 4, 2)),
        )
    )
    (connection,) = lowered.connections
    assert connection.pool == SumPool2d((2, 2), (2, 2))
    np.testing.assert_allclose(connection.weight, np.arange(12.0).reshape(3, 4) * [1, 1, 3, 3] / 4)
    np.testing.assert_allclose(lowered.populations[0].bias, [1, 2, 3])


def test_scales_around_a_grouped_convolution() -> None:
    kernels = np.arange(1.0, 9.0).reshape(4, 1, 1, 2)
    lowered = lower(
        chain(
            {
                "before": nir.Scale(np.array([2.0, 10.0]).reshape(2, 1, 1) * np.ones((2, 3, 3))),
                "conv": conv(kernels, 1.0, groups=2, padding=(1, 0)),
                "after": nir.Scale(np.full((4, 5, 2), 0.5)),
                "if": integrate_and_fire((4, 5, 2)),
            },
            spikes_in((2, 3, 3)),
        )
    )
    (connection,) = lowered.connections
    np.testing.assert_allclose(
        connection.weight, kernels * np.array([1, 1, 5, 5]).reshape(4, 1, 1, 1)
    )
    assert (connection.groups, connection.padding) == (2, (1, 0))
    np.testing.assert_allclose(lowered.populations[0].bias, 0.5)


def test_scales_around_a_convolution_along_one_axis() -> None:
    kernels = np.arange(1.0, 9.0).reshape(4, 1, 2)
    lowered = lower(
        chain(
            {
                "before": nir.Scale(np.array([[2.0], [10.0]]) * np.ones((2, 5))),
                "conv": conv(kernels, 1.0, groups=2, padding=1, stride=2, dilation=3),
                "after": nir.Scale(np.full((4, 2), 0.5)),
                "if": integrate_and_fire((4, 2)),
            },
            spikes_in((2, 5)),
        )
    )
    (connection,) = lowered.connections
    np.testing.assert_allclose(connection.weight, kernels * np.array([1, 1, 5, 5]).reshape(4, 1, 1))
    assert (connection.groups, connection.stride, connection.padding, connection.dilation) == (
        2,
        (1, 2),
        (0, 1),
        (1, 3),
    )
    np.testing.assert_allclose(lowered.populations[0].bias, 0.5)


def test_residual_sum_gives_two_connections_and_identity_is_depthwise() -> None:
    lowered = lower(
        network(
            {
                "a": conv(np.ones((2, 1, 1, 1))),
                "first": integrate_and_fire((2, 3, 3)),
                "b": conv(np.ones((2, 2, 3, 3)), 0.5, padding=1),
                "second": integrate_and_fire((2, 3, 3)),
            },
            [
                ("input", "a"),
                ("a", "first"),
                ("first", "b"),
                ("b", "second"),
                ("first", "second"),
                ("second", "output"),
            ],
            [spikes_in((1, 3, 3))],
        )
    )
    connections = {connection.name: connection for connection in lowered.incoming("second")}
    assert set(connections) == {"b", "first_to_second"}
    assert connections["first_to_second"].groups == 2
    np.testing.assert_array_equal(connections["first_to_second"].weight, np.ones((2, 1, 1, 1)))
    np.testing.assert_allclose(lowered.populations[-1].bias, 0.5)


def test_recurrent_map_is_delayed_and_its_late_bias_noted() -> None:
    lowered = lower(
        network(
            {
                "fc": affine(np.ones((2, 1))),
                "lif": leaky((2,), 0.5),
                "back": affine(np.eye(2), 0.25),
            },
            [
                ("input", "fc"),
                ("fc", "lif"),
                ("lif", "back"),
                ("back", "lif"),
                ("lif", "output"),
            ],
            [spikes_in(1)],
        )
    )
    assert {connection.name: connection.delay for connection in lowered.connections} == {
        "fc": 0,
        "back": 1,
    }
    np.testing.assert_allclose(lowered.populations[0].bias, 0.25)
    assert len(lowered.notes) == 1
    assert "'back'" in lowered.notes[0]


def test_map_in_front_of_output_becomes_an_integrator() -> None:
    lowered = lower(chain({"fc": affine(np.ones((3, 2)), 0.5)}, spikes_in(2)))
    (part,) = lowered.populations
    assert (part.name, part.shape, part.keep_v, part.threshold) == ("output", (3,), 1.0, None)
    assert lowered.readouts[0].kind is ReadoutKind.MEMBRANE


def test_one_map_for_two_sources_keeps_one_bias() -> None:
    lowered = lower(
        network(
            {
                "a": affine(np.ones((2, 1))),
                "first": integrate_and_fire((2,)),
                "b": affine(np.ones((2, 1))),
                "second": integrate_and_fire((2,)),
                "both": affine(np.eye(2), 0.5),
                "third": integrate_and_fire((2,)),
            },
            [
                ("input", "a"),
                ("input", "b"),
                ("a", "first"),
                ("b", "second"),
                ("first", "both"),
                ("second", "both"),
                ("both", "third"),
                ("third", "output"),
            ],
            [spikes_in(1)],
        )
    )
    assert [w.name for w in lowered.incoming("third")] == [
        "both_first_to_third",
        "both_second_to_third",
    ]
    np.testing.assert_allclose(lowered.populations[-1].bias, 0.5)


def test_connections_of_one_map_stay_apart_within_the_length_of_names() -> None:
    first, second, both = "first_" + "a" * 40, "second_" + "a" * 40, "both_" + "a" * 50
    lowered = lower(
        network(
            {
                "a": affine(np.ones((2, 1))),
                first: integrate_and_fire((2,)),
                second: integrate_and_fire((2,)),
                both: affine(np.eye(2), 0.5),
                "third": integrate_and_fire((2,)),
            },
            [
                ("input", "a"),
                ("a", first),
                ("a", second),
                (first, both),
                (second, both),
                (both, "third"),
                ("third", "output"),
            ],
            [spikes_in(1)],
        )
    )
    names = [connection.name for connection in lowered.incoming("third")]
    assert len(set(names)) == 2
    assert all(len(name) <= 64 and name.startswith(both[:50]) for name in names)


@pytest.mark.parametrize("dt", [1e-3, 1e-4, 3e-7])
def test_neurons_that_keep_nothing_may_have_their_tau_in_float32(dt: float) -> None:
    """tau = dt, whose float32 may lie below it."""
    tau = np.full(1, dt, np.float32)
    node = nir.LIF(tau=tau, r=np.ones(1), v_leak=np.zeros(1), v_threshold=np.ones(1))
    source = chain({"fc": affine([[2.0]]), "lif": node}, spikes_in(1))
    (lif,) = lower(dataclasses.replace(source, dt_s=dt)).populations
    assert lif.keep_v == pytest.approx(0, abs=1e-7)


def test_bias_input_is_injected() -> None:
    source = Input("input", (2,), Coding.BIAS, low=0, high=100, scale=100.0)
    lowered = lower(chain({"lif": leaky((2,), 0.5)}, source))
    assert not lowered.connections
    assert lowered.injections[0].gain == pytest.approx(1.0)


def test_every_violation_is_listed_at_once() -> None:
    bad = nir.LIF(
        tau=np.array([0.5 * DT, 0.5 * DT]),
        r=np.ones(2),
        v_leak=np.zeros(2),
        v_threshold=np.array([-1.0, -1.0]),
        v_reset=np.array([0.0, 0.25]),
    )
    uneven = nir.LI(tau=np.array([2 * DT, 3 * DT]), r=np.ones(2), v_leak=np.zeros(2))
    even = nir.LI(tau=np.full(2, 2 * DT), r=np.ones(2), v_leak=np.zeros(2))
    broken = chain(
        {
            "fc1": affine(np.ones((2, 2))),
            "lif1": bad,
            "fc2": affine(np.ones((2, 2))),
            "lif2": even,
            "fc3": affine(np.ones((2, 2))),
            "li": uneven,
        },
        spikes_in(2),
    )
    with pytest.raises(InputError) as caught:
        lower(broken)
    message = str(caught.value)
    for part in (
        "4 rule(s) broken",
        "node 'lif1': v_threshold is -1, must be above v_reset 0.25",
        "node 'lif1': tau is 0.0005 s, shorter than the step dt 0.001 s",
        "node 'li': its membrane is read by 'output', which the chip can do for one population",
        "but different decays or starts make it 2; use one time constant in the whole layer",
        "node 'lif2': LI never spikes, its membrane can be read out but not sent on to 'fc3'",
    ):
        assert part in message
    assert message.count("\n  - ") == 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_cannot_enter_a_float_network(value: float) -> None:
    with pytest.raises(InputError, match=r"node 'fc' \(Affine\): weight contains NaN or infinity"):
        chain({"fc": affine([[1.0, value]])}, spikes_in(2))


def test_membrane_that_would_have_to_travel() -> None:
    li = nir.LI(tau=np.full(1, 2 * DT), r=np.ones(1), v_leak=np.zeros(1))
    with pytest.raises(InputError, match="node 'li': LI never spikes"):
        lower(chain({"a": affine([[1.0]]), "li": li, "b": affine([[1.0]])}, spikes_in(1)))


def test_names_that_no_chip_network_can_have() -> None:
    with pytest.raises(InputError, match=r"node 'fc\.1': name must be 1 to 64 letters"):
        lower(chain({"fc.1": affine([[1.0]])}, spikes_in(1)))


@given(st.integers(1, 4), st.booleans())
def test_parallel_connections_without_a_map_have_names_of_their_own(
    count: int, loops: bool
) -> None:
    """Between two layers, or from a layer to itself."""
    scales = {f"s{place}": nir.Scale(np.full(3, place + 1.0)) for place in range(count)}
    source, target = ("n", "n") if loops else ("input", "n")
    nodes = {"fc": affine(np.eye(3)), "n": leaky((3,), 0.5), **scales}
    edges = [("input", "fc"), ("fc", "n"), ("n", "output")]
    edges += [(source, name) for name in scales] + [(name, target) for name in scales]
    lowered = lower(network(nodes, edges, [spikes_in(3)]))
    names = [connection.name for connection in lowered.connections]
    assert len(set(names)) == len(names) == count + 1
    found = sorted(c.weight.max() for c in lowered.connections if c.name != "fc")
    np.testing.assert_allclose(found, np.arange(1, count + 1))
