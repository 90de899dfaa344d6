"""Convolutions along one axis: each equals the same network of images that are one row high."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spikeport.energy import load_profile
from spikeport.errors import InputError
from spikeport.export import read_nir
from spikeport.network import Coding, Conv1d, Input, Reset
from spikeport.simulators import run_float, run_native, run_reference
from spikeport.trainer import (
    LIF,
    Node,
    SpikingNetwork,
    evaluate,
    evaluate_deployed,
    from_module,
    load_digits_split,
)
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.diagnosis.agreement import agreement
from spikeport.trainer.diagnosis.independence import independence
from spikeport.trainer.loop.optimizer import build_optimizer
from spikeport.trainer.loop.training import step as training_step
from spikeport.trainer.measure.metrics import energy_uj
from spikeport.trainer.network import deployable
from spikeport.trainer.network.layers import CONVOLUTIONS, map_axes, output_shape, planar
from spikeport.trainer.network.operations import convolved, weight_gradient
from spikeport.trainer.rules import GradientRule
from spikeport.workflow import export_float, quantize, write_nir
from tests.helpers.trainer_reference import trained_gradients

INPUT = Input("input", (3, 12), Coding.GRADED, -64, 64, scale=8.0)
SOFT = LIF(0.5, 0.6, Reset.SUBTRACT)


class Sequence(nn.Module):
    """Strided, padded, dilated and grouped, with a sum around the third."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 4, 3, stride=2, padding=1)
        self.norm1 = nn.BatchNorm1d(4)
        self.lif1 = SOFT
        self.conv2 = nn.Conv1d(4, 4, 3, padding=2, dilation=2, groups=2, bias=False)
        self.norm2 = nn.BatchNorm1d(4)
        self.lif2 = SOFT
        self.readout = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif1(self.norm1(self.conv1(x)))
        x = self.lif2(self.norm2(self.conv2(x)) + x)
        return self.readout(x.flatten(1))  # type: ignore[no-any-return]


def module() -> nn.Module:
    torch.manual_seed(0)
    made = Sequence().double()
    for norm in (made.norm1, made.norm2):
        nn.init.uniform_(norm.weight, 1, 2)
        nn.init.uniform_(norm.bias, 0.2, 0.6)
        assert norm.running_var is not None
        nn.init.uniform_(norm.running_var, 0.2, 0.4)
    return made


def in_rows(network: SpikingNetwork) -> SpikingNetwork:
    """The same with (C, 1, L) for every (C, L)."""

    def lifted(op: nn.Module) -> nn.Module:
        if isinstance(op, nn.Conv1d):
            made = nn.Conv2d(
                op.in_channels,
                op.out_channels,
                (1, op.kernel_size[0]),
                (1, op.stride[0]),
                (0, int(op.padding[0])),
                (1, op.dilation[0]),
                op.groups,
                op.bias is not None,
            ).double()
            made.load_state_dict(
                {k: v[:, :, None] if k == "weight" else v for k, v in op.state_dict().items()}
            )
            return made
        if isinstance(op, nn.BatchNorm1d):
            norm = nn.BatchNorm2d(op.num_features).double()
            norm.load_state_dict(op.state_dict())
            return norm
        return copy.deepcopy(op)

    channels, length = network.input.shape
    input = Input("input", (channels, 1, length), Coding.GRADED, -64, 64, scale=8.0)
    nodes = [
        Node(node.name, node.inputs, lifted(node.op))  # type: ignore[arg-type]
        for node in network.nodes
    ]
    return SpikingNetwork(input, nodes, network.steps, network.rule).double()


def values(*lead: int) -> Tensor:
    torch.manual_seed(3)
    return torch.randn(*lead, *INPUT.shape).double()


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(sorted(CONVOLUTIONS)))
def test_convolutions_along_any_number_of_axes_follow_one_rule(
    data: st.DataObject, axes: int
) -> None:
    def sides(low: int, high: int) -> Any:
        return data.draw(st.tuples(*[st.integers(low, high)] * axes))

    groups = data.draw(st.integers(1, 2))
    kernel, stride, padding, dilation = sides(1, 3), sides(1, 3), sides(0, 2), sides(1, 2)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    torch.manual_seed(data.draw(st.integers(0, 99)))
    made: Any = CONVOLUTIONS[axes]
    op = made(2, 4, kernel, groups=groups, bias=False, **options).double()
    x = torch.randn((3, 2, *sides(5, 7)), dtype=torch.float64)
    assert map_axes(op) == axes
    out = op(x)
    assert output_shape("conv", op, tuple(x.shape[1:])) == tuple(out.shape[1:])
    assert torch.equal(convolved(op, x, op.weight), out)
    upstream = torch.randn_like(out)
    (known,) = torch.autograd.grad(out, op.weight, upstream)
    assert torch.allclose(weight_gradient(op, x, upstream), known)
    plane_stride, plane_padding, plane_dilation = planar(op)
    plane = functional.conv2d(
        x if axes == 2 else x[:, :, None],
        op.weight if axes == 2 else op.weight[:, :, None],
        None,
        *(plane_stride, plane_padding, plane_dilation),
        groups,
    )
    assert torch.allclose(plane.view_as(out), out)


def test_one_step_is_the_module_itself() -> None:
    made = module().eval()
    x = values(7)
    assert float(made(x).detach().std()) > 1e-3
    torch.testing.assert_close(from_module(made, INPUT, 1)(x), made(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", GradientRule)
def test_gradients_and_statistics_are_those_of_rows(rule: GradientRule) -> None:
    network = from_module(module(), INPUT, 4)
    twin = in_rows(network)
    x, y = values(4, 5), torch.arange(5) % 3
    found = trained_gradients(network, x, y, rule)
    expected = trained_gradients(twin, x[..., None, :], y, rule)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name].flatten(), gradient.flatten(), rtol=0, atol=1e-12)
        assert gradient.ndim == 1 or float(gradient.abs().max()) > 1e-4
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name].flatten(), value.flatten())


