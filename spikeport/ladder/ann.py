"""The ANN that a network was converted from, above the network's own ladder."""

from __future__ import annotations

from spikeport.energy import HardwareProfile, Interval
from spikeport.errors import ConversionError
from spikeport.ladder.stages import LadderNetwork, interface_of
from spikeport.runs import float_range, same_range
from spikeport.trainer.network import SpikingNetwork

RULE = "must be the ANN that the network was converted from"


def ann_of(network: LadderNetwork, ann: object, subject: str = "ann") -> SpikingNetwork:
    """The ANN, refused if the network cannot have been converted from it.

    Args:
        subject: what the error message calls the ANN.

    Raises:
        ConversionError: it is no ANN, or takes other samples or has other classes.
    """
    if not isinstance(ann, SpikingNetwork) or not ann.is_ann:
        raise ConversionError(f"{subject}: has no activations (ReLU, QuantizedReLU), {RULE}")
    inputs, classes = interface_of(network)
    if len(inputs) != 1:
        raise ConversionError(f"{subject}: has one input, the network has {len(inputs)}; {RULE}")
    (own,) = inputs
    if own.shape != ann.input.shape:
        raise ConversionError(
            f"{subject}: expects samples of shape {ann.input.shape}, the network of {own.shape}; "
            f"{RULE}"
        )
    if not same_range(own, ann.input):
        ranges = [f"{low:g}..{high:g}" for low, high in map(float_range, (ann.input, own))]
        raise ConversionError(
            f"{subject}: takes values of {ranges[0]}, the network of {ranges[1]}; {RULE}"
        )
    if classes != ann.classes:
        raise ConversionError(
            f"{subject}: has {ann.classes} classes, the network has {classes}; {RULE}"
        )
    return ann


def ann_energy(macs: int, profile: HardwareProfile) -> Interval | None:
    """Energy of a sample as an int8 network, pJ; None if the profile does not price MACs.

    The price of a MAC includes the reads of its operands, and the devices that it is paid on are
    those of the profile (`HardwareProfile.int8_mac_pj`), not its chip.
    """
    price = profile.int8_mac_pj
    return None if price is None else price.interval * macs
