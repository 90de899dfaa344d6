"""snnTorch: its exporter can write layers with per-neuron parameters, as tensors, only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from torch import nn

from benchmarks.interop.frameworks.graphs import (
    CHANNELS,
    HIDDEN,
    OUTPUTS,
    Array,
    Inputs,
    Made,
    Networks,
    Options,
)

RESETS: dict[str, dict[str, Any]] = {
    "leaky": {},
    "leaky_zero": {"reset_mechanism": "zero", "reset_delay": False},
    "leaky_zero_delayed": {"reset_mechanism": "zero"},
    "leaky_at_once": {"reset_delay": False},
}
ZERO = RESETS["leaky_zero"]


def networks(inputs: Inputs) -> Networks:
    """Perceptrons, convolutions with pools, recurrence."""
    flat, small, image = inputs["flat"], inputs["map"], inputs["image"]
    for name, options in RESETS.items():
        yield name, partial(made, flat, mlp(partial(leaky, beta=0.9, **options)))
    yield "synaptic", partial(made, flat, mlp(synaptic, 1.0, 0.8))
    for name, options in {"recurrent": {}, "recurrent_zero": ZERO}.items():
        yield name, partial(made, flat, recurrent(snn.RLeaky, **options))
    one_to_one = {"all_to_all": False, "V": torch.linspace(-0.5, 0.4, HIDDEN)}
    yield "recurrent_one_to_one", partial(made, flat, recurrent(snn.RLeaky, **one_to_one))
    rsynaptic = recurrent(snn.RSynaptic, alpha=torch.tensor(0.7))
    yield "rsynaptic", partial(made, flat, rsynaptic)
    for name, options in {"conv": {}, "conv_zero": ZERO}.items():
        yield name, partial(made, small, conv(small.shape[2:], *CHANNELS, **options))
    yield "conv_28x28", partial(made, image, conv(image.shape[2:], 8, 16))
    scalar = mlp(lambda *_: snn.Leaky(0.9, init_hidden=True))
    yield "leaky_scalar", partial(made, flat, scalar)


def made(x: Array, build: Callable[[], nn.Module]) -> Made:
    """A network that has run cannot be exported any more, so it is built twice."""
    torch.manual_seed(1)
    network = build()
    with torch.no_grad():
        spikes = np.stack([network(torch.from_numpy(step)).numpy() for step in x])
    torch.manual_seed(1)
    sample = torch.zeros(1, *x.shape[2:])
    return export_to_nir(build(), sample, ignore_dims=[0]), spikes


def leaky(shape: Any, threshold: float, beta: float, **options: Any) -> Any:
    """Leaky neurons."""
    each = torch.ones(np.atleast_1d(shape).tolist())
    return snn.Leaky(beta=beta * each, threshold=threshold * each, init_hidden=True, **options)


def synaptic(neurons: int, threshold: float) -> Any:
    """Neurons with a synaptic current."""
    decays = torch.full((neurons,), 0.7), torch.full((neurons,), 0.9)
    return snn.Synaptic(*decays, threshold=torch.full((neurons,), threshold), init_hidden=True)


def mlp(
    neurons: Callable[[int, float], Any], first: float = 0.3, second: float = 0.2
) -> Callable[[], nn.Module]:
    """Two linear layers."""
    return lambda: nn.Sequential(
        nn.Linear(12, HIDDEN),
        neurons(HIDDEN, first),
        nn.Linear(HIDDEN, OUTPUTS),
        neurons(OUTPUTS, second),
    )


def recurrent(kind: Any, **options: Any) -> Callable[[], nn.Module]:
    """A recurrent layer, from all neurons to all unless stated otherwise."""

    def build() -> nn.Module:
        given = {"linear_features": HIDDEN} if options.get("all_to_all", True) else {}
        plain = {name: o for name, o in options.items() if name.startswith("reset")}
        decay, threshold = torch.full((HIDDEN,), 0.9), torch.full((HIDDEN,), 0.5)
        loop = kind(beta=decay, threshold=threshold, init_hidden=True, **given, **options)
        ends = nn.Linear(12, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
        return nn.Sequential(ends[0], loop, ends[1], leaky(OUTPUTS, 0.2, 0.8, **plain))

    return build


def conv(shape: Any, first: int, second: int, **options: Any) -> Callable[[], nn.Module]:
    """Two convolutions, each followed by an average pool, and a linear layer."""
    channels, height, width = shape
    small = height // 2, width // 2
    return lambda: nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1),
        leaky((first, height, width), 0.3, 0.9, **options),
        nn.AvgPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        leaky((second, *small), 0.1, 0.9, **options),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (height // 4) * (width // 4), OUTPUTS),
        leaky(OUTPUTS, 0.1, 0.8, **options),
    )


def load(path: Path, options: Options) -> Callable[[Array], Array]:
    """Its importer; neurons keep their own states, and loops what they sent, which is passed on."""
    network = import_from_nir(nir.read(path))

    def run(x: Array) -> Array:
        found, state = [], None
        with torch.no_grad():
            for step in x:
                spikes, state = network(torch.from_numpy(step), state)
                found.append(spikes.numpy())
        return np.stack(found)

    return run
