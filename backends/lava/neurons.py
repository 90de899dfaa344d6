"""The Lava process for each neuron model, and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spikeport.network import (
    LOIHI,
    AnyPopulation,
    ATRLIFPopulation,
    DeployedNetwork,
    Population,
    Reset,
    implementation_of,
)

LIF = "lava-nc 0.10.0, proc/lif/models.py"
ATRLIF = "lava-nc 0.10.0, proc/atrlif/models.py"


@dataclass(frozen=True, slots=True)
class Beyond:
    """A value that Lava's own process does not have, and what it has.

    Attributes:
        rounded: quantization may choose it.
    """

    quantity: str
    value: int | str
    limit: int | str
    rounded: bool = False


@dataclass(frozen=True, slots=True)
class LavaNeurons:
    """The process of a population.

    Attributes:
        kind: its class in the worker.
        fields: its parameters, besides those common to all populations.
        unsupported: values of the dynamics that Lava's own process does not have.
        stock: Lava's own process, and `source`, where this is documented.
    """

    kind: str
    fields: Mapping[str, Any]
    unsupported: tuple[Beyond, ...]
    stock: str
    source: str


def lava_neurons(network: DeployedNetwork, population: AnyPopulation) -> LavaNeurons:
    """The process of a population of `network`."""
    make = implementation_of(MODELS, population, "in Lava")
    return make(population, bool(network.injections_into(population.name)))


INJECTED = Beyond("bias", "per step", "constant")


def _lif(part: Population, injected: bool) -> LavaNeurons:
    fields = {"du": part.decay_u - 1, "dv": part.decay_v, "vth": part.vth}
    found = {
        Beyond("reset", "subtract", "zero"): part.reset is Reset.SUBTRACT,
        Beyond("v_init", part.v_init, 0, rounded=True): part.v_init != 0,
        INJECTED: injected,
        Beyond("refractory", part.refractory, 0): part.refractory > 0,
    }
    unsupported = tuple(what for what, needed in found.items() if needed)
    if not unsupported:
        return LavaNeurons("RecordedLIF", fields, (), "LIFReset", LIF)
    own = {
        "v_init": part.v_init,
        "subtract": part.reset is Reset.SUBTRACT,
        "refractory": part.refractory,
    }
    return LavaNeurons("SampleLIF", fields | own, unsupported, "LIFReset", LIF)


def _atrlif(part: ATRLIFPopulation, injected: bool) -> LavaNeurons:
    # Lava's fractions of 4096; it adds 1 to that of the current.
    decays = {
        "i": part.decay_u - 1,
        "v": part.decay_v,
        "theta": part.decay_theta,
        "r": part.decay_r,
    }
    fields = {
        **{f"delta_{name}": decay / LOIHI.decay_unity for name, decay in decays.items()},
        "theta_0": part.theta_0,
        "theta_step": part.theta_step,
        "v_init": part.v_init,
    }
    found = {
        Beyond("state at a sample's start", "zeroed", "kept"): True,
        Beyond("v_init", part.v_init, 0, rounded=True): part.v_init != 0,
        INJECTED: injected,
    }
    unsupported = tuple(what for what, needed in found.items() if needed)
    return LavaNeurons("SampleATRLIF", fields, unsupported, "ATRLIF", ATRLIF)


MODELS: dict[type[AnyPopulation], Callable[[Any, bool], LavaNeurons]] = {
    Population: _lif,
    ATRLIFPopulation: _atrlif,
}
