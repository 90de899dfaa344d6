"""Arrays by variable: in a field each, or together in `further`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from spikeport.errors import UnknownNameError
from spikeport.network import STATE_VARIABLES
from spikeport.text import quoted

Arrays = Mapping[str, NDArray[Any]]
"""By population."""


class ByVariable:
    """A dataclass with a field for each of `NAMED`, and `further` for all other variables."""

    __slots__ = ()

    NAMED: ClassVar[tuple[str, ...]]

    def __getitem__(self: Any, variable: str) -> Arrays:
        """The arrays of a variable, empty if it has none.

        Raises:
            InputError: no neuron has such a variable.
        """
        if variable in self.NAMED:
            found: Arrays = getattr(self, variable)
            return found
        if variable in self.further:
            return self.further[variable]  # type: ignore[no-any-return]
        if variable not in STATE_VARIABLES:
            known = ", ".join(dict.fromkeys((*self.NAMED, *STATE_VARIABLES)))
            raise UnknownNameError(
                f"variable {quoted(variable)} is unknown, must be one of {known}"
            )
        return {}

    @property
    def tables(self: Any) -> dict[str, Arrays]:
        """Per variable, its arrays."""
        return {name: self[name] for name in (*self.NAMED, *self.further)}

    @classmethod
    def others(cls, tables: Mapping[str, Arrays]) -> dict[str, Arrays]:
        """What of `tables` belongs into `further`."""
        return {name: table for name, table in tables.items() if name not in cls.NAMED and table}
