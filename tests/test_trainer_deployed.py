"""The trainer's evaluation of a quantized network equals the specification in every integer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.network import (
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    SumPool2d,
)
from spikeport.simulators import run_native, run_reference
from spikeport.trainer import evaluate_deployed
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for

RECORD = ("spikes", "u", "v")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(st.data())
def test_equals_the_reference_on_random_networks(data: st.DataObject) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    assert_equal_runs(
        evaluate_deployed(network, samples, RECORD), run_reference(network, samples, record=RECORD)
    )


def digit_network(reset: Reset) -> DeployedNetwork:
    """A convolutional network of the demo's shape with random even weights."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> NDArray[np.int16]:
        return (rng.integers(-60, 64, shape) * 2).astype(np.int16)

    return DeployedNetwork(
        inputs=(Input("input", (1, 8, 8), Coding.GRADED, 0, 16),),
        populations=(
            Population("lif1", (16, 8, 8), vth=1500, decay_v=2048, reset=reset),
            Population("lif2", (32, 4, 4), vth=900, decay_v=2048, reset=reset),
            Population("readout", (10,), vth=400, decay_v=100, reset=reset),
        ),
        connections=(
            Conv2d("input", "lif1", weight(16, 1, 3, 3), padding=(1, 1), name="conv1"),
            Conv2d(
                "lif1",
                "lif2",
                weight(32, 16, 3, 3),
                padding=(1, 1),
                pool=SumPool2d((2, 2), (2, 2)),
                name="conv2",
            ),
            Dense("lif2", "readout", weight(10, 512), name="fc"),
        ),
        readouts=(Readout("readout"),),
        steps=8,
    )


@pytest.mark.parametrize("reset", Reset)
def test_equals_native_over_several_batches(reset: Reset) -> None:
    network = digit_network(reset)
    samples = np.random.default_rng(0).integers(0, 17, (300, 1, 8, 8))
    ours = evaluate_deployed(network, samples, RECORD)
    assert_equal_runs(ours, run_native(network, samples, record=RECORD))
    assert ours.counts is not None
    assert all(count > 0 for count in ours.counts.spikes.values())
    assert len(set(ours.predictions.tolist())) > 1


def test_without_record_there_is_no_trace() -> None:
    run = evaluate_deployed(digit_network(Reset.ZERO), np.zeros((2, 1, 8, 8), int))
    assert run.trace is None


def test_unknown_record_is_refused() -> None:
    with pytest.raises(InputError, match="record: 'w' cannot be recorded"):
        evaluate_deployed(digit_network(Reset.ZERO), np.zeros((2, 1, 8, 8), int), ["w"])


def test_sums_that_float64_cannot_hold_are_refused() -> None:
    """2^23 payload x 254 x window of 2^12 x 2^11 positions of a pool."""
    pool = SumPool2d((2048, 4096), (2048, 4096))
    network = DeployedNetwork(
        inputs=(Input("x", (1, 2048, 4096), Coding.GRADED, 0, 2**23 - 1),),
        populations=(Population("p", (1,), vth=1),),
        connections=(Dense("x", "p", np.array([[254]], np.int16), pool=pool, name="wide"),),
        readouts=(Readout("p"),),
        steps=1,
    )
    with pytest.raises(
        InputError, match=r"connection 'wide': a weighted sum could reach 1\.79e\+16"
    ):
        evaluate_deployed(network, np.zeros((1, 1, 2048, 4096), np.int32))