def test_counts_energy_and_diagnosis_are_those_of_rows() -> None:
    network = from_module(module().eval(), INPUT, 4)
    twin = in_rows(network).eval()
    x = values(9)
    ours, theirs = evaluate(network, x.numpy()), evaluate(twin, x[:, :, None].numpy())
    assert ours.counts == theirs.counts
    np.testing.assert_allclose(ours.scores["readout"], theirs.scores["readout"])
    samples = x.numpy().astype(np.float32)
    profile = load_profile("loihi1")
    energy = energy_uj(network, samples, profile)
    assert energy is not None
    assert energy == energy_uj(twin, samples[:, :, None], profile)
    y = torch.arange(9) % 3
    rows = x[:, :, None]
    for one, other in zip(
        agreement(network, x, y, (4,)), agreement(twin, rows, y, (4,)), strict=True
    ):
        assert one.layer == other.layer
        assert one.cosine == pytest.approx(other.cosine, abs=1e-9)
    for here, there in zip(independence(network, x, y), independence(twin, rows, y), strict=True):
        assert here.layer == there.layer
        assert here.error == pytest.approx(there.error, abs=1e-9)


def test_weights_along_one_axis_decay_too() -> None:
    network = from_module(module(), INPUT, 4)
    decayed, _ = build_optimizer(TrainConfig(), network, None, {}).param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3, 3), (4, 2, 3), (3, 24)]


def test_neurons_after_neurons_get_a_connection_of_one_tap() -> None:
    nodes = [
        Node("conv", ("input",), nn.Conv1d(3, 6, 1)),
        Node("one", ("conv",), LIF(0.5, 0.1)),
        Node("two", ("one",), LIF(0.5, 0.3)),
        Node("readout", ("two",), nn.Linear(72, 3)),
    ]
    network = SpikingNetwork(INPUT, nodes, 3).double().eval()
    chip = deployable(network)
    assert isinstance(chip.layers["one_to_two"], nn.Conv1d)
    assert torch.equal(chip(values(5)), network(values(5)))


@functools.cache
def trained() -> tuple[SpikingNetwork, NDArray[np.float32], NDArray[np.int64]]:
    """Digits as eight rows of pixels that are read from left to right; with test samples."""
    data = load_digits_split()
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv1d(8, 24, 3, padding=1),
        nn.BatchNorm1d(24),
        LIF(0.5, 1.0),
        nn.Conv1d(24, 32, 3, stride=2, padding=1),
        nn.BatchNorm1d(32),
        LIF(0.5, 1.0),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    input = Input("input", (8, 8), Coding.GRADED, 0, 16, scale=16.0)
    network = from_module(layers, input, 4).train()
    x = torch.tensor(np.asarray(data.train_x)).view(-1, 8, 8)
    y = torch.tensor(data.train_y)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9)
    for _ in range(4):
        for chosen in torch.split(torch.randperm(len(x)), 64):
            optimizer.zero_grad()
            training_step(network, x[chosen], y[chosen])
            optimizer.step()
    return network.eval(), np.asarray(data.test_x).reshape(-1, 8, 8), data.test_y


def test_a_trained_network_keeps_its_answers_down_to_the_chip(tmp_path: Path) -> None:
    network, x, y = trained()
    graph = export_float(network)
    ours = evaluate(network, x)
    assert (ours.predictions == y).mean() > 0.9
    # A charge that meets its threshold within rounding may fire on one side only.
    assert (run_float(graph, x).predictions == ours.predictions).mean() > 0.99
    chip = quantize(graph, x[:32]).network
    assert [type(part) for part in chip.weighted_connections[:2]] == [Conv1d, Conv1d]
    integers = np.rint(x * 16).astype(np.int64)
    native = run_native(chip, integers)
    assert (native.predictions == y).mean() > 0.9
    for run, count in ((evaluate_deployed, 360), (run_reference, 1)):
        other, expected = run(chip, integers[:count]), run_native(chip, integers[:count])
        assert other.counts == expected.counts
        for name, fired in expected.spike_counts.items():
            np.testing.assert_array_equal(other.spike_counts[name], fired)
        for name, scores in expected.scores.items():
            np.testing.assert_array_equal(other.scores[name], scores)
    write_nir(chip, tmp_path / "chip.nir")
    assert read_nir(tmp_path / "chip.nir") == chip


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (nn.MaxPool1d(2), "'_0': max-pools along one axis are not supported"),
        (nn.Conv1d(5, 2, 3), "'_0': expects 5 channels, received 3"),
        (nn.Conv1d(3, 2, 13), "'_0': its window does not fit into"),
        (
            nn.Conv1d(3, 2, 3, padding=1, padding_mode="circular"),
            "'_0': padding_mode is 'circular', must be 'zeros'",
        ),
        (nn.Conv2d(3, 2, 3), r"'_0': needs an input \(C, H, W\), received \(3, 12\)"),
        (nn.BatchNorm2d(3), "'_0': BatchNorm2d received shape"),
    ],
)
def test_what_cannot_be_is_one_clear_error(op: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_module(nn.Sequential(op), INPUT, 2)


def test_images_have_two_axes() -> None:
    image = Input("input", (3, 5, 5))
    with pytest.raises(InputError, match=r"'_0': needs an input \(C, L\), received \(3, 5, 5\)"):
        from_module(nn.Sequential(nn.Conv1d(3, 2, 3)), image, 2)
