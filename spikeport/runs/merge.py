"""`merge_runs`: combine runs of parts of the samples into one run.

For runs i = 1 ... k of one network with B_i samples each, B = sum of B_i: scores and traces follow
concatenated along B in the given order; spikes and event counts are sums, in exact integers. State
is zeroed for each sample, so the merged run equals that of a single process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.runs.by_variable import Arrays
from spikeport.runs.run import EventCounts, Run, Trace


def merge_runs(runs: Sequence[Run]) -> Run:
    """Merge the samples of all `runs`, in their order; `wall_s` is the sum.

    Scores have shape (B, N), traces (T, B, *population shape), spike counts that of the population.

    Raises:
        InputError: there is no run, or they differ in backend, version, network, T, populations,
            readouts, or in what was counted and recorded.
    """
    if not runs:
        raise InputError("merge: no runs given, needs at least one")
    first = runs[0]
    for name in ("backend", "version", "network_hash", "steps"):
        found = sorted({str(getattr(run, name)) for run in runs})
        if len(found) > 1:
            raise InputError(f"merge: the runs' {name} is {' and '.join(found)}, must be the same")
    return dataclasses.replace(
        first,
        samples=sum(run.samples for run in runs),
        scores=_joined("scores", [run.scores for run in runs], axis=0),
        spike_counts={
            name: np.sum(arrays, axis=0)
            for name, arrays in _by_name("spike counts", [run.spike_counts for run in runs])
        },
        counts=_merge_counts([run.counts for run in runs]),
        trace=_merge_traces([run.trace for run in runs]),
        wall_s=sum(run.wall_s for run in runs),
    )


def merge_counts(counts: Sequence[EventCounts]) -> EventCounts:
    """The counts of all samples together.

    Raises:
        InputError: they are not for the same parts.
    """
    sums: dict[str, Any] = {
        field.name: {
            name: sum(values)
            for name, values in _by_name(field.name, [getattr(c, field.name) for c in counts])
        }
        for field in dataclasses.fields(EventCounts)
        if field.name not in ("samples", "steps")
    }
    return EventCounts(samples=sum(c.samples for c in counts), steps=counts[0].steps, **sums)


def _merge_counts(counts: Sequence[EventCounts | None]) -> EventCounts | None:
    known = [found for found in counts if found is not None]
    if not known:
        return None
    if len(known) < len(counts):
        raise InputError("merge: some runs have event counts, some do not, must be all or none")
    return merge_counts(known)


def _merge_traces(traces: Sequence[Trace | None]) -> Trace | None:
    known = [trace for trace in traces if trace is not None]
    if not known:
        return None
    if len(known) < len(traces):
        raise InputError("merge: some runs have a trace, some do not, must be all or none")
    variables = dict.fromkeys(name for trace in known for name in trace.tables)
    tables = {name: _joined(name, [trace[name] for trace in known], axis=1) for name in variables}
    return Trace.of(tables, known[0].neurons)


def _joined(what: str, parts: Sequence[Arrays], axis: int) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate(arrays, axis) for name, arrays in _by_name(what, parts)}


def _by_name(what: str, parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Per name, the values of all parts."""
    for part in parts[1:]:
        if part.keys() != parts[0].keys():
            raise InputError(
                f"merge: {what} are for {', '.join(sorted(part)) or 'nothing'} and for "
                f"{', '.join(sorted(parts[0])) or 'nothing'}, must be for the same parts"
            )
    return [(name, [part[name] for part in parts]) for name in parts[0]]
