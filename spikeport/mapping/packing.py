"""Put pieces of populations together on cores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spikeport.mapping.limits import Setting
from spikeport.mapping.plan import Demands
from spikeport.mapping.settings import Settings


def pack(
    demands: Demands, settings: Sequence[Settings], capacity: Demands, limits: dict[Setting, int]
) -> list[list[int]]:
    """Pieces of each core: best-fit decreasing.

    The piece that fills most of a core comes first; each goes to the core that it fills best, or
    to a new one. Every piece fits a core by itself.
    """
    share = (demands / capacity).max(axis=1)
    order = np.argsort(-share, kind="stable")
    cores: list[list[int]] = []
    used = np.zeros((len(demands), len(capacity)), np.int64)
    held: list[Settings] = []
    for piece in map(int, order):
        total = used[: len(cores)] + demands[piece]
        room = np.flatnonzero((total <= capacity).all(axis=1))
        fullest = room[np.argsort(-(total[room] / capacity).max(axis=1), kind="stable")]
        for core in map(int, fullest):
            joint = _joint(held[core], settings[piece])
            if all(len(joint[name]) <= most for name, most in limits.items()):
                break
        else:
            core, joint = len(cores), settings[piece]
            cores.append([])
            held.append(joint)
        cores[core].append(piece)
        used[core] += demands[piece]
        held[core] = joint
    return [sorted(pieces) for pieces in cores]


def _joint(one: Settings, other: Settings) -> Settings:
    return {name: values | other[name] for name, values in one.items()}
