"""lava-dl's PilotNet-SNN, the network of a power-metered run on Loihi 2, from its own file.

The weights (lava-nc/lava-dl, `tutorials/lava/lib/dl/netx/pilotnet_snn/network.net`, BSD-3) are
those of the metered run; the file is read from `lava-dl/pilotnet_snn` in the folder that
SPIKEPORT_DATA names.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from spikeport.network import (
    BiasInjection,
    Coding,
    Connection,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
)

FILE = Path("lava-dl/pilotnet_snn/network.net")
CORES = {
    "layer0": 13, "layer1": 25, "layer2": 13, "layer3": 3, "layer4": 3, "layer5": 2,
    "layer7": 12, "layer8": 1, "layer9": 1, "layer10": 1,
}  # fmt: skip
"""Cores of each layer of PilotNet-SNN on Loihi 2, printed in lava-dl's benchmark notebook
(tutorials/lava/lib/dl/netx/pilotnet_snn/benchmark.ipynb); 74 in total."""
WORDS = {
    "layer1": 81, "layer2": 864, "layer3": 1620, "layer4": 2160, "layer5": 2880,
    "layer8": 1300, "layer9": 150, "layer10": 10,
}  # fmt: skip
"""Synapse memory of a core of each layer, in the same table; the average over
those of layer 7 is 7253."""
NETX_BIAS_EXPONENT = 6
"""netx adds bias << 6 in every step, whatever the file says."""


def pilotnet(file: Path) -> DeployedNetwork:
    """The network as netx builds it: biases drive it, and an image enters as biases of `layer0`."""
    with h5py.File(file) as net:
        layers = net["layer"]
        populations: list[Population] = []
        connections: list[Connection] = [BiasInjection("image", "layer0")]
        source = ""
        for index in sorted(layers, key=int):
            layer, name = layers[index], f"layer{index}"
            kind = np.ravel(layer["type"][()])[0].decode()
            if (
                kind == "flatten"
            ):  # channels, rows, columns, the order in which Dense reads its source
                continue
            shape = tuple(layer["shape"][()].tolist())
            bias = np.zeros(shape, np.int32)
            if kind != "input":  # the bias and weight of the input layer encode the image
                bias += layer["bias"][()].astype(np.int32).reshape(-1, 1, 1)
                connections.append(_connection(layer, kind, source, name))
            neuron = layer["neuron"]
            populations.append(
                Population(
                    name,
                    shape,
                    vth=int(neuron["vThMant"][()]),
                    decay_u=int(neuron["iDecay"][()]),
                    decay_v=int(neuron["vDecay"][()]),
                    bias=bias,
                    bias_exponent=NETX_BIAS_EXPONENT,
                )
            )
            source = name
        steps = int(net["simulation/tSample"][()])
    image = Input("image", populations[0].shape, Coding.BIAS, -255, 255)
    return DeployedNetwork(
        (image,),
        tuple(populations),
        tuple(connections),
        (Readout(source, ReadoutKind.MEMBRANE),),
        steps,
        {"origin": "lava-dl pilotnet_snn/network.net"},
    )


def _connection(layer: h5py.Group, kind: str, source: str, target: str) -> Connection:
    weight = layer["weight"][()].astype(np.int16)
    if kind == "dense":
        return Dense(source, target, weight.reshape(len(np.atleast_1d(layer["bias"][()])), -1))
    return Conv2d(
        source,
        target,
        weight,
        stride=tuple(layer["stride"][()].tolist()),
        padding=tuple(layer["padding"][()].tolist()),
        dilation=tuple(layer["dilation"][()].tolist()),
        groups=int(layer["groups"][()]),
    )
