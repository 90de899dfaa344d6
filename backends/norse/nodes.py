"""The NIR nodes that run in Norse, as they are or rewritten; it drops others without an error."""

from __future__ import annotations

ENDS = ("Input", "Output")
SUPPORTED = (
    *("Affine", "Linear", "Conv1d", "Conv2d", "SumPool2d", "Flatten"),
    *("IF", "LIF", "CubaLIF"),
)
"""All but the ends of a graph, which every backend has."""
