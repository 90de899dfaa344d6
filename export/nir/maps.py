"""NIR nodes of maps between feature maps; other connections become a Linear of their matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import GraphError
from spikeport.network import Conv1d, Conv2d, implementation_of

MAX_ENTRIES = 2**28
"""1 GiB in float32."""

_SPATIAL: Mapping[type[Any], Any] = {Conv1d: nir.Conv1d, Conv2d: nir.Conv2d}
"""Kinds of connection that map feature maps (`WeightedConnection.spatial`)."""


def check_entries(subject: str, rows: int, columns: int) -> None:
    """Raise if a matrix would not fit into memory.

    Raises:
        InputError: more than `MAX_ENTRIES`.
    """
    if rows * columns > MAX_ENTRIES:
        raise GraphError(
            f"{subject}: its float view needs a matrix of {rows} x {columns} entries, "
            f"limit {MAX_ENTRIES}"
        )


def spatial_node(part: Any, factor: float, bias: NDArray[np.float64]) -> Any:
    """The convolution in NIR, with weights times `factor` and a bias for each channel."""
    return implementation_of(_SPATIAL, part, "in NIR")(
        None,
        (part.weight * factor).astype(np.float32),
        part.stride,
        part.padding,
        part.dilation,
        part.groups,
        bias.astype(np.float32),
    )
