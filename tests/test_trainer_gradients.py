"""Rate-based gradients against formulations written independently here, in plain autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Coding, Input, Reset
from spikeport.trainer.lif import LIF, spike_and_record
from spikeport.trainer.models import mlp, small_conv
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.training import step as training_step

INPUT = Input("input", (2, 6, 6), Coding.GRADED, -64, 64, scale=16.0)
CLASSES = 3
BATCH = 5


def toy(lif: LIF, steps: int, *, residual: bool = False, seed: int = 0) -> SpikingNetwork:
    """conv-BN-LIF-conv-BN-LIF-pool-linear, float64, gamma and beta away from 1 and 0."""
    torch.manual_seed(seed)
    nodes = [
        Node("conv1", ("input",), nn.Conv2d(2, 4, 3, padding=1)),
        Node("norm1", ("conv1",), nn.BatchNorm2d(4)),
        Node("lif1", ("norm1",), lif),
        Node("conv2", ("lif1",), nn.Conv2d(4, 4, 3, padding=1, bias=False)),
        Node("norm2", ("conv2",), nn.BatchNorm2d(4)),
        Node("lif2", ("norm2", "lif1") if residual else ("norm2",), lif),
        Node("pool", ("lif2",), nn.AvgPool2d(2)),
        Node("readout", ("pool",), nn.Linear(36, CLASSES)),
    ]
    network = SpikingNetwork(INPUT, nodes, steps).double()
    for layer in network.layers.values():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.6)
            nn.init.uniform_(layer.bias, 0.1, 0.6)
    return network


def samples(steps: int, *, static: bool) -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    shape = (BATCH, 2, 6, 6) if static else (steps, BATCH, 2, 6, 6)
    return torch.randn(shape, dtype=torch.float64), torch.randint(CLASSES, (BATCH,))


class _Spike(torch.autograd.Function):
    """Heaviside forward, the sigmoid surrogate backward."""

    @staticmethod
    def forward(ctx, x: Tensor, alpha: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, upstream: Tensor):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        z = torch.sigmoid(ctx.alpha * x)
        return upstream * ctx.alpha * z * (1 - z), None


def unrolled_lif(lif: LIF, currents: list[Tensor]) -> list[Tensor]:
    """The neuron as a plain recurrence that autograd differentiates."""
    v = torch.zeros_like(currents[0])
    spikes = []
    for x in currents:
        u = lif.decay * v + x
        s = _Spike.apply(u - lif.v_threshold, lif.alpha)  # type: ignore[no-untyped-call]
        spikes.append(s)
        reset = s.detach() if lif.detach_reset else s
        v = u * (1 - reset) if lif.reset is Reset.ZERO else u - lif.v_threshold * reset
    return spikes


def norm_over(layer: nn.BatchNorm2d, xs: list[Tensor]) -> list[Tensor]:
    """Ordinary batch norm over steps, samples and positions."""
    joined = torch.cat(xs)
    y = functional.batch_norm(
        joined, None, None, layer.weight, layer.bias, training=True, eps=layer.eps
    )
    return list(torch.split(y, len(xs[0])))


def bptt(network: SpikingNetwork, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean output and gradients of plain cross-entropy by backpropagation through time."""
    x = x if x.ndim == 5 else x.expand(network.steps, *x.shape)
    layers = dict(network.layers.items())
    values = {"input": list(x)}
    for node in network.nodes:
        sums = [sum(parts) for parts in zip(*(values[i] for i in node.inputs), strict=True)]
        if isinstance(node.op, LIF):
            values[node.name] = unrolled_lif(node.op, sums)
        elif isinstance(node.op, nn.BatchNorm2d):
            values[node.name] = norm_over(node.op, sums)
        else:
            flat = isinstance(node.op, nn.Linear)
            values[node.name] = [layers[node.name](c.flatten(1) if flat else c) for c in sums]
    scores = torch.stack(values["readout"]).mean(0)
    return scores, gradients(network, functional.cross_entropy(scores, y))


