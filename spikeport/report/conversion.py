"""What the conversion from an ANN changed, and what the ANN costs, as a section of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spikeport.parity import Criterion, LadderRow, ParityReport
from spikeport.report.section import Cell, Section, Topic, section_of

TITLE = "What the conversion changed"
PRICED = (
    "The energy of the ANN is that of its multiply-accumulates (MACs) as an int8 network, with the "
    "reads of their operands, at the profile's price for comparisons; nothing else of a device is "
    "in it. Its predictions are those in float32."
)
SAME = "the one that the network was converted from"
OTHER = "not the one that was converted, unless its thresholds were trained then"
UNPRICED = "The profile has no price for a MAC of the ANN, so its energy is not stated."


def converted_row(report: ParityReport) -> LadderRow | None:
    """The first stage after the ANN; None without one."""
    return next((row for row in report.rows if row.rule is Criterion.CONVERSION), None)


def conversion_sections(report: ParityReport, provenance: Mapping[str, str]) -> tuple[Section, ...]:
    """One section, for a ladder that starts from an ANN.

    Args:
        provenance: of the network, which may state the hash of the ANN it was converted from.
    """
    ann, first = report.ann, converted_row(report)
    if ann is None or first is None:
        return ()
    note = UNPRICED if ann.energy_pj is None else PRICED
    rows = [{"fact": fact, "value": value} for fact, value in _facts(ann, first, provenance)]
    return (section_of(TITLE, rows, note, topic=Topic.PARITY),)


def _facts(
    ann: LadderRow, first: LadderRow, provenance: Mapping[str, str]
) -> Iterator[tuple[str, Cell]]:
    found = first.difference
    assert found is not None  # it has a rule, so it was compared
    stated = provenance.get("ann_sha256")
    if stated is not None:
        same = stated == ann.network_hash
        yield "ANN", SAME if same else f"{OTHER}, {stated[:12]}"
    yield "predictions that changed", f"{found.predictions:,} of {found.compared:,}"
    points = -100 * found.extra_errors / found.compared
    yield "change of accuracy", f"{points:+.2f} points"
    yield "MACs of the ANN", f"{ann.macs:,} per sample"
    if first.synaptic_events is not None and ann.macs:
        events = first.synaptic_events / first.accuracy.n
        yield "synaptic events", f"{events:,.0f} per sample, {events / ann.macs:.3g} per MAC"
