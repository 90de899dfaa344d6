"""The parts of a `DeployedNetwork`: inputs, populations, connections and readouts, all integers.

Each part is frozen and checks itself; what joins them is checked by the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from spikeport.network import part_rules as rules
from spikeport.network.canonical import OPTIONAL
from spikeport.network.fixed_point import ACTIVATION_SHIFT, DECAY_UNITY, WEIGHT_BITS
from spikeport.network.geometry import IntPair, window_count

Shape = tuple[int, ...]


class Reset(StrEnum):
    """What a spike does to v."""

    ZERO = "zero"
    SUBTRACT = "subtract"


class Coding(StrEnum):
    """How an input enters: 0/1 spikes, signed integer payloads, or a bias per neuron."""

    SPIKES = "spikes"
    GRADED = "graded"
    BIAS = "bias"


class ReadoutKind(StrEnum):
    """What is read from a population: output spikes summed over T, or v after step T."""

    SPIKES = "spikes"
    MEMBRANE = "membrane"


@dataclass(frozen=True, slots=True)
class Input:
    """A source of integer values of one shape, within [low, high].

    A float value x is sent as round(x * scale). Training, calibration and every run accept only
    values in the declared range (see `sample_values`).

    Attributes:
        coding: SPIKES are 0 or 1, GRADED and BIAS any integer within [low, high].
        low, high: required for GRADED; the default is 0..1 for SPIKES and every 13-bit mantissa
            for BIAS.
        scale: integer units per unit of the float input: 255 for pixels 0..1 in steps of 1/255.
    """

    name: str
    shape: Shape
    coding: Coding = Coding.SPIKES
    low: int = None  # type: ignore[assignment]
    high: int = None  # type: ignore[assignment]
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", rules.shape(self.name, self.shape))
        coding = rules.choice(f"input '{self.name}': coding", Coding, self.coding)
        object.__setattr__(self, "coding", coding)
        rules.input_range(self)
        rules.scale(self)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Neurons that share their dynamics; the equations are those of `spikeport.network`.

    A spike resets v within the same step, so traces show v after the reset. Before each sample u is
    0 and v is v_init; nothing else resets a neuron.

    Attributes:
        shape: (N,), (C, L) or (C, H, W).
        decay_u, decay_v: in 1/4096, 0 keeps all, 4096 keeps nothing. (Lava's du is decay_u - 1.)
        vth: threshold mantissa, 17 bits; a spike needs v > vth << 6.
        bias: mantissa per neuron, 13 bits signed, int32; a scalar is broadcast.
        bias_exponent: 0..7; bias << bias_exponent is added to v every step.
        reset: ZERO sets v to 0 after a spike, SUBTRACT subtracts vth << 6.
        v_init: v at the start of every sample.
        refractory: steps of rest after a spike, 0..63.
        scale: weight units (v >> 6) per unit of the float membrane, for reporting.
    """

    name: str
    shape: Shape
    vth: int
    decay_u: int = DECAY_UNITY
    decay_v: int = 0
    bias: NDArray[np.int32] = field(default_factory=lambda: np.zeros((), np.int32))
    bias_exponent: int = 0
    reset: Reset = Reset.ZERO
    v_init: int = 0
    refractory: int = field(default=0, metadata=OPTIONAL)
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", rules.shape(self.name, self.shape))
        reset = rules.choice(f"population '{self.name}': reset", Reset, self.reset)
        object.__setattr__(self, "reset", reset)
        object.__setattr__(self, "bias", rules.bias(self.name, self.bias, self.shape))
        rules.population(self)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def bias_current(self) -> NDArray[np.int32]:
        """What is added to v every step: bias << bias_exponent, shape `shape`."""
        return self.bias << np.int32(self.bias_exponent)


