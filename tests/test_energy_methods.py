"""Published methods of estimating energy: formulas, constants, and what the command shows."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console  # noqa: TID251

from benchmarks.lemaire.__main__ import COUNTED, METHODS, NETWORKS, connection_counts, counted
from benchmarks.neurobench.networks import made_networks
from spikeport.energy import builtin_methods, estimate_by_method, estimate_energy, load_profile
from spikeport.energy.lemaire import Lemaire
from spikeport.errors import InputError
from spikeport.network import (
    BiasInjection,
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Sparse,
    SumPool2d,
    save_network,
)
from spikeport.report.energy_tables import render_methods
from spikeport.runs import EventCounts
from spikeport.simulators import assumed_counts
from tests.helpers.command import Spikeport
from tests.helpers.layout import ROOT
from tests.helpers.pages import table
from tests.helpers.strategies import networks

PAGE = (ROOT / "docs" / "energy.md").read_text("utf-8")
NETWORK = DeployedNetwork(
    (Input("x", (2, 8, 8)),),
    (
        Population("a", (4, 4, 4), vth=9, decay_v=100),
        Population("b", (10,), vth=9, bias=np.full(10, 3, np.int32)),
    ),
    (
        Conv2d("x", "a", np.full((4, 2, 3, 3), 2, np.int16), stride=(2, 2), padding=(1, 1)),
        Dense("a", "b", np.where(np.arange(640).reshape(10, 64) % 4, 2, 0).astype(np.int16)),
    ),
    (Readout("b"),),
    5,
)
COUNTS = EventCounts(
    samples=2, steps=5, spikes={"a": 30, "b": 7}, visits={"a": 640, "b": 100},
    updates={"a": 300, "b": 100}, input_events={"x": 50}, messages={"x_to_a": 50, "a_to_b": 30},
    synaptic_events={"x_to_a": 400, "a_to_b": 225},
    synaptic_events_all={"x_to_a": 400, "a_to_b": 300},
)  # fmt: skip


def terms(method: str, network: DeployedNetwork = NETWORK, counts: EventCounts = COUNTS) -> Any:
    estimate = estimate_by_method(network, counts, method)
    return {term.name: (term.events, term.energy) for term in estimate.terms}


def test_lemaire_counts_operations_addressing_and_accesses() -> None:
    def access(values: int) -> float:
        return 13.2 + 1.09e-5 * 32 * values

    mac = 3.1 + 0.1
    through = 50 * 4 * 9  # spikes x channels x taps
    queued = 50 + 30 + 30 + 7
    expected = {
        # ceil(3 / 2) x ceil(3 / 2) taps of a spike; neurons of `a` leak
        "operations": (
            50 * 4 * 4 + 640 + 30 + 640 + 300 + 100 + 7,
            (50 * 4 * 4 + 640 + 30 + 300 + 100 + 7) * 0.1 + 640 * mac,
        ),
        "addressing": (through + 2 * 50 + 300, (through + 300) * 0.1 + 2 * 50 * mac),
        "inputs and outputs": (queued, queued * access(1000)),
        "weights": (through + 300, through * access(72) + 300 * access(640)),
        "potentials": (
            2 * (through + 640 + 300 + 100),
            2 * ((through + 640) * access(64) + (300 + 100) * access(10)),
        ),
        "biases": (100, 100 * access(10)),
    }
    found = terms("lemaire2022")
    assert found.keys() == expected.keys()
    for name, (events, energy) in expected.items():
        assert found[name] == (events, pytest.approx(energy, rel=1e-12)), name
    estimate = estimate_by_method(NETWORK, COUNTS, "lemaire2022")
    assert estimate.total == pytest.approx(sum(energy for _, energy in expected.values()))
    assert estimate.as_dict()["total_per_sample"] == estimate.total / 2


def test_the_memory_price_is_the_line_through_three_memories() -> None:
    slope, base = np.polyfit(np.array([8e3, 32e3, 1e6]) * 8, [10, 20, 100], 1)
    for name in METHODS:
        prices = builtin_methods()[name].formula
        assert isinstance(prices, Lemaire)
        assert prices.memory_base_pj == pytest.approx(base, abs=0.05)
        assert prices.memory_per_bit_pj == pytest.approx(slope, abs=0.005e-5)


def test_operations_are_events_on_weights_that_are_not_zero() -> None:
    assert terms("operations-fp32") == {"accumulations": (625, pytest.approx(625 * 0.9))}
    assert terms("operations-int8") == {"accumulations": (625, pytest.approx(625 * 0.03))}
    graded = NETWORK.replace(inputs=(Input("x", (2, 8, 8), Coding.GRADED, 0, 9),))
    assert terms("operations-fp32", graded) == {
        "multiply-accumulates": (400, pytest.approx(400 * 4.6)),
        "accumulations": (225, pytest.approx(225 * 0.9)),
    }


def test_rates_count_borders_and_zero_weights() -> None:
    synops = 50 / 128 * 64 * 18 + 30 * 10
    assert terms("keras-spiking-loihi") == {
        "synaptic operations": (pytest.approx(synops), pytest.approx(synops * 27.1)),
        "neurons": (740, pytest.approx(740 * 81)),
    }


def test_a_bias_that_is_injected_is_read_like_one_of_the_network() -> None:
    def network(coding: Coding) -> DeployedNetwork:
        return DeployedNetwork(
            (Input("x", (3,)), Input("b", (10,), coding)),
            (Population("a", (10,), vth=9),),
            (
                Dense("x", "a", np.full((10, 3), 2, np.int16)),
                BiasInjection("b", "a")
                if coding is Coding.BIAS
                else Dense("b", "a", np.full((10, 10), 2, np.int16)),
            ),
            (Readout("a"),),
            5,
        )

    injected, without = network(Coding.BIAS), network(Coding.SPIKES)
    counts = assumed_counts(injected, 0.5)
    visits = counts.visits["a"]
    assert terms("lemaire2022", injected, counts)["biases"] == (
        visits, pytest.approx(visits * (13.2 + 1.09e-5 * 32 * 10)),
    )  # fmt: skip
    assert "biases" not in terms("lemaire2022", without, assumed_counts(without, 0.5))


@given(networks(), st.integers(2, 9), st.sampled_from(sorted(builtin_methods())))
def test_energy_is_proportional_to_events(
    network: DeployedNetwork, factor: int, method: str
) -> None:
    once = assumed_counts(network, 0.2, samples=5)
    scaled: Any = {
        name: {part: factor * number for part, number in getattr(once, name).items()}
        for name in EventCounts.SCOPES
    }
    many = dataclasses.replace(once, **scaled)
    one, other = (estimate_by_method(network, counts, method) for counts in (once, many))
    assert other.total == pytest.approx(factor * one.total)
    parts = {part.name for part in network.weighted_connections}
    parts |= {part.name for part in network.populations}
    for term in one.terms:
        assert set(term.by_part) <= parts
        assert term.energy >= 0
        assert term.events >= 0


def test_what_a_method_does_not_cover_is_said() -> None:
    network = DeployedNetwork(
        (Input("x", (1, 4, 4), Coding.GRADED, 0, 3),),
        (Population("a", (1, 2, 2), vth=9, decay_u=7), Population("b", (4,), vth=9)),
        (
            Conv2d("x", "a", np.full((1, 1, 1, 1), 2, np.int16), pool=SumPool2d((2, 2), (2, 2))),
            Sparse.from_matrix("a", "b", 2 * np.eye(4, dtype=np.int16)),
        ),
        (Readout("b"),),
        3,
    )
    counts = assumed_counts(network, 0.5)
    assert estimate_by_method(network, counts, "lemaire2022").notes == (
        "Input 'x' is graded: its values are multiplied in every step.",
        "'a_to_b' is sparse: each stored synapse is one weight, without its index.",
        "The sum-pool of 'x_to_a' costs nothing; its spikes are counted before it.",
        "'a' has a synaptic current, a second state: counted once.",
    )
    assert estimate_by_method(network, counts, "operations-int8").notes == ()
    assert estimate_by_method(network, counts, "keras-spiking-loihi").notes == (
        "Input 'x' is graded: a value that is not 0 is counted as a spike.",
        "The mean rate before the sum-pool of 'x_to_a' is taken for its sums, as for an average "
        "pool; each spike reaches the weights behind it.",
    )
    digits = network.replace(inputs=(Input("x", (1, 4, 4), Coding.BINARY, 0, 3),))
    for name in builtin_methods():
        assert estimate_by_method(digits, counts, name).notes[0] == (
            "Input 'x' sends binary digits: each is counted as a spike."
        )
    assert (
        terms("lemaire2022", network, counts)["weights"][0]
        == counts.total("synaptic_events_all")
        - counts.synaptic_events_all["x_to_a"]
        + counts.messages["x_to_a"]
    )


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        estimate_by_method(NETWORK, COUNTS, "lemaire22")
    assert str(refused.value) == (
        "energy: method 'lemaire22' is unknown; did you mean 'lemaire2022'?; there are "
        + ", ".join(builtin_methods())
    )


@pytest.mark.parametrize("name", builtin_methods())
def test_every_method_states_source_conditions_and_certainty(name: str) -> None:
    stated = estimate_by_method(NETWORK, COUNTS, name).as_dict()
    for key in ("source", "url", "conditions", "certainty"):
        assert stated[key]
    (row,) = (
        row
        for row in table(PAGE, "method", "formula", "what it includes")
        if row["method"].strip("`") == name
    )
    assert row["formula"]


def test_the_table_fits_80_columns() -> None:
    estimates = [estimate_by_method(NETWORK, COUNTS, name) for name in builtin_methods()]
    screen = Console(file=io.StringIO(), width=80, color_system=None)
    screen.print(render_methods(estimates))
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for estimate in estimates:
        assert f"{estimate.method.title} ({estimate.method.name})" in text
        assert f"{estimate.method.name}: " in text


def test_the_command_shows_methods_beside_the_profile_and_changes_nothing(
    tmp_path: Path, spikeport: Spikeport
) -> None:
    path = tmp_path / "net.spikeport"
    save_network(NETWORK, path)
    given_to_it = ["energy", str(path), "--activity", "0.2"]
    plain = json.loads(spikeport(*given_to_it, "--json")[1])
    chosen = ["--method", "lemaire2022", "--method", "operations-fp32"]
    both = json.loads(spikeport(*given_to_it, *chosen, "--json")[1])
    assert [one["method"] for one in both.pop("methods")] == ["lemaire2022", "operations-fp32"]
    assert both == plain
    everything = json.loads(spikeport(*given_to_it, "--method", "all", "--json")[1])
    assert [one["method"] for one in everything["methods"]] == [*builtin_methods()]
    counts = assumed_counts(NETWORK, 0.2)
    assert (
        plain["total"] == estimate_energy(NETWORK, counts, load_profile("loihi1")).total.as_dict()
    )
    shown = spikeport(*given_to_it, "--method", "lemaire2022")[1]
    assert "The same events by other methods, per sample" in shown


@pytest.mark.parametrize("name", NETWORKS)
def test_totals_are_those_compared_with_qualia(name: str) -> None:
    network = made_networks()[name]
    (row,) = (row for row in table(PAGE, "network", *METHODS) if row["network"] == name)
    for method in METHODS:
        estimate = estimate_by_method(network, counted(network), method)
        assert f"{estimate.total / 1e3:,.3f}" == row[method]


@pytest.mark.parametrize("name", COUNTED)
def test_counts_compared_with_spikingjelly_are_those_of_the_terms(name: str) -> None:
    network = made_networks()[name]
    counts = counted(network)
    each = [connection_counts(part, counts) for part in network.weighted_connections]
    found = terms("lemaire2022", network, counts)

    def total(*keys: str) -> int:
        return sum(one[key] for one in each for key in keys)

    assert found["weights"][0] == total("weights")
    assert found["addressing"][0] == total(
        "addressing, additions", "addressing, multiply-accumulates"
    )
    assert found["potentials"][0] == total("potentials read", "potentials written") + 2 * (
        counts.total("visits")
    )
    assert found["inputs and outputs"][0] == total("inputs") + counts.total("spikes")
