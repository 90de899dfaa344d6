"""What Spikeport adds to a netx file, so that it reads back as the same network.

netx itself does not look at it. The network is stored in full; its layers are compared with those
of the file, so that a file that another tool changed is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spikeport.errors import FileFormatError, FileVersionError, SpikeportError
from spikeport.network import DeployedNetwork
from spikeport.network.file import load_built
from spikeport.storage import parse_json
from spikeport.text import quoted

fail = FileFormatError.fail

KEY = "spikeport.netx"
ARRAYS = "spikeport_arrays"
VERSION = 1


def metadata_of(network: DeployedNetwork) -> tuple[str, dict[str, Any]]:
    """The text and the arrays to be stored."""
    data, arrays = network.canonical_form()
    header = {
        "version": VERSION,
        "content_hash": network.content_hash,
        "provenance": dict(network.provenance),
        "network": data,
    }
    return json.dumps(header, sort_keys=True), arrays


def stored_network(text: str, arrays: Mapping[str, Any]) -> DeployedNetwork:
    """The network that was stored.

    Raises:
        InputError: it is damaged, of an unknown version, or does not match its hash.
    """
    try:
        header = parse_json(text)
        if header["version"] != VERSION or isinstance(header["version"], bool):
            FileVersionError.fail(
                f"version is {quoted(header['version'])}, this Spikeport reads {VERSION}"
            )
        network = load_built(header["network"], dict(arrays), header["provenance"])
        stated = header["content_hash"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = error if isinstance(error, SpikeportError) else repr(error)
        raise FileFormatError(f"'/{KEY}' is damaged: {reason}") from error
    if network.content_hash != stated:
        fail(
            f"'/{KEY}': content hash is {network.content_hash[:12]}, the file states "
            f"{quoted(stated)[:12]}: it was changed after writing"
        )
    return network
