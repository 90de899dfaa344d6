"""Our spikes of the networks that frameworks wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spikeport.export.nir import InputGain, ResetTiming, Rules, read_nir_float
from spikeport.network import Reset
from spikeport.simulators import run_float

DT_S = 1e-4
CHANGED: Mapping[str, Rules] = {
    "snntorch/leaky_zero": {"reset": Reset.ZERO},
    "snntorch/leaky_zero_delayed": {"reset": Reset.ZERO},
    "snntorch/leaky_at_once": {"reset_timing": ResetTiming.ONCE},
    "snntorch/recurrent_zero": {"reset": Reset.ZERO},
    "sinabs/lif_single": {"multiple_spikes": False},
    "sinabs/lif_norm": {"input_gain": InputGain.EQUATION},
    "sinabs/iaf_single": {"multiple_spikes": False},
}
"""Rules besides the preset, where a network was made with other than default arguments."""


def spikes(path: Path, x: NDArray[Any], **rules: Any) -> NDArray[Any]:
    """Spikes (T, B, N) of the last layer of a NIR file, for 0/1 spikes `x`."""
    network = read_nir_float(path, dt_s=DT_S, steps=len(x), isolate=False, **rules)
    ((last,),) = (network.checked.sources[name] for name in network.graph.outputs)
    run = run_float(network, x, record=("spikes",))
    assert run.trace is not None
    return run.trace.spikes[last]
