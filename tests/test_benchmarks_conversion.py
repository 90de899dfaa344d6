"""What the benchmark of converted networks says of two accuracies; nothing here is measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.conversion.deployment import agreement

CLASSES = st.integers(0, 2)


@given(st.lists(st.tuples(CLASSES, CLASSES, CLASSES), min_size=1, max_size=40))
def test_the_change_of_accuracy_has_the_error_of_its_samples(
    drawn: list[tuple[int, int, int]],
) -> None:
    before, after, labels = np.array(drawn).T
    found = agreement(before, after, labels)
    each = (after == labels).astype(int) - (before == labels)
    assert found["change"] == pytest.approx(found["integers"] - found["float"])
    assert found["change"] == pytest.approx(each.mean())
    assert found["standard_error"] == pytest.approx(each.std() / np.sqrt(len(drawn)))
    assert found["equal"] == (before == after).mean()
