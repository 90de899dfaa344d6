"""Energy as a differentiable function of rates, and training to a budget."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeport.energy import (
    ConnectionInfo,
    SynapseKind,
    Topology,
    builtin_profiles,
    estimate_energy,
    load_profile,
)
from spikeport.energy.prices import CountsZeros
from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.trainer import (
    LI,
    LIF,
    Dataset,
    Node,
    SpikingNetwork,
    TrainConfig,
    build_network,
    evaluate,
    load_digits_split,
    measure_accuracy,
    train,
)
from spikeport.trainer.device import torch_threads
from spikeport.trainer.energy import EnergyLoss, EnergyModel, energy_loss
from spikeport.trainer.energy.loss import model_of
from spikeport.trainer.energy.model import energy_model, message_rate
from spikeport.trainer.loop import EpochRecord
from spikeport.trainer.loop.resume import best_epoch
from spikeport.trainer.loop.training import step
from spikeport.trainer.measure.events import Delivery, FanOut
from spikeport.trainer.measure.metrics import count_and_price, energy_uj
from spikeport.trainer.measure.topology import float_topology
from spikeport.trainer.network import PassRecord, deployable
from spikeport.trainer.rules import GradientRule
from tests.helpers.training import (
    TINY,
    KilledError,
    assert_same_weights,
    killing_after,
    state,
    tiny_data,
)

LOIHI = load_profile("loihi1")
SPARES_ZEROS, CHARGES_ZEROS = (
    dataclasses.replace(
        LOIHI, counts_zeros=dict.fromkeys(SynapseKind, CountsZeros(all_, all_, all_, "test"))
    )
    for all_ in (False, True)
)
PROFILES = [*map(load_profile, builtin_profiles()), SPARES_ZEROS, CHARGES_ZEROS]


@st.composite
def networks(draw: st.DrawFn) -> SpikingNetwork:
    """Convolutions at borders, strides and groups, pools, a residual sum, and every readout."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    lif, side = LIF(0.5, 0.15), draw(st.integers(5, 7))
    input = Input("input", (2, side, side), Coding.GRADED, -64, 64, scale=8.0)
    stride, padding, groups = (draw(st.integers(*ends)) for ends in ((1, 2), (0, 2), (1, 2)))
    nodes = [
        Node("conv1", ("input",), nn.Conv2d(2, 4, 3, stride, padding, groups=groups)),
        Node("lif1", ("conv1",), lif),
        Node("conv2", ("lif1",), nn.Conv2d(4, 4, 3, 1, 1, groups=draw(st.sampled_from([1, 4])))),
        Node("lif2", ("conv2", "lif1") if draw(st.booleans()) else ("conv2",), lif),
    ]
    last: tuple[str, ...] = ("lif2",)
    match draw(st.sampled_from(["none", "sum", "average", "max"])):
        case "sum":
            nodes.append(Node("both", ("lif1", "lif2"), nn.Identity()))
            last = ("both",)
        case "average":
            nodes.append(Node("pool", last, nn.AvgPool2d(2)))
            last = ("pool",)
        case "max":
            nodes.append(Node("pool", last, nn.MaxPool2d(2, padding=draw(st.integers(0, 1)))))
            last = ("pool",)
    shapes = SpikingNetwork(input, nodes, 1).shapes
    nodes.append(Node("linear", last, nn.Linear(int(np.prod(shapes[last[0]])), 3)))
    readout = draw(st.sampled_from([None, lif, LI(0.9)]))
    if readout is not None:
        nodes.append(Node("readout", ("linear",), readout))
    with torch.no_grad():
        for node in nodes:
            if isinstance(node.op, nn.Conv2d | nn.Linear):
                node.op.weight[torch.rand_like(node.op.weight) < 0.3] = 0.0
    return SpikingNetwork(
        input, nodes, draw(st.integers(1, 4)), draw(st.sampled_from(GradientRule))
    )


def samples(network: SpikingNetwork, count: int, timed: bool) -> Tensor:
    x = torch.randn(*([network.steps] if timed else []), count, *network.input.shape)
    return x * (torch.rand_like(x) < 0.6)


