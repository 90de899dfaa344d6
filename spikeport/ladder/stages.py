"""The parity ladder: one trained network through every stage, each compared with the one above.

Stages: the float network in training; its NIR file in our float simulator; the same file in
Norse; quantized to chip integers on native; the trainer's own integer pass; after NIR write and
read; the scalar reference; Lava.
"""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spikeport.backends import backend, timed
from spikeport.backends import run as run_backend
from spikeport.energy import EnergyReport, estimate_energy, load_profile
from spikeport.errors import InputError
from spikeport.export.float_graph import export_float
from spikeport.export.nir import FloatNetwork, read_nir_deployed, read_nir_float, write_nir
from spikeport.export.quantize import QuantizationReport, QuantizeConfig
from spikeport.ladder.chip import DEPLOYED as CHIP_DEPLOYED
from spikeport.ladder.chip import LEFT_OUT, chip_rows
from spikeport.network import DeployedNetwork, save_network
from spikeport.parity import (
    Criterion,
    LadderRow,
    Limits,
    ParityReport,
    SkippedStage,
    Ties,
    build_row,
)
from spikeport.runs import (
    Run,
    SampleSet,
    check_classes,
    check_float_samples,
    encode_samples,
    select,
)
from spikeport.simulators.float_counts import float_counts
from spikeport.simulators.ties import compare_float
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.data import Dataset
from spikeport.trainer.description import as_trained_model
from spikeport.trainer.measure import evaluate, evaluate_deployed
from spikeport.trainer.network import SpikingNetwork
from spikeport.workflow import quantize

StageProgress = Callable[[str, int, int], None]
"""Told (stage, samples done, samples in all): (stage, 0, 0) before it runs, more if it is slow."""
DEPLOYED = "quantized, native"
TIE_TOLERANCE = 1e-9
TRAINING_TOLERANCE = 1e-5
"""Training computes in float32, the simulators of its NIR file in float64."""
PACKAGES = ("numpy", "numba", "nir", "torch", "norse")


