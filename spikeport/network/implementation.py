"""`implementation_of`: look up what a simulator or an export has for a part of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from spikeport.errors import NetworkError
from spikeport.network.connections.base import WeightedConnection
from spikeport.network.neurons.model import AnyPopulation

T = TypeVar("T")


def implementation_of(
    table: Mapping[type[Any], T], part: AnyPopulation | WeightedConnection, where: str
) -> T:
    """The entry of `table` for the neuron model or the kind of connection of a part.

    Args:
        where: what the table belongs to, for the error message, such as "in the native simulator".

    Raises:
        InputError: the table has no entry for it.
    """
    kind = type(part)
    if kind in table:
        return table[kind]
    model = getattr(kind, "MODEL", None)
    subject = (
        f"connection '{part.name}' is a {kind.__name__}"
        if model is None
        else f"population '{part.name}' has {model} neurons"
    )
    raise NetworkError(f"{subject}, which {where} {'is' if model is None else 'are'} not supported")
