"""A network that is never started anew: chunk after chunk, the result of one long run.

`run_reference` on all chunks joined is the specification. Summed counts, joined traces and the
membrane at the end are equal to its integers however the steps are cut into chunks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, Input
from spikeport.runs import (
    RecordSpec,
    Run,
    Samples,
    StreamState,
    batch_shape,
    check_samples,
    longest_delay,
    sample_count,
)
from spikeport.runs.stream_state import check_state, first_state
from spikeport.simulators.native.plan import plan_of
from spikeport.simulators.native.simulate import MEMORY_BYTES, run_plan
from spikeport.simulators.results import empty_trace


class Stream:
    """Runs chunks of any number of steps through a network, going on where the last one ended.

    The network's own T plays no part.

    Attributes:
        network: what runs.
        state: all that later steps depend on; a frozen value that may be kept, saved
            (`save_state`) and given to another stream.
    """

    def __init__(
        self,
        network: DeployedNetwork,
        samples: int = 1,
        *,
        state: StreamState | None = None,
        threads: int | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Prepare the network.

        Args:
            samples: B, streams side by side that know nothing of each other.
            state: where to go on, instead of step 0 of `samples`.
            threads, memory_bytes: see `run_native`.

        Raises:
            InputError: `samples` is below 1, or the state is none of this network.
        """
        if state is None:
            state = first_state(network, samples)
        else:
            check_state(network, state)
        self.network = network
        self.state = state
        self._threads, self._memory_bytes = threads, memory_bytes
        self._plan, self._cut = plan_of(network), network

    def push(self, chunk: Samples, *, steps: int | None = None, record: RecordSpec = ()) -> Run:
        """Run the next steps; on an error the state stays as it was.

        Args:
            chunk: per input (T, B, *shape), or (B, *shape) to be presented at every step.
            steps: T of the chunk, needed where no input tells it.
            record: see `run_native`.

        Returns:
            The run of these steps: its scores are their spikes, or the membrane after them; counts
            and trace are theirs alone.

        Raises:
            InputError: the chunk does not fit the network or the stream, its inputs differ in T,
                or what `record` names is unknown.
        """
        inputs = self.network.inputs
        steps = _chunk_steps(inputs, chunk, steps)
        arrays = check_samples(inputs, steps, chunk, widen=False, static=True)
        count = sample_count(inputs, arrays)
        if count != self.state.samples:
            raise InputError(f"stream: {count} samples, the stream runs {self.state.samples}")
        if self._cut.steps != steps:
            self._cut = self.network.replace(steps=steps)
        trace = empty_trace(self._cut, count, record)
        run, state = run_plan(
            self._cut,
            self._plan,
            {part.name: self._in_time(part, arrays[part.name], steps) for part in inputs},
            trace,
            threads=self._threads,
            memory_bytes=self._memory_bytes,
            before=self.state,
        )
        if state is not None:
            self.state = state
        return dataclasses.replace(run, trace=trace) if record else run

    def _in_time(self, part: Input, array: NDArray[Any], steps: int) -> NDArray[Any]:
        """Static values as those of each step where a delay lets them meet earlier chunks."""
        if array.ndim == 1 + len(part.shape) and longest_delay(self.network, part.name):
            return np.broadcast_to(array, (steps, *array.shape))
        return array


def _chunk_steps(inputs: Sequence[Input], chunk: Samples, steps: int | None) -> int:
    """T of a chunk."""
    arrays = chunk if isinstance(chunk, Mapping) else {part.name: chunk for part in inputs}
    found = {} if steps is None else {"steps": steps}
    for part in inputs:
        shape = np.shape(arrays.get(part.name, ()))
        if len(shape) == 2 + len(part.shape):
            found[f"input '{part.name}'"] = shape[0]
    if not found:
        check_samples(inputs, 1, chunk, widen=False, static=True)
        part = inputs[0]
        raise InputError(
            f"stream: input '{part.name}' has shape {np.shape(arrays[part.name])}, read as "
            f"{batch_shape('B', part.shape)} for every step; give {batch_shape('T, B', part.shape)}"
            " or say how many steps"
        )
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in found.items())
        raise InputError(f"stream: steps of the chunk differ: {told}; must be the same")
    return checks.integer(
        "stream: steps of the chunk", next(iter(found.values())), 1, checks.MAX_STEPS
    )
