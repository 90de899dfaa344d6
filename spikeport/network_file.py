"""One file for one `DeployedNetwork`: safetensors, never pickle, with a format version.

The arrays are plain tensors; everything else is JSON in the safetensors header under the key
`spikeport`. The content hash is stored and checked on reading.
"""

from __future__ import annotations

import os
from typing import Any

from spikeport import network as parts
from spikeport.errors import InputError, SpikeportError
from spikeport.network import DeployedNetwork, SumPool2d
from spikeport.network_hash import Arrays, describe
from spikeport.tensor_file import Format, read_tensors, write_tensors

FORMAT = Format("spikeport.network", 1, "Spikeport network", "save_network")
SUFFIX = ".spikeport"
_TYPES = {
    kind.__name__: kind
    for kind in (
        parts.Input,
        parts.Population,
        parts.Dense,
        parts.Conv1d,
        parts.Conv2d,
        parts.BiasInjection,
        parts.Readout,
        parts.SumPool2d,
    )
}


def save_network(network: DeployedNetwork, path: str | os.PathLike[str]) -> None:
    """Write `network` to `path`, whole or not at all.

    Raises:
        OutputError: the file cannot be written; what stood there before is unharmed.
    """
    data, arrays = describe(network)
    header = {
        "content_hash": network.content_hash,
        "provenance": dict(network.provenance),
        "network": data,
    }
    write_tensors(path, FORMAT, header, arrays)


def load_network(path: str | os.PathLike[str]) -> DeployedNetwork:
    """Read the network that `save_network` wrote.

    Raises:
        InputError: the file is missing, damaged, foreign, of an unknown version, or breaks a
            rule of `DeployedNetwork`.
    """
    header, arrays = read_tensors(path, FORMAT)
    try:
        network = build(header["network"], arrays, header["provenance"])
        stored = header["content_hash"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = error if isinstance(error, SpikeportError) else f"bad header ({error!r})"
        raise InputError(f"{path}: {reason}") from error
    if network.content_hash != stored:
        raise InputError(
            f"{path}: content hash is {network.content_hash[:12]}, but the file states "
            f"{str(stored)[:12]}: it was changed after writing"
        )
    return network


def build(data: dict[str, Any], arrays: Arrays, provenance: dict[str, str]) -> DeployedNetwork:
    """The network that `network_hash.describe` took apart."""
    groups = {
        group: tuple(_build_part(item, arrays) for item in data[group])
        for group in ("inputs", "populations", "connections", "readouts")
    }
    return DeployedNetwork(steps=data["steps"], provenance=provenance, **groups)


def _build_part(data: dict[str, Any], arrays: Arrays) -> Any:
    fields = dict(data)
    kind = _TYPES[fields.pop("type")]
    for key, value in fields.items():
        if isinstance(value, list):
            fields[key] = tuple(value)
    if (pool := fields.get("pool")) is not None:
        fields["pool"] = _pool(pool)
    name = fields.get("name", "")
    for key in ("weight", "bias"):
        if f"{name}.{key}" in arrays and key in kind.__dataclass_fields__:
            fields[key] = arrays[f"{name}.{key}"]
    return kind(**fields)


def _pool(data: dict[str, Any]) -> SumPool2d:
    return SumPool2d(**{key: tuple(value) for key, value in data.items() if key != "type"})
