"""Layers that need a rule of their own in the rate pass: dropout, max-pool, sums; their order."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Coding, Input, Reset
from spikeport.trainer.description import as_trained_model
from spikeport.trainer.network import Node, SpikingNetwork, deployable, deployment
from spikeport.trainer.network.network import run
from spikeport.trainer.network.passes import Training
from spikeport.trainer.neurons import LIF
from spikeport.trainer.rules import GradientRule
from tests.helpers.trainer_reference import gradients

INPUT = Input("input", (2, 8, 8), Coding.GRADED, -64, 64, scale=8.0)
RULES = [GradientRule.RATE_M, GradientRule.RATE_S, GradientRule.BPTT_M, GradientRule.BPTT_S]


def chain(
    *ops: nn.Module, steps: int = 4, rule: GradientRule = GradientRule.RATE_M
) -> SpikingNetwork:
    """Layers one after another, named by their place, float64."""
    nodes, source = [], INPUT.name
    for place, op in enumerate(ops):
        nodes.append(Node(f"layer{place}", (source,), op))  # type: ignore[arg-type]
        source = f"layer{place}"
    return SpikingNetwork(INPUT, nodes, steps, rule).double()


def pooled(rule: GradientRule = GradientRule.RATE_M, steps: int = 4) -> SpikingNetwork:
    torch.manual_seed(0)
    return chain(
        nn.Conv2d(2, 3, 3, padding=1),
        LIF(0.5, 0.4, Reset.SUBTRACT),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3, padding=1),
        LIF(0.5, 0.3),
        nn.Linear(64, 3),
        steps=steps,
        rule=rule,
    )


def images(*lead: int) -> Tensor:
    torch.manual_seed(3)
    return torch.randn(*lead, 2, 8, 8).double()


def weight_of(network: SpikingNetwork, layer: str) -> Tensor:
    weight = network.layers[layer].weight
    assert isinstance(weight, Tensor)
    return weight


@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.RATE_S])
def test_rates_after_a_max_pool_are_rates_of_maxima(rule: GradientRule) -> None:
    """And not maxima of rates, which are smaller where neurons of a window take turns."""
    network, x = pooled(rule), images(4, 5)
    _, record = network.spiking_pass(x)
    seen: dict[str, Tensor] = {}

    def keep(node: Node, value: Tensor, span: int) -> Tensor:
        out = layers(node, value, span)
        seen[node.name] = torch.cat([seen[node.name], out]) if node.name in seen else out
        return out

    layers = Training(network.rule, network.steps)
    run(network, x, keep)
    expected = seen["layer2"].mean(0)
    torch.testing.assert_close(record.maxima["layer2"], expected)
    maxima_of_rates = functional.max_pool2d(record.rates["layer1"], 2)
    assert (expected >= maxima_of_rates - 1e-12).all()
    assert float((expected - maxima_of_rates).max()) > 0.2
    scores = network(x)
    weights = weight_of(network, "layer3")
    upstream = torch.autograd.grad(scores.sum(), weights)[0]
    mean_of_maxima = expected.clone().requires_grad_()
    currents = functional.conv2d(mean_of_maxima, weights, padding=1)
    of_currents = record.gains["layer4"] * (
        torch.ones(5, 3).double() @ weight_of(network, "layer5")
    ).view(5, 4, 4, 4)
    wanted = torch.autograd.grad((currents * of_currents).sum(), weights)[0]
    torch.testing.assert_close(upstream, wanted)


@pytest.mark.parametrize("rule", RULES)
def test_dropout_keeps_one_mask_for_all_steps_and_both_passes(rule: GradientRule) -> None:
    torch.manual_seed(0)
    network = chain(
        nn.Conv2d(2, 16, 3), LIF(0.5, 0.1), nn.Dropout(0.5), nn.Linear(576, 3), rule=rule
    )
    x = images(4, 5)
    spikes: list[Tensor] = []

    def keep(node: Node, value: Tensor, span: int) -> Tensor:
        out = layers(node, value, span)
        if node.name == "layer2":
            spikes.extend(zip(value, out, strict=True))  # type: ignore[arg-type]
        return out

    layers = Training(network.rule, network.steps)
    record = layers.record(run(network, x, keep))
    mask = record.masks["layer2"]
    assert set(mask.flatten().tolist()) == {0.0, 2.0}
    assert mask.shape == (5, 16, 6, 6)
    for before, after in spikes:
        assert torch.equal(after, before * mask)
    if not rule.through_time:
        scores, _ = network.rate_pass(x, record)
        weight = torch.autograd.grad(scores.sum(), weight_of(network, "layer3"))[0]
        mean = (record.rates["layer1"] * mask).flatten(1).sum(0)
        torch.testing.assert_close(weight[0], mean)
    silent = copy.deepcopy(network).eval()
    silent.layers["layer2"].p = 0.9  # type: ignore[assignment]
    assert torch.equal(silent(x), network.eval()(x))


def test_a_network_without_neurons_is_its_mean_over_time() -> None:
    x = images(4, 5)
    for rule in RULES:
        network = chain(nn.AvgPool2d(2), nn.Linear(32, 3), rule=rule)
        expected = network.layers["layer1"](functional.avg_pool2d(x.mean(0), 2).flatten(1))
        torch.testing.assert_close(network(x), expected)
        torch.testing.assert_close(network.eval()(x), expected)


@pytest.mark.parametrize("rule", RULES)
def test_layers_may_be_shared(rule: GradientRule) -> None:
    """One convolution and one LIF used twice gather both gradients."""
    torch.manual_seed(0)
    conv, lif, head = nn.Conv2d(2, 2, 3, padding=1), LIF(0.5, 0.3), nn.Linear(128, 3)
    shared = chain(conv, lif, conv, lif, head, steps=1, rule=rule)
    apart = chain(conv, lif, copy.deepcopy(conv), lif, copy.deepcopy(head), steps=1, rule=rule)
    x = images(5)
    torch.testing.assert_close(shared(x), apart(x))
    ours, theirs = gradients(shared, shared(x)[:, 0].sum()), gradients(apart, apart(x)[:, 0].sum())
    first, second = theirs["layers.layer0.weight"], theirs["layers.layer2.weight"]
    torch.testing.assert_close(ours["layers.layer0.weight"], first + second)


def test_switching_the_rule_needs_nothing_else() -> None:
    network, x = pooled(), images(5)
    found = {}
    for rule in RULES:
        network.rule = rule
        found[rule] = gradients(network, network(x).pow(2).sum())["layers.layer0.weight"]
    flat = {rule: gradient.flatten() for rule, gradient in found.items()}
    torch.testing.assert_close(
        flat[GradientRule.RATE_M], flat[GradientRule.RATE_S]
    )  # no batch norm here
    torch.testing.assert_close(flat[GradientRule.BPTT_M], flat[GradientRule.BPTT_S])
    assert (
        torch.cosine_similarity(flat[GradientRule.RATE_M], flat[GradientRule.BPTT_M], dim=0) > 0.8
    )
    assert not torch.allclose(flat[GradientRule.RATE_M], flat[GradientRule.BPTT_M])


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(InputError, match="network: rule is 'bptt', must be one of 'rate_m', "):
        chain(nn.Linear(128, 3), rule="bptt")  # type: ignore[arg-type]


def residual(*, sources: tuple[str, ...] = ("conv2", "sum")) -> SpikingNetwork:
    torch.manual_seed(0)
    lif = LIF(0.5, 0.3)
    nodes = [
        Node("conv1", ("input",), nn.Conv2d(2, 6, 3, padding=1)),
        Node("lif1", ("conv1",), lif),
        Node("drop", ("lif1",), nn.Dropout(0.5)),
        Node("pool", ("drop",), nn.MaxPool2d(3, 2, 1)),
        Node("conv2", ("pool",), nn.Conv2d(6, 6, 3, padding=1)),
        Node("mean", ("lif1",), nn.AvgPool2d(2)),
        Node("sum", ("pool", "mean"), nn.Identity()),
        Node("lif2", sources, lif),
        Node("readout", ("lif2",), nn.Linear(96, 3)),
    ]
    return SpikingNetwork(INPUT, nodes, 3).double()


def test_the_deployable_network_answers_the_same_without_what_a_chip_lacks() -> None:
    network = residual().eval()
    network = SpikingNetwork(
        INPUT,
        [
            Node(node.name, ("lif1",) if node.name == "pool" else node.inputs, node.op)
            for node in network.nodes
            if node.name != "drop"
        ],
        3,
    ).eval()
    chip = deployable(network)
    assert not chip.training
    kinds = {type(node.op) for node in chip.nodes}
    assert kinds == {nn.Conv2d, LIF, nn.AvgPool2d, nn.Linear}
    x = images(9)
    torch.testing.assert_close(chip(x), network(x), rtol=0, atol=1e-12)
    assert torch.equal(deployable(chip)(x), chip(x))
    added = {"pool_any", "pool_to_lif2", "mean_to_lif2"}
    assert {node.name for node in chip.nodes} == {*network.layers} - {"sum"} | added
    ones = chip.layers["pool_any"]
    assert isinstance(ones, nn.Conv2d)
    assert (ones.groups, ones.kernel_size, ones.stride, ones.padding) == (6, (3, 3), (2, 2), (1, 1))
    assert deployment(network).rewrites == (
        "'pool' became neurons that fire if any neuron in their window does",
        "'pool' reaches 'lif2' by one-to-one connections",
        "'mean' reaches 'lif2' by one-to-one connections",
    )
    assert [layer.name for layer in as_trained_model(network).layers] == [
        node.name for node in chip.nodes
    ]


def test_one_to_one_connections_have_few_groups() -> None:
    """Lava takes at most 127."""
    for channels, groups in ((1, 1), (6, 6), (64, 64), (96, 48), (512, 64), (67, 1)):
        lif = LIF(0.5, 0.3)
        nodes = [
            Node("conv", ("input",), nn.Conv2d(2, channels, 1)),
            Node("one", ("conv",), lif),
            Node("two", ("one",), lif),
            Node("flat", ("two",), nn.Linear(channels * 64, 5)),
            Node("three", ("flat",), lif),
            Node("four", ("three",), lif),
        ]
        network = SpikingNetwork(INPUT, nodes, 2).double().eval()
        chip = deployable(network)
        joint = chip.layers["one_to_two"]
        assert isinstance(joint, nn.Conv2d)
        assert joint.groups == groups
        assert isinstance(chip.layers["three_to_four"], nn.Linear)
        assert torch.equal(chip(images(3)), network(images(3)))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [
                Node("conv", ("input",), nn.Conv2d(2, 2, 3)),
                Node("pool", ("conv",), nn.MaxPool2d(2)),
                Node("out", ("pool",), nn.Linear(18, 2)),
            ],
            "'pool': takes the maximum of 'conv', but only a max-pool directly after one LIF",
        ),
    ],
)
def test_what_a_chip_cannot_express_is_named(nodes: list[Node], message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_trained_model(SpikingNetwork(INPUT, nodes, 2))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node("a-b", ("input",), LIF())], "layer 'a-b': the name must be letters, digits"),
        (
            [Node("values", ("input",), LIF())],
            "layer 'values': the name is reserved by torch.nn.ModuleDict",
        ),
        ([Node("a", ("input",), nn.Conv2d(3, 2, 3))], "layer 'a': expects 3 channels, received 2"),
        ([Node("a", ("input",), nn.Linear(3, 2))], "layer 'a': expects 3 features, received 128"),
        ([Node("a", ("input",), nn.AvgPool2d(9))], "layer 'a': its window does not fit into"),
        ([Node("a", ("input",), nn.BatchNorm1d(2))], "layer 'a': BatchNorm1d received shape"),
        (
            [
                Node("a", ("input",), nn.Linear(128, 4)),
                Node("b", ("a",), nn.Conv2d(4, 2, 1)),
            ],
            r"layer 'b': needs an input \(C, H, W\), received \(4,\)",
        ),
        (
            [
                Node("a", ("input",), nn.Conv2d(2, 2, 3)),
                Node("b", ("a", "input"), LIF()),
            ],
            "layer 'b': its inputs differ in shape and cannot be summed",
        ),
        (
            [Node("a", ("input",), nn.AvgPool2d(3, 1, 1, count_include_pad=False))],
            "layer 'a': count_include_pad is False, an average pool must count its padding",
        ),
        ([Node("a", ("input",), nn.MaxPool2d(3, ceil_mode=True))], "layer 'a': a max-pool must"),
    ],
)
def test_networks_that_do_not_fit_are_refused(nodes: list[Node], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpikingNetwork(INPUT, nodes, 2)
