"""A neuron model or kind of connection that a table does not list gets one clear error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import nir
import numpy as np
import pytest
import torch

from spikeport.backends.lava import connections as lava_connections
from spikeport.backends.lava import neurons as lava_neurons
from spikeport.backends.lava.limitations import LIMITATIONS
from spikeport.backends.lava.schedule import schedule
from spikeport.errors import InputError
from spikeport.export.nir import fields, maps, shapes
from spikeport.export.nir.fields import NODE_TYPES, NodeType, weight
from spikeport.export.nir.neuron_dynamics import neuron_dynamics
from spikeport.export.nir.semantics import DEFAULTS
from spikeport.mapping.encodings import encoding_of
from spikeport.mapping.limits import StorageRules
from spikeport.network import (
    MODELS,
    AnyPopulation,
    ATRLIFPopulation,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Sparse,
)
from spikeport.network.connections import KINDS
from spikeport.simulators.cuda import neurons as cuda_neurons
from spikeport.simulators.cuda import products as cuda_products
from spikeport.simulators.float_nir.nodes import Setting, node_kernel
from spikeport.simulators.native import delivery as native_delivery
from spikeport.simulators.native import neurons as native_neurons
from spikeport.trainer.chip import connections as torch_connections

DT = 1e-3


@dataclass(frozen=True)
class Izhikevich:
    """A neuron model that nothing lists."""

    MODEL: ClassVar[str] = "Izhikevich"
    name: str = "a"


@dataclass(frozen=True)
class LowRank:
    """A kind of connection that nothing lists."""

    spatial: ClassVar[bool] = True
    name: str = "x_to_a"


def network(part: AnyPopulation | None = None) -> DeployedNetwork:
    return DeployedNetwork(
        (Input("x", (3,)),),
        (part or Population("a", (2,), vth=9),),
        (Sparse.from_matrix("x", "a", np.full((2, 3), 4)),),
        (Readout("a"),),
        2,
    )


NEURONS: dict[str, Callable[[Any], object]] = {
    "in the native simulator": native_neurons.compiled_model,
    "in the cuda simulator": cuda_neurons.step_of,
    "in Lava": lambda part: lava_neurons.lava_neurons(network(), part),
}
CONNECTIONS: dict[str, Callable[[Any], object]] = {
    "in the native simulator": lambda part: native_delivery.delivery(part, (3,), (2,), (0, 1)),
    "in the cuda simulator": lambda part: cuda_products.make_product(
        network(), part, torch.device("cpu")
    ),
    "in Lava": lava_connections.lava_kind,
    "in torch": torch_connections.torch_kind,
    "in the map onto cores": lambda part: encoding_of(
        part, (3,), (2,), 0, StorageRules(), positional=False
    ),
    "in NIR": lambda part: maps.spatial_node(part, 1.0, np.zeros(1)),
}


@pytest.mark.parametrize("where", NEURONS)
def test_an_unlisted_neuron_model_is_named(where: str) -> None:
    message = f"population 'a' has Izhikevich neurons, which {where} are not supported"
    with pytest.raises(InputError, match=f"^{message}$"):
        NEURONS[where](Izhikevich())


@pytest.mark.parametrize("where", CONNECTIONS)
def test_an_unlisted_kind_of_connection_is_named(where: str) -> None:
    message = f"connection 'x_to_a' is a LowRank, which {where} is not supported"
    with pytest.raises(InputError, match=f"^{message}$"):
        CONNECTIONS[where](LowRank())


@dataclass(frozen=True)
class Embedding:
    """A NIR node that is listed, but no rule says what shape it maps to."""

    weight: Any


def test_a_nir_node_without_a_rule_for_its_shape_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Embedding(np.ones((2, 3)))
    with pytest.raises(InputError, match=r"node 'e' \(Embedding\): type is not supported, must be"):
        shapes.output_shape("e", node, (3,))
    monkeypatch.setitem(NODE_TYPES, "Embedding", NodeType(Embedding, {"weight": weight(2)}))
    with pytest.raises(InputError, match=r"^node 'e' \(Embedding\): no rule says what shape it"):
        shapes.output_shape("e", node, (3,))
    with pytest.raises(InputError, match=r"^node of type Embedding: no rule says what shape it"):
        shapes.input_shape("x", nir.Input({"input": np.array([3])}), [node])


def test_a_nir_neuron_without_dynamics_is_named() -> None:
    message = r"^node 'e' \(Embedding\): its dynamics on a chip are not known"
    with pytest.raises(InputError, match=message):
        neuron_dynamics("e", Embedding(np.ones(3)), 1e-3, DEFAULTS, lambda _: None)


def test_every_nir_neuron_has_dynamics_and_a_step() -> None:
    assert set(fields.NEURONS) == {
        NODE_TYPES[name].make for name in (*fields.SPIKING, *fields.INTEGRATING)
    } - {nir.Threshold}
    setting = Setting(DT, DEFAULTS, np.float64)
    for name in (*fields.SPIKING, *fields.INTEGRATING):
        values = dict.fromkeys(NODE_TYPES[name].fields, np.ones(3))
        node = fields.make_node("n", name, values)
        emission, _ = node_kernel("n", node, setting).step((np.zeros((1, 3)),) * 2, np.ones((1, 3)))
        assert (emission.v is None) == (name == "Threshold")
        if isinstance(node, fields.NEURONS):
            dynamics = neuron_dynamics("n", node, DT, DEFAULTS, lambda _: None)
            assert (dynamics.threshold is None) == (name in fields.INTEGRATING)


@pytest.mark.parametrize("table", [native_neurons.MODELS, cuda_neurons.MODELS, lava_neurons.MODELS])
def test_every_neuron_model_is_in_every_table(table: Mapping[type[Any], object]) -> None:
    assert set(table) == set(MODELS)


@pytest.mark.parametrize(
    "table",
    [
        native_delivery._KINDS,
        cuda_products.KINDS,
        lava_connections.KINDS,
        torch_connections._KINDS,
    ],
)
def test_every_kind_of_connection_is_in_every_table(table: Mapping[type[Any], object]) -> None:
    assert set(table) == set(KINDS)


def test_every_spatial_kind_has_a_nir_node() -> None:
    assert set(maps._SPATIAL) == {kind for kind in KINDS if kind.spatial}


def test_check_lists_what_lava_has_no_process_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(lava_neurons.MODELS, ATRLIFPopulation)
    monkeypatch.delitem(lava_connections.KINDS, Sparse)
    given = network(ATRLIFPopulation("a", (2,), theta_0=9))
    found = [one for limitation in LIMITATIONS for one in limitation.find(given)]
    assert [(one.part, one.construct, one.stops) for one in found] == [
        ("population 'a'", "neurons ATRLIF", True),
        ("connection 'x_to_a'", "kind Sparse", True),
    ]
    with pytest.raises(InputError) as caught:
        schedule(given)
    assert str(caught.value) == (
        "backend 'lava': cannot run this network, 2 limits exceeded:\n"
        "  - population 'a': neurons ATRLIF (limit: LIF); use LIF: Lava has no process for others\n"
        "  - connection 'x_to_a': kind Sparse (limit: Dense or Conv1d or Conv2d); use Dense or "
        "Conv1d or Conv2d: Lava has no process for others"
    )
