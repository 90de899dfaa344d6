"""Damage to files, to their bytes and to their structure."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np

from spikeport.storage import sealed
from spikeport.storage.hdf5_seal import SIZE
from tests.fuzz.kinds import Kind
from tests.fuzz.tensors import Rng, change_json, change_tensors, pick

HUGE = (2**30, 2**31 - 1, 2**31, 2**40, 2**62)
WORDS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 16, 2**64 - 1)


def damage(kind: Kind, content: bytes, rng: Rng) -> tuple[str, bytes]:
    """What was done, and the damaged file."""
    if kind.form != "bytes" and rng.random() < 0.6:
        return kind.form, FORMS[kind.form](content, rng)
    return "bytes", change_bytes(content, rng)


def change_bytes(content: bytes, rng: Rng) -> bytes:
    """Flipped, overwritten, cut out, doubled or inserted bytes, a word, or a shorter file."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(data) + 1))
        length = min(int(2 ** rng.uniform(0, 9)), len(data) - place)
        match rng.integers(9):
            case 0 | 1 if place < len(data):
                data[place] ^= 1 << int(rng.integers(8))
            case 2:
                data[place : place + length] = rng.bytes(length)
            case 3:
                data[place : place + length] = bytes([pick((0, 255, 32, 91), rng)]) * length
            case 4:
                del data[place : place + length]
            case 5:
                data[place:place] = data[place : place + length]
            case 6:
                word = struct.pack("<Q", pick(WORDS, rng))
                data[place : place + 8] = word if rng.random() < 0.7 else word[:4]
            case 7:
                del data[place:]
            case 8:
                other = int(rng.integers(len(data) + 1))
                data[place : place + length] = data[other : other + length]
        if not data:
            break
    return bytes(data)


