"""Hypothesis strategies: random small deployed networks and samples for them.

Structure is drawn by hypothesis and shrinks; the many numbers come from one drawn seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.network import (
    LOIHI,
    AnyPopulation,
    ATRLIFPopulation,
    BiasInjection,
    Coding,
    Connection,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
    Shape,
    SumPool2d,
    is_mixed,
)
from spikeport.runs import SampleSet

EXPONENTS = range(LOIHI.weight_exponent_min, LOIHI.weight_exponent_max + 1)
MAX_PAYLOADS = (1, 255, 2**18, LOIHI.payload_max)


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    feed_forward: bool = False,
    pools: bool = True,
    v_init: bool = True,
    dense_exponents: Sequence[int] = EXPONENTS,
    conv_exponents: Sequence[int] = EXPONENTS,
    max_payloads: Sequence[int] = MAX_PAYLOADS,
    max_steps: int = 6,
    adaptive: bool = False,
) -> DeployedNetwork:
    """A valid network of 1 to 3 populations.

    Args:
        feed_forward: one input and one chain without delays and bias injection. Otherwise
            several inputs, residual sums, self loops, longer cycles, delays (some beyond T) and
            injected biases come in too.
        max_payloads: largest magnitudes of graded values to choose from.
        adaptive: the first population is of ATRLIF neurons, and others may be.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    build = _Build(rng, draw(st.integers(1, max_steps)), pools, dense_exponents, conv_exponents)
    for _ in range(1 if feed_forward else draw(st.integers(1, 2))):
        coding = draw(st.sampled_from([Coding.SPIKES, Coding.GRADED, Coding.BINARY]))
        payload = draw(st.sampled_from(max_payloads)) if coding is Coding.GRADED else 0
        if coding is Coding.BINARY:
            payload = draw(st.sampled_from([1, 4, 15]))  # and weight exponents of at most 3
        build.add_input(coding, payload, signed=draw(st.booleans()))
    for index in range(draw(st.integers(1, 3))):
        last = len(build.sources) - 1
        source = last if feed_forward else draw(st.integers(0, last))
        build.add_population(
            list(build.sources)[source],
            convolution=draw(st.booleans()),
            reset=draw(st.sampled_from(Reset)),
            v_init=v_init and draw(st.booleans()),
            refractory=draw(st.sampled_from([0, 0, 1, 2, LOIHI.refractory_max])),
            delay=0 if feed_forward else draw(st.sampled_from([0, 0, 1, 2, build.steps])),
            adaptive=adaptive and (index == 0 or draw(st.booleans())),
        )
    if not feed_forward:
        for _ in range(draw(st.integers(0, 3))):
            build.add_extra(draw(st.sampled_from([0, 1, 2, build.steps])))
        if draw(st.booleans()):
            build.add_injection()
    kind = draw(st.sampled_from(ReadoutKind))
    return build.network(kind)


