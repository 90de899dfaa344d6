"""Modules of a user's own as chips need them: the same answers, rewrites said, obstacles listed."""

from __future__ import annotations

import copy
import itertools
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeport.energy import load_profile
from spikeport.errors import InputError
from spikeport.export.quantize.lower import lower
from spikeport.network import Coding, Input, Reset, Shape, linear_maps
from spikeport.simulators import run_float, run_native
from spikeport.simulators.ties import compare_float
from spikeport.trainer import evaluate, from_ann, from_module
from spikeport.trainer.energy.loss import model_of
from spikeport.trainer.measure.metrics import energy_uj
from spikeport.trainer.network import (
    Node,
    SpikingNetwork,
    check_deployment,
    deployable,
    deployment,
    describe_graph,
    rebuild_graph,
)
from spikeport.trainer.network.layers import Channels, output_shape
from spikeport.trainer.network.obstacles import Obstacle
from spikeport.trainer.network.operations import map_with_value, stateless
from spikeport.trainer.neurons import LI, LIF
from spikeport.workflow import export_float, prepare_qat, quantize
from tests.helpers.pages import page

IMAGE = Input("input", (2, 6, 6), Coding.GRADED, -64, 64, scale=8.0)
ROW = Input("input", (2, 9), Coding.GRADED, -64, 64, scale=8.0)

STEPS = 4
LOIHI = load_profile("loihi1")


