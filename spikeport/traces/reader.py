"""Read trace files, including untrusted ones, in parts that fit in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import FileFormatError, ValueRangeError
from spikeport.runs import Chosen, Trace
from spikeport.storage import check_count, check_seal, run_isolated
from spikeport.storage.hdf5 import Budget, check_plain, child, load, naming
from spikeport.storage.limits import (
    DEFLATE_RATIO,
    FREE_BYTES,
    FREE_SAMPLE_BYTES,
    FREE_TRACE_BYTES,
    MAX_CHUNK_BYTES,
    MAX_PARTS,
    MAX_RATIO,
    TRACE_RATIO,
)
from spikeport.traces.header import TraceHeader, parse_header

fail = FileFormatError.fail

WHAT = "Spikeport trace"
MAX_READ_BYTES = 8 * 2**30
"""Largest size of the dense arrays that one call of `read` may create."""
BLOCK_BYTES = 64 * 2**20
_EVENTS = 2**20


@dataclass(frozen=True, slots=True)
class TraceReader:
    """An open trace file; created by `open_trace`.

    Attributes:
        starts: per population with spikes, the index of the first event of each sample, (B + 1,).
    """

    path: str
    header: TraceHeader
    starts: Mapping[str, NDArray[np.int64]]
    _groups: Mapping[tuple[str, str], Mapping[str, Any]]

    def read(self, first: int = 0, stop: int | None = None) -> Trace:
        """The trace of samples first..stop-1 as dense arrays, exactly as it was recorded.

        Raises:
            InputError: no such samples, more than MAX_READ_BYTES, or events that contradict the
                header.
        """
        with naming(self.path, WHAT):
            return self._read(first, self.header.samples if stop is None else stop)

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, int]]:
        """Consecutive ranges (first, stop) of samples, of about `block_bytes` each."""
        count = max(1, block_bytes // self.bytes_per_sample)
        for first in range(0, self.header.samples, count):
            yield first, min(first + count, self.header.samples)

    @property
    def parts(self) -> Iterator[Any]:
        """All datasets that are read only on demand."""
        for group in self._groups.values():
            yield from (item for name, item in group.items() if name not in ("count", "neurons"))

    @property
    def bytes_per_sample(self) -> int:
        """Size of one sample as dense arrays."""
        total = 0
        for variable, population in self.header.recorded:
            group = self._groups[variable, population]
            each = 1 if variable == "spikes" else group["values"].dtype.itemsize
            total += each * self.header.steps * self.header.width(variable, population)
        return total

    def _read(self, first: int, stop: int) -> Trace:
        samples = self.header.samples
        if not 0 <= first < stop <= samples:
            ValueRangeError.fail(f"samples {first}..{stop} are not within 0..{samples}")
        if (size := (stop - first) * self.bytes_per_sample) > MAX_READ_BYTES:
            fail(
                f"samples {first}..{stop} are {size} bytes, limit {MAX_READ_BYTES}: read fewer at "
                "a time"
            )
        tables: dict[str, dict[str, NDArray[Any]]] = {key[0]: {} for key in self.header.recorded}
        for variable, population in self.header.recorded:
            flat = (
                self._spikes(population, first, stop)
                if variable == "spikes"
                else self._groups[variable, population]["values"][first:stop].swapaxes(0, 1)
            )
            if self.header.chosen(variable, population) is None:
                flat = flat.reshape(*flat.shape[:2], *self.header.shapes[population])
            tables[variable][population] = np.ascontiguousarray(flat)
        return Trace.of(tables, self.header.neurons)

    def _spikes(self, population: str, first: int, stop: int) -> NDArray[np.uint8]:
        """Dense spikes, (T, stop - first, K), built from a limited number of events at a time."""
        header, group = self.header, self._groups["spikes", population]
        width, starts = header.width("spikes", population), self.starts[population]
        chosen = header.chosen("spikes", population)
        spikes = np.zeros((header.steps, stop - first, width), np.uint8)
        last = -1
        for begin in range(starts[first], starts[stop], _EVENTS):
            end = min(begin + _EVENTS, int(starts[stop]))
            step, neuron = (group[name][begin:end].astype(np.int64) for name in ("step", "neuron"))
            if chosen is not None:
                place = np.searchsorted(chosen, neuron).clip(max=width - 1)
                neuron = np.where(chosen[place] == neuron, place, width)
            if not ((step >= 0) & (step < header.steps) & (neuron >= 0) & (neuron < width)).all():
                fail(f"spikes of '{population}': an event is outside of the recorded range")
            sample = np.searchsorted(starts, np.arange(begin, end), side="right") - 1 - first
            key = (sample * header.steps + step) * width + neuron
            if (np.diff(key, prepend=last) <= 0).any():
                fail(f"spikes of '{population}': events are out of order or duplicated")
            last = key[-1]
            spikes[step, sample, neuron] = 1
        return spikes


@contextlib.contextmanager
def open_trace(path: str | os.PathLike[str]) -> Iterator[TraceReader]:
    """Open a trace file to read it in parts.

    A file without a seal (written by Spikeport 0.1.0, or modified since) is first read completely
    in a separate process, because a damaged file can hang or crash libhdf5.

    Raises:
        InputError: no such file, damaged, not a trace, of an unknown version, with links or arrays
            that its header does not list, or declaring far more data than it stores.
    """
    with naming(path, WHAT):
        safe = check_seal(path)
    if not safe:
        run_isolated(path, f"{__name__}:read_through")
    with _open(path) as reader:
        yield reader


def read_through(path: str) -> None:
    """Read every dataset of a trace file once."""
    with _open(path) as reader, naming(path, WHAT):
        for part in reader.parts:
            for first in range(0, len(part), rows := max(1, BLOCK_BYTES // _row_bytes(part))):
                part[first : first + rows]


@contextlib.contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[TraceReader]:
    with contextlib.ExitStack() as stack:
        with naming(path, WHAT):
            file = stack.enter_context(h5py.File(path, "r"))  # its seal was checked
            reader = _reader(str(path), file)
        yield reader


def read_trace(path: str | os.PathLike[str]) -> tuple[TraceHeader, Trace]:
    """Header and complete trace of a file; use `open_trace` to read long ones in parts.

    Raises:
        InputError: as for `open_trace` and `TraceReader.read`.
    """
    with open_trace(path) as reader:
        return reader.header, reader.read()


def _reader(path: str, file: h5py.File) -> TraceReader:
    budget = Budget(os.path.getsize(path))
    raw = child(file, "header", budget)
    if raw is None or check_plain(raw) or raw.dtype != np.uint8 or raw.ndim != 1:
        fail("contains no trace header, so it is not a Spikeport trace")
    header = parse_header(load(raw, budget).tobytes())
    check_count("recorded", len(header.recorded), 4 * MAX_PARTS)
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    neurons: dict[tuple[str, str], Chosen] = {}
    starts: dict[str, NDArray[np.int64]] = {}
    tables = {name: _subgroup(file, name, budget) for name in {key[0] for key in header.recorded}}
    for variable, population in header.recorded:
        place = _subgroup(tables[variable], population, budget)
        group = groups[variable, population] = _datasets(place, variable, budget)
        if (flat := _neurons(group, header, population, budget)) is not None:
            neurons[variable, population] = Chosen(flat, header.shapes[population])
    header = dataclasses.replace(header, neurons=neurons)
    for (variable, population), group in groups.items():
        if variable == "spikes":
            starts[population] = _starts(group, header, population, budget)
        else:
            _check_values(group, header, variable, population)
    reader = TraceReader(path, header, starts, groups)
    _check_size(reader, budget.file_bytes)
    return reader


def _check_size(reader: TraceReader, file_bytes: int) -> None:
    """Refuse a trace whose dense size is out of proportion to the size of its file."""
    each, samples = reader.bytes_per_sample, reader.header.samples
    for size, free, ratio, what in (
        (each, FREE_SAMPLE_BYTES, MAX_RATIO, "one sample"),
        (each * samples, FREE_TRACE_BYTES, TRACE_RATIO, f"{samples} samples"),
    ):
        if size > (limit := max(free, ratio * file_bytes)):
            fail(f"{what} would take {size} bytes, limit {limit} for a file of {file_bytes}")


def _row_bytes(item: h5py.Dataset) -> int:
    return int(prod(item.shape[1:]) * item.dtype.itemsize)


def _subgroup(group: h5py.Group, name: str, budget: Budget) -> h5py.Group:
    found = child(group, name, budget)
    if not isinstance(found, h5py.Group):
        fail(f"'{str(group.name).rstrip('/')}/{name}' is missing")
    return found


def _datasets(group: h5py.Group, variable: str, budget: Budget) -> dict[str, Any]:
    """The datasets of one recording by name, each checked to be plain numbers in small chunks."""
    wanted = ("count", "step", "neuron") if variable == "spikes" else ("values",)
    found = {name: child(group, name, budget) for name in (*wanted, "neurons")}
    for name, item in found.items():
        where = f"'{group.name}/{name}'"
        if item is None:
            if name in wanted:
                fail(f"{where} is missing")
            continue
        if check_plain(item) or item.dtype.kind not in "uif":
            fail(f"{where} must be numbers")
        declared, stored = prod(item.shape) * item.dtype.itemsize, item.id.get_storage_size()
        if declared > FREE_BYTES + DEFLATE_RATIO * stored:
            fail(f"{where} declares {declared} bytes, but only {stored} are stored")
        if item.chunks and prod(item.chunks) * item.dtype.itemsize > MAX_CHUNK_BYTES:
            fail(f"{where} has chunks of {item.chunks}, limit {MAX_CHUNK_BYTES} bytes")
    return {name: item for name, item in found.items() if item is not None}


def _neurons(
    group: Mapping[str, Any], header: TraceHeader, population: str, budget: Budget
) -> NDArray[np.int64] | None:
    if "neurons" not in group:
        return None
    item, size = group["neurons"], prod(header.shapes[population])
    if item.ndim != 1 or not 0 < len(item) <= size or item.dtype.kind != "u":
        fail(f"neurons of '{population}' have shape {item.shape} of {item.dtype}")
    flat: NDArray[np.int64] = load(item, budget).astype(np.int64)
    if (np.diff(flat) <= 0).any() or not 0 <= flat[0] <= flat[-1] < size:
        fail(f"neurons of '{population}' must ascend within 0..{size - 1}")
    return flat


def _starts(
    group: Mapping[str, Any], header: TraceHeader, population: str, budget: Budget
) -> NDArray[np.int64]:
    count, most = group["count"], header.steps * header.width("spikes", population)
    if any(item.dtype.kind != "u" for item in group.values()) or count.shape != (header.samples,):
        fail(
            f"spikes of '{population}': count has shape {count.shape}, must be ({header.samples},)"
        )
    counts = load(count, budget)
    largest = int(counts.max())
    if largest > most or largest * len(counts) >= 2**63:
        fail(f"spikes of '{population}': a sample has {largest} spikes, at most {most} fit")
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    for name in ("step", "neuron"):
        if group[name].shape != (starts[-1],):
            shape = group[name].shape
            fail(f"spikes of '{population}': {name} has shape {shape}, not ({starts[-1]},)")
    return starts


def _check_values(
    group: Mapping[str, Any], header: TraceHeader, variable: str, population: str
) -> None:
    shape = (header.samples, header.steps, header.width(variable, population))
    if group["values"].shape != shape or group["values"].dtype.kind not in "if":
        fail(
            f"{variable} of '{population}' has shape {group['values'].shape} of "
            f"{group['values'].dtype}, must be {shape} of int or float"
        )
