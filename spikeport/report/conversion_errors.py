"""The errors of converted networks as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from spikeport.report.plots import Chart, Values, line_chart
from spikeport.report.templates import render

if TYPE_CHECKING:
    from spikeport.simulators import ConversionDiagnosis, ErrorSummary, LayerErrors, NetworkErrors
    from spikeport.simulators.conversion_diagnosis import ErrorLimit

MOST_LINES = 7
"""Lines in a chart: as many as there are colours."""
MOST_DEPTH_CHARTS = 4
"""Numbers of steps for which networks are compared layer by layer in charts."""


class Measure(NamedTuple):
    """A quantity that is drawn: the name of its attribute, its title, and what it says."""

    name: str
    title: str
    text: str


QUANTIZATION = Measure(
    "quantization", "Quantization error", "the staircase of T steps against the activation"
)
DEVIATION = Measure(
    "deviation",
    "Deviation error",
    "spikes sent too early or too late, because the input varies over time",
)
CONVERSION = Measure(
    "conversion", "Conversion error", "both together: the error that the layer itself makes"
)
TOTAL = Measure(
    "total", "Total error", "against the ANN, including the errors of all layers before"
)
SIGMA = Measure(
    "input_sigma",
    "Standard deviation of the input over time, in thresholds",
    "what the deviation error grows with",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A network after T steps."""

    name: str
    network: NetworkErrors
    mean: ErrorSummary
    limit: ErrorLimit | None

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return self.network.accuracy[self.mean.steps].rate


@dataclass(frozen=True, slots=True)
class Depth:
    """Charts over the layers: of one network for all T, or of all networks after one T."""

    title: str
    charts: tuple[tuple[Measure, Chart], ...]


def render_conversions(
    found: ConversionDiagnosis,
    facts: Mapping[str, str] | None = None,
    origins: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Render one page: errors and accuracy over T, errors over depth, all layers.

    Args:
        facts: what was diagnosed and with which versions, shown at the end.
        origins: of networks of other tools, what was stated and assumed about their files.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    names = _short_names([each.name for each in found.networks])
    steps = found.steps_of(found.networks[0])
    measures = (QUANTIZATION, DEVIATION, CONVERSION, *([TOTAL] if found.ann_accuracy else []))
    now = [_row(found, names, network, steps) for network in found.networks]
    drawn = _drawn_steps(found.steps, steps, MOST_LINES if len(now) == 1 else MOST_DEPTH_CHARTS)
    return render(
        "conversion_errors.html.j2",
        title="Spikeport diagnosis of conversion errors",
        headline=_headline(now),
        found=found,
        steps=steps,
        now=now,
        rows=[
            _row(found, names, network, count)
            for count in found.steps
            for network in found.networks
        ],
        measures=measures,
        accuracies=_over_steps(
            "Accuracy in percent",
            found,
            {names[each.name]: _accuracies(found, each) for each in found.networks},
            level=None if found.ann_accuracy is None else 100 * found.ann_accuracy.rate,
        ),
        means=_means(found, names, measures),
        depth=_depth(found, names, (*measures, SIGMA), drawn),
        left_out=[count for count in found.steps if count not in drawn],
        layers=[
            (names[network.name], count, network.after(count))
            for network in found.networks
            for count in found.steps
        ],
        origins=origins or {},
        facts=facts or {},
    )


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """File names without folders, if they tell the networks apart."""
    short = [PurePath(name).name or name for name in names]
    return dict(zip(names, short if len(set(short)) == len(short) else names, strict=True))


def _row(
    found: ConversionDiagnosis, names: Mapping[str, str], network: NetworkErrors, steps: int
) -> Row:
    return Row(names[network.name], network, network.summary(steps), network.limit(steps))


def _headline(now: Sequence[Row]) -> str:
    steps = now[0].mean.steps
    known = [row for row in now if row.mean.conversion is not None]
    if len(now) > 1 and known:
        best = min(known, key=lambda row: row.mean.conversion or 0.0)
        return (
            f"At T = {steps}, {best.name} has the smallest conversion error of {len(now)} networks"
        )
    limit = now[0].limit
    if limit is None:
        return f"At T = {steps}, no layer of {now[0].name} makes an error"
    return (
        f"At T = {steps}, the {limit.error} error limits {now[0].name}, most of all in layer "
        f"{limit.layer}"
    )


def _drawn_steps(steps: Sequence[int], own: int, most: int) -> tuple[int, ...]:
    """At most `most` numbers of steps: `own`, and others spread from the first to the last."""
    if len(steps) <= most:
        return tuple(steps)
    others = [count for count in steps if count != own]
    picked = {others[round(k * (len(others) - 1) / (most - 2))] for k in range(most - 1)}
    return tuple(sorted({own, *picked}))


def _over_steps(
    what: str, found: ConversionDiagnosis, series: Mapping[str, Values], level: float | None = None
) -> Chart:
    places = [f"T = {count}" for count in found.steps]
    include = () if level is not None else (0.0,)
    return line_chart(what, places, series, include=include, level=level, kind="numbers of steps")


def _accuracies(found: ConversionDiagnosis, network: NetworkErrors) -> Values:
    return [100 * network.accuracy[count].rate for count in found.steps]


def _means(
    found: ConversionDiagnosis, names: Mapping[str, str], measures: Sequence[Measure]
) -> list[tuple[str, Chart]]:
    """Mean errors over T: a line for each error of one network, or for each network."""

    def values(network: NetworkErrors, measure: Measure) -> Values:
        return [getattr(network.summary(count), measure.name) for count in found.steps]

    if len(found.networks) == 1:
        (network,) = found.networks
        series = {measure.title: values(network, measure) for measure in measures}
        return [("", _over_steps("Mean relative error", found, series))]
    return [
        (
            measure.title,
            _over_steps(
                measure.title,
                found,
                {names[each.name]: values(each, measure) for each in found.networks},
            ),
        )
        for measure in measures
    ]


def _depth(
    found: ConversionDiagnosis,
    names: Mapping[str, str],
    measures: Sequence[Measure],
    drawn: Sequence[int],
) -> list[Depth]:
    if len(found.networks) == 1:
        (network,) = found.networks
        lines = {f"T = {count}": network.after(count) for count in drawn}
        return [Depth("", _charts(lines, measures))]
    return [
        Depth(
            f"T = {count}",
            _charts({names[each.name]: each.after(count) for each in found.networks}, measures),
        )
        for count in drawn
    ]


def _charts(
    lines: Mapping[str, Sequence[LayerErrors]], measures: Sequence[Measure]
) -> tuple[tuple[Measure, Chart], ...]:
    places = _merged([each.layer for each in layers] for layers in lines.values())
    at = {name: {each.layer: each.relative for each in layers} for name, layers in lines.items()}
    charts = []
    for measure in measures:
        series: dict[str, Values] = {
            name: [
                getattr(known[place], measure.name) if place in known else None for place in places
            ]
            for name, known in at.items()
        }
        charts.append((measure, line_chart(measure.title, places, series, include=(0.0,))))
    return tuple(charts)


def _merged(orders: Iterable[Sequence[str]]) -> list[str]:
    """Every name once: each sequence in its order, new names after the one before them."""
    merged: list[str] = []
    for names in orders:
        place = 0
        for name in names:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged
