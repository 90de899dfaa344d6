"""The parity ladder of a network that was trained in chip arithmetic: every stage is exact.

Stages: the spiking pass of training; native; after NIR write and read; the scalar reference; Lava.
Samples go through in parts, so that whole test sets fit in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from spikeport.backends import backend, timed
from spikeport.backends import run as run_backend
from spikeport.energy import EnergyReport, estimate_energy, load_profile
from spikeport.errors import InputError
from spikeport.export.nir import read_nir_deployed, write_nir
from spikeport.network import save_network
from spikeport.parity import LadderRow, SkippedStage, build_row, merge_rows
from spikeport.runs import EventCounts, Run, check_float_samples, encode_samples, merge_counts
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.data import Dataset
from spikeport.trainer.measure import evaluate
from spikeport.workflow import trace_chunk

TRAINED, DEPLOYED = "chip arithmetic, as trained", "deployed, native"
AFTER_NIR = "after NIR write and read"
SLOW = {"reference": "scalar reference", "lava": "Lava"}
LEFT_OUT = "no samples were asked for"
SPIKES = ("spikes",)
Rows = tuple[tuple[LadderRow, ...], dict[str, EnergyReport], tuple[SkippedStage, ...]]


def chip_rows(
    model: QATNetwork,
    data: Dataset,
    folder: Path,
    *,
    samples: int | None,
    slow: dict[str, int],
    timeout_s: float | None,
    profile: str,
    progress: Callable[[str, int, int], None],
) -> Rows:
    """Climb; writes `network.spikeport` and `deployed.nir` to `folder`.

    Args:
        slow: samples of the slow stages by backend, from the first on; 0 leaves one out.

    Returns:
        rows, energy by stage, and stages that could not run here.
    """
    network = model.deployed()
    save_network(network, folder / "network.spikeport")
    write_nir(network, folder / "deployed.nir")
    again = read_nir_deployed(folder / "deployed.nir")
    total = len(data.test_y) if samples is None else min(samples, len(data.test_y))
    parts: dict[str, list[LadderRow]] = defaultdict(list)
    counts: dict[str, list[EventCounts]] = defaultdict(list)

    def add(stage: str, run: Run, first: int, above: Run | None, training: Run | None) -> Run:
        labels = data.test_y[first : first + run.samples]
        row = build_row(stage, run, labels, above=above, training=training, order=network.order)
        parts[stage].append(row)
        assert run.counts is not None  # every stage counts
        counts[stage].append(run.counts)
        return run

    at_once = trace_chunk(network, SPIKES)
    for first in range(0, total, at_once):
        x = check_float_samples(
            network.inputs,
            network.steps,
            data.test_x[first : min(first + at_once, total)],
            static=True,
        )
        integers = encode_samples(network.inputs, network.steps, x)
        progress(TRAINED, first, total)
        training = add(TRAINED, evaluate(model, x, SPIKES), first, None, None)
        run = run_backend("native", network, integers, record=SPIKES)
        above = add(DEPLOYED, run, first, training, training)
        run = run_backend("native", again, integers, record=SPIKES)
        add(AFTER_NIR, run, first, above, training)
    skipped = []
    for name, count in slow.items():
        stage = SLOW[name]
        if not count:
            skipped.append(SkippedStage(stage, name, LEFT_OUT))
            continue
        progress(stage, 0, 0)
        status = backend(name).status()
        if status.version is None:
            skipped.append(SkippedStage(stage, name, status.reason, status.fix))
            continue
        x = check_float_samples(
            network.inputs, network.steps, data.test_x[: min(count, total)], static=True
        )
        few = encode_samples(network.inputs, network.steps, x)
        options: dict[str, Any] = timed(name, timeout_s, partial(progress, stage))
        try:
            run = run_backend(name, again, few, record=SPIKES, **options)
        except InputError as error:
            skipped.append(SkippedStage(stage, name, str(error)))
            continue
        above = run_backend("native", again, few, record=SPIKES)
        add(stage, run, 0, above, evaluate(model, x, SPIKES))
    energy = {
        stage: estimate_energy(network, merge_counts(found), load_profile(profile))
        for stage, found in counts.items()
    }
    rows = (merge_rows(found) for found in parts.values())
    priced = tuple(replace(row, energy_pj=energy[row.stage].total_per_sample) for row in rows)
    return priced, energy, tuple(skipped)
