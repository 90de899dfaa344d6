"""The networks that the benchmarks run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.networks import Sketch, dense_chain, recurrent
from spikeport.network import DeployedNetwork, SumPool2d


def residual(steps: int = 5) -> DeployedNetwork:
    """A pool, a strided and a one-to-one shortcut, on 8x8."""
    sketch = Sketch()
    stem = sketch.conv(sketch.input((3, 8, 8)), "stem", 4, pool=SumPool2d((2, 2), (2, 2)))
    same = sketch.conv(stem, "same", 4)
    sketch.shortcut(stem, same, 1)
    half = sketch.conv(same, "half", 6, stride=2)
    sketch.shortcut(same, half, 2)
    end = sketch.dense(half, "output", 10, pool=SumPool2d((2, 2), (2, 2)))
    return sketch.network(end, steps)


NETWORKS: Mapping[str, Callable[[], DeployedNetwork]] = {
    "dense": partial(dense_chain, 40, 30, 10, steps=8),
    "recurrent": partial(recurrent, 30, 24, 8, steps=12),
    "residual": residual,
}
