"""`Target`: a chip, loaded from its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spikeport.backends.arithmetic import arithmetic_limitation
from spikeport.backends.core_fit import core_limitations
from spikeport.backends.limitation import Limitation
from spikeport.errors import SpikeportError
from spikeport.hardware import ChipLimits, read_target
from spikeport.plugins import Plugin, PluginKind, plugins


@dataclass(frozen=True, slots=True)
class Target:
    """A chip that a network can be checked against.

    Attributes:
        limits: the numbers of its `target.toml`.
        limitations: what it does not support natively.
        reason, fix: if it cannot be loaded, the reason and a command that fixes it; it then has
            neither limits nor limitations.
    """

    name: str
    title: str = ""
    limits: ChipLimits = field(default_factory=lambda: ChipLimits("", {}))
    limitations: tuple[Limitation, ...] = ()
    reason: str = ""
    fix: str = ""


def list_chips() -> tuple[Target, ...]:
    """All chips; one of another package that cannot be loaded states the reason.

    Raises:
        InputError: a package registers a name that is already used.
    """
    return tuple(_or_broken(plugin) for plugin in plugins(PluginKind.TARGET).values())


def load_target(plugin: Plugin) -> Target:
    """Load the chip registered as `plugin`.

    Its package has a function `limitations(limits: ChipLimits) -> Iterable[Limitation]`. That it
    has no other widths than those of the arithmetic in its `target.toml`, and what its cores hold,
    is added.

    Raises:
        BackendUnavailableError: its package cannot be imported, its `target.toml` cannot be read,
            or its function is missing or fails.
    """
    module = plugin.load()
    if not callable(limitations := getattr(module, "limitations", None)):
        raise plugin.broken(f"'{plugin.reference}' has no function 'limitations'")
    try:
        file = read_target(plugin)
        found = (
            *_limitations(limitations(file.limits)),
            arithmetic_limitation(file.arithmetic),
            *core_limitations(file),
        )
        return Target(file.name, file.title, file.limits, found)
    except Exception as error:  # The code of another package may raise anything.
        if not plugin.distribution:
            raise
        raise plugin.failed(error) from error


def _limitations(found: Any) -> tuple[Limitation, ...]:
    listed = tuple(found)
    for one in listed:
        if not isinstance(one, Limitation):
            raise TypeError(f"limitations() gave {type(one).__name__}, must give Limitation")
    return listed


def _or_broken(plugin: Plugin) -> Target:
    try:
        return load_target(plugin)
    except SpikeportError as error:
        if not plugin.distribution:
            raise
        return Target(plugin.name, reason=plugin.reason(error), fix=plugin.fix)
