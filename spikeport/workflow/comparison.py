"""Run one network on several backends: if deployed, spikes, scores and counts must be equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import ArrayLike

from spikeport.backends import run as run_backend
from spikeport.backends import timed
from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork
from spikeport.network import DeployedNetwork
from spikeport.parity import Criterion, Gate, LadderRow, Ties, Tolerances, build_row
from spikeport.runs import RecordSpec, ResetSchedule, Run, Samples, everything
from spikeport.simulators.ties import compare_float
from spikeport.traces import TraceComparison, compare_runs
from spikeport.workflow.continuous import run_continuous
from spikeport.workflow.gate import Compared, Judge

ANOTHER = "another network, judged by the tolerances"
"""Verdict of a run of a network that may differ from the first."""
StageProgress = Callable[[str, int, int], None]
"""Called with (stage, samples done, total samples): (stage, 0, 0) at the start, more if slow."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs, each compared with the first.

    Attributes:
        rows: one per run, the first without a difference.
        traces: of u, v and spikes, by the name of the row; empty unless requested.
        gate: the comparison judged by tolerances, if some were given.
    """

    rows: tuple[LadderRow, ...]
    traces: Mapping[str, TraceComparison] = field(default_factory=dict)
    gate: Gate | None = None

    @property
    def problem(self) -> str | None:
        """The first difference and its row; None if all are equal, or within the tolerances."""
        if self.gate is not None:
            return self.gate.problem
        for row in self.rows:
            diverged = self.traces[row.stage].first if row.stage in self.traces else None
            if diverged is not None:
                verdict = "FAILED: spikes are equal, states are not" if row.passed else row.verdict
                return f"{row.stage}: {verdict}; first value at {diverged}"
            if not row.passed:
                return f"{row.stage}: {row.verdict}"
        return None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data: dict[str, Any] = {"rows": [dataclasses.asdict(row) for row in self.rows]}
        if self.traces:
            data["traces"] = {stage: found.as_dict() for stage, found in self.traces.items()}
        if self.gate is not None:
            data["gate"] = self.gate.as_dict()
        return data


def compare_backends(
    network: DeployedNetwork | FloatNetwork,
    samples: Samples,
    labels: ArrayLike,
    backends: Sequence[str] | None = None,
    *,
    others: Mapping[str, DeployedNetwork | FloatNetwork] | None = None,
    trace: bool = False,
    timeout_s: float | None = None,
    resets: ResetSchedule | None = None,
    tolerances: Tolerances | None = None,
    progress: StageProgress = lambda stage, done, total: None,
) -> Comparison:
    """Run a network on several backends and compare each with the first.

    Runs of a deployed network must be equal. Spikes of a float network may differ where a membrane
    equals its threshold up to rounding.

    Args:
        samples: integers or, of a float network, float units, as for `run`.
        labels: the class of each sample.
        backends: default native and reference, of a float network float and norse.
        others: by name, networks that must be equivalent; they run on the first backend.
        trace: also compare u, v and further state variables at every step, of a deployed network.
        timeout_s: wall-clock limit of each run on a slow backend (Lava).
        resets: run all samples as one stream with these resets, see `run_continuous`.
        tolerances: judge the comparison by these limits instead (`Comparison.gate`).

    Raises:
        InputError: fewer than two runs; an unknown backend, or one that cannot run the network; a
            float network is to be compared with a deployed one, or its trace; a tolerance cannot
            be measured.
        BackendUnavailableError: a backend is not installed, failed, or took too long.
    """
    deployed = isinstance(network, DeployedNetwork)
    if backends is None:
        backends = ("native", "reference") if deployed else ("float", "norse")
    if any(isinstance(other, DeployedNetwork) != deployed for other in (others or {}).values()):
        raise InputError("compare: one network is deployed, the other is a float graph")
    if trace and not deployed:
        raise InputError("compare: traces of a float network differ by rounding; needs no trace")
    if resets is not None and not deployed:
        raise InputError("compare: resets are those of a deployed network, this is a float graph")
    first = backends[0] if backends else "native" if deployed else "float"
    stages = [(name, name, network) for name in backends]
    stages += [(f"{first}, {name}", first, other) for name, other in (others or {}).items()]
    if len(stages) < 2:
        raise InputError(f"compare: backends are {list(backends)}, needs two, or another network")
    judge = None
    if tolerances is not None:
        judge = Judge(tolerances, [one for _, _, one in stages], trace=trace)
    changed = tolerances is not None and tolerances.different_network
    found: list[Compared] = []
    above: Run | None = None
    for stage, name, one in stages:
        progress(stage, 0, 0)
        options = timed(name, timeout_s, partial(progress, stage))
        record = _record(name, one, trace)
        if resets is None or not isinstance(one, DeployedNetwork):
            run = run_backend(name, one, samples, record=record, **options)
        else:
            run = run_continuous(one, samples, resets, backend=name, record=record, **options)
        if changed and one is not network:
            row = build_row(stage, run, labels, above=above, rule=Criterion.CHANGE)
            row = dataclasses.replace(row, verdict=ANOTHER, passed=True)
        elif isinstance(network, DeployedNetwork):
            row = build_row(stage, run, labels, above=above, order=network.order)
        else:
            row = _float_row(stage, run, labels, above, network)
        traced = None
        if trace and above is not None and isinstance(network, DeployedNetwork):
            traced = compare_runs(above, run, network.order)
        above = above or run
        found.append(Compared(one, dataclasses.replace(run, trace=None), row, traced))
    return Comparison(
        rows=tuple(one.row for one in found),
        traces={one.row.stage: one.trace for one in found if one.trace is not None},
        gate=None if judge is None else judge.gate(found),
    )


def _record(backend: str, network: DeployedNetwork | FloatNetwork, trace: bool) -> RecordSpec:
    if isinstance(network, DeployedNetwork):
        return everything(network) if trace else ("spikes",)
    return ("spikes", "v_charged") if backend == "float" else ("spikes",)


def _float_row(
    stage: str, run: Run, labels: ArrayLike, above: Run | None, network: FloatNetwork
) -> LadderRow:
    ties: Ties | None = None
    if above is not None:
        charged = [one for one in (above, run) if one.trace is not None and one.trace.v_charged]
        if charged:
            found = compare_float(above, run, network, membranes=charged[0])
            ties = Ties(at_threshold=found.at_threshold, unexplained=found.unexplained)
    return build_row(stage, run, labels, above=above, rule=Criterion.TIES, ties=ties)
