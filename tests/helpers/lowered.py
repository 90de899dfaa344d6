"""Run a `LoweredNetwork` in float64, with torch's convolutions: the equations of its docstring."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spikeport.export.quantize.lowered import FloatConnection, LoweredNetwork
from spikeport.network import Reset


def run_lowered(
    lowered: LoweredNetwork, samples: NDArray[np.float64]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Spikes, and v before the reset in units of the graph, by population; (T, B, N)."""
    (source,) = lowered.inputs
    x = torch.tensor(samples)
    sent: dict[str, list[Tensor]] = {part.name: [] for part in lowered.populations}
    state = {
        part.name: torch.tensor([0.0, part.start], dtype=torch.float64)
        .reshape(2, *(1,) * (1 + len(part.shape)))
        .repeat(1, len(x), *part.shape)
        for part in lowered.populations
    }
    charged: dict[str, list[Tensor]] = {part.name: [] for part in lowered.populations}
    for step in range(lowered.steps):
        for part in lowered.populations:
            total = torch.zeros_like(state[part.name][0])
            for connection in lowered.incoming(part.name):
                if step < connection.delay:
                    continue
                given = (
                    x
                    if connection.source == source.name
                    else sent[connection.source][step - connection.delay]
                )
                total = total + _applied(connection, given).reshape(total.shape)
            u, v = state[part.name]
            u = _tensor(part.keep_u) * u + total
            v = _tensor(part.keep_v) * v + u + torch.tensor(part.bias)
            charged[part.name].append(v / _tensor(part.unit) + _tensor(part.zero))
            fired = torch.zeros_like(v)
            if part.threshold is not None:
                above = v > part.threshold if lowered.strict else v >= part.threshold
                fired = above.double()
                v = v * (1 - fired) if lowered.reset is Reset.ZERO else v - part.threshold * fired
            sent[part.name].append(fired)
            state[part.name] = torch.stack([u, v])
    return {
        name: tuple(torch.stack(each).flatten(2).numpy() for each in (sent[name], charged[name]))  # type: ignore[misc]
        for name in sent
    }


def _tensor(values: NDArray[np.float64] | float) -> Tensor:
    return torch.tensor(np.array(values), dtype=torch.float64)


def _applied(connection: FloatConnection, x: Tensor) -> Tensor:
    weight = torch.tensor(connection.weight)
    if connection.pool is not None:
        pool = connection.pool
        x = functional.avg_pool2d(
            x, pool.kernel_size, pool.stride, pool.padding, divisor_override=1
        )
    if weight.ndim == 2:
        return functional.linear(x.flatten(1), weight)
    if weight.ndim == 3:
        _, stride = connection.stride
        _, padding = connection.padding
        _, dilation = connection.dilation
        return functional.conv1d(x, weight, None, stride, padding, dilation, connection.groups)
    options = connection.stride, connection.padding, connection.dilation, connection.groups
    return functional.conv2d(x, weight, None, *options)
