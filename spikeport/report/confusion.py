"""Which classes are taken for which, as a section of a report."""

from __future__ import annotations

from spikeport.report.figures import Matrix
from spikeport.report.observations import Observations
from spikeport.report.section import Section, Topic, section_of

MOST = 10
"""Number of confusions that are listed."""


def confusion_sections(observed: Observations, stage: str, outputs: int) -> tuple[Section, ...]:
    """The confusion matrix of the deployed network, and its most frequent confusions.

    Args:
        stage: whose predictions they are.
        outputs: number of classes that can be predicted.
    """
    if not observed.confusion:
        return ()
    pairs = sorted(observed.confusion.items())
    wrong = [(pair, count) for pair, count in pairs if pair[0] != pair[1]]
    totals: dict[int, int] = {}
    for (true, _), count in pairs:
        totals[true] = totals.get(true, 0) + count
    rows = [
        {
            "class": str(true),
            "predicted as": str(predicted),
            "samples": count,
            "of the class, %": round(100 * count / totals[true], 1),
        }
        for (true, predicted), count in sorted(wrong, key=lambda entry: -entry[1])[:MOST]
    ]
    errors = sum(count for _, count in wrong)
    matrix = Matrix(
        "Predictions by class", "class", "prediction", outputs,
        tuple((true, predicted, count) for (true, predicted), count in pairs),
    )  # fmt: skip
    listed = f" The {MOST} most frequent confusions are listed." if len(wrong) > MOST else ""
    note = (
        f"{observed.samples:,} test samples, {stage}: {errors:,} with a wrong prediction. Rows are "
        f"the classes of the samples, columns the predictions; the diagonal is right.{listed}"
    )
    return (section_of("Confusion matrix", rows, note, topic=Topic.ACCURACY, figures=(matrix,)),)
