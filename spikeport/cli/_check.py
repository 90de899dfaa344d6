"""`check`: features of a network that targets do not support."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from spikeport.cli import _io
from spikeport.cli._foreign import Foreign, origin_facts, origin_tables, takes_foreign
from spikeport.cli._tables import unsupported_table
from spikeport.errors import CheckFailedError
from spikeport.report.screen import plain


@takes_foreign
def check(
    network: Annotated[Path, typer.Argument(help="Deployed network (.spikeport, .nir or .net).")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME",
            help="A backend or chip from `spikeport backends`; repeatable.",
        ),
    ] = None,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """List the features of a deployed network that each target does not support natively.

    Nothing is run. Of chips, the arithmetic is checked, and whether the network fits their cores.
    Exit code 1 if one of the targets cannot run the network.
    """
    from spikeport.backends import check as check_network

    opened = _io.open_deployed(network, foreign)
    found = check_network(opened, target)
    data = {
        **origin_facts(opened),
        "content_hash": opened.content_hash,
        "targets": [{**dataclasses.asdict(one), "runs": one.runs} for one in found],
    }
    shown = [
        unsupported_table(one)
        if one.unsupported
        else plain(f"{one.target}: supports every feature of this network", "italic")
        for one in found
    ]
    _io.emit(as_json, data, *origin_tables(opened), *shown)
    if stopping := [one.target for one in found if not one.runs]:
        raise CheckFailedError(f"check: {network}: cannot run on {', '.join(stopping)}")
