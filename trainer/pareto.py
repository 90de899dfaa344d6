"""The Pareto front of accuracy and energy: one network per energy budget, from the same start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from spikeport.energy import HardwareProfile, Interval, load_profile
from spikeport.errors import TrainingError
from spikeport.parity import Accuracy, accuracy
from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.data import Dataset
from spikeport.trainer.loop import Start, TrainingCallbacks, load_checkpoint, train
from spikeport.trainer.loop.checkpoint import best_path
from spikeport.trainer.measure import measure_accuracy
from spikeport.trainer.measure.metrics import SPREAD, count_and_price, spread

UNBOUNDED = "unbounded"
"""Name of the network trained without a budget."""


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """A trained network, measured on test samples.

    Attributes:
        checkpoint: its path; None for a start that was passed in.
        budget_uj: per sample, None for the start.
        accuracy: on all test samples.
        spikes, synaptic_events: per sample.
        energy_uj: dynamic energy per sample, estimated.
    """

    checkpoint: str | None
    budget_uj: float | None
    accuracy: Accuracy
    spikes: float
    synaptic_events: float
    energy_uj: Interval

    @property
    def met(self) -> bool | None:
        """Whether the nominal estimate is within the budget; None without a budget."""
        return None if self.budget_uj is None else self.energy_uj.nominal <= self.budget_uj

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "checkpoint": self.checkpoint,
            "budget_uj": self.budget_uj,
            "met": self.met,
            "accuracy": self.accuracy.rate,
            "accuracy_low": self.accuracy.low,
            "accuracy_high": self.accuracy.high,
            "test_samples": self.accuracy.n,
            "spikes": self.spikes,
            "synaptic_events": self.synaptic_events,
            "energy_uj": self.energy_uj.as_dict(),
        }


def train_pareto_front(
    config: TrainConfig,
    data: Dataset,
    budgets_uj: Sequence[float],
    folder: str | PathLike[str],
    *,
    start: Start | None = None,
    teacher: Start | None = None,
    watch: Callable[[str], TrainingCallbacks] = lambda name: TrainingCallbacks(),
) -> Iterator[ParetoPoint]:
    """Train and measure one network per budget; yield the start, then each network when done.

    Finished checkpoints in `folder` are only evaluated; unfinished ones are resumed.

    Args:
        config: for every network, apart from the budget.
        budgets_uj: dynamic energies per sample, µJ.
        start: network or checkpoint from which all start; by default one that is first trained
            without a budget, as `folder`/unbounded.safetensors.
        teacher: see `train`.
        watch: returns the callbacks for the training of each network, by its name.

    Raises:
        InputError: as for `train`; a budget is given twice; or the network is an ANN.
    """
    if config.is_ann:
        raise TrainingError(
            f"front: activation is '{config.activation}', an ANN, which has no energy to limit; "
            "convert it first: spikeport convert"
        )
    folder, profile = Path(folder), load_profile(config.energy_profile)
    for budget in budgets_uj:
        if list(budgets_uj).count(budget) > 1:
            raise TrainingError(f"front: budget {budget:g} µJ is given twice")

    def trained(name: str, budget: float | None, start: Start | None) -> ParetoPoint:
        path = folder / _file(name)
        asked = dataclasses.replace(config, energy_budget_uj=budget)
        result = train(
            asked,
            data,
            watch(name),
            checkpoint=path,
            resume=path.exists(),
            start=start,
            teacher=teacher,
        )
        return measure(result.best or result.model, path, budget, data, profile)

    if start is None:
        yield trained(UNBOUNDED, None, None)
        start = folder / _file(UNBOUNDED)
    elif isinstance(start, AnyNetwork):
        yield measure(start, None, None, data, profile)
    else:
        yield measure(load_checkpoint(start).model, Path(start), None, data, profile)
    for budget in budgets_uj:
        yield trained(_name(budget), budget, start)


def pareto_files(budgets_uj: Sequence[float], *, started: bool) -> list[str]:
    """Names of the checkpoints that `train_pareto_front` writes, including those of best epochs.

    Args:
        started: whether `train_pareto_front` is given a start.
    """
    names = [*([] if started else [UNBOUNDED]), *map(_name, budgets_uj)]
    files = [_file(name) for name in names]
    return [*files, *(best_path(name).name for name in files)]


def _name(budget_uj: float) -> str:
    return f"budget-{budget_uj:g}uJ"


def _file(name: str) -> str:
    return f"{name}.safetensors"


def measure(
    network: AnyNetwork,
    path: Path | None,
    budget_uj: float | None,
    data: Dataset,
    profile: HardwareProfile,
) -> ParetoPoint:
    """Measure accuracy, spikes and energy of a network on test samples.

    Raises:
        InputError: no chip can run the network.
    """
    counts, report = count_and_price(network, spread(data.test_x, SPREAD), profile)
    rate = measure_accuracy(network, data.test_x, data.test_y)
    return ParetoPoint(
        checkpoint=None if path is None else str(path),
        budget_uj=budget_uj,
        accuracy=accuracy(round(rate * len(data.test_x)), len(data.test_x)),
        spikes=counts.total("spikes") / counts.samples,
        synaptic_events=counts.total("synaptic_events") / counts.samples,
        energy_uj=report.per_sample(report.dynamic) * 1e-6,
    )
