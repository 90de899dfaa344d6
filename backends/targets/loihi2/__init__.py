"""What Loihi 2 does not support, based on the limits in `target.toml`."""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.backends.targets import loihi
from spikeport.hardware import ChipLimits
from spikeport.network import DeployedNetwork

MICROCODE = "it needs custom microcode"


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
    reset = "the stock neuron resets to 0; another reset needs custom microcode"
    yield from loihi.reset_by_subtraction(network, reset, stops=False)
    yield from loihi.other_neurons(network, MICROCODE, stops=False)
    yield from loihi.extreme_decays(network, MICROCODE, MICROCODE)
    for part in loihi.lif_parts(network):
        if part.refractory:
            yield UnsupportedFeature(
                f"population '{part.name}'",
                f"{part.refractory} refractory steps after a spike",
                MICROCODE,
                loihi.LIF,
            )
