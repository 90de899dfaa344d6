"""One file for one `DeployedNetwork`: safetensors, never pickle, with a format version.

The arrays are plain tensors; everything else is JSON in the safetensors header under the key
`spikeport`. The content hash is stored and checked on reading.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
from safetensors import SafetensorError

from spikeport import network as parts
from spikeport.errors import InputError, SpikeportError
from spikeport.files import write_bytes
from spikeport.network import DeployedNetwork, SumPool2d
from spikeport.network_hash import Arrays, describe

FORMAT = "spikeport.network"
VERSION = 1
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
        "format": FORMAT,
        "version": VERSION,
        "content_hash": network.content_hash,
        "provenance": dict(network.provenance),
        "network": data,
    }
    text = json.dumps(header, sort_keys=True)
    write_bytes(path, safetensors.numpy.save(arrays, metadata={"spikeport": text}))


def load_network(path: str | os.PathLike[str]) -> DeployedNetwork:
    """Read the network that `save_network` wrote.

    Raises:
        InputError: the file is missing, damaged, foreign, of an unknown version, or breaks a
            rule of `DeployedNetwork`.
    """
    header, arrays = _read(Path(path))
    version = header.get("version")
    if version != VERSION:
        raise InputError(f"{path}: format version {version!r}, this Spikeport reads {VERSION}")
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


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("spikeport", "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{path}: not a Spikeport network file, or damaged ({error}); "
            "expected the safetensors file that save_network writes"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path}: is safetensors, but not a Spikeport network")
    return header, arrays


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
