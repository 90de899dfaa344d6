"""Runs in the environment of Qualia, without Spikeport: `python qualia_worker.py TASK.json`."""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def main() -> None:
    """Sum Qualia's terms over the layers of the task and print them as JSON, in pJ."""
    with contextlib.redirect_stdout(io.StringIO()):
        from qualia_plugin_snn.postprocessing.EnergyEstimationMetric import (  # type: ignore[import-not-found]
            EnergyEstimationMetric,
        )
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    metric: Any = EnergyEstimationMetric(mem_width=task["bits"], fifo_size=task["queue"])

    def access(values: int) -> float:
        return float(metric._e_ram(values, task["bits"]))

    found: dict[str, float] = {}
    for one in task["layers"]:
        for term, energy in _terms(metric, one, task["steps"], access).items():
            found[term] = found.get(term, 0.0) + energy
    print(json.dumps(found))


def _terms(metric: Any, one: dict[str, Any], steps: int, access: Any) -> dict[str, float]:
    layer = SimpleNamespace(
        input_shape=[one["input_shape"]],
        output_shape=[one["output_shape"]],
        kernel_size=one["kernel_size"],
        strides=one["strides"],
        kernel=SimpleNamespace(size=one["weights"]),
        bias=SimpleNamespace(size=one["biases"]),
        use_bias=one["biases"] > 0,
    )
    into = one["spikes_in"] / math.prod(one["input_shape"])
    out = one["spikes_out"] / math.prod(one["output_shape"])

    def of(name: str) -> Any:
        return getattr(metric, f"_e_{name}_{one['kind']}_snn")

    return {
        "operations": of("ops")(layer, into, out, steps, one["leak"]),
        "addressing": of("addr")(layer, into),
        "weights": of("rdweights")(layer, into, access),
        "biases": of("rdbias")(layer, steps, access),
        "potentials": of("rdpot")(layer, into, steps, access)
        + of("wrpot")(layer, into, steps, access),
        "inputs and outputs": metric._e_rdin_snn(layer, into, access)
        + metric._e_wrout_snn(layer, out, access),
    }


if __name__ == "__main__":
    main()
