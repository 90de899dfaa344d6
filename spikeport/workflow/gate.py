"""Judge a comparison by tolerances: one case for each limit and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from spikeport.backends import check_deployed
from spikeport.energy import EnergyReport, estimate_energy, load_profile
from spikeport.errors import CheckFailedError, InputError
from spikeport.export.nir import FloatNetwork
from spikeport.mapping import map_network
from spikeport.network import DeployedNetwork
from spikeport.parity import (
    Criterion,
    Gate,
    GateCase,
    GateOutcome,
    GateSuite,
    LadderRow,
    Tolerances,
)
from spikeport.runs import Run
from spikeport.traces import TraceComparison
from spikeport.traces.divergence import number
from spikeport.workflow.mapped_energy import estimate_mapped_energy

AnyNetwork = DeployedNetwork | FloatNetwork
NOT_COMPARABLE = "cannot be compared"


@dataclass(frozen=True, slots=True)
class Compared:
    """A run of the comparison, without its trace.

    Attributes:
        network: what was run.
        row: the run compared with the first.
        trace: the same of its trace, if that was requested.
    """

    network: AnyNetwork
    run: Run
    row: LadderRow
    trace: TraceComparison | None = None


class Judge:
    """Tolerances applied to a comparison of these networks.

    Everything that needs no run is checked at once, before anything is run.

    Args:
        networks: in the order of their runs; a network may be there several times.
        trace: whether traces will be compared.

    Raises:
        InputError: a limit cannot be measured here, or names an unknown target or profile.
        BackendUnavailableError: a target of another package cannot be loaded.
    """

    def __init__(
        self, tolerances: Tolerances, networks: Sequence[AnyNetwork], *, trace: bool
    ) -> None:
        self.tolerances = tolerances
        if tolerances.max_state_difference and not trace:
            raise InputError("tolerances: 'max_state_difference' needs traces (--trace)")
        needs = [*tolerances.prices, *(n for n in ("fits", "max_cores") if getattr(tolerances, n))]
        if needs and any(isinstance(one, FloatNetwork) for one in networks):
            raise InputError(f"tolerances: '{needs[0]}' is for deployed networks, not float graphs")
        self.profile = load_profile(tolerances.energy_profile)
        for name in tolerances.prices:
            if "latency" in name and not self.profile.time_ns:
                raise InputError(
                    f"tolerances: '{name}' needs times, profile '{self.profile.name}' has none"
                )
        self.fixed = {
            id(one): (*self._fits(one), *self._cores(one))
            for one in networks
            if isinstance(one, DeployedNetwork)
        }

    def gate(self, compared: Sequence[Compared]) -> Gate:
        """All cases, in a suite for each run."""
        first = compared[0]
        suites, done = [], set[int]()
        for one in compared:
            name = one.row.stage if one is first else f"{one.row.stage} against {first.row.stage}"
            cases = [] if one is first else self._pair(one, first)
            cases += [self._activity(one.row), *self._accuracy(one.row)]
            if id(one.network) not in done and isinstance(one.network, DeployedNetwork):
                done.add(id(one.network))
                cases += [*self.fixed[id(one.network)], *self._prices(one.network, compared)]
            row, shared = one.row, one.row.difference
            suites.append(
                GateSuite(
                    name=name,
                    backend=row.backend,
                    version=row.version,
                    network_hash=row.network_hash,
                    samples=shared.compared if shared else row.accuracy.n,
                    wall_s=row.wall_s,
                    cases=tuple(cases),
                )
            )
        return Gate(tuple(suites))

    def _pair(self, one: Compared, first: Compared) -> list[GateCase]:
        """Cases of a run that is compared with the first."""
        row, allowed = one.row, self.tolerances
        found = row.difference
        assert found is not None
        exact = row.rule is Criterion.EXACT and not allowed.spikes_may_differ
        cases = [] if not found.network else [self._network(one, first)]
        cases += self._spikes(one, first)
        gap = _largest_score_gap(first.run, one.run, found.compared)
        limit = allowed.max_score_difference
        if limit is None and exact:
            limit = 0
        if gap is None:
            cases.append(_missing("score difference", limit, "the readouts differ"))
        else:
            cases.append(_at_most("score difference", gap, limit, number))
        if row.rule is Criterion.EXACT:
            outcome = GateOutcome.PASSED
            if found.counts:
                outcome = GateOutcome.FAILED if exact else GateOutcome.TOLERATED
            value = f"{', '.join(found.counts)} differ" if found.counts else "equal"
            cases.append(GateCase("event counts", outcome, value, "equal" if exact else ""))
        if one.trace is not None:
            cases += self._states(one.trace, exact=exact)
        if (least := allowed.min_agreement) is not None:
            equal = found.compared - found.predictions
            cases.append(self._decided(row, _at_least("agreement", equal, found.compared, least)))
        if (most := allowed.max_accuracy_loss_points) is not None:
            lost = 100 * found.extra_errors / found.compared
            value = f"{lost:+.6g} points" if lost else "0 points"
            outcome = GateOutcome.TOLERATED if lost else GateOutcome.PASSED
            if lost > most:
                outcome = GateOutcome.FAILED
            cases.append(GateCase("accuracy loss", outcome, value, f"{most:g} points"))
        return cases

    def _network(self, one: Compared, first: Compared) -> GateCase:
        here, there = one.row.network_hash, first.row.network_hash
        if here == there:
            return GateCase("network", GateOutcome.PASSED, f"the same, {here[:12]}", "the same")
        allowed = self.tolerances.different_network
        return GateCase(
            "network",
            GateOutcome.TOLERATED if allowed else GateOutcome.FAILED,
            f"{here[:12]} against {there[:12]}",
            "" if allowed else "the same",
        )

    def _spikes(self, one: Compared, first: Compared) -> list[GateCase]:
        """Differing spikes: the number is always shown, the share if it has a limit."""
        allowed, found, rule = self.tolerances, one.row.difference, one.row.rule
        assert found is not None
        most, share = allowed.max_differing_spikes, allowed.max_differing_spike_share
        name, stated = "differing spikes", most is not None or share is not None
        if rule is Criterion.EXACT and not stated:
            most = 0
        total, before = found.total_spikes, found.spikes_before
        alike = first.run.spike_counts.keys() == one.run.spike_counts.keys()
        if total is None or not alike:
            return [_missing(name, most if share is None else share, "the populations differ")]
        first_place = f"first at {found.first}" if found.first else ""
        if rule is Criterion.TIES and not stated:
            outcome = GateOutcome.TOLERATED if total else GateOutcome.PASSED
            if not one.row.passed:
                outcome = GateOutcome.FAILED
            cases = [GateCase(name, outcome, str(total), "ties only", one.row.verdict)]
        else:
            cases = [_at_most(name, total, most, str, first_place)]
        if share is not None:
            reached = total / before if before else float(bool(total))
            text = f"{reached:.6g} ({total:,} of {before:,})"
            cases.append(_at_most("share of differing spikes", reached, share, lambda _: text))
        return cases

    def _states(self, found: TraceComparison, *, exact: bool) -> list[GateCase]:
        """The largest difference of each traced variable."""
        largest: dict[str, float] = {}
        for total in found.totals:
            if total.variable != "spikes":
                most = max(largest.get(total.variable, 0), total.largest)
                largest[total.variable] = most
        given = self.tolerances.max_state_difference
        cases = []
        for variable in dict.fromkeys((*largest, *given)):
            name, limit = f"difference of {variable}", given.get(variable, 0 if exact else None)
            if variable not in largest:
                cases.append(_missing(name, limit, "not in both traces"))
                continue
            at = found.first
            details = f"first at {at}" if at is not None and at.variable == variable else ""
            cases.append(_at_most(name, largest[variable], limit, number, details))
        if found.uncompared:
            left = f"{', '.join(found.uncompared)} not compared, only in one of the traces"
            cases.append(GateCase("traced variables", GateOutcome.TOLERATED, left))
        return cases

    def _activity(self, row: LadderRow) -> GateCase:
        spikes, silent = sum(row.spikes.values()), GateOutcome.FAILED
        if self.tolerances.allow_silent:
            silent = GateOutcome.INCONCLUSIVE
        details = "no neuron fires, so that equality proves nothing" if row.dead else ""
        outcome = silent if row.dead else GateOutcome.PASSED
        return GateCase("spikes", outcome, f"{spikes:,}", "at least 1", details)

    def _accuracy(self, row: LadderRow) -> list[GateCase]:
        if (least := self.tolerances.min_accuracy) is None:
            return []
        found = row.accuracy
        return [self._decided(row, _at_least("accuracy", found.correct, found.n, least))]

    def _decided(self, row: LadderRow, case: GateCase) -> GateCase:
        """The case, which proves nothing if no sample has a decided class."""
        if case.failed or not row.undecided:
            return case
        outcome = GateOutcome.INCONCLUSIVE if self.tolerances.allow_silent else GateOutcome.FAILED
        details = "no sample has a decided class: scores are 0 or tied"
        return GateCase(case.name, outcome, case.value, case.limit, details)

    def _fits(self, network: DeployedNetwork) -> list[GateCase]:
        if not self.tolerances.fits:
            return []
        cases = []
        for found in check_deployed(network, self.tolerances.fits):
            told = "; ".join(str(one) for one in found.unsupported if one.stops or found.runs)
            outcome = GateOutcome.TOLERATED if found.unsupported else GateOutcome.PASSED
            value = "runs, with workarounds" if found.unsupported else "runs"
            if not found.runs:
                outcome, value = GateOutcome.FAILED, "cannot run"
            cases.append(GateCase(f"fits {found.target}", outcome, value, "runs", told))
        return cases

    def _cores(self, network: DeployedNetwork) -> list[GateCase]:
        cases = []
        for chip, most in self.tolerances.max_cores.items():
            name = f"cores of {chip}"
            try:
                used = len(map_network(network, chip).cores)
            except CheckFailedError as error:
                cases.append(
                    GateCase(name, GateOutcome.FAILED, "does not fit", str(most), str(error))
                )
                continue
            outcome = GateOutcome.FAILED if used > most else GateOutcome.PASSED
            cases.append(GateCase(name, outcome, str(used), str(most)))
        return cases

    def _prices(self, network: DeployedNetwork, compared: Sequence[Compared]) -> list[GateCase]:
        if not (limits := self.tolerances.prices):
            return []
        runs = [one for one in compared if one.network is network and one.run.counts is not None]
        if not runs:
            name = next(iter(limits))
            raise InputError(f"tolerances: '{name}' needs event counts, which no backend here has")
        counts = runs[0].run.counts
        assert counts is not None
        estimator = estimate_mapped_energy if self.tolerances.energy_mapped else estimate_energy
        try:
            estimate = estimator(network, counts, self.profile)
        except CheckFailedError as error:
            return [
                GateCase(_priced(name), GateOutcome.FAILED, "does not fit", f"{most:g}", str(error))
                for name, most in limits.items()
            ]
        details = f"an estimate for {self.profile.title}, per sample"
        cases = []
        for name, most in limits.items():
            reached, unit = _measured(name, estimate)
            outcome = GateOutcome.FAILED if reached > most else GateOutcome.PASSED
            value, limit = f"{reached:.6g} {unit}", f"{most:g} {unit}"
            cases.append(GateCase(_priced(name), outcome, value, limit, details))
        return cases


def _priced(name: str) -> str:
    """`max_energy_high_uj` as the name of a case."""
    _, what, level, _ = name.split("_")
    return f"{level} {what}"


def _measured(name: str, estimate: EnergyReport) -> tuple[float, str]:
    """Value per sample and unit of one of `PRICED`."""
    _, what, level, _ = name.split("_")
    if what == "energy":
        return getattr(estimate.total_per_sample, level) / 1e6, "µJ"
    return getattr(estimate.per_sample(estimate.time_ns), level) / 1e3, "µs"


def _at_most(
    name: str,
    value: float,
    limit: float | None,
    text: Callable[[float], str],
    details: str = "",
) -> GateCase:
    """A difference that has an upper limit, or, if that is None, is only shown."""
    outcome = GateOutcome.TOLERATED if value else GateOutcome.PASSED
    if limit is not None and not value <= limit:
        outcome = GateOutcome.FAILED
    return GateCase(name, outcome, text(value), "" if limit is None else f"{limit:g}", details)


def _at_least(name: str, reached: int, count: int, limit: float) -> GateCase:
    share = reached / count
    outcome = GateOutcome.PASSED if share >= limit else GateOutcome.FAILED
    return GateCase(name, outcome, f"{share:.6g} ({reached:,} of {count:,})", f"{limit:g}")


def _missing(name: str, limit: float | None, why: str) -> GateCase:
    """A difference that cannot be measured, which breaks any limit."""
    outcome = GateOutcome.TOLERATED if limit is None else GateOutcome.FAILED
    return GateCase(name, outcome, NOT_COMPARABLE, "" if limit is None else f"{limit:g}", why)


def _largest_score_gap(first: Run, run: Run, shared: int) -> float | None:
    """The largest difference of a score; None if the readouts differ in name or size."""
    if first.scores.keys() != run.scores.keys():
        return None
    largest = 0.0
    for name, scores in run.scores.items():
        other = first.scores[name]
        if other.shape[1:] != scores.shape[1:]:
            return None
        gaps = np.abs(scores[:shared].astype(np.float64) - other[:shared].astype(np.float64))
        largest = max(largest, float(gaps.max(initial=0)))
    return largest
