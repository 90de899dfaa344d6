"""Numbers of other widths than those that a target has."""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends.limitation import Limitation, UnsupportedFeature
from spikeport.network import LOIHI, DeployedNetwork, other_arithmetic


def arithmetic_limitation(supported: str = LOIHI.name) -> Limitation:
    """The limitation of a target that has the widths of one arithmetic.

    Args:
        supported: name of that arithmetic.
    """
    published = "lava-nc 0.10.0, proc/lif/models.py"
    source = published if supported == LOIHI.name else "arithmetic in its target.toml"

    def find(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
        given = network.arithmetic.name
        if other_arithmetic(given, supported, "the target"):
            yield UnsupportedFeature(
                "the network",
                "arithmetic",
                given,
                supported,
                "run it on the reference simulator (`run --backend reference`), which has any",
                source,
                stops=True,
            )

    return Limitation(
        f"numbers of other widths than those of '{supported}', which the reference simulator runs",
        find,
    )
