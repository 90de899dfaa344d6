"""Recipes: those that come with Spikeport, and what is said of wrong ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from spikeport.errors import InputError
from spikeport.network import Coding, Input, Reset
from spikeport.storage import parse_change
from spikeport.trainer import (
    Augment,
    DataConfig,
    GradientRule,
    TrainConfig,
    build_network,
    load_dataset,
    load_recipe,
)
from spikeport.trainer.config import Activation
from spikeport.trainer.recipe import Recipe, builtin_recipes, parse_recipe


@pytest.mark.parametrize("name", builtin_recipes())
def test_every_recipe_is_valid_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.title
    # accuracies of converted networks depend on the T of their conversion
    published = recipe.published or recipe.training.activation is Activation.QUANTIZED_RELU
    assert bool(recipe.source) == bool(published)
    assert load_recipe(f"{name}.toml") == recipe
    steps = str(recipe.training.steps)
    assert all(steps in by_steps for by_steps in recipe.published.values())


def test_published_experiments_are_all_there() -> None:
    """Networks and T of the publication, its schedule and its neurons."""
    found = {
        (recipe.data.name, recipe.training.architecture, int(steps))
        for recipe in map(load_recipe, builtin_recipes())
        for by_steps in recipe.published.values()
        for steps in by_steps
    }
    networks = ("resnet18", "resnet19", "vgg11")
    expected = {(d, a, t) for d in ("cifar10", "cifar100") for a in networks for t in (2, 4, 6)}
    expected |= {("imagenet", f"{a}_resnet34", 4) for a in ("sew", "preact")}
    assert found == expected | {("cifar10-dvs", "dvs_net", 10)}
    for name in builtin_recipes():
        recipe = load_recipe(name)
        if not recipe.published:
            continue
        config = recipe.training
        assert (config.decay, config.v_threshold, config.reset) == (0.2, 1.0, Reset.SUBTRACT)
        assert not config.strict, "the publication fires on v >= v_threshold"
        assert (config.momentum, config.detach_reset) == (0.9, True)
        schedule = (config.epochs, config.batch_size, config.lr, config.weight_decay)
        imagenet = recipe.data.name == "imagenet"
        assert schedule == ((100, 512, 0.2, 2e-5) if imagenet else (300, 128, 0.1, 5e-4))


def test_recipes_of_anns() -> None:
    """One step, backpropagation, and only networks that can be converted."""
    anns = {name: load_recipe(name) for name in builtin_recipes() if "-ann-" in name}
    assert anns == {n: load_recipe(n) for n in builtin_recipes() if load_recipe(n).training.is_ann}
    assert len(anns) == 7
    for name, recipe in anns.items():
        config = recipe.training
        assert "ANN to convert" in recipe.title
        assert f"{config.epochs} epochs" in recipe.title
        assert config.architecture.removeprefix("preact_") == name.rpartition("-")[2]
        assert (config.steps, config.rule) == (1, GradientRule.BPTT_M)
        if config.activation is Activation.QUANTIZED_RELU:
            assert f"L = {config.levels}," in recipe.title
        network = build_network(
            dataclasses.replace(config, widths=(1,)),
            Input("input", (3, 32, 32), Coding.GRADED, -64, 64, scale=8.0),
            10,
        )
        assert not any(isinstance(node.op, nn.MaxPool2d) for node in network.nodes)


def test_digits_are_the_defaults() -> None:
    recipe = load_recipe("digits")
    assert recipe == Recipe(title=recipe.title)


def test_a_file_and_changes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "mine"\n[data]\nname = "cifar10"\nmean = [0.5, 0.5, 0.5]\nstd = [1, 1, 0.25]\n'
        "[training]\nsteps = 2\nlr = 1\naugment = { flip = true }\nreset = 'subtract'\n"
    )
    recipe = load_recipe(path, {"training.augment.cutout": 4, "training.epochs": 3})
    assert recipe == Recipe(
        title="mine",
        data=DataConfig("cifar10", mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 0.25)),
        training=TrainConfig(
            steps=2, lr=1.0, epochs=3, reset=Reset.SUBTRACT, augment=Augment(flip=True, cutout=4)
        ),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training.steps=2", ("training.steps", 2)),
        ("training.lr = 1e-3", ("training.lr", 1e-3)),
        ("data.name=mnist", ("data.name", "mnist")),
        ('data.name="a=b"', ("data.name", "a=b")),
        ("training.widths=[8, 16]", ("training.widths", [8, 16])),
        ("training.augment.flip=true", ("training.augment.flip", True)),
        ("data.folder=", ("data.folder", "")),
    ],
)
def test_changes_are_toml_or_plain_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse_change(text) == expected


@pytest.mark.parametrize("text", ["training.steps", "=3"])
def test_a_change_needs_key_and_value(text: str) -> None:
    with pytest.raises(InputError, match=f"--set '{text}': must be key=value"):
        parse_change(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.lrr": 1}, "unknown key 'training.lrr'; did you mean 'training.lr'"),
        ({"data.steps": 1}, "unknown key 'data.steps'; did you mean 'training.steps'"),
        ({"cutout": 1}, "unknown key 'cutout'; did you mean 'training.augment.cutout'"),
        ({"training.augment.flipp": 1}, "did you mean 'training.augment.flip'"),
        ({"trainin.lr": 1}, "unknown key 'trainin'; did you mean 'training'"),
        ({"training.lr": "fast"}, "'training.lr' is 'fast': input should be a valid number"),
        ({"training.steps": True}, "'training.steps' is True: input should be a valid integer"),
        ({"training.steps": "4"}, "'training.steps' is '4': input should be a valid integer"),
        ({"training.steps": 0}, r"training: steps \(T\) is 0, must lie in"),
        ({"training.lr": float("nan")}, "training: lr is nan, must be positive"),
        ({"training.reset": "soft"}, "is 'soft', must be one of 'zero', 'subtract'"),
        ({"training.rule": "best"}, "is 'best', must be one of 'rate_m', 'rate_s'"),
        ({"training.augment.cutout": -1}, "augment: cutout is -1"),
        ({"training.architecture": "vgg11"}, r"widths is \[24, 48\], vgg11 takes one number"),
        ({"data.levels": 1}, "data: levels is 1"),
        ({"title.x": 1}, "'title.x' cannot be set, 'title' is not a table"),
        ({"data": 3}, "'data' is 3: input should be an object"),
    ],
)
def test_wrong_recipes_are_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"recipe 'digits': .*{message}"):
        load_recipe("digits", changes)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'mnits': no such file, .* did you mean 'mnist'"):
        load_recipe("mnits")
    path = tmp_path / "a.toml"
    path.write_text("[training\n")
    with pytest.raises(InputError, match=r"a\.toml': is not TOML"):
        load_recipe(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"a\.toml': cannot be read"):
        load_recipe(path)
    with pytest.raises(InputError, match="x: unknown key 'date'"):
        parse_recipe("date = 2020-01-01", "x")


def test_a_folder_of_data_does_not_hide_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert load_recipe("mnist").data.name == "mnist"
    (tmp_path / "mnist.toml").write_text('title = "mine"')
    assert load_recipe("mnist.toml").title == "mine"


def test_configurations_change_by_field() -> None:
    config = load_recipe("cifar10-resnet18", {"training.steps": 6}).training
    assert dataclasses.replace(config, steps=4) == load_recipe("cifar10-resnet18").training


@pytest.mark.parametrize("name", builtin_recipes())
def test_recipes_set_nothing_that_their_data_do_not_use(name: str, tmp_path: Path) -> None:
    data = dataclasses.replace(load_recipe(name).data, folder=str(tmp_path))
    if data.name == "imagenet":
        for part in ("train", "val"):
            for label in ("n01", "n02"):
                (tmp_path / "imagenet" / part / label).mkdir(parents=True)
        with pytest.raises(InputError, match="n01: class has no image"):
            load_dataset(data, 4)
    elif data.name != "digits":
        with pytest.raises(InputError, match=r"found at none of|does not exist"):
            load_dataset(data, 4)
    else:
        assert load_dataset(data).classes == 10
