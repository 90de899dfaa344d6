"""The float network's evaluation: what it computes, records and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from spikeport.errors import InputError
from spikeport.network import (
    AvgPoolLayer,
    BatchNormLayer,
    Coding,
    ConvLayer,
    Input,
    LIFLayer,
    LinearLayer,
    Reset,
    TrainedModel,
)
from spikeport.trainer import LIF, Node, SpikingNetwork, as_trained_model, evaluate, mlp, small_conv

INPUT = Input("input", (1, 5, 6), Coding.GRADED, 0, 16, scale=16.0)


def pooled_network() -> SpikingNetwork:
    """A strided, padded convolution, then a pool that leaves one column unread."""
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
    readout = nn.Linear(2, 3)
    with torch.no_grad():
        conv.weight[0, 0, 1, 1] = 0.0
        readout.weight[1] = 0.0
    nodes = [
        Node("conv1", ("input",), conv),
        Node("lif1", ("conv1",), LIF(0.5, 0.1)),
        Node("pool1", ("lif1",), nn.AvgPool2d(2)),
        Node("readout", ("pool1",), readout),
    ]
    return SpikingNetwork(INPUT, nodes, steps=4).eval()


def test_synaptic_events_of_a_strided_padded_convolution_by_hand() -> None:
    """Output 3x3 from 5x6, stride 2, padding 1: window o reads rows 2o-1, 2o, 2o+1.

    Even positions below 2 * 3 are centres of one window; odd ones border two, but column 5 only
    one.
    """
    network = pooled_network()
    for position, windows, centre in [((2, 2), 1, 1), ((1, 1), 4, 0), ((0, 5), 1, 0)]:
        x = np.zeros((2, 1, 5, 6))
        x[0, 0, *position] = 0.5
        counts = evaluate(network, x).counts
        assert counts is not None
        assert counts.input_events == {"input": 4}
        assert counts.messages["conv1"] == 4
        assert counts.synaptic_events_all["conv1"] == 4 * 2 * windows
        # channel 0 has no weight at its centre tap
        assert counts.synaptic_events["conv1"] == 4 * (2 * windows - centre)


def test_synaptic_events_through_a_pool_by_hand() -> None:
    network = pooled_network()
    x = np.random.default_rng(0).random((7, 1, 5, 6))
    run = evaluate(network, x, record=("spikes",))
    assert run.counts is not None
    assert run.trace is not None
    spikes = run.trace.spikes["lif1"]
    assert spikes.shape == (4, 7, 2, 3, 3)
    read = int(spikes[..., :2, :2].sum())
    assert run.counts.spikes == {"lif1": int(spikes.sum())}
    assert run.counts.messages["readout"] == spikes.sum() > read > 0
    assert run.counts.synaptic_events_all["readout"] == 3 * read
    assert run.counts.synaptic_events["readout"] == 2 * read
    assert run.counts.visits == {"lif1": 4 * 7 * 18}
    np.testing.assert_array_equal(run.spike_counts["lif1"], spikes.sum((0, 1)))


def test_updates_are_neuron_steps_with_charge_or_current() -> None:
    """One neuron, x = 1 in the first of three steps: v = 0.5 remains, then decays on."""
    linear = nn.Linear(1, 1, bias=False)
    nn.init.constant_(linear.weight, 0.75)
    network = SpikingNetwork(
        Input("input", (1,)),
        [
            Node("linear1", ("input",), linear),
            Node("lif1", ("linear1",), LIF(0.5, 1.0)),
        ],
        steps=3,
    ).eval()
    x = np.zeros((3, 1, 1))
    x[1] = 1.0
    run = evaluate(network, x, record=["v_charged"])
    assert run.counts is not None
    assert run.counts.updates == {"lif1": 2}
    assert run.counts.input_events == {"input": 1}
    assert run.trace is not None
    assert run.trace.v_charged["lif1"].ravel().tolist() == [0.0, 0.75, 0.375]
    assert run.trace.spikes == {}


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("per_step", [False, True])
def test_scores_spikes_and_charges_agree_with_the_network(reset: Reset, per_step: bool) -> None:
    network = small_conv(INPUT, 3, (4, 6), 5, LIF(0.5, 0.6, reset)).eval()
    rng = np.random.default_rng(1)
    for layer in network.layers.values():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_var is not None
            nn.init.uniform_(layer.running_var, 0.01, 0.1)
    x = rng.random((5, 300, 1, 5, 6) if per_step else (300, 1, 5, 6)).astype(np.float32)
    run = evaluate(network, x, record=("spikes", "v_charged"))
    assert run.trace is not None
    torch.testing.assert_close(torch.tensor(run.scores["readout"]), network(torch.tensor(x)))
    for name in ("lif1", "lif2"):
        charged, spikes = run.trace.v_charged[name], run.trace.spikes[name]
        np.testing.assert_array_equal(charged >= 0.6, spikes == 1)
        assert 0 < spikes.mean() < 1
    assert run.backend == "trainer"
    assert run.predictions.shape == (300,)


def test_layers_without_neurons_between_them_cannot_be_counted() -> None:
    nodes = [
        Node("a", ("input",), nn.Conv2d(1, 1, 1)),
        Node("b", ("a",), nn.MaxPool2d(2)),
        Node("c", ("b",), nn.Linear(6, 2)),
    ]
    network = SpikingNetwork(INPUT, nodes, 1).eval()
    with pytest.raises(InputError, match="layer 'b': takes the maximum of 'a'"):
        evaluate(network, np.zeros((1, 1, 5, 6)))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((0, 1, 5, 6)), "the data set is empty"),
        (np.zeros((3, 5, 6)), r"samples have shape \(3, 5, 6\)"),
        (np.full((1, 1, 5, 6), np.nan), "contains NaN or infinity"),
    ],
)
def test_bad_samples_are_refused(samples: NDArray[np.float64], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(pooled_network(), samples)


def test_unknown_record_is_refused() -> None:
    with pytest.raises(InputError, match="record: 'u' cannot be recorded, only spikes, v_charged"):
        evaluate(pooled_network(), np.zeros((1, 1, 5, 6)), ["u"])


def run_described(model: TrainedModel, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time mean of the last layer, computed from the description alone with NumPy."""
    values: dict[str, Any] = {model.input.name: np.repeat(x[None], model.steps, 0)}
    for layer in model.layers:
        total: Any = sum(values[name] for name in layer.inputs)
        match layer:
            case ConvLayer():
                (py, px), (sy, sx) = layer.padding, layer.stride
                assert layer.dilation == (1, 1)
                assert layer.groups == 1
                padded = np.pad(total, [(0, 0)] * 3 + [(py, py), (px, px)])
                windows = np.lib.stride_tricks.sliding_window_view(
                    padded, layer.weight.shape[2:], axis=(3, 4)
                )[:, :, :, ::sy, ::sx]
                y = np.einsum("tbihwkl,oikl->tbohw", windows, layer.weight)
                if layer.bias is not None:
                    y = y + layer.bias[:, None, None]
            case LinearLayer():
                flat = total.reshape(*total.shape[:2], -1)
                y = flat @ layer.weight.T + (0 if layer.bias is None else layer.bias)
            case BatchNormLayer():
                shape = (-1, *[1] * (total.ndim - 3))
                factor = layer.gamma / np.sqrt(layer.variance + layer.eps)
                y = (total - layer.mean.reshape(shape)) * factor.reshape(shape)
                y = y + layer.beta.reshape(shape)
            case AvgPoolLayer():
                ky, kx = layer.kernel_size
                assert layer.stride == layer.kernel_size
                assert layer.padding == (0, 0)
                t, b, c, h, w = total.shape
                cut = total[..., : h // ky * ky, : w // kx * kx]
                y = cut.reshape(t, b, c, h // ky, ky, w // kx, kx).mean((4, 6))
            case LIFLayer():
                v, spikes = np.zeros_like(total[0]), []
                for current in total:
                    v = layer.decay * v + current
                    spikes.append((v >= layer.v_threshold).astype(float))
                    if layer.reset is Reset.ZERO:
                        v = v * (1 - spikes[-1])
                    else:
                        v = v - layer.v_threshold * spikes[-1]
                y = np.stack(spikes)
        values[layer.name] = y
    scores: NDArray[np.float64] = values[model.output].mean(0)
    return scores


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("kind", ["conv", "mlp", "pooled"])
def test_description_is_the_whole_network(kind: str, reset: Reset) -> None:
    torch.manual_seed(2)
    lif = LIF(0.25, 0.5, reset)
    match kind:
        case "conv":
            network = small_conv(INPUT, 3, (4, 6), 5, lif)
        case "mlp":
            network = mlp(INPUT, 3, (12, 8), 5, lif)
        case _:
            network = pooled_network()
    network = network.double().train()
    x = np.random.default_rng(4).random((20, *INPUT.shape))
    for _ in range(20):
        network.spiking_pass(torch.tensor(x))
    network.eval()
    model = as_trained_model(network)
    assert model.input == INPUT
    assert model.steps == network.steps
    assert model.output == "readout"
    scores = evaluate(network, x).scores["readout"]
    assert scores.std() > 0.01
    np.testing.assert_allclose(run_described(model, x), scores, atol=1e-12)
