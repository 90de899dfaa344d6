"""The table of backends and targets: Spikeport's own, and those registered by other packages.

A package adds one by an entry point in its `pyproject.toml`, without any change here:

    [project.entry-points."spikeport.backends"]
    mychip-emulator = "mypackage.emulator:BACKEND"  # a `spikeport.backends.Backend`

    [project.entry-points."spikeport.targets"]
    mychip = "mypackage.mychip"  # a package with `target.toml` and `limitations(limits)`

The table contains names and references only: nothing is imported until it is used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from spikeport.errors import BackendUnavailableError, InputError, SpikeportError


class PluginKind(StrEnum):
    """What can be registered."""

    BACKEND = "backend"
    TARGET = "target"

    @property
    def group(self) -> str:
        """The entry-point group."""
        return f"spikeport.{self}s"


OWN: Mapping[PluginKind, Mapping[str, str]] = {
    # In the order of the ladder.
    PluginKind.BACKEND: {
        "float": "spikeport.backends.own:FLOAT",
        "norse": "spikeport.backends.norse.description:NORSE",
        "native": "spikeport.backends.own:NATIVE",
        "cuda": "spikeport.backends.own:CUDA",
        "reference": "spikeport.backends.own:REFERENCE",
        "lava": "spikeport.backends.lava.description:LAVA",
    },
    PluginKind.TARGET: {
        "loihi1": "spikeport.backends.targets.loihi1",
        "loihi2": "spikeport.backends.targets.loihi2",
        "digital": "spikeport.backends.targets.digital",
    },
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered backend or target that is not imported yet.

    Attributes:
        reference: "module" or "module:attribute", as in an entry point.
        distribution: the package that registers it; empty for Spikeport's own.
    """

    kind: PluginKind
    name: str
    reference: str
    distribution: str = ""

    def __str__(self) -> str:
        by = f" (package '{self.distribution}')" if self.distribution else ""
        return f"{self.kind} '{self.name}'{by}"

    @property
    def fix(self) -> str:
        """Commands that may fix it if it is broken."""
        package = self.distribution
        return f"pip install --upgrade {package}, or: pip uninstall {package}" if package else ""

    def load(self) -> Any:
        """Import the object that the reference names.

        Raises:
            BackendUnavailableError: another package's code cannot be imported.
        """
        entry = importlib.metadata.EntryPoint(self.name, self.reference, self.kind.group)
        try:
            return entry.load()
        except (Exception, SystemExit) as error:  # The code of another package may raise anything.
            if not self.distribution:
                raise
            raise self.broken(f"cannot be imported ({_told(error)})") from error

    def folder(self) -> Path:
        """The folder of the referenced package, found without importing it.

        Raises:
            BackendUnavailableError: there is none.
        """
        top, *rest = self.reference.split(".")
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
        for root in (spec and spec.submodule_search_locations) or ():
            if (found := Path(root, *rest)).is_dir():
                return found
        raise self.broken(f"its entry point '{self.reference}' does not name a package's folder")

    def broken(self, reason: str) -> BackendUnavailableError:
        """The error for a plugin that cannot be used."""
        return BackendUnavailableError(f"{self}: {reason}; to fix: {self.fix}")

    def reason(self, error: SpikeportError) -> str:
        """The message of an error of `broken`, without the fix."""
        return str(error).removesuffix(f"; to fix: {self.fix}")

    def failed(self, error: Exception) -> BackendUnavailableError:
        """The error for a plugin whose code raised `error`."""
        if isinstance(error, SpikeportError):
            return self.broken(str(error).removeprefix(f"{self}: "))
        return self.broken(f"failed ({_told(error)})")


def plugins(kind: PluginKind) -> Mapping[str, Plugin]:
    """Everything registered as `kind`, by name: Spikeport's own first, then others in order of
    name.

    Raises:
        InputError: a package registers a name that is already used.
    """
    return _registered()[kind]


@cache
def _registered() -> Mapping[PluginKind, Mapping[str, Plugin]]:
    found = {
        kind: {name: Plugin(kind, name, reference) for name, reference in own.items()}
        for kind, own in OWN.items()
    }
    # Backends and targets share one namespace, because `check` accepts either.
    taken = {plugin.name: plugin for own in found.values() for plugin in own.values()}
    installed = importlib.metadata.entry_points()
    for kind in PluginKind:
        for entry in sorted(installed.select(group=kind.group)):
            package = entry.dist.name if entry.dist else entry.module
            plugin = Plugin(kind, entry.name, entry.value, package)
            if (other := taken.setdefault(plugin.name, plugin)) is not plugin:
                owner = f"the {other}" if other.distribution else f"Spikeport's own {other.kind}"
                raise InputError(
                    f"{plugin}: this name is already {owner}; names of backends and targets must "
                    f"differ; to fix: pip uninstall {package}"
                )
            found[kind][plugin.name] = plugin
    return found


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
