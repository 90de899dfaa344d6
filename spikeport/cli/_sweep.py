"""The table printed by `run` for several networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spikeport.energy import estimate_energy, load_profile
from spikeport.network import DeployedNetwork
from spikeport.parity import accuracy
from spikeport.report.screen import Table
from spikeport.runs import Run

PROFILE = "loihi1"


def sweep_rows(
    paths: Sequence[Path],
    networks: Sequence[DeployedNetwork],
    runs: Sequence[Run],
    labels: NDArray[Any],
) -> list[dict[str, Any]]:
    """Per network: accuracy with its interval; spikes, synaptic events and energy per sample."""
    profile = load_profile(PROFILE)
    rows = []
    for path, network, run in zip(paths, networks, runs, strict=True):
        assert run.counts is not None  # all backends of deployed networks count events
        reached = accuracy(int((run.predictions == labels).sum()), run.samples)
        energy = estimate_energy(network, run.counts, profile).total_per_sample
        rows.append(
            {
                "network": str(path),
                "content_hash": run.network_hash,
                "backend": f"{run.backend} {run.version}",
                "samples": run.samples,
                "accuracy": reached.rate,
                "accuracy_low": reached.low,
                "accuracy_high": reached.high,
                "spikes": run.counts.total("spikes") / run.samples,
                "synaptic_events": run.counts.total("synaptic_events") / run.samples,
                "energy_pj": {
                    "low": energy.low,
                    "nominal": energy.nominal,
                    "high": energy.high,
                },
            }
        )
    return rows


def sweep_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row per network."""
    table = Table(f"Comparison of networks, per sample; energy estimated for {PROFILE}")
    table.add_column("network")
    for name in ("accuracy %", "spikes", "synaptic events", "energy nJ, low .. nominal .. high"):
        table.add_column(name, justify="right")
    for row in rows:
        low, rate, high = (
            f"{100 * row[name]:.2f}" for name in ("accuracy_low", "accuracy", "accuracy_high")
        )
        table.add_row(
            row["network"],
            f"{rate} ({low}..{high})",
            f"{row['spikes']:,.1f}",
            f"{row['synaptic_events']:,.1f}",
            " .. ".join(f"{value / 1000:,.1f}" for value in row["energy_pj"].values()),
        )
    return table
