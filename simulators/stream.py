"""Run a network on a continuous stream of chunks; the result equals one long run.

The specification is `run_reference` on all chunks concatenated. Summed counts, concatenated traces
and the final membrane are equal to its integers however the steps are split into chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import SamplesError
from spikeport.network import DeployedNetwork, Input
from spikeport.runs import (
    RecordSpec,
    ResetSchedule,
    Run,
    Samples,
    StreamState,
    batch_shape,
    check_samples,
    sample_count,
)
from spikeport.runs.stream_state import check_state, first_state
from spikeport.simulators.native.carry import Pause
from spikeport.simulators.native.plan import plan_of
from spikeport.simulators.native.simulate import MEMORY_BYTES, run_plan
from spikeport.simulators.results import empty_trace


class Stream:
    """Runs chunks of any number of steps through a network, each continuing from the previous one.

    The network's own T is ignored.

    Attributes:
        network: the network to run.
    """

    def __init__(
        self,
        network: DeployedNetwork,
        samples: int = 1,
        *,
        state: StreamState | None = None,
        resets: ResetSchedule | None = None,
        threads: int | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Prepare the network.

        Args:
            samples: B, the number of independent parallel streams.
            state: state to continue from, instead of starting at step 0 with `samples`.
            resets: when neurons start afresh, besides step 0, in steps of the stream; not part of
                the state.
            threads, memory_bytes: see `run_native`.

        Raises:
            InputError: `samples` is below 1, or the state does not belong to this network.
        """
        if state is None:
            state = first_state(network, samples)
        else:
            check_state(network, state)
        self.network = network
        self._samples = state.samples
        self._now: StreamState | Pause = state
        self._state: StreamState | None = state
        self._threads, self._memory_bytes, self._resets = threads, memory_bytes, resets
        self._plan = plan_of(network)

    @property
    def state(self) -> StreamState:
        """Everything that later steps depend on.

        A frozen value that can be kept, saved (`save_state`) and passed to another stream.
        """
        if self._state is None:
            assert isinstance(self._now, Pause)
            self._state = self._now.state(self._plan, self.network.content_hash, self._samples)
        return self._state

    def push(self, chunk: Samples, *, steps: int | None = None, record: RecordSpec = ()) -> Run:
        """Run the next steps; if an error is raised, the state is unchanged.

        Args:
            chunk: per input (T, B, *shape), or (B, *shape) to be presented at every step.
            steps: T of the chunk, needed if no input determines it.
            record: see `run_native`.

        Returns:
            The run of these steps: its scores are their spikes, or the membrane after them; counts
            and trace cover only these steps.

        Raises:
            InputError: the chunk does not fit the network or the stream, its inputs differ in T,
                or `record` contains an unknown name.
        """
        inputs = self.network.inputs
        steps = _chunk_steps(inputs, chunk, steps)
        arrays = check_samples(inputs, steps, chunk, widen=False, static=True)
        count = sample_count(inputs, arrays)
        if count != self._samples:
            raise SamplesError(f"stream: {count} samples, the stream runs {self._samples}")
        trace = empty_trace(self.network, count, record, steps=steps) if record else None
        run, now = run_plan(
            self.network,
            self._plan,
            {part.name: self._in_time(part, arrays[part.name], steps) for part in inputs},
            steps,
            trace,
            threads=self._threads,
            memory_bytes=self._memory_bytes,
            before=self._now,
            resets=self._resets,
        )
        assert now is not None
        self._now, self._state = now, None
        return run

    def _in_time(self, part: Input, array: NDArray[Any], steps: int) -> NDArray[Any]:
        """Expand static values to all steps if a delay makes them overlap with earlier chunks."""
        if array.ndim == 1 + len(part.shape) and self._plan.delays[part.name][-1]:
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
        raise SamplesError(
            f"stream: input '{part.name}' has shape {np.shape(arrays[part.name])}, read as "
            f"{batch_shape('B', part.shape)} for every step; give {batch_shape('T, B', part.shape)}"
            " or specify the number of steps"
        )
    if len(set(found.values())) > 1:
        lengths = ", ".join(f"{name} {count}" for name, count in found.items())
        raise SamplesError(f"stream: steps of the chunk differ: {lengths}; must be the same")
    return checks.integer(
        "stream: steps of the chunk", next(iter(found.values())), 1, checks.MAX_STEPS
    )
