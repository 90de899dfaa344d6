"""What quantization saves of its work: results stay those of all of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.export import QuantizeConfig
from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize import activity, calibrate
from spikeport.export.quantize.activity import float_activity
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.scales import Candidate
from spikeport.export.quantize.trial import Trial, try_alone
from spikeport.runs import check_float_samples
from spikeport.simulators import run_float
from tests.helpers.quantize_networks import affine, chain, leaky, quantized, spikes_in

SIZE, STEPS = 96, 6


def layers() -> tuple[FloatNetwork, NDArray[np.float64]]:
    rng = np.random.default_rng(5)
    nodes = {
        "fc1": affine(rng.normal(0, 0.4, (SIZE, 20)), rng.normal(0, 0.1, SIZE)),
        "lif1": leaky((SIZE,), 0.7),
        "fc2": affine(rng.normal(0, 0.3, (10, SIZE))),
        "lif2": leaky((10,), 0.9),
    }
    samples = (rng.random((STEPS, 70, 20)) < 0.3).astype(np.float64)
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
    assert sorted(sizes) == [70 % activity.FEWEST] + [activity.FEWEST] * (70 // activity.FEWEST)
    for name, one in whole.items():
        np.testing.assert_array_equal(parts[name].spikes, one.spikes)
        np.testing.assert_allclose(parts[name].output, one.output, atol=1e-12)
        for field in ("peak_u", "peak_v", "highest"):
            assert getattr(parts[name], field) == pytest.approx(getattr(one, field), abs=1e-12)
        assert parts[name].ties == one.ties
    for name, scores in run.scores.items():
        np.testing.assert_array_equal(joined.scores[name], scores)


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_few_samples_leave_the_best_scale_to_all(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few samples have enough answers, they choose among candidates; the best is the same."""
    network, samples = layers()
    counts: list[int] = []
    alone = try_alone

    def counted(*given: object, **options: object) -> Trial:
        found = alone(*given, **options)  # type: ignore[arg-type]
        counts.append(found.spikes.shape[1])
        return found

    monkeypatch.setattr(calibrate, "try_alone", counted)
    full = quantized(network, samples, QuantizeConfig(bits)).network
    assert set(counts) == {70}, "these populations are too small for few samples"
    of_all, counts[:] = len(counts), []
    monkeypatch.setattr(calibrate, "ANSWERS", 0)
    found = quantized(network, samples, QuantizeConfig(bits)).network
    assert found == full
    assert counts.count(calibrate.FEW) == of_all
    assert counts.count(70) < of_all


def test_only_what_comes_near_the_best_is_run_on_all_samples() -> None:
    errors = {1.0: 0.5, 2.0: 0.2, 3.0: 0.219, 4.0: 0.3}
    ran: list[float] = []

    def few(one: Candidate) -> Trial:
        return _of(one, errors[one.scale])

    def every(one: Candidate) -> Trial:
        ran.append(one.scale)
        return _of(one, 1 / one.scale)

    best = calibrate._best([Candidate(scale) for scale in errors], [few, every])
    assert ran == [2.0, 3.0]
    assert best is not None
    assert best.candidate.scale == 3.0
    assert calibrate._best([], [few, every]) is None
    assert calibrate._best([Candidate(1.0)], [few, every], lambda one: False) is None


def _of(candidate: Candidate, error: float) -> Trial:
    given: dict[str, object] = dict.fromkeys(Trial.__dataclass_fields__)
    return Trial(**given | {"candidate": candidate, "rms_error": error, "spike_mismatches": 0})  # type: ignore[arg-type]
