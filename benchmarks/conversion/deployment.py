"""Converted networks on the chip: integers against floats, and the same spikes from every file.

`python -m benchmarks.conversion.deployment FOLDER [--steps 4 8 16] [--data FOLDER]`

Takes the ANNs with trained thresholds that `python -m benchmarks.conversion FOLDER` has written,
searches thresholds for each T, quantizes, and compares predictions on test images. The spikes of
some images are compared with those of the network read back from NIR, and of two with Lava's. Every
result is stored in FOLDER as soon as it is there, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conversion.anns import ANNS, cifar10
from benchmarks.table import print_table
from spikeport.backends import backend
from spikeport.backends import run as run_backend
from spikeport.export import QuantizeConfig, read_nir_deployed
from spikeport.network import DeployedNetwork, load_network, save_network
from spikeport.runs import Run, check_float_samples, round_samples
from spikeport.storage import scratch_folder, write_text
from spikeport.trainer import (
    Dataset,
    SpikingNetwork,
    checkpoint_of,
    load_checkpoint,
    save_checkpoint,
)
from spikeport.trainer.conversion import ConversionConfig, convert
from spikeport.workflow import export_float, quantize, write_nir

IMAGES, CALIBRATION, SEARCHED = 15_000, 64, 128
PART = 250
"""Test images that are run at once."""
COMPARED, IN_LAVA = 100, 2
"""Test images whose spikes are compared with those of the NIR file and of Lava."""
TRAINED = {4: (4, 4), 16: (16, 8)}
"""By the least T: T and L of the training of thresholds whose ANN is converted."""
COLUMNS = (
    "T", "images", "float", "integers", "change", "s.e.", "equal", "input 1/", "quantize s",
    "NIR differs", "Lava differs",
)  # fmt: skip


class Deployment:
    """The results of one ANN, in a JSON file beside its networks."""

    def __init__(self, folder: Path, name: str, data: Path | str) -> None:
        self.folder, self.name = folder, name
        self.data = cifar10(str(data), IMAGES)
        self.path = folder / f"deployment-{name}.json"
        self.known: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def row(self, steps: int, tested: int) -> dict[str, Any]:
        """What is known after T steps, measured where it is missing."""
        key = f"{steps}|{tested}"
        if key not in self.known:
            trained = self._converted(steps)
            deployed, facts = self._quantized(trained, steps)
            measured = _compared(trained, deployed, self.data, tested)
            self.known[key] = facts | measured | _spikes(deployed, self.data)
            write_text(self.path, json.dumps(self.known, indent=1))
        found: dict[str, Any] = self.known[key]
        return found

    def _file(self, kind: str, ending: str) -> Path:
        return self.folder / f"deployment-{self.name}-{kind}.{ending}"

    def _converted(self, steps: int) -> SpikingNetwork:
        path = self._file(f"T{steps}", "safetensors")
        if not path.exists():
            start, levels = TRAINED[max(least for least in TRAINED if least <= steps)]
            ann = self.folder / f"table-{self.name}-analog-tuned{start}-L{levels}.safetensors"
            config = ConversionConfig(steps=steps, levels=levels, calibration=SEARCHED)
            made = convert(_network(ann), self.data, config, threads=1)
            save_checkpoint(path, checkpoint_of(made.network, self.data))
        return _network(path)

    def _quantized(
        self, network: SpikingNetwork, steps: int
    ) -> tuple[DeployedNetwork, dict[str, Any]]:
        path, facts = (
            self._file(f"T{steps}", "spikeport"),
            self._file(f"T{steps}-quantized", "json"),
        )
        if not facts.exists():
            started = time.process_time()
            made = quantize(
                export_float(network),
                self.data.train_x[:CALIBRATION],
                QuantizeConfig(),
                labels=self.data.train_y[:CALIBRATION],
                static=True,
            )
            seconds = time.process_time() - started
            save_network(made.network, path)
            found = {"input_scale": made.network.inputs[0].scale, "quantize_seconds": seconds}
            write_text(facts, json.dumps(found))
        return load_network(path), json.loads(facts.read_text())


def _network(path: Path) -> SpikingNetwork:
    model = load_checkpoint(path).model
    assert isinstance(model, SpikingNetwork)
    return model.eval()


def _compared(
    trained: SpikingNetwork, deployed: DeployedNetwork, data: Dataset, tested: int
) -> dict[str, Any]:
    """Predictions in floats and in integers, on the first test images."""
    floats, integers = [], []
    for part in _parts(tested):
        with torch.no_grad():
            floats.append(trained(torch.tensor(data.test_x[part])).argmax(1).numpy())
        integers.append(_run(deployed, data.test_x[part]).predictions)
    return agreement(np.concatenate(floats), np.concatenate(integers), data.test_y[:tested])


def agreement(
    before: NDArray[Any], after: NDArray[Any], labels: NDArray[Any]
) -> dict[str, float | int]:
    """Accuracies, and the standard error of their difference on the same n samples.

    With b samples right only before and c only after, the difference is (c - b) / n, with the
    standard error sqrt(b + c - (c - b)^2 / n) / n.
    """
    n = len(labels)
    was, now = before == labels, after == labels
    lost, won = int((was & ~now).sum()), int((now & ~was).sum())
    return {
        "images": n,
        "float": float(was.mean()),
        "integers": float(now.mean()),
        "change": (won - lost) / n,
        "standard_error": math.sqrt(lost + won - (won - lost) ** 2 / n) / n,
        "equal": float((before == after).mean()),
    }


def _spikes(deployed: DeployedNetwork, data: Dataset) -> dict[str, Any]:
    """How many spikes differ from those of the network read back from NIR, and from Lava's."""
    with scratch_folder("spikeport-deployment-") as place:
        write_nir(deployed, place / "network.nir")
        again = read_nir_deployed(place / "network.nir")
    few, fewer = data.test_x[:COMPARED], data.test_x[:IN_LAVA]
    own, read = (_run(network, few, record=("spikes",)) for network in (deployed, again))
    found = {"spikes": _total(own), "nir_differing": _differing(own, read)}
    if backend("lava").status().version is None:
        return found
    own = _run(deployed, fewer, record=("spikes",))
    lava = _run(again, fewer, on="lava", record=("spikes",), timeout_s=3600)
    return found | {"lava_spikes": _total(own), "lava_differing": _differing(own, lava)}


