"""From ANNs to integrate-and-fire neurons: thresholds, shortcuts, and what the neurons compute."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.trainer import (
    LIF,
    Augment,
    Node,
    QuantizedReLU,
    SpikingNetwork,
    from_ann,
    from_module,
    measure_accuracy,
)
from spikeport.trainer.conversion import (
    ConversionConfig,
    ConversionMethod,
    Shortcuts,
    accuracy_by_steps,
    activations,
    analog_sums,
    convert,
    folded,
    restructure,
    search_thresholds,
    to_spiking,
)
from spikeport.trainer.conversion.converting import WORTH
from spikeport.trainer.conversion.graph import copy_of, quantized, reestimate_norms, thresholds_of
from spikeport.trainer.conversion.thresholds import activation_percentiles
from spikeport.trainer.network.graph import walk
from spikeport.trainer.network.operations import stateless
from spikeport.trainer.network.passes import apply_stateless
from spikeport.trainer.neurons import Activation
from tests.helpers.anns import digits, random_ann, random_images, trained_ann


def thresholds(network: SpikingNetwork) -> dict[str, float]:
    return {name: 1 + index / 4 for index, name in enumerate(activations(network))}


def spiking_by_hand(
    network: SpikingNetwork, theta: dict[str, float], steps: int, x: Tensor, share: float
) -> Tensor:
    """Scores of the ANN's own layers, with theta times the spikes of a literal neuron between."""
    v: dict[str, Tensor] = {}

    def apply(node: Node, value: Tensor) -> Tensor:
        if not isinstance(node.op, Activation):
            return apply_stateless(node, value[None])[0]
        name, limit = node.name, theta[node.name]
        u = v.get(name, torch.full_like(value, share * limit)) + value
        spikes = (u >= limit).to(u.dtype)
        v[name] = u - limit * spikes
        return limit * spikes

    total = torch.zeros(())
    for _ in range(steps):
        total = (
            total
            + walk(network.nodes, {network.input.name: x}, apply, {network.output})[network.output]
        )
    return total.flatten(1) / steps


@pytest.mark.parametrize("kind", Shortcuts)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_converted_network_computes_what_its_definition_says(
    kind: Shortcuts, share: float
) -> None:
    network = restructure(random_ann().double(), kind)
    theta, x = thresholds(network), random_images(5).double()
    made = to_spiking(network, theta, 7, initial=share)
    scores = made(x)
    assert torch.allclose(scores, spiking_by_hand(network, theta, 7, x, share), atol=1e-9)
    assert {type(node.op) for node in made.nodes} & {nn.ReLU, QuantizedReLU} == set()
    for node in made.nodes:
        if isinstance(node.op, LIF):
            assert (node.op.v_threshold, node.op.v_init) == (
                theta[node.name],
                share * theta[node.name],
            )


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 40), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_constant_input_gives_the_closed_form(seed: int, steps: int, share: float) -> None:
    theta = 1.25
    x = torch.tensor(np.random.default_rng(seed).integers(-64, 128, (2, 9)) / 64).float()
    ann = SpikingNetwork(
        Input("x", (9,), Coding.GRADED, -(2**15), 2**15, scale=64.0),
        [Node("a", ("x",), nn.ReLU()), Node("readout", ("a",), nn.Linear(9, 9, bias=False))],
        1,
    )
    with torch.no_grad():
        next(iter(ann.parameters())).copy_(torch.eye(9))
    scores: Tensor = to_spiking(ann, {"a": theta}, steps, initial=share)(x)
    exact = np.floor((steps * x.double().numpy() + share * theta) / theta).clip(0, steps)
    assert np.array_equal(np.rint(scores.numpy() * steps / theta), exact)


@pytest.mark.parametrize("method", ConversionMethod)
def test_many_steps_give_the_accuracy_of_the_ann(method: ConversionMethod) -> None:
    data = digits()
    made = convert(trained_ann("conv"), data, ConversionConfig(method=method, steps=64, epochs=1))
    x, y = data.test_x[:360], data.test_y[:360]
    found = accuracy_by_steps(made.network, x, y, [512])[512]
    # one sample of 360 is 0.28 points
    assert abs(found - measure_accuracy(continuous(made.ann), x, y)) <= 0.003


def continuous(network: SpikingNetwork) -> SpikingNetwork:
    """The ANN without the quantization of its activations."""
    ops = activations(network)
    if not all(isinstance(op, QuantizedReLU) for op in ops.values()):
        return network
    return quantized(network, thresholds_of(network), None)


