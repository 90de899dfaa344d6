"""Bits that a core needs to store synapses.

An axon's list of n synapses takes ceil(n / block) blocks; each block of m synapses takes

    word * ceil((m * (weight bits + delay bits + index bits) + header) / word)

as in nengo-loihi (`SynapseConfig.bits_per_axon` of block.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.limits import StorageRules
from spikeport.network import LOIHI, WeightedConnection, is_mixed

Integers = NDArray[np.int64]
WEIGHT_BITS = (1, 2, 3, 4, 5, 6, 8)
"""Widths in which a core stores weights (nengo-loihi, `WEIGHT_BITS_MAP` of block.py)."""
INDEX_BITS = (0, 6, 7, 8, 9, 10, 11, 12)
"""Widths of indices (nengo-loihi, `INDEX_BITS_MAP` of block.py)."""


def weight_bits(connection: WeightedConnection, exponent_min: int) -> int:
    """Least stored bits per weight, with the weight exponent lowered as far as needed.

    Mantissas m * 2^z with |m| small are stored as m << s with an exponent lower by s - z: with
    mixed signs, b bits hold -2^(b-1)..2^(b-1)-1 in steps of 2^(9-b); with one sign, magnitudes up
    to 2^b - 1 in steps of 2^(8-b).
    """
    weight = connection.weight
    low, high = int(weight.min()), int(weight.max())
    if not low and not high:
        return WEIGHT_BITS[0]
    common = int(np.bitwise_or.reduce(weight, axis=None)) & 0xFFFF
    zeros = (common & -common).bit_length() - 1
    mixed = is_mixed(weight)
    if mixed:
        needed = 1 + max((high >> zeros).bit_length(), (~(low >> zeros)).bit_length())
    else:
        needed = (max(-low, high) >> zeros).bit_length()
    full = LOIHI.weight_bits + mixed
    needed = max(needed, full - zeros - (connection.exponent - exponent_min), 1)
    return next(bits for bits in WEIGHT_BITS if bits >= min(needed, LOIHI.weight_bits))


def index_bits(rules: StorageRules, targets: int) -> int:
    """Bits of the index of one of `targets` neurons."""
    if rules.index_bits is not None:
        return rules.index_bits
    needed = (targets - 1).bit_length()
    return next((bits for bits in INDEX_BITS if bits >= needed), needed)


def list_bits(rules: StorageRules, synapses: Any, per_synapse: Any) -> Integers:
    """Memory of lists of synapses, element by element."""
    count = np.asarray(synapses, np.int64)
    if rules.block is None:
        return np.where(count > 0, _words(rules, count * per_synapse), 0)
    whole, rest = np.divmod(count, rules.block)
    bits = whole * _words(rules, np.multiply(rules.block, per_synapse))
    return bits + np.where(rest > 0, _words(rules, rest * per_synapse), 0)


def _words(rules: StorageRules, bits: Any) -> Integers:
    word = rules.word_bits
    filled: Integers = -(-(np.asarray(bits, np.int64) + rules.header_bits) // word) * word
    return filled
