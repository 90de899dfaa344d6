"""Tables for the terminal, built from plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spikeport.network import AnyPopulation, DeployedNetwork, WeightedConnection, weighted_among
from spikeport.parity import Gate, GateOutcome
from spikeport.report.screen import Table, lines, plain
from spikeport.runs import EventCounts

if TYPE_CHECKING:
    from spikeport.backends import TargetCheck, UnsupportedFeature
    from spikeport.export import Portability
    from spikeport.simulators import LayerErrors


def facts_table(title: str, facts: Mapping[str, Any]) -> Table:
    """Two columns: name and value."""
    table = Table(title, header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in facts.items():
        text = "–" if value is None else str(value)
        if isinstance(value, float) and value:
            text = f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4g}"
        table.add_row(name.replace("_", " "), text)
    return table


def layers_table(
    title: str, errors: Sequence[LayerErrors], before: Mapping[str, float] | None = None
) -> Table:
    """Thresholds and relative errors of converted layers, a row for each.

    Args:
        before: thresholds before they were searched, by layer; empty if they were not.
    """
    table = Table(title)
    table.add_column("layer")
    searched = ("searched from",) if before else ()
    errors_of = ("quantization", "deviation", "total", "σ / threshold")
    for name in ("threshold", *searched, *errors_of, "saturated", "rate"):
        table.add_column(name, justify="right")
    for each in errors:
        found = each.relative
        sizes = (found.quantization, found.deviation, found.total, found.input_sigma)
        table.add_row(
            each.layer,
            f"{each.v_threshold:.3f}",
            *(number_cell((before or {}).get(each.layer)) for _ in searched),
            *map(number_cell, sizes),
            f"{100 * each.saturated:.1f} %",
            f"{each.rate:.3f}",
        )
    return table


def number_cell(value: float | None) -> str:
    """Three decimals, a dash for none."""
    return "–" if value is None else f"{value:.3f}"


def counts_table(counts: EventCounts) -> Table:
    """Spikes per population and events per connection."""
    table = Table("Events")
    table.add_column("part")
    for name in ("spikes", "updates", "messages", "synaptic events", "with zero weights"):
        table.add_column(name, justify="right")
    for name, spikes in counts.spikes.items():
        table.add_row(name, f"{spikes:,}", f"{counts.updates[name]:,}", "", "", "")
    for name, messages in counts.messages.items():
        events, stored = counts.synaptic_events[name], counts.synaptic_events_all[name]
        table.add_row(name, "", "", f"{messages:,}", f"{events:,}", f"{stored:,}")
    return table


def populations_tables(network: DeployedNetwork) -> list[Table]:
    """Dynamics of each population, in chip integers; a table for each neuron model."""
    parts = {name: network.by_name[name] for name in network.order}
    models = list(dict.fromkeys(part.MODEL for part in parts.values()))
    tables = []
    for model in models:
        table = Table("Populations" if len(models) == 1 else f"Populations of {model} neurons")
        rows = {name: _dynamics(part) for name, part in parts.items() if model == part.MODEL}
        for column in ("name", "shape", *next(iter(rows.values()))):
            table.add_column(column)
        for name, row in rows.items():
            table.add_row(name, "x".join(map(str, parts[name].shape)), *row.values())
        tables.append(table)
    return tables


def _dynamics(part: AnyPopulation) -> dict[str, str]:
    """The fields of a population except name, shape and scale, by column."""
    names = [item.name for item in dataclasses.fields(part)]  # type: ignore[arg-type]
    shown = {name: str(getattr(part, name)) for name in names}
    shown["bias"] = f"{part.bias.min()}..{part.bias.max()} << {part.bias_exponent}"
    for name in ("name", "shape", "bias_exponent", "scale"):
        del shown[name]
    return {name.replace("_", " "): text for name, text in shown.items()}


def connections_table(network: DeployedNetwork) -> Table:
    """Connections with their weights' shape and range."""
    table = Table("Connections")
    for name in ("name", "kind", "from", "to", "weights", "range", "exp", "bits", "delay", "pool"):
        table.add_column(name)
    weights = {part.name: _weights_row(part) for part in weighted_among(network.connections)}
    for part in network.connections:
        kind = type(part).__name__
        table.add_row(part.name, kind, part.source, part.target, *weights.get(part.name, ()))
    return table


