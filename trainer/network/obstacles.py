"""What prevents the deployment of a network, in one table; all else is rewritten."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Obstacle(Enum):
    """(what is wrong with a layer, how to remove it)."""

    MAX_POOL = (
        "takes the maximum of {sources}, but only a max-pool directly after one LIF layer can be "
        "built from neurons (which fire if any neuron in their window does)",
        "put LIF in front of it, or use an average pool",
    )
    SCORES = (
        "its scores are a sum of {count} connections, but a chip reads one layer",
        "end with spikeport's LI or LIF, whose neurons add them up",
    )
    BORDER = (
        "its bias differs between the positions of a channel, because a shift meets zero padding, "
        "but neurons with decay 1 have no leak that could carry it",
        "pad nothing after the shift, or use a decay below 1",
    )
    NEURONS = (
        "{field} is {value}, but {other} in layer '{first}', and a float network has only one",
        "use the same in all LIF layers",
    )
    INPUT = (
        "receives '{input}' of coding 'bias', which a chip adds to neurons one to one, without any "
        "layer in between",
        "declare it as graded or as spikes",
    )
    NAME = ("its name must be {rule}", "rename it")
    SHAPE = ("{reason}", "{remedy}")

    def says(self, layer: str, **facts: Any) -> str:
        """One line about this layer."""
        problem, remedy = (part.format(**facts) for part in self.value)
        return f"layer '{layer}': {problem}; {remedy}"
