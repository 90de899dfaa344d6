"""Conversion of a network and its samples to connected Lava processes.

Lava's arrays run (W, H, C), the reverse of ours, so every array is transposed whole. N samples of T
steps run one after the other; LIFReset clears each population in turn, and in the steps of a reset
schedule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.backends.lava.connections import lava_kind
from spikeport.backends.lava.neurons import lava_neurons
from spikeport.backends.lava.schedule import Schedule, is_graded, needs_delay_line
from spikeport.network import (
    LOIHI,
    AnyPopulation,
    DeployedNetwork,
    Input,
    ReadoutKind,
    Shape,
    SumPool2d,
    WeightedConnection,
)
from spikeport.runs import RecordSpec, ResetSchedule, recordable, selection

Port = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LavaProcess:
    """One Lava process: the part of the network it implements, its class and its arguments."""

    part: str
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of `frames` frames written by Lava.

    Attributes:
        what: "spikes", a state variable, or "end", v at step T.
    """

    population: str
    what: str
    frames: int
    dtype: str

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return f"{self.population}.{self.what}"


@dataclass(frozen=True, slots=True)
class Program:
    """All data that the Lava worker needs for one run of N samples."""

    chip_steps: int
    nodes: Mapping[str, LavaProcess]
    edges: Sequence[tuple[Port, Port]]
    recordings: Sequence[Recording]

    def write(self, folder: Path) -> None:
        """Write program.json and arrays.npz to `folder`."""
        nodes = {
            name: {
                "part": node.part,
                "kind": node.kind,
                "fields": dict(node.fields),
                "arrays": list(node.arrays),
            }
            for name, node in self.nodes.items()
        }
        text = {"chip_steps": self.chip_steps, "nodes": nodes, "edges": self.edges}
        (folder / "program.json").write_text(json.dumps(text), encoding="utf-8")
        arrays = {
            f"{n}.{key}": a for n, node in self.nodes.items() for key, a in node.arrays.items()
        }
        np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)


def build_program(
    network: DeployedNetwork,
    times: Schedule,
    samples: Mapping[str, NDArray[Any]],
    count: int,
    record: RecordSpec,
    folder: Path,
    resets: ResetSchedule | None = None,
) -> Program:
    """The processes that run `count` checked samples and record into `folder`.

    Spikes are always recorded, and state for the complete populations that `record` names.
    """
    nodes: dict[str, LavaProcess] = {}
    edges: list[tuple[Port, Port]] = []
    recordings: list[Recording] = []
    by_name = {part.name: part for part in network.inputs}
    for part in network.inputs:
        if any(c.source == part.name for c in network.weighted_connections):
            label = f"input '{part.name}'"
            nodes[part.name] = _source(label, network, part, samples[part.name], lead=0)
    for population in network.populations:
        depth = times.depth[population.name]
        wanted = _recordings(network, population, record, count)
        tapes = [_tape(network, population, wish, folder) for wish in wanted]
        nodes[population.name] = _neurons(network, population, depth, tapes, resets)
        recordings += wanted
        for injection in network.injections_into(population.name):
            given = by_name[injection.source]
            label = f"bias injection '{injection.name}'"
            nodes[injection.name] = _source(label, network, given, samples[given.name], lead=depth)
            edges.append(((injection.name, "s_out"), (population.name, "bias_in")))
    for connection in network.weighted_connections:
        chain = _chain(network, times, connection)
        nodes |= {name: node for name, node, _, _ in chain}
        start = (connection.source, "s_out")
        for name, _, port, out in chain:
            edges.append((start, (name, port)))
            start = (name, out)
        edges.append((start, (connection.target, "a_in")))
    return Program(count * network.steps + times.last, nodes, edges, recordings)


def _recordings(
    network: DeployedNetwork, population: AnyPopulation, record: RecordSpec, count: int
) -> list[Recording]:
    frames = count * network.steps
    wanted = [Recording(population.name, "spikes", frames, "uint8")]
    chosen = selection(network, record)
    wanted += [
        Recording(population.name, what, frames, "int32")
        for what in recordable(population)[1:]
        if (what, population.name) in chosen
    ]
    if any(
        r.population == population.name and r.kind is ReadoutKind.MEMBRANE for r in network.readouts
    ):
        wanted.append(Recording(population.name, "end", count, "int32"))
    return wanted


