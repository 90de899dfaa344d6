"""A network and its samples as Lava processes: what each is, and how they are joined.

Lava's arrays run (W, H, C), the reverse of ours, so every array is transposed whole, and the
columns and rows of a Dense are permuted to match. Lava convolves where we correlate: kernels are
flipped. N samples of T steps run one after the other; LIFReset clears each population in turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.backends.lava.schedule import (
    CONV_STOCK_SUM,
    Schedule,
    conv_sum_bound,
    is_graded,
)
from spikeport.fixed_point import PAYLOAD_BITS
from spikeport.geometry import pooled_index
from spikeport.network import (
    BiasInjection,
    Conv2d,
    DeployedNetwork,
    Input,
    Population,
    ReadoutKind,
    Reset,
    Shape,
    SumPool2d,
    Synapses,
)
from spikeport.probe import Record, selection

Port = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """One Lava process: its class and what it is made with."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of `frames` frames that Lava leaves: "spikes", "u", "v", or "end", v at step T."""

    population: str
    what: str
    frames: int
    dtype: str

    @property
    def name(self) -> str:
        """Name of its recorder process."""
        return f"{self.population}.{self.what}"


@dataclass(frozen=True, slots=True)
class Program:
    """Everything that Lava's worker needs for one run of N samples."""

    chip_steps: int
    nodes: Mapping[str, Node]
    edges: Sequence[tuple[Port, Port]]
    recordings: Sequence[Recording]

    def write(self, folder: Path) -> None:
        """Leave program.json and arrays.npz in `folder`."""
        nodes = {
            name: {"kind": node.kind, "fields": dict(node.fields), "arrays": list(node.arrays)}
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
    record: Record,
    folder: Path,
) -> Program:
    """The processes that run `count` checked samples and record into `folder`.

    Spikes are always recorded, u and v of the whole populations that `record` names.
    """
    nodes: dict[str, Node] = {}
    edges: list[tuple[Port, Port]] = []
    recordings: list[Recording] = []
    by_name = {part.name: part for part in network.inputs}
    for part in network.inputs:
        if any(c.source == part.name for c in network.synapses):
            nodes[part.name] = _source(network, part, samples[part.name], lead=0)
    for population in network.populations:
        depth = times.depth[population.name]
        wanted = _recordings(network, population, record, count)
        stock = _is_stock(network, population, wanted)
        nodes[population.name] = _neurons(population, network.steps, depth, stock)
        for wish in wanted:
            port = {"spikes": "s_out", "u": "u_out"}.get(wish.what, "v_out")
            nodes[wish.name] = _recorder(network, population, wish, depth, folder)
            edges.append(((population.name, port), (wish.name, "a_in")))
        recordings += wanted
        for injection in _injections(network, population.name):
            given = by_name[injection.source]
            nodes[injection.name] = _source(network, given, samples[given.name], lead=depth)
            edges.append(((injection.name, "s_out"), (population.name, "bias_in")))
    for connection in network.synapses:
        chain = _chain(network, times, connection)
        nodes |= {name: node for name, node, _, _ in chain}
        start = (connection.source, "s_out")
        for name, _, port, out in chain:
            edges.append((start, (name, port)))
            start = (name, out)
        edges.append((start, (connection.target, "a_in")))
    return Program(count * network.steps + times.last, nodes, edges, recordings)


def _injections(network: DeployedNetwork, population: str) -> list[BiasInjection]:
    return [c for c in network.incoming(population) if isinstance(c, BiasInjection)]


def _recordings(
    network: DeployedNetwork, population: Population, record: Record, count: int
) -> list[Recording]:
    frames = count * network.steps
    wanted = [Recording(population.name, "spikes", frames, "uint8")]
    chosen = selection(network, record)
    wanted += [
        Recording(population.name, what, frames, "int32")
        for what in "uv"
        if (what, population.name) in chosen
    ]
    if any(
        r.population == population.name and r.kind is ReadoutKind.MEMBRANE for r in network.readouts
    ):
        wanted.append(Recording(population.name, "end", count, "int32"))
    return wanted


def _is_stock(
    network: DeployedNetwork, population: Population, wanted: Sequence[Recording]
) -> bool:
    """Whether Lava's own LIFReset is this population."""
    return (
        population.reset is Reset.ZERO
        and population.v_init == 0
        and not _injections(network, population.name)
        and len(wanted) == 1
    )


