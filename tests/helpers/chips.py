"""Chips with made-up limits of their cores."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from spikeport.hardware import TargetFile, parse_target

SOURCE = {
    "citation": "Made up for a test",
    "url": "",
    "basis": "assumed",
    "conditions": "none",
    "includes_static": False,
}
STORAGE: dict[str, dict[str, int | bool]] = {
    "loihi1": {
        "synapse_word_bits": 64, "synapse_header_bits": 10, "synapses_per_block": 64,
        "dense_rows_indexed": False, "kernels_stored_once": False, "axon_bases_per_core": 256,
        "output_axons_per_position": 2, "weight_exponent_min": -7,
    },
    "loihi2": {
        "synapse_word_bits": 64, "synapse_header_bits": 10, "index_bits": 12,
        "dense_rows_indexed": True, "kernels_stored_once": True, "columns_power_of_two": True,
    },
    "plain": {},
    "odd": {
        "synapse_word_bits": 24, "synapse_header_bits": 3, "synapses_per_block": 5,
        "dense_rows_indexed": True, "axon_bases_per_core": 6, "output_axons_per_position": 3,
    },
    "blocks": {
        "synapse_word_bits": 24, "synapse_header_bits": 3, "synapses_per_block": 5,
        "kernels_stored_once": True,
    },
}  # fmt: skip
"""How made-up chips store synapses."""


def chip(**limits: Any) -> TargetFile:
    """A target with these limits, by default of 4 cores of 8 neurons."""
    given = {"cores": 4, "neurons_per_core": 8, **limits}
    listed = {name: {"value": value, "source": "test", "verified": True}
              for name, value in given.items() if value is not None}  # fmt: skip
    raw = {
        "schema": 2,
        "name": "made-up",
        "title": "made up",
        "no_prices": "made up",
        "limits": listed,
        "sources": {"test": SOURCE},
    }
    return parse_target(raw, "target 'made-up'")


@st.composite
def chips(draw: st.DrawFn) -> TargetFile:
    """A chip with small cores, so that small networks need several."""
    limits: dict[str, Any] = dict(STORAGE[draw(st.sampled_from(sorted(STORAGE)))])
    limits["cores"] = draw(st.integers(1, 6))
    limits["neurons_per_core"] = draw(st.integers(1, 40))
    limits["cores_per_tile"] = draw(st.integers(1, 3))
    limits["tiles_per_row"] = draw(st.integers(1, 3))
    for name, low, high in (
        ("synapse_memory_bits_per_core", 64, 20_000),
        ("input_axons_per_core", 4, 120),
        ("output_axons_per_core", 4, 120),
        ("pieces_per_core", 1, 4),
        ("neuron_formats_per_core", 1, 3),
        ("thresholds_per_core", 1, 3),
        ("synapse_formats_per_core", 1, 4),
    ):
        if draw(st.booleans()):
            limits[name] = draw(st.integers(low, high))
    return chip(**limits)
