"""How faithful rate-based gradients are, measured; and that the measurements measure it."""

from __future__ import annotations

import copy
import functools
import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from spikeport.errors import InputError
from spikeport.network import Reset
from spikeport.trainer import diagnose, load_digits_split, mlp, small_conv
from spikeport.trainer.diagnosis.agreement import WHOLE, agreement
from spikeport.trainer.diagnosis.diagnosis import PROBE, activity
from spikeport.trainer.diagnosis.independence import independence, responses
from spikeport.trainer.diagnosis.shuffle import shuffle_test
from spikeport.trainer.loop.training import step as training_step
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import LIF, Neurons
from spikeport.trainer.rules import GradientRule
from tests.helpers.trainer_reference import norm_over, over_steps, samples, toy, unrolled_lif


@functools.cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = load_digits_split()
    train = torch.tensor(data.train_x), torch.tensor(data.train_y)
    return *train, torch.tensor(data.test_x), torch.tensor(data.test_y)


@functools.cache
def trained(kind: str, rule: GradientRule, steps: int = 4, epochs: int = 6) -> SpikingNetwork:
    """A network for digits after a short training by `rule`, the same for all."""
    x, y, _, _ = digits()
    torch.manual_seed(0)
    input, lif = load_digits_split().input, LIF(0.5, 1.0, Reset.SUBTRACT)
    network = (
        small_conv(input, 10, (8, 16), steps, lif)
        if kind == "conv"
        else mlp(input, 10, (64, 32), steps, lif)
    )
    network.rule = rule
    scale = 1.0 if rule.through_time else float(steps)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1 * scale, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs, 1))
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(x)), 64):
            optimizer.zero_grad()
            training_step(network, x[chosen], y[chosen])
            optimizer.step()
        schedule.step()
    return network


def accuracy(scores: Tensor) -> float:
    return float((scores.argmax(1) == digits()[3]).float().mean())


@pytest.mark.parametrize("rule", GradientRule)
def test_every_rule_learns_digits(rule: GradientRule) -> None:
    """At equal effective learning rates and epochs; one of 360 samples is 0.3 points."""
    found = accuracy(trained("conv", rule).eval()(digits()[2]))
    reference = accuracy(trained("conv", GradientRule.BPTT_M).eval()(digits()[2]))
    assert found > 0.95
    assert abs(found - reference) <= 0.02


@pytest.mark.parametrize("kind", ["conv", "mlp"])
def test_order_of_spikes_in_time_matters_little(kind: str) -> None:
    """As published: 78.32 to 77.72 % on CIFAR-100."""
    _, _, x, y = digits()
    found = shuffle_test(trained(kind, GradientRule.RATE_M), x, y)
    assert found.whole.rate > 0.95
    assert found.whole.rate - min(found.by_neuron.rate, found.by_layer.rate) < 0.02


@pytest.mark.parametrize("epochs", [0, 6])
@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.RATE_S])
@pytest.mark.parametrize("kind", ["conv", "mlp"])
def test_gradients_point_where_bptt_points(kind: str, rule: GradientRule, epochs: int) -> None:
    network = trained(kind, rule, epochs=epochs)
    x, y, _, _ = digits()
    found = agreement(network, x[:128], y[:128], (1, 2, 4, 8))
    for entry in found:
        if entry.steps == 1:
            assert entry.cosine == pytest.approx(1, abs=1e-5)
            assert entry.ratio == pytest.approx(1, abs=1e-4)
        assert entry.cosine > (0.95 if entry.layer == WHOLE else 0.93), entry
        assert 0.9 < entry.ratio < 1.1, entry
    assert [entry.depth for entry in found[:4]] == [0, 1, 2, 3]
    assert {entry.steps for entry in found} == {1, 2, 4, 8}


def test_agreement_is_the_cosine_of_what_training_gets() -> None:
    network = toy(LIF(0.2, 1.0, Reset.SUBTRACT), 4)
    x, y = samples(4, static=False)
    found = {entry.layer: entry for entry in agreement(network, x, y, (2, 4)) if entry.steps == 4}
    assert set(found) == {"conv1", "conv2", "readout", WHOLE}
    for layer, names in (("conv2", ["conv2"]), (WHOLE, ["conv1", "conv2", "readout"])):
        gradients = []
        for rule in (GradientRule.RATE_M, GradientRule.BPTT_M):
            other = copy.deepcopy(network)
            other.rule = rule
            loss = functional.cross_entropy(other(x), y)
            weights = [other.layers[name].weight for name in names]
            parts = torch.autograd.grad(loss, weights)  # type: ignore[arg-type]
            gradients.append(torch.cat([part.flatten() for part in parts]))
        cosine = torch.cosine_similarity(gradients[0], gradients[1], dim=0)
        assert found[layer].cosine == pytest.approx(float(cosine))
        ratio = gradients[0].norm() / gradients[1].norm()
        assert found[layer].ratio == pytest.approx(float(ratio))
    with pytest.raises(InputError, match="5 steps requested, the samples have 4"):
        agreement(network, x, y, (5,))


