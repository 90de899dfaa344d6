"""The loss of exits: labels for each, and what those that are right say for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.trainer.exits.config import ExitConfig
from spikeport.trainer.ranks import sum_over_ranks


def exit_loss(
    scores: Sequence[Tensor], labels: Tensor, options: ExitConfig, size: int | None = None
) -> Tensor:
    """What exits add to the cross-entropy of the network.

        L = a / B sum_{k <= K} sum_i CE(z_ki, y_i)
            + b tau^2 / |R| sum_{k <= K + 1} sum_{i in R} KL(p(m_i) || p(z_ki))

    with p(z) = softmax(z / tau). z_k are the scores of exit k, z_{K+1} those of the network. A
    z_ki is right if its largest score is that of the label y_i. R are the samples for which at
    least one is right, and m_i is the mean of those that are right; no gradient goes through it.
    Without any such sample, the second term is 0. a, b and tau are the weight, the distillation
    and the temperature of `options`.

    Args:
        scores: of the exits and, last, of the network; each (B, N).
        labels: classes (B,).
        size: B, if several processes share the batch; the result is the part of this process,
            and R are the samples of all of them.

    Returns:
        L, a scalar.

    Source: Zhao et al., NeurIPS 2025, arXiv 2510.06254, and their code.
    """
    z = torch.stack([s.to(torch.promote_types(s.dtype, torch.float32)) for s in scores])
    hard = sum(functional.cross_entropy(each, labels, reduction="sum") for each in z[:-1])
    with torch.no_grad():
        right = (z.argmax(2) == labels).to(z.dtype)
        votes = right.sum(0)
        mean = (right[..., None] * z).sum(0) / votes.clamp_min(1)[:, None]
        reliable = (votes > 0).to(z.dtype)
        count = sum_over_ranks(reliable.sum()).clamp_min(1)
        answer = (mean / options.temperature).softmax(1)
    logs = (z / options.temperature).log_softmax(2)
    divergence = functional.kl_div(logs, answer.expand_as(logs), reduction="none").sum(2)
    soft = options.temperature**2 * (reliable * divergence).sum() / count
    return options.weight / (size or len(labels)) * hard + options.distillation * soft
