"""NIR files in the frameworks that are installed with the tests, step by step."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from spikeport.export.nir import Semantics
from spikeport.network import Reset

Array = np.ndarray
Load = Callable[[Path, Array, Semantics], Array]


def _norse(path: Path, x: Array, semantics: Semantics) -> Array:
    import norse.torch
    from norse.torch.functional.reset import reset_subtract

    subtract = {"reset_method": reset_subtract} if semantics.reset is Reset.SUBTRACT else {}
    return _stepped(norse.torch.from_nir(nir.read(path), dt=1e-3, **subtract), x)


def _snntorch(path: Path, x: Array, semantics: Semantics) -> Array:
    from snntorch.import_nir import import_from_nir

    return _stepped(import_from_nir(nir.read(path)), x)


def _spikingjelly(path: Path, x: Array, semantics: Semantics) -> Array:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stepped(import_from_nir(path, dt=1e-4), x)


def _sinabs(path: Path, x: Array, semantics: Semantics) -> Array:
    import torch
    from sinabs.nir import from_nir

    steps, batch = x.shape[:2]
    module = from_nir(nir.read(path), batch_size=batch)
    with torch.no_grad():
        made, *_ = module(torch.from_numpy(x).transpose(0, 1).flatten(0, 1))
    out: Array = made.reshape(batch, steps, *made.shape[1:]).transpose(0, 1).numpy()
    return out


def _stepped(module: Any, x: Array) -> Array:
    import torch

    state, made = None, []
    with torch.no_grad():
        for step in torch.from_numpy(x):
            out, state = module(step, state)
            made.append(out.numpy())
    return np.stack(made)


_FRAMEWORKS: Mapping[str, Load] = {
    "norse": _norse,
    "snntorch": _snntorch,
    "spikingjelly": _spikingjelly,
    "sinabs": _sinabs,
}
INSTALLED = tuple(name for name in _FRAMEWORKS if importlib.util.find_spec(name) is not None)


def run_in(reader: str, path: Path, x: Array, semantics: Semantics) -> Array:
    """Outputs (T, B, *shape) of a file in a framework, loaded as `Portability.load` says.

    Raises:
        Exception: of any type, if the framework cannot read or run it.
    """
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _FRAMEWORKS[reader](path, x.astype(np.float32), semantics)
