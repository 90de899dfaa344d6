"""Consecutive samples that a ladder runs at once, so that its memory does not grow with all."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from spikeport.export import FloatNetwork
from spikeport.export.nir.fields import INTEGRATING, SPIKING, kind
from spikeport.network import DeployedNetwork
from spikeport.runs import SampleSet, check_float_samples, encode_samples
from spikeport.trainer.data import Dataset
from spikeport.workflow import trace_chunk

PART_BYTES = 256 * 2**20
"""Size of what the float stages of one part hold at once."""
STATE_BYTES = 64
"""Per neuron and step: spikes, v and v_charged in float64 of two runs, one of them still being
recorded step by step, and those of training."""
VALUE_BYTES = 40
"""Per input value: as stored, as float64 in both simulators, and as integers."""


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive samples, in float units and as chip integers."""

    floats: SampleSet
    integers: SampleSet


def make_part(
    data: Dataset, first: int, end: int, graph: FloatNetwork | None, deployed: DeployedNetwork
) -> Part:
    """The test samples `first` to `end` for the network in both forms.

    Raises:
        InputError: they do not fit the declared inputs.
    """
    network = graph or deployed
    floats = check_float_samples(network.inputs, network.steps, data.test_x[first:end], static=True)
    return Part(floats, encode_samples(deployed.inputs, network.steps, floats))


def samples_at_once(data: Dataset, graph: FloatNetwork | None, deployed: DeployedNetwork) -> int:
    """Number of samples of one part, at least one."""
    if graph is None:
        return trace_chunk(deployed, ("spikes",))
    checked = graph.checked
    neurons = sum(
        prod(checked.shapes[name])
        for name, node in checked.graph.nodes.items()
        if kind(node) in (*SPIKING, *INTEGRATING)
    )
    values = sum(array.size for array in make_part(data, 0, 1, graph, deployed).floats.values())
    return max(1, PART_BYTES // (STATE_BYTES * graph.steps * neurons + VALUE_BYTES * values))
