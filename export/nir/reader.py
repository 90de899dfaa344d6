"""Read NIR files, Spikeport's own and those of other tools."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import nir
import numpy as np

from spikeport.checks import fail
from spikeport.errors import InputError
from spikeport.export.nir.deployed import float_view
from spikeport.export.nir.flatten import FlatGraph, flatten
from spikeport.export.nir.float_network import FloatNetwork
from spikeport.export.nir.graph import CheckedGraph, check_graph, difference
from spikeport.export.nir.hdf5 import RawGraph, read_raw
from spikeport.export.nir.isolated import read_isolated
from spikeport.export.nir.metadata import ARRAYS, KEY, deployed_network, header_of, run_facts
from spikeport.export.nir.plausibility import implausible
from spikeport.export.nir.portable import restore
from spikeport.network import DeployedNetwork, Input, Reset
from spikeport.text import quoted

_log = logging.getLogger(__name__)


class IntegratorGain(StrEnum):
    """Meaning of `r` of IF and I in a file from another tool.

    NIR: r = 1 is a gain of 1 per step, as interpreted by Norse, snnTorch and Sinabs; any other r
        means r dt, as in NIR's equation dv/dt = r I.
    PER_STEP: every r is the gain per step, independent of dt.
    """

    NIR = "nir"
    PER_STEP = "per-step"


def read_nir(
    path: str | os.PathLike[str],
    *,
    dt_s: float | None = None,
    steps: int | None = None,
    reset: Reset | None = None,
    strict: bool | None = None,
    inputs: Sequence[Input] | None = None,
    integrator_gain: IntegratorGain = IntegratorGain.NIR,
    isolate: bool = True,
) -> FloatNetwork | DeployedNetwork:
    """Read a NIR file: the deployed network if the file contains its integers, else the graph.

    If only one of them is acceptable, call `read_nir_float` or `read_nir_deployed`.

    Nested graphs are flattened and unsafe names made safe (`flatten`). NIR files do not state dt, T
    or the reset; files written by Spikeport do, in their metadata, but arguments given here take
    precedence.

    Args:
        dt_s, steps: required for a file from another tool. NIR's times are seconds.
        reset, strict: default ZERO and true, as documented by NIR.
        inputs: default 0/1 spikes for every Input node, because NIR does not describe input values;
            required for any other input (see `FloatNetwork.inputs_assumed`).
        isolate: read the HDF5 in a separate process (about 0.4 s), because a damaged file can hang
            or crash libhdf5. Set it to False only for a file that is known to be intact.

    Raises:
        InputError: no such file, not NIR, damaged or hostile; a node, field or edge breaks a rule
            (the message names it); dt or T is missing; or the float view was changed by another
            tool, so that the integers are stale.
    """
    given = {"dt_s": dt_s, "steps": steps, "reset": reset, "strict": strict, "inputs": inputs}
    given = {name: value for name, value in given.items() if value is not None}
    raw = (read_isolated if isolate else read_raw)(path, KEY)
    file_bytes = os.path.getsize(path)
    with _reading(path):
        header = header_of(raw.metadata)
        if header is not None and header["kind"] == "deployed":
            if given:
                fail(
                    f"arguments {sorted(given)}: the file contains a deployed network with its own"
                )
            return _deployed_network(header, raw, file_bytes)
        return _float_network(flatten(raw), header, given, integrator_gain, file_bytes)


def read_nir_float(
    path: str | os.PathLike[str],
    *,
    dt_s: float | None = None,
    steps: int | None = None,
    reset: Reset | None = None,
    strict: bool | None = None,
    inputs: Sequence[Input] | None = None,
    integrator_gain: IntegratorGain = IntegratorGain.NIR,
    isolate: bool = True,
) -> FloatNetwork:
    """Like `read_nir`, for a file that contains a float graph.

    Raises:
        InputError: as for `read_nir`, or the file contains a deployed network.
    """
    network = read_nir(
        path,
        dt_s=dt_s,
        steps=steps,
        reset=reset,
        strict=strict,
        inputs=inputs,
        integrator_gain=integrator_gain,
        isolate=isolate,
    )
    if isinstance(network, DeployedNetwork):
        fail(f"{path}: contains a deployed network, must be a float graph; see `read_nir_deployed`")
    return network


def read_nir_deployed(path: str | os.PathLike[str], *, isolate: bool = True) -> DeployedNetwork:
    """Read the deployed network of a NIR file written by `write_nir`.

    Raises:
        InputError: as for `read_nir`, or the file contains only a float graph.
    """
    raw = (read_isolated if isolate else read_raw)(path, KEY)
    with _reading(path):
        header = header_of(raw.metadata)
        if header is None or header["kind"] != "deployed":
            fail("a float graph without chip integers; see `read_nir_float`")
        return _deployed_network(header, raw, os.path.getsize(path))


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert errors in the block to errors that name the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except MemoryError as error:
        raise InputError(f"{path}: reading it needs more memory than is available") from error


def _deployed_network(header: dict[str, Any], raw: RawGraph, file_bytes: int) -> DeployedNetwork:
    network = deployed_network(header, raw.metadata.get(ARRAYS, {}))
    view = float_view(network, float(header["dt_s"]))
    drawn = _checked(flatten(raw), view.dt_s, file_bytes).graph
    if (found := difference(drawn, view.graph)) is not None:
        fail(
            f"{found}: the float graph was changed after writing, so the integers in its "
            f"metadata are stale; remove metadata '{KEY}' to read the graph alone"
        )
    return network


def _float_network(
    flat: FlatGraph,
    header: dict[str, Any] | None,
    given: dict[str, Any],
    gain: IntegratorGain,
    file_bytes: int,
) -> FloatNetwork:
    dt_s = given.get("dt_s", header and header["dt_s"])
    if dt_s is None:
        fail("no time step in the file (NIR has no field for it): give dt_s (--dt), in seconds")
    if not (isinstance(dt_s, float | int) and 0 < dt_s < np.inf):
        fail(f"dt_s is {quoted(dt_s)}, must be positive seconds")
    if header is None and gain is IntegratorGain.PER_STEP:
        for node in flat.nodes.values():
            if isinstance(node, nir.IF | nir.I):
                node.r = np.where(node.r == 1, node.r, node.r / dt_s)
    checked = _checked(flat, dt_s, file_bytes)
    facts: dict[str, Any] = {"reset": Reset.ZERO, "strict": True}
    if header is not None:
        facts = run_facts(header, checked.shapes)
    facts |= given
    facts["inputs_assumed"] = facts.get("inputs_assumed", False) and "inputs" not in given
    if "steps" not in facts:
        fail("no number of steps in the file (NIR has no field for it): give steps (--steps)")
    if "inputs" not in facts:
        facts["inputs"] = tuple(
            Input(name, checked.shapes[name]) for name in sorted(checked.graph.inputs)
        )
        facts["inputs_assumed"] = True
    network = FloatNetwork(checked.graph, **facts, _checked=checked)
    for oddity in implausible(network.graph, dt_s):
        _log.warning("%s", oddity)
    return network


def _checked(flat: FlatGraph, dt_s: float, file_bytes: int) -> CheckedGraph:
    nodes = {name: restore(name, node) for name, node in flat.nodes.items()}
    checked = check_graph(nodes, flat.edges, dt_s, file_bytes)
    flat.check_ports(checked.shapes)
    return checked
