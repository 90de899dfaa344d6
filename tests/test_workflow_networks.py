"""One verb for a trained network, whatever holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import spikeport
from spikeport import Coding, InputError, SpikingNetwork, prepare_qat
from spikeport.export.nir.graph import difference
from spikeport.network import Input
from spikeport.trainer import Checkpoint, TrainConfig, TrainingResult, mlp
from spikeport.trainer.description import as_trained_model
from spikeport.trainer.neurons import LIF

PIXELS = Input("input", (6,), Coding.GRADED, low=0, high=255, scale=255.0)
CONFIG = TrainConfig(architecture="mlp", widths=(5,), epochs=1, steps=3)


@pytest.fixture
def model() -> SpikingNetwork:
    return mlp(PIXELS, 4, (5,), 3, LIF(decay=0.5)).eval()


def holders(model: SpikingNetwork) -> list[object]:
    checkpoint = Checkpoint(model, CONFIG, 4, "made", "")
    result = TrainingResult(model, CONFIG, ())
    return [model, checkpoint, result, as_trained_model(model)]


def test_every_holder_of_a_trained_network_exports_alike(
    model: SpikingNetwork, tmp_path: Path
) -> None:
    graphs = [spikeport.export_float(holder) for holder in holders(model)]  # type: ignore[arg-type]
    for graph in graphs[1:]:
        assert difference(graphs[0].graph, graph.graph) is None
    spikeport.write_nir(graphs[0], tmp_path / "float.nir")
    for index, holder in enumerate(holders(model)):
        path = tmp_path / f"{index}.nir"
        spikeport.write_nir(holder, path)  # type: ignore[arg-type]
        assert path.read_bytes() == (tmp_path / "float.nir").read_bytes()


def test_the_time_step_is_the_callers(model: SpikingNetwork, tmp_path: Path) -> None:
    spikeport.write_nir(model, tmp_path / "a.nir", dt_s=0.5)
    assert spikeport.read_nir_float(tmp_path / "a.nir").dt_s == 0.5
    assert spikeport.export_float(model, 0.25).dt_s == 0.25
    with pytest.raises(InputError, match=r"dt_s is 1\.0: a float network has its own"):
        spikeport.write_nir(spikeport.export_float(model), tmp_path / "b.nir", dt_s=1.0)


def test_a_qat_network_is_written_as_it_is_deployed(model: SpikingNetwork, tmp_path: Path) -> None:
    qat = prepare_qat(model, [[0.1 * i for i in range(6)]], static=True)
    held = replace(Checkpoint(model, CONFIG, 4, "made", ""), model=qat)
    for name, holder in (("a.nir", qat), ("b.nir", held)):
        spikeport.write_nir(holder, tmp_path / name, dt_s=1e-3)
        assert spikeport.read_nir_deployed(tmp_path / name) == qat.deployed()
    with pytest.raises(InputError, match="is in chip arithmetic"):
        spikeport.export_float(qat)


def test_files_are_opened_by_their_suffix(model: SpikingNetwork, tmp_path: Path) -> None:
    graph = spikeport.export_float(model)
    deployed = spikeport.quantize(graph, [[0.5] * 6], static=True).network
    spikeport.save_checkpoint(tmp_path / "a.safetensors", Checkpoint(model, CONFIG, 4, "made", ""))
    spikeport.save_network(deployed, tmp_path / "a.spikeport")
    spikeport.write_nir(graph, tmp_path / "a.nir")
    for name in ("a.safetensors", "a.nir"):
        opened = spikeport.open_network(tmp_path / name)
        assert isinstance(opened, spikeport.FloatNetwork)
        assert difference(opened.graph, graph.graph) is None
    assert spikeport.open_network(str(tmp_path / "a.spikeport")) == deployed
    with pytest.raises(InputError, match=r"suffix '\.onnx', must be \.spikeport, \.nir, \.net or"):
        spikeport.open_network(tmp_path / "a.onnx")
