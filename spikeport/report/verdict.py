"""The verdict of a report: whether to trust the deployment, on which chip, and at what cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from spikeport.energy import Interval
from spikeport.parity import ParityReport, is_identical
from spikeport.report.conversion import converted_row
from spikeport.report.fit import Fit
from spikeport.report.headline import chip_row, exact_rows, headline, sampled_notes
from spikeport.report.units import (
    format_count,
    format_energy,
    format_percent,
    format_span,
    format_time,
)

REASONS = 2
"""Most reasons that the verdict names why a network does not fit."""


VAGUE = 0.2
"""Above this width of its 95 % interval, an accuracy is called unsure."""


class Level(StrEnum):
    """How good an answer is."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Claim:
    """One answer of the verdict.

    Attributes:
        topic: `Topic` of the sections that show why.
        details: facts that the answer rests on, one phrase each.
    """

    question: str
    answer: str
    details: tuple[str, ...]
    level: Level
    topic: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence, and the four claims behind it."""

    headline: str
    level: Level
    claims: tuple[Claim, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def verdict_of(
    report: ParityReport, fit: Fit | None, energy: Mapping[str, Mapping[str, Any]]
) -> Verdict:
    """Judge a ladder.

    Args:
        fit: None if the network was not checked against the chip.
        energy: `EnergyReport.as_dict` of the deployed network by the name under which it is shown,
            after mapping if it was mapped. The first of several counts; of the others, those after
            mapping are stated beside it.
    """
    claims = tuple(_claims(report, fit, energy))
    sentence = headline(report)
    if not report.passed or report.dead:
        return Verdict(sentence, Level.BAD, claims)
    if fit is not None and not fit.runs:
        sentence = f"{sentence}; but {fit.title} cannot run this network"
    doubt = any(claim.level in (Level.WARN, Level.BAD) for claim in claims)
    return Verdict(sentence, Level.WARN if doubt else Level.GOOD, claims)


def _claims(
    report: ParityReport, fit: Fit | None, energy: Mapping[str, Mapping[str, Any]]
) -> Iterator[Claim]:
    yield _fit(fit)
    if report.rows:
        yield _accuracy(report)
        yield _spikes(report)
    for stage in list(energy)[:1]:
        yield _energy(stage, energy)


def _fit(fit: Fit | None) -> Claim:
    question = f"Does it fit {fit.title}?" if fit else "Does it fit the chip?"
    if fit is None:
        why = "it was not checked against a known target"
        return Claim(question, "not checked", (why,), Level.OPEN, "fit")
    if fit.runs:
        some = f"{fit.workarounds} with a workaround" if fit.workarounds else "natively"
        how = f"every feature of the network is supported, {some}"
        return Claim(question, "Yes", (how, *_cores(fit)), Level.GOOD, "fit")
    more = len(fit.stopping) - REASONS
    details = fit.stopping[:REASONS] + ((f"and {more} more",) if more > 0 else ())
    return Claim(question, "No", (*details, *_cores(fit)), Level.BAD, "fit")


def _cores(fit: Fit) -> tuple[str, ...]:
    """The size of the map, if there is one."""
    if not fit.cores:
        return ()
    chips = f"{fit.chips:,} chips" if fit.chips > 1 else "one chip"
    return (f"{fit.cores:,} core{'s' * (fit.cores > 1)} on {chips}",)


def _accuracy(report: ParityReport) -> Claim:
    row, ann, converted = chip_row(report), report.ann, converted_row(report)
    found = row.accuracy
    details: tuple[str, ...] = (
        f"95 %: {format_percent(found.low)} to {format_percent(found.high)}, n = {found.n:,}",
    )
    passed = row.passed and (converted is None or converted.passed)
    level, kept = (Level.GOOD, "Yes, ") if passed else (Level.BAD, "No, ")
    if row.drift is not None:
        details = (
            *details,
            f"{row.drift.points:+.2f} points against training; {row.drift.predictions:,} of "
            f"{row.drift.compared:,} predictions differ",
        )
    if ann is not None:
        points = 100 * (found.rate - ann.accuracy.rate)
        details = (*details, f"{points:+.2f} points against the ANN")
    elif row.drift is None:
        details = (*details, "no training run to compare with")
        level, kept = Level.OPEN, ""
    if found.high - found.low > VAGUE:
        details, level = (
            (*details, "too few samples to be sure"),
            level if level is Level.BAD else Level.WARN,
        )
    if row.undecided:
        details, level = (*details, "no sample has a decided class"), Level.BAD
    answer = f"{kept}{format_percent(found.rate)}"
    return Claim("Is its accuracy kept?", answer, details, level, "accuracy")


def _spikes(report: ParityReport) -> Claim:
    rows = exact_rows(report)
    question = "Are its spikes the same?"
    if not rows:
        why = ("no two integer stages were compared",)
        return Claim(question, "not compared", why, Level.OPEN, "parity")
    differing = sum((row.difference.total_spikes or 0) for row in rows if row.difference)
    spikes = sum(sum(row.spikes.values()) for row in rows)
    details = [
        f"{format_count(spikes)} spikes in {len(rows)} comparison{'s' * (len(rows) != 1)} of "
        "integer stages"
    ]
    details += sampled_notes(report)
    details += [f"{stage.outcome}: {stage.stage}" for stage in report.skipped]
    failed = [row.stage for row in rows if not is_identical(row)]
    if failed:
        answer = f"No, {format_count(differing)} differ" if differing else "No"
        return Claim(question, answer, (*details, f"at {', '.join(failed)}"), Level.BAD, "parity")
    if any(row.dead for row in rows):
        return Claim(question, "No neuron fires", tuple(details), Level.BAD, "parity")
    level = Level.WARN if report.skipped else Level.GOOD
    return Claim(question, "Yes, 0 differ", tuple(details), level, "parity")


def _energy(stage: str, estimates: Mapping[str, Mapping[str, Any]]) -> Claim:
    energy = estimates[stage]
    each = Interval(**energy["total_per_sample"])
    dynamic = energy["dynamic"]["nominal"] / energy["samples"]
    regime = f"; {energy['regime']}-dominated" if "regime" in energy else ""
    time = Interval(**energy["time_ns"]) * (1 / energy["samples"])
    details = [
        f"nominal {format_energy(each.nominal)}, of which {format_energy(dynamic)} dynamic{regime}"
    ]
    if time.nominal:
        low, *_, high = sorted(time.as_dict().values())
        span = f"{format_time(low)} to {format_time(high)}"
        details.append(f"computing time {format_time(time.nominal)}, {span}")
    if "placed" in energy:
        details.append(
            f"{stage}{_other_maps(stage, estimates)}"
            if energy["placed"]
            else f"{stage}, without a map: cores are assumed, and a message is one packet"
        )
    details.append("an estimate, nothing was measured")
    return Claim("Energy per sample", format_span(each), tuple(details), Level.OPEN, "energy")


def _other_maps(stage: str, estimates: Mapping[str, Mapping[str, Any]]) -> str:
    """The energy after mapping onto more cores, which may be much lower; nothing without one."""
    others = [
        f"; nominal {format_energy(energy['total_per_sample']['nominal'])} {name}"
        for name, energy in estimates.items()
        if name != stage and energy.get("placed")
    ]
    return "".join([", the fewest", *others]) if others else ""
