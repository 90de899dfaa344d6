"""The typer application and the verbs registered on it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from spikeport.cli import _demo, _judge, _make, _run, _show

app = typer.Typer(
    name="spikeport",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spikeport {version('spikeport')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train a spiking network, quantize it, exchange it as NIR, run it exactly, price it."""


for verb in (
    _demo.demo,
    _make.train,
    _make.quantize,
    _make.export,
    _run.run,
    _judge.compare,
    _judge.energy,
    _show.inspect,
    _show.backends,
):
    app.command()(verb)