def _neurons(
    network: DeployedNetwork,
    population: AnyPopulation,
    depth: int,
    tapes: list[dict[str, Any]],
    resets: ResetSchedule | None,
) -> LavaProcess:
    made = lava_neurons(network, population)
    fields: dict[str, Any] = {
        "shape": population.shape[::-1],
        "bias_exp": population.bias_exponent,
        "reset_interval": network.steps,
        "reset_offset": depth + 1,
        "resets": None if resets is None else (resets.interval, resets.offset),
        "tapes": tapes,
        "depth": depth,
        **made.fields,
    }
    arrays = {"bias_mant": population.bias.T}
    return LavaProcess(f"population '{population.name}'", made.kind, fields, arrays)


def _tape(
    network: DeployedNetwork, population: AnyPopulation, wish: Recording, folder: Path
) -> dict[str, Any]:
    how = {
        "file": str(folder / f"{wish.name}.npy"),
        "dtype": wish.dtype,
        "frames": wish.frames,
        "every": network.steps if wish.what == "end" else 1,
    }
    return {"what": wish.what, "shape": population.shape[::-1], "how": how}


def _source(
    label: str, network: DeployedNetwork, part: Input, values: NDArray[Any], lead: int
) -> LavaProcess:
    """A static sample is held for T steps; timed ones go frame by frame, sample after sample."""
    static = values.ndim == 1 + len(part.shape)
    frames = values if static else values.swapaxes(0, 1).reshape(-1, *part.shape)
    hold = network.steps if static else 1
    return LavaProcess(label, "Source", {"hold": hold, "lead": lead}, {"values": _reversed(frames)})


def _chain(
    network: DeployedNetwork, times: Schedule, part: WeightedConnection
) -> list[tuple[str, LavaProcess, str, str]]:
    """Processes from source to target: (name, node, in port, out port)."""
    chain = []
    label = f"connection '{part.name}'"
    shape = network.sources[part.source].shape
    if needs_delay_line(times, part):
        fields = {
            "shape": shape[::-1],
            "delay": times.delay[part.name],
            "kept": max(network.steps - part.delay, 0),
            "period": network.steps,
            "offset": times.depth[part.source],
        }
        node = LavaProcess(f"delay line of {label}", "DelayLine", fields)
        chain.append((f"{part.name}.delay", node, "s_in", "a_out"))
    if part.pool is not None:
        node = _pool(f"sum-pool of {label}", part.pool, shape)
        chain.append((f"{part.name}.pool", node, "s_in", "a_out"))
        shape = part.pool.output_shape(shape)
    chain.append((part.name, _weights(network, part, shape), "s_in", "a_out"))
    return chain


def _weights(network: DeployedNetwork, part: WeightedConnection, shape: Shape) -> LavaProcess:
    """The connection itself, from a source (after its pool) of `shape`."""
    fields = {
        "weight_exp": part.exponent,
        "num_weight_bits": part.weight_bits,
        "num_message_bits": LOIHI.payload_bits if is_graded(network, part) else 0,
    }
    target = network.by_name[part.target].shape
    kind, own, arrays = lava_kind(part).process(network, part, shape, target)
    return LavaProcess(f"connection '{part.name}'", kind, fields | own, arrays)


def _pool(label: str, pool: SumPool2d, shape: Shape) -> LavaProcess:
    channels, height, width = pool.output_shape(shape)
    rows, columns = pool.windows_of(shape)
    # Flat index in Lava's order (W', H', C).
    window = (columns[None, None] * height + rows[None, :, None]) * channels
    window = window + np.arange(shape[0])[:, None, None]
    inside = (columns[None, None] >= 0) & (rows[None, :, None] >= 0)
    window = np.where(inside, window, -1).T.ravel()
    pooled = np.flatnonzero(window >= 0)
    indices = pooled[np.argsort(window[pooled], kind="stable")]
    indptr = np.searchsorted(window[indices], np.arange(channels * height * width + 1))
    ones = np.ones(len(indices), np.int32)
    fields = {"columns": window.size, "num_message_bits": LOIHI.payload_bits}
    arrays: dict[str, NDArray[Any]] = {"weights": ones, "indices": indices, "indptr": indptr}
    return LavaProcess(label, "Sparse", fields, arrays)


def _reversed(frames: NDArray[Any]) -> NDArray[Any]:
    """Each frame's axes reversed, the first axis kept."""
    return frames.transpose(0, *range(frames.ndim - 1, 0, -1))


def in_our_order(frames: NDArray[Any], shape: Shape, count: int) -> NDArray[Any]:
    """Recorded frames of `count` samples of a population of `shape`, as (steps, count, *shape)."""
    samples = _reversed(frames).reshape(count, -1, *shape)
    return np.ascontiguousarray(samples.swapaxes(0, 1))
