"""A quantity at three levels: low, nominal, high."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("low", "nominal", "high")


@dataclass(frozen=True, slots=True)
class Interval:
    """A quantity at three levels; sums and products are computed level by level."""

    low: float
    nominal: float
    high: float

    @classmethod
    def same(cls, value: float) -> Interval:
        """The same value at all levels."""
        return cls(value, value, value)

    def at(self, level: str) -> float:
        """The value of `level`, one of LEVELS."""
        value: float = getattr(self, level)
        return value

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.nominal + other.nominal, self.high + other.high)

    def __mul__(self, factor: Interval | float) -> Interval:
        by = factor if isinstance(factor, Interval) else Interval.same(factor)
        return Interval(self.low * by.low, self.nominal * by.nominal, self.high * by.high)

    def __sub__(self, other: Interval) -> Interval:
        return self + other * -1

    def largest(self, other: Interval) -> Interval:
        """The larger value of each level."""
        return Interval(*(max(self.at(level), other.at(level)) for level in LEVELS))

    def as_dict(self) -> dict[str, float]:
        """Level to value."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high}


ZERO = Interval(0.0, 0.0, 0.0)
