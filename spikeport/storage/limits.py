"""Limits on what the files that Spikeport reads may declare.

Sizes that a file declares are compared with the size of the file itself before any memory is
allocated. The limits are meant for hostile files; no legitimate file comes near them.
"""

from __future__ import annotations

from spikeport.errors import FileLimitError

fail = FileLimitError.fail


FREE_BYTES = 64 * 2**20
"""A file may always unpack to this size; beyond that, only up to MAX_RATIO times its own size."""
MAX_RATIO = 256
MAX_DATASET_BYTES = 2 * 2**30
MAX_TOTAL_BYTES = 4 * 2**30
"""Limits for one HDF5 dataset, and for all datasets of a file together."""
MAX_CHUNK_BYTES = 16 * 2**20
"""An HDF5 chunk is always unpacked as a whole, however little of it is read."""
DEFLATE_RATIO = 1100
"""Deflate expands one byte to at most 1032."""
MAX_OBJECTS = 50_000
"""Objects in an HDF5 file."""
MAX_NAME = 1024
MAX_DEPTH = 16
"""Nesting depth of subgraphs."""
FREE_ELEMENTS = 2**22
"""Neurons and input values that any network may declare, whatever the size of its file (a Loihi 2
chip has 2^20 neurons); beyond that, at most ELEMENTS_PER_BYTE per byte of the file."""
ELEMENTS_PER_BYTE = 16
MAX_PARTS = 4096
"""Nodes, populations, connections or layers in one network file, each counted separately."""
MAX_EDGES = 2**16
FREE_SAMPLE_BYTES = 256 * 2**20
"""Dense size that one sample of a trace may always have; beyond that, MAX_RATIO applies."""
FREE_TRACE_BYTES = 2 * 2**30
TRACE_RATIO = 4096
"""Dense size of all samples of a trace: at most FREE_TRACE_BYTES, or this many bytes per byte of
the file. A trace is read in parts; the limit bounds the time this takes."""
FREE_FRAME_BYTES = 512 * 2**20
BYTES_PER_EVENT = 1024
"""Memory for the frames that event recordings are binned into: at most FREE_FRAME_BYTES, or this
much per event."""
COUNTING_BYTES = 24
"""Temporary memory per cell of the frames while the events of one recording are binned."""
MAX_PIXELS = 2**26
MAX_IMAGE_BYTES = 8 * MAX_PIXELS
"""Size of an image file, compressed or not."""
MAX_INTEGER = 2**64
"""The largest magnitude of an integer in JSON and TOML."""
MAX_TEXT_BYTES = 2**20
"""Size of a TOML file."""
MAX_NESTING = 32
"""Nesting depth of TOML tables, and of objects and arrays in JSON (Python's own limit depends on
its version)."""


def check_bytes(where: str, declared: int, file_bytes: int) -> None:
    """Refuse data that unpack to far more than the size of their file.

    Raises:
        InputError: `declared` exceeds max(FREE_BYTES, MAX_RATIO * file_bytes).
    """
    if declared > max(FREE_BYTES, MAX_RATIO * file_bytes):
        fail(
            f"{where} declares {declared} bytes in a file of {file_bytes}, more than {MAX_RATIO} "
            "times its size"
        )


def check_elements(where: str, declared: int, file_bytes: int) -> None:
    """Refuse more neurons or input values than a file of this size may declare.

    Raises:
        InputError: `declared` exceeds max(FREE_ELEMENTS, ELEMENTS_PER_BYTE * file_bytes).
    """
    if declared > (limit := max(FREE_ELEMENTS, ELEMENTS_PER_BYTE * file_bytes)):
        fail(
            f"{where} declares {declared} elements, the limit for a file of {file_bytes} bytes is "
            f"{limit}"
        )


def check_count(where: str, count: int, limit: int) -> None:
    """Refuse a count above `limit`.

    Raises:
        InputError: the count exceeds the limit.
    """
    if count > limit:
        fail(f"{where}: there are {count}, the limit is {limit}")
