"""Run a NIR graph in Norse, an independent implementation, to check an export.

Norse 1.1.0 silently changes some graphs: it drops AvgPool2d, LI and all types that it does not
know, ignores `r` outside of CubaLIF and starts v at v_leak (both as in the preset `norse`), ignores
the padding of SumPool2d, never reads v_reset, and merges batches in Flatten. A graph that it would
change is refused here, or rewritten so that its meaning is kept:

- nodes get neutral names, because generated and looked-up names come from files;
- Flatten counts the batch axis, which Norse has and NIR does not;
- LIF with reset by subtraction is a CubaLIF with tau_syn = dt, the only neuron with that option;
- v >= threshold is v > the next lower float64, because Norse compares with `>`;
- (C, L) is (C, 1, L) throughout, and Conv1d, which Norse drops, is a Conv2d along the rows;
- arrays are float64 tensors, which Norse uses unchanged; it would round NumPy arrays to float32.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
import warnings
from copy import copy
from typing import TYPE_CHECKING, Any

import nir
import numpy as np

from spikeport.backends.norse.nodes import ENDS, SUPPORTED
from spikeport.errors import BackendUnavailableError, UnsupportedError
from spikeport.export.nir import CheckedGraph, FloatNetwork
from spikeport.export.nir.fields import SPIKING, kind, label, make_node, node_values
from spikeport.export.nir.portable import portable
from spikeport.export.nir.readers.walks import depth_first_edges, late_edges
from spikeport.export.nir.semantics import DEFAULTS, InputGain, Semantics, StartValue
from spikeport.network import Reset
from spikeport.runs import (
    RecordSpec,
    Run,
    Samples,
    Trace,
    at_step,
    check_float_samples,
    check_names,
    sample_count,
)

if TYPE_CHECKING:
    import torch

fail = UnsupportedError.fail

FIX = "pip install '.[norse]'"


def norse_status() -> tuple[str | None, str, str]:
    """Version of Norse, or None with the reason why it cannot run and a command that fixes it."""
    for package in ("torch", "norse", "nirtorch"):
        if importlib.util.find_spec(package) is None:
            return None, f"{package} is not installed", FIX
    return importlib.metadata.version("norse"), "", ""


def run_norse(network: FloatNetwork, samples: Samples, *, record: RecordSpec = ("spikes",)) -> Run:
    """Run `network` in Norse, in float64.

    Args:
        samples: (B, *shape) presented at every step, or (T, B, *shape).
        record: "spikes" and "v" (after reset), per neuron node.

    Returns:
        As for `run_float`.

    Raises:
        InputError: Norse would run a different network; the message names the node and the reason.
        BackendUnavailableError: Norse is not installed, or failed.
    """
    version, reason, fix = norse_status()
    if version is None:
        raise BackendUnavailableError(f"norse: {reason}; {fix}")
    record = check_names(record, ("spikes", "v"), " in norse")
    checked = network.checked
    graph = checked.graph
    check_supported(graph, network.semantics)
    arrays = check_float_samples(network.inputs, network.steps, samples)
    start = time.perf_counter()
    try:
        outputs, potentials = _execute(network, checked, arrays)
    except (RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise BackendUnavailableError(f"norse {version} broke: {error!r}") from error
    wall_s = time.perf_counter() - start
    spikes = {n: outputs[n].astype(np.uint8) for n in sorted(outputs) if _spikes(graph, n)}
    return Run(
        backend="norse",
        version=version,
        network_hash="",
        samples=sample_count(network.inputs, arrays),
        steps=network.steps,
        scores=_scores(checked, outputs),
        spike_counts={n: s.sum(axis=(0, 1), dtype=np.int64) for n, s in spikes.items()},
        counts=None,
        trace=Trace(
            spikes=spikes if "spikes" in record else {}, v=potentials if "v" in record else {}
        ),
        wall_s=wall_s,
    )


def check_supported(graph: nir.NIRGraph, semantics: Semantics) -> None:
    """Refuse a graph or rules that Norse would change.

    Raises:
        InputError: names the node and what Norse does with it.
    """
    free = ("reset", "strict", "input_gain", "integrator_gain", "start")
    for rule, value in semantics.as_dict().items():
        if rule not in free and value != DEFAULTS.as_dict()[rule]:
            fail(f"{rule} is {value}, Norse has only {DEFAULTS.as_dict()[rule]}")
    if semantics.input_gain is InputGain.UNIT:
        fail("input_gain is unit, Norse scales inputs by dt / tau")
    ignores_r = semantics.input_gain is InputGain.NO_R
    for name, node in graph.nodes.items():
        subject = label(name, node)
        if kind(node) not in (*ENDS, *SUPPORTED):
            fail(f"{subject}: Norse drops this type without an error")
        if isinstance(node, nir.IF | nir.LIF) and not ignores_r and (node.r != 1).any():
            fail(f"{subject}: r is not 1, which Norse ignores; scale the weights instead")
        for field in ("v_leak", "v_reset"):
            leaks = field == "v_leak" and isinstance(node, nir.LIF)
            if leaks and semantics.start is StartValue.V_LEAK and semantics.reset is Reset.ZERO:
                continue
            if np.any(getattr(node, field, 0)):
                fail(f"{subject}: {field} is not 0, which Norse treats differently")
        if isinstance(node, nir.IF) and semantics.reset is Reset.SUBTRACT:
            fail(f"{subject}: Norse's IF can only reset to zero, this network subtracts")
        if isinstance(node, nir.SumPool2d) and np.any(node.padding):
            fail(f"{subject}: has padding, which Norse ignores")
        if isinstance(node, nir.Affine | nir.Linear) and node.weight.ndim != 2:
            fail(f"{subject}: weight has {node.weight.ndim} axes, Norse supports 2")
    if len(graph.inputs) != 1:
        fail(f"graph: has {len(graph.inputs)} Input nodes, Norse supports only one")


def _execute(
    network: FloatNetwork, checked: CheckedGraph, arrays: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outputs of all nodes and v of the neurons, arrays (T, B, ...)."""
    import torch

    graph = checked.graph
    alias = {name: f"node{index}" for index, name in enumerate(graph.nodes)}
    with warnings.catch_warnings():
        # torch.jit.script and nirtorch.load, which Norse calls, are deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        import norse.torch
        from norse.torch.functional.reset import reset_subtract, reset_value

        method = reset_subtract if network.semantics.reset is Reset.SUBTRACT else reset_value
        translated = _translated(network, checked, alias)
        module = norse.torch.from_nir(translated, reset_method=method, dt=network.dt_s)
    _check_order(checked, alias, [node.name for node in module.execution_order])
    (part,) = network.inputs
    values = torch.tensor(arrays[part.name])
    outputs: dict[str, list[Any]] = {name: [] for name in graph.nodes}
    potentials: dict[str, list[Any]] = {n: [] for n in graph.nodes if _spikes(graph, n)}
    state = None
    with torch.no_grad():
        for step in range(network.steps):
            now: Any = at_step(part, values, step)  # type: ignore[arg-type]
            _, state = module(now.unsqueeze(-2) if len(part.shape) == 2 else now, state)
            for name, kept in outputs.items():
                if _spikes(graph, name) or isinstance(graph.nodes[name], nir.Output):
                    kept.append(state.cache[alias[name]].numpy())
            for name, kept in potentials.items():
                kept.append(_membrane(state.state[alias[name]]).numpy())
    return (
        {name: _stacked(graph.nodes[name], kept) for name, kept in outputs.items() if kept},
        {name: _stacked(graph.nodes[name], kept) for name, kept in potentials.items()},
    )