def test_independence_of_weights_is_that_of_products_step_by_step() -> None:
    """dW of BPTT is the sum over steps of delta_t s_t^T; the means' product stands for it."""
    network = toy(LIF(0.2, 1.0, Reset.SUBTRACT), 4)
    x, y = samples(4, static=True)
    layer = dict(network.layers.items())
    norms = [layer[f"norm{i}"] for i in (1, 2)]
    assert isinstance(norms[0], nn.BatchNorm2d)
    assert isinstance(norms[1], nn.BatchNorm2d)
    lif = layer["lif1"]
    assert isinstance(lif, LIF)
    first = norm_over(norms[0], [layer["conv1"](step) for step in over_steps(network, x)], False)
    spikes = unrolled_lif(lif, first)
    currents = [layer["conv2"](s) for s in spikes]
    second = unrolled_lif(lif, norm_over(norms[1], currents, False))
    outs = [layer["readout"](layer["pool"](s).flatten(1)) for s in second]
    loss = functional.cross_entropy(torch.stack(outs).mean(0), y)
    deltas = torch.autograd.grad(loss, currents)

    def product(s: Tensor, delta: Tensor) -> Tensor:
        return conv2d_weight(s, (4, 4, 3, 3), delta, padding=1)  # type: ignore[no-untyped-call, no-any-return]

    spikes = [s.detach() for s in spikes]
    joint = torch.stack([product(s, d) for s, d in zip(spikes, deltas, strict=True)]).mean(0)
    apart = product(torch.stack(spikes).mean(0), torch.stack(deltas).mean(0))
    entry = next(e for e in independence(network, x, y) if e.layer == "conv2")
    assert entry.kind == "weights"
    assert entry.error == pytest.approx(float((joint - apart).norm() / joint.norm()))
    assert 0.01 < entry.error < 1
    assert entry.cosine == pytest.approx(
        float(torch.cosine_similarity(joint.flatten(), apart.flatten(), dim=0))
    )


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("detach", [True, False])
def test_mean_response_is_the_recorded_gain(reset: Reset, detach: bool) -> None:
    lif, x = LIF(0.5, 0.8, reset, detach), torch.randn(6, 3, 40).double() + 0.5
    neurons = Neurons(lif, 6, record=True)
    neurons.advance(x, 6)
    torch.testing.assert_close(responses(lif, x).mean(0), neurons.recorded()[1])


def test_independence_of_neurons_by_hand() -> None:
    """Without memory and with a constant input all steps are alike, so nothing is lost."""
    network = toy(LIF(0.0, 1.0), 3)
    x, y = samples(3, static=True)
    assert all(entry.error < 1e-12 for entry in independence(network, x, y))
    network = toy(LIF(0.9, 1.0), 3)
    found = {entry.layer: entry for entry in independence(network, x, y)}
    assert found["lif1"].kind == "neurons"
    assert found["lif1"].error > 0.01
    assert found["conv1"].error < 1e-12  # a constant input
    assert found["lif2"].error < 1e-12  # the readout's gradient is the same at every step


def test_activity_is_what_fires() -> None:
    network = toy(LIF(0.5, 1.0), 4).float()
    x, _ = samples(4, static=True)
    _, record = copy.deepcopy(network).spiking_pass(x.float())
    for entry in activity(network, x.float()):
        rate = record.rates[entry.layer]
        counts = (4 * rate).round()
        assert entry.rate == pytest.approx(float(rate.mean()))
        assert entry.silent == pytest.approx(float((counts.sum(0) == 0).float().mean()))
        assert len(entry.histogram) == 5
        assert sum(entry.histogram) == pytest.approx(1)
        assert entry.histogram[4] == pytest.approx(float((counts == 4).float().mean()))


@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.BPTT_S])
def test_diagnosis_changes_nothing_and_is_plain_data(rule: GradientRule) -> None:
    network = copy.deepcopy(trained("mlp", GradientRule.RATE_M)).eval()
    network.rule = rule
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, y, _, _ = digits()
    found = diagnose(network, x[:50], y[:50], (1, 4))
    assert network.rule is rule
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())
    assert (found.steps, found.rule, found.probed, found.shuffle.whole.n) == (4, rule, 50, 50)
    assert found.shuffle.whole.rate > 0.9
    assert found.shuffle.by_neuron.rate > 0.8
    again = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [entry["layer"] for entry in again["activity"]] == ["lif1", "lif2"]


def test_all_samples_are_classified_and_the_first_probed() -> None:
    """Batches of them, for memory; a network of frames keeps the steps it was given."""
    network = toy(LIF(0.5, 1.0), 2).float().eval()
    torch.manual_seed(0)
    x, y = torch.randn(2, 300, 2, 6, 6).clamp(-4, 4), torch.randint(3, (300,))
    found = diagnose(network, x, y)
    assert (found.probed, found.shuffle.whole.n) == (PROBE, 300)
    assert found.shuffle.whole.correct == int((network(x).argmax(1) == y).sum())
    assert {entry.steps for entry in found.agreement} == {1, 2}
    assert {e.steps for e in diagnose(network, x[0], y).agreement} == {1, 2, 4, 8}


def test_a_network_that_passes_nothing_on_is_null_in_json() -> None:
    network = toy(LIF(0.5, 1e6), 2).float()
    x, y = samples(2, static=True)
    found = json.dumps(diagnose(network, x.float(), y).as_dict(), allow_nan=False)
    assert json.loads(found)["activity"][0]["silent"] == 1


def test_what_does_not_fit_is_refused() -> None:
    network = toy(LIF(0.5, 1.0), 2).float()
    x, y = samples(2, static=True)
    with pytest.raises(InputError, match="diagnose: 5 samples but 4 labels, must be equal"):
        diagnose(network, x.float(), y[:4])
    with pytest.raises(InputError, match="diagnose: label 3, the network has 3 outputs"):
        diagnose(network, x.float(), torch.full_like(y, 3))
