"""Damage to JSON values and to safetensors files."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from spikeport.errors import SpikeportError
from spikeport.network.file import build
from spikeport.storage.tensors import DIGEST, with_digest

Rng = np.random.Generator
RAW = (
    *("null", "true", "false", "0", "-1", "1", "2", "3.9", "1.0", '"7"', '""', '"false"', "1e400"),
    *("NaN", "Infinity", "-Infinity", str(2**31), str(2**40), str(2**63), str(2**70)),
    *("1" + 400 * "0", '"spikes"', "[0, 1]"),
    *("1e308", "[]", "{}", "[[]]", "[" * 3000, "[" * 3000 + "]" * 3000, '{"a":' * 2000),
    *('"\\u001b[31m"', '"\\ud800"', '"' + "x" * 100_000 + '"', "-0.0", "1e-320", "[1073741824]"),
    *("[1048576, 1048576]", '{"a": 1, "a": 2}', "[1, 1, 1, 1]", '"zero"', "true, 3", "9" * 5000),
)  # fmt: skip
"""Values as they appear in a JSON text; some are not valid JSON."""
_HOLE = "\0hole"


def change_json(text: str, rng: Rng) -> str:
    """The text of a JSON document with one value changed, removed, renamed or repeated."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):  # changed before
        return str(pick(RAW, rng))
    places = list(_places(document))
    if not places:
        return str(pick(RAW, rng))
    for _ in range(rng.integers(1, 3)):
        holder, key = places[rng.integers(len(places))]
        if isinstance(holder, list) and key >= len(holder):
            continue
        match rng.integers(6):
            case 0 if key in holder or isinstance(holder, list):
                holder.pop(key)
            case 1 if isinstance(holder, dict) and key in holder:
                holder[f"{key}x"] = holder.pop(key)
            case 2:
                other, name = places[rng.integers(len(places))]
                if isinstance(other, dict) and name in other:
                    holder[key] = json.loads(json.dumps(other[name]))
            case 3 if isinstance(holder[key] if isinstance(holder, list) else holder.get(key), int):
                holder[key] = int(holder[key]) + int(rng.choice([-1, 1, 2**20, 2**32]))
            case _:
                holder[key] = _HOLE
                text = json.dumps(document)
                return text.replace(json.dumps(_HOLE), pick(RAW, rng), 1)
    return json.dumps(document)


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def pick(options: Any, rng: Rng) -> Any:
    return options[int(rng.integers(len(options)))]


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(table: Any, data: bytes) -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


def change_tensors(content: bytes, rng: Rng) -> bytes:
    """A safetensors file with damage to its table, its document or its data."""
    table, data = split(content)
    metadata = table["__metadata__"]
    (key,) = metadata
    match rng.integers(6):
        case 0:  # the table of tensors
            return join(change_json(json.dumps(table), rng).encode("utf-8", "replace"), data)
        case 1:  # another type, of the same width if there is one
            name = pick([name for name in table if name != "__metadata__"], rng)
            table[name]["dtype"] = pick(("BF16", "F16", "I16", "U8", "F8_E4M3", "F32", "I64"), rng)
        case 2:  # a tensor more
            table["more"] = {
                "dtype": "U8",
                "shape": [8],
                "data_offsets": [len(data), len(data) + 8],
            }
            data += bytes(8)
        case 3:  # the length of the table
            length = pick((0, 1, 2**20, 2**31, 2**63, 2**64 - 1), rng)
            return struct.pack("<Q", length) + join(table, data)[8:]
        case 4:
            metadata[key] = change_json(metadata[key], rng)
        case 5:  # with the digest corrected
            metadata[key] = _forged(change_json(metadata[key], rng), table, data)
    return join(table, data)  # fmt: skip


def _forged(text: str, table: dict[str, Any], data: bytes) -> str:
    types = {"I16": "<i2", "I32": "<i4", "F32": "<f4", "U8": "u1", "I64": "<i8", "F64": "<f8"}
    arrays = {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(
            entry["shape"]
        )
        for name, entry in table.items()
        if name != "__metadata__"
    }
    try:
        header = json.loads(text)
        header.pop(DIGEST, None)
        if "content_hash" in header and "network" in header:
            built = build(header["network"], arrays, header["provenance"])
            header["content_hash"] = built.content_hash
        return json.dumps(with_digest(header, arrays))
    except (SpikeportError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return text  # damaged, though without a valid digest
