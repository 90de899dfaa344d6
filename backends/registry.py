"""Backends by name: list them, and run a network on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from spikeport.backends.interface import Backend, Status, Takes
from spikeport.errors import BackendUnavailableError, InputError, UnknownNameError
from spikeport.network import DeployedNetwork
from spikeport.plugins import Plugin, PluginKind, plugins
from spikeport.runs import Probe, RecordSpec, ResetSchedule, Run, Samples, record_items

if TYPE_CHECKING:
    from spikeport.export.nir import FloatNetwork


def list_backends() -> dict[str, Backend]:
    """All backends by name, in the order of the ladder, followed by those of other packages.

    One that cannot be loaded is listed as a backend that cannot run, with the reason.

    Raises:
        InputError: a package registers a name that is already used.
    """
    return {name: _or_broken(plugin) for name, plugin in plugins(PluginKind.BACKEND).items()}


def backend(name: str) -> Backend:
    """The backend of that name; one that cannot be loaded is a backend that cannot run.

    Raises:
        InputError: there is none (the message lists all), or a package registers a name that is
            already used.
    """
    known = plugins(PluginKind.BACKEND)
    if name not in known:
        raise UnknownNameError(f"backend '{name}' is unknown, must be one of {', '.join(known)}")
    return _or_broken(known[name])


def load_backend(plugin: Plugin) -> Backend:
    """Load the backend registered as `plugin`.

    Raises:
        BackendUnavailableError: it cannot be imported, or is not a backend of that name.
    """
    found = plugin.load()
    if not isinstance(found, Backend):
        kind = type(found).__name__
        raise plugin.broken(f"'{plugin.reference}' is of type {kind}, must be a Backend")
    if found.name != plugin.name:
        raise plugin.broken(f"is named '{found.name}', must be '{plugin.name}'")
    if found.takes not in get_args(Takes):
        raise plugin.broken(f"takes '{found.takes}', must be one of {', '.join(get_args(Takes))}")
    return found


def status_of(chosen: Backend) -> Status:
    """Whether a backend can run here; one whose status check fails cannot."""
    plugin = plugins(PluginKind.BACKEND)[chosen.name]
    if not plugin.distribution:
        return chosen.status()
    try:
        return chosen.status()
    except Exception as error:  # The code of another package may raise anything.
        return Status(None, plugin.reason(plugin.failed(error)), plugin.fix)


def run(
    name: str,
    network: DeployedNetwork | FloatNetwork,
    samples: Samples,
    *,
    record: RecordSpec = (),
    resets: ResetSchedule | None = None,
    **options: Any,
) -> Run:
    """Run `network` on the backend called `name`.

    Args:
        name: one of `list_backends`.
        samples: (B, *shape) or (T, B, *shape); integers for a DeployedNetwork, else float units.
        record: any of "spikes", "u", "v" and further state variables of the neuron model, as far as
            the backend has them; for a DeployedNetwork also `Probe`s.
        resets: when the neurons of a deployed network start afresh, besides the first step.
        options: passed to the backend, such as `threads` for native or `timeout_s` (in seconds) for
            Lava.

    Returns:
        Predictions, scores, spike counts and, as far as the backend provides them, event counts and
        the trace of what was recorded.

    Raises:
        InputError: unknown backend, one for the other kind of network, or one without reset
            schedules.
        BackendUnavailableError: it is not installed, cannot be loaded, or failed while running.
    """
    chosen = backend(name)
    kind = "deployed" if isinstance(network, DeployedNetwork) else "float"
    if chosen.takes != kind:
        able = ", ".join(one.name for one in list_backends().values() if one.takes == kind)
        raise InputError(
            f"backend '{name}' runs {chosen.takes} networks, this one is {kind}: use {able}"
        )
    record = record_items(record)
    if kind == "float" and any(isinstance(item, Probe) for item in record):
        raise InputError(
            f"backend '{name}' records whole float graphs; probes need deployed networks"
        )
    if resets is not None:
        if not chosen.resets:
            able = ", ".join(one.name for one in list_backends().values() if one.resets)
            raise InputError(f"backend '{name}' has no reset schedules, must be one of {able}")
        options["resets"] = resets
    return chosen.run(network, samples, record=record, **options)


def timed(
    name: str, timeout_s: float | None, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Options that give the `run` of a backend a time limit and a progress function, if supported.

    Args:
        timeout_s: None for the default of the backend.
        progress: called with (samples done, total samples).
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
    """A placeholder for a backend that cannot be loaded."""

    def refuse(network: Any, samples: Samples, **options: Any) -> NoReturn:
        raise error

    what = f"of package '{plugin.distribution}', broken"
    status = Status(None, plugin.reason(error), plugin.fix)
    return Backend(plugin.name, what, "deployed", lambda: status, refuse)
