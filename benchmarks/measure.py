"""Child process: measure one simulator on one prepared network and print the results as JSON.

Each measurement has a separate process, so that its peak memory is its own and its first result
includes the start-up time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.children import exit_on_terminate
from benchmarks.engines import Variant, engine
from benchmarks.stored import load, load_facts

TIMED_S = 0.2
"""Minimum duration of one timing in seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One measurement by a child process.

    Attributes:
        variants: if there are several, each is timed once and nothing else is done.
        cap_s: time limit for all of it in seconds.
        spawned: time.time() just before the process was started.
    """

    simulator: str
    folder: str
    variants: list[list[Any]]
    repeats: int
    threads: int
    cap_s: float
    spawned: float


def main(text: str) -> None:
    """Run the job described by `text`; the last line of stdout is the result."""
    exit_on_terminate()
    job = Job(**json.loads(text))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    found = _lava(job) if job.simulator == "lava" else _engine(job)
    own, children = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    sys.stdout.write("\n" + json.dumps(found | {"peak_bytes": 1024 * max(own, children)}) + "\n")


def _engine(job: Job) -> dict[str, Any]:
    folder = Path(job.folder)
    network, spikes = load(folder)
    run = engine(job.simulator)(network, spikes, job.threads)
    variants = [Variant(*given) for given in job.variants]
    totals = run(variants[0], True)
    first_at = time.time()
    if len(variants) > 1:
        tried = [timed(partial(run, v, False), job.cap_s / 10, 1) for v in variants]
        return {"tried": tried}
    seconds = timed(partial(run, variants[0], False), job.cap_s / 2, job.repeats)
    sample_steps = network.steps * spikes.shape[1]
    return {
        "seconds": seconds,
        "sample_steps": sample_steps,
        "startup_s": first_at - job.spawned - statistics.median(seconds),
        "spikes_differ": _difference(totals, load_facts(folder)["spikes"]),
    }


def timed(run: Callable[[], object], budget_s: float, repeats: int) -> list[float]:
    """Seconds per call, `repeats` times; fewer if `budget_s` is used up."""
    started = time.perf_counter()
    run()
    once = time.perf_counter() - started
    number = max(1, int(TIMED_S / once))
    found = [] if once < TIMED_S else [once]
    while len(found) < repeats and (not found or time.perf_counter() - started < budget_s):
        before = time.perf_counter()
        for _ in range(number):
            run()
        found.append((time.perf_counter() - before) / number)
    return found


def _difference(found: Mapping[str, int], native: Mapping[str, int]) -> float:
    """Spikes of all populations relative to native's, minus 1."""
    return sum(found.values()) / max(sum(native.values()), 1) - 1


def _lava(job: Job) -> dict[str, Any]:
    """Cost of one more sample-step on Lava: the difference between a long and a short run.

    If one sample already takes long, its Lava steps are counted instead, including those of the
    pipeline, and its time includes Lava's start-up. A sample that does not finish gives a bound.
    """
    from spikeport.backends.lava import run_lava
    from spikeport.errors import BackendUnavailableError

    folder = Path(job.folder)
    network, spikes = load(folder)
    steps, most = network.steps, spikes.shape[1]
    lava_steps = steps + load_facts(folder)["lava_depth"]
    deadline = time.monotonic() + job.cap_s

    def wall(count: int) -> float:
        left = max(deadline - time.monotonic(), 1.0)
        return run_lava(network, spikes[:, :count], timeout_s=left).wall_s

    try:
        single = wall(1)
    except BackendUnavailableError as error:
        if "took longer" in str(error):
            return {"capped": True, "at_most_per_s": lava_steps / job.cap_s}
        raise
    first_s = time.time() - job.spawned
    once = {"seconds": [single], "sample_steps": lava_steps, "start_included": True}
    if single > job.cap_s / 4:
        return once
    count, longer = 1, single
    while longer - single < max(1.0, single) and count < most:
        if deadline - time.monotonic() < 5 * longer:
            break
        count = min(4 * count, most)
        longer = wall(count)
    if count == 1:
        return once
    more = [longer - single]
    while len(more) < job.repeats and deadline - time.monotonic() > 2 * longer:
        more.append(wall(count) - single)
    sample_steps = (count - 1) * steps
    per_step = statistics.median(more) / sample_steps
    return {
        "seconds": more,
        "sample_steps": sample_steps,
        "startup_s": first_s - lava_steps * per_step,
        "samples": count,
    }


if __name__ == "__main__":
    main(sys.argv[1])
