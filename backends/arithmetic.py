"""Numbers of other widths than Loihi's, which only the reference simulator runs."""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends.limitation import Limitation, UnsupportedFeature
from spikeport.network import LOIHI, DeployedNetwork


def _other(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    if network.arithmetic != LOIHI:
        yield UnsupportedFeature(
            "the network",
            f"arithmetic '{network.arithmetic.name}'",
            f"the target has the widths of '{LOIHI.name}'; the reference simulator runs others",
            "lava-nc 0.10.0, proc/lif/models.py",
            stops=True,
        )


OTHER_ARITHMETIC = Limitation(
    "numbers of other widths than Loihi's, which only the reference simulator runs", _other
)
