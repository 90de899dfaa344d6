"""Run a recipe: train, optionally in chip arithmetic, and measure the result."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from spikeport.energy import load_profile
from spikeport.errors import InputError, TrainingError
from spikeport.export.quantize import QuantizeConfig
from spikeport.runs import Samples
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.data import Dataset, load_dataset
from spikeport.trainer.loop import Start, TrainingCallbacks, TrainingResult, train
from spikeport.trainer.loop.start import network_of
from spikeport.trainer.measure import measure_accuracy
from spikeport.trainer.measure.metrics import SPREAD, energy_uj, spread
from spikeport.trainer.module_file import network_from_file
from spikeport.trainer.network import SpikingNetwork, deployment
from spikeport.trainer.ranks import process_group, share
from spikeport.trainer.recipe import Recipe
from spikeport.workflow.qat import prepare_qat


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """An energy budget, and the energy on test samples.

    Attributes:
        test_uj, best_test_uj: nominal dynamic energy per sample, for the last epoch, and for the
            best one by validation if there is one. None for a network that no chip can run.
        met: whether the best epoch (the last one without validation) keeps the budget.
    """

    profile: str
    budget_uj: float
    test_uj: float | None
    best_test_uj: float | None
    has_best: bool
    met: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        best = {"best_test_energy_uj_per_sample": self.best_test_uj} if self.has_best else {}
        return {
            "energy_profile": self.profile,
            "energy_budget_uj": self.budget_uj,
            "test_energy_uj_per_sample": self.test_uj,
            **best,
            "energy_budget_met": self.met,
        }


@dataclass(frozen=True, slots=True)
class RecipeResult:
    """The result of a recipe.

    Attributes:
        checkpoint: path of the network.
        training: the network of the last epoch, of the best one, and the history.
        test_accuracy, best_test_accuracy: on all test samples, for the last epoch, and for the best
            one by validation if there is one.
        budget: None without an energy budget.
        published_percent: the accuracy reported by the recipe's source for its method and T.
        rank: which of the processes this is; only the first one, 0, has results.
        rewrites: of a network of the user's own, what will become of which layers on the chip.
    """

    recipe: Recipe
    checkpoint: str
    training: TrainingResult
    test_accuracy: float
    test_samples: int
    best_test_accuracy: float | None
    budget: BudgetResult | None
    published_percent: float | None
    rank: int
    rewrites: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        history = self.training.history
        facts: dict[str, Any] = {
            "checkpoint": self.checkpoint,
            "recipe": self.recipe.title,
            "epochs": len(history),
            "loss": history[-1].loss,
            "train_accuracy": history[-1].accuracy,
            **self._activity(),
            "test_accuracy": self.test_accuracy,
            "test_samples": self.test_samples,
        }
        if self.training.best is not None:
            best = history[(self.training.best_epoch or 1) - 1]
            facts |= {
                "best_epoch_by_validation": best.epoch,
                "best_validation_accuracy": best.valid_accuracy,
                "best_test_accuracy": self.best_test_accuracy,
            }
        if self.budget is not None:
            facts |= self.budget.as_dict()
        if self.published_percent is not None:
            facts["published_percent"] = self.published_percent
        if self.rewrites:
            facts["rewritten_for_chips"] = "; ".join(self.rewrites)
        return facts | {"seconds": round(sum(record.seconds for record in history), 1)}

    def _activity(self) -> dict[str, Any]:
        """Spikes and energy of the last epoch, of which an ANN has none."""
        last = self.training.history[-1]
        if self.training.config.is_ann:
            return {}
        return {
            "spikes_per_neuron_step": last.firing_rate,
            "energy_uj_per_sample": last.energy_uj,
        }


def run_recipe(
    recipe: Recipe,
    checkpoint: str | os.PathLike[str],
    *,
    bits: int | None = None,
    start: Start | None = None,
    teacher: Start | None = None,
    resume: bool = False,
    minutes: float | None = None,
    workers: int | None = None,
    watch: AbstractContextManager[TrainingCallbacks] | None = None,
) -> RecipeResult:
    """Train the network of a recipe on its data and test it; supports several processes (torchrun).

    If the recipe's architecture is FILE.py:CLASS, that file is executed; if it is a checkpoint, its
    network is trained further.

    Args:
        checkpoint: file to which the network is written, after every epoch.
        bits: continue training `start` in chip arithmetic with this number of bits per weight,
            using the recipe's table [chip].
        start, teacher, resume, minutes, workers: see `train`.
        watch: context manager that yields the callbacks for training.

    Raises:
        InputError: as for `load_dataset` and `train`; `bits` without a start; or the file of a
            module is missing or its code fails.
    """
    config = recipe.training if bits is None else recipe.on_chip(bits)
    with process_group(config.device):
        data = load_dataset(recipe.data, config.steps)
        if bits is not None and not resume:
            samples = spread(data.train_x, recipe.chip.calibration)
            start = qat_start(start, bits, samples, recipe.chip.target)
        with watch or nullcontext(TrainingCallbacks()) as callbacks:
            result = train(
                config,
                data,
                callbacks,
                network=None if bits is not None else network_from_file(config, data.input),
                checkpoint=checkpoint,
                resume=resume,
                minutes=minutes,
                workers=workers,
                start=start,
                teacher=teacher,
            )
        published = recipe.published.get(config.rule, {}).get(str(config.steps))
        return RecipeResult(
            recipe=recipe,
            checkpoint=os.fspath(checkpoint),
            training=result,
            test_accuracy=measure_accuracy(result.model, data.test_x, data.test_y),
            test_samples=len(data.test_x),
            best_test_accuracy=(
                None
                if result.best is None
                else measure_accuracy(result.best, data.test_x, data.test_y)
            ),
            budget=_budget(result, data),
            published_percent=published,
            rank=share()[0],
            rewrites=_rewrites(result.model) if config.own_network else (),
        )


def qat_start(
    start: Start | None, bits: int, samples: Samples, target: str | None = None
) -> QATNetwork:
    """The network from which training in chip arithmetic starts.

    Args:
        start: a QAT network is used unchanged; any other is quantized.
        samples: a few hundred training samples for choosing scales.
        target: what the network keeps to.

    Raises:
        InputError: no start, one that cannot be quantized, or one in chip arithmetic that keeps to
            another target.
    """
    if start is None:
        raise TrainingError(f"bits {bits}: needs a start, a network trained in floats")
    model = network_of(start)
    if isinstance(model, QATNetwork):
        kept = None if model.limits is None else model.limits.name
        if target not in (None, kept):
            whose = "no target" if kept is None else f"target '{kept}'"
            raise TrainingError(
                f"target is '{target}', but the start is in chip arithmetic and keeps to {whose}; "
                "start from the network trained in floats"
            )
        return model
    config = QuantizeConfig(weight_bits=bits, target=target)
    return prepare_qat(model, samples, config, static=True)


def _rewrites(network: AnyNetwork) -> tuple[str, ...]:
    """See `deployment`; nothing for a network that cannot be deployed, which training warns of."""
    try:
        return deployment(network).rewrites if isinstance(network, SpikingNetwork) else ()
    except InputError:
        return ()


def _budget(result: TrainingResult, data: Dataset) -> BudgetResult | None:
    config = result.config
    if config.energy_budget_uj is None:
        return None
    profile = load_profile(config.energy_profile)
    samples = spread(data.test_x, SPREAD)
    last = energy_uj(result.model, samples, profile)
    best = None if result.best is None else energy_uj(result.best, samples, profile)
    decides = last if result.best is None else best
    return BudgetResult(
        profile=profile.name,
        budget_uj=config.energy_budget_uj,
        test_uj=last,
        best_test_uj=best,
        has_best=result.best is not None,
        met=decides is not None and decides <= config.energy_budget_uj,
    )
