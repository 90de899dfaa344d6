"""The diagnosis of rate-based training as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from spikeport.report.plots import Chart, Values, histogram, interval_chart, line_chart
from spikeport.report.templates import render

if TYPE_CHECKING:
    from spikeport.trainer.diagnosis import Diagnosis, GradientAgreement

PUBLISHED_SHUFFLES = (
    ("CIFAR-100, ResNet-18, T = 4", 0.7832, 0.7772),
    ("CIFAR10-DVS, VGG-11, T = 10", 0.7650, 0.7469),
)
"""Accuracy before and after, Yu et al., NeurIPS 2024."""
KINDS = {
    "neurons": "neurons: gradient and response",
    "weights": "weights: gradient and spikes",
}


def render_diagnosis(found: Diagnosis, facts: Mapping[str, str] | None = None) -> str:
    """Render one page: firing, gradients over depth, independence, the time-shuffle test.

    Args:
        facts: what was diagnosed and with which versions, shown at the end.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    layers = [entry for entry in found.agreement if entry.depth]
    whole = [entry for entry in found.agreement if not entry.depth]
    own = next((e for e in whole if e.steps == found.steps), whole[-1] if whole else None)
    highest = max((max(entry.histogram) for entry in found.activity), default=1.0)
    shuffle = found.shuffle
    return render(
        "diagnosis.html.j2",
        title="Spikeport diagnosis",
        headline=_headline(own),
        found=found,
        own=own,
        whole=whole,
        firing=[
            (entry, histogram(entry.histogram, highest), _share_of_largest(found, entry.rate))
            for entry in found.activity
        ],
        cosines=_over_depth("Cosine", layers, lambda entry: entry.cosine),
        ratios=_over_depth("Ratio of norms", layers, lambda entry: entry.ratio),
        errors=_errors(found),
        shuffles=interval_chart(
            [
                ("unshuffled", shuffle.whole),
                ("shuffled by neuron", shuffle.by_neuron),
                ("shuffled by layer", shuffle.by_layer),
            ]
        ),
        published=PUBLISHED_SHUFFLES,
        facts=facts or {},
    )


def _headline(own: GradientAgreement | None) -> str:
    if own is None or not math.isfinite(own.cosine):
        return "Rate-based training, layer by layer"
    return (
        f"At T = {own.steps}, rate-based and BPTT gradients have a cosine similarity of "
        f"{own.cosine:.3f}"
    )


def _over_depth(
    what: str, entries: Iterable[GradientAgreement], value: Callable[[GradientAgreement], float]
) -> Chart:
    entries = tuple(entries)
    places = list(dict.fromkeys(entry.layer for entry in entries))
    at = {(entry.steps, entry.layer): _finite(value(entry)) for entry in entries}
    steps = sorted({entry.steps for entry in entries})
    series = {f"T = {count}": [at.get((count, layer)) for layer in places] for count in steps}
    return line_chart(what, places, series, level=1.0)


def _errors(found: Diagnosis) -> Chart:
    places = [entry.layer for entry in found.independence]
    series: dict[str, Values] = {
        title: [_finite(e.error) if e.kind == kind else None for e in found.independence]
        for kind, title in KINDS.items()
    }
    return line_chart("Relative error", places, series, include=(0.0,))


def _share_of_largest(found: Diagnosis, rate: float) -> float:
    largest = max(entry.rate for entry in found.activity)
    return round(100 * rate / largest, 2) if largest else 0.0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
