"""`target.toml`: the limits and the prices of one chip, every number with its source.

    schema = 2
    name = "mychip"
    title = "My chip, 22 nm"

    [limits]
    neurons = { value = 4096, source = "datasheet", verified = true }

    [sources.datasheet]
    citation = "..."
    url = "..."
    basis = "published"
    conditions = "..."
    includes_static = false

    [prices]  # or, at the top: no_prices = "why there are none"
    ...

For a complete example see `backends/targets/loihi1/target.toml`. `[prices]` is read by
`spikeport.energy`; it requires the limits `cores`, `neurons_per_core` and `graded_payloads`. A chip
of other widths than Loihi's names the `Arithmetic` of its networks: `arithmetic = "mychip"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeport.checks import NAME_RULE, is_name
from spikeport.errors import FileMissingError, SettingsError
from spikeport.hardware.limits import ChipLimits, read_limits
from spikeport.hardware.sources import Source, read_sources
from spikeport.network import LOIHI
from spikeport.plugins import Plugin
from spikeport.storage import parse_toml, read_text
from spikeport.storage.toml_table import Table
from spikeport.text import quoted

SCHEMA = 2
"""Schema 1 is a file of prices only, as in version 0.1.0."""
FILE = "target.toml"
TOP_KEYS = ("schema", "name", "title", "arithmetic", "limits", "sources", "prices", "no_prices")


@dataclass(frozen=True, slots=True)
class TargetFile:
    """The content of a `target.toml`.

    Attributes:
        arithmetic: name of the arithmetic of networks that the chip is made for.
        prices: not checked yet; None if there are none, in which case `no_prices` gives the reason.
    """

    name: str
    title: str
    arithmetic: str
    limits: ChipLimits
    sources: Mapping[str, Source]
    prices: Mapping[str, Any] | None
    no_prices: str


def target_text(plugin: Plugin) -> str:
    """The text of a registered target's `target.toml`; its code is not imported.

    Raises:
        InputError: the file is missing or cannot be read.
        BackendUnavailableError: the target's entry point does not name a package.
    """
    path = plugin.folder() / FILE
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise FileMissingError(f"{plugin}: '{path}' cannot be read: {error}") from error


def read_target(plugin: Plugin) -> TargetFile:
    """Read the file of a registered target.

    Raises:
        InputError: it cannot be read, breaks a rule, or is that of another target.
        BackendUnavailableError: the target's entry point does not name a package.
    """
    file = parse_target(parse_toml(target_text(plugin), str(plugin)), str(plugin))
    if file.name != plugin.name:
        raise SettingsError(f"{plugin}: {FILE} has the name '{file.name}', must be '{plugin.name}'")
    return file


def parse_target(raw: Mapping[str, Any], subject: str) -> TargetFile:
    """Read a target from parsed TOML; `subject` begins every error message.

    Raises:
        InputError: an unknown or missing key, a limit without source, prices and `no_prices`.
    """
    top = Table(raw, subject, TOP_KEYS)
    if (schema := top.take("schema", int)) != SCHEMA:
        raise SettingsError(f"{subject}: schema is {schema}, a target's is {SCHEMA}")
    if ("prices" in top) == ("no_prices" in top):
        raise SettingsError(
            f"{subject}: must have either [prices] or no_prices, the reason for none"
        )
    sources = read_sources(top.table("sources"))
    return TargetFile(
        name=top.take("name", str),
        title=top.take("title", str),
        arithmetic=stated_arithmetic(top),
        limits=read_limits(top.table("limits"), sources),
        sources=sources,
        prices=top.take("prices", dict) if "prices" in top else None,
        no_prices="" if "prices" in top else top.take("no_prices", str),
    )


def stated_arithmetic(top: Table) -> str:
    """The name under the optional key `arithmetic`, by default Loihi's.

    Raises:
        InputError: it is not a name.
    """
    if "arithmetic" not in top:
        return LOIHI.name
    if not is_name(name := top.take("arithmetic", str)):
        raise SettingsError(f"{top.subject}: arithmetic {quoted(name)} must be {NAME_RULE}")
    return name
