"""What a network needs of Lava beyond the processes that lava-nc 0.10.0 has; see docs/lava.md."""

from __future__ import annotations

from spikeport.backends.lava.schedule import (
    CONV_STOCK_SUM,
    Schedule,
    conv_sum_bound,
    schedule,
)
from spikeport.network import (
    BiasInjection,
    Convolution,
    DeployedNetwork,
    Population,
    Reset,
    Synapses,
)

CHIP_RESET = " (Loihi 2 needs microcode for that reset, for Loihi 1 no way is known)"
CHIP_REST = " (on Loihi 1 a refractory delay of {}, which counts from 1)"


def lava_notes(network: DeployedNetwork) -> tuple[str, ...]:
    """One line for each part that runs on a process model of ours; empty if all are stock.

    Raises:
        InputError: Lava cannot run the network; every reason is listed.
    """
    times = schedule(network)
    notes = []
    for population in network.populations:
        if needed := own_neurons(network, population):
            note = _note("population", population.name, "SampleLIF", needed, "LIFReset")
            note += CHIP_RESET if population.reset is Reset.SUBTRACT else ""
            note += CHIP_REST.format(population.refractory + 1) if population.refractory else ""
            notes.append(note)
    for part in network.synapses:
        if isinstance(part, Convolution) and (needed := own_convolution(network, part)):
            notes.append(_note("connection", part.name, "WideConv", needed, "Conv"))
        if needs_delay_line(times, part):
            wait = times.delay[part.name]
            needed = [f"a wait of {wait} steps, cut at each sample's end"]
            stock = "Conv" if isinstance(part, Convolution) else "Dense"
            notes.append(_note("connection", part.name, "DelayLine", needed, stock))
    return tuple(notes)


def injections(network: DeployedNetwork, population: str) -> list[BiasInjection]:
    """Bias injections into a population."""
    return [c for c in network.incoming(population) if isinstance(c, BiasInjection)]


def own_neurons(network: DeployedNetwork, population: Population) -> list[str]:
    """What Lava's LIFReset does not have of a population's dynamics; empty if it has all."""
    found = {
        "reset by subtraction": population.reset is Reset.SUBTRACT,
        "samples that start at v_init": population.v_init != 0,
        "a bias per step": bool(injections(network, population.name)),
        f"{population.refractory} steps of rest after a spike": population.refractory > 0,
    }
    return [what for what, needed in found.items() if needed]


def needs_delay_line(times: Schedule, part: Synapses) -> bool:
    """Whether messages must wait, or those of a sample's last steps must not reach the next."""
    return times.delay[part.name] > 0 or part.delay > 0


def own_convolution(network: DeployedNetwork, part: Convolution) -> list[str]:
    """What Lava's Conv does not have of a convolution; empty if it has all."""
    found = {
        f"weight exponent {part.exponent}": part.exponent != 0,
        "sums beyond 32 bits": conv_sum_bound(network, part) >= CONV_STOCK_SUM,
    }
    return [what for what, needed in found.items() if needed]


def _note(kind: str, name: str, own: str, needed: list[str], stock: str) -> str:
    return f"{kind} '{name}': {own} (ours) for {' and '.join(needed)}, which {stock} does not have"
