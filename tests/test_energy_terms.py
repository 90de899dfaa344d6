"""One row in the table of terms is all that a new term of the energy takes."""

from __future__ import annotations

import ast
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from rich.console import Console  # noqa: TID251

from spikeport.energy import (
    LEVELS,
    TERMS,
    ConnectionInfo,
    EnergyReport,
    EnergyTerm,
    EventKind,
    HardwareProfile,
    SynapseKind,
    Topology,
    estimate_energy,
)
from spikeport.energy.profile import parse_profile
from spikeport.energy.terms import STATIC_COLOUR, STATIC_POWER
from spikeport.errors import InputError
from spikeport.parity import ParityReport
from spikeport.report.document import document_of
from spikeport.report.energy_tables import render_energy
from spikeport.report.html import render_html
from spikeport.runs import EventCounts
from spikeport.trainer.energy.model import energy_model
from spikeport.trainer.measure.events import Delivery, FanOut

ROOT = Path(__file__).parent.parent
PRICES = {"synapse_dense": 5.0, "visit": 0.5, "update": 0.25, "fire": 2.0, "packet": 3.0}
NEW = "a further term"

TOPOLOGY = Topology({"x_to_p": ConnectionInfo(SynapseKind.DENSE, "x", "p")})
STEPS = 4
# Of the three inputs two send messages, 3 in all, to 2 neurons each; one of 4 synapses is zero.
RATES = {"x": torch.tensor([[0.5, 0.25, 0.0]]), "p": torch.tensor([[0.25, 0.5]])}
REACHED = FanOut(torch.tensor([2, 1, 2]), torch.tensor([2, 2, 2]))
COUNTS = EventCounts(
    samples=1,
    steps=STEPS,
    spikes={"p": 3},
    visits={"p": 8},
    updates={"p": 5},
    input_events={"x": 3},
    messages={"x_to_p": 3},
    synaptic_events={"x_to_p": 5},
    synaptic_events_all={"x_to_p": 6},
)
NO_TIMES: Mapping[str, float] = {}
EVENTS = {
    EventKind.VISITS: 8,
    EventKind.UPDATES: 5,
    EventKind.SPIKES: 3,
    EventKind.INPUT_EVENTS: 3,
    EventKind.MESSAGES: 3,
    EventKind.SYNAPTIC_EVENTS: 6,  # the nominal level charges zeros
}


def row(events: EventKind) -> EnergyTerm:
    return EnergyTerm(NEW, events, "further", "c8")


def profile(
    table: tuple[EnergyTerm, ...],
    prices: dict[str, float],
    times: Mapping[str, float] = NO_TIMES,
    basis: str = "assumed",
) -> HardwareProfile:
    """Read from TOML, with zeros charged at the nominal and the high level."""
    priced = "\n".join(
        f"[{unit}.{key}]\nwhat = '{key}'\n"
        + "\n".join(f"{level} = {{ value = {value}, source = 's' }}" for level in LEVELS)
        for unit, given in (("energy_pj", prices), ("time_ns", times))
        for key, value in given.items()
    )
    text = f"""
schema = 1
name = "chip"
title = "A chip"
cores = 4
neurons_per_core = 8
graded_payloads = true
unpriced = []
[counts_zeros]
low = false
nominal = true
high = true
reason = "test"
[sources.s]
citation = "nobody"
url = ""
basis = "{basis}"
conditions = "test"
includes_static = false
[time_ns]
{priced}
"""
    return parse_profile(text, "profile 'test'", table)


def with_row(events: EventKind) -> tuple[tuple[EnergyTerm, ...], HardwareProfile]:
    table = (*TERMS, row(events))
    return table, profile(table, PRICES | {"further": 7.0})


def estimate(events: EventKind) -> EnergyReport:
    table, priced = with_row(events)
    return estimate_energy(TOPOLOGY, COUNTS, priced, table=table)


@pytest.mark.parametrize("events", EventKind)
def test_a_row_is_priced_by_the_profile_and_estimated(events: EventKind) -> None:
    (found,) = [term for term in estimate(events).terms if term.name == NEW]
    assert found.events is not None
    assert (found.events.nominal, found.energy.nominal) == (EVENTS[events], EVENTS[events] * 7.0)
    low = 5 if events is EventKind.SYNAPTIC_EVENTS else EVENTS[events]
    assert found.energy.low == low * 7.0
    without = estimate_energy(TOPOLOGY, COUNTS, with_row(events)[1])
    assert estimate(events).dynamic.nominal == without.dynamic.nominal + found.energy.nominal


@pytest.mark.parametrize("events", [kind for kind in EventKind if row(kind).timed])
def test_a_row_that_is_timed_counts_towards_computing_time(events: EventKind) -> None:
    topology = Topology(
        {**TOPOLOGY.connections, "p_to_p": ConnectionInfo(SynapseKind.DENSE, *"pp")}
    )
    counts = dataclasses.replace(
        COUNTS,
        messages={**COUNTS.messages, "p_to_p": 2},
        synaptic_events={**COUNTS.synaptic_events, "p_to_p": 4},
        synaptic_events_all={**COUNTS.synaptic_events_all, "p_to_p": 4},
    )
    timed = profile((*TERMS, row(events)), PRICES, {"further": 7.0})
    # A message takes time in the population that sends it, a synaptic event where it arrives.
    number = {EventKind.MESSAGES: 2, EventKind.SYNAPTIC_EVENTS: 10}.get(events, EVENTS[events])
    found = estimate_energy(topology, counts, timed, table=(*TERMS, row(events)))
    assert found.time_ns.nominal == number * 7.0


