"""Run networks of one framework and write them as NIR; needs nothing of Spikeport.

`python worker.py FRAMEWORK FOLDER` in an environment with the framework. FOLDER/input.npy contains
0/1 spikes (T, B, N). For each network FOLDER receives NAME.nir, as the framework's exporter writes
it, and NAME.npy, the spikes (T, B, OUTPUTS) of its last layer. Random weights have fixed seeds.
Where an exporter cannot write a whole network, it is put together from what it writes per layer.
"""

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["PIP_NO_INDEX"] = "1"  # rockpool starts pip when it is used

import nir
import numpy as np
from numpy.typing import NDArray

HIDDEN, OUTPUTS = 20, 7
DT = 1e-4
Array = NDArray[Any]
Save = Callable[[str, nir.NIRGraph, Any], None]


def main() -> None:
    """Write the networks of the framework named on the command line."""
    framework, folder = sys.argv[1], Path(sys.argv[2])

    def save(name: str, graph: nir.NIRGraph, spikes: Any) -> None:
        nir.write(folder / f"{name}.nir", graph)
        np.save(folder / f"{name}.npy", np.asarray(spikes).astype(np.uint8))

    FRAMEWORKS[framework](np.load(folder / "input.npy", allow_pickle=False), save)


def chain(size: int, nodes: Sequence[Any]) -> nir.NIRGraph:
    """Input, the nodes in order, Output."""
    ends = nir.Input({"input": np.array([size])}), nir.Output({"output": np.array([OUTPUTS])})
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    every = dict(zip(names, (ends[0], *nodes, ends[1]), strict=True))
    return nir.NIRGraph(every, list(itertools.pairwise(names)))


def full(size: int, value: float) -> Array:
    """One value per neuron."""
    return np.full(size, value, np.float32)


def snntorch(x: Array, save: Save) -> None:
    """Layers with per-neuron parameters, which is all that the exporter can write."""
    import snntorch as snn
    import torch
    from snntorch.export_nir import export_to_nir

    size = x.shape[-1]

    def leaky(neurons: int, beta: float, threshold: float, **options: Any) -> Any:
        given = torch.full((neurons,), beta), torch.full((neurons,), threshold)
        return snn.Leaky(beta=given[0], threshold=given[1], init_hidden=True, **options)

    def synaptic(neurons: int, threshold: float) -> Any:
        decays = torch.full((neurons,), 0.7), torch.full((neurons,), 0.9)
        threshold_each = torch.full((neurons,), threshold)
        return snn.Synaptic(*decays, threshold=threshold_each, init_hidden=True)

    def recurrent(**options: Any) -> Any:
        given = torch.full((HIDDEN,), 0.9), torch.full((HIDDEN,), 0.5)
        return snn.RLeaky(
            beta=given[0],
            threshold=given[1],
            linear_features=HIDDEN,
            init_hidden=True,
            **options,
        )

    def case(name: str, first: Callable[[], Any], second: Callable[[], Any]) -> None:
        def made() -> Any:
            torch.manual_seed(1)
            layers = torch.nn.Linear(size, HIDDEN), first(), torch.nn.Linear(HIDDEN, OUTPUTS)
            return torch.nn.Sequential(*layers, second())

        network = made()
        with torch.no_grad():
            spikes = np.stack([network(torch.from_numpy(step)).numpy() for step in x])
        # a network that has run cannot be exported any more
        save(name, export_to_nir(made(), torch.zeros(1, size), ignore_dims=[0]), spikes)

    resets: dict[str, dict[str, Any]] = {
        "leaky": {},
        "leaky_zero": {"reset_mechanism": "zero", "reset_delay": False},
        "leaky_zero_delayed": {"reset_mechanism": "zero"},
        "leaky_at_once": {"reset_delay": False},
    }
    for name, options in resets.items():
        case(
            name,
            lambda o=options: leaky(HIDDEN, 0.9, 0.3, **o),  # type: ignore[misc]
            lambda o=options: leaky(OUTPUTS, 0.8, 0.2, **o),  # type: ignore[misc]
        )
    case("synaptic", lambda: synaptic(HIDDEN, 1.0), lambda: synaptic(OUTPUTS, 0.8))
    case("recurrent", recurrent, lambda: leaky(OUTPUTS, 0.8, 0.2))
    zero = resets["leaky_zero"]
    case("recurrent_zero", lambda: recurrent(**zero), lambda: leaky(OUTPUTS, 0.8, 0.2, **zero))