class Lambda(nn.Module):
    """Layers in a forward of one's own."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, each in layers.items():
            self.add_module(name, each)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def settled(network: SpikingNetwork, seed: int = 0) -> SpikingNetwork:
    """In evaluation mode, with weights and statistics that are not the initial ones."""
    torch.manual_seed(seed)
    for op in network.double().layers.values():
        if isinstance(op, nn.BatchNorm1d | nn.BatchNorm2d):
            assert op.running_var is not None
            assert op.running_mean is not None
            nn.init.uniform_(op.running_var, 0.5, 2)
            nn.init.normal_(op.running_mean)
            nn.init.normal_(op.weight)
            nn.init.normal_(op.bias)
        elif isinstance(op, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.normal_(op.weight)
    return network.eval()


def values(network: SpikingNetwork, count: int = 5, *, timed: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    lead = (network.steps, count) if timed else (count,)
    low, high = (0, 2) if network.input.coding is Coding.SPIKES else (-16, 17)
    x = torch.randint(low, high, (*lead, *network.input.shape), generator=generator).double()
    return x / network.input.scale


def assert_equal(network: SpikingNetwork) -> SpikingNetwork:
    """The deployable network gives the same scores, in every mode; returns it."""
    chip = deployable(network)
    for timed in (False, True):
        x = values(network, timed=timed)
        torch.testing.assert_close(chip(x), network(x), rtol=1e-9, atol=1e-9)
    again = deployment(chip)
    assert not any("became one" in sentence for sentence in again.rewrites)
    return chip


@st.composite
def layers(draw: st.DrawFn, shape: Shape) -> tuple[nn.Module, ...]:
    """One linear layer for inputs of `shape`."""
    axes = len(shape) - 1
    conv, pool, norm = [
        (nn.Linear, None, nn.BatchNorm1d),
        (nn.Conv1d, nn.AvgPool1d, nn.BatchNorm1d),
        (nn.Conv2d, nn.AvgPool2d, nn.BatchNorm2d),
    ][axes]
    match draw(
        st.sampled_from(["map", "map", "norm", "drop", *(["pool", "same"] if axes else [])])
    ):
        case "drop":
            return (nn.Dropout(0.5),)
        case "norm":
            return (norm(shape[0]),)
        case "pool":
            assert pool is not None
            kernel = draw(st.integers(1, min(3, *shape[1:])))
            stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2))
            return (pool(kernel, stride, padding),)
        case "same":
            size = tuple(draw(st.integers(1, min(3, n))) for n in shape[1:])
            return (conv(shape[0], draw(st.integers(1, 3)), size, padding="same"),)
    if not axes:
        return (nn.Linear(shape[0], draw(st.integers(1, 4))),)
    size = tuple(draw(st.integers(1, min(3, n))) for n in shape[1:])
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    options = {"stride": draw(st.integers(1, 2)), "padding": draw(st.integers(0, 1))}
    rows = groups * draw(st.integers(1, 2))
    return (conv(shape[0], rows, size, **options, groups=groups, bias=draw(st.booleans())),)


@st.composite
def networks(draw: st.DrawFn) -> SpikingNetwork:
    """One to three linear layers before each of two layers of neurons, and before the scores."""
    input = draw(st.sampled_from([IMAGE, ROW]))
    shape, ops = input.shape, list[nn.Module]()
    decay, reset = draw(st.sampled_from([0.5, 0.75])), draw(st.sampled_from(Reset))
    for stage in range(3):
        for _ in range(draw(st.integers(1, 3))):
            for op in draw(layers(shape)):
                ops.append(op)
                shape = output_shape("layer", op, shape)  # type: ignore[arg-type]
        if stage < 2:
            start = draw(st.sampled_from([0.0, 0.5, -0.4])) if reset is Reset.SUBTRACT else 0.0
            ops.append(LIF(decay, 1.0, reset, v_init=start))
            if len(shape) > 1 and draw(st.integers(0, 3)) == 0:
                ops.append(nn.Flatten())
                shape = (int(np.prod(shape)),)
    ops += [nn.Flatten(), nn.Linear(int(np.prod(shape)), 3)]
    names = ["input", *(f"layer{place}" for place in range(len(ops)))]
    pairs = zip(itertools.pairwise(names), ops, strict=True)
    nodes = [Node(name, (source,), op) for (source, name), op in pairs]  # type: ignore[arg-type]
    return SpikingNetwork(input, nodes, STEPS)


def equal_or_refused(network: SpikingNetwork) -> SpikingNetwork | None:
    """The deployable network, or None if a map between feature maps would have to be a matrix."""
    try:
        return assert_equal(network)
    except InputError as error:
        text = str(error)
    assert text.count("layer '") == text.count("zeros are padded between them; put neurons")
    return None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(networks(), st.integers(0, 2**32 - 1))
def test_random_networks_keep_their_answers(network: SpikingNetwork, seed: int) -> None:
    settled(network, seed)
    chip = equal_or_refused(network)
    assume(chip is not None)
    assert chip is not None
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool2d, LIF)
    assert all(isinstance(node.op, kinds) or "bias" in node.name for node in chip.nodes)
    x = values(network).numpy()
    graph = export_float(network)
    assert graph.rewrites == deployment(network).rewrites
    ours, theirs = (
        evaluate(network, x, ("spikes", "v_charged")),
        run_float(graph, x, record=("spikes",)),
    )
    assert compare_float(ours, theirs, graph, 1e-4).unexplained == 0
    assert theirs.spike_counts.keys() == ours.spike_counts.keys()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks(), st.integers(0, 2**32 - 1))
def test_gradients_are_not_touched(network: SpikingNetwork, seed: int) -> None:
    """Training runs the user's own layers: looking at the chip changes nothing in them."""
    settled(network, seed).train()
    before = copy.deepcopy(network.state_dict())
    try:
        deployment(network)
    except InputError:
        assume(False)
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def grid(network: SpikingNetwork, seed: int = 0) -> SpikingNetwork:
    """Weights of -1, 0 and 1, biases in quarters, norms that double: all exact on the chip."""
    generator = torch.Generator().manual_seed(seed)
    for op in network.double().layers.values():
        if isinstance(op, nn.BatchNorm1d | nn.BatchNorm2d):
            assert op.running_var is not None
            op.eps = 0.0
            nn.init.constant_(op.running_var, 0.25)
            nn.init.constant_(op.bias, 0.5)
        elif isinstance(op, nn.Conv1d | nn.Conv2d | nn.Linear):
            for part in op.parameters():
                part.data = torch.randint(-1, 2, part.shape, generator=generator).double()
    return network.eval()


def sequence(*ops: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*copy.deepcopy(ops))