def _stacked(node: Any, steps: list[Any]) -> Any:
    """Outputs of a node in all steps, (T, B, *shape)."""
    return np.reshape(steps, (len(steps), len(steps[0]), *node.output_type["output"]))


def _membrane(state: Any) -> torch.Tensor:
    """v in the state of a cell, the last of the two states of a CubaLIF."""
    while not hasattr(state, "v"):
        state = state[-1]
    v: torch.Tensor = state.v
    return v


def _translated(
    network: FloatNetwork, checked: CheckedGraph, alias: dict[str, str]
) -> nir.NIRGraph:
    graph = checked.graph
    nodes = {alias[name]: _tensors(_kept(node, network)) for name, node in graph.nodes.items()}
    edges = [(alias[a], alias[b]) for a, b in depth_first_edges(checked)]
    return nir.NIRGraph(nodes, edges, type_check=False)


def _kept(node: Any, network: FloatNetwork) -> Any:
    """The node in the form in which Norse preserves its meaning."""
    if isinstance(node, nir.Flatten):
        # (B, C, L) is (B, C, 1, L) here
        batched = (0, 1, 3) if len(node.input_type["input"]) == 2 else (0, 1, 2, 3)
        start, end = (d if d < 0 else batched[d + 1] for d in (node.start_dim, node.end_dim))
        return nir.Flatten({"input": None}, start, end)
    if isinstance(node, nir.Conv1d):
        return _along_rows(portable(node)[0])
    if kind(node) not in SPIKING:
        return portable(node)[0]
    values = {f: np.asarray(v, np.float64) for f, v in node_values(node).items()}
    if node.v_threshold.ndim == 2:
        values = {f: v[:, None] for f, v in values.items()}
    if not network.semantics.strict:
        values["v_threshold"] = np.nextafter(values["v_threshold"], -np.inf)
    if isinstance(node, nir.LIF) and network.semantics.reset is Reset.SUBTRACT:
        values["tau_mem"] = values.pop("tau")
        values["r"] = np.ones_like(values["r"])  # it is 1, or ignored
        values |= {"tau_syn": np.full_like(values["r"], network.dt_s), "w_in": values["r"]}
        return make_node("", "CubaLIF", values)
    return make_node("", kind(node), values)


def _along_rows(node: nir.Conv1d) -> nir.Conv2d:
    padding = node.padding if isinstance(node.padding, str) else (0, node.padding)
    sides = (1, node.stride), padding, (1, node.dilation)
    return nir.Conv2d(None, node.weight[:, :, None], *sides, node.groups, node.bias)


def _tensors(node: Any) -> Any:
    """A copy of the node with its float arrays as float64 tensors."""
    import torch

    node = copy(node)
    for field, value in node_values(node).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            setattr(node, field, torch.from_numpy(value.astype(np.float64)))
    return node


def _check_order(checked: CheckedGraph, alias: dict[str, str], run_order: list[str]) -> None:
    """Norse walks depth first, which runs what joins two branches before the second of them."""
    names = {a: name for name, a in alias.items()}
    late = late_edges([names[a] for a in run_order], checked.graph.edges)
    for source, target in sorted(late ^ checked.plan.feedback):
        raise UnsupportedError(
            f"edge ({source!r}, {target!r}): Norse would run the graph in a different order "
            "(branches with a map on each are not supported there)"
        )


def _spikes(graph: nir.NIRGraph, name: str) -> bool:
    return kind(graph.nodes[name]) in SPIKING


def _scores(checked: CheckedGraph, outputs: dict[str, Any]) -> dict[str, Any]:
    scores = {}
    for name in sorted(checked.graph.outputs):
        steps = outputs[name].reshape(*outputs[name].shape[:2], -1)
        counted = all(_spikes(checked.graph, source) for source in checked.sources[name])
        scores[name] = steps.sum(axis=0).astype(np.int64) if counted else steps.mean(axis=0)
    return scores
