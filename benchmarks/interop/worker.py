"""One framework, in its own environment and process: it writes networks, or runs those it reads.

`python worker.py write FRAMEWORK FOLDER`: for each network, FOLDER receives NAME.nir, as the
framework's exporter writes it, and NAME.npy, the spikes (T, B, OUTPUTS) of its last layer. Where an
exporter cannot write a whole network, it is put together from what it writes per layer. Random
weights have fixed seeds.

`python worker.py read FRAMEWORK FOLDER`: for each NAME.nir with its input NAME.in.npy
(T, B, *shape) and the options of loading it, NAME.json, FOLDER receives NAME.FRAMEWORK.npy, the
spikes of the output.

What fails, or takes more than a minute, leaves the error in place of the spikes: NAME.error or
NAME.FRAMEWORK.error.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["PIP_NO_INDEX"] = "1"  # rockpool starts pip when it is used
del sys.path[0]  # neither the folder of this file, nor the project in front of installed packages
sys.path.append(str(Path(__file__).resolve().parents[2]))

import nir  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.interop.frameworks.graphs import SHAPES  # noqa: E402

LIMIT_S = 60
"""For one network; Spyx, for one, walks some loops forever."""


def main() -> None:
    """Do what the command line names."""
    verb, framework, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    module = importlib.import_module(f"benchmarks.interop.frameworks.{framework.replace('-', '_')}")
    signal.signal(signal.SIGALRM, _too_long)
    if verb == "write":
        write(module, folder)
    else:
        read(module, folder, framework)


def write(module: Any, folder: Path) -> None:
    """Run and write all networks of a framework."""
    inputs = {name: np.load(folder / f"{name}.in.npy") for name in SHAPES}
    inputs = {name: values.astype(np.float32) for name, values in inputs.items()}
    for name, make in module.networks(inputs):

        def written(make: Callable[[], Any] = make, path: Path = folder / f"{name}.nir") -> Any:
            graph, spikes = make()
            try:
                nir.write(path, graph)
            except Exception:
                path.unlink(missing_ok=True)  # written in part
                raise
            return spikes

        _keep(folder / name, written)


def read(module: Any, folder: Path, framework: str) -> None:
    """Read and run all files of a folder that have no outcome yet."""
    for path in sorted(folder.glob("*.nir")):
        if not list(folder.glob(f"{path.stem}.{framework}.*")):
            x = np.load(path.with_suffix(".in.npy")).astype(np.float32)
            options = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            load = partial(module.load, path, options)
            _keep(path.with_suffix(f".{framework}"), lambda: load()(x))  # noqa: B023


def _keep(place: Path, make: Callable[[], Any]) -> None:
    """Store spikes, or the error with the place in which it was raised."""
    signal.alarm(LIMIT_S)
    try:
        spikes = np.asarray(make(), np.float32)
        np.save(place.with_name(f"{place.name}.npy"), spikes)
    except Exception as error:
        signal.alarm(0)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        place.with_name(f"{place.name}.error").write_text(f"{text}\n{where}\n", encoding="utf-8")
    signal.alarm(0)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took more than {LIMIT_S} s")


if __name__ == "__main__":
    main()
