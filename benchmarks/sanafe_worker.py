"""Runs in the environment of SANA-FE, without Spikeport: `python sanafe_worker.py TASK.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PJ_PER_J = 1e12


def main() -> None:
    """Simulate the network of the task and print counts and energy as JSON."""
    import sanafe  # type: ignore[import-not-found]

    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    chip, net = sanafe.load_loihi(), sanafe.Network()
    groups: dict[str, Any] = {}
    given = task["input"]
    groups[given["name"]] = net.create_neuron_group(
        given["name"], len(given["spikes"]), soma_hw_name="loihi_inputs"
    )
    for number, spikes in enumerate(given["spikes"]):
        groups[given["name"]].neurons[number].set_attributes(
            soma_hw_name=f"loihi_inputs[{number}]", model_attributes={"spikes": spikes}
        )
    for part in task["populations"]:
        # SANA-FE fires above the threshold, as the network does.
        groups[part["name"]] = net.create_neuron_group(
            part["name"],
            part["size"],
            model_attributes={"threshold": part["threshold"], "reset": 0.0, "leak_decay": 1.0},
            soma_hw_name="loihi_lif",
        )
    for part in task["connections"]:
        sources, targets = (groups[part[end]].neurons for end in ("source", "target"))
        unit = f"loihi_{part['storage']}_synapse"
        for target in targets:
            target.set_attributes(default_synapse_hw_name=unit)
        for target, source, weight in part["synapses"]:
            sources[source].connect_to_neuron(targets[target], {"weight": float(weight)})
    for name, group in groups.items():
        group.map_to_core(chip.tiles[task["tiles"][name]].cores[0])
    simulated = sanafe.SpikingChip(chip)
    simulated.load(net)
    found = simulated.sim(task["steps"], timing_model="simple")
    counts = {
        "spikes": found["neurons_fired"],
        "packets": found["packets_sent"],
        "synaptic events": found["spikes"],
        "updates": found["neurons_updated"],
    }
    print(json.dumps({**counts, "energy_pj": found["energy"]["total"] * PJ_PER_J}))


if __name__ == "__main__":
    main()
