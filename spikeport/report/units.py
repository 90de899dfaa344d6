"""Format and parse numbers with units."""

from __future__ import annotations

import math
import re

from spikeport.energy import Interval
from spikeport.errors import ValueRangeError

_ENERGY_UNITS = (("J", 1e12), ("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3), ("pJ", 1.0))


def format_energy(energy_pj: float) -> str:
    """Three digits in a suitable unit: 35.5 pJ, 1.20 µJ."""
    unit, size = _unit(energy_pj)
    return f"{_digits(energy_pj / size)} {unit}"


def parse_energy(text: str, subject: str) -> float:
    """pJ of '5uJ', '1.2 µJ', '800nJ'; a unit is required, u means µ.

    Raises:
        InputError: the text is not an energy; the message begins with `subject`.
    """
    sizes = dict(_ENERGY_UNITS)
    found = re.fullmatch(r"\s*([-+.\deE]+?)\s*([a-zA-Zµμ]+)\s*", text)
    try:
        number, unit = (float(found[1]), found[2]) if found else (math.nan, "")
    except ValueError:
        number, unit = math.nan, ""
    size = sizes.get(unit.replace("u", "µ").replace("\N{GREEK SMALL LETTER MU}", "µ"))
    if size is None or not (math.isfinite(number) and number > 0):
        raise ValueRangeError(
            f"{subject} is '{text}', must be a number above 0 with its unit: pJ, nJ, uJ (µJ), mJ "
            "or J, as in 5uJ"
        )
    return number * size


def format_range(energy_pj: Interval) -> str:
    """'3.20 (0.54–9.10) µJ': nominal, low and high in the unit of the nominal value.

    In that of the largest if the nominal value is 0.
    """
    unit, size = _unit(energy_pj.nominal or max(energy_pj.as_dict().values()))
    low, nominal, high = (_digits(v / size) for v in energy_pj.as_dict().values())
    return f"{nominal} ({low}–{high}) {unit}"


def format_span(energy_pj: Interval) -> str:
    """'0.54–9.10 µJ': low and high in the unit of the nominal value, or of the largest."""
    unit, size = _unit(energy_pj.nominal or max(energy_pj.as_dict().values()))
    return f"{_digits(energy_pj.low / size)}–{_digits(energy_pj.high / size)} {unit}"


def format_time(time_ns: float) -> str:
    """Three digits in ns, µs, ms or s."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(time_ns) >= size * 0.9995:
            return f"{_digits(time_ns / size)} {unit}"
    return f"{_digits(time_ns)} ns"


def format_edp(edp_pj_ns: float) -> str:
    """Energy times delay, three digits in a suitable unit: 4.06 nJ·s."""
    for unit, size in (("J·s", 1e21), ("mJ·s", 1e18), ("µJ·s", 1e15), ("nJ·s", 1e12)):
        if abs(edp_pj_ns) >= size * 0.9995:
            return f"{_digits(edp_pj_ns / size)} {unit}"
    return f"{_digits(edp_pj_ns / 1e9)} pJ·s"


def format_change(share: float | None) -> str:
    """A relative change in percent with its sign, +0.12 %; a dash for None."""
    return "–" if share is None else f"{100 * share:+.2f} %"


def format_count(number: float) -> str:
    """An integer with thousands separators; a mean below a thousand keeps one decimal."""
    whole = number == int(number) or abs(number) >= 1000
    return f"{number:,.0f}" if whole else f"{number:,.1f}"


def format_short(number: float) -> str:
    """Three digits, in thousands or millions where large: 0.13, 36.0, 5.62 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size * 0.9995:
            return f"{_digits(number / size)} {unit}"
    return _digits(number)


def format_percent(rate: float) -> str:
    """'97.5 %'."""
    return f"{100 * rate:.1f} %"


def _unit(energy_pj: float) -> tuple[str, float]:
    for unit, size in _ENERGY_UNITS:
        if abs(energy_pj) >= size * 0.9995:
            return unit, size
    return "pJ", 1.0


def _digits(value: float) -> str:
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.9995:
        return f"{value:.2g}"
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:,.{decimals}f}"
