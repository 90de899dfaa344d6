"""Weights and states of a deployed network against the ranges of the chip's integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    AnyPopulation,
    DeployedNetwork,
    Population,
    WeightedConnection,
    is_mixed,
    threshold_state,
)
from spikeport.report.activity import describe
from spikeport.report.figures import Histogram, Mark
from spikeport.report.observations import Recording
from spikeport.report.section import Section, Topic, section_of

BINS = 64
DRAWN = 100
"""Most histograms of weights: a network with sums over many layers has hundreds of connections."""


def range_sections(network: DeployedNetwork, recording: Recording | None) -> Iterator[Section]:
    """Weights, and the membranes of a recorded sample if there is one."""
    if network.weighted_connections:
        yield _weights(network)
    if recording is not None and recording.run.trace is not None:
        yield _membranes(network, recording)


def _weights(network: DeployedNetwork) -> Section:
    rows, figures, shares = [], [], []
    for part in (one for name in network.order for one in network.weighted_into(name)):
        low, high = weight_range(network, part)
        values = part.weight.ravel()
        if not values.size:
            continue
        ends = int(((values == low) | (values == high)).sum())
        rows.append(
            {
                "connection": part.name,
                "weights": values.size,
                "bits": part.weight_bits,
                "used": f"{values.min()} to {values.max()}",
                "range": f"{low} to {high}",
                "at an end of the range": ends,
                "zero, %": round(100 * float((values == 0).mean()), 1),
            }
        )
        figures.append(histogram(part.name, values, low, high, [Mark("0", 0)]))
        shares.append(ends / values.size)
    drawn = sorted(sorted(range(len(figures)), key=lambda k: -shares[k])[:DRAWN])
    some = (
        f" Histograms are those of the {DRAWN} connections, of {len(figures)}, with the largest "
        "share there."
        if len(figures) > DRAWN
        else ""
    )
    return section_of(
        "Weights",
        rows,
        "Mantissas of the weights, each histogram over the whole range that the chip stores; "
        "heights are square roots, so that rare values are visible. A weight at an end of the "
        "range may have been clipped; how many were is stated under quantization."
        f"{some}",
        topic=Topic.RANGES,
        figures=[figures[k] for k in drawn],
    )


def weight_range(network: DeployedNetwork, part: WeightedConnection) -> tuple[int, int]:
    """Lowest and highest weight that the chip stores for the signs of this connection."""
    mixed = is_mixed(part.weight)
    low, high, _ = network.arithmetic.weight_grid(mixed=mixed, bits=part.weight_bits)
    inhibitory = not mixed and part.weight.size > 0 and part.weight.min() < 0
    return (-high, -low) if inhibitory else (low, high)


def _membranes(network: DeployedNetwork, recording: Recording) -> Section:
    trace = recording.run.trace
    assert trace is not None  # asked for by the caller
    rows, figures = [], []
    for part in (network.by_name[name] for name in network.order):
        v, u = trace.v[part.name], trace.u[part.name]
        limit = network.arithmetic.state_max
        saturated = int((np.abs(v.astype(np.int64)) >= limit).sum())
        rows.append(
            {
                "population": part.name,
                "threshold": _threshold(network, part),
                "v, used": f"{v.min():,} to {v.max():,}",
                "range": f"±{limit:,}",
                "v, % of range": round(100 * _peak(v) / limit, 1),
                "saturated": saturated,
                "u, % of range": round(100 * _peak(u) / limit, 1),
                "neurons recorded": int(v[0, 0].size),
            }
        )
        figures.append(_membrane_histogram(network, part, v))
    clipped = sum(int(row["saturated"] or 0) for row in rows)
    note = (
        f"{describe(recording)} Potentials v at the end of each step, after the reset, in the "
        "units of the chip. v saturates at the ends of its range, u wraps. Saturated: neuron-steps "
        f"with v at an end of its range{'' if clipped else '; there are none'}. The histograms "
        "show the values in use."
    )
    return section_of("Membrane potentials", rows, note, topic=Topic.RANGES, figures=figures)


def _membrane_histogram(
    network: DeployedNetwork, part: AnyPopulation, v: NDArray[np.integer[Any]]
) -> Histogram:
    """Over the values in use; the threshold is on the axis unless it is far above them."""
    threshold = _threshold(network, part)
    near = threshold is not None and threshold <= 2 * _peak(v)
    low, high = min(int(v.min()), 0), max(int(v.max()), threshold if near and threshold else 0)
    marks = [] if threshold is None else [Mark("threshold", threshold)]
    return histogram(part.name, v.ravel(), low, high, [Mark("0", 0), *marks])


def histogram(
    title: str,
    values: NDArray[np.integer[Any]],
    low: int,
    high: int,
    marks: Sequence[Mark] = (),
) -> Histogram:
    """Integers in at most BINS bins of equal width from `low` to `high`."""
    width = -(-(high - low + 1) // BINS)
    count = -(-(high - low + 1) // width)
    counts = np.bincount((values.astype(np.int64) - low) // width, minlength=count)
    return Histogram(title, low, high, width, tuple(counts.tolist()), tuple(marks))


def _threshold(network: DeployedNetwork, part: AnyPopulation) -> int | None:
    """In units of v; None for a model whose threshold moves."""
    return threshold_state(part, network.arithmetic) if isinstance(part, Population) else None


def _peak(values: NDArray[np.integer[Any]]) -> int:
    return max(abs(int(values.min())), abs(int(values.max())))
