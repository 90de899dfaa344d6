"""Recipes: a whole experiment in one TOML file, checked strictly.

    title = "MNIST, a small convolutional network, T = 4"
    [data]                    # DataConfig
    name = "mnist"
    [training]                # TrainConfig
    steps = 4
    augment = { crop_padding = 2 }
    [chip]                    # ChipStage, for training on in chip arithmetic
    epochs = 2

What a recipe leaves out has the defaults of `DataConfig` and `TrainConfig`. Those that come with
Spikeport lie in `recipes/`.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, NoReturn, get_type_hints

from pydantic import TypeAdapter, ValidationError

from spikeport.errors import InputError
from spikeport.part_rules import integer
from spikeport.toml_table import nearest
from spikeport.toml_text import parse_toml, read_text
from spikeport.trainer.config import Optimizer, TrainConfig
from spikeport.trainer.data_catalogue import DataConfig
from spikeport.trainer.rules import Rule


@dataclass(frozen=True, slots=True)
class ChipStage:
    """How a trained network is trained on in chip arithmetic; all else is as before.

    AdamW by default: batch norms are folded then, and gradients of layers differ in size.

    Attributes:
        distillation: see `TrainConfig`; the teacher is the network that this stage starts from.
        calibration: training samples that choose the scales of the integers.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    epochs: int = 3
    lr: float = 1e-3
    optimizer: Optimizer = Optimizer.ADAMW
    weight_decay: float = 0.0
    distillation: float = 0.0
    calibration: int = 256

    def __post_init__(self) -> None:
        integer("chip: calibration", self.calibration, 1, 2**20)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One experiment.

    Attributes:
        title: what it is, in a line.
        source: where it was published.
        published: accuracies in percent by method and T, to compare with: {"rate_m": {"4": 95.6}}.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    title: str = ""
    source: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    chip: ChipStage = field(default_factory=ChipStage)
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def on_chip(self, bits: int) -> TrainConfig:
        """The configuration of the stage in chip arithmetic, with so many bits per weight."""
        return dataclasses.replace(
            self.training,
            rule=Rule.RATE_M,
            compile=False,
            weight_bits=bits,
            epochs=self.chip.epochs,
            lr=self.chip.lr,
            optimizer=self.chip.optimizer,
            weight_decay=self.chip.weight_decay,
            distillation=self.chip.distillation,
        )


def builtin_recipes() -> tuple[str, ...]:
    """Names that `load_recipe` knows without a path."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_recipe(name_or_path: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A built-in recipe by name, or any by path.

    Args:
        changes: values by dotted key, which take the place of the file's: {"training.steps": 2}.

    Raises:
        InputError: no such recipe; not TOML; an unknown key (the nearest known one is named); a
            value of wrong type or out of its range.
    """
    name = str(name_or_path)
    if name.removesuffix(".toml") in builtin_recipes() and not Path(name).is_file():
        entry = _folder() / f"{name.removesuffix('.toml')}.toml"
        return parse_recipe(entry.read_text("utf-8"), f"recipe '{name}'", changes)
    try:
        text = read_text(Path(name))
    except FileNotFoundError:
        known = builtin_recipes()
        raise InputError(
            f"recipe '{name}': no such file, and no built-in recipe ({', '.join(known)})"
            f"{nearest(name, known)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"recipe '{name}': cannot be read: {error}") from error
    return parse_recipe(text, f"recipe '{name}'", changes)


def parse_recipe(text: str, subject: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from TOML text; `subject` begins every error message."""
    raw = parse_toml(text, subject)
    for key, value in (changes or {}).items():
        _set(raw, subject, key, value)
    try:
        # As JSON, so that strict rules let names of enumerations and lists through.
        return TypeAdapter(Recipe).validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        _refuse(subject, error)


def parse_change(text: str) -> tuple[str, Any]:
    """A key and its value from `key=value`; the value is TOML, or else a text as it stands.

    Raises:
        InputError: there is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set '{text}': must be key=value, as in training.steps=2")
    try:
        return key.strip(), parse_toml(f"value = {value}", f"--set '{key.strip()}'")["value"]
    except InputError as error:
        if isinstance(error.__cause__, tomllib.TOMLDecodeError):
            return key.strip(), value.strip()
        raise


def _folder() -> Any:
    return resources.files("spikeport") / "trainer" / "recipes"


def _set(raw: dict[str, Any], subject: str, key: str, value: Any) -> None:
    *tables, name = key.split(".")
    table = raw
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise InputError(f"{subject}: '{key}' cannot be set, '{part}' is no table")
    table[name] = value


def _refuse(subject: str, error: ValidationError) -> NoReturn:
    """The first fault as the one error of a wrong recipe."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "unexpected_keyword_argument":
        raise InputError(f"{subject}: unknown key '{key}'{_hint(key)}") from None
    if isinstance(cause := fault.get("ctx", {}).get("error"), InputError):
        raise InputError(f"{subject}: {cause}") from None
    if fault["type"] == "enum":
        known = fault["ctx"]["expected"].replace(" or ", ", ")
        raise InputError(
            f"{subject}: '{key}' is {fault['input']!r}, must be one of {known}"
        ) from None
    said = fault["msg"][:1].lower() + fault["msg"][1:]
    raise InputError(f"{subject}: '{key}' is {fault['input']!r}: {said}") from None


def _hint(key: str) -> str:
    """The known key most like this one, or the same one in its right table."""
    known = list(_keys(Recipe))
    table, dot, name = key.rpartition(".")
    beside = [k for k in known if k.startswith(table + dot) and k.count(".") == key.count(".")]
    elsewhere = [k for k in known if k.rpartition(".")[2] == name]
    return f"; did you mean '{elsewhere[0]}'?" if elsewhere else nearest(key, beside)


def _keys(kind: type[Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a dataclass and of those within it."""
    hints = get_type_hints(kind)
    for part in dataclasses.fields(kind):
        yield prefix + part.name
        if dataclasses.is_dataclass(hints[part.name]):
            yield from _keys(hints[part.name], f"{prefix}{part.name}.")