@st.composite
def samples_for(
    draw: st.DrawFn, network: DeployedNetwork, *, max_samples: int = 3
) -> dict[str, NDArray[np.int64]]:
    """Samples: silent, full (every value an extreme one) or sparse random; static or timed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, max_samples))
    samples = {}
    for part in network.inputs:
        shape = (count, *part.shape)
        if draw(st.booleans()):
            shape = (network.steps, *shape)
        match draw(st.sampled_from(["random", "full", "silent"])):
            case "full":
                values = rng.choice([part.low, part.high], shape)
                values = np.where(values == 0, part.high, values)
            case "silent":
                values = np.full(shape, min(max(0, part.low), part.high))
            case _:
                values = rng.integers(part.low, part.high, shape, endpoint=True)
                if part.low <= 0 <= part.high:
                    values *= rng.random(shape) < rng.choice([0.1, 0.5, 1.0])
        samples[part.name] = values
    return SampleSet(samples)


@dataclass
class _Build:
    """A network in the making."""

    rng: np.random.Generator
    steps: int
    pools: bool
    dense_exponents: Sequence[int]
    conv_exponents: Sequence[int]
    inputs: list[Input] = field(default_factory=list)
    populations: list[AnyPopulation] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    @property
    def sources(self) -> dict[str, Input | AnyPopulation]:
        carrying: list[Input | AnyPopulation] = [
            part for part in self.inputs if part.coding is not Coding.BIAS
        ]
        return {part.name: part for part in carrying + self.populations}

    def network(self, kind: ReadoutKind) -> DeployedNetwork:
        return DeployedNetwork(
            inputs=tuple(self.inputs),
            populations=tuple(self.populations),
            connections=tuple(self.connections),
            readouts=(Readout(self.populations[-1].name, kind),),
            steps=self.steps,
        )

    def add_input(self, coding: Coding, payload: int, *, signed: bool) -> None:
        name = f"input{len(self.inputs)}"
        low = -payload - (payload == LOIHI.payload_max) if signed else 0
        high = 1 if coding is Coding.SPIKES else payload
        low = low if coding is Coding.GRADED else 0
        self.inputs.append(Input(name, self.shape(), coding, low, high))

    def add_population(
        self,
        source: str,
        *,
        convolution: bool,
        reset: Reset,
        v_init: bool,
        refractory: int,
        delay: int,
        adaptive: bool = False,
    ) -> None:
        name = f"population{len(self.populations)}"
        shape = self.sources[source].shape
        pool, pooled = self.pool(shape)
        connection: Connection
        if convolution and len(shape) > 1:
            connection = self.convolution(source, name, pooled, delay, pool)
            target = connection.output_shape(pooled)
        else:
            target = self.shape()
            connection = self.dense(source, name, pooled, target, delay, pool)
        rng = self.rng
        bias = rng.integers(-4096, 4096, target, np.int32) // rng.choice([1, 64, 4096])
        bias *= rng.random(target) < rng.choice([0.0, 0.5])
        vth = int(rng.choice([0, 20, 300, 5000, LOIHI.vth_max]))
        shared: dict[str, Any] = {
            "decay_u": int(rng.choice([0, 1, 1024, 4095, 4096])),
            "decay_v": int(rng.choice([0, 1, 128, 4096])),
            "bias": bias.astype(np.int32),
            "bias_exponent": int(rng.integers(0, 8)),
            "v_init": int(rng.integers(-(2**20), 2**23)) if v_init else 0,
        }
        if adaptive:
            theta_0, theta_step = (int(rng.choice([0, 5, 60, 900, 4095])) for _ in range(2))
            decays: dict[str, Any] = {
                f"decay_{name}": int(rng.choice([0, 1, 700, 4095, 4096])) for name in ("theta", "r")
            }
            part: AnyPopulation = ATRLIFPopulation(
                name, target, theta_0, theta_step, **decays, **shared
            )
        else:
            part = Population(name, target, vth, reset=reset, refractory=refractory, **shared)
        self.populations.append(part)
        self.connections.append(connection)

    def add_extra(self, delay: int) -> None:
        """A further dense connection between any two parts; one that closes a cycle is delayed."""
        source = str(self.rng.choice(list(self.sources)))
        target = int(self.rng.integers(len(self.populations)))
        earlier = {part.name for part in self.inputs}
        earlier |= {part.name for part in self.populations[:target]}
        pool, pooled = self.pool(self.sources[source].shape)
        part = self.populations[target]
        delay = delay if source in earlier else max(delay, 1)
        self.connections.append(self.dense(source, part.name, pooled, part.shape, delay, pool))

    def add_injection(self) -> None:
        """A bias input into one population, within the range that its own bias leaves."""
        part = self.populations[int(self.rng.integers(len(self.populations)))]
        low = LOIHI.bias_mantissa_min - min(int(part.bias.min()), 0)
        high = LOIHI.bias_mantissa_max - max(int(part.bias.max()), 0)
        self.inputs.append(Input("injected", part.shape, Coding.BIAS, low, high))
        self.connections.append(BiasInjection("injected", part.name))

    def shape(self) -> Shape:
        rng = self.rng
        axes = rng.choice([1, 2, 3], p=[0.3, 0.3, 0.4])
        if axes == 1:
            return (int(rng.integers(1, 13)),)
        if axes == 2:
            return (int(rng.integers(1, 4)), int(rng.integers(1, 10)))
        return (int(rng.integers(1, 4)), int(rng.integers(1, 6)), int(rng.integers(1, 6)))

    def pool(self, shape: Shape) -> tuple[SumPool2d | None, Shape]:
        """A pool for a source of `shape`, if one is wanted and fits, and the shape after it."""
        if not self.pools or len(shape) < 3 or self.rng.random() < 0.6:
            return None, shape
        kernel = self.rng.integers(1, 4, 2)
        pool = SumPool2d(
            tuple(kernel.tolist()),
            tuple((kernel + self.rng.integers(0, 2, 2)).tolist()),
            tuple((self.rng.integers(0, 2, 2) % kernel).tolist()),
        )
        pooled = pool.output_shape(shape)
        return (pool, pooled) if min(pooled) > 0 else (None, shape)

    def dense(
        self,
        source: str,
        target: str,
        pooled: Shape,
        shape: Shape,
        delay: int,
        pool: SumPool2d | None,
    ) -> Dense:
        weight, bits = self.weight((int(np.prod(shape)), int(np.prod(pooled))))
        exponent = self.exponent(source, self.dense_exponents)
        return Dense(source, target, weight, exponent, bits, delay, pool, name=self.fresh_name())

    def convolution(
        self, source: str, target: str, shape: Shape, delay: int, pool: SumPool2d | None
    ) -> Conv1d | Conv2d:
        """One that fits a source of `shape`, along two axes or one."""
        rng, axes = self.rng, len(shape) - 1
        kernel, dilation, padding = rng.integers(1, 4, axes), rng.integers(1, 3, axes), [0] * axes
        for axis in range(axes):
            padding[axis] = int(rng.integers(0, kernel[axis] * dilation[axis]))
            if shape[1 + axis] + 2 * padding[axis] < dilation[axis] * (kernel[axis] - 1) + 1:
                kernel[axis] = dilation[axis] = 1
        stride = rng.integers(1, 4, axes).tolist()
        groups = int(rng.choice([g for g in (1, 2, 3) if shape[0] % g == 0]))
        channels = groups * int(rng.integers(1, 3))
        weight, bits = self.weight((channels, shape[0] // groups, *kernel.tolist()))
        shared: dict[str, Any] = {
            "groups": groups,
            "exponent": self.exponent(source, self.conv_exponents),
            "weight_bits": bits,
            "delay": delay,
            "name": self.fresh_name(),
        }
        sides = {"stride": stride, "padding": padding, "dilation": dilation.tolist()}
        if axes == 1:
            single = {name: value for name, (value,) in sides.items()}
            return Conv1d(source, target, weight, **single, **shared)
        return Conv2d(source, target, weight, **sides, **shared, pool=pool)

    def exponent(self, source: str, among: Sequence[int]) -> int:
        """One that leaves room for the binary digits of an input."""
        part = self.sources[source]
        digits = part.digits if isinstance(part, Input) else 1
        return min(int(self.rng.choice(among)), LOIHI.weight_exponent_max + 1 - digits)

    def weight(self, shape: Shape) -> tuple[NDArray[np.int16], int]:
        """Weights of mixed or one sign on the grid of 3 to 8 bits, some of them zero."""
        rng = self.rng
        bits = int(rng.choice([8, 8, 8, 5, 3]))
        mixed = bool(rng.random() < 0.6)
        low, high, step = LOIHI.weight_grid(mixed=mixed, bits=bits)
        weight = rng.integers(low // step, high // step, shape, endpoint=True) * step
        weight *= rng.random(shape) < rng.choice([0.5, 1.0])
        if mixed and not is_mixed(weight):
            # Chance left one sign, whose grid is finer but does not reach -256.
            weight = np.clip(weight, -(256 - step), 256 - step)
        sign = 1 if mixed or rng.random() < 0.5 else -1
        return (weight * sign).astype(np.int16), bits

    def fresh_name(self) -> str:
        return f"synapses{len(self.connections)}"