FC = nn.Linear
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "conv, mean": (
        sequence(nn.Conv2d(2, 4, 3, padding=1), nn.AvgPool2d(2), LIF(), nn.Flatten(), FC(36, 3)),
        ("'_0' and '_1' became one convolution of kernel 4x4, stride 2",),
    ),
    "conv, norm, mean": (
        sequence(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.AvgPool2d(2),
            LIF(),
            nn.Flatten(),
            FC(36, 3),
        ),
        ("'_0', '_1' and '_2' became one convolution of kernel 4x4, stride 2",),
    ),
    "linear, mean over channels' sums": (
        sequence(nn.Flatten(), FC(72, 8), FC(8, 4), LIF(), FC(4, 3)),
        ("'_1' and '_2' became one matrix of 4x72",),
    ),
    "linear, norm, linear": (
        sequence(nn.Flatten(), FC(72, 8), nn.BatchNorm1d(8), FC(8, 4), LIF(), FC(4, 3)),
        ("'_1', '_2' and '_3' became one matrix of 4x72",),
    ),
    "norm, linear": (
        sequence(nn.BatchNorm2d(2), nn.Flatten(), FC(72, 4), LIF(), FC(4, 3)),
        ("'_0' and '_2' became one matrix of 4x72",),
    ),
    "norm behind neurons, conv": (
        sequence(
            nn.Conv2d(2, 4, 3),
            LIF(),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 2, 3),
            LIF(),
            nn.Flatten(),
            FC(8, 3),
        ),
        ("'_2' and '_3' became one convolution of kernel 3x3, stride 1",),
    ),
    "norm behind neurons, padded conv": (
        sequence(
            nn.Conv2d(2, 4, 3),
            LIF(),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 2, 3, padding=1),
            LIF(),
            nn.Flatten(),
            FC(32, 3),
        ),
        (
            "'_2' and '_3' became one convolution of kernel 3x3, stride 1",
            "the bias of '_4' differs between the positions of a channel, because a shift meets "
            "padding",
        ),
    ),
    "even 'same'": (
        sequence(nn.Conv2d(2, 2, (2, 4), padding="same"), LIF(), nn.Flatten(), FC(72, 3)),
        ("'_0' became a convolution of kernel 3x5, stride 1",),
    ),
    "odd 'same', 'valid'": (
        sequence(
            nn.Conv2d(2, 2, 3, padding="same"),
            LIF(),
            nn.Conv2d(2, 2, 3, padding="valid"),
            LIF(),
            nn.Flatten(),
            FC(32, 3),
        ),
        (),
    ),
    "flatten, norm": (
        sequence(
            nn.Conv2d(2, 2, 3),
            nn.Flatten(),
            nn.BatchNorm1d(32),
            LIF(),
            FC(32, 3),
        ),
        (
            "'_0' and '_2' became one matrix of 32x72, because factors differ between the "
            "positions of a channel",
        ),
    ),
    "mean, norm": (
        lambda: Lambda(
            lambda m, x: m.fc(m.lif(m.norm(m.conv(x).mean((2, 3))))),
            conv=nn.Conv2d(2, 4, 3),
            norm=nn.BatchNorm1d(4),
            lif=LIF(),
            fc=FC(4, 3),
        ),
        ("'conv', 'mean' and 'norm' became one convolution of kernel 6x6, stride 4",),
    ),
    "flattened sum": (
        lambda: Lambda(
            lambda m, x: m.fc(m.lif(m.conv(x).flatten(1) + m.whole(x.flatten(1)))),
            conv=nn.Conv2d(2, 2, 3),
            whole=FC(72, 32),
            lif=LIF(),
            fc=FC(32, 3),
        ),
        ("'conv' became a matrix of 32x72, because it is flattened before its neurons",),
    ),
    "sum, linear": (
        lambda: Lambda(
            lambda m, x: m.fc(m.lif(m.c(m.a(x) + m.b(x)))),
            a=nn.Conv2d(2, 2, 3),
            b=nn.Conv2d(2, 2, 3),
            c=nn.Conv2d(2, 1, 2),
            lif=LIF(),
            fc=FC(9, 3),
        ),
        ("'a', 'b' and 'c' became one convolution of kernel 4x4, stride 1",),
    ),
    "channels": (
        lambda: Lambda(
            lambda m, x: m.fc(m.b(m.two(m.a(m.one(x))[:, 1:3]))),
            one=nn.Conv2d(2, 4, 3),
            a=LIF(),
            two=nn.Conv2d(2, 2, 3),
            b=LIF(),
            fc=FC(8, 3),
        ),
        ("'getitem' and 'two' became one convolution of kernel 3x3, stride 1",),
    ),
    "halves of a convolution": (
        lambda: Lambda(
            lambda m, x: m.fc(m.lif((y := torch.chunk(m.conv(x), 2, dim=1))[0] + y[1])),
            conv=nn.Conv2d(2, 4, 3),
            lif=LIF(),
            fc=FC(32, 3),
        ),
        ("'conv', 'getitem' and 'getitem_1' became one convolution of kernel 3x3, stride 1",),
    ),
    "overlapping mean": (
        sequence(nn.Conv2d(2, 2, 1), LIF(), nn.AvgPool2d(3, 1), LIF(), nn.Flatten(), FC(32, 3)),
        ("'_2' became a convolution of kernel 3x3, stride 1",),
    ),
    "means of means": (
        sequence(
            nn.Conv2d(2, 2, 1),
            LIF(),
            nn.AvgPool2d(2),
            nn.AvgPool2d(3),
            nn.Flatten(),
            FC(2, 4),
            LIF(),
            FC(4, 3),
        ),
        ("'_3' and '_5' became one matrix of 4x18",),
    ),
    "mean with a divisor": (
        sequence(
            nn.Conv2d(2, 2, 1),
            LIF(),
            nn.AvgPool2d(2, divisor_override=2),
            nn.Conv2d(2, 2, 1),
            LIF(),
            nn.Flatten(),
            FC(18, 3),
        ),
        ("'_2' and '_3' became one convolution of kernel 2x2, stride 2",),
    ),
    "whole windows only, in ceil_mode": (
        sequence(
            nn.Conv2d(2, 2, 1),
            LIF(),
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(2, 2, 1),
            LIF(),
            nn.Flatten(),
            FC(18, 3),
        ),
        (),
    ),
    "the same input twice": (
        lambda: Lambda(
            lambda m, x: m.fc(m.b(m.two((s := m.a(m.one(x))) + s))),
            one=nn.Conv2d(2, 2, 3),
            a=LIF(),
            two=nn.Conv2d(2, 2, 3),
            b=LIF(),
            fc=FC(8, 3),
        ),
        ("'two' receives 'a' 2 times, so that its weights are 2 times as large",),
    ),
    "mean as scores": (
        sequence(
            nn.Conv2d(2, 2, 3), LIF(), nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        ("'_2' and '_3' became one convolution of kernel 4x4, stride 2",),
    ),
    "mean of spikes as scores": (
        sequence(nn.Conv2d(2, 3, 3), LIF(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        ("'_2' reaches the scores by one-to-one connections",),
    ),
    "one convolution for two decays": (
        lambda: Lambda(
            lambda m, x: m.fc(m.a(y := m.conv(x)) + m.b(y)),
            conv=nn.Conv2d(2, 2, 3),
            a=LIF(0.5),
            b=LIF(0.75),
            fc=FC(32, 3),
        ),
        ("'conv' became a connection for each of its targets, because their decays differ",),
    ),
    "two ways from the same spikes to the scores": (
        lambda: Lambda(
            lambda m, x: m.one(y := m.lif(x).flatten(1)) + m.two(m.three(y)),
            lif=LIF(),
            one=FC(72, 3),
            two=FC(4, 3),
            three=FC(72, 4),
        ),
        (
            "'input' reaches 'lif' by one-to-one connections",
            "'one', 'three' and 'two' became one matrix of 3x72",
        ),
    ),
    "norm, padded conv, integrated": (
        sequence(
            nn.Conv2d(2, 2, 1),
            LIF(),
            nn.BatchNorm2d(2),
            nn.Conv2d(2, 1, 3, padding=1),
            LI(0.5),
        ),
        (
            "'_2' and '_3' became one convolution of kernel 3x3, stride 1",
            "the bias of '_4' differs between the positions of a channel, because a shift meets "
            "padding",
        ),
    ),
    "norm, padded conv as scores": (
        sequence(nn.Conv2d(2, 2, 1), LIF(), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3, padding=1)),
        (
            "'_2' and '_3' became one matrix of 36x72, because its bias differs between the "
            "positions of a channel",
        ),
    ),
    "conv, linear, integrated": (
        sequence(nn.Conv2d(2, 2, 3), LIF(), nn.Conv2d(2, 2, 3), nn.Flatten(), FC(8, 3), LI(0.5)),
        ("'_2' and '_4' became one matrix of 3x32",),
    ),
}
ROWS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "conv, mean": (
        sequence(nn.Conv1d(2, 3, 3), nn.AvgPool1d(2), LIF(), nn.Flatten(), FC(9, 3)),
        ("'_0' and '_1' became one convolution of kernel 4, stride 2",),
    ),
    "mean alone": (
        sequence(nn.Conv1d(2, 3, 3), LIF(), nn.AvgPool1d(2), LIF(), nn.Flatten(), FC(9, 3)),
        ("'_2' became a convolution of kernel 2, stride 2",),
    ),
    "even 'same'": (
        sequence(nn.Conv1d(2, 3, 2, padding="same"), LIF(), nn.Flatten(), FC(27, 3)),
        ("'_0' became a convolution of kernel 3, stride 1",),
    ),
    "even 'same', dilated": (
        sequence(nn.Conv1d(2, 3, 2, padding="same", dilation=3), LIF(), nn.Flatten(), FC(27, 3)),
        ("'_0' became a convolution of kernel 5, stride 1",),
    ),
    "norm in front": (
        sequence(nn.BatchNorm1d(2), nn.Conv1d(2, 3, 3), LIF(), nn.Flatten(), FC(21, 3)),
        ("'_0' and '_1' became one convolution of kernel 3, stride 1",),
    ),
}
ALL = {f"image: {name}": (IMAGE, *case) for name, case in CASES.items()}
ALL |= {f"row: {name}": (ROW, *case) for name, case in ROWS.items()}


