"""What the verbs do, called as functions: results are values, and say what the verbs print."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spikeport
from spikeport import Coding, Dense, DeployedNetwork, Input, InputError, Population, Readout
from spikeport.runs import Run, Trace
from spikeport.trainer import Dataset, SpikingNetwork, TrainingResult, build_network
from spikeport.trainer.measure.metrics import SPREAD, energy_uj, spread
from spikeport.trainer.recipe import Recipe
from spikeport.workflow.recipes import RecipeResult, _budget

LABELS = [0, 1, 2, 1]
X = np.random.default_rng(5).integers(0, 2, (4, 6))
SHORT = {
    "training.architecture": "mlp",
    "training.widths": [6],
    "training.steps": 2,
    "training.epochs": 1,
    "data.train_samples": 40,
}


def deployed(weight: int = 4) -> DeployedNetwork:
    matrix = np.full((3, 6), weight, np.int16)
    matrix[1, ::2] = -2
    return DeployedNetwork(
        (Input("x", (6,), Coding.SPIKES),),
        (Population("out", (3,), vth=8, decay_v=1024),),
        (Dense("x", "out", matrix),),
        (Readout("out"),),
        steps=5,
    )


def test_equal_backends_compare_without_a_problem() -> None:
    told: list[str] = []
    found = spikeport.compare_backends(
        deployed(), X, LABELS, trace=True, progress=lambda stage, *_: told.append(stage)
    )
    assert found.problem is None
    assert [row.stage for row in found.rows] == ["native", "reference"] == told
    assert found.rows[1].verdict == "identical"
    assert found.traces["reference"].first is None
    assert json.loads(json.dumps(found.as_dict()))["traces"].keys() == {"reference"}


def test_another_network_is_compared_on_the_first_backend() -> None:
    others = {"b": deployed(weight=6)}
    found = spikeport.compare_backends(deployed(), X, LABELS, ["reference"], others=others)
    assert [row.stage for row in found.rows] == ["reference", "reference, b"]
    assert found.problem is not None
    assert found.problem.startswith("reference, b: FAILED")
    assert found.as_dict().keys() == {"rows"}
    others["c"] = deployed()
    found = spikeport.compare_backends(deployed(), X, LABELS, ["native"], others=others)
    assert [row.verdict == "identical" for row in found.rows[1:]] == [False, True]
    with pytest.raises(InputError, match="needs two, or another network"):
        spikeport.compare_backends(deployed(), X, LABELS, ["native"])


def test_states_that_differ_are_a_problem_though_spikes_are_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest: Callable[..., Run] = spikeport.run

    def broken(name: str, *arguments: Any, **options: Any) -> Run:
        run = honest(name, *arguments, **options)
        assert isinstance(run.trace, Trace)
        if name == "native" or not run.trace.v:
            return run
        v = run.trace.v["out"].copy()
        v[2, 1, 0] += 1
        return replace(run, trace=replace(run.trace, v={"out": v}))

    monkeypatch.setattr("spikeport.workflow.comparison.run_backend", broken)
    assert spikeport.compare_backends(deployed(), X, LABELS).problem is None
    problem = spikeport.compare_backends(deployed(), X, LABELS, trace=True).problem
    assert problem is not None
    assert problem.startswith("reference: FAILED: spikes are equal, states are not; first value")


def test_a_sweep_says_what_each_network_reaches_and_spends() -> None:
    one, two = deployed(), deployed(weight=2)
    rows = spikeport.sweep({"one": (one, X), "two": (two, X)}, LABELS)
    for row, network in zip(rows, (one, two), strict=True):
        run = spikeport.run("native", network, X)
        assert run.counts is not None
        assert row.accuracy.correct == int((run.predictions == LABELS).sum())
        assert row.spikes == run.counts.total("spikes") / 4
        assert row.synaptic_events == run.counts.total("synaptic_events") / 4
        profile = spikeport.load_profile("loihi1")
        estimate = spikeport.estimate_energy(network, run.counts, profile)
        assert row.energy_pj == estimate.total_per_sample
        assert row.as_dict()["content_hash"] == network.content_hash
    assert rows[0].spikes > rows[1].spikes
    (row,) = spikeport.sweep({"one": (one, X[:3])}, LABELS)
    right = spikeport.run("native", one, X[:3]).predictions == LABELS[:3]
    assert (row.accuracy.correct, row.samples) == (int(right.sum()), 3)
    with pytest.raises(InputError, match="one: label 7, the network has 3 outputs"):
        spikeport.sweep({"one": (one, X)}, [7, 0, 0, 0])
    for shard in (2, 0):
        with pytest.raises(InputError, match=f"shard {shard}: needs dask"):
            spikeport.sweep({"one": (one, X)}, LABELS, shard=shard)


def test_facts_of_both_kinds_of_network(tmp_path: Path) -> None:
    network = deployed()
    facts = spikeport.inspect_network(network)
    assert isinstance(facts, spikeport.DeployedFacts)
    assert (facts.neurons, facts.weights_stored, facts.steps) == (3, 18, 5)
    assert facts.as_dict()["content_hash"] == network.content_hash
    zeros = spikeport.inspect_network(deployed(weight=0))
    assert isinstance(zeros, spikeport.DeployedFacts)
    assert zeros.weights_stored == 18
    spikeport.write_nir(network, tmp_path / "a.nir")
    from spikeport.export.nir.deployed import float_view

    view = spikeport.inspect_network(float_view(network))
    assert isinstance(view, spikeport.FloatFacts)
    assert view.nodes["out"] == "LIF"
    loose = spikeport.inspect_network(float_view(network).with_rules(strict=False))
    assert isinstance(loose, spikeport.FloatFacts)
    assert [one.as_dict()["comparison"] for one in (view, loose)] == [">", ">="]
    assert view.as_dict()["edges"].count("->") == len(view.edges)


def test_a_recipe_gives_its_network_and_what_it_reached(tmp_path: Path) -> None:
    recipe = spikeport.load_recipe("digits", {**SHORT, "training.energy_budget_uj": 1000.0})
    told: list[int] = []
    result = spikeport.run_recipe(
        recipe, tmp_path / "m.safetensors", watch=Watch(lambda record: told.append(record.epoch))
    )
    assert told == [1]
    assert result.rank == 0
    assert spikeport.load_checkpoint(tmp_path / "m.safetensors").history == result.training.history
    assert result.budget is not None
    assert result.budget.met
    assert result.as_dict()["test_accuracy"] == result.test_accuracy
    with pytest.raises(InputError, match="bits 4: needs a start"):
        spikeport.run_recipe(recipe, tmp_path / "q.safetensors", bits=4)
    chip = spikeport.load_recipe("digits", {**SHORT, "chip.epochs": 1, "chip.calibration": 20})
    start = result.training.model
    qat = spikeport.run_recipe(chip, tmp_path / "q.safetensors", bits=4, start=start)
    assert isinstance(qat.training.model, spikeport.QATNetwork)
    assert qat.budget is None


def models_of(recipe: Recipe, data: Dataset) -> tuple[SpikingNetwork, SpikingNetwork]:
    """Untrained networks, of which the second spends more energy."""
    loud = build_network(recipe.training, data.input, data.classes).eval()
    quiet = build_network(recipe.training, data.input, data.classes).eval()
    with torch.no_grad():
        for parameter in quiet.parameters():
            parameter.mul_(0.25)
    return quiet, loud


def test_the_best_network_if_any_decides_whether_the_budget_is_kept() -> None:
    recipe = spikeport.load_recipe("digits", SHORT)
    data = spikeport.load_dataset(recipe.data, recipe.training.steps)
    quiet, loud = models_of(recipe, data)
    profile = spikeport.load_profile("loihi1")
    low, high = (energy_uj(model, spread(data.test_x, SPREAD), profile) for model in (quiet, loud))
    assert low is not None
    assert high is not None
    assert low < high
    config = replace(recipe.training, energy_budget_uj=(low + high) / 2)
    for last, best, met in (
        (quiet, None, True),
        (loud, None, False),
        (quiet, loud, False),
        (loud, quiet, True),
    ):
        found = _budget(TrainingResult(last, config, (), best), data)
        assert found is not None
        assert found.met is met
        spent = {quiet: low, loud: high}
        assert (found.test_uj, found.best_test_uj) == (spent[last], best and spent[best])


def test_facts_of_a_recipe_are_those_of_its_best_epoch() -> None:
    recipe = spikeport.load_recipe("digits", SHORT)
    data = spikeport.load_dataset(recipe.data, recipe.training.steps)
    model, _ = models_of(recipe, data)
    history = tuple(
        spikeport.EpochRecord(epoch, 1.0, 0.5, 0.1, 0.1, 2.0, valid_accuracy=reached)
        for epoch, reached in ((1, 0.5), (2, 0.9), (3, 0.7))
    )
    training = TrainingResult(model, recipe.training, history, model)
    facts = RecipeResult(recipe, "m", training, 0.6, 40, 0.8, None, None, 0).as_dict()
    assert facts["best_epoch_by_validation"] == 2
    assert facts["best_validation_accuracy"] == 0.9
    assert (facts["epochs"], facts["best_test_accuracy"], facts["seconds"]) == (3, 0.8, 6.0)


class Watch:
    """Callbacks for as long as training runs."""

    def __init__(self, epoch: Callable[[spikeport.EpochRecord], None]) -> None:
        self.callbacks = spikeport.TrainingCallbacks(epoch)

    def __enter__(self) -> spikeport.TrainingCallbacks:
        return self.callbacks

    def __exit__(self, *error: object) -> None:
        return None


def test_a_front_leaves_its_files(tmp_path: Path) -> None:
    recipe = spikeport.load_recipe("digits", SHORT)
    front = spikeport.write_pareto_front(recipe, "digits", [0.5], tmp_path)
    assert [point.budget_uj for point in front.points] == [None, 0.5]
    assert json.loads((tmp_path / "front.json").read_text()) == front.as_dict()
    assert (tmp_path / "front.svg").read_text().startswith("<svg")
    with pytest.raises(InputError, match="was created with recipe 'digits', cannot continue"):
        spikeport.write_pareto_front(recipe, "mine", [0.5], tmp_path)
