"""The training rules against formulations written independently, and what they promise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Reset
from spikeport.trainer.loop.training import step as training_step
from spikeport.trainer.models import mlp, small_conv
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.network import rate_scores, run
from spikeport.trainer.network.passes import Training
from spikeport.trainer.neurons import LI, LIF, Neurons
from spikeport.trainer.rules import GradientRule
from tests.helpers.trainer_reference import (
    CLASSES,
    INPUT,
    bptt,
    gradients,
    plain_rate,
    samples,
    toy,
    trained_gradients,
)

RATE_RULES = [rule for rule in GradientRule if not rule.through_time]

NEURONS = [
    *(LIF(0.5, 1.0, reset, detach) for reset in Reset for detach in (True, False)),
    LIF(0.2, 0.8, Reset.SUBTRACT, detach_reset=False),
    LIF(1.0, 1.3, Reset.ZERO),
    LIF(1.0, 1.3, Reset.SUBTRACT, strict=False, v_init=0.65),
    LIF(0.5, 1.0, Reset.ZERO, detach_reset=False, v_init=-0.7),
]


@pytest.mark.parametrize(
    "rule", [r for r in GradientRule if r is not GradientRule.RATE_S_PUBLISHED]
)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("lif", NEURONS, ids=str)
def test_one_step_is_ordinary_backpropagation(lif: LIF, residual: bool, rule: GradientRule) -> None:
    network = toy(lif, 1, residual=residual)
    x, y = samples(1, static=True)
    _, expected = bptt(network, x, y)
    found = trained_gradients(network, x, y, rule)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        # a convolution's bias in front of batch norm has gradient 0 but for rounding
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-2


@pytest.mark.parametrize("rule", RATE_RULES)
@pytest.mark.parametrize("static", [True, False], ids=["static", "per_step"])
@pytest.mark.parametrize("steps", [1, 2, 4, 6])
@pytest.mark.parametrize("lif", NEURONS, ids=str)
def test_equals_the_equations_in_plain_autograd(
    lif: LIF, steps: int, static: bool, rule: GradientRule
) -> None:
    network = toy(lif, steps)
    x, y = samples(steps, static=static)
    expected = plain_rate(network, x, y, rule)
    found = trained_gradients(network, x, y, rule)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", [GradientRule.BPTT_M, GradientRule.BPTT_S])
@pytest.mark.parametrize("static", [True, False], ids=["static", "per_step"])
@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("lif", NEURONS, ids=str)
def test_bptt_equals_autograd_through_the_recurrence(
    lif: LIF, steps: int, static: bool, rule: GradientRule
) -> None:
    network = toy(lif, steps, residual=True)
    x, y = samples(steps, static=static)
    scores, expected = bptt(network, x, y, per_step=rule.single_step)
    found = trained_gradients(network, x, y, rule)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(network(x), scores, rtol=0, atol=1e-12)


def bare(lif: LIF, steps: int) -> SpikingNetwork:
    """The residual toy without its batch norms, with weights that make it fire."""
    network = toy(lif, steps, residual=True)
    folded = {"norm1": "conv1", "norm2": "conv2"}
    nodes = [
        Node(node.name, tuple(folded.get(name, name) for name in node.inputs), node.op)
        for node in network.nodes
        if node.name not in folded
    ]
    for node in nodes:
        if isinstance(node.op, nn.Conv2d):
            nn.init.normal_(node.op.weight, 0.1, 0.4)
    return SpikingNetwork(INPUT, nodes, steps).double()


@pytest.mark.parametrize(
    ("multi", "single", "static"),
    [
        (GradientRule.RATE_M, GradientRule.RATE_S, True),
        (GradientRule.RATE_M, GradientRule.RATE_S, False),
        (GradientRule.RATE_M, GradientRule.RATE_S_PUBLISHED, True),
        (GradientRule.BPTT_M, GradientRule.BPTT_S, True),
        (GradientRule.BPTT_M, GradientRule.BPTT_S, False),
    ],
)
@pytest.mark.parametrize("lif", NEURONS, ids=str)
def test_without_batch_norm_both_modes_are_one(
    lif: LIF, static: bool, multi: GradientRule, single: GradientRule
) -> None:
    network = bare(lif, 5)
    x, y = samples(5, static=static)
    expected = trained_gradients(network, x, y, multi)
    found = trained_gradients(network, x, y, single)
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-2
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)


def test_the_published_single_step_differs_by_its_batch_norm_and_its_input() -> None:
    """Traps 2 to 4: last mean, last variance with eps twice, last frame."""
    network = toy(LIF(0.2, 1.0, Reset.SUBTRACT), 4)
    x, y = samples(4, static=False)
    network.rule = GradientRule.RATE_S
    _, averaged = network.spiking_pass(x)
    network.rule = GradientRule.RATE_S_PUBLISHED
    _, published = network.spiking_pass(x)
    currents = torch.stack([network.layers["conv1"](step) for step in x])
    variance, mean = torch.var_mean(currents, (1, 3, 4), correction=0)
    close = torch.testing.assert_close
    close(averaged.norms["norm1"].mean, mean.mean(0))
    close(averaged.norms["norm1"].scale, torch.rsqrt(variance + 1e-5).mean(0))
    close(published.norms["norm1"].mean, mean[-1])
    close(published.norms["norm1"].scale, torch.rsqrt(variance[-1] + 2e-5))
    ours = trained_gradients(network, x, y, GradientRule.RATE_S)
    theirs = trained_gradients(network, x, y, GradientRule.RATE_S_PUBLISHED)
    apart = max(float((ours[n] - theirs[n]).norm() / ours[n].norm()) for n in ours if "conv" in n)
    assert apart > 0.02


@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.RATE_S])
@pytest.mark.parametrize("steps", [2, 4, 6])
@pytest.mark.parametrize("reset", Reset)
def test_points_where_backpropagation_through_time_points(
    reset: Reset, steps: int, rule: GradientRule
) -> None:
    network = toy(LIF(0.5, 1.0, reset), steps)
    x, y = samples(steps, static=True)
    _, expected = bptt(network, x, y, per_step=rule.single_step)
    found = trained_gradients(network, x, y, rule)
    ours, theirs = (torch.cat([g.flatten() for g in gs.values()]) for gs in (found, expected))
    assert torch.cosine_similarity(ours, theirs, dim=0) >= 0.99
    assert 0.95 < steps * ours.norm() / theirs.norm() < 1.05
    for name in expected:
        if name != "layers.conv1.bias":  # zero in front of batch norm
            cosine = torch.cosine_similarity(found[name].flatten(), expected[name].flatten(), dim=0)
            assert cosine >= 0.95, name


@pytest.mark.parametrize("rule", [GradientRule.RATE_M, GradientRule.RATE_S])
@pytest.mark.parametrize("static", [True, False], ids=["static", "per_step"])
@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("build", ["toy", "residual", "small_conv", "mlp"])
def test_rate_pass_gives_the_spike_pass_scores(
    build: str, reset: Reset, static: bool, rule: GradientRule
) -> None:
    lif, steps = LIF(0.5, 1.0, reset), 6
    match build:
        case "toy":
            network = toy(lif, steps).float()
        case "residual":
            network = toy(lif, steps, residual=True).float()
        case "small_conv":
            network = small_conv(INPUT, CLASSES, (8, 16, 8), steps, lif)
        case _:
            network = mlp(INPUT, CLASSES, (32, 16), steps, lif)
    network.rule = rule
    x = samples(steps, static=static)[0].float()
    scores, record = network.spiking_pass(x)
    assert record.firing_rate > 0.02
    again, _ = rate_scores(network, x, record)
    assert again.requires_grad
    torch.testing.assert_close(again, scores, rtol=0, atol=2e-6)
    assert torch.equal(network.rate_pass(x, record)[0], scores)


@pytest.mark.parametrize(
    "rule", [r for r in GradientRule if r is not GradientRule.RATE_S_PUBLISHED]
)
def test_static_input_equals_the_same_input_at_every_step(rule: GradientRule) -> None:
    x, y = samples(4, static=True)
    repeated = x.expand(4, *x.shape).contiguous()
    found = []
    for data in (x, repeated):
        network = toy(LIF(), 4)
        gradients = trained_gradients(network, data, y, rule)
        found.append(gradients | dict(network.named_buffers()))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("rule", GradientRule)
@pytest.mark.parametrize("static", [True, False], ids=["static", "per_step"])
def test_running_statistics_move_by_the_spike_sequence(
    static: bool, rule: GradientRule, momentum: float | None
) -> None:
    """Once by all steps together, or once by each step; never by the rate pass."""
    steps = 4
    network = toy(LIF(), steps)
    norm = network.layers["norm1"]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.momentum = momentum
    x, y = samples(steps, static=static)
    xs = x.expand(steps, *x.shape) if static else x
    reference = nn.BatchNorm2d(4, momentum=momentum).double()
    for _ in range(2):
        if rule.single_step:
            for step in xs:
                reference(network.layers["conv1"](step))
        else:
            reference(network.layers["conv1"](xs.flatten(0, 1)))
        trained_gradients(network, x, y, rule)
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 2 * (steps if rule.single_step else 1)
    torch.testing.assert_close(norm.running_mean, reference.running_mean, rtol=0, atol=1e-14)
    torch.testing.assert_close(norm.running_var, reference.running_var, rtol=0, atol=1e-13)
    before = {k: v.clone() for k, v in network.named_buffers()}
    network.eval()(x)
    for name, value in network.named_buffers():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("rule", GradientRule)
def test_rate_gradients_are_divided_by_the_steps_and_the_loss_is_not(rule: GradientRule) -> None:
    network = toy(LIF(), 6)
    x, y = samples(6, static=True)
    found = trained_gradients(network, x, y, rule)
    loss, scores, _ = training_step(network, x, y)
    network.zero_grad()
    plain = functional.cross_entropy(network(x), y)
    torch.testing.assert_close(loss, plain.detach())
    torch.testing.assert_close(loss, functional.cross_entropy(scores, y))
    factor = 1 if rule.through_time else 6
    for name, gradient in gradients(network, plain).items():
        torch.testing.assert_close(factor * found[name], gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "rule", [GradientRule.RATE_M, GradientRule.RATE_S, GradientRule.BPTT_M, GradientRule.BPTT_S]
)
@pytest.mark.parametrize("steps", [1, 3])
def test_output_neurons_answer_with_their_spikes(steps: int, rule: GradientRule) -> None:
    """Spike-count readout: the scores are counts / T, differentiable by the rule."""
    network = toy(LIF(), steps)
    nodes = [*network.nodes, Node("out", ("readout",), LIF(0.8, 0.3))]
    nn.init.normal_(network.layers["readout"].weight, 0, 1)  # type: ignore[arg-type]
    network = SpikingNetwork(INPUT, nodes, steps).double()
    x, y = samples(steps, static=True)
    scores, expected = bptt(network, x, y, per_step=rule.single_step)
    found = trained_gradients(network, x, y, rule)
    network.rule = rule
    assert 0 < float(network(x).detach().mean()) < 1
    torch.testing.assert_close(network(x), scores, rtol=0, atol=1e-12)
    ours, theirs = (torch.cat([g.flatten() for g in gs.values()]) for gs in (found, expected))
    if steps == 1 or rule.through_time:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    else:
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.9


@pytest.mark.parametrize(
    "rule", [GradientRule.RATE_M, GradientRule.RATE_S, GradientRule.BPTT_M, GradientRule.BPTT_S]
)
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_an_integrator_answers_with_its_last_membrane(decay: float, rule: GradientRule) -> None:
    """v_T = sum over t of decay^(T - t) x_t."""
    steps = 5
    network = toy(LIF(), steps)
    nodes = [*network.nodes, Node("out", ("readout",), LI(decay))]
    network = SpikingNetwork(INPUT, nodes, steps).double()
    x, y = samples(steps, static=True)
    network.rule = rule
    scores = network(x)
    powers = torch.tensor([decay ** (steps - 1 - t) for t in range(steps)]).double()
    inner = SpikingNetwork(INPUT, nodes[:-1], steps).double()

    outputs: list[Tensor] = []

    def keep(node: Node, value: Tensor, span: int) -> Tensor:
        out = layers(node, value, span)
        if node.name == "readout":
            outputs.extend(out)
        return out

    inner.rule = GradientRule.BPTT_S if rule.single_step else GradientRule.BPTT_M
    layers = Training(inner.rule, inner.steps)
    run(inner, inner.time_major(x), keep)
    expected = (torch.stack(outputs) * powers[:, None, None]).sum(0)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)
    theirs = gradients(network, functional.cross_entropy(expected, y))
    ours = gradients(network, functional.cross_entropy(scores, y))
    for name, gradient in theirs.items():
        if rule.through_time:
            torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-12)
    flat, other = (torch.cat([g.flatten() for g in gs.values()]) for gs in (ours, theirs))
    assert torch.cosine_similarity(flat, other, dim=0) > 0.95


def advanced(lif: LIF, current: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    neurons = Neurons(lif, steps, record=True)
    return (neurons.advance(current, steps), *neurons.recorded())


def test_recorded_gain_by_hand() -> None:
    """One neuron, lambda 0.5, theta 1, current 0.75: u = 0.75, 1.125 (spike), then 0.75 again."""
    u = torch.tensor([0.75, 1.125, 0.75], dtype=torch.float64)
    z = torch.sigmoid(4 * (u - 1))
    slope = 4 * z * (1 - z)
    current = torch.full((1, 1, 1), 0.75, dtype=torch.float64)
    spikes, rate, gain = advanced(LIF(0.5, 1.0, Reset.ZERO), current, 3)
    assert spikes.flatten().tolist() == [0, 1, 0]
    assert float(rate) == 1 / 3
    expected = (slope[0] + 1.5 * slope[1] + slope[2]) / 3  # the reset forgets what came before
    torch.testing.assert_close(gain.flatten()[0], expected)
    _, _, gain = advanced(LIF(0.5, 1.0, Reset.SUBTRACT), current, 3)
    third = 4 * (z3 := torch.sigmoid(torch.tensor(4 * (0.0625 + 0.75 - 1)).double())) * (1 - z3)
    expected = (slope[0] + 1.5 * slope[1] + 1.75 * third) / 3
    torch.testing.assert_close(gain.flatten()[0], expected)


@pytest.mark.parametrize(("strict", "fired"), [(True, [0, 1]), (False, [1, 1])])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_comparison_decides_whether_a_charge_that_meets_the_threshold_spikes(
    strict: bool, fired: list[int], dtype: torch.dtype
) -> None:
    lif = LIF(0.5, 1.0, strict=strict)
    spikes, _, _ = advanced(lif, torch.ones(1, 1, 1, dtype=dtype), 2)
    assert spikes.flatten().tolist() == fired


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "network: has no layers"),
        ([Node("a", ("x",), nn.Linear(2, 2))], "layer 'a': input 'x' is not an earlier layer"),
        ([Node("a", (), nn.Linear(2, 2))], "layer 'a': has no inputs"),
        ([Node("input", ("input",), LIF())], "layer 'input': the name is used twice"),
        (
            [Node("a", ("input",), nn.AvgPool2d(4, ceil_mode=True))],
            "layer 'a': ceil_mode adds windows that reach beyond",
        ),
        (
            [Node("a", ("input",), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))],
            "layer 'a': padding_mode is 'reflect', must be 'zeros'",
        ),
        (
            [Node("a", ("input",), nn.BatchNorm2d(2, affine=False))],
            "layer 'a': a batch norm must",
        ),
        (
            [Node("a", ("input",), nn.GELU())],  # type: ignore[arg-type]
            "layer 'a': GELU is not a layer",
        ),
    ],
)
def test_networks_that_cannot_be_are_refused(nodes: list[Node], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpikingNetwork(INPUT, nodes, 2)


def test_no_steps_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"network: steps \(T\) is 0, must be at least 1"):
        mlp(INPUT, CLASSES, (4,), 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay": 1.5}, "LIF: decay is 1.5, must lie in 0..1"),
        ({"v_threshold": 0.0}, "LIF: v_threshold is 0.0, must be positive"),
        ({"alpha": float("nan")}, "LIF: alpha is nan, must be positive"),
    ],
)
def test_neurons_that_cannot_be_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LIF(**arguments)  # type: ignore[arg-type]


def test_samples_of_another_shape_are_refused() -> None:
    network = toy(LIF(), 4)
    with pytest.raises(InputError, match=r"samples have shape \(3, 5, 2, 6, 6\), must be"):
        network(torch.zeros(3, 5, 2, 6, 6, dtype=torch.float64))
