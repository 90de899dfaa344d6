"""Hardware profiles: what one event costs on a chip, every number with its source.

A profile is the `[prices]` of a target's `target.toml` (`spikeport.hardware`), or a TOML file of
prices only. Each price consists of three constants, low, nominal and high, and each constant names
its source; `backends/targets/loihi1/target.toml` shows the format. For each storage format of
synapses a profile also states at which levels events on zero weights are charged;
`HardwareProfile.charged` applies that rule, to estimates and to training alike.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeport.energy.interval import LEVELS
from spikeport.energy.prices import (
    NO_RULE,
    Constant,
    CountsZeros,
    HardwareProfile,
    HostPrices,
    Price,
)
from spikeport.energy.terms import (
    MAC,
    TERMS,
    EnergyTerm,
    EventKind,
    SynapseKind,
    energy_keys,
    time_keys,
)
from spikeport.errors import EnergyError, FileMissingError, UnknownNameError
from spikeport.hardware import (
    Source,
    parse_target,
    read_sources,
    source_of,
    stated_arithmetic,
    target_text,
)
from spikeport.hardware.target_file import SCHEMA as TARGET_SCHEMA
from spikeport.plugins import OWN, PluginKind, plugins
from spikeport.storage import nearest, parse_toml, read_text
from spikeport.storage.toml_table import Table

DEFAULT_PROFILE = "loihi1"
"""Used wherever no profile is chosen."""
SCHEMA = 1
PRICES_KEYS = (
    *("unpriced", "counts_zeros", "energy_pj", "time_ns", "static_mw", "hops_per_packet"),
    *("int8_mac_pj", "host_step_us", "host", "instead_pj"),
    "neurons_on_core",
)
DESIGN = ("cores", "neurons_per_core", "graded_payloads")
"""Properties of the chip that pricing needs; limits of a target."""
MEMORY = "synapse_memory_bits_per_core"
"""Optional: without it, cores are counted by their neurons only."""
TOP_KEYS = ("schema", "name", "title", "arithmetic", "sources", *DESIGN, MEMORY, *PRICES_KEYS)
PRICE_KEYS = ("what", *LEVELS)
CONSTANT_KEYS = ("value", "source")
HOST_KEYS = ("step_us", "step_uj")
ZEROS_KEYS = (*LEVELS, "reason")


def builtin_profiles() -> tuple[str, ...]:
    """Names of Spikeport's own targets that have prices."""
    own = (plugins(PluginKind.TARGET)[name] for name in OWN[PluginKind.TARGET])
    return tuple(one.name for one in own if "prices" in parse_toml(target_text(one), str(one)))


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Read the prices of a target by its name, or any profile by its path.

    Raises:
        InputError: no such profile; a target without prices; not TOML; an unknown or missing key;
            a price without a source; another price or static power next to an all-in constant.
        BackendUnavailableError: the entry point of another package's target is broken.
    """
    targets = plugins(PluginKind.TARGET)
    if (target := targets.get(str(name_or_path))) is not None:
        return parse_profile(target_text(target), f"profile '{target.name}'")
    path = Path(name_or_path)
    try:
        text = read_text(path)
    except FileNotFoundError:
        known = (*builtin_profiles(), *(one.name for one in targets.values() if one.distribution))
        hint = nearest(str(name_or_path), known)
        raise UnknownNameError(
            f"profile '{name_or_path}': no such file, and no built-in profile "
            f"({', '.join(known)}){hint}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileMissingError(f"profile '{path}': cannot be read: {error}") from error
    return parse_profile(text, f"profile '{path}'")


def parse_profile(text: str, subject: str, terms: Sequence[EnergyTerm] = TERMS) -> HardwareProfile:
    """Parse the TOML text of a target, or of prices only, into a profile with prices for `terms`.

    Every error message begins with `subject`.
    """
    raw = parse_toml(text, subject)
    read = _of_target if raw.get("schema") == TARGET_SCHEMA else _of
    profile = read(raw, subject, terms)
    design = (("cores", profile.cores), ("neurons_per_core", profile.neurons_per_core))
    for name, count in (*design, (MEMORY, profile.synapse_bits_per_core)):
        if count is not None and count < 1:
            raise EnergyError(f"{subject}: {name} is {count}, must be at least 1")
    _refuse_double_counting(profile, subject, terms)
    return profile


def _of(raw: Mapping[str, Any], subject: str, terms: Sequence[EnergyTerm]) -> HardwareProfile:
    """A profile from a file of prices only."""
    top = Table(raw, subject, TOP_KEYS)
    if (schema := top.take("schema", int)) != SCHEMA:
        raise EnergyError(
            f"{subject}: schema is {schema}, this version reads {SCHEMA} and {TARGET_SCHEMA}"
        )
    return HardwareProfile(
        name=top.take("name", str),
        title=top.take("title", str),
        cores=top.take("cores", int),
        neurons_per_core=top.take("neurons_per_core", int),
        graded_payloads=top.take("graded_payloads", bool),
        synapse_bits_per_core=top.take(MEMORY, int) if MEMORY in top else None,
        arithmetic=stated_arithmetic(top),
        **_priced(top, read_sources(top.table("sources")), terms),
    )


def _of_target(
    raw: Mapping[str, Any], subject: str, terms: Sequence[EnergyTerm]
) -> HardwareProfile:
    """A profile from the file of a target."""
    target = parse_target(raw, subject)
    if target.prices is None:
        raise EnergyError(
            f"{subject}: {target.title} has no prices: {target.no_prices}; price on another "
            f"target ({', '.join(builtin_profiles())}) or write a profile file"
        )
    limits = target.limits
    return HardwareProfile(
        name=target.name,
        title=target.title,
        cores=limits["cores"].value,
        neurons_per_core=limits["neurons_per_core"].value,
        graded_payloads=bool(limits["graded_payloads"].value),
        synapse_bits_per_core=limits[MEMORY].value if MEMORY in limits else None,
        arithmetic=target.arithmetic,
        **_priced(Table(target.prices, f"{subject}: prices", PRICES_KEYS), target.sources, terms),
    )


def _priced(
    table: Table, sources: Mapping[str, Source], terms: Sequence[EnergyTerm]
) -> dict[str, Any]:
    """The fields of a profile that are prices."""
    _refuse_uncounted(table, terms)
    energy_pj = _prices(table.table("energy_pj", energy_keys(terms)), sources)
    time_ns = _prices(table.table("time_ns", time_keys(terms)), sources)
    priced = {
        term.storage
        for term in terms
        if term.storage is not None and (term.price in energy_pj or term.price in time_ns)
    }
    return {
        "counts_zeros": _counts_zeros(table, priced),
        "energy_pj": energy_pj,
        "time_ns": time_ns,
        "static_mw": _optional_price(table, "static_mw", sources),
        "hops_per_packet": _optional_price(table, "hops_per_packet", sources),
        "int8_mac_pj": _optional_price(table, "int8_mac_pj", sources),
        "host_step_us": _optional_constant(table, "host_step_us", sources),
        "host": _host(table, sources),
        "neurons_on_core": _neurons_on_core(table, sources),
        "instead_pj": (
            _prices(table.table("instead_pj", _alternatives(terms)), sources)
            if "instead_pj" in table
            else {}
        ),
        "unpriced": tuple(str(entry) for entry in table.take("unpriced", list)),
    }


def _alternatives(terms: Iterable[EnergyTerm]) -> list[str]:
    """Keys of events to which an all-in energy can be attributed instead of synaptic ones."""
    return [term.price for term in terms if term.events is not EventKind.SYNAPTIC_EVENTS]


def _neurons_on_core(table: Table, sources: Mapping[str, Source]) -> Constant | None:
    found = _optional_constant(table, "neurons_on_core", sources)
    if found is not None and found.value < 1:
        raise EnergyError(
            f"{table.subject}: neurons_on_core is {found.value:g}, must be at least 1"
        )
    return found


def _host(table: Table, sources: Mapping[str, Source]) -> HostPrices | None:
    if "host" not in table:
        return None
    host = table.table("host", HOST_KEYS)
    prices = (read_price(host.table(key, PRICE_KEYS), sources) for key in HOST_KEYS)
    return HostPrices(*prices)


def _refuse_uncounted(table: Table, terms: Sequence[EnergyTerm]) -> None:
    """Raise if a price would not be part of any estimate."""
    energy_pj, time_ns = table.table("energy_pj"), table.table("time_ns")
    for term in terms:
        if term.price in time_ns and not term.timed:
            raise EnergyError(
                f"{table.subject}: time_ns: '{term.price}' is a price per event of an input; "
                "inputs occupy no core, so their events take no time"
            )
        if term.per_hop is not None and term.per_hop in energy_pj:
            for needed, there in ((term.price, energy_pj), ("hops_per_packet", table)):
                if needed not in there:
                    raise EnergyError(
                        f"{table.subject}: energy_pj: '{term.per_hop}' is added for every hop of a "
                        f"'{term.price}', but '{needed}' is missing"
                    )


def _refuse_double_counting(
    profile: HardwareProfile, subject: str, terms: Iterable[EnergyTerm]
) -> None:
    """Raise if costs that an all-in constant already includes have prices, too."""
    synaptic = {term.price for term in terms if term.events is EventKind.SYNAPTIC_EVENTS} | {MAC}
    for level in LEVELS:
        charged = {
            name: price.at(level)
            for name, price in profile.energy_pj.items()
            if price.at(level).value > 0
        }
        for name, constant in charged.items():
            if constant.source.all_in and (others := set(charged) - synaptic):
                raise EnergyError(
                    f"{subject}: {level} '{name}' is an all-in constant ({constant.source.key}), "
                    f"so {', '.join(sorted(others))} cannot be added: they would be counted twice"
                )
            static = profile.static_mw
            if constant.source.includes_static and static and static.at(level).value > 0:
                raise EnergyError(
                    f"{subject}: {level} '{name}' includes static power ({constant.source.key}), "
                    "so static_mw cannot be added: it would be counted twice"
                )
        for name, price in profile.instead_pj.items():
            parts = [key for key, part in charged.items() if not part.source.all_in]
            if parts or not price.at(level).source.all_in:
                raise EnergyError(
                    f"{subject}: {level} '{name}' of instead_pj attributes an all-in energy to "
                    f"other events, but {', '.join(parts) or 'its own source'} is not all-in"
                )


def _constant(table: Table, sources: Mapping[str, Source]) -> Constant:
    value = table.number("value")
    if not (math.isfinite(value) and value >= 0):
        raise EnergyError(f"{table.subject}: value is {value}, must be finite and not negative")
    return Constant(value, source_of(table, sources))


def read_price(table: Table, sources: Mapping[str, Source]) -> Price:
    """Read three constants and what they are for."""
    constants = {level: _constant(table.table(level, CONSTANT_KEYS), sources) for level in LEVELS}
    return Price(what=table.take("what", str), **constants)


def _optional_price(top: Table, key: str, sources: Mapping[str, Source]) -> Price | None:
    return read_price(top.table(key, PRICE_KEYS), sources) if key in top else None


def _optional_constant(top: Table, key: str, sources: Mapping[str, Source]) -> Constant | None:
    return _constant(top.table(key, CONSTANT_KEYS), sources) if key in top else None


def _prices(table: Table, sources: Mapping[str, Source]) -> dict[str, Price]:
    return {key: read_price(table.table(key, PRICE_KEYS), sources) for key in table}


def _counts_zeros(top: Table, priced: Collection[SynapseKind]) -> dict[SynapseKind, CountsZeros]:
    """One rule for each storage format that has a price or, as in version 0.1.0, one for all."""
    key = "counts_zeros"
    if any(kind in top.table(key) for kind in SynapseKind):
        forms = top.table(key, SynapseKind)
        return {
            kind: _zeros_rule(forms.table(kind, ZEROS_KEYS))
            if kind in priced or kind in forms
            else NO_RULE
            for kind in SynapseKind
        }
    return dict.fromkeys(SynapseKind, _zeros_rule(top.table(key, ZEROS_KEYS)))


def _zeros_rule(table: Table) -> CountsZeros:
    levels = {level: table.take(level, bool) for level in LEVELS}
    return CountsZeros(reason=table.take("reason", str), **levels)
