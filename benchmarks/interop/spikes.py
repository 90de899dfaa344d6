"""Our spikes of the networks that frameworks wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.interop.changes import changed
from benchmarks.interop.frameworks.graphs import SHAPES, STEPS
from spikeport.export.nir import FloatNetwork, InputGain, ResetTiming, Rules, read_nir_float
from spikeport.network import Reset
from spikeport.simulators import run_float

DT_S: Mapping[str, float] = {"norse": 1e-6, "sinabs/lif_by_exporter": 1.0}
"""The time step of files: 1e-4 s, unless the exporter writes another."""
CHANGED: Mapping[str, Rules] = {
    "snntorch/leaky_zero": {"reset": Reset.ZERO},
    "snntorch/leaky_zero_delayed": {"reset": Reset.ZERO},
    "snntorch/leaky_at_once": {"reset_timing": ResetTiming.ONCE},
    "snntorch/recurrent_zero": {"reset": Reset.ZERO},
    "snntorch/conv_zero": {"reset": Reset.ZERO},
    "sinabs/lif_single": {"multiple_spikes": False},
    "sinabs/lif_norm": {"input_gain": InputGain.EQUATION},
    "sinabs/iaf_single": {"multiple_spikes": False},
    "sinabs/conv_iaf_single": {"multiple_spikes": False},
    "sinabs/conv_28x28": {"multiple_spikes": False},
    "sinabs/recurrent_iaf_single": {"multiple_spikes": False},
}
"""Rules besides the preset, where a network was made with other than default arguments."""


def spikes(name: str, folder: Path, under: Iterable[str] = (), **rules: Any) -> NDArray[Any]:
    """Spikes (T, B, N) that a network FRAMEWORK/NAME of the folder has here, with changes."""
    network, x = read_with_inputs(name, folder, **rules)
    return output_spikes(changed(network, under), x)


def read_with_inputs(name: str, folder: Path, **rules: Any) -> tuple[FloatNetwork, NDArray[Any]]:
    """A network FRAMEWORK/NAME of the folder, and the 0/1 spikes that it was run on."""
    place = folder / name
    dt_s = DT_S.get(name, DT_S.get(place.parent.name, 1e-4))
    network = read_nir_float(f"{place}.nir", dt_s=dt_s, steps=STEPS, isolate=False, **rules)
    shape = network.inputs[0].shape
    (given,) = (kind for kind, one in SHAPES.items() if one == shape)
    return network, np.load(place.with_name(f"{given}.in.npy"), allow_pickle=False)


def output_spikes(network: FloatNetwork, x: NDArray[Any]) -> NDArray[Any]:
    """Spikes (T, B, N) of the neurons in front of the output, for 0/1 spikes `x`."""
    ((last,),) = (network.checked.sources[name] for name in network.graph.outputs)
    run = run_float(network, x, record=("spikes",))
    assert run.trace is not None
    return run.trace.spikes[last].reshape(*x.shape[:2], -1)
