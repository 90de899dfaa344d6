"""Devices that an ordinary network (ANN) could run on instead, as data: `devices.toml`.

The energy of a multiply-accumulate (MAC) includes the memory accesses that it causes. It is stated
as one price, or in parts, for activations of any width b:

    e_mac(b) = e_multiply b / 8 + e_add + e_weight + e_activation b / 8
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spikeport.energy.interval import ZERO, Interval
from spikeport.energy.prices import Price
from spikeport.energy.profile import PRICE_KEYS, read_price
from spikeport.errors import EnergyError, FileMissingError
from spikeport.hardware import Source, read_sources
from spikeport.storage import parse_toml, read_text
from spikeport.storage.toml_table import Table
from spikeport.text import quoted

SCHEMA = "spikeport.devices/1"
FILE = Path(__file__).parent / "devices.toml"
PARTS = ("multiply_pj", "add_pj", "weight_pj", "activation_pj")
PER_BIT = ("multiply_pj", "activation_pj")
DEVICE_KEYS = ("title", "bits", "batch", "mac_pj", *PARTS)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that runs an ordinary network.

    Attributes:
        bits: of activations; 0 for the ceil(log2(T + 1)) that match a spike count of T steps.
        batch: samples at once, in words.
        prices: of one MAC in pJ: `mac_pj`, or its parts for activations of 8 bits.
    """

    name: str
    title: str
    bits: int
    batch: str
    prices: Mapping[str, Price]

    @property
    def source(self) -> Source:
        """Source of the nominal price, or of its first part."""
        return next(iter(self.prices.values())).nominal.source

    def bits_for(self, steps: int) -> int:
        """Bits of an activation, for a comparison with `steps` steps."""
        return self.bits or math.ceil(math.log2(steps + 1))

    def mac_pj(self, steps: int) -> Interval:
        """Energy of a MAC in pJ."""
        share = self.bits_for(steps) / 8
        parts = (
            price.interval * (share if name in PER_BIT else 1)
            for name, price in self.prices.items()
        )
        return sum(parts, ZERO)


@cache
def builtin_devices() -> tuple[Device, ...]:
    """The devices that come with Spikeport."""
    return load_devices(FILE)


def load_devices(path: str | Path) -> tuple[Device, ...]:
    """Read the devices of a TOML file such as `spikeport/energy/devices.toml`.

    Raises:
        InputError: it cannot be read; an unknown or missing key; a price without a source; a device
            with neither or both of a price per MAC and its parts.
    """
    subject = f"devices '{path}'" if path != FILE else "devices"
    try:
        raw = parse_toml(read_text(Path(path)), subject)
    except (OSError, UnicodeDecodeError) as error:
        raise FileMissingError(f"{subject}: cannot be read: {error}") from error
    top = Table(raw, subject, ("schema", "sources", "devices"))
    if (schema := top.take("schema", str)) != SCHEMA:
        raise EnergyError(f"{subject}: schema is {quoted(schema)}, this version reads '{SCHEMA}'")
    sources = read_sources(top.table("sources"))
    listed = top.table("devices")
    return tuple(_device(name, listed.table(name, DEVICE_KEYS), sources) for name in listed)


def _device(name: str, table: Table, sources: Mapping[str, Source]) -> Device:
    keys = ("mac_pj",) if "mac_pj" in table else PARTS
    if "mac_pj" in table and (parts := [key for key in PARTS if key in table]):
        raise EnergyError(
            f"{table.subject}: '{parts[0]}' is a part of 'mac_pj', must not be beside"
        )
    bits = table.take("bits", int)
    if not 0 <= bits <= 64:
        raise EnergyError(f"{table.subject}: bits is {bits}, must lie in 0..64")
    if bits == 0 and keys != PARTS:
        raise EnergyError(f"{table.subject}: bits is 0 (matched), needs {', '.join(PARTS)}")
    prices = {key: read_price(table.table(key, PRICE_KEYS), sources) for key in keys}
    return Device(name, table.take("title", str), bits, table.take("batch", str), prices)
