"""Build each job's Lava processes from its files, run them, and report progress."""

# ruff: noqa: TID251 (relative imports, since here the package is called `worker`)

from __future__ import annotations

import contextlib
import json
import multiprocessing.shared_memory
import os
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .fixes import import_convolution, import_lava
from .naming import announce, name_processes

SLICE_S = 0.3
"""Seconds between two progress reports; one call of run() costs about 2 ms."""


HINTS = {"SIGKILL": "; out of memory?", "SIGBUS": "; no room in /dev/shm?"}


class ProcessLost(Exception):  # noqa: N818
    """One of Lava's own processes ended, for which Lava itself would wait forever."""


def lava_version() -> str:
    """Version of Lava that this interpreter can actually import."""
    import_lava()
    from .models import processes  # noqa: F401

    return version("lava-nc")


def run_jobs(token: str, jobs: int, progress: int) -> int:
    """Run job0 ... in the current folder; return the exit code and print what went wrong.

    Lava's shared-memory segments are named `token`-*. The number of steps done is written as eight
    bytes to the file descriptor `progress`.
    """
    keep_together(token)
    announce("Lava's main process")
    done, parts = 0, dict[int, str]()
    try:
        import_lava()
        name_processes(parts)
        for index in range(jobs):
            done = run_job(Path(f"job{index}"), parts, progress, done)
    except ProcessLost as lost:
        sys.stderr.write(f"{lost}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
    return 0


def run_job(folder: Path, parts: dict[int, str], progress: int, done: int) -> int:
    """Run one job and write `done.json`; return the number of steps done after it."""
    from lava.magma.core.run_configs import Loihi2SimCfg

    started = time.perf_counter()
    program = json.loads((folder / "program.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        processes = build(program, arrays)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    joined = connected(program)
    total = program["chip_steps"]
    for index, names in enumerate(joined):
        anchor = processes[names.pop()]
        signal.signal(signal.SIGCHLD, partial(raise_if_lost, parts))
        anchor.create_runtime(config)
        try:
            for ran in slices(anchor, total):
                steps = done + (index * total + ran) // len(joined)
                os.pwrite(progress, steps.to_bytes(8, "little"), 0)
        except RuntimeError as error:
            raise RuntimeError(model_errors(anchor)) from error
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        parts.clear()
        anchor.stop()
    wall_s = time.perf_counter() - started
    (folder / "done.json").write_text(json.dumps({"wall_s": wall_s}), encoding="utf-8")
    return done + int(total)


def slices(anchor: Any, total: int) -> Iterator[int]:
    """Run `total` steps in slices of about SLICE_S; yield the number of steps run so far."""
    from lava.magma.core.run_conditions import RunSteps

    ran, steps = 0, 1
    while ran < total:
        steps = min(steps, total - ran)
        started = time.perf_counter()
        anchor.run(condition=RunSteps(num_steps=steps))
        ran += steps
        yield ran
        pace = SLICE_S / max(time.perf_counter() - started, 1e-6)
        steps = max(1, int(steps * min(pace, 8.0)))


def connected(program: dict[str, Any]) -> list[set[str]]:
    """Names of the processes of each connected component that contains a population.

    Lava runs only the processes that are connected with the one that is run.
    """
    parts: list[set[str]] = [{name} for name in program["nodes"]]
    for edge in program["edges"]:
        joined = {name for name, _ in edge}
        apart = [part for part in parts if not part & joined]
        parts = [*apart, joined.union(*(part for part in parts if part & joined))]
    neurons = {name for name, node in program["nodes"].items() if "tapes" in node["fields"]}
    return [part for part in parts if part & neurons]


def build(program: dict[str, Any], arrays: Any) -> dict[str, Any]:
    """Lava processes by name, connected."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import Dense

    from .models import processes

    kinds: dict[str, Any] = {
        **vars(processes),
        "Source": source,
        "Sparse": sparse,
        "Conv": Conv,
        "Dense": Dense,
    }
    if any("Conv" in node["kind"] for node in program["nodes"].values()):
        import_convolution()
    made: dict[str, Any] = {}
    for name, node in program["nodes"].items():
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in node["fields"].items()}
        fields |= {key: arrays[f"{name}.{key}"] for key in node["arrays"]}
        made[name] = kinds[node["kind"]](**fields)
        made[name].proc_params["part"] = node["part"]
    for start, end in program["edges"]:
        out, into = (getattr(made[name], port) for name, port in (start, end))
        (out if out.shape == into.shape else out.reshape(into.shape)).connect(into)
    return made


def source(*, values: Any, hold: int, lead: int) -> Any:
    """RingBuffer that waits `lead` steps and then sends each frame of `values` `hold` times."""
    from lava.proc.io.source import RingBuffer

    frames = np.repeat(values.astype(np.int32), hold, axis=0)
    frames = np.pad(frames, [(lead, 0)] + [(0, 0)] * (values.ndim - 1))
    return RingBuffer(data=np.moveaxis(frames, 0, -1))


def sparse(*, weights: Any, indices: Any, indptr: Any, columns: int, **options: Any) -> Any:
    """Sparse with the weights of a CSR matrix of so many columns."""
    from lava.proc.sparse.process import Sparse
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    matrix = csr_matrix((weights, indices, indptr), (len(indptr) - 1, columns))
    return Sparse(weights=matrix, **options)


def keep_together(token: str) -> None:
    """Make everything that multiprocessing creates easy to find and remove: name shared memory and
    semaphores after `token`, put sockets into the current folder (with relative paths, as these
    must be short)."""
    multiprocessing.shared_memory._make_filename = (  # type: ignore[attr-defined]
        lambda: f"/{token}-{secrets.token_hex(8)}"
    )
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    config |= {"tempdir": ".", "semprefix": f"/{token}"}


def raise_if_lost(parts: Mapping[int, str], *_: Any) -> None:
    """On SIGCHLD: raise if a child was killed or failed; the child is left to be reaped.

    Args:
        parts: the part of the network that each process runs, by process id.
    """
    for pid in (*parts, None):
        kind, number = (os.P_ALL, 0) if pid is None else (os.P_PID, pid)
        with contextlib.suppress(ChildProcessError):
            ended = os.waitid(kind, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or (ended.si_code == os.CLD_EXITED and ended.si_status == 0):
                continue
            part = parts.get(ended.si_pid, "an internal process of Lava")
            if ended.si_code == os.CLD_EXITED:
                raise ProcessLost(f"{part} ended with exit code {ended.si_status}")
            name = signal.Signals(ended.si_status).name
            hint = HINTS.get(name, "")
            raise ProcessLost(f"{part} was killed by signal {ended.si_status} ({name}{hint})")


def model_errors(process: Any) -> str:
    """Tracebacks of process models that raised, which Lava itself only logs."""
    actors = process.runtime._messaging_infrastructure.actors
    found = [actor.exception[1] for actor in actors if actor.exception]
    return "a process model raised\n" + "\n".join(found)
