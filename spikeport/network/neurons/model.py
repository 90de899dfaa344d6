"""The interface of neuron models, and checks common to all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport import checks
from spikeport.errors import NetworkError
from spikeport.network.arithmetic import LOIHI, Arithmetic
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


class Register(NamedTuple):
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
        bias: mantissa per neuron, 13 bits signed, int32.
        bias_exponent: bias << bias_exponent is added to v at every step.
        v_init: v at the start of every sample.
        scale: weight units (v >> 6) per unit of the float membrane, for reporting.
    """

    MODEL: ClassVar[str]
    STATE: ClassVar[tuple[StateVariable, ...]]

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

    @staticmethod
    def ranges(arithmetic: Arithmetic) -> Mapping[str, tuple[int, int]]:
        """Lowest and highest value of each integer field."""
        ...

    def registers(self, arithmetic: Arithmetic) -> tuple[Register, ...]:
        """The state variables of this population, in the order of STATE."""
        ...

    def step(
        self, state: State, received: int, bias: int, arithmetic: Arithmetic
    ) -> tuple[State, bool]:
        """One step of one neuron: the specification, in Python integers.

        Args:
            state: before the step.
            received: summed input a.
            bias: bias current.
            arithmetic: that of the network.

        Returns:
            The state after the step, and whether the neuron spiked.
        """
        ...

    def may_move(self, state: State, received: int, bias: int, arithmetic: Arithmetic) -> bool:
        """Whether such a step could change the state; these steps are counted as updates."""
        ...


def check_population(part: Any) -> None:
    """Check the fields of a population under construction and convert them to canonical types."""
    object.__setattr__(part, "shape", checks.shape(part.name, part.shape))
    object.__setattr__(part, "bias", _bias(f"population '{part.name}'", part.bias, part.shape))
    check_widths(part, LOIHI)
    checks.scale(part)


def check_widths(part: Any, arithmetic: Arithmetic) -> None:
    """Check that the integers of a population are within the ranges of an arithmetic."""
    subject = f"population '{part.name}'"
    low, high = arithmetic.bias_mantissa_min, arithmetic.bias_mantissa_max
    worst = part.bias.min() if part.bias.min() < low else part.bias.max()
    if not low <= worst <= high:
        NetworkError.fail(
            f"{subject}: bias mantissa {worst} must lie in {low}..{high} "
            f"({arithmetic.bias_bits} bits)"
        )
    checks.settle(part, subject, **part.ranges(arithmetic))


def _bias(subject: str, value: ArrayLike, shape: Shape) -> NDArray[np.int32]:
    """Mantissas, broadcast from a scalar, one per neuron."""
    array = checks.integers(f"{subject}: bias", value, np.int32)
    if array.shape not in ((), shape):
        NetworkError.fail(f"{subject}: bias has shape {array.shape}, must be {shape}")
    full = np.array(np.broadcast_to(array, shape))
    full.setflags(write=False)
    return full
