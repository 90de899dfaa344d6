"""What several processes train."""

from __future__ import annotations

import dataclasses

from spikeport.trainer import ExitConfig, SpikingNetwork, TrainConfig, build_network
from spikeport.trainer.rules import GradientRule
from tests.helpers.training import TINY, tiny_data

CONFIG = dataclasses.replace(
    TINY, epochs=2, batch_size=20, validation=0.25, v_threshold=0.2, energy_budget_uj=0.046
)

TAUGHT = dataclasses.replace(CONFIG, distillation=0.7)

WITH_EXITS = dataclasses.replace(CONFIG, exits=ExitConfig())

SAMPLES = 57
"""Of 43 to train on, the last batch of an epoch has shares of two and one."""


def by(rule: GradientRule) -> TrainConfig:
    return dataclasses.replace(CONFIG, rule=rule)


def teacher() -> SpikingNetwork:
    """Untrained: its answers are not the labels."""
    config = dataclasses.replace(CONFIG, seed=7)
    return build_network(config, tiny_data(SAMPLES).input, 4)
