"""`check`: list what each target does not support of a network, before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spikeport.backends.limitation import Limitation, UnsupportedFeature, find_unsupported
from spikeport.backends.registry import list_backends, load_backend
from spikeport.backends.targets import load_target
from spikeport.errors import BackendUnavailableError, InputError
from spikeport.network import DeployedNetwork
from spikeport.plugins import Plugin, PluginKind, plugins

log = logging.getLogger(__name__)
ALL = "all limits of the target, which need a network without these obstacles"
_Judge = Callable[[str, Sequence[Limitation]], "TargetCheck"]


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """Features of a network that one target does not support.

    Attributes:
        target: a backend, or a chip.
        unsupported: all such features; empty if the target supports everything natively.
        not_judged: limitations that were left out, as they only show in a quantized network.
    """

    target: str
    unsupported: tuple[UnsupportedFeature, ...]
    not_judged: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether nothing stops the network from running there."""
        return not any(feature.stops for feature in self.unsupported)


def check_deployed(
    network: DeployedNetwork, targets: Sequence[str] | None = None, *, rounded: bool = True
) -> tuple[TargetCheck, ...]:
    """List for each target every feature of `network` that it does not support natively.

    Nothing is started.

    Args:
        network: the network to check.
        targets: names from `list_targets`; by default all, except that broken ones of other
            packages are logged as warnings and skipped.
        rounded: whether its integers are those of quantization; otherwise limitations that concern
            them are not judged.

    Returns:
        One result per target, in order; each feature has its value, the limit, a remedy and the
        source of the limit.

    Raises:
        InputError: a target is unknown (the message lists all), or a package registers a name
            that is already used.
        BackendUnavailableError: a requested target cannot be loaded.
    """

    def judge(name: str, limitations: Sequence[Limitation]) -> TargetCheck:
        left = tuple(one.text for one in limitations if one.rounded and not rounded)
        judged = [one for one in limitations if rounded or not one.rounded]
        return TargetCheck(name, find_unsupported(network, judged), left)

    return _each(targets, judge)


def refuse(
    found: tuple[UnsupportedFeature, ...], targets: Sequence[str] | None = None
) -> tuple[TargetCheck, ...]:
    """Like `check_deployed`, of what no target can run, so that nothing else of it can be judged.

    Args:
        found: the reasons.
    """
    return _each(targets, lambda name, _: TargetCheck(name, found, (ALL,)))


def list_targets() -> tuple[str, ...]:
    """Names of all targets for deployed networks: backends that run them, then chips."""
    backends = (one.name for one in list_backends().values() if one.takes == "deployed")
    return (*backends, *plugins(PluginKind.TARGET))


def _each(targets: Sequence[str] | None, judge: _Judge) -> tuple[TargetCheck, ...]:
    if targets is None:
        found = (_attempt(name, judge) for name in list_targets())
        return tuple(one for one in found if one is not None)
    return tuple(_judged(name, judge) for name in dict.fromkeys(targets))


def _attempt(name: str, judge: _Judge) -> TargetCheck | None:
    try:
        return _judged(name, judge)
    except BackendUnavailableError as error:
        log.warning("check: skipped: %s", error)
        return None


def _judged(name: str, judge: _Judge) -> TargetCheck:
    plugin, limitations = _limitations(name)
    try:
        return judge(name, limitations)
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
    raise InputError(f"target '{name}' is unknown, must be one of {', '.join(list_targets())}")
