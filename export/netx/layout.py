"""A deployed network as the layers of a netx file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.checks import fail
from spikeport.export.netx.hdf5 import RawLayer
from spikeport.export.netx.layers import BIAS_EXPONENT
from spikeport.export.netx.synapse import kept_exactly
from spikeport.network import (
    LOIHI,
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Reset,
    Sparse,
    WeightedConnection,
    largest_sum,
    require_lif_populations,
    require_loihi,
)

Array = NDArray[np.int64]
MAX_ENTRIES = 1 << 26
"""Largest matrix of a dense layer."""
_WHERE = "in a netx file"


def layers_of(network: DeployedNetwork) -> tuple[RawLayer, ...]:
    """The layers that make netx run this network.

    Raises:
        InputError: netx cannot run it; the message names the part, its value and the rule.
    """
    require_loihi(network, "netx")
    by_name = {part.name: part for part in require_lif_populations(network.populations, _WHERE)}
    if len(network.inputs) > 1:
        fail(f"network: has {len(network.inputs)} inputs, a netx file has one")
    (source,) = network.inputs
    if source.coding is Coding.BINARY:
        fail(f"input '{source.name}': coding is binary, which netx does not have; use graded")
    order = _chain(network, source)
    last = order[-1]
    if [readout.population for readout in network.readouts] != [last]:
        names = ", ".join(f"'{readout.population}'" for readout in network.readouts)
        fail(f"readouts: {names}, but netx gives the output of its last layer only, here '{last}'")
    layers: list[RawLayer] = []
    before: Input | Population = source
    if source.coding is not Coding.BIAS:
        layers.append(RawLayer("input", {"shape": np.array(source.shape)}, {}))
    spatial = len(source.shape) == 3
    for name in order:
        part = by_name[name]
        if before is source and source.coding is Coding.BIAS:
            layers.append(_input_layer(network, source, part))
        else:
            made = _layer(network, before, part, spatial=spatial)
            if made.type != "conv" and len(before.shape) > 1 and (spatial or before is source):
                layers.append(RawLayer("flatten", {"shape": np.array([before.size])}, {}))
            layers.append(made)
            spatial = made.type == "conv"
        before = part
    return tuple(layers)


def _chain(network: DeployedNetwork, source: Input) -> tuple[str, ...]:
    """The populations in the order of layers, which delays do not change."""
    order: list[str] = []
    name = source.name
    while True:
        found = {c.target for c in network.connections if c.source == name} - {name, *order}
        if len(found) > 1:
            names = ", ".join(f"'{one}'" for one in sorted(found))
            fail(f"'{name}': goes to {names}, but netx runs one chain of layers")
        if not found:
            break
        (name,) = found
        order.append(name)
    if missing := network.by_name.keys() - set(order):
        fail(f"population '{min(missing)}': is not in the one chain of layers that netx runs")
    return tuple(order)


def _input_layer(network: DeployedNetwork, source: Input, part: Population) -> RawLayer:
    """The layer of neurons whose biases an input writes."""
    subject = f"population '{part.name}'"
    into = network.incoming(part.name)
    if [c.source for c in into] != [source.name]:
        fail(f"{subject}: netx has bias input '{source.name}' in its first layer, and nothing else")
    if part.bias_exponent != BIAS_EXPONENT:
        fail(
            f"{subject}: bias_exponent is {part.bias_exponent}, must be {BIAS_EXPONENT} for "
            "netx, as an input writes the bias; `quantize --target netx` keeps to that"
        )
    if (part.bias != part.bias.flat[0]).any():
        fail(f"{subject}: biases differ, but netx has one for all neurons of an input layer")
    if not 1 <= source.scale <= LOIHI.bias_mantissa_max or source.scale % 1:
        fail(
            f"input '{source.name}': scale is {source.scale:g}, must be an integer in "
            f"1..{LOIHI.bias_mantissa_max} for netx"
        )
    fields = {
        "shape": np.array(part.shape),
        "weight": np.array(source.scale),
        "bias": np.array(float(part.bias.flat[0])),
    }
    return RawLayer("input", fields, _neuron(part))


def _layer(
    network: DeployedNetwork, source: Input | Population, part: Population, *, spatial: bool
) -> RawLayer:
    weighted = network.weighted_into(part.name)
    ahead = [c for c in weighted if c.source == source.name]
    back = [c for c in weighted if c.source == part.name]
    for c in network.incoming(part.name):
        if c.source not in (source.name, part.name):
            fail(
                f"connection '{c.name}': receives from '{c.source}', but netx runs one chain of "
                f"layers, in which '{part.name}' receives from '{source.name}'"
            )
    for c in weighted:
        if c.pool is not None:
            fail(f"connection '{c.name}': has a sum-pool, which netx cannot run; use strides")
        if not isinstance(c, Dense | Sparse | Conv2d):
            fail(
                f"connection '{c.name}': is a {type(c).__name__}, which netx does not have; use "
                "Conv2d or Dense"
            )
    if any(isinstance(c, Conv2d) for c in ahead):
        return _convolution(network, weighted, part, spatial=spatial)
    weight, delays = _matrix(network, ahead, source.size, part.size)
    fields: dict[str, Any] = {
        "shape": np.array([part.size]),
        "inFeatures": np.array(source.size),
        "outFeatures": np.array(part.size),
        "weight": weight.astype(np.float32),
    }
    matrices = [weight]
    if back:
        again, later = _matrix(network, back, part.size, part.size)
        if delays.any() or (later[again != 0] != 1).any():
            fail(
                f"population '{part.name}': netx runs recurrent layers only with delay 1 within "
                "and 0 into them"
            )
        matrices.append(again)
        fields["weight_rec"] = again.astype(np.float32)
    if not any(matrix.any() for matrix in matrices):
        fail(
            f"connection '{ahead[0].name}': all its weights are 0, and netx runs no matrix of "
            "zeros; leave the layer out, or use more bits if rounding removed its weights"
        )
    if not kept_exactly(*matrices):
        fail(
            f"connection '{ahead[0].name}': netx and Lava would round its weights "
            f"({weight.min()}..{weight.max()}); they keep even ones of both signs, or odd ones "
            "below 128; `quantize --target netx` keeps to that"
        )
    if delays.any():
        rows = delays.max(axis=1)
        same = ((delays == rows[:, None]) | (weight == 0)).all()
        fields["delay"] = (rows if same else delays).astype(np.float32)
    if part.bias.any():
        fields["bias"] = _bias(part).reshape(-1).astype(np.float32)
    return RawLayer("dense_rec" if back else "dense", fields, _neuron(part))


def _matrix(
    network: DeployedNetwork, parts: list[WeightedConnection], columns: int, rows: int
) -> tuple[Array, Array]:
    """Weights and delays of all synapses between two populations."""
    if rows * columns > MAX_ENTRIES:
        fail(
            f"connection '{parts[0].name}': netx needs a matrix of {rows} x {columns} entries, "
            f"limit {MAX_ENTRIES}"
        )
    weight, delays = np.zeros((2, rows, columns), np.int64)
    for c in parts:
        shape = network.sources[c.source].shape
        if isinstance(c, Conv2d):
            fail(f"connection '{c.name}': netx cannot add a convolution to other connections")
        found = _weights(network, c, c.matrix(shape).astype(np.int64))
        both = (found != 0) & (weight != 0) & (delays != c.delay)
        if both.any():
            fail(f"connection '{c.name}': netx has one delay for each synapse, here are several")
        weight += found
        delays[found != 0] = c.delay
    return weight, delays


def _weights(network: DeployedNetwork, c: WeightedConnection, mantissas: Array) -> Array:
    """Mantissas times 2^exponent, if they are integers that netx takes."""
    scaled = mantissas * 2.0**c.exponent
    low, high = -LOIHI.weight_end, LOIHI.weight_end - 1
    if (scaled % 1).any() or scaled.min() < low or scaled.max() > high:
        fail(
            f"connection '{c.name}': exponent is {c.exponent}, but netx reads none, and the "
            f"weights times 2^{c.exponent} are no integers in {low}..{high}"
        )
    limit = LOIHI.state_wrap if c.wraps else 1 << 31
    if c.exponent < 0 and largest_sum(c, *network.message_range(c.source)) >= limit:
        fail(f"connection '{c.name}': its sums may wrap, in netx without exponent at other values")
    return scaled.astype(np.int64)


def _convolution(
    network: DeployedNetwork,
    parts: tuple[WeightedConnection, ...],
    part: Population,
    *,
    spatial: bool,
) -> RawLayer:
    c = parts[0]
    if len(parts) > 1 or not isinstance(c, Conv2d):
        fail(f"population '{part.name}': netx cannot add a convolution to other connections")
    if not spatial:
        fail(f"connection '{c.name}': netx has no convolution after a dense layer")
    if c.delay:
        fail(
            f"connection '{c.name}': delay is {c.delay}, netx has none in convolutions; delay a "
            "dense connection instead"
        )
    weight = _weights(network, c, c.weight.astype(np.int64))
    fields: dict[str, Any] = {
        "shape": np.array(part.shape),
        "inChannels": np.array(c.weight.shape[1] * c.groups),
        "outChannels": np.array(len(c.weight)),
        "kernelSize": np.array(c.weight.shape[2:]),
        "stride": np.array(c.stride),
        "padding": np.array(c.padding),
        "dilation": np.array(c.dilation),
        "groups": np.array(c.groups),
        "weight": weight.astype(np.float32),
    }
    if part.bias.any():
        bias = _bias(part)
        each = bias.reshape(len(bias), -1)
        same = (each == each[:, :1]).all()
        fields["bias"] = (each[:, 0] if same else bias.transpose(2, 1, 0)).astype(
            np.float32
        )  # netx wants (W, H, C)
    return RawLayer("conv", fields, _neuron(part))


def _bias(part: Population) -> Array:
    """Mantissas at netx's exponent, exactly the same biases."""
    current = part.bias.astype(np.int64) << part.bias_exponent
    unit = 1 << BIAS_EXPONENT
    mantissas = current // unit
    low, high = LOIHI.bias_mantissa_min, LOIHI.bias_mantissa_max
    if (current % unit).any() or mantissas.min() < low or mantissas.max() > high:
        wrong = current[(current % unit != 0) | (mantissas < low) | (mantissas > high)]
        fail(
            f"population '{part.name}': bias {wrong[0]} (bias << bias_exponent) must be a "
            f"multiple of {unit} within {low * unit}..{high * unit}: netx fixes bias_exponent "
            f"at {BIAS_EXPONENT}; `quantize --target netx` keeps to that"
        )
    return mantissas


def _neuron(part: Population) -> dict[str, Any]:
    for name, value, rule, remedy in (
        ("reset", part.reset, Reset.ZERO, "; train with reset zero"),
        ("refractory", part.refractory, 0, ""),
        ("v_init", part.v_init, 0, ""),
    ):
        if value != rule:
            fail(f"population '{part.name}': {name} is {value}, must be {rule} for netx{remedy}")
    return {
        "type": "CUBA",
        "iDecay": np.array(part.decay_u),
        "vDecay": np.array(part.decay_v),
        "vThMant": np.array(part.vth),
        "refDelay": np.array(1),
        "gradedSpike": np.array(False),
    }
