"""The network that a training run starts from."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from itertools import zip_longest
from os import PathLike
from typing import TypeAlias

from torch import distributed

from spikeport.errors import InputError, TrainingError
from spikeport.network import Input
from spikeport.runs import check_classes, float_range, same_range
from spikeport.storage import check_output
from spikeport.trainer.chip import AnyNetwork, QATNetwork, takes
from spikeport.trainer.config import TrainConfig, build_network
from spikeport.trainer.data import Dataset
from spikeport.trainer.loop.checkpoint import Checkpoint, load_checkpoint, written_paths
from spikeport.trainer.network import SpikingNetwork, check_deployment, describe_graph
from spikeport.trainer.ranks import share

_log = logging.getLogger(__name__)

Start: TypeAlias = AnyNetwork | str | PathLike[str]
"""A network, or the path of a checkpoint that contains one."""


def first_network(
    config: TrainConfig, data: Dataset, start: Start | None, own: SpikingNetwork | None = None
) -> AnyNetwork:
    """An untrained network, or one with the weights and running statistics of `start`.

    Args:
        own: the network to train, which is copied, in place of the one that `config` describes.

    Raises:
        InputError: `start` has another architecture, too few outputs for the classes, or an
            arithmetic that does not match `config.weight_bits`; or see `check_own`.
    """
    subject = "start" if isinstance(start, AnyNetwork | None) else str(start)
    given = None if start is None else network_of(start)
    if given is not None:
        check_classes(f"{subject}: data set '{data.name}'", data.classes, given.classes)
    if isinstance(given, QATNetwork):
        _check_chip(subject, given, config, data)
        return copy.deepcopy(given)
    if config.weight_bits is not None:
        raise TrainingError(
            f"training: weight_bits is {config.weight_bits}; training in chip arithmetic starts "
            "from a QATNetwork (`prepare_qat` of a trained network)"
        )
    if own is None:
        network = build_network(config, data.input, data.classes)
    else:
        network = copy.deepcopy(own).cpu().train()
        _share_state(network)
        if network.provenance:
            _note_training(network, config)
    if given is not None:
        _compare_ranges(subject, given.input, data)
        _take_over(subject, network, given)
    return network


def _note_training(network: SpikingNetwork, config: TrainConfig) -> None:
    """Add to what is known of a network that it is trained further, and how."""
    done = f"{config.rule}, T = {config.steps} (epochs: {config.epochs})"
    before = network.provenance.get("trained_further")
    network.provenance["trained_further"] = done if before is None else f"{before}; {done}"


def check_own(config: TrainConfig, data: Dataset, own: SpikingNetwork) -> None:
    """Check a network given to `train`, and warn of everything that prevents its deployment.

    Raises:
        InputError: it contradicts the configuration or the data, or has a layer that a checkpoint
            cannot describe.
    """
    check_kind(own)
    if config.weight_bits is not None:
        raise TrainingError(
            f"network: weight_bits is {config.weight_bits}; training in chip arithmetic starts "
            "from `start`, a QATNetwork (`prepare_qat` of the trained network), without `network`"
        )
    _check_activation(config, own)
    for name, has, asked in (
        ("steps", own.steps, config.steps),
        ("rule", own.rule, config.rule),
    ):
        if has != asked:
            raise TrainingError(f"network: {name} is {has}, the configuration says {asked}")
    if not takes(own, data.input):
        raise TrainingError(
            f"network: expects {own.input}, data set '{data.name}' has {data.input}; build it for "
            f"the data: {_read_by(own)}"
        )
    check_classes(f"network: data set '{data.name}'", data.classes, own.classes)
    describe_graph(own)
    if own.is_ann:  # it is deployed after its conversion
        return
    try:
        rewrites = check_deployment(own)
    except InputError as error:
        _log.warning("%s", error)
    else:
        for sentence in rewrites:
            _log.info("network: on the chip, %s", sentence)


def _check_activation(config: TrainConfig, own: SpikingNetwork) -> None:
    if own.is_ann == config.is_ann:
        return
    if own.is_ann:
        raise TrainingError(
            f"network: is an ANN, the configuration says activation is '{config.activation}'; set "
            "activation to 'relu' or 'quantized_relu', steps to 1 and rule to 'bptt_m'"
        )
    raise TrainingError(
        f"network: has no ReLU, the configuration says activation is '{config.activation}'; set "
        "activation to 'lif', or use from_ann(module, data.input)"
    )


def _read_by(own: SpikingNetwork) -> str:
    if own.is_ann:
        return "from_ann(module, data.input)"
    return "from_module(module, data.input, steps)"


def check_kind(own: SpikingNetwork) -> None:
    """Refuse anything but a network in floats.

    Raises:
        InputError: names what to use instead.
    """
    if isinstance(own, QATNetwork):
        raise TrainingError(
            "network: is a QATNetwork, must be a SpikingNetwork; train one as `start`, or store "
            "its deployed() network by save_network"
        )
    if not isinstance(own, SpikingNetwork):
        raise TrainingError(
            f"network: is a {type(own).__name__}, must be a SpikingNetwork: "
            "from_module(module, data.input, steps)"
        )


def check_same_network(path: str, state: Checkpoint, own: SpikingNetwork | None) -> None:
    """Refuse to resume a checkpoint with another network than the one it was trained with.

    Raises:
        InputError: only one of both is a network of the user's own, or their layers differ.
    """
    if own is None:
        if state.own:
            raise TrainingError(
                f"{path}: was trained from a network of your own, pass it again (its weights are "
                "not used)"
            )
        return
    if not (state.own and isinstance(state.model, SpikingNetwork)):
        raise TrainingError(f"{path}: was not trained from a network of your own, cannot continue")
    for saved, given in zip_longest(describe_graph(state.model), describe_graph(own)):
        if saved != given:
            name = (saved or given or {}).get("name")
            raise TrainingError(f"{path}: was trained with another network, layer '{name}' differs")


def _share_state(network: SpikingNetwork) -> None:
    """Give all processes the weights of the first: modules may be initialised differently."""
    if share()[1] > 1:
        for value in network.state_dict().values():
            distributed.broadcast(value, 0)


def check_not_written(
    config: TrainConfig, path: str | PathLike[str], given: Iterable[Start | None]
) -> None:
    """Refuse to overwrite the checkpoint of the start or of the teacher.

    Args:
        path: of the checkpoint that the run will write.
    """
    inputs = [each for each in given if isinstance(each, str | PathLike)]
    for written in written_paths(path, config):
        check_output(written, inputs=inputs)


def network_of(start: Start) -> AnyNetwork:
    """Load the network if `start` is a path."""
    return start if isinstance(start, AnyNetwork) else load_checkpoint(start).model


def _check_chip(subject: str, given: QATNetwork, config: TrainConfig, data: Dataset) -> None:
    connections = given.template.weighted_connections
    bits = {
        connection.weight_bits for connection in connections if connection.name not in given.frozen
    }
    if {config.weight_bits} != bits:
        raise TrainingError(
            f"{subject}: has weights of {', '.join(map(str, sorted(bits)))} bits in chip "
            f"arithmetic, but weight_bits is {config.weight_bits}"
        )
    if not (takes(given, data.input) and given.steps == config.steps):
        raise TrainingError(
            f"{subject}: expects {given.input} and {given.steps} steps, training has {data.input} "
            f"and {config.steps}"
        )


def _compare_ranges(subject: str, seen: Input, data: Dataset) -> None:
    """Warn if the start was trained on another range of values than that of the data."""
    if not same_range(seen, data.input):
        _log.warning(
            "%s: was trained on values of %g..%g, data set '%s' has %g..%g",
            subject, *float_range(seen), data.name, *float_range(data.input),
        )  # fmt: skip


def _take_over(subject: str, network: SpikingNetwork, given: SpikingNetwork) -> None:
    """Copy the state of `given` to `network`; an error names the first tensor that does not fit."""
    wanted, state = network.state_dict(), given.state_dict()
    for name in wanted | state:
        if name not in state or name not in wanted:
            verdict = "has no" if name not in state else "has a"
            rule = "which" if name not in state else "which no layer of"
            raise TrainingError(
                f"{subject}: {verdict} tensor '{name}', {rule} the network to train needs"
            )
        shapes = tuple(state[name].shape), tuple(wanted[name].shape)
        if shapes[0] != shapes[1]:
            raise TrainingError(
                f"{subject}: tensor '{name}' is {shapes[0]}, the network to train needs {shapes[1]}"
            )
    network.load_state_dict(state)
