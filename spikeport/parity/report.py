"""The parity ladder: one row per stage, each compared with the previous stage.

Rules. EXACT: every spike, score and event count is equal. TIES: spikes may differ only where the
membrane equals the threshold within float rounding, and only up to limits on the share of differing
spikes and on the change of accuracy. CHANGE: the stage changes the network on purpose; differences
are shown, and the loss of accuracy is limited. CONVERSION: the same after an ANN, which sends no
spikes, so that only predictions are compared; its limit is one of its own. Every stage is also
compared with training (see `drift`).

Rows may have different sample counts (a slow simulator runs fewer): all comparisons are made on the
first `compared` samples, which both rows have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from spikeport.energy import Interval
from spikeport.parity.drift import Drift
from spikeport.parity.statistics import Accuracy
from spikeport.traces import Divergence


class Criterion(StrEnum):
    """How a row may differ from the previous row."""

    EXACT = "exact"
    TIES = "ties"
    CHANGE = "change"
    CONVERSION = "conversion"

    @property
    def on_purpose(self) -> bool:
        """Whether the stage changes the network on purpose."""
        return self in (Criterion.CHANGE, Criterion.CONVERSION)


@dataclass(frozen=True, slots=True)
class Ties:
    """Result of analysing the differing spikes of two float runs.

    Attributes:
        at_threshold: differences that begin with a membrane at the threshold.
        unexplained: differences that do not.
    """

    at_threshold: int
    unexplained: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How a stage differs from the previous one, on the first `compared` samples.

    Attributes:
        network: content hash of the previous stage's network, empty for a float graph.
        spikes: per population, differing spikes; None if they cannot be compared.
        spikes_before: spikes of the previous stage, of all populations that it traced, or of the
            sampled neurons.
        predictions: differing predictions.
        extra_errors: misclassified samples of this stage minus those of the previous one.
        scores: differing scores; None if they are of different kinds.
        counts: names of event counts that are unequal, in any part of the samples.
        states: differing values of u, v and further state variables; None if none was compared.
        ties, unexplained: result of the tie analysis (see `Ties`), if one was made.
        first: the first differing spike, or value of the compared state.
    """

    compared: int
    network: str
    spikes: Mapping[str, int | None]
    spikes_before: int
    predictions: int
    extra_errors: int
    scores: int | None
    counts: tuple[str, ...]
    ties: int | None
    unexplained: int | None
    first: Divergence | None
    states: int | None = None

    @property
    def total_spikes(self) -> int | None:
        """Differing spikes of all populations, None if any cannot be compared."""
        known = [count for count in self.spikes.values() if count is not None]
        return sum(known) if len(known) == len(self.spikes) else None


@dataclass(frozen=True, slots=True)
class Sampled:
    """The neurons that a stage computes and compares: some of each population.

    Attributes:
        neurons: how many they are.
        of: of how many.
    """

    neurons: int
    of: int

    def __str__(self) -> str:
        return f"{self.neurons:,} of {self.of:,} neurons"


@dataclass(frozen=True, slots=True)
class LadderRow:
    """One stage of the ladder.

    Attributes:
        spikes: per population, summed over all `accuracy.n` samples and all compared neurons.
        synaptic_events: on non-zero weights, None if the backend does not count them.
        energy_pj: estimate per sample.
        difference: from the previous stage, None for the first row.
        drift: from training; None for training itself.
        silent: populations that never fire; none are known if only some neurons are compared.
        macs: multiply-accumulates of a sample in an ANN; None for a network that sends spikes.
        silent_outputs, tied_outputs: samples without a decided class, because every score is 0 or
            several share the highest; their prediction is the lowest tied index.
        sampled: the neurons that are compared, with their u and v; None for the spikes of all.
    """

    stage: str
    backend: str
    version: str
    network_hash: str
    accuracy: Accuracy
    spikes: Mapping[str, int]
    synaptic_events: int | None
    energy_pj: Interval | None
    rule: Criterion | None
    difference: Difference | None
    verdict: str
    passed: bool
    wall_s: float
    drift: Drift | None = None
    silent: tuple[str, ...] = ()
    silent_outputs: int = 0
    tied_outputs: int = 0
    macs: int | None = None
    sampled: Sampled | None = None

    @property
    def is_ann(self) -> bool:
        """Whether it is the ANN that the network was converted from, without spikes or events."""
        return self.macs is not None

    @property
    def dead(self) -> bool:
        """Whether no neuron fires at all, so that equality proves nothing."""
        return bool(self.silent) and not any(self.spikes.values())

    @property
    def identical(self) -> bool:
        """Whether its spikes are shown to be those of the previous row, apart from ties."""
        return self.passed and self.rule in (Criterion.EXACT, Criterion.TIES) and not self.dead

    @property
    def undecided(self) -> bool:
        """Whether no sample has a decided class, so that equal predictions prove nothing."""
        return self.silent_outputs + self.tied_outputs == self.accuracy.n


@dataclass(frozen=True, slots=True)
class SkippedStage:
    """A stage without a row: the reason, and a command that fixes it, if there is one.

    Attributes:
        failed: it began, but its backend failed or took too long.
    """

    stage: str
    backend: str
    reason: str
    fix: str = ""
    failed: bool = False

    @property
    def outcome(self) -> str:
        """What became of it, in words."""
        return "not finished" if self.failed else "not run"


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The whole ladder.

    Attributes:
        samples, steps: of the full evaluation: n and T.
        environment: versions of all software involved.
        command: the command that produces this report.
    """

    rows: tuple[LadderRow, ...]
    network_hash: str
    samples: int
    steps: int
    environment: Mapping[str, str]
    command: str = ""
    skipped: tuple[SkippedStage, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every row that ran passed."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    @property
    def ann(self) -> LadderRow | None:
        """The row of the ANN that the network was converted from; None without one."""
        return next((row for row in self.rows if row.is_ann), None)

    @property
    def spiking(self) -> tuple[LadderRow, ...]:
        """The rows of all stages that send spikes."""
        return tuple(row for row in self.rows if not row.is_ann)

    @property
    def dead(self) -> tuple[str, ...]:
        """Stages in which no neuron fires."""
        return tuple(row.stage for row in self.rows if row.dead)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"passed": self.passed, **dataclasses.asdict(self)}
