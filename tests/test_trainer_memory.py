"""What the training rules keep in memory as T grows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spikeport.network import Coding, Input
from spikeport.trainer.models import PUBLISHED, small_conv
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.rules import GradientRule

RATE_RULES = [rule for rule in GradientRule if not rule.through_time]


def network(name: str, steps: int, rule: GradientRule) -> SpikingNetwork:
    torch.manual_seed(0)
    input = Input("input", (3, 16, 16), Coding.GRADED, -64, 64, scale=8.0)
    if name == "small_conv":
        made = small_conv(input, 4, (8, 8), steps)
    else:
        made = PUBLISHED[name](input, 4, steps, width=4)
    made.rule = rule
    return made


def samples(steps: int, timed: bool) -> Tensor:
    return torch.randn(*([steps] if timed else []), 4, 3, 16, 16)


def saved_bytes(net: SpikingNetwork, x: Tensor) -> int:
    """Bytes that autograd holds for backward, each block once, weights and x left out."""
    blocks: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in (x, *net.parameters(), *net.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            blocks[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = functional.cross_entropy(net(x), torch.zeros(4, dtype=torch.long))
    loss.backward()  # type: ignore[no-untyped-call]
    return sum(blocks.values())


@pytest.mark.parametrize("timed", [False, True], ids=["static", "per_step"])
@pytest.mark.parametrize("rule", RATE_RULES)
@pytest.mark.parametrize("name", ["small_conv", "vgg11", "resnet18"])
def test_bytes_saved_for_backward_do_not_grow_with_the_steps(
    name: str, rule: GradientRule, timed: bool
) -> None:
    few, many = (saved_bytes(network(name, n, rule), samples(n, timed)) for n in (2, 16))
    assert few == many > 10_000


@pytest.mark.parametrize("rule", [GradientRule.BPTT_M, GradientRule.BPTT_S])
@pytest.mark.parametrize("name", ["small_conv", "vgg11", "resnet18"])
def test_bytes_saved_by_bptt_grow_with_the_steps(name: str, rule: GradientRule) -> None:
    few, many = (saved_bytes(network(name, n, rule), samples(n, True)) for n in (2, 16))
    assert 7.5 < many / few <= 8
    rate = saved_bytes(network(name, 16, GradientRule.RATE_M), samples(16, True))
    assert many > 12 * rate


class Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the largest tensor that any operation gives, and of all alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0
        self.peak = 0
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                held = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self.alive[storage.data_ptr()] = held, storage.nbytes()
                self.largest = max(self.largest, storage.nbytes())
        self.alive = {
            place: (held, size)
            for place, (held, size) in self.alive.items()
            if not held.expired()  # type: ignore[no-untyped-call]
        }
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return out


def memory(name: str, steps: int, rule: GradientRule) -> Memory:
    net, x = network(name, steps, rule), samples(steps, False)
    found = Memory()
    with found:
        loss = functional.cross_entropy(net(x), torch.zeros(4).long())
        loss.backward()  # type: ignore[no-untyped-call]
    return found


@pytest.mark.parametrize("rule", [GradientRule.RATE_S, GradientRule.RATE_S_PUBLISHED])
@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
def test_single_step_mode_holds_nothing_that_grows_with_the_steps(
    name: str, rule: GradientRule
) -> None:
    few, many = (memory(name, steps, rule) for steps in (2, 12))
    assert few.largest == many.largest
    assert few.peak == many.peak


@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
def test_multi_step_mode_holds_few_tensors_of_all_steps_at_once(name: str) -> None:
    """Four of its largest layer at most, beside weights and gradients; BPTT holds all layers."""
    rate, through_time = (
        memory(name, 12, rule) for rule in (GradientRule.RATE_M, GradientRule.BPTT_M)
    )
    assert rate.largest == 12 * 4 * (4 * 16 * 16) * 4
    still = memory(name, 1, GradientRule.RATE_M).peak
    assert rate.peak <= still + 4 * rate.largest
    assert through_time.peak > 2 * rate.peak
