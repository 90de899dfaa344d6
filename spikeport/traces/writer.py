"""Write traces to one HDF5 file, part by part, for runs of any length.

Layout, for T steps, B samples and the K recorded neurons of a population:

    header            JSON (UTF-8 bytes): format, version, what was run and recorded
    spikes/NAME/count   (B,) spikes in each sample
    spikes/NAME/step    one entry per spike, sorted by sample, step and neuron
    spikes/NAME/neuron  its flat index in the population
    u/NAME/values       (B, T, K); v and further state variables likewise
    .../NAME/neurons    (K,) flat indices, only if neurons were selected

Integers have the smallest type for their range; everything is compressed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.runs import Run, Trace
from spikeport.storage.hdf5 import writing
from spikeport.traces.header import TraceHeader, header_of

_CHUNK = 2**16
_VALUES = 2**24
"""Number of values searched for spikes at once."""
_PACKED: Mapping[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_trace(
    path: str | os.PathLike[str],
    run: Run,
    *,
    order: Sequence[str] = (),
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write the trace of a run, completely or not at all.

    Args:
        order: populations in topological order; by default as the run lists them.

    Raises:
        InputError: the run has no trace, or a name that cannot be stored in a file.
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    if run.trace is None:
        raise InputError(f"{path}: the run on '{run.backend}' recorded nothing")
    with trace_writer(path) as writer:
        writer.begin(header_of(run, run.samples, order=order, provenance=provenance))
        writer.append(run.trace)


@contextmanager
def trace_writer(path: str | os.PathLike[str]) -> Iterator[TraceWriter]:
    """Write a trace in parts; the file appears once all of its samples have been appended.

    Raises:
        InputError: a part does not match the header, or the number of samples is not B.
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    with writing(path) as (file, check):
        writer = TraceWriter(file, check)
        yield writer
        writer.end()


class TraceWriter:
    """Writes a trace file: call `begin` once, then `append`; created by `trace_writer`."""

    def __init__(self, file: h5py.File, check: Callable[[], None]) -> None:
        self._file, self._check, self._done = file, check, 0
        self._header: TraceHeader | None = None

    @property
    def header(self) -> TraceHeader:
        """The header passed to `begin`."""
        if self._header is None:
            raise InputError("trace: call begin() before appending samples")
        return self._header

    def begin(self, header: TraceHeader) -> None:
        """Start the file with its header."""
        self._header = header
        self._file["header"] = np.frombuffer(header.to_json().encode(), np.uint8)
        for variable, population in header.recorded:
            self._make_group(variable, population)
        self._check()

    def _make_group(self, variable: str, population: str) -> None:
        """Create the group; its dataset is created when the type of the first part is known."""
        group = self._file.create_group(f"{variable}/{population}")
        if (flat := self.header.chosen(variable, population)) is not None:
            group["neurons"] = flat.astype(_smallest(prod(self.header.shapes[population])))
        if variable != "spikes":
            return
        counts = _smallest(self.header.steps * self.header.width(variable, population) + 1)
        chunk = (min(self.header.samples, _CHUNK),)
        group.create_dataset("count", (self.header.samples,), counts, chunks=chunk, **_PACKED)
        limits = {"step": self.header.steps, "neuron": prod(self.header.shapes[population])}
        for name, limit in limits.items():
            kind = _smallest(limit)
            group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(_CHUNK,), **_PACKED)

    def append(self, trace: Trace) -> None:
        """Append the samples of one part, after checking all of it."""
        parts = {key: self._part(trace, *key) for key in self.header.recorded}
        counts = {len(array) for array in parts.values()}
        if len(counts) != 1 or not 0 < max(counts) <= self.header.samples - self._done:
            raise InputError(
                f"trace: {' and '.join(map(str, sorted(counts)))} further samples after "
                f"{self._done}, header has {self.header.samples}"
            )
        for (variable, population), array in parts.items():
            group: Any = self._file[f"{variable}/{population}"]
            if variable == "spikes":
                self._spikes(group, array, self.header.chosen(variable, population))
            else:
                self._values(group, array)
        self._done += counts.pop()
        self._check()

    def end(self) -> None:
        """Check that all samples were appended."""
        if self._done != self.header.samples:
            raise InputError(f"trace: {self._done} samples given, not {self.header.samples}")

    def _part(self, trace: Trace, variable: str, population: str) -> NDArray[Any]:
        """Values as (b, T, K)."""
        array = trace[variable].get(population)
        width = self.header.width(variable, population)
        subject = f"trace: {variable} of '{population}'"
        if array is None:
            raise InputError(f"{subject} is missing")
        if array.shape[0] != self.header.steps or prod(array.shape[2:]) != width:
            raise InputError(
                f"{subject} has shape {array.shape}, header has T = {self.header.steps} and "
                f"{width} neurons"
            )
        given = trace.neurons.get((variable, population))
        announced = self.header.chosen(variable, population)
        if not np.array_equal(
            [] if given is None else given.flat, [] if announced is None else announced
        ):
            raise InputError(f"{subject} is for other neurons than those in the header")
        if variable == "spikes" and array.size and not 0 <= array.min() <= array.max() <= 1:
            raise InputError(f"{subject} has values {array.min()}..{array.max()}, must be 0 or 1")
        flat: NDArray[Any] = array.reshape(*array.shape[:2], -1).swapaxes(0, 1)
        return flat

    def _spikes(self, group: Any, spikes: NDArray[Any], chosen: NDArray[np.int64] | None) -> None:
        end = self._done + len(spikes)
        group["count"][self._done : end] = np.count_nonzero(spikes, axis=(1, 2))
        at_once = max(1, _VALUES // max(1, spikes[0].size))
        for first in range(0, len(spikes), at_once):
            _, step, neuron = np.nonzero(spikes[first : first + at_once])
            for name, column in (("step", step), ("neuron", neuron)):
                stored = group[name]
                before = len(stored)
                stored.resize(before + len(column), axis=0)
                values = column if chosen is None or name == "step" else chosen[column]
                stored[before:] = values

    def _values(self, group: Any, values: NDArray[Any]) -> None:
        if "values" not in group:
            shape = (self.header.samples, *values.shape[1:])
            chunk = _chunk_shape(*shape)
            group.create_dataset("values", shape, values.dtype, chunks=chunk, **_PACKED)
        stored = group["values"]
        if stored.dtype != values.dtype:
            raise InputError(
                f"trace: {group.name} had type {stored.dtype}, now it is {values.dtype}"
            )
        stored[self._done : self._done + len(values)] = values


def _smallest(limit: int) -> np.dtype[Any]:
    """The smallest unsigned type for 0..limit-1."""
    return np.min_scalar_type(max(limit - 1, 0))


def _chunk_shape(samples: int, steps: int, width: int) -> tuple[int, int, int]:
    """A chunk of about _CHUNK values, of few samples."""
    k = min(width, _CHUNK)
    t = min(steps, max(1, _CHUNK // k))
    return min(samples, max(1, _CHUNK // (t * k))), t, k
