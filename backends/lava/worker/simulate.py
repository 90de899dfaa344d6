"""Builds each job's Lava processes from its files, runs them, and reports how far it is."""

# ruff: noqa: TID251 (relative imports, since here the package is called `worker`)

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing.shared_memory
import os
import secrets
import signal
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

SLICE_STEPS = 500
"""Lava steps between two progress reports; one call of run() costs about 2 ms."""


class ProcessLost(Exception):  # noqa: N818
    """One of Lava's own processes ended, for which Lava itself would wait for ever."""


def import_lava() -> None:
    """Make lava-nc 0.10.0 importable on Python 3.11 and later.

    Those refuse dataclass defaults without a hash, which `var_model` has eight of.
    """
    stock = dataclasses.dataclass

    def hashing(*arguments: Any, **options: Any) -> Any:
        return stock(*arguments, **{"unsafe_hash": True, **options})

    dataclasses.dataclass = hashing
    try:
        import lava.magma.compiler.var_model  # noqa: F401
    finally:
        dataclasses.dataclass = stock


def lava_version() -> str:
    """Version of the Lava that this interpreter can really import."""
    import_lava()
    from .models import processes  # noqa: F401

    return version("lava-nc")


def run_jobs(token: str, jobs: int, progress: int) -> int:
    """Run job0 ... in the current folder; returns the exit code and prints what went wrong.

    Lava's shared-memory segments are named `token`-*. The steps done so far stand as eight bytes
    in the file descriptor `progress`.
    """
    keep_together(token)
    done = 0
    try:
        import_lava()
        for index in range(jobs):
            done = run_job(Path(f"job{index}"), progress, done)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
    return 0


def run_job(folder: Path, progress: int, done: int) -> int:
    """Run one job and leave `done.json`; returns the steps done after it."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    from .models.processes import Recorder

    started = time.perf_counter()
    program = json.loads((folder / "program.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        processes = build(program, arrays)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    anchors = [
        next(processes[name] for name in part if isinstance(processes[name], Recorder))
        for part in connected(program)
    ]
    total, ran = program["chip_steps"], 0
    for anchor in anchors:
        signal.signal(signal.SIGCHLD, raise_if_lost)
        left = total
        try:
            while left:
                steps = min(left, SLICE_STEPS)
                anchor.run(condition=RunSteps(num_steps=steps), run_cfg=config)
                left, ran = left - steps, ran + steps
                os.pwrite(progress, (done + ran // len(anchors)).to_bytes(8, "little"), 0)
        except RuntimeError as error:
            raise RuntimeError(model_errors(anchor)) from error
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        anchor.stop()
    wall_s = time.perf_counter() - started
    (folder / "done.json").write_text(json.dumps({"wall_s": wall_s}), encoding="utf-8")
    return done + int(total)


def connected(program: dict[str, Any]) -> list[set[str]]:
    """Names of the processes of each connected part that records something.

    Lava runs what hangs together with the process that is run, and nothing else.
    """
    parts: list[set[str]] = []
    for edge in program["edges"]:
        joined = {name for name, _ in edge}
        apart = [part for part in parts if not part & joined]
        parts = [*apart, joined.union(*(part for part in parts if part & joined))]
    recorders = {name for name, node in program["nodes"].items() if node["kind"] == "Recorder"}
    return [part for part in parts if part & recorders]


def build(program: dict[str, Any], arrays: Any) -> dict[str, Any]:
    """Lava processes by name, connected."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import Dense
    from lava.proc.lif.process import LIFReset

    from .models.processes import DelayLine, Recorder, SampleLIF, WideConv

    kinds: dict[str, Any] = {
        "Source": source,
        "SumPool": sum_pool,
        **{
            kind.__name__: kind
            for kind in (Conv, Dense, DelayLine, LIFReset, Recorder, SampleLIF, WideConv)
        },
    }
    made: dict[str, Any] = {}
    for name, node in program["nodes"].items():
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in node["fields"].items()}
        fields |= {key: arrays[f"{name}.{key}"] for key in node["arrays"]}
        made[name] = kinds[node["kind"]](**fields)
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


def sum_pool(*, window: Any, windows: int) -> Any:
    """Sparse of ones that adds neuron i into `window[i]` of `windows`, or nowhere if that is -1."""
    from lava.proc.sparse.process import Sparse
    from lava.utils.weightutils import SignMode
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    pooled = np.flatnonzero(window >= 0)
    ones = np.ones(pooled.size, np.int32)
    weights = csr_matrix((ones, (window[pooled], pooled)), (windows, window.size))
    return Sparse(weights=weights, num_message_bits=24, sign_mode=SignMode.EXCITATORY)


def keep_together(token: str) -> None:
    """Let what multiprocessing makes be found and removed: name its shared memory after `token`,
    put its sockets into the current folder (relative, as their paths are short by law)."""
    multiprocessing.shared_memory._make_filename = (  # type: ignore[attr-defined]
        lambda: f"/{token}-{secrets.token_hex(8)}"
    )
    multiprocessing.current_process()._config["tempdir"] = "."  # type: ignore[attr-defined]


def raise_if_lost(*_: Any) -> None:
    """On SIGCHLD: raise if a child was killed or failed; the child is left to be reaped."""
    with contextlib.suppress(ChildProcessError):
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or (ended.si_code == os.CLD_EXITED and ended.si_status == 0):
            return
        how = "exit code" if ended.si_code == os.CLD_EXITED else "signal"
        raise ProcessLost(f"a process of Lava ended with {how} {ended.si_status}")


def model_errors(process: Any) -> str:
    """Tracebacks of the process models that raised, which Lava itself only logs."""
    actors = process.runtime._messaging_infrastructure.actors
    found = [actor.exception[1] for actor in actors if actor.exception]
    return "a process model raised\n" + "\n".join(found)
