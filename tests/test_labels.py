"""Classes of data sets against outputs of networks, in every verb; data settings by --set."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.cli import main
from spikeport.errors import InputError
from spikeport.export.nir.deployed import float_view
from spikeport.ladder import run_ladder
from spikeport.network import (
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    save_network,
)
from spikeport.runs import check_classes, check_labels
from spikeport.trainer import (
    TrainConfig,
    build_network,
    load_dataset,
    measure_accuracy,
    save_checkpoint,
    train,
)
from spikeport.trainer.loop import Checkpoint
from spikeport.workflow import write_nir

Spikeport = Callable[..., tuple[int, str, str]]
T = 3
OUTPUTS = 4
TOO_MANY = "data set 'classes5': label 4, the network has 4 outputs"


@pytest.fixture
def spikeport(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Spikeport:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["spikeport", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return (stop.value.code or 0) if isinstance(stop.value.code, int | None) else 1, out, err

    return run


def data_set(folder: Path, classes: int, *, top: int = 255) -> Path:
    y = np.arange(4 * classes) % classes
    x = np.random.default_rng(0).integers(0, top + 1, (len(y), 8, 8)).astype(np.uint8)
    x.flat[0] = top
    path = folder / f"classes{classes}.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return path


def checkpoint(folder: Path, classes: int) -> Path:
    data = load_dataset(data_set(folder, classes))
    config = TrainConfig(architecture="mlp", widths=(5,), steps=T, epochs=1)
    network = build_network(config, data.input, classes)
    path = folder / "m.safetensors"
    save_checkpoint(path, Checkpoint(network, config, classes, data.name, data.fingerprint))
    return path


def deployed(folder: Path) -> Path:
    network = DeployedNetwork(
        (Input("x", (1, 8, 8), Coding.GRADED, 0, 255, scale=255.0),),
        (Population("p", (OUTPUTS,), vth=100),),
        (Dense("x", "p", np.ones((OUTPUTS, 64), np.int16)),),
        (Readout("p"),),
        steps=T,
    )
    save_network(network, folder / "n.spikeport")
    return folder / "n.spikeport"


@pytest.mark.parametrize("verb", ["run", "run several", "compare"])
@pytest.mark.parametrize("classes", [OUTPUTS - 2, OUTPUTS, OUTPUTS + 1])
def test_verbs_of_chip_networks(
    tmp_path: Path,
    spikeport: Spikeport,
    verb: str,
    classes: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, data = deployed(tmp_path), data_set(tmp_path, classes)
    networks = (network, network) if verb == "run several" else (network,)
    code, _, err = spikeport(verb.split()[0], *networks, "--data", data)
    if classes > OUTPUTS:
        assert code == 2
        assert err == f"spikeport: {TOO_MANY} [SP402]\n"
    else:
        assert code == 0
    assert ("2 classes, the network has 4 outputs" in caplog.text) == (classes < OUTPUTS)


def test_energy_uses_no_labels_and_warns_only(
    tmp_path: Path, spikeport: Spikeport, caplog: pytest.LogCaptureFixture
) -> None:
    code, _, _ = spikeport("energy", deployed(tmp_path), "--data", data_set(tmp_path, 5))
    assert code == 0
    assert "data set 'classes5': 5 classes, the network has 4 outputs" in caplog.text


@pytest.mark.parametrize("verb", ["ladder", "diagnose", "run"])
def test_verbs_of_checkpoints(tmp_path: Path, spikeport: Spikeport, verb: str) -> None:
    path, more = checkpoint(tmp_path, OUTPUTS), data_set(tmp_path, OUTPUTS + 1)
    options = () if verb == "run" else ("--out", tmp_path / "out")
    code, _, err = spikeport(verb, path, "--data", more, *options)
    assert code == 2
    assert err == f"spikeport: {TOO_MANY} [SP402]\n"


def test_quantize_uses_no_labels_and_warns_only(
    tmp_path: Path, spikeport: Spikeport, caplog: pytest.LogCaptureFixture
) -> None:
    path, more = checkpoint(tmp_path, OUTPUTS), data_set(tmp_path, OUTPUTS + 1)
    code, _, _ = spikeport("quantize", path, "--data", more, "-o", tmp_path / "q.spikeport")
    assert code == 0
    assert "data set 'classes5': 5 classes, the network has 4 outputs" in caplog.text


def test_training_from_a_network_of_other_classes(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, OUTPUTS)
    config = TrainConfig(architecture="mlp", widths=(5,), steps=T, epochs=1)
    more, fewer = (load_dataset(data_set(tmp_path, n)) for n in (OUTPUTS + 1, OUTPUTS - 2))
    with pytest.raises(InputError, match=r"m\.safetensors: data set 'classes5': label 4, the net"):
        train(config, more, start=path)
    with pytest.raises(InputError, match=r"tensor 'layers\.readout\.weight' is \(4, 5\)"):
        train(config, fewer, start=path)


def test_functions_check_labels_alike(tmp_path: Path) -> None:
    config = TrainConfig(architecture="mlp", widths=(5,), steps=T)
    data = load_dataset(data_set(tmp_path, OUTPUTS + 1))
    network = build_network(config, data.input, OUTPUTS)
    assert network.classes == exported(network).output_count == OUTPUTS
    with pytest.raises(InputError, match="accuracy: label 4, the network has 4 outputs"):
        measure_accuracy(network, data.test_x, data.test_y)
    measure_accuracy(network, data.test_x, data.test_y, np.flatnonzero(data.test_y < OUTPUTS))
    with pytest.raises(InputError, match="data set 'classes5': label 4, the network has 4 outputs"):
        run_ladder(network, data, tmp_path)


def exported(network: Any) -> Any:
    from spikeport.workflow import export_float

    return export_float(network)


def test_the_rule_itself(caplog: pytest.LogCaptureFixture) -> None:
    check_labels("x", 3, 4)
    check_classes("x", 4, 4)
    assert caplog.messages == []
    with pytest.raises(InputError, match="x: label 4, the network has 4 outputs"):
        check_labels("x", 4, 4)
    with pytest.raises(InputError, match="x: label 4, the network has 4 outputs"):
        check_classes("x", 5, 4)
    assert caplog.messages == []
    check_classes("x", 5, 4, labels_used=False)
    check_classes("x", 3, 4)
    assert len(caplog.messages) == 2


def test_settings_of_data_on_the_command_line(
    tmp_path: Path, spikeport: Spikeport, caplog: pytest.LogCaptureFixture
) -> None:
    network, data = deployed(tmp_path), data_set(tmp_path, OUTPUTS, top=1)
    assert spikeport("run", network, "--data", data)[0] == 0
    assert "test_x: the brightest value is 1 of 255" in caplog.text
    caplog.clear()
    for value in ("1", "255"):
        assert (
            spikeport("run", network, "--data", data, "--set", f"data.full_scale={value}")[0] == 0
        )
    assert caplog.messages == []
    for change, said in (
        ("full_scale=1", "--set full_scale: must be a data setting, such as data.full_scale=16"),
        ("training.steps=2", "--set training.steps: must be a data setting"),
        ("data.full_scal=1", "unknown key 'full_scal'; did you mean 'full_scale'?"),
        ("data.full_scale", "--set 'data.full_scale': must be key=value"),
        ("data.size=3", "size is 3, but data set"),
    ):
        code, _, err = spikeport("run", network, "--data", data, "--set", change)
        assert code == 2
        assert said in err
        assert len(err.splitlines()) == 1
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"[data]\nname = '{data}'\n")
    assert spikeport("run", network, "--data", recipe, "--set", "data.full_scale=1")[0] == 0
    assert caplog.messages == []


def test_training_and_running_agree_on_full_scale(tmp_path: Path, spikeport: Spikeport) -> None:
    data, out = data_set(tmp_path, 2, top=1), tmp_path / "m.safetensors"
    options = ("--data", data, "--set", "data.full_scale=1")
    shape = ("--model", "mlp", "--widths", 4, "-T", T, "--epochs", 1, "--batch-size", 4)
    assert spikeport("train", *options, *shape, "-o", out)[0] == 0
    assert spikeport("quantize", out, *options, "-o", tmp_path / "q.spikeport")[0] == 0
    assert spikeport("run", tmp_path / "q.spikeport", *options)[0] == 0
    assert spikeport("energy", tmp_path / "q.spikeport", *options)[0] == 0
    assert spikeport("compare", tmp_path / "q.spikeport", *options)[0] == 0
    folder = tmp_path / "ladder"
    assert spikeport("ladder", out, *options, "--lava-samples", 0, "-o", folder)[0] in (0, 1)
    assert "--set data.full_scale=1" in (folder / "report.html").read_text()


@pytest.mark.parametrize("verb", ["run", "compare", "energy", "ladder", "quantize"])
def test_the_default_data_of_a_network_of_other_samples(
    tmp_path: Path, spikeport: Spikeport, verb: str
) -> None:
    """A network of other data needs --data, which the message says."""
    network = DeployedNetwork(
        (Input("x", (12,)),),
        (Population("p", (7,), vth=100),),
        (Dense("x", "p", np.ones((7, 12), np.int16)),),
        (Readout("p"),),
        steps=T,
    )
    path = tmp_path / "n.spikeport"
    save_network(network, path)
    if verb == "quantize":
        path = tmp_path / "n.nir"
        write_nir(float_view(network), path)
    options = ("--out", tmp_path / "out.spikeport") if verb in ("ladder", "quantize") else ()
    code, _, err = spikeport(verb, path, *options)
    assert code == 2
    assert err == (
        "spikeport: --data digits (the default): samples have shape (1, 8, 8), input 'x' takes "
        "(12,); name data of this network by --data [SP102]\n"
    )
