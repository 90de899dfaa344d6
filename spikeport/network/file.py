"""Files of a `DeployedNetwork`: safetensors, never pickle, with a format version.

Arrays are plain tensors; everything else is JSON in the safetensors header under the key
`spikeport`. The content hash and the digest of the file are stored and checked on reading.
"""

from __future__ import annotations

import os
from typing import Any

from spikeport.errors import FileFormatError, SpikeportError
from spikeport.network.arithmetic import LOIHI, read_arithmetic
from spikeport.network.connections import KINDS
from spikeport.network.connections.bias import BiasInjection
from spikeport.network.connections.pool import SumPool2d
from spikeport.network.inputs import Input
from spikeport.network.network import DeployedNetwork
from spikeport.network.neurons.registry import MODELS
from spikeport.network.readout import Readout
from spikeport.storage import Format, check_count, check_elements, read_tensors, write_tensors
from spikeport.storage.canonical import Arrays, array_fields
from spikeport.storage.limits import MAX_PARTS

FORMAT = Format(
    *("spikeport.network", 1, "Spikeport network", "save_network"),
    ("content_hash", "provenance", "network"),
)
SUFFIX = ".spikeport"
_PARTS: tuple[type[Any], ...] = (Input, *KINDS, BiasInjection, Readout, SumPool2d)
_TYPES: dict[str, type[Any]] = {
    **{kind.__name__: kind for kind in _PARTS},
    **{model.__name__: model for model in MODELS},
}
_GROUPS = ("inputs", "populations", "connections", "readouts")


def save_network(network: DeployedNetwork, path: str | os.PathLike[str]) -> None:
    """Write `network` to `path` atomically.

    Raises:
        OutputError: the file cannot be written; an existing file is left unchanged.
    """
    data, arrays = network.canonical_form()
    header = {
        "content_hash": network.content_hash,
        "provenance": dict(network.provenance),
        "network": data,
    }
    write_tensors(path, FORMAT, header, arrays)


def load_network(path: str | os.PathLike[str]) -> DeployedNetwork:
    """Read a network written by `save_network`.

    Raises:
        InputError: the file is missing, damaged, not a network file, of an unknown version, or
            breaks a rule of `DeployedNetwork`.
    """
    header, arrays = read_tensors(path, FORMAT)
    try:
        network = load_built(header["network"], arrays, header["provenance"])
        stored = header["content_hash"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = error if isinstance(error, SpikeportError) else f"bad header ({error!r})"
        raise FileFormatError(f"{path}: {reason}") from error
    if network.content_hash != stored:
        raise FileFormatError(
            f"{path}: content hash is {network.content_hash[:12]}, but the file states "
            f"{str(stored)[:12]}: it was changed after writing"
        )
    return network


def build(data: dict[str, Any], arrays: Arrays, provenance: dict[str, str]) -> DeployedNetwork:
    """The network with this `canonical_form`."""
    if unknown := data.keys() - {"steps", "arithmetic", *_GROUPS}:
        raise FileFormatError(f"network: unknown key {min(unknown)[:40]!r}")
    used: set[str] = set()
    groups = {}
    for group in _GROUPS:
        check_count(f"network: {group}", len(data[group]), MAX_PARTS)
        groups[group] = tuple(_build_part(item, arrays, used) for item in data[group])
    if unknown := arrays.keys() - used:
        raise FileFormatError(f"network: array {min(unknown)[:80]!r} belongs to no part")
    arithmetic = read_arithmetic(data["arithmetic"]) if "arithmetic" in data else LOIHI
    return DeployedNetwork(
        steps=data["steps"], provenance=provenance, arithmetic=arithmetic, **groups
    )


def load_built(data: dict[str, Any], arrays: Arrays, provenance: dict[str, str]) -> DeployedNetwork:
    """Like `build`, for the content of a file, within `storage.limits`."""
    network = build(data, arrays, provenance)
    stored = sum(array.nbytes for array in arrays.values())
    check_elements("network: inputs", sum(part.size for part in network.inputs), stored)
    return network


def _build_part(data: dict[str, Any], arrays: Arrays, used: set[str]) -> Any:
    """Build one part with its arrays and add their names to `used`.

    A file stores every array of a part in full, so a part cannot declare more than the file holds.
    """
    fields = dict(data)
    kind = _TYPES[fields.pop("type")]
    for key, value in fields.items():
        if isinstance(value, list):
            fields[key] = tuple(value)
    if (pool := fields.get("pool")) is not None:
        fields["pool"] = _pool(pool)
    name = fields.get("name", "")
    for key in array_fields(kind):
        if (array := arrays.get(f"{name}.{key}")) is None:
            raise FileFormatError(f"'{name}': its {key} is missing")
        if key == "bias" and array.shape != fields["shape"]:
            raise FileFormatError(
                f"'{name}': bias has shape {array.shape}, but the population {fields['shape']}"
            )
        fields[key] = array
        used.add(f"{name}.{key}")
    return kind(**fields)


def _pool(data: dict[str, Any]) -> SumPool2d:
    return SumPool2d(**{key: tuple(value) for key, value in data.items() if key != "type"})
