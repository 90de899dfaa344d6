"""Save and load the state of a paused stream."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from spikeport.errors import FileFormatError, InputError
from spikeport.network import DeployedNetwork
from spikeport.runs.stream_state import VARIABLES, StreamState, check_state, frozen
from spikeport.storage import Format, read_tensors, write_tensors
from spikeport.storage.canonical import digest

FORMAT = Format(
    *("spikeport.stream", 1, "Spikeport stream state", "save_state"), ("state", "content_hash")
)
_FACTS = ("network_hash", "samples", "step")


def save_state(state: StreamState, path: str | os.PathLike[str]) -> None:
    """Write `state` to `path`, completely or not at all.

    Raises:
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    facts = {name: getattr(state, name) for name in _FACTS}
    arrays = {
        f"{variable}.{name}": array
        for variable, table in state.tables.items()
        for name, array in table.items()
    }
    header = {"state": facts, "content_hash": digest(facts, arrays)}
    write_tensors(path, FORMAT, header, arrays)


def load_state(path: str | os.PathLike[str], network: DeployedNetwork) -> StreamState:
    """Read a state of `network` written by `save_state`.

    Raises:
        InputError: the file is missing, damaged, of another kind or unknown version, or its state
            does not belong to `network`.
    """
    header, arrays = read_tensors(path, FORMAT)
    tables: dict[str, dict[str, NDArray[Any]]] = {variable: {} for variable in VARIABLES}
    try:
        facts: dict[str, Any] = {name: header["state"][name] for name in _FACTS}
        if len(header["state"]) > len(_FACTS):
            raise KeyError(f"state has {sorted(header['state'])}")
        for key, array in arrays.items():
            variable, _, name = key.partition(".")
            tables[variable][name] = array
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"{path}: bad header ({error!r})") from error
    if header.get("content_hash") != digest(facts, arrays):
        raise FileFormatError(f"{path}: does not match its stored content hash: it was changed")
    state = StreamState.of(tables, **facts)
    try:
        check_state(network, state)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error
    return frozen(state)
