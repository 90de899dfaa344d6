"""What Loihi 2 does not support, based on the limits in `target.toml`."""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.backends.targets import loihi
from spikeport.hardware import ChipLimits
from spikeport.network import DeployedNetwork

MICROCODE = "program the neurons in microcode"
RESET = "train with reset to zero (`train --reset zero`), or program the reset in microcode"
DECAY_U = "use decay_u 1, or program the decay in microcode"
DECAY_V = "use decay_v 4095, or program the decay in microcode"


def limitations(limits: ChipLimits) -> tuple[Limitation, ...]:
    """Everything that the chip does not support natively."""
    return (
        Limitation(
            "neurons other than LIF, reset by subtraction, refractory time, decay_u 0 and "
            "decay_v 4096, which need custom microcode",
            _beyond_the_stock_neuron,
        ),
        *loihi.shared(limits),
    )


def _beyond_the_stock_neuron(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    yield from loihi.reset_by_subtraction(network, RESET, stops=False)
    yield from loihi.other_neurons(network, MICROCODE, stops=False)
    yield from loihi.extreme_decays(network, DECAY_U, DECAY_V)
    for part in loihi.lif_parts(network):
        if part.refractory:
            label = f"population '{part.name}'"
            yield UnsupportedFeature(label, "refractory", part.refractory, 0, MICROCODE, loihi.LIF)
