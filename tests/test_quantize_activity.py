"""The activity of the float network, gathered in batches of samples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize import activity
from spikeport.export.quantize.activity import float_activity
from spikeport.export.quantize.lower import lower
from spikeport.runs import check_float_samples
from spikeport.simulators import run_float
from tests.helpers.quantize_networks import affine, chain, leaky, spikes_in

SIZE, STEPS, SAMPLES = 96, 6, 130


def layers() -> tuple[FloatNetwork, NDArray[np.float64]]:
    rng = np.random.default_rng(5)
    nodes = {
        "fc1": affine(rng.normal(0, 0.4, (SIZE, 20)), rng.normal(0, 0.1, SIZE)),
        "lif1": leaky((SIZE,), 0.7),
        "fc2": affine(rng.normal(0, 0.3, (10, SIZE))),
        "lif2": leaky((10,), 0.9),
    }
    samples = (rng.random((STEPS, SAMPLES, 20)) < 0.3).astype(np.float64)
    return chain(nodes, spikes_in(20), steps=STEPS), samples


def test_batches_have_the_activity_of_all_samples_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, samples = layers()
    lowered, x = lower(network), check_float_samples(network.inputs, STEPS, samples)
    whole, run = float_activity(network, lowered, x, run_float)
    monkeypatch.setattr(activity, "BATCH_BYTES", 0)
    sizes = []

    def counted(*given: object, **options: object) -> object:
        found = run_float(*given, **options)  # type: ignore[arg-type]
        sizes.append(found.samples)
        return found

    parts, joined = float_activity(network, lowered, x, counted)  # type: ignore[arg-type]
    assert sorted(sizes) == [SAMPLES % activity.FEWEST] + [activity.FEWEST] * (
        SAMPLES // activity.FEWEST
    )
    for name, one in whole.items():
        np.testing.assert_array_equal(parts[name].spikes, one.spikes)
        np.testing.assert_allclose(parts[name].output, one.output, atol=1e-12)
        for field in ("peak_u", "peak_v", "highest"):
            assert getattr(parts[name], field) == pytest.approx(getattr(one, field), abs=1e-12)
        assert parts[name].ties == one.ties
    for name, scores in run.scores.items():
        np.testing.assert_array_equal(joined.scores[name], scores)
