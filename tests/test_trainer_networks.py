"""Every network: size, initial weights, gradients, and the way to a chip or why there is none."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikeport.energy import estimate_energy, load_profile
from spikeport.errors import InputError
from spikeport.export import QuantizeConfig
from spikeport.network import Coding, Input, ReadoutKind, Reset
from spikeport.simulators import run_float, run_native
from spikeport.simulators.ties import compare_float
from spikeport.trainer import as_trained_model, evaluate, evaluate_deployed
from spikeport.trainer.measure.metrics import energy_uj
from spikeport.trainer.models import PUBLISHED, mlp, published_lif, small_conv, with_readout
from spikeport.trainer.network import PassRecord, SpikingNetwork, deployment
from spikeport.trainer.network.network import rate_scores
from spikeport.trainer.neurons import LI, LIF, BatchNorm
from spikeport.trainer.rules import GradientRule
from spikeport.workflow import export_float, quantize
from tests.helpers.trainer_reference import bptt, trained_gradients

DEEPER = {"resnet110", "preact_resnet56", "preact_resnet110"}
"""More of the blocks of `resnet56` and `preact_resnet20`."""
NETWORKS = ("mlp", "small_conv", *(name for name in PUBLISHED if name not in DEEPER))
DEPLOYABLE = [name for name in NETWORKS if name != "preact_resnet34"]


def tiny(name: str, steps: int, seed: int = 0) -> SpikingNetwork:
    """The network as published, on few small images and with few channels; float64."""
    torch.manual_seed(seed)
    lif = published_lif()
    channels, size = (2, 16) if name == "dvs_net" else (3, 16)
    size = 32 if "resnet34" in name or name == "vgg16" else size
    input = Input("input", (channels, size, size), Coding.GRADED, -64, 64, scale=8.0)
    match name:
        case "mlp":
            network = mlp(input, 4, (16, 12), steps, lif)
        case "small_conv":
            network = small_conv(input, 4, (4, 6), steps, lif)
        case _:
            network = PUBLISHED[name](input, 4, steps, lif, width=2)
    for layer in network.layers.values():
        if isinstance(layer, BatchNorm):  # with few channels, many layers are silent otherwise
            nn.init.uniform_(layer.bias, 0.2, 0.6)
    if name == "resnet19":  # no batch norm there
        nn.init.normal_(network.layers["hidden"].weight, 0, 3)  # type: ignore[arg-type]
    if name == "vgg16":
        nn.init.normal_(network.layers["hidden1"].weight, 0, 1)  # type: ignore[arg-type]
        nn.init.normal_(network.layers["hidden2"].weight, 0, 1)  # type: ignore[arg-type]
    return network.double()


def images(network: SpikingNetwork, count: int = 6, *, timed: bool = False) -> Tensor:
    torch.manual_seed(1)
    shape = (network.steps, count) if timed else (count,)
    return torch.randint(-12, 13, (*shape, *network.input.shape)).double() / 8


@pytest.mark.parametrize(
    ("name", "channels", "size", "classes", "parameters"),
    [
        ("resnet18", 3, 32, 10, 11_173_962),  # as other CIFAR ResNet-18 with 1x1 shortcuts
        ("resnet20", 3, 32, 10, 272_474),
        ("resnet56", 3, 32, 10, 855_770),
        ("resnet110", 3, 32, 10, 1_730_714),
        ("preact_resnet20", 3, 32, 10, 272_282),
        ("preact_resnet56", 3, 32, 10, 855_578),
        ("preact_resnet110", 3, 32, 10, 1_730_522),
        ("resnet34", 3, 224, 1000, 21_797_672),  # torchvision's
        ("vgg16", 3, 224, 1000, 138_365_992),  # torchvision's with batch norm
        # torchvision's ResNet-34 has 21,797,672; its convolutions have none of these biases
        ("sew_resnet34", 3, 224, 1000, 21_797_672 + 8_512),
        ("preact_resnet34", 3, 224, 1000, 21_797_672 + 8_512),
        ("resnet19", 3, 32, 10, 12_697_994),
        ("vgg11", 3, 32, 10, 11_001_354),
        ("dvs_net", 2, 48, 10, 9_271_498),
    ],
)
def test_parameters_are_as_many_as_published(
    name: str, channels: int, size: int, classes: int, parameters: int
) -> None:
    input = Input("input", (channels, size, size), Coding.GRADED, -128, 127, scale=32.0)
    network = PUBLISHED[name](input, classes, 4)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_layers_are_as_published() -> None:
    """Numbers of layers with weights, the depth that names most of the networks."""
    expected = {"vgg11": 9, "dvs_net": 9, "vgg16": 16, "resnet18": 18, "resnet19": 19,
                "resnet20": 20, "resnet56": 56, "resnet110": 110, "preact_resnet20": 20,
                "preact_resnet56": 56, "preact_resnet110": 110, "resnet34": 34,
                "sew_resnet34": 34, "preact_resnet34": 34}  # fmt: skip
    assert expected.keys() == PUBLISHED.keys()
    for name, depth in expected.items():
        layers = [
            node.name
            for node in tiny(name, 1).nodes
            if isinstance(node.op, nn.Conv2d | nn.Linear) and "skip" not in node.name
        ]
        assert len(layers) == depth, name
    vgg = {name: shape for name, shape in tiny("vgg11", 1).shapes.items() if "lif" in name}
    assert [shape[0] for shape in vgg.values()] == [2, 4, 8, 16, 16, 16, 16, 16]
    assert tiny("dvs_net", 1).shapes["pool8"] == (16, 1, 1)


def test_weights_begin_as_published() -> None:
    input = Input("input", (3, 32, 32), Coding.GRADED, -64, 64, scale=8.0)
    for name, layer in (("vgg11", "conv5"), ("dvs_net", "conv5"), ("vgg11", "readout")):
        op = PUBLISHED[name](input, 10, 2, width=16).layers[layer]
        assert isinstance(op, nn.Conv2d | nn.Linear)
        assert op.bias is not None
        assert float(op.weight.detach().std()) == pytest.approx(0.5, rel=0.1)
        assert not op.bias.any()
    for name in ("sew_resnet34", "preact_resnet34"):
        op = PUBLISHED[name](input, 10, 2, width=16).layers["s3b2_conv1"]
        assert isinstance(op, nn.Conv2d)
        fan_out = op.out_channels * 9
        assert float(op.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    conv = PUBLISHED["resnet18"](input, 10, 2, width=16).layers["s3b2_conv1"]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is None
    bound = 1 / (conv.in_channels * 9) ** 0.5
    assert 0.9 * bound < float(conv.weight.detach().abs().max()) <= bound


@pytest.mark.parametrize(
    "rule", [GradientRule.RATE_M, GradientRule.RATE_S, GradientRule.BPTT_M, GradientRule.BPTT_S]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_is_ordinary_backpropagation(name: str, rule: GradientRule) -> None:
    network = tiny(name, 1)
    x, y = images(network), torch.arange(6) % 4
    scores, expected = bptt(network, x, y)
    found = trained_gradients(network, x, y, rule)
    size = max(float(g.abs().max()) for g in expected.values())
    assert size > 1e-4
    for layer, gradient in expected.items():
        torch.testing.assert_close(found[layer], gradient, rtol=0, atol=1e-11 * max(1, size))
    torch.testing.assert_close(network(x), scores, rtol=0, atol=1e-11)


@pytest.mark.parametrize("timed", [False, True], ids=["static", "per_step"])
@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.RATE_S])
@pytest.mark.parametrize("name", NETWORKS)
def test_rate_pass_gives_the_spike_pass_scores(name: str, rule: GradientRule, timed: bool) -> None:
    network = tiny(name, 3).float()
    network.rule = rule
    x = images(network, timed=timed).float()
    scores, record = network.spiking_pass(x)
    assert 0.02 < record.firing_rate < 0.9
    assert float(scores.std()) > 0.02
    if rule is GradientRule.RATE_S and name == "preact_resnet34":
        # batch norms of changing statistics follow its last neurons
        apart = rate_scores(network, x, record)[0].detach() - scores
        assert float(apart.abs().max()) > 1e-3
    else:
        torch.testing.assert_close(rate_scores(network, x, record)[0], scores, rtol=0, atol=3e-6)
    assert torch.equal(network.rate_pass(x, record)[0], scores)


@pytest.mark.parametrize("timed", [False, True], ids=["static", "per_step"])
@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.RATE_S])
@pytest.mark.parametrize("name", NETWORKS)
def test_maps_of_the_rate_pass_may_be_taken_from_the_spike_pass(
    name: str, rule: GradientRule, timed: bool
) -> None:
    network = tiny(name, 3)
    network.rule = rule
    x = images(network, timed=timed)
    _, record = network.spiking_pass(x)
    maps = {node.name for node in network.nodes if isinstance(node.op, nn.Conv2d | nn.Linear)}
    assert record.sums.keys() == maps

    def gradients(record: PassRecord) -> dict[str, torch.Tensor]:
        network.zero_grad()
        given = x.clone().requires_grad_()
        scores, _ = network.rate_pass(given, record)
        (scores * torch.arange(scores.numel()).view_as(scores)).sum().backward()  # type: ignore[no-untyped-call]
        assert given.grad is not None
        found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        return {**found, "x": given.grad}

    expected = gradients(dataclasses.replace(record, sums={}))
    size = max(float(gradient.abs().max()) for gradient in expected.values())
    assert size > 1e-3
    for layer, gradient in gradients(record).items():
        torch.testing.assert_close(gradient, expected[layer], rtol=0, atol=1e-11 * max(1, size))


def test_rounded_sums_are_not_kept() -> None:
    network = tiny(NETWORKS[0], 3).float()
    x = images(network, timed=True).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert not network.spiking_pass(x)[1].sums


def settled(network: SpikingNetwork) -> SpikingNetwork:
    """Running statistics of a few batches, so that inference resembles training."""
    for _ in range(30):
        network.spiking_pass(images(network, 16))
    return network.eval()


@functools.cache
def finished(name: str) -> SpikingNetwork:
    return settled(tiny(name, 3))


@pytest.mark.parametrize("name", DEPLOYABLE)
def test_the_exported_graph_spikes_as_the_network_does(name: str) -> None:
    network = finished(name)
    x = images(network).numpy()
    ours = evaluate(network, x, ("spikes", "v_charged"))
    graph = export_float(network)
    theirs = run_float(graph, x, record=("spikes",))
    assert ours.spike_counts.keys() == theirs.spike_counts.keys()
    active = [name for name, count in ours.spike_counts.items() if count.any()]
    assert len(active) >= 0.9 * len(ours.spike_counts)
    assert compare_float(ours, theirs, graph, 1e-5).unexplained == 0
    torch.testing.assert_close(
        torch.from_numpy(ours.scores[network.output]), network(images(network))
    )
    composed = any("became one" in sentence for sentence in deployment(network).rewrites)
    assert composed == name.startswith("preact"), "only analog shortcuts need rewriting"


@pytest.mark.slow
@pytest.mark.parametrize("name", DEPLOYABLE)
def test_the_quantized_network_runs_the_same_everywhere(name: str) -> None:
    network = finished(name)
    x = images(network).numpy()
    made = quantize(export_float(network), x, QuantizeConfig(clip_fractions=(1.0,)))
    chip = np.rint(x * 8).astype(np.int32)
    native = run_native(made.network, chip, record=("spikes",))
    inner = evaluate_deployed(made.network, chip, ("spikes",))
    assert native.counts == inner.counts
    for population, spikes in native.spike_counts.items():
        assert np.array_equal(spikes, inner.spike_counts[population])
    float_spikes = evaluate(network, x).spike_counts
    total, wanted = (
        sum(int(counts[layer].sum()) for layer in float_spikes)
        for counts in (native.spike_counts, float_spikes)
    )
    assert total == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize(
    "neurons", [LIF(0.8, 0.3, Reset.SUBTRACT, strict=False), LI(1.0), LI(0.6)], ids=str
)
def test_readouts_deploy(neurons: LIF | LI) -> None:
    network = with_readout(finished("small_conv"), neurons)
    assert not network.training
    x = images(network, 40)
    scores = network(x).numpy()
    assert scores.std() > 0.01
    graph = export_float(network)
    exported = run_float(graph, x.numpy()).scores["output"]
    counts = 3 if isinstance(neurons, LIF) else 1  # T
    np.testing.assert_allclose(exported, counts * scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(evaluate(network, x.numpy()).scores["readout_neurons"], scores)
    chip = quantize(graph, x.numpy()).network
    (readout,) = chip.readouts
    kind = ReadoutKind.SPIKES if isinstance(neurons, LIF) else ReadoutKind.MEMBRANE
    assert (readout.population, readout.kind) == ("readout_neurons", kind)
    run = run_native(chip, np.rint(x.numpy() * 8).astype(np.int32))
    assert np.mean(run.predictions == scores.argmax(1)) > 0.8


@pytest.mark.parametrize("name", NETWORKS)
def test_energy_of_a_network_in_training_is_that_of_its_chip(name: str) -> None:
    network = finished(name)
    x = images(network).numpy()
    if name == "preact_resnet34":
        assert energy_uj(network, x, load_profile("loihi1")) is None
        return
    graph = export_float(network)
    chip = quantize(graph, x, QuantizeConfig(clip_fractions=(1.0,))).network
    counts = run_native(chip, np.rint(x * 8).astype(np.int32)).counts
    assert counts is not None
    profile = load_profile("loihi1")
    report = estimate_energy(chip, counts, profile)
    wanted = report.dynamic.nominal / counts.samples / 1e6
    assert energy_uj(network, x, profile) == pytest.approx(wanted, rel=0.1)


def test_preact_resnet_says_why_it_does_not_deploy() -> None:
    network = tiny("preact_resnet34", 2)
    with pytest.raises(InputError) as caught:
        as_trained_model(network)
    reasons = str(caught.value)
    assert "cannot be deployed, 2 rule(s) broken" in reasons
    assert "layer 'stem_pool': takes the maximum of 'stem_norm', but only a max-pool" in reasons
    assert "layer 'readout': its scores are a sum of " in reasons
    with pytest.raises(InputError, match="2 rule"):
        evaluate(network, images(network).numpy())
