"""`Tolerances`: what a comparison may show and still pass; read strictly from TOML.

    max_differing_spikes = 3
    min_accuracy = 0.95
    fits = ["loihi2"]
    max_state_difference = { v = 1 }

A key that is left out has the meaning of the field's default in `Tolerances`.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from spikeport.energy import DEFAULT_PROFILE
from spikeport.errors import InputError
from spikeport.network import RECORDABLE_STATE
from spikeport.storage import nearest, parse_toml, read_text
from spikeport.text import quoted


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Limits of a comparison (`compare_backends`); None means no limit unless stated otherwise.

    Spikes, scores, event counts and traced states must be equal unless a field allows more. Those
    of a float network may differ by ties, as without tolerances.

    Attributes:
        max_differing_spikes: number of spikes that may differ; 0 if neither this nor the share is
            given.
        max_differing_spike_share: the same as a share of the spikes of the first run.
        max_score_difference: largest difference of a score; 0 for deployed networks, no limit if
            spikes may differ.
        max_state_difference: largest difference of a traced variable, such as {"v": 1}; 0 for
            variables not named here.
        min_agreement: share of samples with the prediction of the first run.
        min_accuracy: of every run, as a share of its samples.
        max_accuracy_loss_points: accuracy that a run may lose against the first, in percentage
            points.
        different_network: the other networks need not be the same network; their spikes, scores
            and counts are then shown, but have no limit unless one is given.
        allow_silent: pass although no neuron fires in a run, so that equality proves nothing.
        energy_profile: prices for the following four, which are per sample and of the chip alone.
        energy_mapped: whether the network is first mapped onto the chip of the profile.
        max_energy_nominal_uj, max_energy_high_uj: nominal and high energy, in microjoules.
        max_latency_nominal_us, max_latency_high_us: nominal and high computing time, in
            microseconds.
        fits: targets that must be able to run each network (`check`).
        max_cores: cores that each network may take, by chip (`map_network`).
    """

    max_differing_spikes: int | None = None
    max_differing_spike_share: float | None = None
    max_score_difference: float | None = None
    max_state_difference: Mapping[str, float] = field(default_factory=dict)
    min_agreement: float | None = None
    min_accuracy: float | None = None
    max_accuracy_loss_points: float | None = None
    different_network: bool = False
    allow_silent: bool = False
    energy_profile: str = DEFAULT_PROFILE
    energy_mapped: bool = False
    max_energy_nominal_uj: float | None = None
    max_energy_high_uj: float | None = None
    max_latency_nominal_us: float | None = None
    max_latency_high_us: float | None = None
    fits: tuple[str, ...] = ()
    max_cores: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, check(f"tolerances: '{name}'", value))

    @property
    def spikes_may_differ(self) -> bool:
        """Whether a limit of differing spikes above 0 is given."""
        return bool(self.max_differing_spikes or self.max_differing_spike_share)

    @property
    def prices(self) -> Mapping[str, float]:
        """The given limits of energy and latency, by name."""
        given = {name: getattr(self, name) for name in PRICED}
        return {name: limit for name, limit in given.items() if limit is not None}


PRICED = (
    *("max_energy_nominal_uj", "max_energy_high_uj"),
    *("max_latency_nominal_us", "max_latency_high_us"),
)


def load_tolerances(path: str | os.PathLike[str]) -> Tolerances:
    """Read tolerances from a TOML file; its keys are the fields of `Tolerances`.

    Raises:
        InputError: the file cannot be read, is not TOML, or has an unknown key (the nearest known
            one is named); a value has the wrong type or is out of its range.
    """
    subject = f"tolerances {quoted(os.fspath(path))}"
    try:
        text = read_text(Path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{subject}: cannot be read: {error}") from error
    found = parse_toml(text, subject)
    known = [one.name for one in dataclasses.fields(Tolerances)]
    for name, value in found.items():
        if name not in known:
            raise InputError(f"{subject}: unknown key {quoted(name)}{nearest(name, known)}")
        _CHECKS[name](f"{subject}: '{name}'", value)
    return Tolerances(**found)


def _wrong(subject: str, value: Any, rule: str) -> NoReturn:
    raise InputError(f"{subject} is {quoted(value)}, must be {rule}")


def _count(subject: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _wrong(subject, value, "an integer of at least 0")
    return value


def _number(subject: str, value: Any, high: float, rule: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        _wrong(subject, value, rule)
    return value


def _amount(subject: str, value: Any) -> float:
    return _number(subject, value, math.nextafter(math.inf, 0), "a finite number of at least 0")


def _share(subject: str, value: Any) -> float:
    return _number(subject, value, 1, "a share, a number in 0..1")


def _points(subject: str, value: Any) -> float:
    return _number(subject, value, 100, "percentage points, a number in 0..100")


def _flag(subject: str, value: Any) -> bool:
    return value if isinstance(value, bool) else _wrong(subject, value, "true or false")


def _text(subject: str, value: Any) -> str:
    return value if isinstance(value, str) and value else _wrong(subject, value, "a name")


def _names(subject: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        _wrong(subject, value, "a list of names")
    return tuple(dict.fromkeys(value))


def _table(subject: str, value: Any, rule: str) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else _wrong(subject, value, rule)


def _states(subject: str, value: Any) -> Mapping[str, float]:
    found = _table(subject, value, "a table of variables, such as { v = 1 }")
    for name in found:
        if name not in RECORDABLE_STATE:
            known = ", ".join(RECORDABLE_STATE)
            raise InputError(
                f"{subject}: unknown variable {quoted(name)}, must be one of {known}"
                f"{nearest(str(name), RECORDABLE_STATE)}"
            )
    return {name: _amount(f"{subject}: '{name}'", limit) for name, limit in found.items()}


def _cores(subject: str, value: Any) -> Mapping[str, int]:
    found = _table(subject, value, "a table of chips, such as { loihi2 = 16 }")
    return {name: _count(f"{subject}: {quoted(name)}", limit) for name, limit in found.items()}


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_differing_spikes": _count,
    "max_differing_spike_share": _share,
    "max_score_difference": _amount,
    "max_state_difference": _states,
    "min_agreement": _share,
    "min_accuracy": _share,
    "max_accuracy_loss_points": _points,
    "different_network": _flag,
    "allow_silent": _flag,
    "energy_profile": _text,
    "energy_mapped": _flag,
    **dict.fromkeys(PRICED, _amount),
    "fits": _names,
    "max_cores": _cores,
}
