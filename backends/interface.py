"""`Backend`: the interface of a backend."""

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
        version: None if it cannot run; `reason` then says why and `fix` is a command that fixes
            it.
        broken: it cannot run although it is installed or named.
    """

    version: str | None
    reason: str = ""
    fix: str = ""
    broken: bool = False


class Runner(Protocol):
    """Runs a network on samples: integers for a deployed network, float units for a graph."""

    def __call__(self, network: Any, samples: Samples, *, record: Any = ..., **options: Any) -> Run:
        """Run `network` on `samples`."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """A place where a network can run.

    Its module is imported by every verb that lists backends, so heavy imports belong inside
    `status` and `run`.

    Attributes:
        name: the name under which it is registered (`spikeport.plugins`).
        takes: deployed networks (chip integers), or NIR graphs in float units.
        limitations: what it does not support natively.
        timed: it is slow, so `run` has the options `timeout_s` and `progress(done, total)`.
        resets: `run` has the option `resets`, a `ResetSchedule`.
        one_thread: options with which `run` uses a single thread, if it would use more.
    """

    name: str
    what: str
    takes: Takes
    status: Callable[[], Status]
    run: Runner
    limitations: tuple[Limitation, ...] = ()
    timed: bool = False
    resets: bool = False
    one_thread: Mapping[str, Any] = field(default_factory=dict)