@pytest.mark.parametrize("name", ALL)
def test_rewrites_keep_the_answers_and_are_said(name: str) -> None:
    input, make, sentences = ALL[name]
    network = settled(from_module(make(), input, STEPS))
    assert_equal(network)
    assert check_deployment(network) == deployment(network).rewrites == sentences
    x = values(network, 20).numpy()
    graph = export_float(network)
    ours, theirs = (
        evaluate(network, x, ("spikes", "v_charged")),
        run_float(graph, x, record=("spikes",)),
    )
    assert compare_float(ours, theirs, graph, 1e-4).unexplained == 0
    assert ours.spike_counts.keys() == theirs.spike_counts.keys()
    assert sum(counts.sum() for counts in theirs.spike_counts.values()) > 0
    made = quantize(graph, x)
    assert made.report.rewrites == sentences
    assert energy_uj(network, x.astype(np.float32), LOIHI) is not None


@pytest.mark.parametrize("name", ALL)
def test_whole_numbers_spike_alike_in_floats_and_natively(name: str) -> None:
    input, make, _ = ALL[name]
    network = grid(from_module(make(), Input("input", input.shape), STEPS))
    x = values(network, 12)
    graph = export_float(network)
    made = quantize(graph, x.numpy())
    native = run_native(made.network, x.numpy().astype(np.int64), record=("spikes",))
    floats = run_float(graph, x.numpy(), record=("spikes",))
    assert native.trace is not None
    assert floats.trace is not None
    exact = list(itertools.takewhile(lambda part: part.lossless, made.report.populations))
    assert exact
    for part in exact:
        if part.activity is not None:
            spikes = native.trace.spikes[part.name]
            wanted = floats.trace.spikes[part.name].reshape(spikes.shape)
            np.testing.assert_array_equal(spikes, wanted)


