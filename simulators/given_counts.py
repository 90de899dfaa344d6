"""Event counts without a run: from an assumed activity, or from a file.

Activity is the share of neurons that send a message (a spike or a non-zero value) per step. It is
assumed to be the same for all neurons of a part and for all steps, so that a neuron sends
activity * T messages per sample; those that arrive within T steps count. The lines of an input that
sends binary digits are as active as one neuron each. The synapses that a
message reaches follow exactly from weights, strides and padding (`spikeport.network.fan_out`).
Every neuron is assumed to be updated in every step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.checks import MAX_SIZE, integer
from spikeport.errors import EnergyError, FileFormatError, FileMissingError
from spikeport.network import (
    AnyPopulation,
    Coding,
    DeployedNetwork,
    Input,
    fan_out,
)
from spikeport.runs import EventCounts
from spikeport.simulators.counts import counted_parts
from spikeport.storage import parse_json
from spikeport.text import quoted

SAMPLES = 1000
"""Counts are integers, so they are given for this many samples."""
MOST = 2**63 - 1


def assumed_counts(
    network: DeployedNetwork,
    activity: float | Mapping[str, float],
    *,
    samples: int = SAMPLES,
) -> EventCounts:
    """Event counts of a network at a given activity; for the assumptions see the module docstring.

    Args:
        activity: messages per neuron and step, 0 to 1: one number, or one per input and population
            by name. Inputs of coding 'bias' send no messages and have none.
        samples: number of samples that are counted; with more of them, rounding to whole messages
            matters less.

    Raises:
        InputError: an activity is not in 0..1, missing, or of an unknown name.
    """
    samples = integer("energy: samples", samples, 1, MAX_SIZE)
    senders = [name for name, part in network.sources.items() if not _injected(part)]
    shares = _shares(senders, activity)
    steps = network.steps

    def sent(name: str, delay: int = 0) -> int:
        return network.lines(name) * round(shares[name] * max(steps - delay, 0) * samples)

    messages, nonzero, stored = {}, {}, {}
    for c in network.weighted_connections:
        part, each = network.sources[c.source], sent(c.source, c.delay)
        messages[c.name] = part.size * each
        nonzero[c.name], stored[c.name] = (
            each * int(reached.sum()) for reached in fan_out(c, part.shape)
        )
    return EventCounts(
        samples=samples,
        steps=steps,
        spikes={part.name: part.size * sent(part.name) for part in network.populations},
        visits={part.name: part.size * steps * samples for part in network.populations},
        updates={part.name: part.size * steps * samples for part in network.populations},
        input_events={
            part.name: 0 if _injected(part) else part.size * sent(part.name)
            for part in network.inputs
        },
        messages=messages,
        synaptic_events=nonzero,
        synaptic_events_all=stored,
    )


def load_counts(path: str | os.PathLike[str], network: DeployedNetwork) -> EventCounts:
    """Event counts of `network` from a JSON file that `spikeport run --json` printed.

    Only the object `counts` is read, which may also be the whole file.

    Raises:
        InputError: the file cannot be read, lacks a count, holds one that is unknown or not a
            non-negative integer, or belongs to another network.
    """
    try:
        data = parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileMissingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise FileFormatError(f"{path}: is not a JSON file ({error})") from error
    data = data.get("counts", data) if isinstance(data, dict) else data
    fields = ("samples", "steps", *EventCounts.SCOPES)
    missing = [name for name in fields if not isinstance(data, dict) or name not in data]
    if missing:
        raise EnergyError(f"{path}: count '{missing[0]}' is missing, needs {', '.join(fields)}")
    if unknown := data.keys() - set(fields):
        shown = quoted(min(unknown))
        raise EnergyError(f"{path}: count {shown} is unknown, must be one of {', '.join(fields)}")
    found: dict[str, Any] = {
        name: integer(f"{path}: {name}", data[name], 1, MOST) for name in ("samples", "steps")
    }
    if found["steps"] != network.steps:
        raise EnergyError(
            f"{path}: counts are for T = {found['steps']}, must be T = {network.steps}"
        )
    parts = counted_parts(network)
    for name, scope in EventCounts.SCOPES.items():
        found[name] = _per_part(f"{path}: {name}", data[name], parts[scope])
    return EventCounts(**found)


def _per_part(subject: str, given: Any, names: list[str]) -> dict[str, int]:
    if not isinstance(given, dict) or sorted(given) != sorted(names):
        found = sorted(given) if isinstance(given, dict) else given
        raise EnergyError(
            f"{subject} has {found}, must have one number for each of {sorted(names)}"
        )
    return {name: integer(f"{subject} of '{name}'", given[name], 0, MOST) for name in names}


def _injected(part: Input | AnyPopulation) -> bool:
    return isinstance(part, Input) and part.coding is Coding.BIAS


def _shares(senders: list[str], activity: float | Mapping[str, float]) -> dict[str, float]:
    given = activity if isinstance(activity, Mapping) else dict.fromkeys(senders, activity)
    for name in (*given, *senders):
        if name not in senders:
            raise EnergyError(
                f"activity: '{name}' does not send messages, must be one of {senders}"
            )
        if name not in given:
            raise EnergyError(f"activity of '{name}' is missing, needs one for each of {senders}")
        share = given[name]
        if not (isinstance(share, int | float | np.number) and 0 <= share <= 1):
            raise EnergyError(f"activity of '{name}' is {share!r}, must lie in 0..1")
    return {name: float(share) for name, share in given.items()}
