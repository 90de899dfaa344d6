"""What a network needs of Lava beyond the processes that lava-nc 0.10.0 has; see docs/lava.md."""

from __future__ import annotations

from spikeport.backends.lava.program import needs_delay_line, own_convolution, own_neurons
from spikeport.backends.lava.schedule import schedule
from spikeport.network import Conv2d, DeployedNetwork, Reset

CHIP_RESET = " (Loihi 2 needs microcode for that reset, for Loihi 1 no way is known)"


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
            notes.append(note + (CHIP_RESET if population.reset is Reset.SUBTRACT else ""))
    for part in network.synapses:
        if isinstance(part, Conv2d) and (needed := own_convolution(network, part)):
            notes.append(_note("connection", part.name, "WideConv", needed, "Conv"))
        if needs_delay_line(times, part):
            wait = times.delay[part.name]
            needed = [f"a wait of {wait} steps, cut at each sample's end"]
            stock = "Conv" if isinstance(part, Conv2d) else "Dense"
            notes.append(_note("connection", part.name, "DelayLine", needed, stock))
    return tuple(notes)


def _note(kind: str, name: str, own: str, needed: list[str], stock: str) -> str:
    return f"{kind} '{name}': {own} (ours) for {' and '.join(needed)}, which {stock} does not have"