@dataclass(frozen=True, slots=True)
class SumPool2d:
    """Sums of non-overlapping windows of the source, taken before the weights.

    The pool and the linear map behind it are one linear map, so it costs no step and no spike.
    """

    kernel_size: IntPair
    stride: IntPair
    padding: IntPair = (0, 0)

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "padding"):
            object.__setattr__(self, name, rules.pair(f"sum-pool: {name}", getattr(self, name)))
        rules.pool(self)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C, H', W') of the pooled source."""
        height, width = (
            window_count(n, k, s, p)
            for n, k, s, p in zip(
                shape[1:], self.kernel_size, self.stride, self.padding, strict=True
            )
        )
        return (shape[0], height, width)


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Every source neuron to every target neuron; sources and targets flattened in C order.

    Attributes:
        weight: mantissas, shape (N_target, N_source), on the chip's grid, int16.
        exponent: shifts the accumulated sum, left if positive.
        delay: logical steps; at least 1 somewhere on every cycle.
    """

    source: str
    target: str
    weight: NDArray[np.int16]
    exponent: int = 0
    weight_bits: int = WEIGHT_BITS
    delay: int = 0
    pool: SumPool2d | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        object.__setattr__(self, "weight", rules.weight(self, dims=2))
        rules.connection(self)


@dataclass(frozen=True, slots=True, eq=False)
class Conv2d:
    """Cross-correlation as in PyTorch and NIR, zero padding.

    Its accumulated sum wraps to signed 24 bits before the exponent acts, as in Lava's Conv.

    Attributes:
        weight: mantissas, shape (C_out, C_in / groups, KH, KW), on the chip's grid, int16.
    """

    source: str
    target: str
    weight: NDArray[np.int16]
    stride: IntPair = (1, 1)
    padding: IntPair = (0, 0)
    dilation: IntPair = (1, 1)
    groups: int = 1
    exponent: int = 0
    weight_bits: int = WEIGHT_BITS
    delay: int = 0
    pool: SumPool2d | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        for name in ("stride", "padding", "dilation"):
            object.__setattr__(self, name, rules.pair(f"{self.name}: {name}", getattr(self, name)))
        object.__setattr__(self, "weight", rules.weight(self, dims=4))
        rules.connection(self)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C_out, H', W') for a source (after its pool) of shape (C_in, H, W)."""
        height, width = (
            window_count(n, k, s, p, d)
            for n, k, s, p, d in zip(
                shape[1:],
                self.weight.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        )
        return (self.weight.shape[0], height, width)


@dataclass(frozen=True, slots=True, eq=False)
class Conv1d:
    """`Conv2d` along one axis, wrapping alike; for sources (C, L).

    Attributes:
        weight: mantissas, shape (C_out, C_in / groups, K), on the chip's grid, int16.
    """

    source: str
    target: str
    weight: NDArray[np.int16]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    exponent: int = 0
    weight_bits: int = WEIGHT_BITS
    delay: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        for name in ("stride", "padding", "dilation"):
            object.__setattr__(self, name, rules.side(f"{self.name}: {name}", getattr(self, name)))
        object.__setattr__(self, "weight", rules.weight(self, dims=3))
        rules.connection(self)

    @property
    def pool(self) -> None:
        """There is no sum-pool along one axis, as there is none in NIR."""
        return None

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C_out, L') for a source of shape (C_in, L)."""
        kernel = self.weight.shape[2]
        length = window_count(shape[1], kernel, self.stride, self.padding, self.dilation)
        return (self.weight.shape[0], length)

    def as_conv2d(self) -> Conv2d:
        """The same map for a source (C, 1, L) and a target (C', 1, L')."""
        return Conv2d(
            self.source,
            self.target,
            self.weight[:, :, None],
            stride=(1, self.stride),
            padding=(0, self.padding),
            dilation=(1, self.dilation),
            groups=self.groups,
            exponent=self.exponent,
            weight_bits=self.weight_bits,
            delay=self.delay,
            name=self.name,
        )


@dataclass(frozen=True, slots=True)
class BiasInjection:
    """An input of coding BIAS, one to one, into a population's bias mantissas for each step.

    b = (bias + x) << bias_exponent; no synapse is crossed.
    """

    source: str
    target: str
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")


Convolution = Conv1d | Conv2d
WeightedConnection = Dense | Conv1d | Conv2d
Connection = WeightedConnection | BiasInjection


@dataclass(frozen=True, slots=True)
class Readout:
    """What the network answers with: one score per neuron of `population`."""

    population: str
    kind: ReadoutKind = ReadoutKind.SPIKES

    def __post_init__(self) -> None:
        kind = rules.choice(f"readout of '{self.population}': kind", ReadoutKind, self.kind)
        object.__setattr__(self, "kind", kind)


def threshold_state(population: Population) -> int:
    """The value v must exceed to spike: vth << 6."""
    return population.vth << ACTIVATION_SHIFT
