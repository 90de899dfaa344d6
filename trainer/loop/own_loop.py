"""`checkpoint_of`: from a training loop of the user's own to everything that takes a checkpoint."""

from __future__ import annotations

from spikeport.trainer.config import Activation, TrainConfig
from spikeport.trainer.data import Dataset
from spikeport.trainer.loop.checkpoint import Checkpoint
from spikeport.trainer.loop.start import check_kind, check_own
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import QuantizedReLU


def checkpoint_of(network: SpikingNetwork, data: Dataset) -> Checkpoint:
    """The checkpoint of a network that was trained in a loop of your own.

    It contains the graph and loads like one that `train` wrote. Of its configuration, only the
    activation, the steps and the rule are those of the training. It has no history and no state of
    an optimizer: it can be the start of another run, but it is not a run to resume.

    Args:
        data: what the network was trained on.

    Raises:
        InputError: it is in chip arithmetic (`save_network` stores its deployed network); it does
            not fit the data; or it has a layer that a checkpoint cannot describe.
    """
    check_kind(network)
    config = TrainConfig(steps=network.steps, rule=network.rule, activation=_activation_of(network))
    check_own(config, data, network)
    return Checkpoint(network, config, data.classes, data.name, data.fingerprint, own=True)


def _activation_of(network: SpikingNetwork) -> Activation:
    if not network.is_ann:
        return Activation.LIF
    quantized = any(isinstance(node.op, QuantizedReLU) for node in network.nodes)
    return Activation.QUANTIZED_RELU if quantized else Activation.RELU
