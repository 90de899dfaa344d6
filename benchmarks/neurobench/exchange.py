"""What NeuroBench's process is given: layers and spikes of a network, in two files of a folder.

`task.json` describes inputs, populations and connections, `arrays.npz` holds their arrays. Weights
are integers, and so are spikes; potentials are in units of weights, of which Spikeport's v has 64.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    AnyPopulation,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Population,
    WeightedConnection,
)
from spikeport.network.connections.linear_map import weighted_shape
from spikeport.runs import Trace

UNIT = 64
"""Of v, per unit of weight."""


def write_task(
    folder: Path,
    network: DeployedNetwork,
    given: Mapping[str, NDArray[Any]],
    trace: Trace,
    *,
    rleaky: bool = False,
) -> None:
    """Write both files for a run whose trace holds all spikes and v.

    Args:
        given: values of each input in every step, (T, B, *shape).
        rleaky: use snnTorch's `RLeaky` where it fits, not a layer beside `Leaky`.
    """
    arrays: dict[str, Any] = {}

    def stored(kind: str, array: NDArray[Any]) -> str:
        key = f"{kind}_{len(arrays)}"
        arrays[key] = np.ascontiguousarray(array)
        return key

    task = {
        "steps": network.steps,
        "order": list(network.order),
        "inputs": [
            {"name": part.name, "shape": part.shape, "values": stored("x", given[part.name])}
            for part in network.inputs
        ],
        "populations": [
            {
                "name": part.name,
                "shape": part.shape,
                "simulated": simulated(network, part),
                "recurrent": inside_rleaky(network, part) if rleaky else None,
                "threshold": getattr(part, "vth", None),
                "spikes": stored("s", trace.spikes[part.name]),
                "v": stored("v", trace.v[part.name] / UNIT),
            }
            for part in network.populations
        ],
        "connections": [
            {
                "name": part.name,
                "source": part.source,
                "target": part.target,
                "delay": part.delay,
                "pool": None if part.pool is None else _pool(part.pool),
                **_layer(network, part),
                "weight": stored("w", _weight(network, part)),
                "bias": _bias(network, part, stored),
            }
            for part in network.weighted_connections
        ],
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    np.savez_compressed(folder / "arrays.npz", **arrays)


def simulated(network: DeployedNetwork, part: AnyPopulation) -> bool:
    """Whether snnTorch's own neurons compute exactly what the population does.

    They integrate without leak, take no current into the next step, and reset to zero. The spikes
    and potentials of all others are given.
    """
    plain = {"decay_u": network.arithmetic.decay_unity, "decay_v": 0, "refractory": 0, "v_init": 0}
    return (
        isinstance(part, Population)
        and part.reset == "zero"
        and all(getattr(part, name) == value for name, value in plain.items())
        and not network.injections_into(part.name)
        and all(one.exponent >= 0 for one in network.weighted_into(part.name))
        and (not part.bias.any() or _bias_carrier(network, part.name) is not None)
    )


def inside_rleaky(network: DeployedNetwork, part: AnyPopulation) -> str | None:
    """The connection that snnTorch's `RLeaky` contains as a Linear layer, if any."""
    own = [one for one in network.weighted_into(part.name) if one.source == part.name]
    fits = len(own) == 1 and isinstance(own[0], Dense) and own[0].pool is None
    return own[0].name if fits and own[0].delay == 1 and simulated(network, part) else None


def _layer(network: DeployedNetwork, part: WeightedConnection) -> dict[str, Any]:
    """Kind and geometry of the torch layer; a sparse connection is a Linear with zeros."""
    shape = weighted_shape(part, network.sources[part.source].shape)
    if isinstance(part, Conv1d | Conv2d):
        kind = "conv1d" if isinstance(part, Conv1d) else "conv2d"
        geometry = {
            name: getattr(part, name) for name in ("stride", "padding", "dilation", "groups")
        }
        return {"layer": kind, "shape": shape, **geometry}
    return {"layer": "linear", "shape": [int(np.prod(shape))]}


def _weight(network: DeployedNetwork, part: WeightedConnection) -> NDArray[Any]:
    mantissas = part.weight
    if not isinstance(part, Conv1d | Conv2d):
        mantissas = part.matrix(weighted_shape(part, network.sources[part.source].shape))
    return mantissas.astype(np.int64) << max(part.exponent, 0)


def _bias_carrier(network: DeployedNetwork, population: str) -> WeightedConnection | None:
    """The connection whose layer can carry a bias for each neuron."""
    found = (one for one in network.weighted_into(population) if isinstance(one, Dense))
    return next((one for one in found if one.source != population), None)


def _bias(network: DeployedNetwork, part: WeightedConnection, stored: Any) -> str | None:
    population = network.by_name[part.target]
    if _bias_carrier(network, part.target) is not part or not simulated(network, population):
        return None
    current = np.broadcast_to(population.bias_current, population.shape).ravel()
    return stored("b", current / UNIT) if current.any() else None


def _pool(pool: Any) -> dict[str, Any]:
    return {name: getattr(pool, name) for name in ("kernel_size", "stride", "padding")}