def test_folding_keeps_the_function() -> None:
    network = random_ann()
    made, x = folded(network), random_images(4)
    assert torch.allclose(made(x), network(x), atol=1e-5)
    kinds = Counter(type(node.op) for node in made.nodes)
    # the norms after sums stay; that of the convolution is gone
    assert kinds[nn.BatchNorm2d] == Counter(type(n.op) for n in network.nodes)[nn.BatchNorm2d] - 1


def test_analog_shortcuts_are_found() -> None:
    assert len(analog_sums(random_ann())) == 1  # the second sum feeds an activation only
    assert len(analog_sums(trained_ann("preact_resnet20"))) == 6
    assert analog_sums(trained_ann("resnet20")) == ()


@pytest.mark.parametrize("kind", [Shortcuts.ACTIVATED, Shortcuts.FIRED])
def test_restructured_shortcuts_carry_spikes_only(kind: Shortcuts) -> None:
    network = copy_of(trained_ann("preact_resnet20"))
    made = restructure(network, kind)
    assert analog_sums(made) == ()
    added = set(activations(made)) - set(activations(network))
    assert len(added) == (6 if kind is Shortcuts.FIRED else 0)
    assert set(network.layers) <= set(made.layers)
    assert made(torch.tensor(digits().test_x[:2])).shape == (2, 10)


def test_analog_shortcuts_are_kept_if_asked_for() -> None:
    network = random_ann()
    assert restructure(network, Shortcuts.ANALOG) is network
    spiking = copy_of(trained_ann("resnet20"))
    assert restructure(spiking, Shortcuts.FIRED) is spiking


def test_norms_are_estimated_anew() -> None:
    network, x = copy_of(random_ann()), random_images(32)
    reestimate_norms(network, [x[:16], x[16:]])
    first = next(node for node in network.nodes if isinstance(node.op, nn.BatchNorm2d))
    before = next(node for node in network.nodes if node.name == first.inputs[0])
    values = stateless(before.op, x)
    assert isinstance(first.op, nn.BatchNorm2d)
    assert first.op.running_mean is not None
    assert torch.allclose(first.op.running_mean, values.mean((0, 2, 3)), atol=1e-5)
    assert not network.training
    assert first.op.momentum == 0.1


def test_percentiles_are_those_of_positive_activations() -> None:
    network, x = random_ann(), random_images(16)
    found = activation_percentiles(network, [x], 100)
    half = activation_percentiles(network, [x], 50)
    name = next(iter(found))
    values = functional.relu(_before(network, name, x)).detach()
    assert found[name] == float(values.max())
    ordered = values[values > 0].sort().values
    assert half[name] == float(ordered[round(len(ordered) / 2) - 1])


def _before(network: SpikingNetwork, name: str, x: Tensor) -> Tensor:
    (source,) = next(node for node in network.nodes if node.name == name).inputs
    given = {network.input.name: x}
    return walk(
        network.nodes,
        given,
        lambda node, value: (
            node.op(value)
            if isinstance(node.op, Activation)
            else apply_stateless(node, value[None])[0]
        ),
        {source},
    )[source]


def test_the_search_finds_the_share_of_least_error() -> None:
    network, x, steps = random_ann(), random_images(12), 6
    theta = activation_percentiles(network, [x], 100)
    ann = quantized(network, theta, None)
    found = search_thresholds(ann, x, steps)
    assert [each.layer for each in found] == list(activations(ann))
    first = found[0]
    given = _before(network, first.layer, x).detach()
    wanted = QuantizedReLU(None, theta[first.layer])(given).detach()
    errors = {}
    for share in (n / 20 for n in range(6, 27)):
        limit = share * theta[first.layer]
        rate = limit / steps * ((steps * given + limit / 2) / limit).floor().clamp(0, steps)
        errors[share] = float((rate - wanted).square().mean().sqrt())
    assert first.error == pytest.approx(min(errors.values()), abs=1e-6)
    assert all(each.error <= each.error_before for each in found)
    assert any(each.after != each.before for each in found)


def test_the_shortcuts_of_least_variance_are_chosen() -> None:
    made = convert(trained_ann(), digits(), ConversionConfig(steps=4, epochs=0, calibration=32))
    assert set(made.variances) == set(Shortcuts)
    best = min(made.variances, key=lambda kind: made.variances[kind])
    worth = made.variances[best] <= WORTH * made.variances[Shortcuts.ANALOG]
    assert made.shortcuts is (best if worth else Shortcuts.ANALOG)
    plain = convert(
        trained_ann(),
        digits(),
        ConversionConfig(method=ConversionMethod.QCFS, steps=4, epochs=0, calibration=32),
    )
    assert (plain.shortcuts, plain.variances, plain.tuned) == (Shortcuts.ANALOG, {}, ())


