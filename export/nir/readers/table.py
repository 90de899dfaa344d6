"""The readers of NIR files, as one table; another framework is one more entry.

Every entry was found in the source of that version and by running it; `tests/test_readers.py`
compares the words with what installed frameworks do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from spikeport.export.nir.presets import preset
from spikeport.export.nir.readers import wiring
from spikeport.export.nir.readers.fidelity import Fidelity, Finding, approximate, unsupported
from spikeport.export.nir.readers.forms import (
    norse_neuron,
    rockpool_neuron,
    sinabs_neuron,
    snntorch_neuron,
    spikingjelly_neuron,
    spyx_neuron,
)
from spikeport.export.nir.readers.reader import REMEDIES, Reader, dropped, unknown
from spikeport.export.nir.readers.rules import (
    Case,
    Rule,
    Written,
    convolution,
    flat_map,
    kept,
    map_with_bias,
    neuron,
    no_leak,
    pool_as_convolution,
    refused,
    rules_of_a_step,
    scale_as_map,
    steps_apart,
    sum_pool,
    uniform,
)
from spikeport.export.nir.readers.step import (
    exponential_tau,
    membrane_of,
)
from spikeport.export.nir.readers.wiring import Wiring
from spikeport.export.nir.semantics import DEFAULTS, Semantics

_ENDS: Mapping[str, Rule] = {"Input": kept, "Output": kept, "Flatten": kept}
_MAPS: Mapping[str, Rule] = {
    **_ENDS,
    **dict.fromkeys(("Affine", "Linear"), flat_map),
    **dict.fromkeys(("Conv1d", "Conv2d"), convolution),
    "SumPool2d": sum_pool,
    "AvgPool2d": kept,
    "Scale": scale_as_map,
}
"""Maps of readers built on nirtorch's own (nirtorch 2.6, nir_interpreter.py `DEFAULT_MAP`)."""


def _of_preset(name: str) -> Callable[[frozenset[str]], Semantics]:
    return lambda kinds: preset(name, kinds)


# What readers require of what is written


def _equal_leak_and_reset(case: Case, node: Any) -> Finding | None:
    leak = getattr(node, "v_leak", None)
    wanted = 0.0 if isinstance(node, nir.CubaLIF) else node.v_reset
    if leak is None or np.allclose(leak, wanted, rtol=1e-6, atol=1e-12):
        return None
    cause = "SpikingJelly refuses a v_leak that is not v_reset (CubaLIF: not 0)"
    return unsupported(cause, "a bias in front of the neurons")


def _leaking_synapse(case: Case, node: Any) -> Finding | None:
    if not isinstance(node, nir.CubaLIF) or not np.any(node.v_leak):
        return None
    return approximate("Norse also lets the synaptic current leak to v_leak", "a v_leak of 0")


def _one_axis(case: Case, node: Any) -> Finding | None:
    if np.ndim(node.r) == 1 or isinstance(node, nir.IF):
        return None
    cause = "Sinabs stops at LIF and LI of feature maps"
    return unsupported(cause, "flatten in front of it")


def _floor(case: Case, node: Any) -> Finding | None:
    if not isinstance(node, nir.IF):
        return None
    return approximate("Sinabs keeps v above -v_threshold")


def _flat_neurons(case: Case, node: Any) -> Finding | None:
    if np.ndim(node.r) == 1:
        return None
    return unsupported("Rockpool has no neurons of feature maps", "flatten in front of it")


def _neurons(rule: Rule, *types: str) -> dict[str, Rule]:
    return dict.fromkeys(types or ("IF", "LIF", "CubaLIF"), rule)


# Maps that a reader has in a form of its own


def _affine_of_nirtorch(case: Case) -> Written:
    made = flat_map(case)
    if made.findings or isinstance(case.node, nir.Linear):
        return made
    if not np.any(case.node.bias):
        return Written(nir.Linear(case.node.weight))
    cause = "nirtorch 2.6 leaves the bias of an Affine random"
    return Written(case.node, (unsupported(cause, "a map of your own for Affine in node_map"),))


