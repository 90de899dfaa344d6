"""Options of every verb that opens a network: what files of other tools do not state."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeport.checks import choice
from spikeport.cli._numbers import numbers
from spikeport.cli._tables import facts_table
from spikeport.errors import OptionError
from spikeport.network import DeployedNetwork, Reset
from spikeport.report import origin

if TYPE_CHECKING:
    from spikeport.export.nir import FloatNetwork
    from spikeport.report.screen import Table

Dt = Annotated[
    float | None,
    typer.Option(
        "--dt", metavar="SECONDS", help="Time step in seconds, for NIR files of other tools."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        "-T",
        metavar="N",
        help="Number of steps T, for NIR and netx files of other tools.",
    ),
]
SemanticsTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--semantics",
        metavar="NAME|RULE=VALUE",
        help="How the equations of a NIR file of another tool become steps: the framework it is "
        "from (norse, snntorch, spikingjelly, sinabs, spyx, rockpool, lava-dl), or a rule such as "
        "discretization=exponential; repeatable. docs/semantics.md lists the rules.",
    ),
]
ResetName = Annotated[
    str | None,
    typer.Option(
        "--reset",
        metavar="NAME",
        help="Reset after a spike, `zero` or `subtract`, for NIR files of other tools.",
    ),
]
Strict = Annotated[
    bool | None,
    typer.Option(
        "--strict/--no-strict",
        help="For NIR files of other tools: neurons fire only if v > threshold, as NIR documents "
        "(default, --strict), or also if v equals it (--no-strict).",
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        metavar="C,H,W",
        help="Shape of the input, if a netx file does not state it.",
    ),
]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What files of other tools do not state, as given on the command line; None if not given."""

    dt: Dt = None
    steps: Steps = None
    semantics: SemanticsTexts = None
    reset: ResetName = None
    strict: Strict = None
    input_shape: InputShape = None

    def given(self) -> dict[str, Any]:
        """The arguments of `read_nir` or `read_netx` that were given."""
        facts: dict[str, Any] = {"dt_s": self.dt, "steps": self.steps}
        if self.semantics:
            from spikeport.export.nir import parse_rules

            facts["semantics"], rules = parse_rules("--semantics", self.semantics)
            facts |= rules
        for name, value in (("reset", self.reset), ("strict", self.strict)):
            if value is not None and name in facts:
                raise OptionError(f"--{name}: also given as --semantics {name}=...; use one")
            if value is not None:
                facts[name] = value
        if self.reset is not None:
            facts["reset"] = choice("--reset", Reset, self.reset)
        if self.input_shape is not None:
            facts["input_shape"] = numbers("--input-shape", self.input_shape)
        return {name: value for name, value in facts.items() if value is not None}

    def words(self) -> list[str]:
        """The options as they were given, for a command line."""
        words: list[str] = []
        for field in fields(self):
            value, option = getattr(self, field.name), f"--{field.name.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(option if value else f"--no-{field.name}")
            elif value is not None:
                each = value if isinstance(value, list) else [value]
                words += [word for one in each for word in (option, str(one))]
        return words


def takes_foreign(verb: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `foreign: Foreign` of a verb by one option for each of its fields.

    A verb with an option of its own of that name, such as several `--steps`, keeps it; the field is
    then None.
    """
    signature = inspect.signature(verb, eval_str=True)
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
        )
        for field, annotation in zip(
            fields(Foreign), inspect.get_annotations(Foreign, eval_str=True).values(), strict=True
        )
        if field.name not in signature.parameters
    ]
    before = [part for name, part in signature.parameters.items() if name != "foreign"]
    placed = [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in before]
    at = list(signature.parameters).index("foreign")

    @wraps(verb)
    def with_options(**given: Any) -> None:
        foreign = Foreign(**{option.name: given.pop(option.name) for option in options})
        verb(**given, foreign=foreign)

    chosen = [*placed[:at], *options, *placed[at:]]
    with_options.__signature__ = inspect.Signature(chosen)  # type: ignore[attr-defined]
    with_options.__annotations__ = {part.name: part.annotation for part in chosen}
    return with_options


def origin_facts(network: DeployedNetwork | FloatNetwork) -> dict[str, str]:
    """Where a network of another tool, or a converted one, is from, as table rows."""
    return origin.origin_facts(network.provenance)


def origin_tables(network: DeployedNetwork | FloatNetwork) -> list[Table]:
    """`origin_facts` as tables; none for a network trained here."""
    found = origin.origins(network.provenance)
    return [facts_table(title, facts) for title, facts in found.items()]
