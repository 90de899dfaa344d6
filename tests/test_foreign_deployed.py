"""Networks that frameworks wrote (`fixtures/interop.zip`), as chip integers under their presets."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, read_nir_float
from spikeport.runs import encode_samples
from spikeport.simulators import run_native
from spikeport.workflow import quantize

ARCHIVE = Path(__file__).parent / "fixtures" / "interop.zip"
SINGLE = {"multiple_spikes": False}
BIASED = {"snntorch/synaptic", "spikingjelly/cuba", "spikingjelly/cuba_v_reset"}
"""Their biases enter through a synaptic filter; synaptic also subtracts one step later."""
DEPLOYED: dict[str, Any] = {
    **{name: {} for name in BIASED},
    "lava-dl/cuba": {},
    "sinabs/iaf_single": SINGLE,
    "sinabs/lif_single": SINGLE,
    "snntorch/leaky": {},
    "snntorch/recurrent": {},
    "spikingjelly/if_v_reset": {},
    "spikingjelly/lif": {},
    "spikingjelly/lif_v_reset": {},
}
REFUSED = {
    "rockpool/cuba": "multiple_spikes is true",
    "sinabs/iaf": "multiple_spikes is true",
    "spyx/cuba": "late_spikes is true",
}


def unpacked(name: str, folder: Path, **rules: Any) -> tuple[FloatNetwork, NDArray[Any]]:
    """A network under the preset of its framework, and the spikes that it was given."""
    framework = name.partition("/")[0]
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith(framework)])
    network = read_nir_float(
        folder / f"{name}.nir", dt_s=1e-4, steps=40, isolate=False, semantics=framework, **rules
    )
    inputs = (np.load(path) for path in sorted((folder / framework).glob("*in*.npy")))
    return network, next(x for x in inputs if x.shape[2:] == network.inputs[0].shape)


@pytest.mark.parametrize("name", sorted(DEPLOYED))
def test_they_are_deployed(name: str, tmp_path: Path) -> None:
    """Spike counts of a layer are off by less than one in ten, and so is the last layer."""
    network, x = unpacked(name, tmp_path, **DEPLOYED[name])
    made = quantize(network, x)
    assert all(part.relative_error < 0.1 for part in made.report.populations)
    given = encode_samples(made.network.inputs, network.steps, x)
    (scores,) = run_native(made.network, given).scores.values()
    theirs = np.load(tmp_path / f"{name}.npy").sum(axis=0).reshape(scores.shape)
    assert np.sqrt(np.mean((scores - theirs) ** 2)) < 0.15 * theirs.mean()
    assert ("constant" in made.network.by_name) == (name in BIASED)


@pytest.mark.parametrize("name", REFUSED)
def test_rules_that_a_chip_does_not_have_are_refused(name: str, tmp_path: Path) -> None:
    network, x = unpacked(name, tmp_path)
    with pytest.raises(InputError, match=REFUSED[name]):
        quantize(network, x)
