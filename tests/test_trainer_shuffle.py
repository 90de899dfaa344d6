"""The time-shuffle test: counts stay, order goes, and only where order matters does that tell."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikeport.network import Coding, Input
from spikeport.trainer.diagnosis.shuffle import shuffle_test, shuffled_scores
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.neurons import LI, LIF

INPUT = Input("input", (6,), Coding.GRADED, -64, 64, scale=16.0)
STEPS = 8


def identity(size: int) -> nn.Linear:
    layer = nn.Linear(size, size, bias=False)
    nn.init.eye_(layer.weight)
    return layer


def network(*ops: nn.Module) -> SpikingNetwork:
    nodes, source = [], INPUT.name
    for place, op in enumerate(ops):
        nodes.append(Node(f"layer{place}", (source,), op))  # type: ignore[arg-type]
        source = f"layer{place}"
    return SpikingNetwork(INPUT, nodes, STEPS).eval()


def shuffled(net: SpikingNetwork, x: Tensor, *, together: bool, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return shuffled_scores(net, x, generator, together=together)


def frames(count: int) -> Tensor:
    torch.manual_seed(0)
    return 2 * torch.rand(STEPS, count, 6)


def test_counts_of_the_last_neurons_stay() -> None:
    net, x = network(identity(6), LIF(0.5, 1.0)), frames(9)
    for together in (False, True):
        torch.testing.assert_close(shuffled(net, x, together=together), net(x))


def test_downstream_neurons_receive_the_same_spikes_at_other_times() -> None:
    """A leak makes the last membrane depend on when they came."""
    net, x = network(identity(6), LIF(0.5, 1.0), identity(6), LI(0.9)), frames(200)
    whole = net(x)
    for together in (False, True):
        again = shuffled(net, x, together=together)
        assert not torch.allclose(again, whole)
        assert torch.equal(again, shuffled(net, x, together=together))
        assert not torch.equal(again, shuffled(net, x, together=together, seed=1))
    memoryless = network(identity(6), LIF(0.5, 1.0), identity(6), LI(1.0))
    torch.testing.assert_close(shuffled(memoryless, x, together=False), memoryless(x))


def test_order_by_layer_keeps_together_what_fires_together() -> None:
    """Two neurons fire at once; one that needs both fires with either order only by layer."""
    both = nn.Linear(6, 1, bias=False)
    nn.init.ones_(both.weight)
    net = network(identity(6), LIF(0.0, 0.5), both, LIF(0.0, 1.5))
    x = torch.zeros(STEPS, 50, 6)
    x[3, :, :2] = 1.0
    assert float(net(x).mean()) * STEPS == 1
    assert torch.equal(shuffled(net, x, together=True), net(x))
    assert 0 < float(shuffled(net, x, together=False).mean()) * STEPS < 0.5


def test_what_order_decides_is_lost_and_what_counts_decide_is_not() -> None:
    """Whether a burst comes early or late, and whether it is there."""
    ops = identity(6), LIF(0.0, 0.5), identity(6), LI(0.5)
    x = torch.zeros(STEPS, 200, 6)
    late = torch.arange(200) % 2
    x[0, late == 0, 0] = x[-1, late == 1, 0] = 1.0
    x[-3, :, 1] = 1.0
    found = shuffle_test(network(*ops), x, 1 - late)
    assert found.whole.rate == 1
    assert abs(found.by_neuron.rate - 0.5) < 0.2
    x = torch.zeros(STEPS, 200, 6)
    x[:, torch.arange(200), late] = 1.0
    found = shuffle_test(network(*ops), x, late)
    assert found.by_neuron.rate == found.by_layer.rate == found.whole.rate == 1