@pytest.mark.parametrize(
    "name",
    [
        "image: conv, norm, mean",
        "image: linear, norm, linear",
        "image: norm behind neurons, padded conv",
        "image: halves of a convolution",
    ],
)
def test_chip_training_starts_from_composed_weights(name: str) -> None:
    input, make, _ = ALL[name]
    network = settled(from_module(make(), input, STEPS)).float()
    chip = prepare_qat(network, values(network, 20).numpy())
    assert not chip.frozen
    chip.train()
    x = values(network, 8).float()
    loss = chip(x).square().sum()
    loss.backward()
    gradients = [part.grad for part in chip.parameters() if part.grad is not None]
    assert len(gradients) == len(list(chip.parameters()))
    assert all(bool(torch.isfinite(each).all()) for each in gradients)


def made(forward: Callable[..., Tensor], **layers: nn.Module) -> SpikingNetwork:
    return from_module(Lambda(forward, **layers), IMAGE, STEPS)


OBSTACLES: dict[Obstacle, tuple[Callable[[], SpikingNetwork], str]] = {
    Obstacle.MAX_POOL: (
        lambda: from_module(
            nn.Sequential(nn.Conv2d(2, 2, 3), nn.MaxPool2d(2), nn.Flatten(), FC(8, 3)), IMAGE, 2
        ),
        "layer '_1': takes the maximum of '_0', but only a max-pool directly after one LIF layer",
    ),
    Obstacle.ACTIVATION: (
        lambda: from_ann(nn.Sequential(nn.Flatten(), FC(72, 4), nn.ReLU(), FC(4, 3)), IMAGE),
        "layer '_2': is a ReLU, the activation of an ANN, which sends no spikes; convert the",
    ),
    Obstacle.SCORES: (
        lambda: made(
            lambda m, x: m.one(m.a(x).flatten(1)) + m.two(m.b(m.mid(x.flatten(1)))),
            a=LIF(),
            one=FC(72, 3),
            mid=FC(72, 4),
            b=LIF(),
            two=FC(4, 3),
        ),
        "layer 'add': its scores are a sum of 2 connections, but a chip reads one layer; end with",
    ),
    Obstacle.BORDER: (
        lambda: from_module(
            nn.Sequential(
                nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1), LIF(1.0), nn.Flatten(), FC(72, 3)
            ),
            IMAGE,
            2,
        ),
        "layer '_2': its bias differs between the positions of a channel, because a shift meets "
        "zero padding, but neurons with decay 1 have no leak that could carry it",
    ),
    Obstacle.SHAPE: (
        lambda: from_module(
            nn.Sequential(
                nn.Conv2d(2, 2, 3, padding=1),
                nn.Conv2d(2, 2, 3, padding=1),
                LIF(),
                nn.Flatten(),
                FC(72, 3),
            ),
            IMAGE,
            2,
        ),
        "layer '_1': zeros are padded between them; put neurons in between, or pad nothing there",
    ),
    Obstacle.NEURONS: (
        lambda: from_module(
            nn.Sequential(
                LIF(), nn.Flatten(), FC(72, 4), LIF(reset=Reset.SUBTRACT, strict=False), FC(4, 3)
            ),
            IMAGE,
            2,
        ),
        "layer '_3': reset is subtract, but zero in layer '_0', and a float network has only one",
    ),
    Obstacle.START: (
        lambda: from_module(
            nn.Sequential(LIF(v_init=0.5), nn.Flatten(), FC(72, 4), LIF(), FC(4, 3)), IMAGE, 2
        ),
        "layer '_0': v_init is 0.5, but with reset zero it has no place in NIR: a start is stated "
        "as v_reset, to which a spike resets; use v_init 0, or reset subtract in all LIF layers",
    ),
    Obstacle.INPUT: (
        lambda: from_module(
            nn.Sequential(LIF(), FC(8, 3)), Input("drive", (8,), Coding.BIAS, 0, 16, 16.0), 2
        ),
        "layer '_0': receives 'drive' of coding 'bias', which a chip adds to neurons one to one",
    ),
    Obstacle.NAME: (
        lambda: SpikingNetwork(IMAGE, [Node("a" * 65, ("input",), FC(72, 3))], 2),
        f"layer '{'a' * 65}': its name must be 1 to 64 letters, digits or '_', not a digit first; "
        "rename it",
    ),
}


