"""An energy estimate for a terminal of 80 columns; the caller prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spikeport.energy import LEVELS, DeviceComparison, EnergyReport, Interval, MethodEstimate
from spikeport.report.screen import Renderable, Table, lines, plain, stack
from spikeport.report.units import (
    format_count,
    format_edp,
    format_energy,
    format_percent,
    format_range,
    format_short,
    format_time,
)
from spikeport.text import quoted

MOST_LAYERS = 40
"""More layers than this are left to JSON."""


def render_energy(name: str, estimate: EnergyReport, *, details: bool = False) -> Renderable:
    """The terms of one estimate with its range, its warnings and what it does not include.

    Args:
        details: also show time, layers, other devices and what would lower the energy.
    """
    title = f"Energy per sample, {name} on {estimate.profile.title}: an estimate"
    parts: list[Renderable] = [plain(title, "bold"), _terms(estimate)]
    if details:
        parts += _details(estimate)
    return stack(*parts, _notes(estimate))


def render_methods(estimates: Sequence[MethodEstimate]) -> Renderable:
    """What published methods give for the same events, each with its terms."""
    table = Table("The same events by other methods, per sample", framed=False)
    table.add_column("Method and terms")
    for name in ("events", "energy"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in estimates:
        each = format_energy(one.total / one.samples)
        table.add_row(f"{one.method.title} ({one.method.name})", "", each, style="bold")
        for term in one.terms:
            events, energy = term.events / one.samples, term.energy / one.samples
            table.add_row(f"  {term.name}", format_count(events), format_energy(energy))
    notes = [
        "Each has prices and boundaries of its own, which are not those of the profile: compare "
        "networks by one method, not methods with each other."
    ]
    for one in estimates:
        method = one.method
        notes.append(f"{method.name}: {method.source.conditions}. Confirmed: {method.certainty}.")
        notes += [f"! {note}" for note in one.notes]
    return stack(table, lines([*notes, ""], "dim"))


def _details(estimate: EnergyReport) -> Iterator[Renderable]:
    yield stack(*(plain(sentence) for sentence in estimate.summary))
    yield ""
    yield _quantities(estimate)
    if len(estimate.by_layer) <= MOST_LAYERS:
        yield _layers(estimate)
    if estimate.comparisons:
        yield _devices(estimate)


def _levels(first: str, *, events: bool = False) -> Table:
    table = Table(framed=False)
    table.add_column(first)
    if events:
        table.add_column("events", justify="right", no_wrap=True)
    for level in LEVELS:
        table.add_column(level, justify="right", no_wrap=True)
    return table


def _energies(interval: Interval) -> list[str]:
    return [format_energy(interval.at(level)) for level in LEVELS]


def _terms(estimate: EnergyReport) -> Table:
    each = estimate.per_sample
    table = _levels("Term", events=True)
    for term in estimate.terms:
        events = "" if term.events is None else format_count(each(term.events).nominal)
        table.add_row(term.name, events, *_energies(each(term.energy)))
    if estimate.graded_macs:
        events = format_count(sum(estimate.graded_macs.values()) / estimate.samples)
        energies = _energies(each(estimate.graded_input))
        table.add_row("of which MACs of graded input", events, *energies, style="dim")
    table.add_row("dynamic", "", *_energies(each(estimate.dynamic)))
    table.add_row("total", "", *_energies(each(estimate.total)), style="bold")
    for term in estimate.host:
        table.add_row(term.name, "", *_energies(each(term.energy)), style="dim")
    if estimate.with_host is not None:
        table.add_row("with a host in every step", "", *_energies(each(estimate.with_host)))
    for name, number in estimate.input_values.items():
        events = format_count(number / estimate.samples)
        table.add_row(f"values sent to {name} by a host", events, "no price", "", "", style="dim")
    return table


def _quantities(estimate: EnergyReport) -> Table:
    """Time, throughput, and the total per step and per correct answer."""
    table = _levels("Per sample" if not estimate.profile.time_ns else "Time and totals")
    if estimate.profile.time_ns:
        for label, time in _times(estimate):
            table.add_row(label, *(format_time(time.at(level)) for level in LEVELS))
        rates = (1e9 / estimate.per_sample(estimate.time_ns).at(level) for level in LEVELS)
        table.add_row("samples per second", *(format_count(round(rate)) for rate in rates))
        products = (estimate.edp.at(level) for level in LEVELS)
        table.add_row("energy x delay", *map(format_edp, products))
    table.add_row("total, per step", *_energies(estimate.per_step(estimate.total)))
    if (each := estimate.per_correct_answer) is not None:
        rate = format_percent(estimate.accuracy or 0.0)
        table.add_row(f"total, per correct answer ({rate})", *_energies(each))
    return table


def _times(estimate: EnergyReport) -> Iterator[tuple[str, Interval]]:
    yield f"a step, set by {', '.join(estimate.slowest)}", estimate.step_ns
    yield "a sample", estimate.per_sample(estimate.time_ns)
    if estimate.host_time_ns is not None:
        whole = estimate.per_sample(estimate.host_time_ns)
        yield "a sample, with a host", whole


def _layers(estimate: EnergyReport) -> Table:
    table = _levels("Layer, with connections to it")
    for name, energy in estimate.by_layer.items():
        cores = estimate.cores.get(name)
        label = name if cores is None else f"{name} ({cores} core{'s' if cores > 1 else ''})"
        table.add_row(label, *_energies(estimate.per_sample(energy)))
    return table


def _devices(estimate: EnergyReport) -> Renderable:
    what = "The same layers as an ordinary network (ANN)"
    if estimate.ann_macs is not None:
        what = "The ANN that the network was converted from"
    table = Table(f"{what}, one pass", framed=False)
    table.add_column("on")
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("energy", justify="right", no_wrap=True)
    table.add_column(lines(["cheaper", "below, MACs"]), justify="right", no_wrap=True)
    per = ["spikes per", "synapse"] if estimate.ann_macs is None else ["events", "per MAC"]
    table.add_column(lines(per), justify="right", no_wrap=True)
    for one in estimate.comparisons:
        table.add_row(
            one.device.title,
            str(one.bits),
            format_range(one.ann) if one.ann.low < one.ann.high else format_energy(one.ann.low),
            format_short(one.macs.nominal),
            _break_even(one),
        )
    cost = estimate.cost
    macs, rate = format_count(cost.macs), f"{cost.synaptic_events / cost.macs:.3g}"
    if estimate.ann_macs is None:
        this = f"one of its {macs} MACs unless the spikes per synapse and sample (here {rate})"
    else:
        this = f"the one of {macs} MACs unless the synaptic events per MAC (here {rate})"
    return stack(
        table,
        plain(
            f"Nominal: an ANN of fewer MACs costs less than this network, and so does {this} are "
            f"below the last column. {_own_macs(estimate)}{_batches(estimate)}",
            "dim",
        ),
        "",
    )


def _own_macs(estimate: EnergyReport) -> str:
    """The MACs of the network's own layers, where they are not those of the ANN."""
    if estimate.ann_macs in (None, estimate.macs):
        return ""
    return f"The network's own layers have {format_count(estimate.macs)} MACs. "


def _batches(estimate: EnergyReport) -> str:
    """The batch size, and others with their devices."""
    titles: dict[str, list[str]] = {}
    for one in estimate.comparisons:
        if one.device.batch.partition(",")[0] != "1":
            titles.setdefault(one.device.batch, []).append(one.device.title)
    others = [f"{batch} ({', '.join(map(quoted, found))})" for batch, found in titles.items()]
    return f"{'; '.join(['Batch size 1', *others])}."


def _break_even(one: DeviceComparison) -> str:
    rate = one.spikes_per_synapse.nominal
    return "never" if rate is None else format_short(rate)


def _notes(estimate: EnergyReport) -> Renderable:
    notes = [f"! {warning}" for warning in estimate.warnings]
    notes.append(f"Not included: {', '.join(estimate.unpriced)}.")
    return lines([*notes, ""], "dim")