def _neuron_of_nirtorch(case: Case) -> Written:
    cause = "nirtorch has no neurons: the node_map that is given to it decides"
    return Written(case.node, (Finding(Fidelity.EXACT, cause),))


def _rules_of_nir(case: Case) -> Written:
    """NIR itself states equations; what it has no field for is lost."""
    found = rules_of_a_step(case, honours_reset=True)
    if case.semantics.strict is not case.reader.strict:
        found = (*found, approximate("NIR has no field for v >= v_threshold, it states >"))
    for rule in ("input_gain", "synapse_order"):
        if (own := getattr(case.semantics, rule)) is not getattr(case.reader, rule):
            found = (*found, approximate(f"NIR's equations do not have {rule}={own}"))
    return Written(case.node, found)


def _kernel_of_spyx(case: Case) -> Written:
    made, node = convolution(case), case.node
    if made.findings or np.all(np.asarray(node.dilation) == 1):
        return made
    return Written(node, (unsupported("Spyx ignores the dilation"),))


def _flatten_of_spyx(case: Case) -> Written:
    if sum(size > 1 for size in case.given) < 2:
        return Written(case.node)
    cause = "Spyx flattens with channels last, so that the next weights meet other neurons"
    return Written(case.node, (unsupported(cause),))


def _scale_of_sinabs(case: Case) -> Written:
    made = scale_as_map(case)
    return (
        map_with_bias(replace(case, node=made.node)) if isinstance(made.node, nir.Linear) else made
    )


def _readout_of_sinabs(case: Case) -> Written:
    """LI of Sinabs is v <- exp(-dt / tau) v + x, and needs r = 1."""
    node = case.node
    found = [one for one in (no_leak(True)(case, node), _one_axis(case, node)) if one is not None]
    lost, gain = membrane_of(node, case.dt_s, case.semantics)
    if not np.allclose(gain, 1, rtol=1e-6):
        cause = f"its membrane is {1 / gain.flat[0]:g} times ours: Sinabs does not scale inputs"
        found.append(approximate(cause, _SPIKES_INSTEAD))
    made = nir.LI(
        exponential_tau(lost, case.file_dt_s).astype(np.float32),
        np.ones(gain.shape, np.float32),
        np.asarray(node.v_leak, np.float32),
    )
    return Written(made, tuple(found))


_SPIKES_INSTEAD = REMEDIES["LI"]
_SHAPED = refused("Rockpool has no layers of feature maps", "a network of dense layers")