@dataclasses.dataclass(frozen=True, slots=True)
class LadderConfig:
    """How far each stage goes.

    Attributes:
        samples: held-out samples of the fast stages, None for all.
        calibration: training samples that choose the quantizer's scales.
        reference_samples, lava_samples: of the slow stages, from the first on; 0 leaves one out.
        limits: how much accuracy and spike counts may change by quantization and by ties.
        timeout_s: wall-clock limit of a stage on a slow backend (Lava); None leaves it its own.
    """

    samples: int | None = None
    calibration: int = 256
    reference_samples: int = 4
    lava_samples: int = 32
    limits: Limits = dataclasses.field(default_factory=Limits)
    timeout_s: float | None = None
    profile: str = "loihi1"
    quantize: QuantizeConfig = dataclasses.field(default_factory=QuantizeConfig)

    def __post_init__(self) -> None:
        least = {"samples": 1, "calibration": 1, "reference_samples": 0, "lava_samples": 0}
        for name, fewest in least.items():
            value = getattr(self, name)
            if value is not None and value < fewest:
                raise InputError(f"ladder: {name} is {value}, must be at least {fewest}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise InputError(f"ladder: timeout_s is {self.timeout_s}, must be above 0")


@dataclasses.dataclass(frozen=True, slots=True)
class Ladder:
    """What climbing gave: the report, and what it was made of.

    Attributes:
        energy: the estimate of every stage, by its name.
        quantization: None of a network that was trained in chip arithmetic.
    """

    report: ParityReport
    energy: Mapping[str, EnergyReport]
    quantization: QuantizationReport | None
    network: DeployedNetwork

    @property
    def deployed_energy(self) -> dict[str, EnergyReport]:
        """The estimate of the chip's integers on all samples, the one to show."""
        return {
            name: self.energy[name] for name in (DEPLOYED, CHIP_DEPLOYED) if name in self.energy
        }


def run_ladder(
    model: AnyNetwork,
    data: Dataset,
    folder: Path,
    config: LadderConfig | None = None,
    progress: StageProgress = lambda stage, done, total: None,
) -> Ladder:
    """Take a trained network through every stage and compare.

    Writes `float.nir`, `network.spikeport` and `deployed.nir` to `folder`. A stage whose backend
    cannot run here is listed as skipped, with the reason and the remedy. A network that was trained
    in chip arithmetic has no float stages and is not quantized again (see `chip_ladder`).

    Raises:
        InputError: the network cannot be exported or quantized, or has too few outputs for the
            classes of the data.
        BackendUnavailableError: a backend broke while it ran, or took too long.
        CheckFailedError: Lava's spikes do not follow from the integer dynamics.
    """
    config = config or LadderConfig()
    check_classes(f"data set '{data.name}'", data.classes, model.classes)
    if isinstance(model, QATNetwork):
        return _run_qat_ladder(model, data, folder, config, progress)
    write_nir(export_float(as_trained_model(model)), folder / "float.nir")
    graph = read_nir_float(folder / "float.nir")
    progress("quantization", 0, 0)
    made = quantize(graph, data.train_x[: config.calibration], config.quantize, static=True)
    save_network(made.network, folder / "network.spikeport")
    climber = _LadderRun(graph, made.network, data, config, progress)
    climber.float_stages(model)
    climber.integer_stages(folder / "deployed.nir")
    report = ParityReport(
        rows=tuple(climber.rows),
        network_hash=made.network.content_hash,
        samples=len(climber.labels),
        steps=model.steps,
        environment=environment(),
        skipped=tuple(climber.skipped),
    )
    return Ladder(report, climber.energy, made.report, made.network)


def _run_qat_ladder(
    model: QATNetwork, data: Dataset, folder: Path, config: LadderConfig, progress: StageProgress
) -> Ladder:
    rows, energy, skipped = chip_rows(
        model,
        data,
        folder,
        samples=config.samples,
        slow={"reference": config.reference_samples, "lava": config.lava_samples},
        timeout_s=config.timeout_s,
        profile=config.profile,
        progress=progress,
    )
    network = model.deployed()
    report = ParityReport(
        rows=rows,
        network_hash=network.content_hash,
        samples=rows[0].accuracy.n,
        steps=network.steps,
        environment=environment(),
        skipped=skipped,
    )
    return Ladder(report, energy, None, network)


def environment() -> dict[str, str]:
    """Versions of everything that takes part."""
    found = {"python": platform.python_version()}
    for package in ("spikeport", *PACKAGES):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    if lava := backend("lava").status().version:
        found["lava-nc"] = lava
    return found


class _LadderRun:
    """Runs stage after stage, keeping the run above to compare with."""

    def __init__(
        self,
        graph: FloatNetwork,
        network: DeployedNetwork,
        data: Dataset,
        config: LadderConfig,
        progress: StageProgress,
    ) -> None:
        self.graph, self.network = graph, network
        self.config, self.progress = config, progress
        self.profile = load_profile(config.profile)
        self.x: SampleSet = check_float_samples(
            graph.inputs, graph.steps, data.test_x[: config.samples], static=True
        )
        self.labels = data.test_y[: config.samples]
        self.rows: list[LadderRow] = []
        self.skipped: list[SkippedStage] = []
        self.energy: dict[str, EnergyReport] = {}
        self.training: Run | None = None
        self.above: Run | None = None

    def float_stages(self, model: SpikingNetwork) -> None:
        """Training's own evaluation, the NIR file in our simulator, and in Norse."""
        if self._starts("float, as trained"):
            run = evaluate(model, self.x, ("spikes", "v_charged"))
            self._float_row("float, as trained", run, 0.0)
            self.training = run
        for stage, name, record, tolerance in (
            ("float NIR graph", "float", ("spikes", "v", "v_charged"), TRAINING_TOLERANCE),
            ("same file in Norse", "norse", ("spikes", "v"), TIE_TOLERANCE),
        ):
            if self._starts(stage, name) and (
                done := self._attempt(stage, name, self.graph, self.x, record=record)
            ):
                self._float_row(stage, done, tolerance)

    def integer_stages(self, path: Path) -> None:
        """Native, the trainer's integer pass, after NIR, the scalar reference, Lava."""
        x = encode_samples(self.network.inputs, self.network.steps, self.x)
        if self._starts(DEPLOYED):
            run = run_backend("native", self.network, x, record=("spikes",))
            self._row(DEPLOYED, run, Criterion.CHANGE)
        if self._starts("quantized, in the trainer"):
            run = evaluate_deployed(self.network, x, ("spikes",))
            self._row("quantized, in the trainer", run, Criterion.EXACT)
        write_nir(self.network, path)
        again = read_nir_deployed(path)
        if self._starts("after NIR write and read"):
            run = run_backend("native", again, x, record=("spikes",))
            self._row("after NIR write and read", run, Criterion.EXACT)
        for stage, name, count in (
            ("scalar reference", "reference", self.config.reference_samples),
            ("Lava", "lava", self.config.lava_samples),
        ):
            first = select(self.network.inputs, x, slice(count))
            if not count:
                self.skipped.append(SkippedStage(stage, name, LEFT_OUT))
            elif self._starts(stage, name) and (
                done := self._attempt(stage, name, again, first, record=("spikes",))
            ):
                # Native once more on just these samples, so that event counts compare too.
                self.above = run_backend("native", again, first, record=("spikes",))
                self._row(stage, done, Criterion.EXACT)

    def _starts(self, stage: str, name: str = "native") -> bool:
        self.progress(stage, 0, 0)
        status = backend(name).status()
        if status.version is None:
            self.skipped.append(SkippedStage(stage, name, status.reason, status.fix))
        return status.version is not None

    def _attempt(self, stage: str, name: str, *arguments: Any, record: Sequence[str]) -> Run | None:
        """Run on a backend; one that cannot express this network skips its stage and says why."""
        options = timed(name, self.config.timeout_s, partial(self.progress, stage))
        try:
            return run_backend(name, *arguments, record=record, **options)
        except InputError as error:
            self.skipped.append(SkippedStage(stage, name, str(error)))
            return None

    def _float_row(self, stage: str, run: Run, tolerance: float) -> None:
        run = dataclasses.replace(run, counts=float_counts(self.graph, self.x, run))
        ties = None
        if self.above is not None:
            # Membranes of the graph may be in other units than in training.
            graph = run if run.trace is not None and run.trace.v_charged else self.above
            found = compare_float(self.above, run, self.graph, tolerance, graph)
            ties = Ties(at_threshold=found.at_threshold, unexplained=found.unexplained)
        self._row(stage, run, Criterion.TIES, ties)

    def _row(self, stage: str, run: Run, rule: Criterion, ties: Ties | None = None) -> None:
        assert run.counts is not None  # every stage of the ladder counts
        self.energy[stage] = estimate_energy(self.network, run.counts, self.profile)
        row = build_row(
            stage,
            run,
            self.labels,
            above=self.above,
            rule=rule,
            order=self.network.order,
            ties=ties,
            training=self.training,
            limits=self.config.limits,
            energy_pj=self.energy[stage].total_per_sample,
        )
        self.rows.append(row)
        self.above = run
