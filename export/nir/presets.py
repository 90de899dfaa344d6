"""The rules of known frameworks, and rules from text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

import nir
import numpy as np

from spikeport import checks
from spikeport.errors import GraphError
from spikeport.export.nir.fields import kind, label
from spikeport.export.nir.graph import CheckedGraph
from spikeport.export.nir.semantics import (
    DEFAULTS,
    Discretization,
    InputGain,
    ResetTiming,
    Rules,
    Semantics,
    StartValue,
    SynapseOrder,
)
from spikeport.network import Reset
from spikeport.storage import nearest
from spikeport.text import quoted

fail = GraphError.fail

_MULTI_SPIKE = Semantics(
    discretization=Discretization.EXPONENTIAL,
    input_gain=InputGain.UNIT,
    synapse_order=SynapseOrder.ADD_FIRST,
    reset=Reset.SUBTRACT,
    strict=False,
    multiple_spikes=True,
)
PRESETS: Mapping[str, Semantics] = {
    "norse": Semantics(input_gain=InputGain.NO_R, start=StartValue.V_LEAK),
    "snntorch": Semantics(
        reset=Reset.SUBTRACT, reset_timing=ResetTiming.AFTER_DECAY, loop_bias=True
    ),
    "spikingjelly": Semantics(strict=False, start=StartValue.V_RESET),
    "sinabs": _MULTI_SPIKE,
    "spyx": Semantics(
        input_gain=InputGain.UNIT,
        reset=Reset.SUBTRACT,
        reset_timing=ResetTiming.AFTER_DECAY,
        late_spikes=True,
    ),
    "rockpool": _MULTI_SPIKE,
    "lava-dl": DEFAULTS,
}
"""The rules of frameworks, for networks made with the defaults of Norse 1.1.0, snnTorch 1.0.0,
SpikingJelly 2.0.0, Sinabs 3.1.3, Spyx 1.0.0, Rockpool 3.1.0 and lava-dl 0.6.0 (SLAYER)."""
WITH_SYNAPSES: Mapping[str, Rules] = {"spyx": {"reset_timing": ResetTiming.BEFORE_DECAY}}
"""Rules that differ in graphs whose spiking neurons are CubaLIF."""


def preset(name: str, kinds: Collection[str] = ()) -> Semantics:
    """The rules of a framework.

    Args:
        kinds: types of the nodes of the graph, on which some rules depend.

    Raises:
        InputError: there is no such preset.
    """
    if name not in PRESETS:
        fail(
            f"semantics {quoted(name)}: must be one of {', '.join(PRESETS)}"
            f"{nearest(str(name), PRESETS)}"
        )
    filtered = "CubaLIF" in kinds and not {"IF", "LIF"} & set(kinds)
    return PRESETS[name].changed(**(WITH_SYNAPSES.get(name, {}) if filtered else {}))


def departures(name: str | None, checked: CheckedGraph) -> tuple[str, ...]:
    """What the framework does with nodes of this graph that its preset does not reproduce."""
    found: list[str] = []
    graph = checked.graph
    kinds = {kind(node) for node in graph.nodes.values()}
    if name is not None and name in WITH_SYNAPSES and "CubaLIF" in kinds and {"IF", "LIF"} & kinds:
        other = rules_text(WITH_SYNAPSES[name])
        found.append(f"{name} has {other} in CubaLIF, but not in the other neurons of this graph")
    if name in ("rockpool", "lava-dl"):
        for source, _ in sorted(checked.plan.feedback):
            if np.any(getattr(graph.nodes[source], "bias", 0)):
                found.append(f"{label(source, graph.nodes[source])}: {name} ignores its bias")
    for node_name, node in graph.nodes.items():
        subject = label(node_name, node)
        leaks, resets = (np.any(getattr(node, field, 0)) for field in ("v_leak", "v_reset"))
        match name:
            case "norse" if leaks and isinstance(node, nir.CubaLI | nir.CubaLIF):
                found.append(f"{subject}: Norse also lets its synaptic current leak to v_leak")
            case "norse" if resets:
                found.append(f"{subject}: Norse resets to 0, v_reset is not")
            case "sinabs" if isinstance(node, nir.IF):
                found.append(f"{subject}: Sinabs keeps v above -v_threshold when it reads this")
            case "rockpool" | "sinabs" | "spyx" | "snntorch" | "lava-dl" if leaks or resets:
                field = "v_leak" if leaks else "v_reset"
                found.append(f"{subject}: {field} is not 0, which {name} does not have")
    return tuple(found)


def parse_rules(subject: str, texts: Iterable[str]) -> tuple[str | None, Rules]:
    """A preset's name and rules from texts such as `snntorch` and `reset_timing=once`.

    Args:
        subject: how messages refer to the texts, such as the name of an option.

    Raises:
        InputError: a name, rule or value is unknown, or is given twice.
    """
    named: str | None = None
    rules: dict[str, Any] = {}
    known = {field.name: field.default for field in fields(Semantics)}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            if key not in PRESETS:
                fail(
                    f"{subject} {quoted(key)}: must be one of {', '.join(PRESETS)}, or a rule such "
                    f"as reset=subtract{nearest(key, PRESETS)}"
                )
            if named is not None:
                fail(f"{subject} {key}: only one framework can be given, also given is {named}")
            named = key
        elif key not in known:
            fail(
                f"{subject} {quoted(text)}: no such rule, must be one of {', '.join(known)}"
                f"{nearest(key, known)}"
            )
        elif key in rules:
            fail(f"{subject} {quoted(text)}: {key} is given twice")
        else:
            rules[key] = _rule(f"{subject} {key}", known[key], value)
    return named, Rules(**rules)  # type: ignore[typeddict-item]


def _rule(subject: str, default: Any, text: str) -> Any:
    if isinstance(default, bool):
        return checks.one_of(subject, ("true", "false"), text) == "true"
    if isinstance(default, int):
        if not text.isdecimal():
            fail(f"{subject} is {quoted(text)}, must be an integer")
        return int(text)
    return checks.choice(subject, type(default), text)


def rules_text(rules: Mapping[str, Any]) -> str:
    """Rules as text, each as `parse_rules` takes it."""
    return "; ".join(f"{name}={str(rule).lower()}" for name, rule in rules.items())
