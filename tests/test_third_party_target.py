"""The example package, installed as a user would: Spikeport knows its chip and its backend."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.backends import UnsupportedFeature
from spikeport.backends.limitation import find_unsupported
from spikeport.hardware import parse_target
from spikeport.network import (
    ATRLIFPopulation,
    Coding,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    Sparse,
    afferents,
    save_network,
)
from spikeport.workflow import write_nir
from tests.helpers.quantize_networks import affine, chain, leaky
from tests.helpers.strategies import networks
from tests.helpers.target_networks import dense

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "third_party_target"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip, which reaches no network here, has installed the example."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", folder / "site", folder / "source"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder / "site"


def spikeport(site: Path, *arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from spikeport.cli import main; main()", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])},
        capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def network(reset: Reset = Reset.SUBTRACT, bits: int = 4) -> DeployedNetwork:
    """A network that tinychip supports natively, unless it is changed."""
    return DeployedNetwork(
        (Input("x", (8,)),),
        (Population("a", (4,), vth=9, reset=reset),),
        (dense("x", "a", 4, 8, value=32, weight_bits=bits),),
        (Readout("a"),),
        2,
    )


def too_large() -> DeployedNetwork:
    """What tinychip cannot run, for five reasons."""
    return DeployedNetwork(
        (Input("x", (129,), Coding.GRADED, 0, 3),),
        (Population("a", (257,), vth=9),),
        (dense("x", "a", 257, 129, delay=8),),
        (Readout("a"),),
        2,
    )


def judged(network: DeployedNetwork) -> tuple[UnsupportedFeature, ...]:
    """What the rules of the example say, without installing it."""
    package = EXAMPLE / "tinychip"
    spec = importlib.util.spec_from_file_location("tinychip_rules", package / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target = parse_target(tomllib.loads((package / "target.toml").read_text()), "tinychip")
    return find_unsupported(network, module.limitations(target.limits))


def saved(network: DeployedNetwork, folder: Path) -> Path:
    save_network(network, folder / "n.spikeport")
    return folder / "n.spikeport"


def test_backends_lists_the_chip_and_the_backend(site: Path) -> None:
    code, out, err = spikeport(site, "backends", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    (backend,) = (one for one in told["backends"] if one["name"] == "tinychip-emulator")
    assert backend["version"] == "0.1.0"
    (chip,) = (one for one in told["chips"] if one["name"] == "tinychip")
    assert chip["title"] == "tinychip (fictional)"
    assert {"more than 256 neurons", "weights of more than 4 bits"} <= set(chip["limitations"])
    code, out, err = spikeport(site, "backends")
    assert (code, err) == (0, "")
    assert "tinychip-emulator" in out
    assert "more than 256 neurons" in out


def test_check_judges_by_the_limits_of_the_chip(site: Path, tmp_path: Path) -> None:
    code, out, err = spikeport(site, "check", saved(network(), tmp_path), "--target", "tinychip")
    assert (code, out, err) == (0, "tinychip: no limit is exceeded\n", "")
    path = saved(too_large(), tmp_path)
    code, out, err = spikeport(site, "check", path, "--target", "tinychip", "--json")
    assert (code, err) == (1, f"spikeport: check: {path}: cannot run on tinychip [SP901]\n")
    (told,) = json.loads(out)["targets"]
    assert [(f"{one['quantity']} {one['value']}", one["stops"]) for one in told["unsupported"]] == [
        ("graded values 0..3", True),
        ("neurons 257", True),
        ("reset zero", False),
        ("synapses per neuron 129", True),
        ("bits per weight 8", True),
        ("delay 8", True),
        ("cores 5", False),
    ]
    assert {one["source"] for one in told["unsupported"]} == {"Invented for this example"}


def test_a_network_is_quantized_for_the_chip(site: Path, tmp_path: Path) -> None:
    """With its 4 bits per weight and without graded spikes; what it cannot do is refused."""
    rng = np.random.default_rng(0)
    nodes = {"fc": affine(rng.normal(0, 0.3, (4, 64))), "lif": leaky((4,), 0.5)}
    source = Input("input", (64,), Coding.GRADED, 0, 15, 15.0)
    graph, chip = tmp_path / "f.nir", tmp_path / "c.spikeport"
    write_nir(chain(nodes, source), graph)
    command = ("quantize", graph, "--data", "random", "--target", "tinychip", "--out", chip)
    code, out, err = spikeport(site, *command, "--json")
    assert code == 0, err
    target = json.loads(out)["report"]["target"]
    assert [one["constraint"] for one in target["constraints"]] == [
        "spikes carry no value", "weights of at most 4 bits",
    ]  # fmt: skip
    code, out, err = spikeport(site, "check", chip, "--target", "tinychip")
    assert (code, err) == (0, "")
    wide = {"fc": affine(rng.normal(0, 0.3, (4, 129))), "lif": leaky((4,), 0.5)}
    write_nir(chain(wide, Input("input", (129,))), graph)
    code, _, err = spikeport(site, *command)
    assert code == 2
    assert err.endswith(
        "network: cannot be quantized for tinychip, 1 limit exceeded: [SP304]\n"
        "  - connection 'fc': synapses per neuron 129 (limit: 128); put a layer between\n"
    )


@settings(max_examples=30, deadline=None)
@given(st.booleans().flatmap(lambda adaptive: networks(adaptive=adaptive)))
def test_its_rules_judge_any_network(network: DeployedNetwork) -> None:
    found = {(one.part, one.construct) for one in judged(network)}
    assert {part for part, construct in found if construct == "neurons ATRLIF"} == {
        f"population '{part.name}'"
        for part in network.populations
        if isinstance(part, ATRLIFPopulation)
    }
    for part in network.weighted_connections:
        shape = network.sources[part.source].shape
        if part.pool is None:
            most = max(
                len(list(afferents(part, shape, index)))
                for index in range(network.by_name[part.target].size)
            )
            named = (f"connection '{part.name}'", f"synapses per neuron {most}")
            assert (named in found) == (most > 128)


def test_it_counts_the_synapses_of_a_sparse_connection() -> None:
    matrix = np.zeros((2, 200), int)
    matrix[0, :5], matrix[1, :130] = 32, 32
    given = DeployedNetwork(
        (Input("x", (200,)),),
        (Population("a", (2,), vth=9, reset=Reset.SUBTRACT),),
        (Sparse.from_matrix("x", "a", matrix, weight_bits=4),),
        (Readout("a"),),
        2,
    )
    assert [one.construct for one in judged(given)] == ["synapses per neuron 130"]


def of_size(neurons: int = 4, synapses: int = 8, delay: int = 0, bits: int = 4) -> DeployedNetwork:
    return DeployedNetwork(
        (Input("x", (synapses,)),),
        (Population("a", (neurons,), vth=9, reset=Reset.SUBTRACT),),
        (dense("x", "a", neurons, synapses, value=32, weight_bits=bits, delay=delay),),
        (Readout("a"),),
        2,
    )


@pytest.mark.parametrize(
    ("name", "limit", "construct"),
    [
        ("neurons", 256, "neurons 257"),
        ("synapses", 128, "synapses per neuron 129"),
        ("delay", 7, "delay 8"),
        ("bits", 4, "bits per weight 5"),
    ],
)
def test_its_rules_begin_beyond_the_limits(name: str, limit: int, construct: str) -> None:
    assert judged(of_size(**{name: limit})) == ()
    assert [one.construct for one in judged(of_size(**{name: limit + 1}))] == [construct]


def test_it_has_no_atrlif_neurons() -> None:
    given = DeployedNetwork(
        (Input("x", (8,)),),
        (ATRLIFPopulation("a", (4,), theta_0=9),),
        (dense("x", "a", 4, 8, value=32, weight_bits=4),),
        (Readout("a"),),
        2,
    )
    assert [(one.part, one.construct, one.stops) for one in judged(given)] == [
        ("population 'a'", "neurons ATRLIF", True)
    ]


def test_check_of_every_target_includes_it(site: Path, tmp_path: Path) -> None:
    path = saved(network(reset=Reset.ZERO), tmp_path)
    code, out, err = spikeport(site, "check", path, "--json")
    assert (code, err) == (0, "")
    told = {one["target"]: one["unsupported"] for one in json.loads(out)["targets"]}
    assert list(told) == [
        *("native", "cuda", "reference", "lava", "tinychip-emulator"),
        *("loihi1", "loihi2", "digital", "tinychip"),
    ]
    assert [(one["quantity"], one["value"]) for one in told["tinychip"]] == [("reset", "zero")]
    assert told["tinychip-emulator"] == told["tinychip"]


def test_its_backend_runs_deployed_networks(site: Path, tmp_path: Path) -> None:
    images = tmp_path / "x.npz"
    pixels, labels = np.full((6, 8), 255, np.uint8), np.arange(6) % 4
    np.savez(images, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    path = saved(network(), tmp_path)
    backends = "native,tinychip-emulator"
    code, out, err = spikeport(site, "compare", path, "-b", backends, "--data", images, "--json")
    assert code == 0, err
    code, out, err = spikeport(
        site, "run", path, "--backend", "tinychip-emulator", "--data", images, "--json"
    )
    assert code == 0, err
    assert json.loads(out)["backend"] == "tinychip-emulator 0.1.0"
    path = saved(network(bits=8), tmp_path)
    code, _, err = spikeport(site, "run", path, "-b", "tinychip-emulator", "--data", images)
    assert code == 2
    assert err == (
        "spikeport: backend 'tinychip-emulator' cannot run this: connection 'x_to_a': bits per "
        "weight 8 (limit: 4); quantize with --bits 4 [SP101]\n"
    )


def test_the_chip_has_no_prices(site: Path, tmp_path: Path) -> None:
    path = saved(network(), tmp_path)
    code, _, err = spikeport(site, "energy", path, "--activity", "0.1", "--profile", "tinychip")
    assert code == 2
    assert "tinychip (fictional) has no prices: the chip is fictional; price on another" in err


def test_without_the_package_nothing_knows_the_chip(tmp_path: Path) -> None:
    code, _, err = spikeport(tmp_path, "check", saved(network(), tmp_path), "-t", "tinychip")
    assert code == 2
    assert "target 'tinychip' is unknown" in err