def _weights_row(part: WeightedConnection) -> tuple[str, ...]:
    pool = "x".join(map(str, part.pool.kernel_size)) if part.pool else ""
    spread = f"{part.weight.min()}..{part.weight.max()}"
    numbers = (part.exponent, part.weight_bits, part.delay)
    return (part.extent, spread, *map(str, numbers), pool)


def backends_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Backends with version, or reason and fix."""
    table = Table("Backends")
    for name in ("name", "description", "networks", "version, or reason"):
        table.add_column(name)
    for row in rows:
        broken = lines([row["reason"], plain(row["fix"], "bold")])
        table.add_row(row["name"], row["what"], row["takes"], row["version"] or broken)
    return table


def limitations_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Features that backends and chips do not support natively."""
    table = Table("Not supported natively (`spikeport check NETWORK` checks one network)")
    table.add_column("name")
    table.add_column("unsupported")
    for row in rows:
        table.add_row(row["name"], lines(row["limitations"] or ["nothing"]))
    return table


def fidelity_table(found: Portability) -> Table:
    """What a reader makes of each node."""
    table = Table(f"{found.version}: {found.word}")
    for name in ("node", "type", "word", "cause", "remedy"):
        table.add_column(name)
    for one in found.nodes:
        style = {"approximate": "bold", "unsupported": "bold red"}.get(one.word, "")
        table.add_row(one.node, one.type, str(one.word), one.cause, one.remedy, style=style)
    return table


def readers_table(found: Sequence[Portability]) -> Table:
    """The worst word of each reader, and the nodes that have it."""
    table = Table("Read by others (`spikeport export --for NAME` writes for one of them)")
    for name in ("reader", "word", "nodes"):
        table.add_column(name)
    for one in found:
        names = [node.node for node in one.concerned]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        table.add_row(one.reader, str(one.word), ", ".join(names[:8]) + more)
    return table


def gate_table(gate: Gate) -> Table:
    """Every check of a gate with its value and limit."""
    table = Table(f"Gate: {gate.summary}")
    for name in ("run", "check", "value", "limit", "result", "details"):
        table.add_column(name)
    styles = {
        GateOutcome.FAILED: "bold red",
        GateOutcome.TOLERATED: "bold",
        GateOutcome.INCONCLUSIVE: "bold",
    }
    for suite in gate.suites:
        for case in suite.cases:
            row = suite.name, case.name, case.value, case.limit, str(case.outcome), case.details
            table.add_row(*row, style=styles.get(case.outcome, ""))
    return table


def unsupported_table(found: TargetCheck) -> Table:
    """What one target does not support of a network; what stops it comes first.

    Parts that exceed a limit by the same value share a row.
    """
    count, stopping = len(found.unsupported), sum(one.stops for one in found.unsupported)
    beyond = f"{count} exceeded limit{'' if count == 1 else 's'}"
    verdict = f"CANNOT RUN IT, stopped by {stopping} of {beyond}"
    table = Table(f"{found.target}: {f'runs it, with {beyond}' if found.runs else verdict}")
    for name in ("part", "value and limit", "what to do"):
        table.add_column(name)
    alike: dict[UnsupportedFeature, list[str]] = {}
    for one in sorted(found.unsupported, key=lambda one: not one.stops):
        alike.setdefault(dataclasses.replace(one, part=""), []).append(one.part)
    for one, parts in alike.items():
        part = lines([*parts, plain("stops it", "bold")] if one.stops else parts)
        limit = f"limit: {_thousands(one.limit)}{'' if one.verified else ' *'}"
        values = lines([f"{one.quantity}: {_thousands(one.value)}", limit])
        style = "bold red" if one.stops else ""
        table.add_row(part, values, one.remedy, style=style)
    return table


def sources_line(found: TargetCheck) -> str:
    """The sources of the limits, each with what it limits."""
    named: dict[str, list[str]] = {}
    for one in found.unsupported:
        star = "" if one.verified else "*"
        named.setdefault(one.source, []).append(f"{one.quantity}{star}")
    told = "; ".join(
        f"{source} ({', '.join(dict.fromkeys(names))})" for source, names in named.items()
    )
    starred = any(not one.verified for one in found.unsupported)
    return f"limits from {told}" + ("; * not verified there" if starred else "")


def _thousands(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
