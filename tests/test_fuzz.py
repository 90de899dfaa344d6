"""A short run of the fuzzer: `python -m tests.fuzz` is the long one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.driver import HANG_S, PEAK_BYTES, Summary, Worker, fuzz
from tests.fuzz.fingerprints import fingerprint
from tests.fuzz.kinds import KINDS
from tests.fuzz.mutations import damage

ISOLATED = ("float NIR 0.1.0", "deployed NIR 0.1.0", "foreign netx", "trace 0.1.0")
"""Each of these files is read in a separate process, which takes a while to start."""

PIPE_BYTES = 2**16
"""Capacity of a pipe on Linux."""


@pytest.mark.slow
def test_damaged_files_of_every_kind() -> None:
    counts = {kind: 4 if kind in ISOLATED else 15 for kind in KINDS}
    found = fuzz((kind, seed) for kind, count in counts.items() for seed in range(count))
    assert not found.faults, "\n\n".join(found.faults)
    assert found.total == sum(counts.values())
    assert all(counts["refused"] for counts in found.outcomes.values())


def test_the_fuzzer_detects_each_fault() -> None:
    fine = {"outcome": "refused", "how": "bytes", "computing": 0.1, "seconds": 0.1, "bytes": 10}
    for wrong in ({"computing": HANG_S + 1}, {"bytes": PEAK_BYTES + 1}, {"outcome": "fault"}):
        summary = Summary()
        summary.add("trace", 3, {"fault": "x", **fine, **wrong})
        assert len(summary.faults) == 1
    summary = Summary()
    summary.add("trace", 3, dict(fine))
    assert not summary.faults


@pytest.mark.slow
def test_a_worker_may_log_more_than_a_pipe_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # every import is a line on stderr
    with closing(Worker(tmp_path)) as worker:
        assert worker.read("IDX", 0)["outcome"] != "fault"
        assert len(worker.close()) > 4 * PIPE_BYTES


@pytest.mark.slow
def test_a_worker_that_ends_is_a_fault_with_its_last_words(tmp_path: Path) -> None:
    with closing(Worker(tmp_path)) as worker:
        found = worker.read("no such kind", 0)
        assert not worker.alive
    assert found["outcome"] == "fault"
    assert "the process ended (1)" in found["fault"]
    assert found["fault"].endswith("KeyError: 'no such kind'\n")


def test_damage_follows_from_its_seed() -> None:
    content = bytes(range(256))
    made = [damage(KINDS["IDX"], content, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_fingerprints_distinguish_types_and_values() -> None:
    values = [1, True, 1.0, "1", (1,), [1], {"a": 1}, np.int64(1), np.array([1]), None, -0.0, 0.0]
    assert len({fingerprint(value) for value in values}) == len(values)
