from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.network import (
    AvgPoolLayer,
    BatchNormLayer,
    ConvLayer,
    Layer,
    LIFLayer,
    LinearLayer,
    Reset,
    TrainedModel,
)
from spikeport.simulators import run_float
from spikeport.workflow import export_float
from tests.helpers.float_models import PIXELS, conv_model, series_model


def unfolded(model: TrainedModel, x: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The layers one by one as they were trained, in torch's own float64 operations."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    v: dict[str, Any] = {}
    spikes: dict[str, list[Any]] = {}
    total: Any = 0
    for _ in range(model.steps):
        values = {model.input.name: torch.from_numpy(x)}
        for layer in model.layers:
            given = sum(values[name] for name in layer.inputs)
            match layer:
                case ConvLayer():
                    bias = None if layer.bias is None else torch.from_numpy(layer.bias)
                    out = functional.conv2d(
                        given, torch.from_numpy(layer.weight), bias,
                        layer.stride, layer.padding, layer.dilation, layer.groups,
                    )  # fmt: skip
                case LinearLayer():
                    assert layer.bias is not None
                    out = given.flatten(1) @ torch.from_numpy(layer.weight).T + torch.from_numpy(
                        layer.bias
                    )
                case BatchNormLayer():
                    stats = (layer.mean, layer.variance, layer.gamma, layer.beta)
                    out = functional.batch_norm(given, *map(torch.from_numpy, stats), eps=layer.eps)
                case AvgPoolLayer():
                    out = functional.avg_pool2d(given, layer.kernel_size, layer.stride)
                case LIFLayer():
                    charged = layer.decay * v.get(layer.name, 0) + given
                    out = (charged >= layer.v_threshold).double()
                    subtract = layer.reset is Reset.SUBTRACT
                    v[layer.name] = charged - out * (layer.v_threshold if subtract else charged)
                    spikes.setdefault(layer.name, []).append(out.numpy())
            values[layer.name] = out
        total = total + values[model.output]
    return {n: np.stack(s) for n, s in spikes.items()}, (total / model.steps).numpy()


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("decay", [0.0, 0.2, 1.0])
def test_export_computes_what_the_layers_compute(reset: Reset, decay: float) -> None:
    model = conv_model(reset, decay)
    x = np.random.default_rng(5).uniform(size=(40, 1, 8, 8))
    spikes, scores = unfolded(model, x)
    run = run_float(export_float(model), x, record=("spikes",))
    assert run.trace is not None
    for name, expected in spikes.items():
        assert 0.05 < expected.mean() < 0.95
        assert np.array_equal(run.trace.spikes[name], expected)
    np.testing.assert_allclose(run.scores["output"], scores, rtol=1e-5, atol=1e-5)


def test_convolutions_along_one_axis_are_exported() -> None:
    torch = pytest.importorskip("torch")
    model, x = series_model(), np.random.default_rng(0).uniform(size=(20, 2, 9))
    conv, norm = model.layers[:2]
    assert isinstance(conv, ConvLayer)
    assert isinstance(norm, BatchNormLayer)
    network = export_float(model)
    assert isinstance(network.graph.nodes["conv"], nir.Conv1d)
    run = run_float(network, x, record=("spikes",))
    stats = (norm.mean, norm.variance, norm.gamma, norm.beta)
    current = torch.nn.functional.conv1d(
        torch.from_numpy(x), torch.from_numpy(conv.weight), None, 2, 3, 2, 2
    )
    current = torch.nn.functional.batch_norm(current, *map(torch.from_numpy, stats), eps=norm.eps)
    v = torch.zeros_like(current)
    assert run.trace is not None
    for step in run.trace.spikes["lif"]:
        v = 0.2 * v + current
        assert np.array_equal(step, v >= 1)
        v = v.masked_fill(v >= 1, 0)
    assert 0.05 < run.trace.spikes["lif"].mean() < 0.95


def test_graph_has_only_what_every_framework_reads() -> None:
    network = export_float(conv_model(decay=1.0))
    nodes = network.graph.nodes
    assert isinstance(nodes["lif1"], nir.IF)
    assert isinstance(nodes["lif2"], nir.LIF)
    assert network.semantics.strict
    assert {type(node).__name__ for node in nodes.values()} == {
        "Input", "Conv2d", "IF", "SumPool2d", "LIF", "Flatten", "Affine", "Output",
    }  # fmt: skip
    for name in ("lif1", "lif2"):
        assert (nodes[name].r == 1).all()
        assert nodes[name].r.shape == tuple(nodes[name].output_type["output"])
        assert nodes[name].v_threshold.dtype == np.float32
    assert nodes["lif2"].tau[0, 0, 0] == np.float32(2e-4)
    assert (nodes["fc_flatten"].start_dim, nodes["fc_flatten"].end_dim) == (0, -1)


def test_spiking_output_counts_spikes() -> None:
    model = conv_model()
    tail = LIFLayer("lif3", ("fc",), 0.2, 1.0, Reset.SUBTRACT)
    model = replace(model, layers=(*model.layers, tail), output="lif3")
    x = np.random.default_rng(5).uniform(size=(3, 1, 8, 8))
    run = run_float(export_float(model), x)
    assert run.scores["output"].dtype == np.int64
    assert np.array_equal(run.scores["output"].sum(axis=0), run.spike_counts["lif3"])


def _linear(name: str, source: str, size: tuple[int, int]) -> LinearLayer:
    return LinearLayer(name, (source,), np.ones(size), None)


@pytest.mark.parametrize(
    ("layers", "output", "message"),
    [
        (
            (
                AvgPoolLayer("pool", ("pixels",), (2, 2), (2, 2)),
                LIFLayer("lif", ("pool",), 0.5, 1, Reset.ZERO),
            ),
            "lif",
            r"'pool' \(average pool\) must feed conv or linear layers.*feeds \['lif'\]",
        ),
        ((LIFLayer("lif", ("pixels",), 0.5, 1, Reset.ZERO),), "lif", "'lif' .*receives 'pixels'"),
        (
            (_linear("a", "pixels", (3, 64)), LIFLayer("lif", ("a",), 1.5, 1, Reset.ZERO)),
            "lif",
            "'lif': decay is 1.5, must lie in 0..1",
        ),
        (
            (
                _linear("a", "pixels", (3, 64)),
                LIFLayer("x", ("a",), 0.5, 1, Reset.ZERO),
                LIFLayer("y", ("a",), 0.2, 1, Reset.ZERO),
                _linear("b", "x", (2, 3)),
            ),
            "b",
            "'a' feeds layers of different gain",
        ),
        (
            (
                _linear("a", "pixels", (3, 64)),
                LIFLayer("x", ("a",), 0.5, 1, Reset.ZERO),
                _linear("b", "x", (3, 3)),
                LIFLayer("y", ("b",), 0.5, 1, Reset.SUBTRACT),
            ),
            "y",
            "layers differ in reset",
        ),
        ((_linear("a", "pixels", (3, 60)),), "a", r"'a' \(Affine\): expects shape \(60,\)"),
        ((_linear("a", "nothing", (3, 64)),), "a", "'a': input 'nothing' does not come before it"),
        (
            (_linear("a", "pixels", (3, 64)), AvgPoolLayer("p", ("a",), (1, 1), (1, 1))),
            "p",
            "output 'p' must be an LIF layer, an LI layer or a linear map",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_exact_is_refused(
    layers: tuple[Layer, ...], output: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export_float(TrainedModel(PIXELS, layers, output, 4))


def test_batch_norm_must_follow_a_map() -> None:
    norm = BatchNormLayer("bn", ("pixels",), np.ones(1), np.ones(1), np.ones(1), np.ones(1), 1e-5)
    with pytest.raises(InputError, match=r"'bn' \(batch norm\) must follow one conv"):
        export_float(TrainedModel(PIXELS, (norm,), "bn", 4))
