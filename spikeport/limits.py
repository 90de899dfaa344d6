"""How much a file may declare, for everything that Spikeport reads.

A file is believed only as far as what it holds: what it declares is compared with its own size
before any memory is taken. The limits hold for hostile files; no honest one comes near them.
"""

from __future__ import annotations

from spikeport.part_rules import fail

FREE_BYTES = 64 * 2**20
"""A file may always unpack to this much; beyond it to at most MAX_RATIO times its own size."""
MAX_RATIO = 256
MAX_DATASET_BYTES = 2 * 2**30
MAX_TOTAL_BYTES = 4 * 2**30
"""One array of an HDF5 file, and all of them."""
MAX_CHUNK_BYTES = 16 * 2**20
"""A chunk of an HDF5 array is unpacked whole, however little of it is wanted."""
DEFLATE_RATIO = 1100
"""Deflate makes at most 1032 bytes of one."""
MAX_OBJECTS = 50_000
"""Objects in an HDF5 file."""
MAX_NAME = 1024
MAX_DEPTH = 16
"""Graphs within graphs."""
FREE_ELEMENTS = 2**22
"""Neurons and input values that a network may always declare without storing any; a Loihi 2 chip
has 2^20 neurons. Beyond it at most ELEMENTS_PER_BYTE for each byte of the file."""
ELEMENTS_PER_BYTE = 16
MAX_PARTS = 4096
"""Nodes, populations, connections or layers of one kind in a network that is read."""
MAX_EDGES = 2**16
FREE_SAMPLE_BYTES = 256 * 2**20
"""A sample of a trace may always be this large as dense arrays; else as MAX_RATIO allows."""
FREE_TRACE_BYTES = 2 * 2**30
TRACE_RATIO = 4096
"""All samples of a trace as dense arrays: no more than FREE_TRACE_BYTES, or so many for each byte
of the file. They are read in parts; this bounds the time that takes."""
FREE_FRAME_BYTES = 512 * 2**20
BYTES_PER_EVENT = 1024
"""Memory for the frames that recordings of events are counted into: no more than
FREE_FRAME_BYTES, or so much for each event."""
COUNTING_BYTES = 24
"""Per cell of the frames of one recording, while its events are counted."""
MAX_PIXELS = 2**26
MAX_TEXT_BYTES = 2**20
"""A TOML file."""
MAX_NESTING = 32
"""Tables within tables."""


def check_bytes(where: str, declared: int, held: int) -> None:
    """Refuse data that unpack to far more than the `held` bytes they are packed in.

    Raises:
        InputError: more than FREE_BYTES and more than MAX_RATIO times `held`.
    """
    if declared > max(FREE_BYTES, MAX_RATIO * held):
        fail(
            f"{where} declares {declared} bytes in a file of {held}, more than {MAX_RATIO} times "
            "its size"
        )


def check_elements(where: str, declared: int, held: int) -> None:
    """Refuse neurons or inputs beyond what a file of `held` bytes can stand for.

    Raises:
        InputError: more than FREE_ELEMENTS and more than ELEMENTS_PER_BYTE times `held`.
    """
    if declared > (limit := max(FREE_ELEMENTS, ELEMENTS_PER_BYTE * held)):
        fail(
            f"{where} declares {declared} elements, the limit for a file of {held} bytes is {limit}"
        )


def check_count(where: str, count: int, limit: int) -> None:
    """Refuse more parts of one kind than `limit`.

    Raises:
        InputError: there are more.
    """
    if count > limit:
        fail(f"{where}: there are {count}, the limit is {limit}")
