"""Backends by name: which there are, and running a network on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, get_args

from spikeport.backends.backend import Backend, Status, Takes
from spikeport.errors import BackendUnavailableError, InputError
from spikeport.network import DeployedNetwork, FloatNetwork
from spikeport.plugins import Plugin, PluginKind, plugins
from spikeport.runs import Probe, RecordSpec, Run, Samples, record_items


def list_backends() -> dict[str, Backend]:
    """Every backend by name, in the order of the ladder, then those of other packages.

    One that cannot be loaded is listed as a backend that cannot run, with the reason.

    Raises:
        InputError: a package registers a name that is taken.
    """
    return {name: _or_broken(plugin) for name, plugin in plugins(PluginKind.BACKEND).items()}


def backend(name: str) -> Backend:
    """The backend of that name; one that cannot be loaded is a backend that cannot run.

    Raises:
        InputError: there is none (the message lists all), or a package registers a name that is
            taken.
    """
    known = plugins(PluginKind.BACKEND)
    if name not in known:
        raise InputError(f"backend '{name}' is unknown, must be one of {', '.join(known)}")
    return _or_broken(known[name])


def load_backend(plugin: Plugin) -> Backend:
    """The backend that is registered as `plugin`.

    Raises:
        BackendUnavailableError: it cannot be imported, or is not a backend of that name.
    """
    found = plugin.load()
    if not isinstance(found, Backend):
        raise plugin.broken(f"'{plugin.reference}' is a {type(found).__name__}, must be a Backend")
    if found.name != plugin.name:
        raise plugin.broken(f"calls itself '{found.name}', must be '{plugin.name}'")
    if found.takes not in get_args(Takes):
        raise plugin.broken(f"takes '{found.takes}', must be one of {', '.join(get_args(Takes))}")
    return found


def status_of(chosen: Backend) -> Status:
    """Whether a backend can run here; one whose own answer fails cannot."""
    plugin = plugins(PluginKind.BACKEND)[chosen.name]
    if not plugin.distribution:
        return chosen.status()
    try:
        return chosen.status()
    except Exception as error:  # Whatever another package's code raises.
        return Status(None, plugin.reason(plugin.failed(error)), plugin.fix)


def run(
    name: str,
    network: DeployedNetwork | FloatNetwork,
    samples: Samples,
    *,
    record: RecordSpec = (),
    **options: Any,
) -> Run:
    """Run `network` on the backend called `name`.

    Args:
        samples: (B, *shape) or (T, B, *shape); integers for a DeployedNetwork, else float units.
        record: any of "spikes", "u" and "v"; for a DeployedNetwork `Probe`s too.

    Raises:
        InputError: unknown backend, or one that takes the other kind of network.
        BackendUnavailableError: it is not installed, cannot be loaded, or broke while it ran.
    """
    chosen = backend(name)
    kind = "deployed" if isinstance(network, DeployedNetwork) else "float"
    if chosen.takes != kind:
        raise InputError(f"backend '{name}' takes a {chosen.takes} network, this one is {kind}")
    record = record_items(record)
    if kind == "float" and any(isinstance(item, Probe) for item in record):
        raise InputError(f"backend '{name}' records whole float graphs, probes are for chip ones")
    return chosen.run(network, samples, record=record, **options)


def timed(
    name: str, timeout_s: float | None, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Options of `run` that give a backend a time limit and a progress function, if it has them.

    Args:
        timeout_s: None leaves the backend its own limit.
        progress: called with (samples done, samples in all).
    """
    if not backend(name).timed:
        return {}
    limit = {} if timeout_s is None else {"timeout_s": timeout_s}
    return {"progress": progress, **limit}


def _or_broken(plugin: Plugin) -> Backend:
    try:
        return load_backend(plugin)
    except BackendUnavailableError as error:
        return _broken(plugin, error)


def _broken(plugin: Plugin, error: BackendUnavailableError) -> Backend:
    """What stands for a backend that cannot be loaded."""

    def refuse(network: Any, samples: Samples, **options: Any) -> NoReturn:
        raise error

    what = f"of package '{plugin.distribution}', broken"
    status = Status(None, plugin.reason(error), plugin.fix)
    return Backend(plugin.name, what, "deployed", lambda: status, refuse)
