"""The header of a trace file."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.checks import MAX_SIZE, integer, texts
from spikeport.errors import FileFormatError, FileVersionError, InputError
from spikeport.runs import KNOWN_VARIABLES, Chosen, Run, Trace
from spikeport.storage import parse_json
from spikeport.text import quoted

FORMAT = "spikeport.trace"
VERSION = 1
_MOST = 2**40
_NAME = re.compile(r"[^/\x00]{1,256}")


@dataclass(frozen=True, slots=True)
class TraceHeader:
    """What was run and recorded.

    Attributes:
        backend, backend_version: what computed the trace.
        network_hash: content hash of the network, empty for a float graph.
        samples_hash: of the presented samples (`samples.samples_hash`), empty if unknown.
        samples, steps: B and T.
        shapes: of the populations, in topological order.
        recorded: (variable, population) for everything in the trace.
        neurons: where only some neurons were recorded; the file stores them next to the values.
        provenance: free-text facts.
    """

    backend: str
    backend_version: str
    network_hash: str
    samples_hash: str
    samples: int
    steps: int
    shapes: Mapping[str, tuple[int, ...]]
    recorded: tuple[tuple[str, str], ...]
    neurons: Mapping[tuple[str, str], Chosen] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts("trace: provenance", self.provenance)
        integer("trace: samples", self.samples, 1, _MOST)
        integer("trace: steps", self.steps, 1, _MOST)
        for name, shape in self.shapes.items():
            if not _NAME.fullmatch(name) or name == ".":
                raise FileFormatError(
                    f"trace: population name {quoted(name)} cannot be stored in a file"
                )
            for size in shape:
                integer(f"trace: shape {shape} of '{name}': size", size, 1, MAX_SIZE)
        for variable, population in self.recorded:
            if variable not in KNOWN_VARIABLES or population not in self.shapes:
                raise FileFormatError(f"trace: {variable} of '{population}' cannot be recorded")
        if not self.recorded or len(set(self.recorded)) != len(self.recorded):
            raise FileFormatError(
                f"trace: recorded is {self.recorded}, must have entries, each once"
            )

    @property
    def order(self) -> tuple[str, ...]:
        """Populations in topological order."""
        return tuple(self.shapes)

    def chosen(self, variable: str, population: str) -> NDArray[np.int64] | None:
        """Flat indices of the recorded neurons; None if all were recorded."""
        found = self.neurons.get((variable, population))
        return None if found is None else found.flat

    def width(self, variable: str, population: str) -> int:
        """K, the number of recorded neurons."""
        flat = self.chosen(variable, population)
        return prod(self.shapes[population]) if flat is None else len(flat)

    def facts(self) -> dict[str, Any]:
        """Plain data, without the neurons."""
        names = [part.name for part in dataclasses.fields(self) if part.name != "neurons"]
        data = {name: getattr(self, name) for name in names}
        return {
            **data,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "recorded": [list(key) for key in self.recorded],
            "provenance": dict(self.provenance),
        }

    def to_json(self) -> str:
        """The header as stored in the file."""
        return json.dumps({"format": FORMAT, "version": VERSION, **self.facts()})


def header_of(
    run: Run,
    samples: int,
    *,
    order: Sequence[str] = (),
    samples_hash: str = "",
    provenance: Mapping[str, str] | None = None,
) -> TraceHeader:
    """The header for `samples` samples recorded in the same way as `run`.

    Raises:
        InputError: the run recorded nothing, or has names that cannot be stored in a file.
    """
    trace = run.trace or Trace()
    tables = {name: trace[name] for name in KNOWN_VARIABLES}
    recorded = tuple((variable, name) for variable, table in tables.items() for name in table)
    shapes = {name: tuple(counts.shape) for name, counts in run.spike_counts.items()}
    for variable, name in recorded:
        shapes.setdefault(name, tuple(tables[variable][name].shape[2:]))
    names = [*(name for name in order if name in shapes), *shapes]
    return TraceHeader(
        backend=run.backend,
        backend_version=run.version,
        network_hash=run.network_hash,
        samples_hash=samples_hash,
        samples=samples,
        steps=run.steps,
        shapes={name: shapes[name] for name in names},
        recorded=recorded,
        neurons=trace.neurons,
        provenance=provenance or {},
    )


def parse_header(data: bytes) -> TraceHeader:
    """Parse what `TraceHeader.to_json` wrote, without the selected neurons.

    Raises:
        InputError: it is damaged, of another kind or of an unknown version.
    """
    try:
        found = parse_json(data)
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise FileFormatError("is HDF5, but not a Spikeport trace")
        version = found.pop("version", None)
        if version != VERSION or isinstance(version, bool):
            raise FileVersionError(
                f"format version {quoted(version)}, this Spikeport reads {VERSION}"
            )
        texts = {name: found[name] for name in _TEXTS}
        if not all(isinstance(text, str) for text in texts.values()):
            raise FileFormatError(f"damaged header: {texts} must be strings")
        if unknown := found.keys() - {*_TEXTS, *_OTHERS}:
            raise FileFormatError(f"damaged header: unknown key {min(unknown)[:40]!r}")
        return TraceHeader(
            **texts,
            samples=found["samples"],
            steps=found["steps"],
            shapes={name: tuple(shape) for name, shape in found["shapes"].items()},
            recorded=tuple((variable, name) for variable, name in found["recorded"]),
            provenance=found["provenance"],
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"damaged header ({error!r})") from error


_TEXTS = ("backend", "backend_version", "network_hash", "samples_hash")
_OTHERS = ("samples", "steps", "shapes", "recorded", "provenance")
