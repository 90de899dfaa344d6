"""What the simulator for GPUs can compute exactly; without torch, so that checks need none."""

EXACT_SUM = 2**53
"""Weighted sums below it are exact in float64, the widest product of a GPU."""