def spikingjelly(x: Array, save: Save) -> None:
    """All neurons that the exporter writes, with and without a v_reset."""
    import torch
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    size = x.shape[-1]
    lif, integrate, cuba = neuron.LIFNode, neuron.IFNode, neuron.CUBALIFNode
    cases: dict[str, tuple[float, Callable[[float], Any]]] = {
        "lif": (0.1, lambda v: lif(tau=3.0, v_threshold=v)),
        "lif_undecayed": (0.4, lambda v: lif(tau=3.0, decay_input=False, v_threshold=v)),
        "lif_v_reset": (0.08, lambda v: lif(tau=3.0, v_threshold=v, v_reset=-0.1)),
        "if": (0.4, lambda v: integrate(v_threshold=v)),
        "if_v_reset": (0.4, lambda v: integrate(v_threshold=v, v_reset=-0.5)),
        "cuba": (0.4, lambda v: cuba(0.5, 0.75, v_threshold=v, v_reset=0.0)),
        "cuba_v_reset": (0.4, lambda v: cuba(0.5, 0.75, v_threshold=v, v_reset=-0.25)),
    }
    for name, (threshold, make) in cases.items():
        torch.manual_seed(4)
        layers = layer.Linear(size, HIDDEN), make(threshold), layer.Linear(HIDDEN, OUTPUTS)
        network = torch.nn.Sequential(*layers, make(0.75 * threshold))
        with torch.no_grad():
            spikes = np.stack([network(torch.from_numpy(step)).numpy() for step in x])
        functional.reset_net(network)
        save(name, export_to_nir(network, torch.zeros(1, size), dt=DT), spikes)


def sinabs(x: Array, save: Save) -> None:
    """The exporter writes neurons with scalars that NIR refuses, so they stand here per neuron."""
    import sinabs.layers as sl
    import torch
    from sinabs.activation import SingleSpike

    tau_mem, tau_syn = 20.0, 5.0  # in steps

    def lif(neurons: int, threshold: float) -> Any:
        tau = full(neurons, tau_mem * DT)
        return nir.LIF(tau, full(neurons, 1), full(neurons, 0), full(neurons, threshold))

    def cuba(neurons: int, threshold: float) -> Any:
        taus = full(neurons, tau_syn * DT), full(neurons, tau_mem * DT)
        return nir.CubaLIF(*taus, full(neurons, 1), full(neurons, 0), full(neurons, threshold))

    def integrate(neurons: int, threshold: float) -> Any:
        return nir.IF(full(neurons, 1), full(neurons, threshold))

    def case(name: str, kind: Any, node: Any, thresholds: Any, **options: Any) -> None:
        torch.manual_seed(5)
        maps = torch.nn.Linear(x.shape[-1], HIDDEN), torch.nn.Linear(HIDDEN, OUTPUTS)
        values, nodes = torch.from_numpy(x.swapaxes(0, 1)), []
        with torch.no_grad():
            for linear, threshold in zip(maps, thresholds, strict=True):
                neurons = kind(spike_threshold=torch.tensor(threshold), **options)
                values = neurons(linear(values))
                arrays = linear.weight.numpy(), linear.bias.numpy()
                nodes += [nir.Affine(*arrays), node(len(arrays[1]), threshold)]
        save(name, chain(x.shape[-1], nodes), values.numpy().swapaxes(0, 1))

    one, plain = {"spike_fn": SingleSpike}, {"tau_mem": tau_mem, "norm_input": False}
    case("lif", sl.LIF, lif, (0.4, 0.3), **plain)
    case("lif_single", sl.LIF, lif, (0.4, 0.3), **plain, **one)
    case("lif_norm", sl.LIF, lif, (0.03, 0.02), tau_mem=tau_mem)
    case("cuba", sl.LIF, cuba, (2.0, 1.0), **plain, tau_syn=tau_syn)
    case("iaf", sl.IAF, integrate, (0.4, 0.3))
    case("iaf_single", sl.IAF, integrate, (0.4, 0.3), **one)


def rockpool(x: Array, save: Save) -> None:
    """The exporter leaves batch and time in the Input, so its nodes are put together here."""
    import dataclasses

    import torch
    from rockpool.nn.modules.torch import LIFNeuronTorch, LIFTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import _extract_rockpool_module

    def node(module: Any) -> Any:
        written = _extract_rockpool_module(module)
        names = [field.name for field in dataclasses.fields(written) if field.init]
        kept = [name for name in names if name not in ("input_type", "output_type", "metadata")]
        return type(written)(**{name: np.asarray(getattr(written, name)) for name in kept})

    def each(neurons: int, value: float, *axes: int) -> Any:
        return torch.full((neurons, *axes), value)

    def lif(neurons: int) -> Any:
        taus = {"tau_mem": each(neurons, 20 * DT), "dt": DT}
        return LIFNeuronTorch(
            neurons, threshold=each(neurons, 0.4), bias=torch.zeros(neurons), **taus
        )

    def cuba(neurons: int) -> Any:
        taus = {"tau_mem": each(neurons, 20 * DT), "tau_syn": each(neurons, 5 * DT, 1), "dt": DT}
        return LIFTorch(
            (neurons, neurons), threshold=each(neurons, 2.0), bias=torch.zeros(neurons), **taus
        )

    for name, make in {"lif": lif, "cuba": cuba}.items():
        torch.manual_seed(6)
        first = LinearTorch((x.shape[-1], HIDDEN), has_bias=True)
        second = LinearTorch((HIDDEN, OUTPUTS), has_bias=True)
        modules = first, make(HIDDEN), second, make(OUTPUTS)
        values = torch.from_numpy(x.swapaxes(0, 1))
        with torch.no_grad():
            for module in modules:
                values = module(values)[0]
        nodes = [node(module) for module in modules]
        save(name, chain(x.shape[-1], nodes), values.numpy().swapaxes(0, 1))


