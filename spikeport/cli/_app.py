"""The typer application and the verbs registered on it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from spikeport.cli._check import check
from spikeport.cli._convert import convert
from spikeport.cli._demo import demo
from spikeport.cli._diagnose import diagnose
from spikeport.cli._doctor import doctor
from spikeport.cli._front import front
from spikeport.cli._judge import compare, energy
from spikeport.cli._ladder import ladder
from spikeport.cli._make import export, quantize, train
from spikeport.cli._map import map_
from spikeport.cli._report import report
from spikeport.cli._run import run
from spikeport.cli._show import backends, inspect
from spikeport.text import one_line
from spikeport.version import __version__

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""The base class of typer's usage errors, which typer does not export."""


class _Verbs(TyperGroup):
    """The verbs, with usage errors printed as plain text on one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as error:
            error.message = one_line(error.message)
            raise


app = typer.Typer(
    name="spikeport",
    cls=_Verbs,
    rich_markup_mode=None,  # so that help shows `out:v:0` and [...] literally
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spikeport {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train a spiking network, quantize it, exchange it as NIR, run it exactly, price it."""


VERBS = (
    *(demo, train, convert, front, diagnose, quantize, export, run, compare, ladder, report),
    *(check, map_, energy, inspect, backends, doctor),
)
for verb in VERBS:
    app.command(verb.__name__.rstrip("_"))(verb)
