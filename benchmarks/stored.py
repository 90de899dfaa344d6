"""The folder that stores a prepared network and its input for all simulators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork, load_network, save_network

_NETWORK, _SPIKES, _FACTS = "network.spikeport", "spikes.npy", "facts.json"


def store(
    folder: Path, network: DeployedNetwork, spikes: NDArray[np.uint8], facts: Mapping[str, Any]
) -> None:
    """Write a network, its input (T, B, *shape) and facts about both."""
    save_network(network, folder / _NETWORK)
    np.save(folder / _SPIKES, spikes)
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def load(folder: Path) -> tuple[DeployedNetwork, NDArray[np.uint8]]:
    """The network and its input."""
    spikes = np.load(folder / _SPIKES, allow_pickle=False)
    return load_network(folder / _NETWORK), spikes


def load_facts(folder: Path) -> dict[str, Any]:
    """The facts about both."""
    found: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    return found
