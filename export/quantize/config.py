"""`QuantizeConfig`: all options of quantization in one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from spikeport.checks import one_of
from spikeport.errors import ValueRangeError
from spikeport.export.quantize.rounding_loss import COARSE_BITS
from spikeport.export.quantize.target import ANY, Constraints, constraints_of
from spikeport.network import LOIHI

CLIP_FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
GRADED, BINARY, RATE = INPUT_CODINGS = ("graded", "binary", "rate")
COARSE_FRACTIONS = (0.4, 0.3, 0.25, 0.2, 0.15)


@dataclass(frozen=True, slots=True)
class QuantizeConfig:
    """Options of rounding.

    Attributes:
        weight_bits: 2..8 per weight, including the sign if a matrix has both signs.
        clip_fractions: scales to try, as the fraction of the largest weight that the grid still
            covers; larger weights are clipped. 1 clips nothing. By default 1 to 0.5, with few bits
            down to 0.15: on a coarse grid more is lost between its values than beyond its ends.
        search_wider: If the best of these leaves large errors in the spike counts, rounds most
            weights to zero, or gives a threshold of only a few units, also try smaller fractions,
            down to where half of the weights are clipped. Default: true unless `clip_fractions` are
            given.
        target: what the network is quantized for: a chip, a backend, the format `netx` or None; a
            network that the target cannot take is refused, and the report says what it costs to
            keep to the target.
        input_coding: how graded inputs are sent: `graded`, `binary` (as binary digits) or `rate`
            (as biases of neurons that fire at this rate). By default as graded spikes, or as
            binary digits to a target whose spikes carry no value.
        constraints: those of the target, not to be given.

    Raises:
        InputError: `weight_bits` is not in 2..8, `clip_fractions` is empty or not in (0, 1], or
            there is no such target or coding.
    """

    weight_bits: int = LOIHI.weight_bits
    clip_fractions: tuple[float, ...] | None = None
    search_wider: bool | None = None
    target: str | None = None
    input_coding: str | None = None
    constraints: Constraints = field(default=None, repr=False)  # type: ignore[assignment]

    def stated(self) -> dict[str, Any]:
        """All options as plain values, without a target and a coding that are not given."""
        options = {name: value for name, value in asdict(self).items() if name != "constraints"}
        optional = ("target", "input_coding")
        return {k: v for k, v in options.items() if k not in optional or v is not None}

    @property
    def sends_digits(self) -> bool:
        """Whether graded inputs are sent as binary digits."""
        if self.input_coding is None:
            return not self.constraints.graded
        return self.input_coding == BINARY

    @property
    def fractions(self) -> tuple[float, ...]:
        """`clip_fractions`, or the default if none were given."""
        return self.clip_fractions or ()

    def __post_init__(self) -> None:
        if self.search_wider is None:
            object.__setattr__(self, "search_wider", self.clip_fractions is None)
        default = CLIP_FRACTIONS + COARSE_FRACTIONS * (self.weight_bits <= COARSE_BITS)
        given = default if self.clip_fractions is None else tuple(self.clip_fractions)
        object.__setattr__(self, "clip_fractions", given)
        if self.constraints is None:
            found = ANY if self.target is None else constraints_of(self.target)
            object.__setattr__(self, "constraints", found)
        if self.input_coding is not None:
            one_of("input_coding", INPUT_CODINGS, self.input_coding)
        if self.weight_bits not in range(2, LOIHI.weight_bits + 1):
            raise ValueRangeError(
                f"weight_bits is {self.weight_bits}, must lie in 2..{LOIHI.weight_bits}"
            )
        if not given or not all(0 < f <= 1 for f in given):
            raise ValueRangeError(f"clip_fractions is {given}, must be numbers in (0, 1]")
