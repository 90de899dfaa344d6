"""Read netx files: a deployed network from each."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.checks import MAX_STEPS, shape, whole
from spikeport.errors import FileFormatError, GraphError, InputError, UnstatedError
from spikeport.export.netx.hdf5 import RawLayer, RawNet, read_isolated, read_raw
from spikeport.export.netx.layers import Parts, add_layer
from spikeport.export.netx.layout import layers_of
from spikeport.export.netx.metadata import KEY, stored_network
from spikeport.network import DeployedNetwork, Readout, ReadoutKind

fail = GraphError.fail

_log = logging.getLogger(__name__)


def read_netx(
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    input_shape: Sequence[int] | None = None,
    isolate: bool = True,
) -> DeployedNetwork:
    """Read a netx file (`.net`), lava-dl's HDF5 format.

    A layer with neurons becomes the population `layerN`, N being its number in the file. netx
    needs a step for each layer: what its layer k (from 1) does in step t + k happens here in step
    t, and a state that it resets k steps later is new here in every sample. Different delays
    within a layer become one sparse connection for each delay.

    What the file does not state is listed in the provenance, under `assumed`.

    Args:
        steps: T; default `simulation/tSample` of the file, if it has one.
        input_shape: (C, H, W), for a file that does not state it and whose first layer is a
            convolution, or a dense layer whose samples come in this shape.
        isolate: as for `read_nir`.

    Raises:
        InputError: no such file, not netx, damaged or hostile; a layer has no counterpart or breaks
            a rule (the message names it); or T is missing.
    """
    raw = (read_isolated if isolate else read_raw)(path)
    try:
        return _network(raw, Path(path), steps, input_shape)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise FileFormatError(f"{path}: reading it needs more memory than is available") from error


def _network(
    raw: RawNet, path: Path, steps: int | None, input_shape: Sequence[int] | None
) -> DeployedNetwork:
    if raw.metadata:
        given = {"steps": steps, "input_shape": input_shape}
        if given := {name: value for name, value in given.items() if value is not None}:
            InputError.fail(f"arguments {sorted(given)}: the file contains a network with its own")
        return _stored(raw)
    parts = Parts(int(raw.file_bytes))
    steps = _steps(parts, raw, steps)
    if input_shape is not None:
        if raw.layers[0].type == "input":
            InputError.fail(f"input_shape is {tuple(input_shape)}, but the file states its own")
        parts.add_input(shape("input_shape", input_shape))
        parts.flat = raw.layers[0].type.startswith("dense")
        parts.assumed.append(f"the input has shape {parts.shape}, as given")
    for number, layer in enumerate(raw.layers):
        if layer.type == "average" and number == len(raw.layers) - 1 and parts.populations:
            parts.assumed.append(
                f"layer/{number} (average): left out, as netx cannot run it; "
                f"the outputs are the neurons of '{parts.source}'"
            )
            continue
        if layer.type == "average":
            fail(f"layer/{number} (average): must be the last layer, after one with neurons")
        add_layer(parts, number, layer)
    if not parts.populations:
        fail("contains no layer with neurons")
    if parts.inputs[0].coding == "spikes":
        parts.assumed.append("the input consists of 0/1 spikes")
    last = parts.populations[-1]
    provenance = {
        "format": "netx",
        "source": path.name,
        "source_sha256": raw.sha256,
        "assumed": "; ".join(parts.assumed),
    }
    for one in parts.assumed:
        _log.info("%s: %s", path, one)
    return DeployedNetwork(
        tuple(parts.inputs),
        tuple(parts.populations),
        tuple(parts.connections),
        (Readout(last.name, ReadoutKind.MEMBRANE if parts.silent else ReadoutKind.SPIKES),),
        steps,
        provenance,
    )


def _stored(raw: RawNet) -> DeployedNetwork:
    """The network that `write_netx` stored, if the layers are still its own."""
    network = stored_network(raw.metadata, raw.arrays)
    wanted = layers_of(network)
    same = len(wanted) == len(raw.layers) and all(map(_equal, wanted, raw.layers))
    if not same or np.any(np.asarray(raw.simulation.get("tSample")) != network.steps):
        fail(
            f"its layers were changed after writing, so the network in '/{KEY}' is stale; remove "
            f"'/{KEY}' to read the layers alone"
        )
    return network


def _equal(a: RawLayer, b: RawLayer) -> bool:
    return a.type == b.type and _same(a.fields, b.fields) and _same(a.neuron, b.neuron)


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _steps(parts: Parts, raw: RawNet, given: int | None) -> int:
    if given is not None:
        parts.assumed.append(f"T is {given}, as given")
        return given
    stated = np.asarray(raw.simulation.get("tSample", ()))
    if stated.size != 1:
        UnstatedError.fail(
            "no number of steps in the file (simulation/tSample): give steps (--steps), or convert "
            "it by `spikeport export --steps`"
        )
    return whole("simulation/tSample", stated.reshape(-1)[0].item(), 1, MAX_STEPS)
