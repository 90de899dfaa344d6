"""Event counts measured on the trainer's tensors, independently of the simulators.

The synapses that a message of a source neuron reaches are counted with the linear map itself: with
all weights set to 1, the sum of its outputs is linear in its input, and the gradient with respect
to a source neuron is the fan-out of that neuron, exact at every border.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spikeport.network import Coding, Input, Shape
from spikeport.runs import EventCounts


def fan_out(
    unit_map: Callable[[Tensor], Tensor], source: Shape, device: torch.device | str = "cpu"
) -> Tensor:
    """Synapses per source neuron, int64 of shape `source`; `unit_map` takes (1, *source)."""
    with torch.enable_grad():
        x = torch.zeros((1, *source), dtype=torch.float64, device=device, requires_grad=True)
        (reached,) = torch.autograd.grad(unit_map(x).sum(), x)
    return reached[0].round().to(torch.int64)


def message_counts(values: Tensor, source: Input | None = None) -> Tensor:
    """The number of messages that each value is sent as, see `Input.message_counts`."""
    if source is None or source.coding is not Coding.BINARY:
        return values != 0
    whole = values.to(torch.int64)
    return torch.stack([(whole >> digit) & 1 for digit in range(source.digits)]).sum(0)


@dataclass(frozen=True, slots=True)
class FanOut:
    """Synapses reached by each source neuron: with a non-zero weight, and in total."""

    nonzero: Tensor
    stored: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """Delivery of a source's messages over a connection, and the synapses each message reaches."""

    source: str
    connection: str
    reached: FanOut


@dataclass(frozen=True, slots=True)
class Tally:
    """Running sums of the events of a run, as Python integers (see `EventCounts`)."""

    spikes: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    input_events: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    synaptic_events: Counter[str] = field(default_factory=Counter)
    synaptic_events_all: Counter[str] = field(default_factory=Counter)

    def deliver(
        self,
        connection: str,
        sent: Tensor,
        reached: FanOut,
        repeats: int = 1,
        source: Input | None = None,
    ) -> None:
        """Count the messages of `sent` (..., *source), each delivered `repeats` times.

        Args:
            source: an input whose values these are, in whole numbers.
        """
        per_value = message_counts(sent, source).reshape(-1, reached.stored.numel())
        per_neuron = per_value.sum(0) * repeats
        self.messages[connection] += int(per_neuron.sum())
        self.synaptic_events[connection] += int((per_neuron * reached.nonzero.flatten()).sum())
        self.synaptic_events_all[connection] += int((per_neuron * reached.stored.flatten()).sum())

    def counts(
        self,
        samples: int,
        steps: int,
        neurons: Mapping[str, int],
        inputs: Collection[str],
        connections: Collection[str],
    ) -> EventCounts:
        """The counts, including a zero for every part without events."""

        def complete(counter: Counter[str], names: Collection[str]) -> dict[str, int]:
            return {name: counter[name] for name in names}

        return EventCounts(
            samples=samples,
            steps=steps,
            spikes=complete(self.spikes, neurons),
            visits={name: size * steps * samples for name, size in neurons.items()},
            updates=complete(self.updates, neurons),
            input_events=complete(self.input_events, inputs),
            messages=complete(self.messages, connections),
            synaptic_events=complete(self.synaptic_events, connections),
            synaptic_events_all=complete(self.synaptic_events_all, connections),
        )
