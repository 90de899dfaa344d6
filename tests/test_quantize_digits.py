"""A small convolutional network, trained for a moment on scikit-learn's digits, in integers."""

from __future__ import annotations

import numpy as np
import pytest

from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize import QuantizeConfig
from spikeport.network import Reset
from spikeport.runs import encode_samples
from spikeport.simulators import run_float, run_native
from spikeport.trainer import Dataset, TrainConfig, load_digits_split, train
from spikeport.workflow import export_float
from tests.helpers.quantize_networks import quantized


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_split()


@pytest.fixture(scope="module", params=list(Reset))
def trained(request: pytest.FixtureRequest, digits: Dataset) -> FloatNetwork:
    config = TrainConfig(widths=(8, 16), epochs=5, reset=request.param)
    return export_float(train(config, digits).model)


@pytest.mark.parametrize(("bits", "points"), [(8, 1.0), (6, 1.5), (4, 3.0)])
def test_accuracy_survives(
    trained: FloatNetwork, digits: Dataset, bits: int, points: float
) -> None:
    made = quantized(trained, digits.train_x[:256], QuantizeConfig(weight_bits=bits))
    wanted = run_float(trained, digits.test_x)
    got = run_native(
        made.network, encode_samples(made.network.inputs, made.network.steps, digits.test_x)
    )
    before, after = (100 * np.mean(run.predictions == digits.test_y) for run in (wanted, got))
    assert before > 90
    assert after >= before - points
    assert made.report.inputs[0].max_error == 0
    for part in made.report.populations:
        assert part.saturated == 0
        assert part.activation_bound < 1 << 17
    if bits == 8:
        for name, counts in wanted.spike_counts.items():
            assert np.abs(got.spike_counts[name] - counts).sum() < 0.05 * counts.sum()
