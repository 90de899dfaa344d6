"""The parity ladder: one network through all stages, each compared with the previous one."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import time
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spikeport.backends import backend, timed
from spikeport.backends import run as run_backend
from spikeport.energy import EnergyReport, Interval, estimate_energy, load_profile
from spikeport.errors import BackendUnavailableError, InputError
from spikeport.export import QuantizationReport
from spikeport.ladder.ann import ann_energy, ann_of
from spikeport.ladder.chip import Chip, on_chip
from spikeport.ladder.config import LadderConfig
from spikeport.ladder.forms import prepare
from spikeport.ladder.parts import Part, make_part, samples_at_once
from spikeport.ladder.stages import (
    ANN,
    DEPLOYED,
    QUANTIZED,
    SPIKES,
    Forms,
    LadderNetwork,
    Stage,
    StageProgress,
    run_ann,
    run_native,
    run_probed,
    sampled_of,
    stages_of,
)
from spikeport.network import DeployedNetwork
from spikeport.parity import (
    Criterion,
    LadderRow,
    Limits,
    ParityReport,
    SkippedStage,
    Ties,
    build_row,
    merge_rows,
)
from spikeport.report.observations import Observations, Recording, recording_probes
from spikeport.runs import EventCounts, Run, merge_counts
from spikeport.simulators import reference, stored_synapses
from spikeport.simulators.float_counts import float_counts, in_populations
from spikeport.simulators.ties import compare_float
from spikeport.storage import output_folder, write_bytes
from spikeport.trainer.data import Dataset
from spikeport.trainer.measure import evaluate, macs_of
from spikeport.trainer.network import SpikingNetwork
from spikeport.version import __version__
from spikeport.workflow import time_left, trace_chunk

LEFT_OUT = "no samples were requested"
PACKAGES = ("numpy", "numba", "nir", "torch", "norse")


@dataclasses.dataclass(frozen=True, slots=True)
class Ladder:
    """The report of a ladder, and the results it is based on.

    Attributes:
        energy: the estimate of every stage that sends spikes, without a map, by name.
        quantization: None for a network that was in chip arithmetic from the start.
        observed: what the deployed network did, for a report.
        chip: the network on the chip that it is priced on.
    """

    report: ParityReport
    energy: Mapping[str, EnergyReport]
    quantization: QuantizationReport | None
    network: DeployedNetwork
    observed: Observations
    chip: Chip

    @property
    def deployed_energy(self) -> dict[str, EnergyReport]:
        """The estimate of the deployed network on all samples, without a map."""
        return {name: self.energy[name] for name in (QUANTIZED, DEPLOYED) if name in self.energy}

    @property
    def shown_energy(self) -> dict[str, EnergyReport]:
        """The estimate to show: on the fewest cores of the chip if it could be mapped."""
        mapped = dict(list(self.chip.energy.items())[:1])
        return mapped or self.deployed_energy


def run_ladder(
    model: LadderNetwork,
    data: Dataset,
    folder: Path,
    config: LadderConfig | None = None,
    progress: StageProgress = lambda stage, done, total: None,
    *,
    ann: SpikingNetwork | None = None,
) -> Ladder:
    """Run a network through all stages for its kind, and compare them.

    Writes `float.nir` (for float networks), `network.spikeport` and `deployed.nir` to `folder`,
    which is created; for a network that is refused, nothing is. A stage whose backend cannot run
    here, fails or takes too long is listed as skipped, with the reason and the fix. A network with
    too many synapses for the scalar reference is recomputed in sampled neurons. A network in chip
    arithmetic, a QAT network or a deployed one, has no float stages and is not quantized again; for
    a network that was not trained here, the training stages are missing.

    Args:
        folder: for the files.
        ann: what the network was converted from, as the first stage: the next one is judged by the
            accuracy that it loses against it (`Limits.max_conversion_points`).

    Raises:
        InputError: the network cannot be exported or quantized, or has too few outputs for the
            classes of the data; the ANN is not one that it can have been converted from.
        OutputError: the folder cannot be created, or a file in it not be written.
        CheckFailedError: Lava's spikes do not follow from the integer dynamics.
    """
    config = config or LadderConfig()
    if ann is not None:
        ann_of(model, ann)
    with output_folder(folder):
        prepared = prepare(model, data, config, ann, progress)
        deployed = prepared.forms.deployed
        climb = _Climb(prepared.forms, data, config, progress)
        for name, content in prepared.files.items():
            write_bytes(folder / name, content)
    large = stored_synapses(deployed) > reference.MOST_SYNAPSES
    stages = stages_of(type(model), ann=ann is not None, large=large)
    climb.run_fast([stage for stage in stages if stage.samples is None])
    climb.run_slow([stage for stage in stages if stage.samples is not None])
    climb.record(0)
    rows, energy = climb.results()
    report = ParityReport(
        rows=rows,
        network_hash=deployed.content_hash,
        samples=climb.total,
        steps=deployed.steps,
        environment=environment(),
        skipped=tuple(climb.skipped.values()),
    )
    counts = next(climb.counts[title] for title in (QUANTIZED, DEPLOYED) if title in climb.counts)
    chip = on_chip(deployed, climb.profile, counts, climb.macs)
    return Ladder(report, energy, prepared.quantization, deployed, climb.observed, chip)


def environment() -> dict[str, str]:
    """Versions of all software involved."""
    found = {"python": platform.python_version(), "spikeport": __version__}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    if lava := backend("lava").status().version:
        found["lava-nc"] = lava
    return found


class _Climb:
    """Runs stage after stage, keeping the previous run and that of training for comparison.

    The samples are run in parts, so that whole test sets fit in memory; rows are judged on all.
    """

    def __init__(
        self, forms: Forms, data: Dataset, config: LadderConfig, progress: StageProgress
    ) -> None:
        self.forms, self.data, self.config, self.progress = forms, data, config, progress
        self.profile = load_profile(config.profile)
        self.total = len(data.test_y[: config.samples])
        some = self._part(0, min(1, self.total))  # Samples that do not fit are refused at once.
        if forms.ann is not None:
            run_ann(forms, some)
        self.at_once = samples_at_once(data, forms.graph, forms.deployed)
        # Only its conversion changes such a network on purpose, so no other limits apply.
        integer = Limits(max_conversion_points=config.limits.max_conversion_points)
        self.limits = integer if forms.graph is None else config.limits
        self.rows: dict[str, LadderRow] = {}
        self.counts: dict[str, EventCounts] = {}
        self.skipped: dict[str, SkippedStage] = {}
        self.training: Run | None = None
        self.ann: Run | None = None
        self.began: dict[str, float] = {}
        self.macs = None if forms.ann is None else macs_of(forms.ann)
        self.observed = Observations()

    def run_fast(self, stages: list[Stage]) -> None:
        """Run the stages on all samples, part by part."""
        for first in range(0, max(self.total, 1), self.at_once):
            part = self._part(first, min(first + self.at_once, self.total))
            above: Run | None = None
            self.training = self.ann = None
            for stage in stages:
                if stage.title in self.skipped:
                    continue
                if (run := self._run(stage, part, first)) is None:
                    continue
                above = self._add(stage, run, part, above, first)
                if stage.is_training:
                    self.training = above
                if stage.title == ANN:
                    self.ann = above

    def run_slow(self, stages: list[Stage]) -> None:
        """Run the stages on their few samples, each compared with native on the same samples."""
        at_once = trace_chunk(self.forms.deployed, SPIKES)
        for stage in stages:
            if not (count := self._count(stage)):
                self._skip(stage, LEFT_OUT)
            for first in range(0, count, at_once):
                part = self._part(first, min(first + at_once, count))
                given = {"above": run_probed(self.forms, part)} if stage.sampled else {}
                if (run := self._run(stage, part, first, **given)) is None:
                    break
                if self.forms.trained is not None and min(at_once, self.at_once) < self.total:
                    # The stored one is of other samples.
                    self.training = evaluate(self.forms.trained, part.floats)
                above = given.get("above") or run_native(self.forms, part)
                self._add(stage, run, part, above, first)

    def record(self, sample: int) -> None:
        """Run one test sample again on native, recording its spikes and states."""
        network, part = self.forms.deployed, self._part(sample, sample + 1)
        run = run_backend("native", network, part.integers, record=recording_probes(network))
        self.observed.recording = Recording(sample, int(self.data.test_y[sample]), run)

    def results(self) -> tuple[tuple[LadderRow, ...], dict[str, EnergyReport]]:
        """The rows, and the energy by stage."""
        energy = {
            title: estimate_energy(self.forms.deployed, found, self.profile, ann_macs=self.macs)
            for title, found in self.counts.items()
        }
        each: dict[str, Interval | None] = {
            title: found.total_per_sample for title, found in energy.items()
        }
        if self.macs is not None:
            each[ANN] = ann_energy(self.macs, self.profile)
        rows = (
            dataclasses.replace(found, energy_pj=each.get(title))
            for title, found in self.rows.items()
        )
        return tuple(rows), energy

    def _count(self, stage: Stage) -> int:
        """Number of samples that a stage runs."""
        return self.total if stage.samples is None else min(stage.samples(self.config), self.total)

    def _part(self, first: int, end: int) -> Part:
        return make_part(self.data, first, end, self.forms.graph, self.forms.deployed)

    def _run(self, stage: Stage, part: Part, first: int, **given: Any) -> Run | None:
        """Run a stage on a part of its samples; leave it out with a reason if it cannot run."""
        self.progress(stage.title, first, self.total if self.at_once < self.total else 0)
        status = backend(stage.backend).status()
        if status.version is None:
            self._skip(stage, status.reason, status.fix)
            return None
        began = self.began.setdefault(stage.title, time.monotonic())
        report = partial(self.progress, stage.title)
        options = timed(stage.backend, self.config.timeout_s, report)
        try:
            if "timeout_s" in options:  # a limit for all parts together
                limit, count = options["timeout_s"], self._count(stage)
                options["timeout_s"] = time_left(stage.backend, limit, began, first, count)
            return stage.run(self.forms, part, **options, **given)
        except InputError as error:
            # Without native there is no ladder; a backend that ran a part can run the network.
            if stage.backend == "native" or stage.title in self.rows:
                raise
            what, *each = error.args
            self._skip(
                stage, " ".join((what, "; ".join(one.removeprefix("- ") for one in each))).strip()
            )
        except BackendUnavailableError as error:
            if stage.backend == "native":
                raise
            what, *output = error.args  # the last line of which says what happened
            self._skip(stage, " ".join((what, *output[-1:])), failed=True)
        return None

    def _skip(self, stage: Stage, reason: str, fix: str = "", *, failed: bool = False) -> None:
        """Leave out a stage, with what it has done."""
        for kept in (self.rows, self.counts):
            kept.pop(stage.title, None)
        self.skipped[stage.title] = SkippedStage(
            stage.title, stage.backend, reason, fix, failed=failed
        )

    def _add(self, stage: Stage, run: Run, part: Part, above: Run | None, first: int) -> Run:
        """Add the row of a run; return the run, with its events counted if they were not."""
        ties: Ties | None = None
        rule = Criterion.CONVERSION if above and above is self.ann else stage.criterion
        if stage.criterion is Criterion.TIES:
            assert self.forms.graph is not None  # such stages run it
            run = dataclasses.replace(run, counts=float_counts(self.forms.graph, part.floats, run))
            if above is not None and rule is Criterion.TIES:
                # The graph's membranes may have other units than in training.
                graph = run if run.trace is not None and run.trace.v_charged else above
                found = compare_float(above, run, self.forms.graph, stage.tolerance, graph)
                ties = Ties(at_threshold=found.at_threshold, unexplained=found.unexplained)
        if stage.criterion is Criterion.CHANGE and self.forms.graph is not None:
            above = above and in_populations(self.forms.graph, above)
        labels, order = self.data.test_y[first : first + run.samples], self.forms.deployed.order
        if stage.title in (QUANTIZED, DEPLOYED):
            self.observed.add(run, labels)
        row = build_row(
            stage.title,
            run,
            labels,
            above=above,
            rule=rule,
            order=order,
            ties=ties,
            training=self.training,
            limits=self.limits,
            macs=self.macs if stage.title == ANN else None,
            sampled=sampled_of(self.forms.deployed, run) if stage.sampled else None,
        )
        if stage.title in self.rows:
            row = merge_rows([self.rows[stage.title], row], order, self.limits)
        self.rows[stage.title] = row
        if run.counts is not None:  # an ANN has no events
            known = [self.counts[stage.title]] if stage.title in self.counts else []
            self.counts[stage.title] = merge_counts([*known, run.counts])
        return run