def rates_of(network: SpikingNetwork, x: Tensor, record: PassRecord) -> dict[str, Tensor]:
    received = {network.input.name: message_rate(x, network.input.shape)}
    return received | dict(record.rates) | dict(record.maxima)


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(1, 3), st.booleans())
def test_energy_of_rates_is_the_estimate_of_the_same_events(
    network: SpikingNetwork, count: int, timed: bool
) -> None:
    with torch_threads(1):
        x = samples(network, count, timed)
        _, record = network.training_pass(x)
        counts, _ = count_and_price(network, x.numpy(), LOIHI)
    wired_topology = float_topology(deployable(network))
    for profile in PROFILES:
        report = estimate_energy(wired_topology, counts, profile)
        model = model_of(network, profile)()
        assert model.sizes.keys() == counts.updates.keys()
        energy = model(rates_of(network, x, record), counts.updates)
        assert float(energy.detach()) == pytest.approx(
            report.dynamic.nominal / count / 1e6, rel=1e-6
        )


def test_a_pass_that_counts_no_updates_is_charged_all_visits() -> None:
    """Exact with biases."""
    data = tiny_data()
    network = build_network(TINY, data.input, data.classes).train()
    x = torch.tensor(data.train_x)
    rates = rates_of(network, x, network.training_pass(x)[1])
    model = model_of(network, LOIHI)()
    visits = {name: len(x) * network.steps * size for name, size in model.sizes.items()}
    assert torch.equal(model(rates), model(rates, visits))
    fewer = model(rates, {"lif1": visits["lif1"] - 1000}).detach()
    each = LOIHI.energy_pj["update"].nominal.value
    assert float(model(rates).detach() - fewer) == pytest.approx(1000 * each / len(x) / 1e6)


def small_model() -> EnergyModel:
    wired_topology = Topology(
        {
            "a": ConnectionInfo(SynapseKind.CONV, "x", "p"),
            "b": ConnectionInfo(SynapseKind.DENSE, "p", "q"),
        }
    )
    reach = FanOut(torch.tensor([1, 0, 2]), torch.tensor([2, 1, 2]))
    deliveries = [Delivery("x", "a", reach), Delivery("p", "b", reach)]
    return energy_model(wired_topology, deliveries, {"x": (3,)}, {"p": (3,), "q": (2,)}, 4, LOIHI)


def test_energy_by_hand() -> None:
    model, rates = small_model(), {"x": torch.ones(1, 3), "p": torch.tensor([[0.5, 0.0, 0.25]])}
    packet = 111.0 + 4.2
    inputs = 4 * (3 * packet + 3 * 24.0)  # a kernel stores no zeros, dense rows do
    spikes = 2 * (69.3 + packet + 2 * 35.5) + 69.3 + packet + 2 * 35.5
    neurons = 4 * 5 * (51.2 + 21.6)
    assert float(model(rates)) == pytest.approx((inputs + spikes + neurons) / 1e6)
    assert float(model.silent_uj(rates)) == pytest.approx((inputs + neurons) / 1e6)
    ceiling = model({"x": torch.ones(2, 3), "p": torch.ones(2, 3), "q": torch.ones(2, 2)})
    assert model.ceiling_uj == pytest.approx(float(ceiling))


def test_gradient_of_energy_is_that_of_finite_differences() -> None:
    model = small_model()
    rates = [torch.rand(2, size, dtype=torch.float64, requires_grad=True) for size in (3, 3, 2)]
    energy = lambda *r: model(dict(zip("xpq", r, strict=True)))  # noqa: E731
    assert torch.autograd.gradcheck(energy, rates, eps=1e-2, atol=1e-9)


def test_missing_rates_and_foreign_connections_are_refused() -> None:
    with pytest.raises(InputError, match="energy: source 'p' has no rate"):
        small_model()({"x": torch.ones(1, 3)})
    connection = {"a": ConnectionInfo(SynapseKind.DENSE, "x", "p")}
    with pytest.raises(InputError, match="connection 'a' has no deliveries"):
        energy_model(Topology(connection), [], {"x": (3,)}, {"p": (3,)}, 4, LOIHI)
    reach = Delivery("y", "a", FanOut(torch.ones(3), torch.ones(3)))
    with pytest.raises(InputError, match="'y' to 'a' is not in the network"):
        energy_model(Topology(connection), [reach], {"x": (3,)}, {"p": (3,)}, 4, LOIHI)


