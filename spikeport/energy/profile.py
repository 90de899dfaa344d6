"""Hardware profiles: what one event costs on a chip, every number with its source.

A profile is a TOML file. Each price stands as three constants, low, nominal and high, and each
constant names the source it came from; `profiles/loihi1.toml` shows the format. For each storage
format of synapses it also states at which levels events on zero weights are charged;
`HardwareProfile.charged` applies that rule, to estimates and to training alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TypeVar

from spikeport.energy.interval import LEVELS, Interval
from spikeport.errors import InputError
from spikeport.storage import nearest, parse_toml, read_text
from spikeport.storage.toml_table import Table

T = TypeVar("T")


class SynapseKind(StrEnum):
    """Storage format of a connection, which determines what an event on it costs.

    DENSE stores a row of weights per source neuron, zeros included; CONV one kernel that all
    positions share.
    """

    DENSE = "dense"
    CONV = "conv"


SCHEMA = 1
SYNAPSES = tuple(f"synapse_{kind}" for kind in SynapseKind)
ENERGIES = (*SYNAPSES, "visit", "update", "fire", "packet", "hop")
TIMES = (*SYNAPSES, "visit", "update", "fire", "packet", "receive", "barrier")
TOP_KEYS = (
    *("schema", "name", "title", "cores", "neurons_per_core", "graded_payloads", "unpriced"),
    *("counts_zeros", "sources", "energy_pj", "time_ns", "static_mw", "hops_per_packet"),
    *("int8_mac_pj", "host_step_us"),
)
SOURCE_KEYS = ("citation", "url", "basis", "conditions", "includes_static")
PRICE_KEYS = ("what", *LEVELS)
CONSTANT_KEYS = ("value", "source")
ZEROS_KEYS = (*LEVELS, "reason")


class Basis(StrEnum):
    """How a source came to its numbers."""

    SIMULATED = "simulated"
    MEASURED = "measured"
    FITTED = "fitted"
    DERIVED = "derived"
    ASSUMED = "assumed"
    ALL_IN = "all-in"


@dataclass(frozen=True, slots=True)
class Source:
    """Where numbers come from, and under what conditions they hold.

    Attributes:
        includes_static: whether leakage is already inside the numbers.
    """

    key: str
    citation: str
    url: str
    basis: Basis
    conditions: str
    includes_static: bool


@dataclass(frozen=True, slots=True)
class Constant:
    """One number of one source."""

    value: float
    source: Source


@dataclass(frozen=True, slots=True)
class Price:
    """A constant at each level, and in words what it is charged for."""

    what: str
    low: Constant
    nominal: Constant
    high: Constant

    def at(self, level: str) -> Constant:
        """The constant of `level`, one of LEVELS."""
        constant: Constant = getattr(self, level)
        return constant

    @property
    def interval(self) -> Interval:
        """The bare values."""
        return Interval(self.low.value, self.nominal.value, self.high.value)


@dataclass(frozen=True, slots=True)
class CountsZeros:
    """Whether each level charges events on zero weights, for one storage format, and the reason."""

    low: bool
    nominal: bool
    high: bool
    reason: str

    def at(self, level: str) -> bool:
        """The rule of `level`, one of LEVELS."""
        return bool(getattr(self, level))


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """Prices of one chip.

    Attributes:
        counts_zeros: by storage format; a profile file may give one rule for all of them.
        energy_pj: per event, a subset of ENERGIES; what is missing is unpriced.
        time_ns: per event, a subset of TIMES.
        static_mw: power of one chip that computes nothing.
        hops_per_packet: assumed mesh distance while no mapping is known.
        int8_mac_pj: an int8 multiply-accumulate with its operand reads, for comparison.
        graded_payloads: whether a spike can carry a value.
        host_step_us: a metered step with a host in the loop, for scale; never added to a total.
        unpriced: what a real system also pays and this profile has no number for.
    """

    name: str
    title: str
    cores: int
    neurons_per_core: int
    graded_payloads: bool
    counts_zeros: Mapping[SynapseKind, CountsZeros]
    energy_pj: Mapping[str, Price]
    time_ns: Mapping[str, Price]
    static_mw: Price | None
    hops_per_packet: Price | None
    int8_mac_pj: Price | None
    host_step_us: Constant | None
    unpriced: tuple[str, ...]

    def charged(self, kind: SynapseKind, level: str, nonzero: T, stored: T) -> T:
        """`nonzero` or `stored`, whichever `level` charges for synapses stored as `kind`."""
        return stored if self.counts_zeros[kind].at(level) else nonzero

    def prices(self) -> Iterator[tuple[str, str, Price]]:
        """Every price as (name, unit, price)."""
        yield from ((name, "pJ", price) for name, price in self.energy_pj.items())
        yield from ((name, "ns", price) for name, price in self.time_ns.items())
        for name, unit, price in (
            ("static", "mW", self.static_mw),
            ("hops_per_packet", "hops", self.hops_per_packet),
            ("int8_mac", "pJ", self.int8_mac_pj),
        ):
            if price is not None:
                yield name, unit, price


def builtin_profiles() -> tuple[str, ...]:
    """Names that `load_profile` knows without a path."""
    folder = resources.files("spikeport") / "energy" / "profiles"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Read a built-in profile by name, or any profile by path.

    Raises:
        InputError: no such profile; not TOML; an unknown or missing key; a price without source;
            another price or static power beside an all-in constant.
    """
    known = builtin_profiles()
    if str(name_or_path) in known:
        text = (
            resources.files("spikeport") / "energy" / "profiles" / f"{name_or_path}.toml"
        ).read_text("utf-8")
        return parse_profile(text, f"profile '{name_or_path}'")
    path = Path(name_or_path)
    try:
        text = read_text(path)
    except FileNotFoundError:
        hint = nearest(str(name_or_path), known)
        raise InputError(
            f"profile '{name_or_path}': no such file, and no built-in profile "
            f"({', '.join(known)}){hint}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"profile '{path}': cannot be read: {error}") from error
    return parse_profile(text, f"profile '{path}'")


def parse_profile(text: str, subject: str) -> HardwareProfile:
    """A profile from TOML text; `subject` begins every error message."""
    raw = parse_toml(text, subject)
    top = Table(raw, subject, TOP_KEYS)
    if (schema := top.take("schema", int)) != SCHEMA:
        raise InputError(f"{subject}: schema is {schema}, this version reads {SCHEMA}")
    listed = top.table("sources")
    sources = {key: _source(key, listed.table(key, SOURCE_KEYS)) for key in listed}
    profile = HardwareProfile(
        name=top.take("name", str),
        title=top.take("title", str),
        cores=top.take("cores", int),
        neurons_per_core=top.take("neurons_per_core", int),
        graded_payloads=top.take("graded_payloads", bool),
        counts_zeros=_counts_zeros(top),
        energy_pj=_prices(top.table("energy_pj", ENERGIES), sources),
        time_ns=_prices(top.table("time_ns", TIMES), sources),
        static_mw=_optional_price(top, "static_mw", sources),
        hops_per_packet=_optional_price(top, "hops_per_packet", sources),
        int8_mac_pj=_optional_price(top, "int8_mac_pj", sources),
        host_step_us=(
            _constant(top.table("host_step_us", CONSTANT_KEYS), sources)
            if "host_step_us" in top
            else None
        ),
        unpriced=tuple(str(entry) for entry in top.take("unpriced", list)),
    )
    for name, count in (("cores", profile.cores), ("neurons_per_core", profile.neurons_per_core)):
        if count < 1:
            raise InputError(f"{subject}: {name} is {count}, must be at least 1")
    _refuse_double_counting(profile, subject)
    return profile


def _refuse_double_counting(profile: HardwareProfile, subject: str) -> None:
    """An all-in constant already holds neurons, routing and, if it says so, leakage."""
    for level in LEVELS:
        charged = {
            name: price.at(level)
            for name, price in profile.energy_pj.items()
            if price.at(level).value > 0
        }
        synapses = {name for name in charged if name.startswith("synapse")}
        for name, constant in charged.items():
            if constant.source.basis is Basis.ALL_IN and (others := set(charged) - synapses):
                raise InputError(
                    f"{subject}: {level} '{name}' is an all-in constant ({constant.source.key}), "
                    f"so {', '.join(sorted(others))} cannot be added: they would be counted twice"
                )
            static = profile.static_mw
            if constant.source.includes_static and static and static.at(level).value > 0:
                raise InputError(
                    f"{subject}: {level} '{name}' includes static power ({constant.source.key}), "
                    "so static_mw cannot be added: it would be counted twice"
                )


def _source(key: str, table: Table) -> Source:
    text = {name: table.take(name, str) for name in ("citation", "url", "conditions")}
    for name in ("citation", "conditions"):
        if not text[name].strip():
            raise InputError(f"{table.subject}: '{name}' is empty")
    basis = table.take("basis", str)
    if basis not in list(Basis):
        raise InputError(f"{table.subject}: basis '{basis}' must be one of {', '.join(Basis)}")
    return Source(
        key=key, basis=Basis(basis), includes_static=table.take("includes_static", bool), **text
    )


def _constant(table: Table, sources: Mapping[str, Source]) -> Constant:
    value = table.number("value")
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{table.subject}: value is {value}, must be finite and not negative")
    key = table.take("source", str)
    if key not in sources:
        raise InputError(f"{table.subject}: source '{key}' is unknown{nearest(key, sources)}")
    return Constant(value, sources[key])


def _price(table: Table, sources: Mapping[str, Source]) -> Price:
    constants = {level: _constant(table.table(level, CONSTANT_KEYS), sources) for level in LEVELS}
    return Price(what=table.take("what", str), **constants)


def _optional_price(top: Table, key: str, sources: Mapping[str, Source]) -> Price | None:
    return _price(top.table(key, PRICE_KEYS), sources) if key in top else None


def _prices(table: Table, sources: Mapping[str, Source]) -> dict[str, Price]:
    return {key: _price(table.table(key, PRICE_KEYS), sources) for key in table}


def _counts_zeros(top: Table) -> dict[SynapseKind, CountsZeros]:
    """One rule per storage format or, as in version 0.1.0, one for all of them."""
    key = "counts_zeros"
    if any(kind in top.table(key) for kind in SynapseKind):
        forms = top.table(key, SynapseKind)
        return {kind: _zeros_rule(forms.table(kind, ZEROS_KEYS)) for kind in SynapseKind}
    return dict.fromkeys(SynapseKind, _zeros_rule(top.table(key, ZEROS_KEYS)))


def _zeros_rule(table: Table) -> CountsZeros:
    levels = {level: table.take(level, bool) for level in LEVELS}
    return CountsZeros(reason=table.take("reason", str), **levels)
