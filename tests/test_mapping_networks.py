"""Maps of large networks: recounted, and against what Intel's compiler printed for PilotNet."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.networks import resnet18, vgg11
from spikeport import map_network
from spikeport.mapping import Resource
from spikeport.network import DeployedNetwork
from tests.helpers.map_checker import errors
from tests.helpers.pilotnet import FILE, pilotnet

DATA = os.environ.get("SPIKEPORT_DATA")
CORES = {
    "layer0": 13, "layer1": 25, "layer2": 13, "layer3": 3, "layer4": 3, "layer5": 2,
    "layer7": 12, "layer8": 1, "layer9": 1, "layer10": 1,
}  # fmt: skip
"""Cores of each layer of PilotNet-SNN on Loihi 2, printed in lava-dl's benchmark notebook
(tutorials/lava/lib/dl/netx/pilotnet_snn/benchmark.ipynb); 74 in total."""
WORDS = {
    "layer1": 81, "layer2": 864, "layer3": 1620, "layer4": 2160, "layer5": 2880,
    "layer8": 1300, "layer9": 150, "layer10": 10,
}  # fmt: skip
"""Synapse memory of a core of each layer, in the same table; of layer 7 see the test."""


@pytest.fixture(scope="module")
def metered() -> DeployedNetwork:
    file = Path(DATA or "") / FILE
    if not DATA or not file.exists():
        pytest.skip("SPIKEPORT_DATA has no lava-dl/pilotnet_snn")
    return pilotnet(file)


@pytest.mark.parametrize("share_cores", [True, False])
@pytest.mark.parametrize("network", [resnet18, vgg11])
def test_image_networks_on_loihi_2(network: object, share_cores: bool) -> None:
    built = network(4)  # type: ignore[operator]
    made = map_network(built, "loihi2", share_cores=share_cores)
    assert errors(built, made) == []
    assert made.lower_bound <= len(made.cores)


@pytest.mark.slow
def test_resnet18_on_loihi_1() -> None:
    network = resnet18(4)
    made = map_network(network, "loihi1")
    assert errors(network, made) == []
    assert made.lower_bound == 545  # neurons


@pytest.mark.data
@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_pilotnet_is_recounted(metered: DeployedNetwork, target: str) -> None:
    made = map_network(metered, target)
    assert errors(metered, made) == []
    assert sum(core.usage[Resource.NEURONS] for core in made.cores) == 158_509


@pytest.mark.data
def test_cores_of_pilotnet_are_close_to_those_that_were_used(metered: DeployedNetwork) -> None:
    """Within 20 %, with layers on cores of their own as in the printed table."""
    made = map_network(metered, "loihi2", share_cores=False)
    assert errors(metered, made) == []
    used = sum(CORES.values())
    assert used == 74
    assert 0.8 * used <= len(made.cores) <= 1.2 * used
    cores = Counter(piece.population for piece in made.pieces)
    differing = {name: cores[name] for name in CORES if cores[name] != CORES[name]}
    assert differing == {"layer2": 10, "layer7": 5}


@pytest.mark.data
def test_synapse_memory_of_pilotnet_is_close_to_what_was_printed(
    metered: DeployedNetwork,
) -> None:
    """In words of 64 bits; the compiler's widths of weights are not known."""
    made = map_network(metered, "loihi2", share_cores=False)
    bits = {piece.population: piece.demand[Resource.MEMORY] for piece in made.pieces}
    ratio = {name: bits[name] / 64 / words for name, words in WORDS.items() if name != "layer2"}
    assert all(0.6 <= one <= 1.25 for one in ratio.values()), ratio