@pytest.mark.parametrize("rule", GradientRule)
def test_rates_carry_the_gradient_of_the_rule(rule: GradientRule) -> None:
    """Scores of a network that ends in neurons are their rates."""
    torch.manual_seed(0)
    nodes = [
        Node("conv", ("input",), nn.Conv2d(1, 3, 3)),
        Node("lif1", ("conv",), LIF(0.5, 0.3)),
        Node("pool", ("lif1",), nn.MaxPool2d(2)),
        Node("linear", ("pool",), nn.Linear(12, 4)),
        Node("lif2", ("linear",), LIF(0.5, 0.3)),
    ]
    network = SpikingNetwork(
        Input("input", (1, 6, 6), Coding.GRADED, 0, 64, 64.0), nodes, 5, rule
    ).train()
    x, weights = torch.rand(6, 1, 6, 6), torch.rand(6, 4)
    scores, record = network.training_pass(x)
    _, spiking = network.spiking_pass(x)
    assert torch.equal(record.rates["lif2"], scores)
    grads = [
        torch.autograd.grad((out * weights).sum(), list(network.parameters()), retain_graph=True)
        for out in (scores, record.rates["lif2"])
    ]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert float(grads[0][0].abs().sum()) > 0
    for found, recorded in ((record.rates, spiking.rates), (record.maxima, spiking.maxima)):
        for name, rate in found.items():
            assert rate.requires_grad
            if not rule.through_time:
                assert torch.equal(rate.detach(), recorded[name])
    run = evaluate(network.eval(), x.numpy())
    for name, rate in {**record.rates, **record.maxima}.items():
        spikes = torch.tensor(run.spike_counts[name])
        torch.testing.assert_close(rate.detach().sum(0) * 5, spikes.float())


def test_zero_weights_follow_training_only_where_they_are_free() -> None:
    data = tiny_data()
    network = build_network(TINY, data.input, data.classes)
    charged = model_of(network, CHARGES_ZEROS)
    assert charged() is charged()
    for profile in (SPARES_ZEROS, LOIHI):
        network = build_network(TINY, data.input, data.classes)
        model = model_of(network, profile)
        kernel, rows = model().message_pj["lif1"], model().message_pj["lif2"]
        with torch.no_grad():
            network.layers["conv2"].weight[0] = 0.0  # type: ignore[operator]
            network.layers["readout"].weight[0] = 0.0  # type: ignore[operator]
        assert (model().message_pj["lif1"] < kernel).all()
        assert bool((model().message_pj["lif2"] < rows).all()) == (profile is SPARES_ZEROS)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_split()


SMALL = TrainConfig(widths=(8, 16), steps=4, epochs=6, batch_size=32, lr=0.2)


def test_a_budget_is_kept_at_little_loss_of_accuracy(digits: Dataset) -> None:
    free = train(SMALL, digits)
    before, priced = count_and_price(free.model, np.asarray(digits.test_x), LOIHI)
    budget = 0.45 * priced.dynamic.nominal / before.samples / 1e6
    config = dataclasses.replace(SMALL, energy_budget_uj=budget)
    kept = train(config, digits, start=free.model)
    after, priced = count_and_price(kept.model, np.asarray(digits.test_x), LOIHI)
    spent = priced.dynamic.nominal / after.samples / 1e6
    assert 0.85 * budget < spent <= budget
    assert kept.history[-1].energy_uj == pytest.approx(spent, rel=0.05)
    events = (counts.total("synaptic_events") for counts in (after, before))
    assert next(events) < 0.6 * next(events)
    free_accuracy, accuracy = (
        measure_accuracy(result.model, digits.test_x, digits.test_y) for result in (free, kept)
    )
    assert free_accuracy > 0.95
    assert accuracy > free_accuracy - 0.02


def test_a_penalty_lowers_energy(digits: Dataset) -> None:
    config = dataclasses.replace(SMALL, epochs=2)
    free, dear = (
        train(dataclasses.replace(config, energy_penalty=weight), digits).history[-1].energy_uj
        for weight in (0.0, 5.0)
    )
    assert free is not None
    assert dear is not None
    assert dear < 0.8 * free


TIGHT = dataclasses.replace(
    TINY, v_threshold=0.2, energy_budget_uj=0.046, energy_penalty=0.5, validation=0.2
)


@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.BPTT_S])
def test_a_killed_run_with_a_budget_resumes_to_the_same_bits(
    tmp_path: Path, rule: GradientRule
) -> None:
    config = dataclasses.replace(TIGHT, rule=rule)
    data, path = tiny_data(), tmp_path / "run.safetensors"
    start = train(dataclasses.replace(TINY, epochs=2), data).model
    whole = train(config, data, start=start)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(
            state(whole).values(),
            state(
                train(dataclasses.replace(config, energy_budget_uj=9.0), data, start=start)
            ).values(),
            strict=True,
        )
    )
    with pytest.raises(KilledError):
        train(config, data, killing_after(5), checkpoint=path, minutes=0, start=start)
    assert_same_weights(state(train(config, data, checkpoint=path, resume=True)), state(whole))
    with pytest.raises(
        InputError, match=r"trained with energy_budget_uj 0\.046, cannot continue with"
    ):
        train(
            dataclasses.replace(config, energy_budget_uj=None), data, checkpoint=path, resume=True
        )


