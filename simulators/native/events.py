"""Compiled search for the neurons that sent a message, and their lists by position."""

from __future__ import annotations

import numpy as np
from numba import njit

_ZERO, _ONE, _TWO, _THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_TOP = np.uint64(56)
_BYTES = np.uint64(0x0101010101010101)
_DIAGONAL = np.uint64(0x0102040810204080)
_EIGHT = np.uint32(8)
_PLACES = np.array(
    [([j for j in range(8) if byte >> j & 1] + [0] * 8)[:8] for byte in range(256)], np.uint32
)
"""Places of the bits of each byte."""
SLACK = 16
"""Entries behind the end of a list that may be overwritten."""

# Indices are unsigned: numba then need not ask whether they count from the end.


@njit(nogil=True)
def list_spikes(words, held, ids):
    """Write the places of the spikes of a row, eight bytes per word; returns how many.

    Few spikes are taken one by one out of their words, many by a table of all bytes.
    """
    found = _ZERO
    for w in range(words.size):
        held[found] = np.uint32(w)
        found += np.uint64(words[w] != _ZERO)
    n = _ZERO
    if 4 * np.int64(found) > 3 * words.size:
        for k in range(np.int64(found)):
            at = held[np.uint64(k)]
            word = words[at]
            byte = (word * _DIAGONAL) >> _TOP
            for j in range(8):
                ids[n + np.uint64(j)] = np.uint32(at * _EIGHT + _PLACES[byte, np.uint64(j)])
            n += (word * _BYTES) >> _TOP
        return np.int64(n)
    for k in range(np.int64(found)):
        at = held[np.uint64(k)]
        word = words[at]
        while word != _ZERO:
            low = word & (~word + _ONE)
            below = (((low - _ONE) & _BYTES) * _BYTES) >> _TOP
            ids[n] = np.uint32(at * _EIGHT + np.uint32(below))
            n += _ONE
            word ^= low
    return np.int64(n)


@njit(nogil=True)
def list_values(row, ids, values):
    """Write the places and the values that are not zero; returns how many."""
    n = _ZERO
    for i in range(row.size):
        ids[n] = np.uint32(i)
        values[n] = row[i]
        n += np.uint64(row[i] != 0)
    return np.int64(n)


@njit(nogil=True)
def divide(ids, n, cell_size, first):
    """first[c]..first[c + 1] - 1 become the entries of `ids` within cell c."""
    cells = first.size - 1
    e = 0
    end = 0
    first[0] = 0
    for c in range(cells - 1):
        end += cell_size
        while e < n and ids[np.uint64(e)] < end:
            e += 1
        first[c + 1] = e
    first[cells] = n


@njit(nogil=True)
def append(ids, first, stop, shift, to, at):
    """Copy ids[first:stop] + shift to to[at:], four at a time; returns the new end of `to`."""
    done = first
    end = at
    while True:
        e, m = np.uint64(done), np.uint64(end)
        a, b, c, d = ids[e], ids[e + _ONE], ids[e + _TWO], ids[e + _THREE]
        to[m] = np.uint32(a + shift)
        to[m + _ONE] = np.uint32(b + shift)
        to[m + _TWO] = np.uint32(c + shift)
        to[m + _THREE] = np.uint32(d + shift)
        done += 4
        end += 4
        if done >= stop:
            return at + stop - first


@njit(nogil=True)
def copy_values(values, first, stop, to, at):
    """Copy values[first:stop] to to[at:]."""
    for e in range(stop - first):
        to[at + e] = values[first + e]
