"""Energy as part of the loss: a penalty, and a budget.

    L = CE + penalty E / E_ceiling + WEIGHT h(ln((E - E_silent) / (aim - E_silent)))

E is the mean energy per sample of the batch (`EnergyModel`) and E_ceiling what the same network
would spend if every neuron sent a message at every step, so that the penalty is dimensionless and
means the same for every network and profile. aim is AIM times the budget, E_silent the energy
without any
spike: the energy of spikes is compared with what is left for them. With the logarithm, halving the
energy costs the same from any starting point, so that a start far above the budget does not silence
the network at once. h is zero within the aim, a parabola up to SOFT and has slope 1 from there:
steep enough to enforce a budget, and gentle when it is almost met, so that training settles there.
Nothing here has state; runs resume bit for bit.

E counts the training pass: neurons as they fire with batch statistics and dropout, and T N updates
if the pass does not count them. The trained network's energy on other samples differs by a few
percent; AIM leaves a margin for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeport.energy import HardwareProfile, Topology, topology_of
from spikeport.errors import InputError, TrainingError
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.energy.model import EnergyModel, energy_model, message_rate
from spikeport.trainer.measure.chip_evaluation import fan_outs
from spikeport.trainer.measure.events import Delivery
from spikeport.trainer.measure.topology import float_topology, paths, populations, unbiased
from spikeport.trainer.network import PassRecord, SpikingNetwork, deployable
from spikeport.trainer.ranks import sum_over_ranks

AIM = 0.97
WEIGHT = 2.0
SOFT = 0.2
LEAST = 0.01
"""Minimum share of the aim for spikes, even if silent neurons seem to need all of it."""


@dataclass(frozen=True, slots=True, eq=False)
class EnergyLoss:
    """The energy terms of the loss.

    Attributes:
        model: returns the energy model of the network for its current weights.
        penalty: weight of E / E_ceiling.
        budget_uj: per sample; None for no budget.
    """

    model: Callable[[], EnergyModel]
    penalty: float
    budget_uj: float | None

    def __call__(self, network: AnyNetwork, x: Tensor, record: PassRecord, part: float) -> Tensor:
        """A term with the gradient of the loss above, in µJ times a slope; its value is
        meaningless.

        Args:
            x: samples of this process.
            record: with differentiable rates and maxima.
            part: their share of the batch; gradients are summed over processes.
        """
        model = self.model()
        received = {network.input.name: _received(network, x)}
        energy = part * model(received | dict(record.rates) | dict(record.maxima), record.updates)
        slope = self.penalty / model.ceiling_uj
        if self.budget_uj is not None:
            aim = AIM * self.budget_uj
            silent = part * model.silent_uj(received, record.updates)
            spent, fixed = sum_over_ranks(torch.stack([energy.detach(), silent])).tolist()
            room = max(aim - fixed, LEAST * aim)
            excess = math.log(max((spent - fixed) / room, 1.0))
            slope += WEIGHT / max(spent - fixed, room) * min(excess / SOFT, 1.0)
        return slope * energy


def energy_loss(
    config: TrainConfig,
    network: AnyNetwork,
    profile: HardwareProfile,
    samples: NDArray[np.float32],
) -> EnergyLoss | None:
    """The energy terms required by `config`, None if there are none.

    Args:
        samples: some of the training samples, (B, *shape) or (T, B, *shape).

    Raises:
        InputError: no chip can run the network, or the budget is too small even for neurons that
            never spike.
    """
    if config.energy_budget_uj is None and not config.energy_penalty:
        return None
    try:
        model = model_of(network, profile)
    except InputError as error:
        raise TrainingError(f"training: energy cannot be part of the loss; {error}") from error
    if config.energy_budget_uj is not None:
        x = torch.tensor(samples)
        made = model()
        received = {network.input.name: _received(network, x)}
        floor = float(made.silent_uj(received, dict.fromkeys(_unbiased(network), 0)))
        if config.energy_budget_uj <= floor:
            raise TrainingError(
                f"training: energy_budget_uj is {config.energy_budget_uj:g}, but without spikes "
                f"the network takes {floor:.3g} µJ per sample ({profile.name}) for its input and "
                "neuron visits; use fewer steps or smaller widths"
            )
    return EnergyLoss(model, config.energy_penalty, config.energy_budget_uj)


def _received(network: AnyNetwork, x: Tensor) -> Tensor:
    """Messages per step of the input, rounded as the network rounds it."""
    sent = network.messages(x) if isinstance(network, QATNetwork) else x
    return message_rate(sent, network.input.shape)


def _unbiased(network: AnyNetwork) -> tuple[str, ...]:
    """Populations that stay idle without messages."""
    if not isinstance(network, QATNetwork):
        return unbiased(deployable(network))
    biases, parts = network.integers().biases, network.populations
    return tuple(
        name
        for name, (mantissa, _) in biases.items()
        if not (bool(mantissa.any()) or (parts[name].v_init and parts[name].decay_v == 0))
    )


def model_of(network: AnyNetwork, profile: HardwareProfile) -> Callable[[], EnergyModel]:
    """Return a function that gives the energy model of a network for its current weights.

    The model is built once if the zero weights of every connection are charged, else at every call.

    Raises:
        InputError: lists every layer that cannot be expressed as neurons and weighted connections.
    """
    wired_topology, make = (
        _chip_maker(network, profile)
        if isinstance(network, QATNetwork)
        else _float_maker(network, profile)
    )
    if any(
        profile.charged(link.kind, "nominal", True, False)
        for link in wired_topology.connections.values()
    ):
        return make
    made = make()
    return lambda: made


def _float_maker(
    network: SpikingNetwork, profile: HardwareProfile
) -> tuple[Topology, Callable[[], EnergyModel]]:
    wired_topology = float_topology(deployable(network))
    input = {network.input.name: network.input.shape}

    def make() -> EnergyModel:
        chip = deployable(network)  # composed connections have the weights of this moment
        ways = paths(chip)
        deliveries = [
            Delivery(way.source, way.connection.name, way.reached(chip.shapes[way.source]))
            for way in ways
        ]
        return energy_model(
            wired_topology, deliveries, input, populations(chip), chip.steps, profile
        )

    return wired_topology, make


def _chip_maker(
    network: QATNetwork, profile: HardwareProfile
) -> tuple[Topology, Callable[[], EnergyModel]]:
    template = network.template
    wired_topology = topology_of(template)
    input = {network.input.name: network.input.shape}
    shapes = {part.name: part.shape for part in template.populations}

    def make() -> EnergyModel:
        reached = fan_outs(network)
        deliveries = [
            Delivery(c.source, c.name, reached[c.name]) for c in template.weighted_connections
        ]
        return energy_model(wired_topology, deliveries, input, shapes, template.steps, profile)

    return wired_topology, make
