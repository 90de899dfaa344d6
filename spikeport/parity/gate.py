"""`Gate`: the result of judging a comparison by tolerances, as plain data."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class GateOutcome(StrEnum):
    """The result of a case."""

    PASSED = "passed"
    TOLERATED = "tolerated"
    """There is a difference, which the tolerances allow."""
    FAILED = "FAILED"
    INCONCLUSIVE = "inconclusive"
    """It holds, but proves nothing, which the tolerances allow."""


@dataclass(frozen=True, slots=True)
class GateCase:
    """One limit, applied to one run or network.

    Attributes:
        value, limit: as text; the limit is empty if the value is only shown.
        details: such as where the first difference is.
    """

    name: str
    outcome: GateOutcome
    value: str
    limit: str = ""
    details: str = ""

    @property
    def failed(self) -> bool:
        """Whether the value is beyond the limit."""
        return self.outcome is GateOutcome.FAILED

    def __str__(self) -> str:
        limit = f", limit {self.limit}" if self.limit else ""
        return f"{self.name}: {self.value}{limit}" + (f"; {self.details}" if self.details else "")


@dataclass(frozen=True, slots=True)
class GateSuite:
    """All cases of the first run, or of another run compared with it.

    Attributes:
        backend, version, network_hash: of the run.
        samples: number of samples that were compared.
    """

    name: str
    backend: str
    version: str
    network_hash: str
    samples: int
    wall_s: float
    cases: tuple[GateCase, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """A comparison judged by tolerances: a suite for each run."""

    suites: tuple[GateSuite, ...]

    @property
    def passed(self) -> bool:
        """Whether no case has failed."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """How many cases have failed, and the first of them; None if none has."""
        failed = [(suite, case) for suite in self.suites for case in suite.cases if case.failed]
        if not failed:
            return None
        suite, case = failed[0]
        return f"{self.summary}; {suite.name}: {case}"

    @property
    def summary(self) -> str:
        """How many cases there are, and how many of them are not simply passed."""
        counts = self.counts()
        total, failed = sum(counts.values()), counts[GateOutcome.FAILED]
        found = f"{failed} of {total} checks failed" if failed else f"{total} checks passed"
        for outcome in (GateOutcome.TOLERATED, GateOutcome.INCONCLUSIVE):
            found += f", {counts[outcome]} {outcome}" if counts[outcome] else ""
        return found

    def counts(self) -> dict[str, int]:
        """Number of cases by outcome."""
        found = Counter(str(case.outcome) for suite in self.suites for case in suite.cases)
        return {str(outcome): found[str(outcome)] for outcome in GateOutcome}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"passed": self.passed, "counts": self.counts(), **dataclasses.asdict(self)}
