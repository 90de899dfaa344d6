"""Facts that NIR cannot express, as JSON in the graph's metadata under the key `spikeport`.

For a float network: dt, T, the rules of a step, input codings and provenance. For a deployed
network: all its integers, so that reading gives exactly the same network; their arrays are stored
next to the JSON.

Of a float network, version 2 differs from version 1 only in a table of rules, `semantics`, which
0.1.0 would ignore. It is written only if a rule other than `reset` and `strict` is not the default.
Of a deployed network, version 2 has a graph that 0.1.0 would draw otherwise
(`deployed.NEWEST_FORM`). Version 3 has a graph that is written for one reader, and states its own
form (`readers.original`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from spikeport.checks import MAX_STEPS, integer, texts
from spikeport.errors import FileFormatError, FileVersionError, InputError, SpikeportError
from spikeport.export.nir.fields import Shape
from spikeport.export.nir.flatten import FlatGraph
from spikeport.export.nir.float_network import FloatNetwork
from spikeport.export.nir.readers import ARRAYS_OF_ORIGINAL, undo
from spikeport.export.nir.semantics import DEFAULTS, RULES, Semantics
from spikeport.network import DeployedNetwork, Input
from spikeport.network.file import load_built
from spikeport.storage import parse_json
from spikeport.text import quoted

fail = FileFormatError.fail

KEY = "spikeport"
_FACTS = (
    *("dt_s", "steps", "reset", "strict", "semantics"),
    *("inputs", "inputs_assumed", "provenance"),
    *("reader", "original"),
)
ARRAYS = "spikeport_arrays"
REWRITES = "spikeport_rewrites"
"""Beside the header, in which 0.1.0 would refuse it."""
VERSION = 1
VERSIONS = (VERSION, 2, 3)


def float_metadata(network: FloatNetwork) -> dict[str, Any]:
    """Graph metadata of a float network."""
    facts = _run_facts(network)
    if network.provenance:
        facts["provenance"] = dict(network.provenance)
    header = _text({"kind": "float", **facts}, 2 if "semantics" in facts else 1)
    rewrites = {REWRITES: json.dumps(network.rewrites)} if network.rewrites else {}
    return {KEY: header, **rewrites}


def deployed_metadata(
    network: DeployedNetwork, view: FloatNetwork, form: int, notes: tuple[str, ...]
) -> dict[str, Any]:
    """Graph metadata of a deployed network, whose float view is `view`, of that form."""
    data, arrays = network.canonical_form()
    header = {
        "kind": "deployed",
        **_run_facts(view),
        "content_hash": network.content_hash,
        "provenance": dict(network.provenance),
        "float_view": list(notes),
        "network": data,
    }
    return {KEY: _text(header, form), ARRAYS: arrays}


def for_reader(metadata: dict[str, Any], reader: str, original: Any, arrays: Any) -> dict[str, Any]:
    """Metadata of a graph that is written for a reader, with the original form of the graph."""
    header = {**json.loads(metadata[KEY]), "reader": reader, "original": original, "version": 3}
    kept = {ARRAYS_OF_ORIGINAL: arrays} if arrays else {}
    return {**metadata, KEY: json.dumps(header, sort_keys=True), **kept}


def original_of(
    header: Mapping[str, Any] | None, metadata: Mapping[str, Any], flat: FlatGraph
) -> FlatGraph:
    """The graph of a file in its own form.

    Raises:
        InputError: that form is damaged, or the graph was changed after writing.
    """
    if header is None or header["version"] < 3:
        return flat
    return undo(header.get("original"), metadata.get(ARRAYS_OF_ORIGINAL, {}), flat)


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
        raise FileFormatError(f"metadata '{KEY}' is damaged ({error})") from error
    if not isinstance(header, dict) or header.get("kind") not in ("float", "deployed"):
        fail(f"metadata '{KEY}' is damaged: no kind of network in it")
    if header.get("version") not in VERSIONS:
        read = " and ".join(map(str, VERSIONS))
        FileVersionError.fail(
            f"metadata '{KEY}' has version {quoted(header.get('version'))}, this reads {read}"
        )
    if isinstance(header["version"], bool):
        fail(f"metadata '{KEY}' is damaged: version is {header['version']}")
    dt_s = header.get("dt_s")
    if isinstance(dt_s, bool) or not (isinstance(dt_s, float | int) and 0 < dt_s < math.inf):
        fail(f"metadata '{KEY}' is damaged: dt_s is {quoted(dt_s)}")
    return header


def run_facts(header: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """dt_s, steps, inputs and provenance as arguments of `FloatNetwork`.

    Raises:
        InputError: one is missing, unknown, of another type or out of range.
    """
    try:
        if unknown := header.keys() - {"version", "kind", *_FACTS}:
            fail(f"unknown key {quoted(min(unknown))}")
        assumed = header.get("inputs_assumed", False)
        if not isinstance(assumed, bool):
            fail(f"inputs_assumed is {quoted(assumed)}, must be true or false")
        provenance = header.get("provenance", {})
        texts("provenance", provenance)
        return {
            "dt_s": float(header["dt_s"]),
            "steps": integer("steps", header["steps"], 1, MAX_STEPS),
            "inputs_assumed": assumed,
            "provenance": provenance,
            "inputs": tuple(
                Input(**{**part, "shape": shapes[part["name"]]}) for part in header["inputs"]
            ),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error) from error


def stated_rewrites(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """What became of the layers of the network that a float graph was made from.

    Raises:
        InputError: it is not a list of sentences.
    """
    text = metadata.get(REWRITES)
    if text is None:
        return ()
    try:
        found = parse_json(text)
    except (ValueError, TypeError) as error:
        raise FileFormatError(f"metadata '{REWRITES}' is damaged ({error})") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        fail(f"metadata '{REWRITES}' is damaged: must be a list of sentences")
    return tuple(found)


def stated_semantics(header: Mapping[str, Any]) -> Semantics:
    """The rules of a float network that its file states.

    Raises:
        InputError: one is missing, unknown or out of range.
    """
    try:
        rules = header.get("semantics", {})
        if header["version"] < 3 and (header["version"] == 2) != ("semantics" in header):
            fail(f"version {header['version']} and its 'semantics' contradict each other")
        if odd := rules.keys() & {"reset", "strict"} | rules.keys() - set(RULES):
            fail(f"semantics: unknown rule {quoted(min(odd))}")
        return Semantics(reset=header["reset"], strict=header["strict"], **rules)
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
        "reset": network.semantics.reset,
        "strict": network.semantics.strict,
        **({"semantics": rules} if (rules := _other_rules(network.semantics)) else {}),
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


def _other_rules(semantics: Semantics) -> dict[str, Any]:
    """The rules with no field of their own in the header, where they are not the default."""
    usual = DEFAULTS.as_dict()
    return {
        name: rule
        for name, rule in semantics.as_dict().items()
        if name not in ("reset", "strict") and rule != usual[name]
    }


def _text(header: dict[str, Any], version: int) -> str:
    return json.dumps({"version": version, **header}, sort_keys=True)


def _damaged(error: Exception) -> InputError:
    reason = error if isinstance(error, SpikeportError) else f"{error!r}"
    return InputError(f"metadata '{KEY}' is damaged: {reason}")
