"""`Backend`: how a place where networks run describes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from spikeport.backends.limitation import Limitation
from spikeport.runs import Run, Samples

Takes = Literal["deployed", "float"]


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a backend can run here.

    Attributes:
        version: None where it cannot run; then `reason` says why and `fix` is the command
            that fixes it.
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

    The module that holds it is imported by every verb that lists backends, so `status` and `run`
    should import what is heavy when they are called.

    Attributes:
        name: as it is registered (`spikeport.plugins`).
        takes: deployed networks (chip integers), or NIR graphs in float units.
        limitations: what it does not support natively.
        timed: it takes minutes, so `run` has the options `timeout_s` and `progress(done, total)`.
        one_thread: options of `run` with which it uses one thread, if it would use more.
    """

    name: str
    what: str
    takes: Takes
    status: Callable[[], Status]
    run: Runner
    limitations: tuple[Limitation, ...] = ()
    timed: bool = False
    one_thread: Mapping[str, Any] = field(default_factory=dict)
