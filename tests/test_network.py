"""Rules, canonical form and equality of `DeployedNetwork`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.network import (
    BiasInjection,
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
)
from tests.helpers.networks import small


def sequence(shape: tuple[int, ...]) -> DeployedNetwork:
    """A convolution along one axis whose population fits a source (2, 9)."""
    return DeployedNetwork(
        inputs=(Input("x", shape),),
        populations=(Population("p", (4, 7), vth=1),),
        connections=(Conv1d("x", "p", np.ones((4, 2, 3), int)),),
        readouts=(Readout("p"),),
        steps=1,
    )


def test_order_of_parts_does_not_matter() -> None:
    network = small()
    shuffled = small(populations=network.populations[::-1], connections=network.connections[::-1])
    assert shuffled == network
    assert shuffled.content_hash == network.content_hash
    assert hash(shuffled) == hash(network)


def test_hash_covers_every_integer_but_not_the_provenance() -> None:
    network = small()
    weight = np.full((2, 1, 3, 3), 7)
    weight[0, 0, 0, 0] = 6
    changed = small(
        connections=(Conv2d("pixels", "hidden", weight, padding=(1, 1)), network.connections[0])
    )
    assert changed != network
    assert small(steps=5) != network
    assert small(provenance={"made": "by hand"}) == network


def test_hash_is_stable_over_versions() -> None:
    # Recorded from format version 1: a change here changes every hash users have written down.
    assert small().content_hash.startswith("0678f9c9971a3c48")


def test_a_refractory_time_of_none_is_no_part_of_the_hash() -> None:
    awake = Population("p", (3,), vth=5, refractory=0)
    refractory = Population("p", (3,), vth=5, refractory=1)
    networks = [
        DeployedNetwork((Input("x", (2,)),), (part,), (), (Readout("p"),), 4)
        for part in (awake, refractory)
    ]
    assert networks[0] != networks[1]
    described, _ = networks[0].canonical_form()
    assert "refractory" not in described["populations"][0]
    assert networks[1].canonical_form()[0]["populations"][0]["refractory"] == 1


def test_arrays_are_frozen_copies() -> None:
    weight = np.full((2, 1, 3, 3), 7)
    connection = Conv2d("pixels", "hidden", weight, padding=(1, 1))
    weight[:] = 0
    assert (connection.weight == 7).all()
    with pytest.raises(ValueError, match="read-only"):
        connection.weight[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        Population("a", (3,), vth=1).bias[0] = 1


def test_order_is_topological_and_recurrence_is_allowed() -> None:
    network = small(
        populations=(Population("hidden", (2, 6, 6), vth=9), Population("early", (3,), vth=5)),
        connections=(
            Conv2d("pixels", "hidden", np.full((2, 1, 3, 3), 7), padding=(1, 1)),
            Dense("hidden", "early", np.full((3, 72), -2)),
            Dense("early", "early", np.zeros((3, 3), int), delay=1, name="loop"),
        ),
        readouts=(Readout("early"),),
    )
    assert network.order == ("hidden", "early")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(steps=0), r"steps \(T\) is 0, must lie in 1\.\."),
        (lambda: small(steps=2.5), r"steps \(T\) is 2\.5, must be an integer"),
        (lambda: small(readouts=()), "has no readout"),
        (lambda: small(populations=()), "has no population"),
        (lambda: small(inputs=()), "has no input"),
        (lambda: small(readouts=(Readout("none"),)), "population 'none' does not exist"),
        (lambda: small(readouts=(Readout("out"), Readout("out"))), "'out' is read 2 times"),
        (lambda: small(connections=(Dense("a", "out", np.ones((3, 3), int)),)), "source 'a'"),
        (
            lambda: small(connections=(Dense("pixels", "out", np.ones((3, 35), int)),)),
            r"'pixels_to_out': weight has shape \(3, 35\), must be \(3, 36\)",
        ),
        (
            lambda: small(connections=(Conv2d("pixels", "hidden", np.ones((2, 1, 3, 3), int)),)),
            r"gives shape \(2, 4, 4\), but 'hidden' has \(2, 6, 6\)",
        ),
        (
            lambda: small(
                connections=(
                    Conv2d("pixels", "hidden", np.ones((2, 3, 3, 3), int), padding=(1, 1)),
                )
            ),
            "source has 1 channels",
        ),
        (
            lambda: small(
                connections=(
                    Dense("hidden", "out", np.ones((3, 72), int)),
                    Dense("out", "hidden", np.ones((72, 3), int)),
                )
            ),
            "delay-free connections form a cycle at or upstream of 'hidden', 'out'",
        ),
        (
            lambda: small(populations=(*small().populations, Population("out", (2,), vth=1))),
            "name 'out' is used 2 times",
        ),
        (lambda: small(inputs=(Input("a/b", (3,)),)), "name 'a/b' must be"),
        (lambda: Dense("a", "b", np.array([[0.5, np.nan]])), "with NaN or infinity"),
        (lambda: Dense("a", "b", np.array([[2.0, 1.5]])), r"weight is 1\.5 at \(0, 1\), must be"),
        (lambda: Dense("a", "b", np.array([[3, -2]])), r"weight 3 at \(0, 0\) is off the 8-bit"),
        (lambda: Dense("a", "b", np.array([[256]])), "0..255 in steps of 1"),
        (lambda: Dense("a", "b", np.array([[255, -2]])), "1 of 2 are off"),
        (lambda: Dense("a", "b", np.array([[24]]), weight_bits=4), "0..240 in steps of 16"),
        (lambda: Dense("a", "b", np.array([[2]]), exponent=8), "exponent is 8"),
        (lambda: Dense("a", "b", np.array([[2]]), delay=63), r"delay is 63, must lie in 0\.\.62"),
        (lambda: Dense("a", "b", np.zeros((0, 2), int)), "2 non-empty axes"),
        (lambda: Conv2d("a", "b", np.ones((3, 1, 1, 1), int), groups=2), "must divide 3"),
        (lambda: Conv2d("a", "b", np.ones((1, 1, 1, 1), int), stride=(0, 0)), "must be at least 1"),
        (lambda: SumPool2d((2, 2), (1, 2)), "windows must not overlap"),
        (lambda: SumPool2d((2, 2), (2, 2), (2, 0)), "padding 2 must be smaller than the kernel"),
        (lambda: Population("p", (2,), vth=1 << 17), r"vth is 131072, must lie in 0\.\.131071"),
        (lambda: Population("p", (2,), vth=1, decay_v=4097), "decay_v is 4097"),
        (
            lambda: Population("p", (2,), vth=1, refractory=64),
            r"refractory is 64, must lie in 0\.\.",
        ),
        (lambda: Population("p", (2,), vth=1, refractory=-1), "refractory is -1"),
        (lambda: Population("p", (2,), vth=1, bias=np.array([0, 5000])), "bias mantissa 5000"),
        (lambda: Population("p", (2,), vth=1, bias=np.zeros(3, int)), r"must be \(2,\)"),
        (lambda: Population("p", (2, 2, 2, 2), vth=1), r"be \(N,\), \(C, L\) or \(C, H, W\)"),
        (lambda: Conv1d("a", "b", np.ones((3, 1, 1, 1), int)), "must have 3 non-empty axes"),
        (lambda: Conv1d("a", "b", np.ones((3, 1, 1), int), groups=2), "must divide 3"),
        (lambda: Conv1d("a", "b", np.ones((1, 1, 1), int), dilation=0), "dilation 0 must be at le"),
        (lambda: Conv1d("a", "b", np.ones((1, 1, 1), int), padding=-1), "padding is -1, must lie"),
        (
            lambda: Conv1d("a", "b", np.ones((1, 1, 1), int), stride=0),
            "stride 0 must be at least 1",
        ),
        (lambda: sequence((1, 2, 7)), r"needs a source \(C, L\), got \(1, 2, 7\)"),
        (lambda: sequence((3, 9)), r"source has 3 channels, weight \(4, 2, 3\) with groups 1"),
        (lambda: sequence((2, 8)), r"gives shape \(4, 6\), but 'p' has \(4, 7\)"),
        (lambda: Population("p", (2,), vth=1, scale=float("nan")), "scale is nan"),
        (lambda: Input("x", (2,), Coding.SPIKES, 0, 2), "high is 2, must lie in 0..1"),
        (lambda: Input("x", (2,), Coding.GRADED, 3, 2), "low 3 is above high 2"),
    ],
)
def test_broken_rules_are_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_bias_injection_stays_within_the_mantissa() -> None:
    population = Population("p", (2,), vth=1, bias=np.array([4000, 0]))
    parts: dict[str, Any] = {
        "populations": (population,),
        "connections": (BiasInjection("x", "p"),),
        "readouts": (Readout("p"),),
        "steps": 1,
    }
    DeployedNetwork(inputs=(Input("x", (2,), Coding.BIAS, 0, 95),), **parts)
    with pytest.raises(InputError, match=r"could span 0\.\.4096"):
        DeployedNetwork(inputs=(Input("x", (2,), Coding.BIAS, 0, 96),), **parts)


def test_every_injection_into_a_population_needs_a_source() -> None:
    """The check of one injection adds up all of them, so it comes after the ends of all."""
    inputs = (Input("x", (2,), Coding.BIAS, 0, 9), Input("y", (2,)))
    for source, message in (
        ("z", "connection 'z_to_p': source 'z' does not exist"),
        ("y", "connection 'y_to_p': a bias injection needs an input of coding 'bias'"),
        ("p", "connection 'p_to_p': a bias injection needs an input of coding 'bias'"),
    ):
        injections = (BiasInjection("x", "p", name="a"), BiasInjection(source, "p"))
        with pytest.raises(InputError, match=message):
            DeployedNetwork(inputs, (Population("p", (2,), vth=1),), injections, (Readout("p"),), 1)


def test_reset_is_given_by_its_name() -> None:
    assert Population("p", (2,), vth=1, reset="subtract").reset is Reset.SUBTRACT  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reset is 'soft', must be one of 'zero', 'subtract'"):
        Population("p", (2,), vth=1, reset="soft")  # type: ignore[arg-type]
