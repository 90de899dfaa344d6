"""Recipes: complete experiments, each in one strictly checked TOML file.

    title = "MNIST, a small convolutional network, T = 4"
    [data]                    # DataConfig
    name = "mnist"
    [training]                # TrainConfig
    steps = 4
    augment = { crop_padding = 2 }
    [chip]                    # ChipStage, for continued training in chip arithmetic
    epochs = 2

Settings that a recipe omits have the defaults of `DataConfig` and `TrainConfig`. The built-in
recipes are in `recipes/`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from spikeport.checks import integer
from spikeport.errors import FileMissingError, TrainingError, UnknownNameError
from spikeport.storage import nearest, parse_toml, read_text
from spikeport.trainer.config import Optimizer, TrainConfig
from spikeport.trainer.data import DataConfig
from spikeport.trainer.rules import GradientRule
from spikeport.trainer.settings import read_settings


@dataclass(frozen=True, slots=True)
class ChipStage:
    """How training continues in chip arithmetic; all other settings are unchanged.

    AdamW by default: batch norms are folded at this stage, and gradients differ in size by layer.

    Attributes:
        distillation: see `TrainConfig`; the teacher is the network that this stage starts from.
        calibration: number of training samples used to choose the scales of the integers.
        target: a chip or backend whose limits the integers keep to.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    epochs: int = 3
    lr: float = 1e-3
    optimizer: Optimizer = Optimizer.ADAMW
    weight_decay: float = 0.0
    distillation: float = 0.0
    calibration: int = 256
    target: str | None = None

    def __post_init__(self) -> None:
        integer("chip: calibration", self.calibration, 1, 2**20)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One experiment.

    Attributes:
        title: a one-line description.
        source: where it was published.
        published: accuracies in percent by method and T, for comparison: {"rate_m": {"4": 95.6}}.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    title: str = ""
    source: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    chip: ChipStage = field(default_factory=ChipStage)
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def on_chip(self, bits: int) -> TrainConfig:
        """The configuration of the stage in chip arithmetic with `bits` bits per weight.

        Raises:
            InputError: the network is an ANN.
        """
        if self.training.is_ann:
            raise TrainingError(
                f"bits {bits}: activation is '{self.training.activation}', an ANN, which has no "
                "chip arithmetic; convert it first: spikeport convert"
            )
        return dataclasses.replace(
            self.training,
            rule=GradientRule.RATE_M,
            compile=False,
            weight_bits=bits,
            exits=None,
            epochs=self.chip.epochs,
            lr=self.chip.lr,
            optimizer=self.chip.optimizer,
            weight_decay=self.chip.weight_decay,
            distillation=self.chip.distillation,
        )


def builtin_recipes() -> tuple[str, ...]:
    """Names of the built-in recipes."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_recipe(name_or_path: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Load a built-in recipe by name, or any recipe by path.

    Args:
        changes: values by dotted key that override those of the file: {"training.steps": 2}.

    Raises:
        InputError: no such recipe; not TOML; an unknown key (the nearest known one is named); a
            value of the wrong type or out of its range.
    """
    name = str(name_or_path)
    if name.removesuffix(".toml") in builtin_recipes() and not Path(name).is_file():
        entry = _folder() / f"{name.removesuffix('.toml')}.toml"
        return parse_recipe(entry.read_text("utf-8"), f"recipe '{name}'", changes)
    try:
        text = read_text(Path(name))
    except FileNotFoundError:
        known = builtin_recipes()
        raise UnknownNameError(
            f"recipe '{name}': no such file, and no built-in recipe ({', '.join(known)})"
            f"{nearest(name, known)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileMissingError(f"recipe '{name}': cannot be read: {error}") from error
    return parse_recipe(text, f"recipe '{name}'", changes)


def parse_recipe(text: str, subject: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Parse a recipe from TOML text; `subject` begins every error message."""
    return read_settings(Recipe, parse_toml(text, subject), subject, changes)


def _folder() -> Any:
    return resources.files("spikeport") / "trainer" / "recipes"