READERS: Mapping[str, Reader] = {
    "nir": Reader(
        version="nir 1.0.8",
        load="nir.read(path)",
        semantics=lambda kinds: DEFAULTS,
        rules={
            **dict.fromkeys(_MAPS, kept),
            **dict.fromkeys(("Conv1d", "Conv2d"), convolution),
            **dict.fromkeys(("Delay", "Threshold", "I", "LI", "CubaLI"), kept),
            **_neurons(_rules_of_nir),
        },
        other=unknown("nir"),
        wiring=Wiring(wiring.as_a_graph),
    ),
    "nirtorch": Reader(
        version="nirtorch 2.6",
        load="nirtorch.nir_to_torch(nir.read(path), node_map)",
        semantics=lambda kinds: DEFAULTS,
        rules={
            **_MAPS,
            **dict.fromkeys(("Affine", "Linear"), _affine_of_nirtorch),
            **_neurons(_neuron_of_nirtorch, "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"),
            **dict.fromkeys(("Delay", "Threshold"), _neuron_of_nirtorch),
        },
        other=unknown("nirtorch"),
        wiring=Wiring(wiring.by_name, wiring.summed_outputs, wiring.RESERVED),
    ),
    "norse": Reader(
        version="Norse 1.1.0",
        load="norse.torch.from_nir(nir.read(path), dt={dt}{reset})",
        semantics=_of_preset("norse"),
        rules={
            **{n: rule for n, rule in _MAPS.items() if n != "Conv1d"},
            "AvgPool2d": pool_as_convolution,
            **_neurons(neuron(norse_neuron, _leaking_synapse, honours_reset=False)),
        },
        other=dropped("Norse"),
        wiring=Wiring(wiring.by_depth, reserved=wiring.RESERVED),
        dt_s=1e-3,
        takes_either_reset=True,
    ),
    "snntorch": Reader(
        version="snnTorch 1.0.0",
        load="snntorch.import_nir.import_from_nir(nir.read(path))",
        semantics=lambda kinds: DEFAULTS,
        rules={
            **_MAPS,
            **_neurons(
                neuron(
                    snntorch_neuron,
                    uniform("v_threshold"),
                    no_leak(True),
                    steps_apart,
                    honours_reset=False,
                )
            ),
        },
        other=unknown("snnTorch"),
        wiring=Wiring(
            wiring.by_name,
            lambda checked: (*wiring.summed_outputs(checked), *wiring.dense_loops(checked)),
            wiring.RESERVED,
        ),
        dt_s=1e-4,
    ),
    "spikingjelly": Reader(
        version="SpikingJelly 2.0.0",
        load="spikingjelly.activation_based.nir_exchange.import_from_nir(path, dt={dt})",
        semantics=_of_preset("spikingjelly"),
        rules={
            **_MAPS,
            **_neurons(
                neuron(
                    spikingjelly_neuron,
                    uniform("tau", "tau_syn", "tau_mem", "r", "w_in", "v_threshold", "v_reset"),
                    uniform("v_leak"),
                    _equal_leak_and_reset,
                    steps_apart,
                )
            ),
        },
        other=unknown("SpikingJelly"),
        wiring=Wiring(wiring.by_name, wiring.summed_outputs, wiring.RESERVED),
        dt_s=1e-4,
    ),
    "sinabs": Reader(
        version="Sinabs 3.1.3",
        load="sinabs.nir.from_nir(nir.read(path), batch_size=...)",
        semantics=_of_preset("sinabs"),
        rules={
            **{n: rule for n, rule in _MAPS.items() if n != "Conv1d"},
            **dict.fromkeys(("Affine", "Linear"), map_with_bias),
            "AvgPool2d": pool_as_convolution,
            "Scale": _scale_of_sinabs,
            "LI": _readout_of_sinabs,
            **_neurons(
                neuron(
                    sinabs_neuron,
                    no_leak(True),
                    _one_axis,
                    _floor,
                    steps_apart,
                    honours_reset=False,
                ),
                *("IF", "LIF"),
            ),
        },
        other=unsupported("Sinabs does not read this type of node"),
        wiring=Wiring(wiring.by_depth_in_one_call, reserved=wiring.RESERVED),
        dt_s=1.0,
    ),
    "rockpool": Reader(
        version="Rockpool 3.1.0",
        load="rockpool.nn.modules.torch.nir.from_nir(nir.read(path))",
        semantics=_of_preset("rockpool"),
        rules={
            **dict.fromkeys(("Input", "Output"), kept),
            **dict.fromkeys(("Affine", "Linear"), flat_map),
            **_neurons(
                neuron(
                    rockpool_neuron, no_leak(False), _flat_neurons, steps_apart, honours_reset=False
                )
            ),
            **dict.fromkeys(("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten"), _SHAPED),
            "LI": refused("Rockpool takes the time constant of LI as an integer", _SPIKES_INSTEAD),
        },
        other=unknown("Rockpool"),
        wiring=Wiring(wiring.by_depth_in_one_call, reserved=wiring.RESERVED),
        dt_s=1e-3,
    ),
    "spyx": Reader(
        version="Spyx 1.0.0",
        load="spyx.nir.from_nir(nir.read(path), x, dt={dt})",
        semantics=_of_preset("spyx"),
        rules={
            **_ENDS,
            **dict.fromkeys(("Affine", "Linear"), flat_map),
            "Conv2d": _kernel_of_spyx,
            "SumPool2d": sum_pool,
            "AvgPool2d": pool_as_convolution,
            "Flatten": _flatten_of_spyx,
            **_neurons(neuron(spyx_neuron, no_leak(False), honours_reset=False)),
        },
        other=unsupported("Spyx leaves out this type of node, or stops at it"),
        wiring=Wiring(wiring.as_a_chain),
        dt_s=1.0,
        ends={"Input": "input", "Output": "output"},
    ),
}
"""Readers by name, those that only read the format first."""
