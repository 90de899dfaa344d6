"""Maps of large networks: recounted, and against what Intel's compiler printed for PilotNet."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.networks import dense_chain, resnet18, vgg11
from spikeport import map_network
from spikeport.mapping import Resource
from spikeport.network import Conv2d, DeployedNetwork, Input, Population, Readout, Shape
from tests.helpers.map_checker import errors
from tests.helpers.pages import page, table
from tests.helpers.pilotnet import CORES, FILE, WORDS, pilotnet

DATA = os.environ.get("SPIKEPORT_DATA")


@pytest.fixture(scope="module")
def metered() -> DeployedNetwork:
    file = Path(DATA or "") / FILE
    if not DATA or not file.exists():
        pytest.skip("SPIKEPORT_DATA has no lava-dl/pilotnet_snn")
    return pilotnet(file)


@pytest.mark.parametrize("share_cores", [True, False])
@pytest.mark.parametrize("network", [pytest.param(resnet18, marks=pytest.mark.slow), vgg11])
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
    assert made.lower_bounds[Resource.NEURONS] == 545
    assert made.lower_bound == 730  # memory: every piece stores the lists of its own positions
    assert len(made.cores) < 2200


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
def test_synapse_memory_of_pilotnet_is_what_was_printed(metered: DeployedNetwork) -> None:
    """In words of 64 bits; what layers 2 and 3 store beyond their weights is not explained."""
    made = map_network(metered, "loihi2", share_cores=False)
    words = {piece.population: piece.demand[Resource.MEMORY] / 64 for piece in made.pieces}
    differing = {name: words[name] for name, printed in WORDS.items() if words[name] != printed}
    assert differing == {"layer2": 648, "layer3": 1296}
    assert words["layer7"] == 12_800  # for 20 neurons; printed for 17


def test_the_map_of_the_mnist_notebook() -> None:
    """784-128-64-10 of lava-dl's netx/mnist/run.ipynb: 5 cores, and shares of their memory."""
    made = map_network(dense_chain(784, 128, 64, 10, steps=2), "loihi2", share_cores=False)
    assert len(made.cores) == 5
    shares = {
        piece.population: f"{piece.demand[Resource.MEMORY] / 1_024_000:.2%}"
        for piece in made.pieces
    }
    assert shares == {"layer00": "68.60%", "layer01": "16.80%", "layer02": "1.60%"}
    # The notebook has 50, 50 and 28 neurons of the first layer on its cores (78.40 %).


YOLO = ((16, 3, 2), (32, 3, 2), (64, 3, 2), (128, 3, 2), (256, 3, 1), (256, 3, 2), (512, 3, 1),
        (256, 1, 1), (512, 3, 1), (48, 1, 1))  # fmt: skip
"""Channels, kernel and stride of the layers of lava-dl's YOLO-KP, for images of 448 x 448."""
YOLO_CORES = (224, 112, 56, 28, 56, 16, 32, 14, 32, 4)
"""Cores of each on Loihi 2 (tutorials/lava/lib/dl/netx/yolo_kp/run.ipynb)."""


def yolo_kp(largest: int) -> DeployedNetwork:
    rng = np.random.default_rng(0)
    shape: Shape = (3, 448, 448)
    populations, connections, source = [], [], "x"
    for number, (channels, kernel, stride) in enumerate(YOLO):
        weight = 2 * rng.integers(-largest, largest, (channels, shape[0], kernel, kernel))
        part = Conv2d(
            source, f"layer{number}", weight.astype(np.int16),
            stride=(stride, stride), padding=(kernel // 2, kernel // 2),
        )  # fmt: skip
        shape = part.output_shape(shape)
        source = part.target
        populations.append(Population(source, shape, vth=9))
        connections.append(part)
    return DeployedNetwork(
        (Input("x", (3, 448, 448)),), tuple(populations), tuple(connections), (Readout(source),), 1
    )


@pytest.mark.parametrize("largest", [8, 127])
def test_cores_of_yolo_kp_are_close_to_those_that_were_used(largest: int) -> None:
    made = map_network(yolo_kp(largest), "loihi2", share_cores=False)
    cores = Counter(piece.population for piece in made.pieces)
    found = tuple(cores[f"layer{number}"] for number in range(len(YOLO)))
    rows = table(page("mapping.md"), "layer", *map(str, range(1, 11)))
    stated = {row["layer"]: tuple(int(row[str(k)]) for k in range(1, 11)) for row in rows}
    assert stated == {"cores that were used": YOLO_CORES, "cores, layers apart": found}
    assert (sum(YOLO_CORES), sum(found)) == (574, 549)
