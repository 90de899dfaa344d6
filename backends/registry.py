"""The one list of backends: what each is, whether it can run here, and how to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from spikeport.backends.unsupported import UnsupportedFeature
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork
from spikeport.runs import Probe, RecordSpec, Run, Samples, record_items

if TYPE_CHECKING:
    from spikeport.export.nir import FloatNetwork

Takes = Literal["deployed", "float"]
LAVA_LIMITATIONS = (
    "reset by subtraction, refractory time, v_init, a bias per step: our SampleLIF",
    "delays, skip paths of unequal depth, recurrence between samples: our DelayLine",
    "weight exponents and sums beyond 32 bits of convolutions: our WideConv",
    "cycles shorter in delay than in steps, kernels beyond 127, sums of 2^53: refused",
)
NORSE_LIMITATIONS = (
    "nodes other than Affine, Linear, Conv1d, Conv2d, SumPool2d, Flatten, IF, LIF and CubaLIF",
    "skip paths; r other than 1; v_leak, v_reset: refused, since Norse would change them",
)


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a backend can run here.

    Attributes:
        version: None where it cannot run; then `reason` says why and `fix` is the command
            that mends it.
    """

    version: str | None
    reason: str = ""
    fix: str = ""


class Runner(Protocol):
    """Runs a network on samples: integers for a deployed network, float units for a graph."""

    def __call__(self, network: Any, samples: Samples, *, record: Any = ..., **options: Any) -> Run:
        """Run `network` on `samples`."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """One place where a network can run.

    Attributes:
        gaps: what a network asks for that the place does not have by itself.
        lacks: the same for any network, and how it is made up for.
        slow: takes minutes, so `run` knows `timeout_s` and `progress(done, total)`.
    """

    name: str
    what: str
    takes: Takes
    status: Callable[[], Status]
    run: Runner
    unsupported: Callable[[Any], tuple[UnsupportedFeature, ...]] = lambda network: ()
    limitations: tuple[str, ...] = ()
    slow: bool = False


def list_backends() -> dict[str, Backend]:
    """Every backend by name, in the order of the ladder."""
    listed = (
        Backend("float", "NIR graph in float64, forward Euler", "float", _own, _run_float),
        Backend(
            "norse",
            "NIR graph in Norse, the independent check",
            "float",
            _norse,
            _run_norse,
            limitations=NORSE_LIMITATIONS,
        ),
        Backend("native", "chip integers, batched and compiled", "deployed", _own, _run_native),
        Backend("reference", "chip integers, scalar: the spec", "deployed", _own, _run_reference),
        Backend(
            "lava",
            "Intel's Lava, bit-accurate, in a worker process",
            "deployed",
            _lava,
            _run_lava,
            unsupported=_lava_unsupported,
            limitations=LAVA_LIMITATIONS,
            slow=True,
        ),
    )
    return {backend.name: backend for backend in listed}


def backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        InputError: there is none; the message lists all.
    """
    known = list_backends()
    if name not in known:
        raise InputError(f"backend '{name}' is unknown, must be one of {', '.join(known)}")
    return known[name]


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
        BackendUnavailableError: it is not installed, or broke while it ran.
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
    """Options of `run` that give a backend a time limit and a progress function, if it is slow.

    Args:
        timeout_s: None leaves the backend its own limit.
        progress: called with (samples done, samples in all).
    """
    if not backend(name).slow:
        return {}
    limit = {} if timeout_s is None else {"timeout_s": timeout_s}
    return {"progress": progress, **limit}


def _own() -> Status:
    from importlib.metadata import version

    return Status(version("spikeport"))


def _norse() -> Status:
    from spikeport.backends.norse import norse_status

    return Status(*norse_status())


def _lava() -> Status:
    from spikeport.backends.lava import lava_status

    return Status(*lava_status())


def _lava_unsupported(network: Any) -> tuple[UnsupportedFeature, ...]:
    from spikeport.backends.lava import lava_unsupported

    return lava_unsupported(network)


def _run_float(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_float

    return run_float(network, samples, **options)


def _run_norse(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.backends.norse import run_norse

    return run_norse(network, samples, **options)


def _run_native(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_native

    return run_native(network, samples, **options)


def _run_reference(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.simulators import run_reference

    return run_reference(network, samples, **options)


def _run_lava(network: Any, samples: Samples, **options: Any) -> Run:
    from spikeport.backends.lava import run_lava

    return run_lava(network, samples, **options)
