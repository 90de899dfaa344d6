"""The float view of a `DeployedNetwork`: the same network in float units, as a NIR graph.

Membranes are v / (64 scale) and inputs x / scale, so the view is the network given to the quantizer
except for rounding. Thresholds lie between vth, at which the chip does not fire, and the next value
of v, so that rounding in other tools does not decide. Gains are part of the weights (r = 1), but
CubaLIF has r = tau_mem / dt and w_in = tau_syn / dt, without which snnTorch and SpikingJelly refuse
it. A delay of one step that closes a cycle is that of the cycle itself (`loop_delay`), because no
framework has Delay nodes; where another edge than that of the delayed connection would close it, it
stays a Delay. The view cannot express integer effects (truncation, wrap-around and saturation) nor
properties without an equivalent in NIR (`view_notes`), such as a refractory time. A population
becomes

    decay_u = 4096               LIF, or IF where decay_v = 0
    0 < decay_u < 4096           CubaLIF, or LI (u) and then LIF or IF where decay_v = 0 or where
                                 a bias acts on v
    decay_u = 0                  I (u) and then LIF or IF
    membrane readout that never spikes: nothing, LI or I, in front of its Output

NIR has no node that turns a flat layer into (C, H, W) or (C, L). A population fed by a dense map is
flat in the view, and its outgoing convolutions become matrices (`layout`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import UnsupportedError, ValueRangeError
from spikeport.export.nir.float_network import FloatNetwork
from spikeport.export.nir.graph import DEFAULT_DT_S, Edge, compute_order
from spikeport.export.nir.layout import (
    common_reset,
    lay_out,
    loop_connections,
    never_spikes,
    view_populations,
)
from spikeport.export.nir.maps import check_entries, spatial_node
from spikeport.export.nir.portable import portable
from spikeport.export.nir.semantics import Semantics
from spikeport.network import (
    LOIHI,
    DeployedNetwork,
    Population,
    Reset,
    Shape,
    WeightedConnection,
    dense_form,
    require_loihi,
    weighted_shape,
)

fail = UnsupportedError.fail

Array = NDArray[np.float64]


NEWEST_FORM = 2
"""Form of the view. In the first, which 0.1.0 wrote, CubaLIF has r = 1 and w_in = 1, every delay is
a Delay node, Flatten counts axes from the first, thresholds are vth exactly, and what convolutions
were (`portable`) is stated in their own metadata."""
TIE_STEPS = 2
"""The least number of float32 steps by which a threshold is moved off its ties."""


def float_view(
    network: DeployedNetwork, dt_s: float = DEFAULT_DT_S, form: int = NEWEST_FORM
) -> FloatNetwork:
    """`network` in float units; parts with no path to a readout are left out.

    Args:
        form: an older one is needed to read older files.

    Raises:
        InputError: dt_s is not positive, or NIR does not have the neuron model of a population.
    """
    if not 0 < dt_s < np.inf:
        ValueRangeError.fail(f"dt_s is {dt_s}, must be positive seconds")
    require_loihi(network, "the float view")
    graph = _drawn(network, dt_s, form)
    inputs = tuple(part for part in network.inputs if part.name in graph.nodes)
    semantics = Semantics(reset=common_reset(network))
    return FloatNetwork(graph, dt_s, network.steps, inputs, semantics)


def form_of(view: FloatNetwork) -> int:
    """The oldest form in which this view would be written as the same nodes."""
    nodes = view.checked.graph.nodes.values()
    newer = bool(view.checked.plan.feedback) or any(
        hasattr(node, "v_threshold") or isinstance(node, nir.Flatten) or portable(node)[1]
        for node in nodes
    )
    return NEWEST_FORM if newer else 1


def _drawn(network: DeployedNetwork, dt_s: float, form: int) -> nir.NIRGraph:
    """The graph, with as many Delay nodes left out of cycles as possible."""
    closing = loop_connections(network) if form > 1 else frozenset()
    while True:
        view = _View(network, dt_s, form, closing)
        graph = nir.NIRGraph(*view.build(), type_check=False)
        feedback = compute_order(graph, dt_s).feedback if closing else frozenset()
        meant = {edge: name for edge, name in view.last_edges.items() if edge in graph.edges}
        if feedback == meant.keys():
            return graph
        kept = frozenset(meant[edge] for edge in feedback if edge in meant)
        closing = kept if kept < closing else frozenset()


class _View:
    """The graph under construction.

    Attributes:
        closing: the connections whose delay of one step is that of the cycle which they close.
        last_edges: the edge into the target of each of these, with its name.
    """

    def __init__(
        self, network: DeployedNetwork, dt_s: float, form: int, closing: Collection[str]
    ) -> None:
        self.network = network
        self.dt_s = dt_s
        self.form = form
        self.closing = closing
        self.last_edges: dict[Edge, str] = {}
        self.nodes: dict[str, Any] = {}
        self.edges: list[Edge] = []
        parts = (*network.inputs, *network.populations, *network.connections)
        self.taken = {part.name for part in parts}
        self.layout = lay_out(network)

    def build(self) -> tuple[dict[str, Any], list[Edge]]:
        """Nodes and edges of all parts with a path to an Output."""
        for part in self.network.inputs:
            self.nodes[part.name] = nir.Input({"input": np.array(part.shape)})
        for population in view_populations(self.network):
            self._population(population)
        feeds: dict[str, list[str]] = {}
        for source, target in self.edges:
            feeds.setdefault(target, []).append(source)
        kept = {name for name, node in self.nodes.items() if isinstance(node, nir.Output)}
        waiting = list(kept)
        while waiting:
            name = waiting.pop()
            sources = set(feeds.get(name, ())) - kept
            kept |= sources
            waiting += sources
        nodes = {name: node for name, node in self.nodes.items() if name in kept}
        return nodes, [edge for edge in self.edges if edge[1] in kept]

    def _population(self, part: Population) -> None:
        synapses = self.network.weighted_into(part.name)
        injections = self.network.injections_into(part.name)
        bias = part.bias_current / (LOIHI.weight_unit * part.scale)
        carrier = self.layout.carriers.get(part.name)
        loose = part.name not in self.layout.reached
        direct = bool(injections) or loose or (bool(bias.any()) and carrier is None)
        entry, membrane, gain_u, gain_v = self._neurons(part, bool(synapses), direct)
        for synapse in synapses:
            carried = bias * gain_v if synapse is carrier else None
            self._synapses(synapse, part, entry, gain_u * gain_v / part.scale, carried)
        for injection in injections:
            source = self.network.sources[injection.source]
            unit = float(2**part.bias_exponent) * source.scale / (LOIHI.weight_unit * part.scale)
            scale = nir.Scale(np.full(source.shape, unit * gain_v, np.float32))
            chain = [(injection.name, scale)]
            if not self._is_spatial(part.name):
                chain += self._flattened(injection.name, source.shape)
            self._chain(injection.source, chain, membrane)
        if loose or (bias.any() and carrier is None):
            self._constant(part, bias * gain_v, membrane)

    def _neurons(
        self, part: Population, driven: bool, direct: bool
    ) -> tuple[str, str, float, float]:
        """Add the neurons and their Outputs.

        Returns:
            The node fed by synapses, the node fed by currents into v, the gains of u and v.
        """
        shape = self._shape(part.name)
        silent = never_spikes(self.network, part.name)
        keeps_u = part.decay_u < LOIHI.decay_unity and driven
        readouts = [r for r in self.network.readouts if r.population == part.name]
        outputs = [self._fresh(f"output_{part.name}") for _ in readouts]
        if silent and readouts and part.decay_v == 0 and not keeps_u:
            # the Output's time mean, T times, is the last membrane; some importers drop LI and I
            self._add(part.name, nir.Output({"output": np.array(shape)}))
            return part.name, part.name, 1.0, 1.0
        tau_v, gain_v = self._tau(part.decay_v)
        fused = keeps_u and part.decay_u > 0 and part.decay_v > 0 and not direct and not silent
        tau_u, gain_u = self._tau(part.decay_u) if keeps_u else (0.0, 1.0)
        threshold = None if silent else self._threshold(part)
        gains = (1.0, 1.0)
        if fused and self.form > 1:
            gains, gain_u, gain_v = (gain_u, gain_v), 1.0, 1.0
        self._add(part.name, _neuron(shape, tau_v, threshold, tau_u if fused else None, gains))
        for output in outputs:
            self._add(output, nir.Output({"output": np.array(shape)}))
            self.edges.append((part.name, output))
        if not keeps_u or fused:
            return part.name, part.name, gain_u, gain_v
        current = self._fresh(f"{part.name}_u")
        self._add(current, _neuron(shape, tau_u, None, None))
        self.edges.append((current, part.name))
        return current, part.name, gain_u, gain_v

    def _synapses(
        self,
        part: WeightedConnection,
        target: Population,
        entry: str,
        unit: float,
        bias: Array | None,
    ) -> None:
        source = self.network.sources[part.source]
        factor = unit * 2.0**part.exponent
        if part.source not in self.network.by_name:
            factor *= source.scale
        spatial = self.layout.stays_spatial(part)
        shape = self._shape(part.source)
        chain: list[tuple[str, Any]] = []
        unrolled = len(source.shape) > 1 and not self._is_spatial(part.source)
        unrolled |= part.spatial and not spatial
        if part.pool is not None and not unrolled:
            shape = part.pool.output_shape(shape)
            sides = (part.pool.kernel_size, part.pool.stride, part.pool.padding)
            chain.append((self._fresh(f"{part.name}_pool"), nir.SumPool2d(*map(np.array, sides))))
        if not spatial:
            chain += self._flattened(part.name, shape)
            shape = (int(np.prod(shape)),)
        if part.delay and part.name not in self.closing:
            delay = np.full(shape, part.delay * self.dt_s, np.float64)
            chain.append((self._fresh(f"{part.name}_delay"), nir.Delay(delay)))
        if spatial:
            channels = np.zeros(target.shape[0])
            if bias is not None:
                channels = bias.reshape(len(channels), -1)[:, 0]
            chain.append((part.name, spatial_node(part, factor, channels)))
            if not self._is_spatial(target.name):
                chain += self._flattened(f"{part.name}_out", target.shape)
        else:
            columns = source.shape if unrolled else weighted_shape(part, source.shape)
            if part.weight.size < target.size * math.prod(columns):
                check_entries(f"connection '{part.name}'", target.size, math.prod(columns))
            matrix = dense_form(part, columns) if unrolled else part.matrix(columns)
            weight = (matrix * factor).astype(np.float32)
            linear = nir.Linear(weight) if bias is None else _affine(weight, bias)
            chain.append((part.name, linear))
        self._chain(part.source, chain, entry)
        if part.name in self.closing:
            self.last_edges[chain[-1][0], entry] = part.name

    def _constant(self, part: Population, bias: Array, membrane: str) -> None:
        """A constant current: an Affine of zero weights, as NIR has no source of constants."""
        source = min(self.network.inputs, key=lambda one: one.size)
        check_entries(f"population '{part.name}'", part.size, source.size)
        name = self._fresh(f"{part.name}_bias")
        weight = np.zeros((part.size, source.size), np.float32)
        chain = [*self._flattened(name, source.shape), (name, _affine(weight, bias))]
        self._chain(source.name, chain, membrane)

    def _chain(self, source: str, chain: Iterable[tuple[str, Any]], target: str) -> None:
        for name, node in chain:
            self._add(name, node)
            self.edges.append((source, name))
            source = name
        self.edges.append((source, target))

    def _flattened(self, name: str, shape: Shape) -> list[tuple[str, Any]]:
        flat = [(self._fresh(f"{name}_flatten"), nir.Flatten({"input": None}, 0, -1))]
        return flat if len(shape) > 1 else []

    def _tau(self, decay: int) -> tuple[float, float]:
        """tau and the gain 1/k of a state that loses decay / 4096 per step; 0 and 1 without a loss.

        The gain is that of tau rounded to float32 as in the file, so that this rounding cancels.
        """
        if decay == 0:
            return 0.0, 1.0
        tau = float(np.float32(self.dt_s * LOIHI.decay_unity / decay))
        return tau, tau / self.dt_s

    def _threshold(self, part: Population) -> float:
        """vth, moved up from values that are equal to it, which float32 reaches up to rounding.

        The chip's v is a multiple of 1/64, so that half of that more is the same threshold. A reset
        by subtraction subtracts the threshold, at most once in each step: there, all that is
        subtracted too much in a run is at most this half.
        """
        if self.form == 1:
            return part.vth / part.scale
        share = 1 if part.reset is Reset.ZERO else self.network.steps + 1
        moved = np.float32((part.vth + 0.5 / LOIHI.weight_unit / share) / part.scale)
        least = np.float32(part.vth / part.scale)
        for _ in range(TIE_STEPS):
            least = np.nextafter(least, np.float32(np.inf))
        return float(max(moved, least))

    def _add(self, name: str, node: Any) -> None:
        self.nodes[name] = node

    def _fresh(self, name: str) -> str:
        name = name[:56]
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _shape(self, name: str) -> Shape:
        part = self.network.sources[name]
        return part.shape if self._is_spatial(name) else (part.size,)

    def _is_spatial(self, name: str) -> bool:
        return name in self.layout.spatial


def _affine(weight: NDArray[np.float32], bias: Array) -> nir.Affine:
    return nir.Affine(weight, bias.reshape(-1).astype(np.float32))


def _neuron(
    shape: Shape,
    tau: float,
    threshold: float | None,
    tau_syn: float | None,
    gains: tuple[float, float] = (1.0, 1.0),
) -> Any:
    """The NIR neuron with membrane time constant tau (0: no leak) and a threshold, if any.

    Args:
        gains: w_in and r of a neuron with a synaptic current.
    """

    def full(value: float) -> NDArray[np.float32]:
        return np.full(shape, value, np.float32)

    if threshold is None:
        return nir.LI(full(tau), full(1), full(0)) if tau else nir.I(full(1))
    if not tau:
        return nir.IF(full(1), full(threshold), full(0))
    if tau_syn is None:
        return nir.LIF(full(tau), full(1), full(0), full(threshold), full(0))
    w_in, r = gains
    return nir.CubaLIF(
        full(tau_syn), full(tau), full(r), full(0), full(threshold), full(0), full(w_in)
    )
