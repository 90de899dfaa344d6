"""A network in all forms that its ladder runs, made before anything is written to its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeport.export import (
    FloatNetwork,
    QuantizationReport,
    read_nir_deployed,
    read_nir_float,
)
from spikeport.ladder.config import LadderConfig
from spikeport.ladder.stages import Forms, LadderNetwork, StageProgress, interface_of
from spikeport.network import save_network
from spikeport.runs import check_classes
from spikeport.storage import scratch_folder
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.data import Dataset
from spikeport.trainer.network import SpikingNetwork
from spikeport.workflow import export_float, quantize, write_nir

FLOAT, NETWORK, DEPLOYED = "float.nir", "network.spikeport", "deployed.nir"
FILES = (FLOAT, NETWORK, DEPLOYED)
"""The network files of a ladder; only a network with a float form has the first."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` has made.

    Attributes:
        quantization: None for a network that was in chip arithmetic from the start.
        files: content of the network files, by name.
    """

    forms: Forms
    quantization: QuantizationReport | None
    files: Mapping[str, bytes]


def prepare(
    model: LadderNetwork,
    data: Dataset,
    config: LadderConfig,
    ann: SpikingNetwork | None,
    progress: StageProgress,
) -> Prepared:
    """Export and quantize a network, each form as it is read back from its file.

    Raises:
        InputError: the network cannot be exported or quantized, or has too few outputs for the
            classes of the data.
    """
    trained = model if isinstance(model, SpikingNetwork | QATNetwork) else None
    _, outputs = interface_of(model)
    check_classes(f"data set '{data.name}'", data.classes, outputs)
    graph, quantization = None, None
    with scratch_folder("spikeport-ladder-") as place:
        if isinstance(model, SpikingNetwork | FloatNetwork):
            float_network = export_float(model) if isinstance(model, SpikingNetwork) else model
            write_nir(float_network, place / FLOAT)
            graph = read_nir_float(place / FLOAT)
            progress("quantization", 0, 0)
            made = quantize(
                graph,
                data.train_x[: config.calibration],
                config.quantize,
                labels=data.train_y[: config.calibration],
                static=True,
            )
            deployed, quantization = made.network, made.report
        else:
            deployed = model.deployed() if isinstance(model, QATNetwork) else model
        save_network(deployed, place / NETWORK)
        write_nir(deployed, place / DEPLOYED)
        read_back = read_nir_deployed(place / DEPLOYED)
        files = {path.name: path.read_bytes() for path in place.iterdir()}
    return Prepared(Forms(trained, graph, deployed, read_back, ann), quantization, files)