def spyx(x: Array, save: Save) -> None:
    """Feed-forward layers; a recurrent file sends its input into the recurrent map."""
    import jax.numpy as jnp
    import spyx.nn as snn
    from flax import nnx
    from spyx.nir import to_nir

    cases: dict[str, Callable[[int, Any], Any]] = {
        "lif": lambda n, rngs: snn.LIF((n,), beta=0.8, threshold=0.3, rngs=rngs),
        "if": lambda n, rngs: snn.IF((n,), threshold=0.5),
        "cuba": lambda n, rngs: snn.CuBaLIF((n,), alpha=0.6, beta=0.8, threshold=1.0, rngs=rngs),
    }
    size = x.shape[-1]
    for name, make in cases.items():
        rngs = nnx.Rngs(7)
        maps = nnx.Linear(size, HIDDEN, rngs=rngs), nnx.Linear(HIDDEN, OUTPUTS, rngs=rngs)
        network = snn.Sequential(maps[0], make(HIDDEN, rngs), maps[1], make(OUTPUTS, rngs))
        spikes, _ = snn.run(network, jnp.asarray(x))
        ends = {"input": np.array([size])}, {"output": np.array([OUTPUTS])}
        save(name, to_nir(network, *ends, dt=DT), spikes)


def lava_dl(x: Array, save: Save) -> None:
    """SLAYER has no exporter; 26 binary places here, so that rounding causes no difference."""
    import torch
    from lava.lib.dl import slayer

    du, dv = 0.25, 0.125
    exact: dict[str, Any] = {"weight_norm": False, "delay_shift": False}

    def params(threshold: float) -> dict[str, Any]:
        decays = {"current_decay": du, "voltage_decay": dv}
        return {"threshold": threshold, **decays, "scale": 1 << 20}

    def node(neurons: int, threshold: float) -> Any:
        taus = full(neurons, DT / du), full(neurons, DT / dv)
        gains = full(neurons, 1 / dv), full(neurons, 0), full(neurons, threshold)
        return nir.CubaLIF(*taus, *gains, w_in=full(neurons, 1 / du))

    def on_grid(synapse: Any) -> Array:
        """Weights are multiples of 1/64."""
        synapse.pre_hook_fx = None
        synapse.weight.data = torch.round(synapse.weight.data * 64) / 64
        return np.asarray(synapse.weight.detach().numpy().reshape(synapse.weight.shape[:2]))

    values = torch.from_numpy(x.transpose(1, 2, 0).copy())
    size = x.shape[-1]
    torch.manual_seed(8)
    block = slayer.block.cuba
    layers = (
        block.Dense(params(1.003), size, HIDDEN, weight_scale=2, **exact),
        block.Dense(params(0.753), HIDDEN, OUTPUTS, weight_scale=3, **exact),
    )
    weights = [on_grid(layer.synapse) for layer in layers]
    loop = block.Recurrent(params(1.003), size, OUTPUTS, weight_scale=2, **exact)
    into, back = on_grid(loop.input_synapse), on_grid(loop.recurrent_synapse)
    with torch.no_grad():
        spikes = layers[1](layers[0](values)).numpy().transpose(2, 0, 1)
        looped = loop(values).numpy().transpose(2, 0, 1)
    nodes = [nir.Linear(weights[0]), node(HIDDEN, 1.003), nir.Linear(weights[1])]
    save("cuba", chain(size, [*nodes, node(OUTPUTS, 0.753)]), spikes)
    graph = chain(size, [nir.Linear(into), node(OUTPUTS, 1.003)])
    edges = [*graph.edges, ("n1", "back"), ("back", "n1")]
    save("recurrent", nir.NIRGraph({**graph.nodes, "back": nir.Linear(back)}, edges), looped)


FRAMEWORKS: dict[str, Callable[[Array, Save], None]] = {
    "snntorch": snntorch,
    "spikingjelly": spikingjelly,
    "sinabs": sinabs,
    "rockpool": rockpool,
    "spyx": spyx,
    "lava-dl": lava_dl,
}

if __name__ == "__main__":
    main()