def _run(network: DeployedNetwork, images: NDArray[Any], on: str = "native", **options: Any) -> Run:
    floats = check_float_samples(network.inputs, network.steps, images, static=True)
    return run_backend(on, network, round_samples(network.inputs, floats), **options)


def _traces(run: Run) -> dict[str, NDArray[Any]]:
    assert run.trace is not None
    return dict(run.trace.spikes)


def _total(run: Run) -> int:
    return sum(int(spikes.sum()) for spikes in _traces(run).values())


def _differing(one: Run, other: Run) -> int:
    first, second = _traces(one), _traces(other)
    return sum(int((spikes != second[name]).sum()) for name, spikes in first.items())


def _parts(count: int) -> Iterator[slice]:
    for first in range(0, count, PART):
        yield slice(first, min(first + PART, count))


def _cells(steps: int, row: dict[str, Any]) -> tuple[str, ...]:
    def of(key: str, spikes: str) -> str:
        return f"{row[key]:,} of {row[spikes]:,}" if key in row else "not run"

    return (
        str(steps),
        f"{row['images']:,}",
        f"{100 * row['float']:.2f} %",
        f"{100 * row['integers']:.2f} %",
        f"{100 * row['change']:+.2f}",
        f"{100 * row['standard_error']:.2f}",
        f"{100 * row['equal']:.1f} %",
        f"{row['input_scale']:g}",
        f"{row['quantize_seconds']:.0f}",
        of("nir_differing", "spikes"),
        of("lava_differing", "lava_spikes"),
    )


def main() -> None:
    """Convert, quantize, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="preact20", choices=ANNS)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--data", default="", help="folder that contains cifar-10-batches-bin")
    parser.add_argument("--tested", type=int, default=2000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    work = Deployment(chosen.folder, chosen.network, chosen.data)
    rows = [_cells(steps, work.row(steps, chosen.tested)) for steps in chosen.steps]
    print_table(COLUMNS, rows)


if __name__ == "__main__":
    main()