@pytest.mark.parametrize("obstacle", Obstacle)
def test_obstacles_are_listed_with_their_remedies(obstacle: Obstacle) -> None:
    build, message = OBSTACLES[obstacle]
    network = build()
    for op in network.layers.values():
        if isinstance(op, nn.BatchNorm2d):
            nn.init.constant_(op.bias, 0.5)
    with pytest.raises(InputError) as caught:
        check_deployment(network)
    assert message in str(caught.value)
    if obstacle is not Obstacle.SHAPE:
        assert obstacle.value[1] in str(caught.value)


def test_all_obstacles_are_listed_at_once() -> None:
    network = made(
        lambda m, x: m.one((y := m.deep(m.wide(m.pool(x)))).flatten(1)) + m.two(m.b(y).flatten(1)),
        pool=nn.MaxPool2d(2),
        wide=nn.Conv2d(2, 2, 3, padding=1),
        deep=nn.Conv2d(2, 2, 3, padding=1),
        b=LIF(),
        one=FC(18, 3),
        two=FC(18, 3),
    )
    with pytest.raises(InputError, match=r"cannot be deployed, 3 rule\(s\) broken") as caught:
        deployment(network)
    assert [str(line).partition(":")[0] for line in caught.value.args[1:]] == [
        "- layer 'pool'",
        "- layer 'deep'",
        "- layer 'add'",
    ]


def test_the_page_lists_every_obstacle_and_its_remedy() -> None:
    text = " ".join(page("networks.md").split())
    for obstacle in Obstacle:
        if obstacle is not Obstacle.SHAPE:  # see linear_maps.py
            assert obstacle.value[1] in text
    for fix in linear_maps.REMEDIES.values():
        assert fix in text


def test_connections_are_named_after_their_first_weights() -> None:
    network = settled(from_module(CASES["conv, norm, mean"][0](), IMAGE, STEPS))
    chip = deployable(network)
    assert [node.name for node in chip.nodes] == ["_0", "_3", "_5"]
    made = quantize(export_float(network), values(network).numpy()).network
    assert [part.name for part in made.connections] == ["_0", "_5"]
    twice = from_module(CASES["one convolution for two decays"][0](), IMAGE, STEPS)
    names = [node.name for node in deployable(twice).nodes]
    assert names == ["conv", "a", "input_to_b", "b", "fc"]