def test_accuracies_after_all_steps_come_from_one_pass() -> None:
    data = digits()
    made = convert(trained_ann(), data, ConversionConfig(steps=4, epochs=0, calibration=32))
    x, y = data.test_x[:60], data.test_y[:60]
    found = accuracy_by_steps(made.network, x, y, [2, 4], batch=16)
    for steps, accuracy in found.items():
        made.network.steps = steps
        assert measure_accuracy(made.network, x, y) == accuracy


def test_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    data, path = digits(), tmp_path / "ann.safetensors"
    config = ConversionConfig(method=ConversionMethod.QCFS, steps=4, epochs=2, calibration=64)
    augment = Augment(crop_padding=1)
    once = convert(trained_ann(), data, config, augment=augment, checkpoint=path)
    again = convert(trained_ann(), data, config, augment=augment, checkpoint=path, resume=True)
    for a, b in zip(once.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert len(again.history) == 2


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.pool(self.conv(x))).flatten(1))  # type: ignore[no-any-return]


def test_what_cannot_be_converted_is_refused() -> None:
    data = digits()
    with pytest.raises(InputError, match="average pool"):
        convert(Pooled(), data)
    spiking = from_module(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 8), LIF(), nn.Linear(8, 10)), data.input, 4
    )
    with pytest.raises(InputError, match="nothing to convert"):
        convert(spiking, data)
    ends = from_ann(nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU()), data.input)
    with pytest.raises(InputError, match="ends in a ReLU, must end in a linear layer"):
        convert(ends, data)
    with pytest.raises(InputError, match=r"expects samples of shape \(2, 6, 6\)"):
        convert(random_ann(), data)
    wider = dataclasses.replace(data.input, scale=data.input.scale / 2)
    with pytest.raises(InputError, match=r"trained on values of 0\.\.1, .* has 0\.\.2; give"):
        convert(trained_ann("conv"), dataclasses.replace(data, input=wider))
    dead = from_ann(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)), data.input
    )
    silent = next(
        node.op
        for node in dead.nodes
        if isinstance(node.op, nn.Linear) and node.op.out_features == 8
    )
    nn.init.zeros_(silent.weight)
    nn.init.constant_(silent.bias, -1)
    with pytest.raises(InputError, match="is 0 for all 256 calibration samples"):
        convert(dead, data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "guess"}, "conversion: method"),
        ({"steps": 0}, r"conversion: steps \(T\)"),
        ({"percentile": 0}, "percentile is 0"),
        ({"lr": 0}, "lr is 0"),
        ({"method": "data-based", "levels": 4}, "levels is 4, but 'data-based' does not train"),
        ({"method": "quantized-ann", "steps": 7, "levels": 4}, "has as many as steps, 7"),
        ({"shortcuts": "none"}, "conversion: shortcuts"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConversionConfig(**changes)  # type: ignore[arg-type]


def test_a_strided_convolution_of_single_positions_keeps_its_memory() -> None:
    """Its gradient with channels innermost once wrote beyond it."""
    op = nn.Conv2d(4, 8, 1, stride=2, bias=False)
    x = torch.randn(61, 4, 8, 8)
    plain, last = x.clone().requires_grad_(), x.to(memory_format=torch.channels_last)
    last = last.detach().requires_grad_()
    stateless(op, plain).square().sum().backward()  # type: ignore[no-untyped-call]
    wanted, op.weight.grad = op.weight.grad, None
    stateless(op, last).square().sum().backward()  # type: ignore[no-untyped-call]
    assert op.weight.grad is not None
    assert wanted is not None
    assert torch.allclose(op.weight.grad, wanted, rtol=1e-4)
    assert plain.grad is not None
    assert last.grad is not None
    assert torch.allclose(last.grad, plain.grad, atol=1e-5)


def test_a_shared_activation_gets_a_threshold_for_each_use() -> None:
    network = random_ann()
    shared = QuantizedReLU(4)
    nodes = [
        Node(n.name, n.inputs, shared if isinstance(n.op, Activation) else n.op)
        for n in network.nodes
    ]
    made = copy_of(SpikingNetwork(network.input, nodes, 1))
    assert len({id(op) for op in activations(made).values()}) == len(activations(network)) > 1
