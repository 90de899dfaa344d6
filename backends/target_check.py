"""`check`: list what each target does not support of a network, before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from spikeport.backends.limitation import Limitation, UnsupportedFeature, find_unsupported
from spikeport.backends.registry import list_backends, load_backend
from spikeport.backends.targets import load_target
from spikeport.errors import BackendUnavailableError, UnknownNameError
from spikeport.network import DeployedNetwork
from spikeport.plugins import Plugin, PluginKind, plugins

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """Features of a network that one target does not support.

    Attributes:
        target: a backend, or a chip.
        unsupported: all such features; empty if the target supports everything natively.
    """

    target: str
    unsupported: tuple[UnsupportedFeature, ...]

    @property
    def runs(self) -> bool:
        """Whether nothing stops the network from running there."""
        return not any(feature.stops for feature in self.unsupported)


def check(
    network: DeployedNetwork, targets: Sequence[str] | None = None
) -> tuple[TargetCheck, ...]:
    """List for each target every feature of `network` that it does not support natively.

    Nothing is started.

    Args:
        network: the network to check.
        targets: names from `list_targets`; by default all, except that broken ones of other
            packages are logged as warnings and skipped.

    Returns:
        One result per target, in order; each feature has its value, the limit and its source.

    Raises:
        InputError: a target is unknown (the message lists all), or a package registers a name
            that is already used.
        BackendUnavailableError: a requested target cannot be loaded.
    """
    if targets is None:
        found = (_attempt(network, name) for name in list_targets())
        return tuple(one for one in found if one is not None)
    return tuple(_check(network, name) for name in dict.fromkeys(targets))


def list_targets() -> tuple[str, ...]:
    """Names of all targets for deployed networks: backends that run them, then chips."""
    backends = (one.name for one in list_backends().values() if one.takes == "deployed")
    return (*backends, *plugins(PluginKind.TARGET))


def _attempt(network: DeployedNetwork, name: str) -> TargetCheck | None:
    try:
        return _check(network, name)
    except BackendUnavailableError as error:
        log.warning("check: skipped: %s", error)
        return None


def _check(network: DeployedNetwork, name: str) -> TargetCheck:
    plugin, limitations = _limitations(name)
    try:
        return TargetCheck(name, find_unsupported(network, limitations))
    except Exception as error:  # The code of another package may raise anything.
        if not plugin.distribution:
            raise
        raise plugin.failed(error) from error


def _limitations(name: str) -> tuple[Plugin, tuple[Limitation, ...]]:
    if (chip := plugins(PluginKind.TARGET).get(name)) is not None:
        return chip, load_target(chip).limitations
    if (plugin := plugins(PluginKind.BACKEND).get(name)) is not None:
        backend = load_backend(plugin)
        if backend.takes == "deployed":
            return plugin, backend.limitations
    raise UnknownNameError(
        f"target '{name}' is unknown, must be one of {', '.join(list_targets())}"
    )