def test_energy_in_training_counts_the_weights_of_the_moment() -> None:
    """A composed connection has other zeros after every step."""
    network = settled(from_module(CASES["conv, mean"][0](), IMAGE, STEPS)).float()
    model = model_of(network, LOIHI)
    rates = {"input": torch.ones(1, 2, 6, 6), "_2": torch.zeros(1, 4, 3, 3)}
    before = float(model()(rates))
    conv = network.layers["_0"]
    assert isinstance(conv, nn.Conv2d)
    conv.weight.data[0] = 0
    assert float(model()(rates)) < before


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_through_uneven_padding(size: int, dilation: int) -> None:
    """The backward pass of a kept value is that of the layer itself."""
    torch.manual_seed(0)
    op = nn.Conv2d(2, 3, (size, 3), padding="same", dilation=dilation).double()
    x = torch.randn(4, 2, 7, 6).double().requires_grad_()
    y = stateless(op, x)
    kept = map_with_value(op, x, y.detach())
    assert torch.equal(kept, y)
    upstream = torch.randn_like(y)
    inputs = (x, op.weight, op.bias)
    wanted = torch.autograd.grad(y, inputs, upstream)  # type: ignore[arg-type]
    found = torch.autograd.grad(kept, inputs, upstream)  # type: ignore[arg-type]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about uneven padding
        torch.testing.assert_close(y, op(x))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: x[:, 0], "layer 'getitem': must take a slice of the channels"),
        (lambda m, x: x[1:], "layer 'getitem': must take a slice of the channels"),
        (lambda m, x: x[:, :, 1:], "layer 'getitem': must take a slice of the channels"),
        (lambda m, x: x[:, 2:], "layer 'getitem': takes none of 2 channels"),
        (lambda m, x: torch.split(x, 1)[0], "layer 'split': must split the channels, dim=1"),
        (lambda m, x: x.chunk(2, dim=2)[0], "layer 'chunk': must split the channels, dim=1"),
    ],
)
def test_other_slices_are_refused(forward: Callable[..., Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(forward)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: x[:, :2],
        lambda m, x: x[:, 1:, ...],
        lambda m, x: x[:, ::2],
        lambda m, x: x[:, -3:-1, :, :],
        lambda m, x: x.chunk(2, 1)[1],
        lambda m, x: torch.chunk(x, chunks=3, dim=1)[1],
        lambda m, x: torch.split(x, 3, dim=1)[1],
        lambda m, x: x.split([1, 3, 1], dim=1)[1],
        lambda m, x: x.flatten(1)[:, 3:100],
        lambda m, x: torch.chunk(x.view(x.size(0), -1), 4, dim=1)[3],
    ],
)
def test_channels_are_those_of_torch(forward: Callable[..., Tensor]) -> None:
    input = Input("input", (5, 4, 4), Coding.GRADED, -64, 64, scale=8.0)
    network = from_module(Lambda(forward), input, 1).double().eval()
    x = torch.arange(160.0).double().view(2, 5, 4, 4) % 128 / 8 - 8
    assert torch.equal(network(x), forward(None, x).flatten(1))


def test_new_layers_are_rebuilt_from_plain_data() -> None:
    nodes = [
        Node("conv", ("input",), nn.Conv2d(2, 4, (2, 3), padding="same")),
        Node("lif", ("conv",), LIF()),
        Node("some", ("lif",), Channels(0, 4, 2)),
        Node("pool", ("some",), nn.AvgPool2d(2, divisor_override=3)),
        Node("flat", ("pool",), nn.Flatten()),
        Node("norm", ("flat",), nn.BatchNorm1d(18)),
        Node("fc", ("norm",), FC(18, 3)),
    ]
    network = SpikingNetwork(IMAGE, nodes, 3)
    described = json.loads(json.dumps(describe_graph(network)))
    again = rebuild_graph(described, IMAGE, 3)
    assert describe_graph(again) == described
    again.load_state_dict(network.state_dict())
    x = values(network).float()
    assert torch.equal(again.eval()(x), network.eval()(x))
    row = SpikingNetwork(ROW, [Node("pool", ("input",), nn.AvgPool1d(2, 2))], 3)
    again = rebuild_graph(json.loads(json.dumps(describe_graph(row))), ROW, 3)
    assert torch.equal(again(values(row)), row(values(row)))
    for key, value in (("divisor_override", 0), ("ceil_mode", True)):
        broken = json.loads(json.dumps(described))
        broken[3]["options"][key] = value
        with pytest.raises(InputError, match="layer 'pool'"):
            rebuild_graph(broken, IMAGE, 3)


def test_windows_beyond_the_border_are_refused() -> None:
    with pytest.raises(InputError, match="layer 'p': ceil_mode adds windows that reach beyond"):
        SpikingNetwork(IMAGE, [Node("p", ("input",), nn.AvgPool2d(4, ceil_mode=True))], 1)
    torch.manual_seed(0)
    for size, stride, padding in itertools.product((1, 2, 3), (1, 2, 3, 4), (0, 1)):
        if padding > size // 2:
            continue
        ceiled = nn.AvgPool2d(size, stride, padding, ceil_mode=True)
        plain = nn.AvgPool2d(size, stride, padding)
        x = torch.randn(1, 2, 6, 6)
        same = ceiled(x).shape == plain(x).shape
        try:
            SpikingNetwork(IMAGE, [Node("p", ("input",), ceiled)], 1)
        except InputError:
            assert not same
        else:
            assert same
            assert torch.equal(ceiled(x), plain(x))


