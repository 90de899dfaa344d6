"""Child process: convolutions of spikes in training on chip arithmetic, as bytes and in float32.

Rates are multiply-adds per second of processor time, packing of the weights included.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from benchmarks.neurons import best_seconds
from spikeport.network import Conv2d
from spikeport.trainer.chip.grid import Grid
from spikeport.trainer.chip.sums import weighted

SHAPES = ((64, 128, 16), (128, 256, 8), (256, 512, 4))
"""Channels in and out, and height and width, of 3 x 3 convolutions as in VGG-11."""
BATCH = 16


def rates(repeats: int) -> Iterator[tuple[str, float]]:
    """The rate of each shape, of both kinds; both give the same sums.

    Raises:
        AssertionError: they do not.
    """
    rng = np.random.default_rng(0)
    for channels, out, side in SHAPES:
        weight = (2 * rng.integers(-128, 128, (out, channels, 3, 3))).astype(np.int16)
        convolution = Conv2d("x", "p", weight, padding=(1, 1))
        spikes = torch.from_numpy(rng.integers(0, 5, (BATCH, side, side, channels)) == 0)
        rows = spikes.to(torch.uint8).permute(0, 3, 1, 2)[None]
        run = partial(weighted, convolution, Grid(-256, 254, 2, 1.0), torch.from_numpy(weight))
        products = BATCH * weight.size * side * side
        sums = []
        for kind, messages in (("bytes", rows), ("float32", rows.float())):
            once = partial(run, messages, torch.float32)
            sums.append(once())
            yield f"3x3, {channels} to {out}: {kind}", products / best_seconds(once, repeats)
        if not torch.equal(*sums):
            raise AssertionError(f"3x3, {channels} to {out}: bytes and float32 differ")


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    sys.stdout.write(json.dumps(dict(rates(int(sys.argv[2])))) + "\n")
