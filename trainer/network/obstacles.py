"""What prevents the deployment of a network, in one table; all else is rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Met:
    """An obstacle at one layer; as text, all but its numbers.

    Attributes:
        problem: what is wrong, in words.
        remedy: how to remove it.
        quantity, value, limit: what of the layer a chip does not have, and what it has.
    """

    layer: str
    problem: str
    remedy: str
    quantity: str
    value: str
    limit: str

    def __str__(self) -> str:
        return f"layer '{self.layer}': {self.problem}; {self.remedy}"


class Obstacle(Enum):
    """(what is wrong with a layer, how to remove it, what is limited, its value, the limit)."""

    MAX_POOL = (
        "takes the maximum of {sources}, but only a max-pool directly after one LIF layer can be "
        "built from neurons (which fire if any neuron in their window does)",
        "put LIF in front of it, or use an average pool",
        "layers in front of the max-pool",
        "{sources}",
        "one LIF layer",
    )
    ACTIVATION = (
        "is a {kind}, the activation of an ANN, which sends no spikes",
        "convert the network first: spikeport convert",
        "activation",
        "{kind}",
        "LIF",
    )
    SCORES = (
        "its scores are a sum of {count} connections, but a chip reads one layer",
        "end with spikeport's LI or LIF, whose neurons add them up",
        "connections that add up to the scores",
        "{count}",
        "1",
    )
    BORDER = (
        "its bias differs between the positions of a channel, because a shift meets zero padding, "
        "but neurons with decay 1 have no leak that could carry it",
        "pad nothing after the shift, or use a decay below 1",
        "biases of a channel",
        "several",
        "1 without a leak",
    )
    NEURONS = (
        "{field} is {value}, but {other} in layer '{first}', and a float network has only one",
        "use the same in all LIF layers",
        "{field}",
        "{value}",
        "{other}, as in '{first}'",
    )
    START = (
        "v_init is {value}, but with reset {reset} it has no place in NIR: a start is stated as "
        "v_reset, to which a spike resets",
        "use v_init 0, or reset subtract in all LIF layers",
        "v_init with reset {reset}",
        "{value}",
        "0",
    )
    INPUT = (
        "receives '{input}' of coding 'bias', which a chip adds to neurons one to one, without any "
        "layer in between",
        "declare it as graded or as spikes",
        "coding of '{input}'",
        "bias",
        "graded or spikes",
    )
    NAME = ("its name must be {rule}", "rename it", "name", "{layer}", "{rule}")
    SHAPE = (
        "{reason}",
        "{remedy}",
        "form of the connection",
        "{reason}",
        "a convolution or matrix",
    )

    def met(self, layer: str, **facts: Any) -> Met:
        """The obstacle at this layer."""
        return Met(layer, *(part.format(layer=layer, **facts) for part in self.value))