@pytest.mark.parametrize("size", [1, 2, (3, 1), (None, 2), 6])
def test_adaptive_pools_with_windows_of_one_size(size: Any) -> None:
    input = Input("input", (2, 6, 4), Coding.GRADED, -64, 64, scale=8.0)
    if size == 6:
        with pytest.raises(InputError, match="must average windows of one size"):
            from_module(nn.AdaptiveAvgPool2d(size), input, 1)
        return
    size = tuple(k or n for k, n in zip(size, (6, 4), strict=True)) if size == (None, 2) else size
    network = from_module(nn.Sequential(nn.AdaptiveAvgPool2d(size)), input, 1).double().eval()
    x = torch.arange(96.0).double().view(2, 2, 6, 4) / 8 - 4
    wanted = nn.functional.adaptive_avg_pool2d(x, size).flatten(1)
    torch.testing.assert_close(network(x), wanted)


def test_means_of_rows() -> None:
    forwards: list[Callable[..., Tensor]] = [
        lambda m, x: x.mean(2),
        lambda m, x: torch.mean(x, -1, keepdim=True),
        lambda m, x: nn.functional.adaptive_avg_pool1d(x, 3),
        lambda m, x: m.pool(x),
    ]
    for forward in forwards:
        module = Lambda(forward, pool=nn.AdaptiveAvgPool1d(1))
        network = from_module(module, ROW, 1).double().eval()
        x = values(network)
        torch.testing.assert_close(network(x), forward(module, x).flatten(1))


def test_neurons_without_an_effect_are_left_out() -> None:
    nodes = [
        Node("used", ("input",), LIF()),
        Node("conv", ("used",), nn.Conv2d(2, 2, 3)),
        Node("idle", ("conv",), LIF()),
        Node("fc", ("used",), FC(72, 3)),
        Node("later", ("fc",), LIF()),
        Node("drop", ("fc",), nn.Dropout()),
    ]
    network = SpikingNetwork(IMAGE, nodes, STEPS).double().eval()
    assert deployment(network).rewrites == (
        "'later' was left out, it does not lead to the scores",
        "'idle' was left out, it does not lead to the scores",
        "'input' reaches 'used' by one-to-one connections",
    )
    x = values(network).numpy()
    scores = run_float(export_float(network), x).scores["output"]
    np.testing.assert_allclose(scores, network(values(network)).detach().numpy(), rtol=1e-5)


@st.composite
def graphs(draw: st.DrawFn) -> SpikingNetwork:
    """Layers that receive any of the last five, or sums of two of the same shape."""
    nodes: list[Node] = []
    shapes: dict[str, Shape] = {IMAGE.name: IMAGE.shape}
    for _ in range(draw(st.integers(3, 9))):
        source = draw(st.sampled_from(list(shapes)[-5:]))
        shape = shapes[source]
        others = [name for name, each in shapes.items() if each == shape]
        sources = (source, draw(st.sampled_from(others))) if draw(st.booleans()) else (source,)
        ops: list[nn.Module] = [
            LIF(draw(st.sampled_from([0.5, 0.75]))),
            nn.Identity(),
            Channels(0, max(1, shape[0] - 1)),
            nn.Flatten(),
            nn.Linear(int(np.prod(shape)), 4),
            (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0]),
        ]
        if len(shape) == 3:
            size, padding = draw(st.integers(1, 3)), draw(st.integers(0, 1))
            ops += [nn.Conv2d(shape[0], 3, size, draw(st.integers(1, 2)), padding)]
            ops += [nn.AvgPool2d(size, draw(st.integers(1, 2))), nn.MaxPool2d(1)]
        op = draw(st.sampled_from(ops))
        name = f"layer{len(nodes)}"
        try:
            shapes[name] = output_shape(name, op, shape)  # type: ignore[arg-type]
        except InputError:  # its window does not fit
            continue
        nodes.append(Node(name, sources, op))  # type: ignore[arg-type]
    last = list(shapes)[-1]
    nodes.append(Node("scores", (last,), nn.Linear(int(np.prod(shapes[last])), 3)))
    if draw(st.booleans()):
        nodes.append(Node("end", ("scores",), LI(0.5) if draw(st.booleans()) else LIF(0.5)))
    return SpikingNetwork(IMAGE, nodes, STEPS)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_random_graphs_keep_their_answers_down_to_the_chips_populations(
    network: SpikingNetwork, seed: int
) -> None:
    """What check_deployment accepts is exported and lowered without another word."""
    settled(network, seed)
    try:
        check_deployment(network)
    except InputError:
        assume(False)
    assert_equal(network)
    graph = export_float(network)
    lower(graph)
    x = values(network)
    count = STEPS if isinstance(network.nodes[-1].op, LIF) else 1
    scores = run_float(graph, x.numpy()).scores["output"]
    np.testing.assert_allclose(scores, count * network(x).detach().numpy(), rtol=1e-4, atol=1e-3)
