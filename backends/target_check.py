"""`check`: what each target lacks of a network, told before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from spikeport.backends.registry import list_backends
from spikeport.backends.targets import LOIHI1, LOIHI2, loihi_unsupported
from spikeport.backends.unsupported import UnsupportedFeature
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork

CHIPS = {chip.name: chip for chip in (LOIHI1, LOIHI2)}


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """What one target lacks of a network.

    Attributes:
        target: a backend, or a chip.
        gaps: all of them; empty where the target has everything by itself.
    """

    target: str
    unsupported: tuple[UnsupportedFeature, ...]

    @property
    def runs(self) -> bool:
        """Whether nothing stops the network from running there."""
        return not any(gap.stops for gap in self.unsupported)


def check(
    network: DeployedNetwork, targets: Sequence[str] | None = None
) -> tuple[TargetCheck, ...]:
    """Tell for each target every construct of `network` that it lacks; nothing is started.

    Args:
        targets: of `list_targets`, all by default.

    Raises:
        InputError: a target is unknown; the message lists all.
    """
    known = list_targets()
    chosen = tuple(known) if targets is None else tuple(dict.fromkeys(targets))
    for name in chosen:
        if name not in known:
            raise InputError(f"target '{name}' is unknown, must be one of {', '.join(known)}")
    return tuple(TargetCheck(name, known[name](network)) for name in chosen)


def list_targets() -> Mapping[str, Callable[[DeployedNetwork], tuple[UnsupportedFeature, ...]]]:
    """What finds the gaps of a chip network on each target: backends that run it, and chips."""
    backends = {b.name: b.unsupported for b in list_backends().values() if b.takes == "deployed"}
    return backends | {name: partial(loihi_unsupported, chip=chip) for name, chip in CHIPS.items()}