def change_hdf5(content: bytes, rng: Rng) -> bytes:
    """An object, a link, a type, a shape, a value or a JSON text changed, mostly sealed anew."""
    buffer = io.BytesIO(content[:-SIZE] if content[-SIZE:].startswith(b"\nspikeport") else content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(int(rng.integers(1, 3))):
            name = pick(names, rng)
            if name in file:
                _change_object(file, name, rng)
    data = buffer.getvalue()
    return sealed(data) if rng.random() < 0.5 else data


def _change_object(file: h5py.File, name: str, rng: Rng) -> None:
    item = file[name]
    case = int(rng.integers(10))
    if case == 0:
        del file[name]
    elif case == 1:
        target = pick((h5py.SoftLink("/"), h5py.ExternalLink("x", "/"), file, file["/"]), rng)
        del file[name]
        file[name] = target
    elif case == 2:
        item.attrs["x"] = pick((1, "x", np.zeros(9), b"\xff"), rng)
    elif case == 3 and isinstance(item, h5py.Group):
        further = pick(("x", "type", "values", "neurons"), rng)
        if further not in item:
            item[further] = 1
    elif isinstance(item, h5py.Group):
        for number in range(int(rng.integers(1, 200))):
            item.require_group(f"g{number}")
    elif (item.size or 2**62) > 2**20:
        _replace_data(file, name, rng)
    elif case < 7 and (name == "header" or (item.dtype.kind == "O" and item.shape == ())):
        raw = item[()]
        text = raw.decode() if isinstance(raw, bytes) else raw.tobytes().decode()
        made = change_json(text, rng) if text[:1] == "{" else pick(("LIF", "", "9", "x" * 99), rng)
        del file[name]
        file[name] = np.frombuffer(made.encode(), np.uint8) if name == "header" else made
    elif case < 7 and item.dtype.kind in "iuf" and item.size:
        values = np.array(item[()]).reshape(-1)
        values[rng.integers(values.size)] = (
            pick((0, 1, -1, 100, np.nan, np.inf, 1e30), rng)
            if (values.dtype.kind == "f")
            else pick((0, 1, 3, 100), rng)
        )
        item[...] = values.reshape(item.shape)
    else:
        _replace_data(file, name, rng)


def _replace_data(file: h5py.File, name: str, rng: Rng) -> None:
    """Data of another type or shape, or with a false declaration."""
    shape, dtype = file[name].shape or (), file[name].dtype
    dtype = np.dtype("f4") if dtype.kind == "O" else dtype
    huge = pick(HUGE, rng)
    group, _, leaf = name.rpartition("/")
    place = file[group] if group else file
    del place[leaf]
    match rng.integers(8):
        case 0:
            place.create_dataset(leaf, (huge,), dtype, chunks=(1000,), compression="gzip")
        case 1:
            place.create_dataset(
                leaf, (*shape[:-1], huge) if shape else (huge,), dtype, chunks=True
            )
        case 2:
            place.create_dataset(
                leaf, (1,), dtype, maxshape=(None,), chunks=(2**28 // dtype.itemsize,)
            )
        case 3:
            place[leaf] = np.zeros(shape, pick(("i1", "u8", "f8", "c8", "S5", "?"), rng))
        case 4:
            place[leaf] = pick(
                ("x", b"x", h5py.Empty("f4"), np.zeros((0,)), np.zeros((2, 2, 2))), rng
            )
        case 5:
            place.create_dataset(leaf, data=[b"x", b"yy"], dtype=h5py.string_dtype())
        case 6:
            place.create_dataset(leaf, data=np.zeros(3, [("a", "i4"), ("b", "f4")]))
        case 7:
            place[leaf] = np.float32(rng.normal())


SENSORS = ([2, -8, 8], [2, 2**15, 2**15], [8], [2, 2**40, 2], [0, 0, 0])
SHAPES = ("(1073741824,)", "(-1,)", f"({2**62}, {2**62})", "()", "(0, 9)", "[" * 200, "(1e9,)")
HEADS = (b"", b"\x93NUMPY", b"\x93NUMPY\x03\0", b"\x93NUMPY\x09\0" + bytes(99))
DIRECTORY = (
    *((8, 1), (8, 0x41), (10, 99), (10, 93), (10, 1), (20, 2**31), (24, 2**31), (24, 5), (42, 7)),
)
"""Places in a zip entry and what to put there: flags, method, sizes and offset."""
METHODS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)


def change_npz(content: bytes, rng: Rng) -> bytes:
    """An array of another type, shape or value, one too few or many, a bomb, or a bad header."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    name = pick(list(arrays), rng)
    array = arrays[name]
    raw: dict[str, bytes] = {}
    match rng.integers(12):
        case 0:
            del arrays[name]
        case 1:
            kind = pick(("i1", "u8", "f4", "c8", "U9", "?", ">i4", "S3"), rng)
            with warnings.catch_warnings(action="ignore"):
                arrays[name] = array.astype(kind)
        case 2:
            arrays[name] = pick((array[:-1], array[None], array.reshape(-1)[:1], array[:0]), rng)
        case 3:
            arrays[name] = np.array(array, np.int64)
            value = pick((-1, 10**9, 2**31, 2**62, -(2**62)), rng)
            arrays[name].flat[rng.integers(array.size)] = value
        case 4:
            arrays[name] = array.astype(float)
            arrays[name].flat[0] = pick((np.nan, np.inf, 1e300), rng)
        case 5:
            arrays[name] = np.zeros(pick(((3000, 3000), (2**22,), (4, 2**20)), rng), array.dtype)
        case 6:
            arrays[name] = np.array(pick((["a", "b"], 7, -3, [0, -1, 5], [2**15] * 3), rng))
        case 7:
            arrays["sensor"] = np.array(pick(SENSORS, rng))
        case 8:
            arrays[name] = np.array([[1], [2, 3]], dtype=object)
        case 9 | 10:
            header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': %s, }}"
            text = (header % pick(SHAPES, rng)).encode().ljust(117) + b"\n"
            raw[name] = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + array.tobytes()
        case 11:
            raw[name] = pick(HEADS, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", pick(METHODS, rng)) as archive:
        for key, value in arrays.items():
            member = io.BytesIO()
            np.save(member, value)
            archive.writestr(f"{key}.npy", raw.get(key, member.getvalue()))
    data = bytearray(buffer.getvalue())
    if rng.random() < 0.3:
        entry = pick([found.start() for found in re.finditer(b"PK\1\2", data)], rng)
        place, value = pick(DIRECTORY, rng)
        if place < 20:  # the entry itself holds it too
            own = struct.unpack_from("<I", data, entry + 42)[0] + place - 2
            struct.pack_into("<H", data, own, value)
        struct.pack_into("<I" if place >= 20 else "<H", data, entry + place, value)
    return bytes(data)


TOML = (
    *("true", "false", "0", "-1", "3.9", '"7"', '""', "inf", "nan", "-inf", "1e400", str(2**40)),
    *(str(2**70), "1" + "0" * 400, "9" * 5000, "[]", "{}", "[" * 3000, "[" * 60 + "]" * 60),
    *("{a=" * 1000 + "1" + "}" * 1000, "1979-05-27", "[1, 'a']", '"\\u001b[31m"', '"mlp"', "0x10"),
)
LINES = (".".join("a" * 5000) + " = 1", "[a.b]", "[[a]]", "\x00")


def change_toml(content: bytes, rng: Rng) -> bytes:
    """Lines removed, doubled, moved or renamed, or another value."""
    lines = content.decode().splitlines()
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(lines)))
        key, equals, _ = lines[place].partition("=")
        match rng.integers(7):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[place])
            case 2 if equals:
                lines[place] = f"{key}x ={lines[place].partition('=')[2]}"
            case 3:
                lines.insert(
                    place, pick((".".join("a" * 5000) + " = 1", "[a.b]", "[[a]]", "\x00"), rng)
                )
            case 4:
                lines[place] = re.sub(r"\d", str(rng.integers(10)), lines[place], count=1)
            case _ if equals:
                lines[place] = f"{key}= {pick(TOML, rng)}"
        if not lines:
            break
    return "\n".join(lines).encode()


SIZES = (0, 1, 2**13, 2**15, 2**31 - 1, 2**31)


def change_png(content: bytes, rng: Rng) -> bytes:
    """Another size, depth or colour type, with a checksum that is right."""
    data = bytearray(content)
    if rng.random() < 0.5:
        struct.pack_into(">I", data, pick((16, 20), rng), pick(SIZES, rng))
    else:
        data[pick((24, 25, 28), rng)] = pick((0, 1, 2, 3, 4, 6, 8, 16), rng)
    struct.pack_into(">I", data, 29, zlib.crc32(bytes(data[12:29])))
    return bytes(data)


FORMS: Mapping[str, Callable[[bytes, Rng], bytes]] = {
    "tensors": change_tensors,
    "hdf5": change_hdf5,
    "npz": change_npz,
    "toml": change_toml,
    "png": change_png,
}


def originals(folder: Path, kinds: Mapping[str, Kind]) -> dict[str, bytes]:
    """A valid file of each kind."""
    found = {}
    for name, kind in kinds.items():
        place = folder / name.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        kind.make(place / kind.file)
        found[name] = (place / kind.file).read_bytes()
    return found