def test_a_time_of_events_of_an_input_is_refused() -> None:
    table = (*TERMS, row(EventKind.INPUT_EVENTS))
    message = "test': time_ns: 'further' is a price per event of an input; inputs occupy no core"
    with pytest.raises(InputError, match=message):
        profile(table, PRICES, {"further": 7.0})


def test_a_hop_that_would_not_be_counted_is_refused() -> None:
    with pytest.raises(InputError, match="every hop of a 'packet', but 'hops_per_packet' is mis"):
        profile(TERMS, PRICES | {"hop": 4.0})
    with pytest.raises(InputError, match="every hop of a 'packet', but 'packet' is missing"):
        profile(TERMS, {"hop": 4.0})


@pytest.mark.parametrize("events", EventKind)
def test_a_row_is_part_of_the_energy_that_training_differentiates(events: EventKind) -> None:
    table, priced = with_row(events)
    model = energy_model(
        TOPOLOGY, [Delivery("x", "x_to_p", REACHED)], {"x": (3,)}, {"p": (2,)}, STEPS, priced, table
    )
    rates = {name: rate.clone().requires_grad_() for name, rate in RATES.items()}
    energy = model(rates, {"p": 5})
    assert energy.item() == pytest.approx(estimate(events).dynamic.nominal / 1e6, rel=1e-12)
    energy.backward()  # type: ignore[no-untyped-call]
    further = {
        EventKind.SPIKES: ("p", [7.0, 7.0]),
        EventKind.INPUT_EVENTS: ("x", [7.0, 7.0, 7.0]),
        EventKind.MESSAGES: ("x", [7.0, 7.0, 7.0]),
        EventKind.SYNAPTIC_EVENTS: ("x", [14.0, 14.0, 14.0]),
    }
    slopes = {"x": [13.0, 13.0, 13.0], "p": [2.0, 2.0]}  # 2 synapses and a packet; a spike
    if events in further:
        source, more = further[events]
        slopes[source] = [sum(both) for both in zip(slopes[source], more, strict=True)]
    for name, each in slopes.items():
        gradient = rates[name].grad
        assert gradient is not None
        assert gradient[0].tolist() == pytest.approx([STEPS * slope / 1e6 for slope in each])


@pytest.mark.parametrize("events", EventKind)
def test_a_row_stands_in_tables_and_in_the_report_in_its_colour(events: EventKind) -> None:
    found = estimate(events)
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(render_energy("native", found))
    assert NEW in console.file.getvalue()  # type: ignore[attr-defined]
    report = ParityReport((), "", 0, 0, {})
    page = render_html(document_of(report, {"native": found}))
    assert f'<i class="key c8"></i>{NEW}' in page
    assert page.count(f'title="{NEW}"') == 2 * len(LEVELS)  # a segment of every stacked bar
    assert NEW not in render_html(
        document_of(report, {"native": estimate_energy(TOPOLOGY, COUNTS, PLAIN)})
    )


PLAIN = profile(TERMS, PRICES)


def test_a_price_that_belongs_to_no_row_is_refused() -> None:
    with pytest.raises(InputError, match="unknown key 'further'"):
        profile(TERMS, PRICES | {"further": 7.0})


def test_an_all_in_price_stands_beside_others_of_synaptic_events_only() -> None:
    """What a term counts decides, not the name of its key."""
    table, prices = (*TERMS, row(EventKind.SYNAPTIC_EVENTS)), {"synapse_dense": 5.0, "further": 7.0}
    assert set(profile(table, prices, basis="all-in").energy_pj) == set(prices)
    named = (*TERMS, EnergyTerm(NEW, EventKind.SPIKES, "synapse_fire", "c8"))
    with pytest.raises(InputError, match=r"'synapse_dense' is an all-in.*so synapse_fire cannot"):
        profile(named, {"synapse_dense": 5.0, "synapse_fire": 7.0}, basis="all-in")


def test_every_row_has_a_colour_of_its_own_in_the_style_sheet() -> None:
    sheet = (ROOT / "spikeport" / "report" / "page.css.j2").read_text("utf-8")
    colours = [*(term.colour for term in TERMS), STATIC_COLOUR]
    assert len(set(colours)) == len(colours)
    for colour in colours:
        assert sheet.count(f"--{colour}: #") == 2, f"{colour}: needs a light and a dark colour"
        assert f".{colour} {{ background: var(--{colour}); }}" in sheet


def test_every_storage_format_has_a_row() -> None:
    counted = [t.storage for t in TERMS if t.events is EventKind.SYNAPTIC_EVENTS]
    assert sorted(filter(None, counted)) == sorted(SynapseKind)


def test_titles_stand_in_the_table_alone() -> None:
    titles = {*(term.title for term in TERMS), STATIC_POWER}
    for folder in ("spikeport", "trainer", "backends", "export", "simulators"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "terms.py" or any(parent.is_symlink() for parent in path.parents):
                continue
            strings = {
                node.value
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            assert not strings & titles, f"{path} names a term"


def test_the_documentation_lists_the_rows() -> None:
    page = (ROOT / "docs" / "energy.md").read_text("utf-8")
    rows = [
        f"| {term.title} | {term.events.replace('_', ' ')} per {term.events.scope} "
        f"| `{term.price}`{f' + hops × `{term.per_hop}`' if term.per_hop else ''} |"
        for term in TERMS
    ]
    assert "\n".join(rows) in page
