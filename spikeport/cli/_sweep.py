"""The table printed by `run` for several networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spikeport.energy import DEFAULT_PROFILE
from spikeport.report.screen import Table


def sweep_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row per network."""
    table = Table(f"Comparison of networks, per sample; energy estimated for {DEFAULT_PROFILE}")
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