def test_the_loss_that_is_logged_is_the_cross_entropy() -> None:
    data = tiny_data()
    network = build_network(TIGHT, data.input, data.classes).train()
    x, y = torch.tensor(data.train_x), torch.tensor(data.train_y)
    energy = energy_loss(TIGHT, network, LOIHI, data.train_x[:32])
    assert isinstance(energy, EnergyLoss)
    plain = step(network, x, y)[0]
    before = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad()
    assert torch.equal(step(network, x, y, energy=energy)[0], plain)
    after = [p.grad for p in network.parameters() if p.grad is not None]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert energy_loss(TINY, network, LOIHI, data.train_x[:32]) is None


def test_the_best_epoch_is_one_within_the_budget() -> None:
    def history(*seen: tuple[float, float]) -> tuple[EpochRecord, ...]:
        return tuple(
            EpochRecord(i + 1, 0.1, 0.9, 0.1, 0.1, 1.0, accuracy, energy)
            for i, (accuracy, energy) in enumerate(seen)
        )

    assert best_epoch(history((0.9, 8.0), (0.7, 6.0), (0.8, 7.0)), 5.0) == 2
    assert best_epoch(history((0.9, 8.0), (0.7, 4.0), (0.8, 5.0), (0.8, 5.0)), 5.0) == 3
    assert best_epoch(history((0.9, 8.0), (0.7, 4.0))) == 1


def test_budgets_that_cannot_be_kept_are_refused_before_training() -> None:
    data = tiny_data()
    with pytest.raises(
        InputError,
        match=r"energy_budget_uj is 0\.02, but without spikes .* takes 0\.0\d+ µJ .*\(loihi1\)",
    ):
        train(dataclasses.replace(TINY, energy_budget_uj=0.02), data)
    with pytest.raises(InputError, match=r"no built-in profile .*did you mean 'digital'"):
        train(dataclasses.replace(TINY, energy_profile="digtal"), data)
    colour = Input("input", (3, 32, 32), Coding.GRADED, 0, 16, scale=16.0)
    x = np.zeros((8, 3, 32, 32), np.float32)
    images = Dataset("none", x, np.arange(8) % 2, x, np.arange(8) % 2, colour, 2)
    analog = dataclasses.replace(
        TINY,
        architecture="preact_resnet34",
        widths=(2,),
        energy_budget_uj=1.0,
    )
    with pytest.raises(
        InputError, match=r"energy cannot be part of the loss; .*cannot be deployed"
    ):
        train(analog, images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy_penalty": -1.0}, "energy_penalty is -1.0, must be at least 0"),
        ({"energy_budget_uj": 0.0}, "energy_budget_uj is 0.0, must be positive"),
        ({"energy_budget_uj": float("nan")}, "energy_budget_uj is nan, must be positive"),
    ],
)
def test_wrong_settings_are_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**changes)


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    data, path = tiny_data(), tmp_path / "start.safetensors"
    first = train(TINY, data, checkpoint=path)
    config = dataclasses.replace(TINY, epochs=1, lr=1e-30, momentum=0.0, weight_decay=0.0)
    for start in (first.model, path):
        again = train(config, data, start=start)
        for name, value in first.model.named_parameters():
            assert torch.equal(dict(again.model.named_parameters())[name], value)
    wider = dataclasses.replace(TINY, widths=(3, 5))
    with pytest.raises(
        InputError,
        match=r"start\.safetensors: tensor '\S*conv2\.weight' is \(4, 3, 3, 3\), .* \(5,",
    ):
        train(wider, data, start=path)
    with pytest.raises(InputError, match=r"start: has no tensor 'layers\.conv3\.weight', which"):
        train(dataclasses.replace(TINY, widths=(3, 4, 4)), data, start=first.model)


def test_energy_of_an_estimate_is_that_of_count_and_price() -> None:
    network = build_network(TINY, tiny_data().input, 4).eval()
    x = np.asarray(tiny_data().test_x, np.float32)
    counts = evaluate(network, x).counts
    assert counts is not None
    assert counts.total("synaptic_events") > 0
    priced, report = count_and_price(network, x, LOIHI)
    again = estimate_energy(float_topology(deployable(network)), priced, LOIHI)
    assert energy_uj(network, x, LOIHI) == again.dynamic.nominal / len(x) / 1e6
    assert report.dynamic == again.dynamic
