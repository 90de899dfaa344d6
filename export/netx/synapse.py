"""What is left of dense weights on the way through netx into Lava's synapses.

netx shifts a matrix left as far as it fits and the sums right again, and chooses a number of bits;
Lava then rounds to the grid of that many bits. Most matrices come through exactly.

Source: lava-nc/lava-dl, `netx/utils.py` (`optimize_weight_bits`); lava-nc 0.10.0,
`lava/utils/weightutils.py`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI, is_mixed

Array = NDArray[np.int64]


def kept_exactly(*matrices: Array) -> bool:
    """Whether netx runs exactly these weights: of a layer, or of a recurrent layer and its loop."""
    together = np.concatenate([one.reshape(-1) for one in matrices])
    high, low = int(together.max()), int(together.min())
    if high == low == 0:
        return False
    mixed = low < 0 <= high
    if mixed:
        scale = min(127 / high if high else math.inf, -128 / low)
    else:
        scale = 255 / high if low >= 0 else -256 / low
    shift = math.floor(math.log2(scale)) + mixed
    if shift < 0:
        return False
    even = next((n for n in range(8, 0, -1) if not (together % (1 << n)).any()), 0)
    bits = 8 - shift - (even - mixed)
    return all(_stored(one << shift, bits) for one in matrices)


def _stored(weight: Array, bits: int) -> bool:
    """Whether Lava keeps the weights of a matrix that has this number of bits."""
    mixed = is_mixed(weight)
    magnitude = weight if mixed or weight.min() >= 0 else -weight
    if magnitude.min() < -LOIHI.weight_end or magnitude.max() > LOIHI.weight_end - 1:
        return False
    lost = LOIHI.weight_bits - bits + mixed
    return bits <= LOIHI.weight_bits and not (magnitude % (1 << lost)).any()
