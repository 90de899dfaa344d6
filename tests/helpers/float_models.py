"""Trained models as NumPy, made by hand."""

from __future__ import annotations

import numpy as np

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

PIXELS = Input("pixels", (1, 8, 8), Coding.GRADED, 0, 255, 255.0)


def conv_model(reset: Reset = Reset.SUBTRACT, decay: float = 0.2, seed: int = 3) -> TrainedModel:
    rng = np.random.default_rng(seed)

    def norm(name: str, source: str, channels: int) -> BatchNormLayer:
        gamma, beta, mean = (rng.normal(size=channels) for _ in range(3))
        return BatchNormLayer(
            name, (source,), gamma, beta, mean, rng.uniform(0.5, 2, channels), 1e-5
        )

    return TrainedModel(
        PIXELS,
        (
            ConvLayer("conv1", ("pixels",), rng.normal(size=(4, 1, 3, 3)), None, padding=(1, 1)),
            norm("bn1", "conv1", 4),
            LIFLayer("lif1", ("bn1",), decay, 1.0, reset),
            AvgPoolLayer("pool1", ("lif1",), (2, 2), (2, 2)),
            ConvLayer(
                "conv2", ("pool1",), rng.normal(size=(6, 2, 3, 3)), rng.normal(size=6), groups=2
            ),
            norm("bn2", "conv2", 6),
            LIFLayer("lif2", ("bn2",), 0.5, 1.3, reset),
            LinearLayer("fc", ("lif2",), rng.normal(size=(10, 24)), rng.normal(size=10)),
        ),
        "fc",
        7,
    )


def series_model(reset: Reset = Reset.ZERO) -> TrainedModel:
    """Convolutions along one axis, strided, dilated and grouped."""
    rng = np.random.default_rng(4)
    gamma, beta, mean, variance = rng.uniform(0.5, 2, (4, 4))
    deep = rng.normal(size=(6, 4, 2))
    return TrainedModel(
        Input("series", (2, 9), Coding.GRADED, 0, 255, 255.0),
        (
            ConvLayer(
                "conv", ("series",), rng.normal(size=(4, 1, 3)), None, (1, 2), (0, 3), (1, 2), 2
            ),
            BatchNormLayer("bn", ("conv",), gamma, beta, mean, variance, 1e-5),
            LIFLayer("lif", ("bn",), 0.2, 1.0, reset),
            ConvLayer("conv2", ("lif",), deep, rng.normal(size=6)),
            LIFLayer("lif2", ("conv2",), 0.5, 1.0, reset),
            LinearLayer("fc", ("lif2",), rng.normal(size=(3, 30)), rng.normal(size=3)),
        ),
        "fc",
        7,
    )
