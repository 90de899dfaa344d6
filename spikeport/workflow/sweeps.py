"""Several networks on the same samples: accuracy, spikes and energy of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from spikeport.backends import run as run_backend
from spikeport.backends import timed
from spikeport.energy import (
    DEFAULT_PROFILE,
    HardwareProfile,
    Interval,
    estimate_energy,
    load_profile,
)
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork
from spikeport.parity import Accuracy, accuracy
from spikeport.runs import ResetSchedule, Run, Samples, check_labels


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A network of a sweep.

    Attributes:
        spikes, synaptic_events: per sample.
        energy_pj: per sample, an estimate.
    """

    network: str
    content_hash: str
    backend: str
    samples: int
    accuracy: Accuracy
    spikes: float
    synaptic_events: float
    energy_pj: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "network": self.network,
            "content_hash": self.content_hash,
            "backend": self.backend,
            "samples": self.samples,
            "accuracy": self.accuracy.rate,
            "accuracy_low": self.accuracy.low,
            "accuracy_high": self.accuracy.high,
            "spikes": self.spikes,
            "synaptic_events": self.synaptic_events,
            "energy_pj": self.energy_pj.as_dict(),
        }


def run_networks(
    pairs: Sequence[tuple[Any, Any]],
    *,
    backend: str = "native",
    dask: str | None = None,
    shard: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    timeout_s: float | None = None,
    resets: ResetSchedule | None = None,
    progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> list[Run]:
    """Run each network of `pairs` on its samples, in this process or in shards over Dask.

    Args:
        dask: address of a scheduler, `local` for private workers on this machine, None for this
            process.
        shard, folder: with `dask`, see `run_sharded`.
        timeout_s: wall-clock limit of each run on a slow backend.
        resets: when neurons start afresh, besides the first step of each sample; without `dask`.
        progress: called with (text, samples done, total samples).

    Raises:
        InputError: `shard` or `folder` without `dask`, `resets` with it; or as for `run`.
        BackendUnavailableError: as for `run` and `run_sharded`.
    """
    if dask is None:
        for name, value in (("shard", shard), ("folder", folder)):
            if value is not None:
                raise InputError(f"{name} {value}: needs dask, an address or 'local'")
        options = timed(backend, timeout_s, partial(progress, backend))
        return [
            run_backend(backend, network, samples, resets=resets, **options)
            for network, samples in pairs
        ]
    if resets is not None:
        raise InputError(f"resets ({resets}): shards over dask have none; run without dask")
    from spikeport.sharding import SHARD, run_sweep

    return run_sweep(
        pairs,
        backend=backend,
        address=None if dask == "local" else dask,
        shard=shard or SHARD,
        folder=folder,
        timeout_s=timeout_s,
        progress=lambda done, total: progress(f"{done} of {total} samples", done, total),
    )


def sweep(
    networks: Mapping[str, tuple[DeployedNetwork, Samples]],
    labels: ArrayLike,
    *,
    backend: str = "native",
    profile: HardwareProfile | str = DEFAULT_PROFILE,
    **options: Any,
) -> tuple[SweepRow, ...]:
    """Run several networks, each on the same samples in its own integers, and price their events.

    Args:
        networks: by name.
        labels: the class of each sample.
        options: as for `run_networks`.

    Raises:
        InputError: a label without an output; or as for `run_networks`.
        BackendUnavailableError: as for `run_networks`.
    """
    truth = np.asarray(labels)
    for name, (network, _) in networks.items():
        check_labels(name, int(truth.max(initial=0)), network.output_count)
    runs = run_networks(list(networks.values()), backend=backend, **options)
    prices = load_profile(profile) if isinstance(profile, str) else profile
    rows = []
    for (name, (network, _)), run in zip(networks.items(), runs, strict=True):
        assert run.counts is not None  # all backends of deployed networks count events
        right = int((run.predictions == truth[: run.samples]).sum())
        rows.append(
            SweepRow(
                network=name,
                content_hash=run.network_hash,
                backend=f"{run.backend} {run.version}",
                samples=run.samples,
                accuracy=accuracy(right, run.samples),
                spikes=run.counts.total("spikes") / run.samples,
                synaptic_events=run.counts.total("synaptic_events") / run.samples,
                energy_pj=estimate_energy(network, run.counts, prices).total_per_sample,
            )
        )
    return tuple(rows)
