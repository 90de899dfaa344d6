"""The process that reads damaged files: one line of JSON in for each, one out."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.errors import SpikeportError
from tests.fuzz.fingerprints import fingerprint
from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.mutations import damage, originals

SPACE_BYTES = 2**30
"""Address space beyond what the process uses at the start."""
REFUSALS = (0, 2)
VERBS = 8
"""One in this many files is also passed to the command."""


def main(folder: Path) -> None:
    """Read what standard input asks for: {"kind": NAME, "seed": NUMBER}."""
    warnings.simplefilter("error")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", closefd=False)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    good = originals(folder, KINDS)
    fingerprints = {}
    for name, kind in KINDS.items():
        fingerprints[name] = fingerprint(kind.read(folder / name.replace(" ", "-") / kind.file))
        _command(kind, folder / name.replace(" ", "-") / kind.file)
    space = _status("VmSize") + SPACE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        task = json.loads(line)
        name, kind = task["kind"], KINDS[task["kind"]]
        rng = np.random.default_rng((list(KINDS).index(name), task["seed"]))
        path = folder / name.replace(" ", "-") / kind.file
        how, content = damage(kind, good[name], rng)
        path.write_bytes(content)
        Path("/proc/self/clear_refs").write_text("5")
        before, began, computed = _status("VmRSS"), time.monotonic(), _computed()
        found = _read(kind, path, content == good[name], fingerprints[name], how != "bytes")
        if kind.verb and not task["seed"] % VERBS and found["outcome"] != "fault":
            found["fault"] = _command(kind, path)
        found |= {
            "how": how,
            "seconds": time.monotonic() - began,
            "computing": _computed() - computed,
            "bytes": max(_status("VmHWM") - before, 0),
        }
        if found.get("fault"):
            found["outcome"] = "fault"
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def _read(kind: Kind, path: Path, same: bool, good: str, whole: bool) -> dict[str, Any]:
    """Read one file; `good` is the fingerprint of its undamaged content."""
    try:
        value = (kind.quick if whole and kind.quick else kind.read)(path)
        found = fingerprint(value)
    except SpikeportError as error:
        if isinstance(error.__cause__, MemoryError):
            return {"outcome": "fault", "fault": f"takes all memory: {error}"}
        if same:
            return {"outcome": "fault", "fault": f"a whole file is refused: {error}"}
        return {"outcome": "refused", "said": str(error)[:200]}
    except BaseException:
        return {"outcome": "fault", "fault": traceback.format_exc()}
    if found == good:
        return {"outcome": "same"}
    if kind.digest and not whole:
        return {"outcome": "fault", "fault": "read as something else, in spite of its digest"}
    if kind.write is not None:
        try:
            kind.write(value, path.with_name(f"again-{path.name}"))
            again = fingerprint(kind.read(path.with_name(f"again-{path.name}")))
        except BaseException:
            return {"outcome": "fault", "fault": f"cannot be written: {traceback.format_exc()}"}
        if again != found:
            return {"outcome": "fault", "fault": "is something else when written and read again"}
    return {"outcome": "other"}


def _command(kind: Kind, path: Path) -> str | None:
    """Run the command that reads such files; return what is wrong with its exit, if anything."""
    from spikeport.cli import main as spikeport

    verb, *rest = kind.verb or ("",)
    if not verb:
        return None
    further = [str(path.with_name(item)) if item == path.name else item for item in rest]
    words, streams = [verb, str(path), *further], (io.StringIO(), io.StringIO())
    sys.argv = ["spikeport", *words]
    code: Any = 0
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            spikeport()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        return f"spikeport {verb}: {traceback.format_exc()}"
    said = streams[1].getvalue()
    if code not in REFUSALS or "Traceback" in said or (code == 2 and not said.strip()):
        return f"spikeport {verb} ended with {code}: {said}"
    return None


def _computed() -> float:
    """Processor seconds of this process and its children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _status(field: str) -> int:
    """A size of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


if __name__ == "__main__":
    # A damaged shard is not an error: it is logged and computed again.
    logging.getLogger("spikeport.sharding.store").setLevel(logging.ERROR)
    main(Path(sys.argv[1]))
