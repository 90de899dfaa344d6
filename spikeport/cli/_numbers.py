"""Numbers in the values of options."""

from __future__ import annotations

from spikeport.errors import OptionError


def numbers(option: str, text: str) -> tuple[int, ...]:
    """The integers of an option like 24,48."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"{option} is '{text}', must be comma-separated integers") from None
