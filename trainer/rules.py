"""The training rules: which gradient a network in training mode gives."""

from __future__ import annotations

from enum import StrEnum


class GradientRule(StrEnum):
    """Rate-based backpropagation or backpropagation through time (BPTT), in two modes each.

    Multi-step (M): each layer runs all T steps before the next; batch norm takes its statistics
    over all steps. Single-step (S): the network runs step by step; batch norm normalises each step
    by itself, and memory does not grow with T.

    RATE_S averages the batch norms' statistics over time, as the paper says.
    RATE_S_PUBLISHED does what the authors' code does instead: the rate pass takes the mean and
    1 / sqrt(variance + 2 eps) of the last step, and for its input the last step's, not the mean.
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
        """Whether gradients go back through the steps."""
        return self in (GradientRule.BPTT_M, GradientRule.BPTT_S)

    def gradient_scale(self, steps: int) -> float:
        """What to multiply a loss by before `backward()`: 1/T for the rate-based rules, else 1.

        The paper's rule, under which learning rates are given; the logged loss is not scaled.
        """
        return 1.0 if self.through_time else 1 / steps