def gradients(network: SpikingNetwork, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def rate_gradients(network: SpikingNetwork, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """What the trainer leaves in .grad after one step."""
    network.zero_grad()
    training_step(network, x, y)
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def straight_through_lif(lif: LIF, currents: Tensor, c: Tensor) -> Tensor:
    """r with gradient g, both written from the equations (1.2) with loops over the steps.

    g is the mean over t of s'_t times the sum over k <= t of the product of J_k..J_{t-1}.
    """
    with torch.no_grad():
        v = torch.zeros_like(c)
        slopes, carries, spikes = [], [], []
        for x in currents:
            u = lif.decay * v + x
            s = torch.where(u >= lif.v_threshold, 1.0, 0.0).to(c.dtype)
            slope = 1 / torch.cosh(lif.alpha * (u - lif.v_threshold) / 2) ** 2 * lif.alpha / 4
            if lif.reset is Reset.ZERO:
                v = torch.where(s > 0, torch.zeros_like(u), u)
                carry = lif.decay * (1 - s)
                carry = carry if lif.detach_reset else carry - lif.decay * u * slope
            else:
                v = u - lif.v_threshold * s
                carry = torch.full_like(u, lif.decay)
                if not lif.detach_reset:
                    carry = lif.decay * (1 - lif.v_threshold * slope)
            slopes.append(slope)
            carries.append(carry)
            spikes.append(s)
        total = torch.zeros_like(c)
        for t in range(len(slopes)):
            for k in range(t + 1):
                path = torch.ones_like(c)
                for j in range(k, t):
                    path = path * carries[j]
                total += slopes[t] * path
        gain = total / len(slopes)
        rate = torch.stack(spikes).mean(0)
    return rate + (c - c.detach()) * gain


def straight_through_norm(layer: nn.BatchNorm2d, xs: Tensor, c: Tensor) -> Tensor:
    """Value and scale from the sequence's statistics, gradient as if c were the sequence (1.3).

    The derivatives of mean and variance are those of statistics taken over c, which the values of
    the sequence's own statistics are shifted onto.
    """
    mean = xs.mean((0, 1, 3, 4)).view(1, -1, 1, 1)
    variance = xs.var((0, 1, 3, 4), correction=0).view(1, -1, 1, 1)
    live_mean = c.mean((0, 2, 3), keepdim=True)
    live_mean = mean.detach() + live_mean - live_mean.detach()
    # d variance / dc = 2 (c - mean) / n, as if c were the whole sequence
    live_variance = ((c - live_mean.detach()) ** 2).mean((0, 2, 3), keepdim=True)
    live_variance = variance.detach() + live_variance - live_variance.detach()
    h = (c - live_mean) / torch.sqrt(live_variance + layer.eps)
    return layer.weight.view(1, -1, 1, 1) * h + layer.bias.view(1, -1, 1, 1)


def plain_rate(network: SpikingNetwork, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The method in straight-through form, step by step, on the toy; gradient of CE / T."""
    steps = network.steps
    xs = x if x.ndim == 5 else x.expand(steps, *x.shape)
    layer = dict(network.layers.items())

    def over_steps(op: Callable[[Tensor], Tensor], xs: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([op(x) for x in xs])

    def normed(op: nn.BatchNorm2d, xs: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack(norm_over(op, list(xs)))

    c, neuron = xs.mean(0), {n.name: n.op for n in network.nodes if isinstance(n.op, LIF)}
    for index in (1, 2):
        conv, norm, lif = layer[f"conv{index}"], layer[f"norm{index}"], neuron[f"lif{index}"]
        assert isinstance(norm, nn.BatchNorm2d)
        currents = over_steps(conv, xs)
        c = straight_through_norm(norm, currents, conv(c))
        normalised = normed(norm, currents)
        c = straight_through_lif(lif, normalised, c)
        with torch.no_grad():
            xs = torch.stack(unrolled_lif(lif, list(normalised)))
    scores = layer["readout"](layer["pool"](c).flatten(1))
    return gradients(network, functional.cross_entropy(scores, y) / steps)


NEURONS = [
    *(LIF(0.5, 1.0, reset, detach) for reset in Reset for detach in (True, False)),
    LIF(0.2, 0.8, Reset.SUBTRACT, detach_reset=False),
    LIF(1.0, 1.3, Reset.ZERO),
]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("lif", NEURONS, ids=str)
def test_one_step_is_ordinary_backpropagation(lif: LIF, residual: bool) -> None:
    network = toy(lif, 1, residual=residual)
    x, y = samples(1, static=True)
    _, expected = bptt(network, x, y)
    found = rate_gradients(network, x, y)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        # a convolution's bias in front of batch norm has gradient 0 but for rounding
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-2


@pytest.mark.parametrize("static", [True, False], ids=["static", "per_step"])
@pytest.mark.parametrize("steps", [1, 2, 4, 6])
@pytest.mark.parametrize("lif", NEURONS, ids=str)
def test_equals_the_equations_in_plain_autograd(lif: LIF, steps: int, static: bool) -> None:
    network = toy(lif, steps)
    x, y = samples(steps, static=static)
    expected = plain_rate(network, x, y)
    found = rate_gradients(network, x, y)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [2, 4, 6])
@pytest.mark.parametrize("reset", Reset)
def test_points_where_backpropagation_through_time_points(reset: Reset, steps: int) -> None:
    network = toy(LIF(0.5, 1.0, reset), steps)
    x, y = samples(steps, static=True)
    _, expected = bptt(network, x, y)
    found = rate_gradients(network, x, y)
    ours, theirs = (torch.cat([g.flatten() for g in gs.values()]) for gs in (found, expected))
    assert torch.cosine_similarity(ours, theirs, dim=0) >= 0.99
    assert 0.95 < steps * ours.norm() / theirs.norm() < 1.05
    for name in expected:
        if name != "layers.conv1.bias":  # zero in front of batch norm
            cosine = torch.cosine_similarity(found[name].flatten(), expected[name].flatten(), dim=0)
            assert cosine >= 0.95, name


@pytest.mark.parametrize("static", [True, False], ids=["static", "per_step"])
@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("build", ["toy", "residual", "small_conv", "mlp"])
def test_rate_pass_gives_the_spike_pass_scores(build: str, reset: Reset, static: bool) -> None:
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
    x = samples(steps, static=static)[0].float()
    scores, record = network.spiking_pass(x)
    assert record.firing_rate > 0.02
    again = network.rate_pass(x, record)
    assert again.requires_grad
    torch.testing.assert_close(again, scores, rtol=0, atol=2e-6)


def test_static_input_equals_the_same_input_at_every_step() -> None:
    x, y = samples(4, static=True)
    repeated = x.expand(4, *x.shape).contiguous()
    found = []
    for data in (x, repeated):
        network = toy(LIF(), 4)
        found.append(rate_gradients(network, data, y) | dict(network.named_buffers()))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("static", [True, False], ids=["static", "per_step"])
def test_running_statistics_move_once_by_the_spike_sequence(static: bool) -> None:
    steps = 4
    network = toy(LIF(), steps)
    x, y = samples(steps, static=static)
    xs = x.expand(steps, *x.shape) if static else x
    reference = nn.BatchNorm2d(4).double()
    reference(network.layers["conv1"](xs.flatten(0, 1)))
    training_step(network, x, y)
    norm = network.layers["norm1"]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(norm.running_mean, reference.running_mean, rtol=0, atol=1e-14)
    torch.testing.assert_close(norm.running_var, reference.running_var, rtol=0, atol=1e-14)
    before = {k: v.clone() for k, v in network.named_buffers()}
    network.eval()(x)
    for name, value in network.named_buffers():
        assert torch.equal(value, before[name])


def test_gradient_is_divided_by_the_steps_and_the_loss_is_not() -> None:
    network = toy(LIF(), 6)
    x, y = samples(6, static=True)
    found = rate_gradients(network, x, y)
    loss, scores, _ = training_step(network, x, y)
    network.zero_grad()
    plain = functional.cross_entropy(network(x), y)
    torch.testing.assert_close(loss, plain.detach())
    torch.testing.assert_close(loss, functional.cross_entropy(scores, y))
    for name, gradient in gradients(network, plain).items():
        torch.testing.assert_close(6 * found[name], gradient, rtol=1e-12, atol=1e-15)


def test_recorded_gain_by_hand() -> None:
    """One neuron, lambda 0.5, theta 1, current 0.75: u = 0.75, 1.125 (spike), then 0.75 again."""
    u = torch.tensor([0.75, 1.125, 0.75], dtype=torch.float64)
    z = torch.sigmoid(4 * (u - 1))
    slope = 4 * z * (1 - z)
    current = torch.full((1, 1, 1), 0.75, dtype=torch.float64)
    spikes, record = spike_and_record(LIF(0.5, 1.0, Reset.ZERO), current, 3)
    assert spikes.flatten().tolist() == [0, 1, 0]
    assert float(record.rate) == 1 / 3
    expected = (slope[0] + 1.5 * slope[1] + slope[2]) / 3  # the reset forgets what came before
    torch.testing.assert_close(record.gain.flatten()[0], expected)
    _, record = spike_and_record(LIF(0.5, 1.0, Reset.SUBTRACT), current, 3)
    third = 4 * (z3 := torch.sigmoid(torch.tensor(4 * (0.0625 + 0.75 - 1)).double())) * (1 - z3)
    expected = (slope[0] + 1.5 * slope[1] + 1.75 * third) / 3
    torch.testing.assert_close(record.gain.flatten()[0], expected)


def test_a_charge_that_meets_the_threshold_spikes() -> None:
    spikes, _ = spike_and_record(LIF(0.5, 1.0), torch.ones(1, 1, 1), 2)
    assert spikes.flatten().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "network: has no layers"),
        ([Node("a", ("x",), nn.Linear(2, 2))], "layer 'a': input 'x' is no earlier layer"),
        ([Node("a", (), nn.Linear(2, 2))], "layer 'a': has no inputs"),
        ([Node("input", ("input",), LIF())], "layer 'input': the name is used twice"),
        (
            [Node("a", ("input",), nn.AvgPool2d(2, ceil_mode=True))],
            "layer 'a': an average pool must",
        ),
        (
            [Node("a", ("input",), nn.Conv2d(2, 2, 3, padding="same"))],
            "layer 'a': padding 'same'",
        ),
        (
            [Node("a", ("input",), nn.BatchNorm2d(2, affine=False))],
            "layer 'a': a batch norm must",
        ),
        (
            [Node("a", ("input",), nn.MaxPool2d(2))],  # type: ignore[arg-type]
            "layer 'a': MaxPool2d is no layer",
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