def _neurons(population: Population, steps: int, depth: int, stock: bool) -> Node:
    fields: dict[str, Any] = {
        "shape": population.shape[::-1],
        "du": population.decay_u - 1,
        "dv": population.decay_v,
        "vth": population.vth,
        "bias_exp": population.bias_exponent,
        "reset_interval": steps,
        "reset_offset": depth + 1,
    }
    arrays = {"bias_mant": population.bias.T}
    if stock:
        return Node("LIFReset", fields, arrays)
    own = {"v_init": population.v_init, "subtract": population.reset is Reset.SUBTRACT}
    return Node("SampleLIF", fields | own, arrays)


def _recorder(
    network: DeployedNetwork, population: Population, wish: Recording, depth: int, folder: Path
) -> Node:
    return Node(
        "Recorder",
        {
            "shape": population.shape[::-1],
            "file": str(folder / f"{wish.name}.npy"),
            "dtype": wish.dtype,
            "frames": wish.frames,
            "every": network.steps if wish.what == "end" else 1,
            "offset": depth,
        },
    )


def _source(network: DeployedNetwork, part: Input, values: NDArray[Any], lead: int) -> Node:
    """A static sample is held for T steps; timed ones go frame by frame, sample after sample."""
    static = values.ndim == 1 + len(part.shape)
    frames = values if static else values.swapaxes(0, 1).reshape(-1, *part.shape)
    hold = network.steps if static else 1
    return Node("Source", {"hold": hold, "lead": lead}, {"values": _reversed(frames)})


def _chain(
    network: DeployedNetwork, times: Schedule, part: Synapses
) -> list[tuple[str, Node, str, str]]:
    """Processes from source to target: (name, node, in port, out port)."""
    chain = []
    shape = network.sources[part.source].shape
    delay = times.delay[part.name]
    if delay or part.delay:
        fields = {
            "shape": shape[::-1],
            "delay": delay,
            "kept": max(network.steps - part.delay, 0),
            "period": network.steps,
            "offset": times.depth[part.source],
        }
        chain.append((f"{part.name}.delay", Node("DelayLine", fields), "s_in", "a_out"))
    if part.pool is not None:
        chain.append((f"{part.name}.pool", _pool(part.pool, shape), "s_in", "a_out"))
        shape = part.pool.output_shape(shape)
    chain.append((part.name, _weights(network, part, shape), "s_in", "a_out"))
    return chain


def _weights(network: DeployedNetwork, part: Synapses, shape: Shape) -> Node:
    """The connection itself, from a source (after its pool) of `shape`."""
    fields: dict[str, Any] = {
        "weight_exp": part.exponent,
        "num_weight_bits": part.weight_bits,
        "num_message_bits": PAYLOAD_BITS if is_graded(network, part) else 0,
    }
    if not isinstance(part, Conv2d):
        target = network.by_name[part.target].shape
        weights = part.weight[np.ix_(_lava_order(target), _lava_order(shape))]
        return Node("Dense", fields, {"weights": weights})
    fields |= {
        "input_shape": shape[::-1],
        "stride": part.stride[::-1],
        "padding": part.padding[::-1],
        "dilation": part.dilation[::-1],
        "groups": part.groups,
    }
    # Conv ignores weight_exp and casts its sums to int32 before it wraps them.
    stock = part.exponent == 0 and conv_sum_bound(network, part) < CONV_STOCK_SUM
    flipped = part.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    return Node("Conv" if stock else "WideConv", fields, {"weight": flipped})


def _pool(pool: SumPool2d, shape: Shape) -> Node:
    channels, height, width = pool.output_shape(shape)
    rows, columns = (
        pooled_index(size, kernel, stride, padding)
        for size, kernel, stride, padding in zip(
            shape[1:], pool.kernel_size, pool.stride, pool.padding, strict=True
        )
    )
    # Flat index in Lava's order (W', H', C).
    window = (columns[None, None] * height + rows[None, :, None]) * channels
    window = window + np.arange(shape[0])[:, None, None]
    inside = (columns[None, None] >= 0) & (rows[None, :, None] >= 0)
    window = np.where(inside, window, -1)
    return Node("SumPool", {"windows": channels * height * width}, {"window": window.T.ravel()})


def _reversed(frames: NDArray[Any]) -> NDArray[Any]:
    """Each frame's axes reversed, the first axis kept."""
    return frames.transpose(0, *range(frames.ndim - 1, 0, -1))


def _lava_order(shape: Shape) -> NDArray[np.intp]:
    """Our flat index of each neuron in Lava's order."""
    return np.arange(np.prod(shape), dtype=np.intp).reshape(shape).T.ravel()


def in_our_order(frames: NDArray[Any], shape: Shape, count: int) -> NDArray[Any]:
    """Recorded frames of `count` samples of a population of `shape`, as (steps, count, *shape)."""
    samples = _reversed(frames).reshape(count, -1, *shape)
    return np.ascontiguousarray(samples.swapaxes(0, 1))
