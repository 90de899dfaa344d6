"""The training rules: the gradient that a network computes in training mode."""

from __future__ import annotations

from enum import StrEnum


class GradientRule(StrEnum):
    """Rate-based backpropagation or backpropagation through time (BPTT), in two modes each.

    Multi-step (M): each layer runs all T steps before the next; batch norm takes its statistics
    over all steps. Single-step (S): the network runs step by step; batch norm normalises each step
    separately, and memory does not grow with T.

    RATE_S averages the statistics of batch norms over time, as described in the paper.
    RATE_S_PUBLISHED does what the authors' code does instead: the rate pass uses the mean and
    1 / sqrt(variance + 2 eps) of the last step, and the input of the last step instead of the mean.
    """

    RATE_M = "rate_m"
    RATE_S = "rate_s"
    RATE_S_PUBLISHED = "rate_s_published"
    BPTT_M = "bptt_m"
    BPTT_S = "bptt_s"

    @property
    def single_step(self) -> bool:
        """Whether the network runs step by step."""
        return self not in (GradientRule.RATE_M, GradientRule.BPTT_M)

    @property
    def through_time(self) -> bool:
        """Whether gradients are propagated through time."""
        return self in (GradientRule.BPTT_M, GradientRule.BPTT_S)

    def gradient_scale(self, steps: int) -> float:
        """Factor for a loss before `backward()`: 1/T for the rate-based rules, otherwise 1.

        This is the paper's factor, for which learning rates are given; the logged loss is unscaled.
        """
        return 1.0 if self.through_time else 1 / steps
