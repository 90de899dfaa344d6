"""Read the HDF5 of a NIR file in a separate process."""

from __future__ import annotations

import os

from spikeport.export.nir.hdf5 import RawFile, RawGraph, RawNode, read_raw
from spikeport.storage import read_packed, write_packed


def read_isolated(path: str | os.PathLike[str], metadata_key: str) -> RawFile:
    """Like `read_raw`, in another process, so that no file can hang or crash this one.

    Raises:
        InputError: as for `read_raw`; or the child crashed or exceeded its time limit.
    """
    entry = f"{__name__}:write_raw"
    made = (RawFile, RawGraph, RawNode)
    file: RawFile = read_packed(path, "NIR", entry, (metadata_key,), made)
    return file


def write_raw(path: str, metadata_key: str) -> None:
    """Run in the child process: read the file and write its content to standard output."""
    write_packed(read_raw(path, metadata_key))
