"""Facts that NIR cannot express, as JSON in the graph's metadata under the key `spikeport`.

For a float network: dt, T, reset, comparison and input codings. For a deployed network: all its
integers, so that reading gives exactly the same network; their arrays are stored next to the JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from spikeport.checks import MAX_STEPS, choice, fail, integer
from spikeport.errors import InputError, SpikeportError
from spikeport.export.nir.fields import Shape
from spikeport.export.nir.float_network import FloatNetwork
from spikeport.network import DeployedNetwork, Input, Reset
from spikeport.network.file import load_built
from spikeport.storage import parse_json
from spikeport.text import quoted

KEY = "spikeport"
_FACTS = ("dt_s", "steps", "reset", "strict", "inputs", "inputs_assumed")
ARRAYS = "spikeport_arrays"
VERSION = 1


def float_metadata(network: FloatNetwork) -> dict[str, Any]:
    """Graph metadata of a float network."""
    return {KEY: _text({"kind": "float", **_run_facts(network)})}


def deployed_metadata(
    network: DeployedNetwork, view: FloatNetwork, notes: tuple[str, ...]
) -> dict[str, Any]:
    """Graph metadata of a deployed network, whose float view is `view`."""
    data, arrays = network.canonical_form()
    header = {
        "kind": "deployed",
        **_run_facts(view),
        "content_hash": network.content_hash,
        "provenance": dict(network.provenance),
        "float_view": list(notes),
        "network": data,
    }
    return {KEY: _text(header), ARRAYS: arrays}


def header_of(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our header, None if the file has none.

    Raises:
        InputError: it is damaged or of an unknown version.
    """
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        header = parse_json(text)
    except (ValueError, TypeError) as error:
        raise InputError(f"metadata '{KEY}' is damaged ({error})") from error
    if not isinstance(header, dict) or header.get("kind") not in ("float", "deployed"):
        fail(f"metadata '{KEY}' is damaged: no kind of network in it")
    if header.get("version") != VERSION:
        fail(f"metadata '{KEY}' has version {quoted(header.get('version'))}, this reads {VERSION}")
    if isinstance(header["version"], bool):
        fail(f"metadata '{KEY}' is damaged: version is {header['version']}")
    dt_s = header.get("dt_s")
    if isinstance(dt_s, bool) or not (isinstance(dt_s, float | int) and 0 < dt_s < math.inf):
        fail(f"metadata '{KEY}' is damaged: dt_s is {quoted(dt_s)}")
    return header


def run_facts(header: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """dt_s, steps, reset, strict and inputs as arguments of `FloatNetwork`, types not converted.

    Raises:
        InputError: one is missing, unknown, of another type or out of range.
    """
    try:
        if unknown := header.keys() - {"version", "kind", *_FACTS}:
            fail(f"unknown key {quoted(min(unknown))}")
        steps, strict = header["steps"], header["strict"]
        assumed = header.get("inputs_assumed", False)
        for name, value in (("strict", strict), ("inputs_assumed", assumed)):
            if not isinstance(value, bool):
                fail(f"{name} is {quoted(value)}, must be true or false")
        return {
            "dt_s": float(header["dt_s"]),
            "steps": integer("steps", steps, 1, MAX_STEPS),
            "reset": choice("reset", Reset, header["reset"]),
            "strict": strict,
            "inputs_assumed": assumed,
            "inputs": tuple(
                Input(**{**part, "shape": shapes[part["name"]]}) for part in header["inputs"]
            ),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error) from error


def deployed_network(header: Mapping[str, Any], arrays: Any) -> DeployedNetwork:
    """The network whose integers are stored in the metadata.

    Raises:
        InputError: they are damaged, or do not match the hash stated in the file.
    """
    try:
        network = load_built(header["network"], dict(arrays), header["provenance"])
        stated = header["content_hash"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error) from error
    if network.content_hash != stated:
        fail(
            f"metadata '{KEY}': content hash is {network.content_hash[:12]}, the file states "
            f"{str(stated)[:12]}: it was changed after writing"
        )
    return network


def _run_facts(network: FloatNetwork) -> dict[str, Any]:
    return {
        "dt_s": network.dt_s,
        "steps": network.steps,
        "reset": network.reset,
        "strict": network.strict,
        **({"inputs_assumed": True} if network.inputs_assumed else {}),
        "inputs": [
            {
                "name": part.name,
                "coding": part.coding,
                "low": part.low,
                "high": part.high,
                "scale": part.scale,
            }
            for part in network.inputs
        ],
    }


def _text(header: dict[str, Any]) -> str:
    return json.dumps({"version": VERSION, **header}, sort_keys=True)


def _damaged(error: Exception) -> InputError:
    reason = error if isinstance(error, SpikeportError) else f"{error!r}"
    return InputError(f"metadata '{KEY}' is damaged: {reason}")
