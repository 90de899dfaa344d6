"""The interface of neuron models, and checks common to all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport import checks
from spikeport.network import fixed_point as fx
from spikeport.network.geometry import Shape

State = tuple[int, ...]
"""The state variables of one neuron, in the order of its model's STATE."""


@dataclass(frozen=True, slots=True)
class StateVariable:
    """A state variable that each neuron of a model keeps from step to step.

    Attributes:
        name: as used in traces, probes, stream states and their files.
        meaning: one line, with the unit.
        dtype: of its arrays.
        recordable: whether traces and probes can record it.
    """

    name: str
    meaning: str
    dtype: type[np.integer]
    recordable: bool = True


@dataclass(frozen=True, slots=True)
class Register:
    """A state variable in the neurons of one population.

    Attributes:
        initial: value at the start of every sample.
        low, high: range of its values.
        kept: whether it can ever differ from `initial`; if not, it is not stored.
    """

    variable: StateVariable
    initial: int
    low: int
    high: int
    kept: bool = True


class AnyPopulation(Protocol):
    """Neurons with the same dynamics, of any model.

    Each model is a frozen dataclass whose class name is its type name in files.

    Attributes:
        MODEL: name of the model in messages.
        STATE: its state variables; `u` and `v` are always among them.
        RANGES: lowest and highest value of each integer field.
        NIR_NODES: NIR nodes that can express such neurons; empty if there are none.
        bias: mantissa per neuron, 13 bits signed, int32.
        bias_exponent: bias << bias_exponent is added to v at every step.
        v_init: v at the start of every sample.
        scale: weight units (v >> 6) per unit of the float membrane, for reporting.
    """

    MODEL: ClassVar[str]
    STATE: ClassVar[tuple[StateVariable, ...]]
    RANGES: ClassVar[Mapping[str, tuple[int, int]]]
    NIR_NODES: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> Shape: ...  # noqa: D102
    @property
    def bias(self) -> NDArray[np.int32]: ...  # noqa: D102
    @property
    def bias_exponent(self) -> int: ...  # noqa: D102
    @property
    def v_init(self) -> int: ...  # noqa: D102
    @property
    def scale(self) -> float: ...  # noqa: D102

    @property
    def size(self) -> int:
        """Number of neurons."""
        ...

    @property
    def bias_current(self) -> NDArray[np.int32]:
        """Added to v at every step: bias << bias_exponent, shape `shape`."""
        ...

    @property
    def registers(self) -> tuple[Register, ...]:
        """The state variables of this population, in the order of STATE."""
        ...

    def step(self, state: State, received: int, bias: int) -> tuple[State, bool]:
        """One step of one neuron: the specification, in Python integers.

        Args:
            state: before the step.
            received: summed input a.
            bias: bias current.

        Returns:
            The state after the step, and whether the neuron spiked.
        """
        ...

    def may_move(self, state: State, received: int, bias: int) -> bool:
        """Whether such a step could change the state; these steps are counted as updates."""
        ...


def check_population(part: Any, ranges: Mapping[str, tuple[int, int]]) -> None:
    """Check the fields of a population under construction and convert them to canonical types."""
    subject = f"population '{part.name}'"
    object.__setattr__(part, "shape", checks.shape(part.name, part.shape))
    object.__setattr__(part, "bias", _bias(subject, part.bias, part.shape))
    checks.settle(part, subject, **ranges)
    checks.scale(part)


def _bias(subject: str, value: ArrayLike, shape: Shape) -> NDArray[np.int32]:
    """Mantissas, broadcast from a scalar, one per neuron."""
    array = checks.integers(f"{subject}: bias", value, np.int32)
    if array.shape not in ((), shape):
        checks.fail(f"{subject}: bias has shape {array.shape}, must be {shape}")
    full = np.array(np.broadcast_to(array, shape))
    low, high = fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX
    if full.min() < low or full.max() > high:
        worst = full.min() if full.min() < low else full.max()
        checks.fail(f"{subject}: bias mantissa {worst} must lie in {low}..{high} (13 bits)")
    full.setflags(write=False)
    return full
