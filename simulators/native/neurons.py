"""The compiled neuron models, and the one that a population needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    AnyPopulation,
    ATRLIFPopulation,
    Population,
    implementation_of,
)
from spikeport.simulators.native.atrlif import (
    ATRLIFDynamics,
    ATRLIFState,
    atrlif_dynamics,
    atrlif_loop,
    atrlif_variant,
)
from spikeport.simulators.native.compiled import chosen_by_type
from spikeport.simulators.native.lif import (
    LIFDynamics,
    LIFState,
    lif_dynamics,
    lif_loop,
    lif_variant,
)

Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A neuron model in the compiled loops.

    Attributes:
        state: NamedTuple of its state variables, in the order of the model's STATE.
        constants: NamedTuple returned by `dynamics`.
        dynamics: constants of a population.
        variant: compile-time constants of a population, given whether its input can never wrap u.
        loop: the compiled step of consecutive neurons; see `neuron_loop`.
    """

    state: type[Any]
    constants: type[Any]
    dynamics: Callable[[Any], Any]
    variant: Callable[[Any, bool], tuple[bool, ...]]
    loop: Callable[..., int]


MODELS: dict[type[AnyPopulation], CompiledModel] = {
    Population: CompiledModel(LIFState, LIFDynamics, lif_dynamics, lif_variant, lif_loop),
    ATRLIFPopulation: CompiledModel(
        ATRLIFState, ATRLIFDynamics, atrlif_dynamics, atrlif_variant, atrlif_loop
    ),
}


def compiled_model(population: AnyPopulation) -> CompiledModel:
    """The compiled model of a population."""
    return implementation_of(MODELS, population, "in the native simulator")


def example_of(model: str) -> tuple[Any, Any]:
    """State and constants of the types that populations of a model, by its class name, have."""
    kind = next(kind for kind in MODELS if kind.__name__ == model)
    state, constants = MODELS[kind].state, MODELS[kind].constants
    types = get_type_hints(constants).values()
    return (
        state(*(np.zeros((1, 1), variable.dtype) for variable in kind.STATE)),
        constants(*(make() for make in types)),
    )


def recorded_state(population: AnyPopulation, state: Any) -> dict[str, Int32]:
    """The arrays of the state variables that traces can record, by name."""
    return {
        variable.name: values
        for variable, values in zip(population.STATE, state, strict=True)
        if variable.recordable
    }


_LOOPS = {model.constants: model.loop for model in MODELS.values()}


@chosen_by_type(_LOOPS, argument=1)
def neuron_loop(
    state: Any,
    dynamics: Any,
    variant: tuple[bool, ...],
    biased: bool,
    sample: int,
    begin: int,
    end: int,
    received: Int32,
    added: Int32,
    fired: NDArray[np.uint8],
) -> int:
    """One step of neurons begin..end - 1 of a sample, for the model that `dynamics` belongs to.

    Args:
        state: updated in place.
        variant, biased: compile-time constants; `biased` says whether there is a bias current.
        received: summed input (end - begin,).
        added: bias current (end - begin,), only used if `biased`.
        fired: set to 1 where a neuron spiked, (end - begin,).

    Returns:
        The number of neurons whose state could have changed; see `EventCounts.updates`.
    """
    loop = _LOOPS[type(dynamics)]
    return loop(state, dynamics, variant, biased, sample, begin, end, received, added, fired)
