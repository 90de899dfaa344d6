"""netx files on the command line and in `open_network`; the examples of docs/netx.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeport
from spikeport.errors import InputError
from spikeport.export import read_netx, write_netx
from spikeport.network import Dense, DeployedNetwork, Input, Population, Readout, save_network
from spikeport.workflow import open_network
from tests.helpers.command import Spikeport
from tests.helpers.netx import dense, write_file
from tests.helpers.pages import page

WEIGHT = (2 * np.random.default_rng(5).integers(-60, 60, (10, 64))).astype(np.int16)


def digits() -> DeployedNetwork:
    """Takes the digits' pixels as values."""
    return DeployedNetwork(
        (Input("x", (1, 8, 8), spikeport.Coding.GRADED, 0, 16, 16.0),),
        (Population("a", (10,), 500),),
        (Dense("x", "a", WEIGHT),),
        (Readout("a"),),
        4,
    )


def test_verbs_take_netx_files(tmp_path: Path, spikeport: Spikeport) -> None:
    chip, net, nir = (str(tmp_path / name) for name in ("c.spikeport", "c.net", "c.nir"))
    save_network(digits(), chip)
    code, out, err = spikeport("export", chip, "-o", net, "--json")
    assert (code, json.loads(out)["read_back_equal"]) == (0, True), err
    assert read_netx(net) == digits()
    for verb in (
        ["inspect", net],
        ["check", net, "--target", "loihi2"],
        ["run", net, "-n", "9"],
        ["compare", net, "-n", "2", "--backends", "native,reference"],
        ["energy", net, "-n", "2"],
        ["export", net, "-o", nir],
    ):
        code, _, err = spikeport(*verb)
        assert code == 0, err
    assert open_network(nir) == digits()


@pytest.mark.parametrize("name", ["b.net", "b.spikeport", "b.nir"])
def test_what_a_foreign_file_does_not_state_is_given_to_export(
    name: str, tmp_path: Path, spikeport: Spikeport
) -> None:
    path, out = tmp_path / "a.net", tmp_path / name
    write_file(path, dense(WEIGHT), steps=None)
    code, _, err = spikeport("run", str(path))
    assert code == 2
    assert "by `spikeport export --steps`" in err
    options = ("--steps", "5", "--input-shape", "1,8,8", "-o", str(out))
    assert spikeport("export", str(path), *options)[0] == 0
    network = open_network(out)
    assert isinstance(network, DeployedNetwork)
    assert (network.steps, network.inputs[0].shape) == (5, (1, 8, 8))
    assert network.provenance["source"] == "a.net"
    assert "T is 5, as given" in network.provenance["assumed"]


def test_every_verb_takes_the_steps_that_a_file_does_not_state(
    tmp_path: Path, spikeport: Spikeport
) -> None:
    images = tmp_path / "images.npz"
    pixels, labels = np.arange(20 * 64).reshape(20, 8, 8) % 2 * 255, np.arange(20) % 10
    pixels = pixels.astype(np.uint8)
    np.savez(images, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    path = str(write_file(tmp_path / "a.net", dense(WEIGHT), steps=None))
    for verb in (
        ["inspect"],
        ["check"],
        ["run", "--data", str(images)],
        ["compare", "--data", str(images), "-n", "2"],
        ["energy", "--data", str(images)],
    ):
        code, _, err = spikeport(verb[0], path, *verb[1:])
        assert code == 2
        assert "give steps (--steps), or convert it" in err
        code, _, err = spikeport(verb[0], path, *verb[1:], "--steps", "5", "--input-shape", "1,8,8")
        assert code in (0, 1), err  # 1: a target that `check` says cannot run it
    code, out, _ = spikeport(
        "run", path, "--data", str(images), "-T", "5", "--input-shape", "1,8,8", "--json"
    )
    assert (code, json.loads(out)["steps"]) == (0, 5)


def test_what_a_file_states_itself_is_not_asked_for(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.net", dense(WEIGHT))
    with pytest.raises(InputError, match=r"arguments \['dt_s'\]: a netx file states its own"):
        open_network(path, dt_s=1e-3)
    with pytest.raises(InputError, match="input_shape: a NIR file states its own shapes"):
        open_network(tmp_path / "a.nir", input_shape=(1, 8, 8))


@pytest.mark.parametrize("name", ["f.net", "f.spikeport"])
def test_a_float_network_is_not_written(name: str, tmp_path: Path, spikeport: Spikeport) -> None:
    from tests.fuzz.kinds import float_network

    path, out = tmp_path / "f.nir", tmp_path / name
    spikeport_write(float_network(), path)
    code, _, err = spikeport("export", str(path), "-o", str(out))
    assert code == 2
    assert "is a float network; use `spikeport quantize` first" in err
    assert not out.exists()


def spikeport_write(network: spikeport.FloatNetwork, path: Path) -> None:
    spikeport.write_nir(network, path)


def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_netx(digits(), tmp_path / "network.net")
    write_file(tmp_path / "foreign.net", dense(WEIGHT), steps=None)
    examples = re.findall(r"```python\n(.*?)```", page("netx.md"), re.S)
    made: dict[str, Any] = {}
    exec(compile("\n".join(examples), "docs/netx.md", "exec"), made)
    assert read_netx(tmp_path / "again.net").steps == 16
    assert made["scores"]["layer0"].shape == (3, 10)
