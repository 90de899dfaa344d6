"""A user's own module as a spiking network."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import spikeport.trainer
from spikeport.errors import InputError
from spikeport.network import Coding, Input, Reset
from spikeport.trainer import as_trained_model, from_module, load_digits_split
from spikeport.trainer.neurons import LI, LIF
from spikeport.trainer.rules import GradientRule
from tests.helpers.trainer_reference import bptt, trained_gradients

INPUT = Input("image", (3, 12, 12), Coding.GRADED, -64, 64, scale=8.0)
SOFT = LIF(0.2, 1.0, Reset.SUBTRACT)


class Block(nn.Module):
    """As people write them, with one LIF used twice."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act = SOFT
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return self.act(out)  # type: ignore[no-any-return]


class Residual(nn.Module):
    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), SOFT)
        self.blocks = nn.Sequential(Block(4, 4), Block(4, 6, 2))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 3)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.fc(input=self.drop(x))  # type: ignore[no-any-return]


HEADS = {
    "flatten": lambda x: torch.flatten(functional.adaptive_avg_pool2d(x, (1, 1)), 1),
    "view": lambda x: functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1),
    "shape": lambda x: functional.avg_pool2d(x, 6).reshape(x.shape[0], 6),
    "mean": lambda x: x.mean(dim=(2, 3)),
    "mean_of": lambda x: torch.mean(x, (-1, -2), keepdim=True).flatten(1),
    "max": lambda x: functional.max_pool2d(x, 6).flatten(1),
    "sum": lambda x: torch.add(x, x).mean((2, 3)),
    "named": lambda x: torch.flatten(
        input=functional.avg_pool2d(input=x, kernel_size=6), start_dim=1
    ),
}


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            LIF(0.5),
            nn.MaxPool2d(2),
            nn.Dropout2d(0.2),
            nn.Conv2d(4, 4, 3),
            nn.BatchNorm2d(4),
            LIF(0.5, reset=Reset.SUBTRACT),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Identity(),
            nn.Linear(4, 3),
            LI(0.9),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


MODULES = {name: (lambda head=head: Residual(head)) for name, head in HEADS.items()} | {
    "plain": Plain
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = MODULES[name]().double()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 1, 2)
            nn.init.uniform_(layer.bias, 0.2, 0.6)
            assert layer.running_var is not None
            nn.init.uniform_(layer.running_var, 0.2, 0.4)
    return module


@pytest.mark.parametrize("name", MODULES)
def test_one_step_of_the_network_is_the_module_itself(name: str) -> None:
    module = made(name).eval()
    network = from_module(module, INPUT, steps=1)
    assert not network.training
    x = torch.randn(7, *INPUT.shape).double()
    assert float(module(x).detach().std()) > 1e-3
    torch.testing.assert_close(network(x), module(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "rule", [GradientRule.RATE_M, GradientRule.RATE_S, GradientRule.BPTT_M, GradientRule.BPTT_S]
)
@pytest.mark.parametrize("name", MODULES)
def test_so_are_its_gradients(name: str, rule: GradientRule) -> None:
    module = made(name)
    for layer in module.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.p = 0.0
    x, y = torch.randn(7, *INPUT.shape).double(), torch.arange(7) % 3
    network = from_module(copy.deepcopy(module), INPUT, steps=1, rule=rule)
    found = trained_gradients(network, x, y, rule)
    functional.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]
    sizes = 0.0
    for path, parameter in module.named_parameters():
        assert parameter.grad is not None
        ours = found[f"layers.{'_'.join(path.split('.')[:-1])}.{path.split('.')[-1]}"]
        torch.testing.assert_close(ours, parameter.grad, rtol=0, atol=1e-12)
        sizes = max(sizes, float(parameter.grad.abs().max()))
    assert sizes > 1e-3


def test_several_steps_are_bptts() -> None:
    network = from_module(made("mean"), INPUT, steps=4, rule=GradientRule.BPTT_M)
    drop = network.layers["drop"]
    assert isinstance(drop, nn.Dropout)
    drop.p = 0.0
    x, y = torch.randn(4, 5, *INPUT.shape).double(), torch.arange(5) % 3
    scores, expected = bptt(network, x, y)
    found = trained_gradients(network, x, y, GradientRule.BPTT_M)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(network(x), scores, rtol=0, atol=1e-12)


def test_layers_are_shared_and_named() -> None:
    module = made("flatten")
    network = from_module(module, INPUT, steps=2)
    assert list(network.layers)[:3] == ["stem_0", "stem_1", "stem_2"]
    assert {id(p) for p in network.parameters()} == {id(p) for p in module.parameters()}
    assert network.layers["blocks_1_shortcut_0"] is module.get_submodule("blocks.1.shortcut.0")
    assert network.output == "fc"
    assert [layer.name for layer in as_trained_model(network).layers][-1] == "fc"


def test_what_does_not_lead_to_the_output_is_left_out() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 2, 12), nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            out = self.used(x)
            self.unused(x)
            return out  # type: ignore[no-any-return]

    assert list(from_module(Unused(), INPUT, 1).layers) == ["used"]


class Around(nn.Module):
    """A convolution, then anything."""

    def __init__(self, forward: Callable[[Tensor], Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.after = forward
        self.layer = layer or nn.Identity()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.after(self.conv(x)))  # type: ignore[no-any-return]


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def scaled() -> Around:
    module = Around(lambda x: x * module.scale)
    return module


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Around(lambda x: x, nn.ReLU()), "layer 'layer': ReLU is not a layer"),
        (Around(lambda x: x, nn.GroupNorm(2, 4)), "layer 'layer': GroupNorm is not a layer"),
        (
            Around(lambda x: x, nn.AdaptiveAvgPool2d(3)),
            r"'layer': must average windows of one size, received \(4, 10, 10\) for 3 positions",
        ),
        (Around(lambda x: x, nn.Linear(7, 2)), "'layer': expects 7 features, received 400"),
        (Around(lambda x: x, nn.Flatten(2)), "'layer': must flatten all but the batch"),
        (Around(lambda x: x, nn.BatchNorm1d(4)), "'layer': BatchNorm1d received shape"),
        (Around(functional.relu), "layer 'relu': relu is not supported.*LIF for an activation"),
        (Around(torch.sigmoid), "layer 'sigmoid': sigmoid is not supported"),
        (Around(lambda x: x + 1), "layer 'add': takes .*must take outputs of layers"),
        (Around(lambda x: x.view(2, -1, 5)), "layer 'view': must flatten all but the batch"),
        (Around(lambda x: x.mean(1)), r"layer 'mean': must average all positions of \(C, H, W\)"),
        (Around(lambda x: x.mean()), r"layer 'mean': must average all positions of \(C, H, W\)"),
        (Around(lambda x: x if x.sum() > 0 else -x), "module Around: cannot be traced"),
        (Pair(), "module Pair: must return one tensor"),
        (scaled(), "layer 'scale': only layers may own tensors"),
        (Two(), "module Two: has a second argument 'y', must have one"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), LI(), nn.Conv2d(2, 2, 3)), "'_1': LI never spikes"),
    ],
)
def test_what_cannot_be_is_one_clear_error(module: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_module(module, INPUT, 2)


def test_the_example_of_the_guide_works() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "networks.md").read_text()
    example = re.findall(r"^```python\n(.*?)^```$", guide, re.S | re.M)[1]
    names: dict[str, Any] = {"spikeport": spikeport, "torch": torch, "data": load_digits_split()}
    exec(example, names)
    x = torch.tensor(names["data"].test_x[:4])
    assert names["network"](x).shape == (4, 10)
