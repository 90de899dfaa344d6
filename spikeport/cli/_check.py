"""`check`: what targets do not support of a network, or of what is to become one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.cli._foreign import Foreign, takes_foreign
from spikeport.cli._tables import facts_table, sources_line, unsupported_table
from spikeport.errors import CheckFailedError, InputError, OptionError
from spikeport.network import LOIHI, Coding, DeployedNetwork, Input
from spikeport.report import origin
from spikeport.report.screen import lines, plain
from spikeport.storage import parse_change

if TYPE_CHECKING:
    from spikeport.backends import TargetCheck
    from spikeport.report.screen import Renderable
    from spikeport.trainer.recipe import Recipe
    from spikeport.workflow.targets import Checkable

FILES = (*_io.CHIP, *_io.NIR, *_io.NETX, *_io.CHECKPOINT)
ASSUMED_CLASSES = 10
"""With --input-shape, as no data say them."""


@takes_foreign
def check(
    network: Annotated[
        str,
        typer.Argument(
            help="Network of any kind (.spikeport, .nir, .net, .safetensors); or, before training, "
            "a recipe by name or .toml file, or FILE.py:CLASS, your own torch module."
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME",
            help="A backend or chip from `spikeport backends`; repeatable.",
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            metavar="N",
            help="Bits per weight of what is not quantized yet, 2 to 8 (default 8).",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME",
            help="Before training: data instead of the recipe's, a data set, an .npz file or a "
            "folder. With --input-shape no data are read.",
        ),
    ] = None,
    changes: _io.Changes = None,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """List every limit of each target that a network exceeds, with its value and what to do.

    Nothing is run or trained. Of chips, the arithmetic is checked, and whether the network fits
    their cores. What is not quantized yet is judged by its structure, as if every weight took
    --bits bits. Exit code 1 if one of the targets cannot run the network.
    """
    from spikeport.workflow import check as check_network

    subject: Checkable
    options: dict[str, Any] = {}
    if Path(network).suffix in FILES:
        if data is not None or changes:
            option = "--set" if data is None else "--data"
            raise OptionError(f"{option}: is for what is not trained yet, {network} is a network")
        subject = _opened(Path(network), foreign)
        facts = _origin(subject)
        if bits is not None and isinstance(subject, DeployedNetwork):
            raise OptionError(f"--bits {bits}: {network} is quantized, its weights have their bits")
    else:
        subject, options, facts = _untrained(network, data, changes, foreign)
    taken = LOIHI.weight_bits if bits is None else bits
    found = check_network(subject, target, bits=taken, **options)
    told: dict[str, Any] = {**facts}
    shown: list[Renderable] = []
    if options:
        shown.append(facts_table("Assumed", facts))
    else:
        shown += (facts_table(title, part) for title, part in origin.origins(facts).items())
    if isinstance(subject, DeployedNetwork):
        told["content_hash"] = subject.content_hash
    else:
        told["bits"] = taken
        shown.append(plain(f"not quantized yet: judged as if each weight took {taken} bits"))
    told["targets"] = [{**dataclasses.asdict(one), "runs": one.runs} for one in found]
    _io.emit(as_json, told, *shown, *_tables(found))
    if stopping := [one.target for one in found if not one.runs]:
        raise CheckFailedError(f"check: {network}: cannot run on {', '.join(stopping)}")


def _opened(path: Path, foreign: Foreign) -> Checkable:
    """A network of any kind; a checkpoint as it was trained, so that all obstacles are listed."""
    if path.suffix in _io.CHECKPOINT and not foreign.given():
        from spikeport.trainer.chip import QATNetwork
        from spikeport.trainer.loop import load_checkpoint

        found = load_checkpoint(path)
        return found.model.deployed() if isinstance(found.model, QATNetwork) else found
    return _io.open_network(path, foreign)


def _origin(subject: Checkable) -> dict[str, str]:
    network = getattr(subject, "model", subject)  # of a checkpoint
    return origin.origin_facts(getattr(network, "provenance", {}))


def _untrained(
    name: str, data: str | None, changes: Sequence[str] | None, foreign: Foreign
) -> tuple[Recipe, dict[str, Any], dict[str, str]]:
    """A recipe, the arguments of `check`, and what was assumed about it."""
    from spikeport.trainer.config import own_module
    from spikeport.trainer.recipe import load_recipe

    if not own_module(name) and (suffix := Path(name).suffix) not in ("", ".toml"):
        raise InputError(
            f"{name}: suffix '{suffix}', must be {', '.join(FILES)} for a network, .toml for a "
            "recipe, or .py:CLASS for a module"
        )
    given = foreign.given()
    shape = given.pop("input_shape", None)
    asked = {f"training.{key}": value for key, value in given.items()}
    if others := sorted(given.keys() - {"steps", "reset", "strict"}):
        words = dict.fromkeys("--dt" if one == "dt_s" else "--semantics" for one in others)
        raise OptionError(f"{name}: {' and '.join(words)} must not be given, for NIR files only")
    if data is not None:
        asked["data.name"] = data
    recipe = name
    if own_module(name):
        asked["training.architecture"] = name
        recipe = "digits"
        if data is None and shape is None:
            raise OptionError(f"{name}: needs --data or --input-shape, what the module takes")
    asked |= dict(parse_change(change) for change in changes or ())
    chosen = load_recipe(recipe, asked)
    if shape is None:
        return chosen, {}, {}
    spikes = chosen.data.coding is Coding.SPIKES
    taken = Input("input", shape) if spikes else chosen.data.grid().input(shape)
    facts = {"assumed_input": f"{taken.coding} {taken.low}..{taken.high} of shape {taken.shape}"}
    if not chosen.training.own_network:
        facts["assumed_classes"] = str(ASSUMED_CLASSES)
    return chosen, {"input": taken, "classes": ASSUMED_CLASSES}, facts


def _tables(found: Sequence[TargetCheck]) -> Iterator[Renderable]:
    """What is found; targets of which the same is said stand together."""
    same = groupby(found, key=lambda one: (one.unsupported, one.not_judged))
    for (unsupported, left), group in same:
        alike = tuple(group)
        names = ", ".join(one.target for one in alike)
        together = dataclasses.replace(alike[0], target=names)
        if unsupported:
            yield unsupported_table(together)
            yield plain(sources_line(together))
        else:
            yield plain(f"{names}: no limit is exceeded", "italic")
        if left:
            yield lines([f"{names}: not judged before quantization:", *(f"- {x}" for x in left)])
