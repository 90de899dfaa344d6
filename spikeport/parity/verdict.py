"""Judge a row of the ladder by its rule. All that a verdict needs is in the row itself."""

from __future__ import annotations

import dataclasses

from spikeport.parity.drift import Limits, drift_problem
from spikeport.parity.report import Criterion, Difference, LadderRow

NOTHING_FIRES = "no neuron fires: inconclusive"
"""Verdict of a stage that passes only because there are no spikes to compare."""
CHANGES = {Criterion.CHANGE: "quantization", Criterion.CONVERSION: "conversion"}
"""What changes a network on purpose, by the rule that judges it."""


def judged(row: LadderRow, limits: Limits) -> LadderRow:
    """The row with its verdict."""
    if row.difference is None or row.rule is None:
        problem, verdict = "", "start of the ladder"
    else:
        problem = _problem(row, row.difference, row.rule, limits)
        verdict = f"FAILED: {problem}" if problem else _verdict(row, row.rule, row.difference)
    if row.dead and not problem:
        verdict = NOTHING_FIRES
    return dataclasses.replace(row, verdict=verdict, passed=not problem)


def is_identical(row: LadderRow) -> bool:
    """Whether spikes, scores and event counts are those of the previous row.

    A row that is may still fail, because it lost accuracy or spikes against training.
    """
    return row.difference is not None and not _exact_problem(row, row.difference)


def _problem(row: LadderRow, found: Difference, rule: Criterion, limits: Limits) -> str:
    """The first broken rule or exceeded limit, empty if there is none."""
    match rule:
        case Criterion.EXACT:
            problem = _exact_problem(row, found)
        case Criterion.TIES:
            problem = _ties_problem(found) or _bound_problem(found, limits)
        case Criterion.CHANGE:
            problem = _change_problem(found, limits.max_drop_points)
        case Criterion.CONVERSION:
            problem = _change_problem(found, limits.max_conversion_points)
    return problem or ("" if row.drift is None else drift_problem(row.drift, limits))


def _exact_problem(row: LadderRow, found: Difference) -> str:
    if row.network_hash != found.network:
        return f"different network: {row.network_hash[:12]} against {found.network[:12]}"
    if found.total_spikes:
        worst = ", ".join(f"{n} in '{name}'" for name, n in found.spikes.items() if n)
        return f"spikes differ, {worst}; first at {found.first}"
    if found.states:
        return f"{found.states:,} values of state variables differ; first at {found.first}"
    if found.scores is None:
        return "the readouts differ in name or size"
    if found.scores:
        return f"{found.scores} scores differ although all spikes are equal"
    if found.counts:
        return f"event counts differ: {', '.join(found.counts)}"
    return ""


def _ties_problem(found: Difference) -> str:
    if not found.total_spikes:
        return ""
    if found.ties is None:
        return f"{found.total_spikes} spikes differ, first at {found.first}"
    if found.unexplained or not found.ties:
        return (
            f"{found.total_spikes} spikes differ, {found.unexplained} differences do not begin at "
            f"the threshold; first differing spike at {found.first}"
        )
    return ""


def _bound_problem(found: Difference, limits: Limits) -> str:
    """Whether ties change too many spikes or too much accuracy; one sample is tolerated."""
    differing, shared, spikes = found.total_spikes or 0, found.compared, found.spikes_before
    if differing > max(limits.max_tie_share, 1 / shared) * spikes:
        return (
            f"ties change {differing} of {spikes} spikes "
            f"({100 * differing / max(spikes, 1):.2f} %, limit {100 * limits.max_tie_share:g} %)"
        )
    if abs(found.extra_errors) > max(1.0, limits.max_tie_points * shared / 100):
        return (
            f"ties change accuracy by {-100 * found.extra_errors / shared:+.2f} points, "
            f"limit {limits.max_tie_points:g}"
        )
    return ""


def _change_problem(found: Difference, limit: float) -> str:
    drop_points = 100 * found.extra_errors / found.compared
    if drop_points > limit:
        return f"accuracy fell by {drop_points:.2f} points, limit {limit:g}"
    return ""


def _verdict(row: LadderRow, rule: Criterion, found: Difference) -> str:
    if rule in CHANGES:
        return f"changed by {CHANGES[rule]} (expected)"
    if not found.total_spikes:
        return f"identical in {row.sampled}" if row.sampled else "identical"
    return f"identical except for {found.ties} tie{'' if found.ties == 1 else 's'}"
