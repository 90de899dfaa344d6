"""What each target does not support: every rule at its limit and beyond it, all at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport import check
from spikeport.backends.lava.environment import VARIABLE
from spikeport.backends.lava.schedule import schedule
from spikeport.backends.norse.nodes import SUPPORTED
from spikeport.backends.target_check import list_targets
from spikeport.backends.targets import load_target
from spikeport.energy import load_profile
from spikeport.errors import InputError
from spikeport.network import (
    BiasInjection,
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    SumPool2d,
    dense_form,
    population_bound,
    require_lif,
    save_network,
    sum_bound,
)
from spikeport.plugins import PluginKind, plugins
from spikeport.simulators import run_reference
from tests.helpers.command import call
from tests.helpers.pages import page
from tests.helpers.strategies import networks
from tests.helpers.target_networks import chain, dense, everything, plain

FIELDS = ("part", "quantity", "value", "limit", "remedy", "source", "stops", "verified")


def unsupported(network: DeployedNetwork, target: str) -> dict[str, bool]:
    """What `target` does not support, in words, and whether that stops the network."""
    (found,) = check(network, [target])
    assert found.target == target
    assert all(feature.source and feature.remedy for feature in found.unsupported)
    return {f"{feature.part}: {feature.construct}": feature.stops for feature in found.unsupported}


def test_every_target_supports_a_plain_network() -> None:
    found = check(plain())
    assert [one.target for one in found] == [
        *("native", "cuda", "reference", "lava", "loihi1", "loihi2", "digital")
    ]
    assert all(one.unsupported == () and one.runs for one in found)


def test_each_target_is_told_once_in_the_order_asked() -> None:
    found = check(plain(), ["loihi2", "native", "loihi2"])
    assert [one.target for one in found] == ["loihi2", "native"]


def test_an_unknown_target() -> None:
    with pytest.raises(
        InputError, match="'loihi3' is unknown, must be one of native, cuda, reference"
    ):
        check(plain(), ["loihi3"])
    for name in ("float", "norse"):  # known, but not for deployed networks
        with pytest.raises(
            InputError, match=f"'{name}' is unknown, must be one of native, cuda, refer"
        ):
            check(plain(), [name])


@pytest.mark.parametrize(
    ("change", "construct", "stops"),
    [
        ({"reset": Reset.SUBTRACT}, "reset subtract", (False, True, False)),
        ({"v_init": -1}, "v_init -1", (False, False, False)),
        ({"refractory": 63}, "refractory 63", (False, None, False)),
        ({"decay_u": 0}, "decay_u 0", (None, False, False)),
        ({"decay_u": 1}, "decay_u 1", (None, None, None)),
        ({"decay_v": 4096}, "decay_v 4096", (None, False, False)),
        ({"decay_v": 4095}, "decay_v 4095", (None, None, None)),
        ({"bias": -4096}, "bias mantissa -4096", (None, False, None)),
        ({"bias": -4095}, "bias mantissa -4095", (None, None, None)),
        ({"bias": 4095, "bias_exponent": 7, "vth": 131071}, "bias", (None, None, None)),
    ],
)
def test_dynamics(
    change: dict[str, Any], construct: str, stops: tuple[bool | None, bool | None, bool | None]
) -> None:
    network = plain()
    population = replace(require_lif(network.populations[0]), **change)
    changed = network.replace(populations=(population,))
    for target, stop in zip(("lava", "loihi1", "loihi2"), stops, strict=True):
        expected = {} if stop is None else {f"population 'a': {construct}": stop}
        assert unsupported(changed, target) == expected
    assert unsupported(changed, "native") == unsupported(changed, "reference") == {}


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-1, 1), (0, 1)])
def test_graded_input(low: int, high: int) -> None:
    network = plain().replace(inputs=(Input("x", (5,), Coding.GRADED, low, high),))
    graded = (low, high) != (0, 1)
    assert unsupported(network, "loihi1") == (
        {f"input 'x': graded values {low}..{high}": True} if graded else {}
    )
    assert unsupported(network, "loihi2") == unsupported(network, "lava") == {}


def test_a_bias_per_step() -> None:
    network = plain()
    injected = network.replace(
        inputs=(*network.inputs, Input("b", (4,), Coding.BIAS, -5, 5)),
        connections=(*network.connections, BiasInjection("b", "a")),
    )
    for target in ("lava", "loihi1", "loihi2"):
        assert unsupported(injected, target) == {"population 'a': bias per step": False}


@pytest.mark.parametrize(
    ("exponent", "value", "construct"),
    [
        (-1, 3, "weights that exponent -1 cuts 20"),
        (-1, 2, None),
        (-3, 4, "weights that exponent -3 cuts 20"),
        (-3, 8, None),
        (-8, 0, "weight exponent -8"),
        (7, 3, None),
    ],
)
def test_weight_exponents(exponent: int, value: int, construct: str | None) -> None:
    network = plain().replace(connections=(dense("x", "a", 4, 5, value=value, exponent=exponent),))
    expected = {f"connection 'x_to_a': {construct}": exponent != -8} if construct else {}
    assert unsupported(network, "loihi1") == expected
    assert unsupported(network, "loihi2") == unsupported(network, "lava") == {}


@given(st.data())
def test_a_weight_exponent_that_loihi_1_has_may_shift_weights_or_sums(data: st.DataObject) -> None:
    exponent = data.draw(st.integers(-7, -1))
    unit = data.draw(st.sampled_from([1, 2, 1 << -exponent]))
    limit = 254 // unit
    rows = st.lists(st.integers(0, limit), min_size=5, max_size=5)
    weight = unit * np.array(data.draw(st.lists(rows, min_size=4, max_size=4)), np.int16)
    network = plain().replace(connections=(Dense("x", "a", weight, exponent=exponent),))
    spikes = np.array(data.draw(st.lists(st.booleans(), min_size=5, max_size=5)))
    if not unsupported(network, "loihi1"):
        assert ((weight >> -exponent) @ spikes == (weight @ spikes) >> -exponent).all()
    else:
        assert (weight % (1 << -exponent)).any()


@pytest.mark.parametrize(
    ("inputs", "value", "exponent", "bound"),
    [(128, 255, 0, 32640), (257, 255, -1, 32767), (129, 254, 0, 32766), (130, 254, 0, 33020)],
)
def test_sums(inputs: int, value: int, exponent: int, bound: int) -> None:
    network = DeployedNetwork(
        (Input("x", (inputs,)),),
        (Population("a", (4,), vth=9),),
        (dense("x", "a", 4, inputs, value=value, exponent=exponent),),
        (Readout("a"),),
        3,
    )
    found = {k for k in unsupported(network, "loihi1") if "sum" in k}
    beyond = bound > 32767
    assert found == ({f"population 'a': largest sum of a step {bound}"} if beyond else set())
    assert unsupported(network, "loihi2") == {}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_bound_of_a_sum_is_reached(data: st.DataObject) -> None:
    rows = st.lists(st.integers(-100, 100), min_size=4, max_size=4)
    weight = 2 * np.array(data.draw(st.lists(rows, min_size=3, max_size=3)), np.int16)
    high = data.draw(st.integers(1, 40))
    connection = Dense("x", "a", weight)
    network = DeployedNetwork(
        (Input("x", (4,), Coding.GRADED, -high, high),),
        (Population("a", (3,), vth=9),),
        (connection,),
        (Readout("a"),),
        1,
    )
    worst = [np.where(row < 0, -high, high) for row in weight]
    run = run_reference(network, np.array(worst), record=("u",))
    assert run.trace is not None
    sums = run.trace.u["a"][0] >> 6
    assert np.abs(sums).max() == sum_bound(network, connection)


@settings(max_examples=50, deadline=None)
@given(networks())
def test_the_largest_sum_is_that_of_one_neuron_over_all_its_connections(
    network: DeployedNetwork,
) -> None:
    """What excites a neuron and what inhibits it do not add up, nor do the sums of two neurons."""
    for population in network.populations:
        highest, lowest = np.zeros((2, population.size), np.int64)
        for part in network.weighted_into(population.name):
            matrix = dense_form(part, network.sources[part.source].shape).astype(np.int64)
            low, high = network.message_range(part.source)
            ends = np.stack([matrix * 0, matrix * low, matrix * high])
            unit = -min(part.exponent, 0)
            highest += ends.max(0).sum(1) << max(part.exponent, 0) >> unit
            lowest += ends.min(0).sum(1) << max(part.exponent, 0) >> unit
        bound = population_bound(network, population.name)
        reached = max(highest.max(), -lowest.min())
        incoming = network.weighted_into(population.name)
        borders = any(not isinstance(part, Dense) or part.pool for part in incoming)
        assert bound >= reached
        assert bound == reached or borders


@pytest.mark.parametrize(
    ("length", "delay", "wait"), [(64, 0, 62), (65, 0, 63), (66, 0, 64), (3, 61, 62), (3, 62, 63)]
)
def test_waits_of_delays_and_of_unequal_depth(length: int, delay: int, wait: int) -> None:
    network = chain(length, delay=delay)
    for target, limit in (("loihi1", 62), ("loihi2", 63)):
        expected = (
            {f"connection 'skip': steps that its messages wait {wait}": True}
            if wait > limit
            else {}
        )
        assert unsupported(network, target) == expected


def test_cycles_shorter_than_their_steps() -> None:
    network = DeployedNetwork(
        (Input("x", (1,)),),
        tuple(Population(name, (1, 2, 2), vth=1) for name in "abcd"),
        (
            dense("x", "a", 4, 1),
            dense("a", "b", 4, 4),
            dense("b", "a", 4, 4, delay=1),
            dense("c", "d", 4, 4),
            dense("d", "c", 4, 4, delay=2),
            dense("d", "d", 4, 1, delay=1, pool=SumPool2d((2, 2), (2, 2))),
        ),
        (Readout("a"),),
        2,
    )
    folded = {"cycle 'a' -> 'b' -> 'a' over 'a_to_b', 'b_to_a': delay 1": True}
    assert unsupported(network, "loihi2") == unsupported(network, "loihi1") == folded
    pooled = {"cycle 'd' -> 'd' over 'd_to_d': delay 1": True}
    assert {
        k: stops for k, stops in unsupported(network, "lava").items() if stops
    } == folded | pooled


def test_a_network_beyond_one_chip() -> None:
    inside, beyond = (
        DeployedNetwork(
            (Input("x", (1,)),),
            (Population("a", (131072 + more,), vth=9),),
            (dense("x", "a", 131072 + more, 1),),
            (Readout("a"),),
            1,
        )
        for more in (0, 1)
    )
    assert unsupported(inside, "loihi1") == unsupported(beyond, "loihi2") == {}
    assert unsupported(beyond, "loihi1") == {
        "the network: neurons 131073": False,
        "the network: cores 129": False,
    }


def test_the_chip_is_that_of_the_energy_profile() -> None:
    profile = load_profile("loihi1")
    limits = load_target(plugins(PluginKind.TARGET)["loihi1"]).limits
    assert profile.cores * profile.neurons_per_core == limits["neurons"].value
    assert profile.graded_payloads == limits["graded_payloads"].value


@settings(max_examples=100, deadline=None)
@given(networks())
def test_any_network(network: DeployedNetwork) -> None:
    found = {one.target: one for one in check(network)}
    assert found["native"].unsupported == found["reference"].unsupported == ()
    lava = found["lava"]
    if lava.runs:
        schedule(network)
    else:
        with pytest.raises(InputError) as caught:
            schedule(network)
        assert all(
            (str(feature) in str(caught.value)) == feature.stops for feature in lava.unsupported
        )
    parts = [*network.inputs, *network.populations, *network.connections]
    for one in found.values():
        assert len(set(one.unsupported)) == len(one.unsupported)
        for feature in one.unsupported:
            assert feature.part == "the network" or any(
                f"'{p.name}'" in feature.part for p in parts
            )


def test_all_unsupported_features_are_told_at_once() -> None:
    network = everything()
    assert unsupported(network, "lava") == {
        "connection 'wide': kernel 131": True,
        "cycle 'a' -> 'b' -> 'a' over 'a_to_b', 'back': delay 1": True,
        "population 'a': reset subtract": False,
        "population 'a': v_init 7": False,
        "population 'b': bias per step": False,
        "connection 'wide': weight exponent -2": False,
        "connection 'loop': delay 1": False,
    }
    assert unsupported(network, "loihi1") == {
        "input 'x': graded values -9..9": True,
        "population 'a': reset subtract": True,
        "population 'a': v_init 7": False,
        "population 'b': decay_u 0": False,
        "population 'b': bias per step": False,
        "connection 'wide': weights that exponent -2 cuts 131": True,
        "cycle 'a' -> 'b' -> 'a' over 'a_to_b', 'back': delay 1": True,
    }
    assert unsupported(network, "loihi2") == {
        "population 'a': reset subtract": False,
        "population 'a': v_init 7": False,
        "population 'b': decay_u 0": False,
        "population 'b': bias per step": False,
        "cycle 'a' -> 'b' -> 'a' over 'a_to_b', 'back': delay 1": True,
    }


def test_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/python")  # Nothing is started, so nobody minds.
    easy, hard = tmp_path / "easy.spikeport", tmp_path / "hard.spikeport"
    save_network(plain(), easy)
    save_network(everything(), hard)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = call(["check", *map(str, arguments)])
        return code, *capsys.readouterr()

    assert run(easy)[::2] == (0, "")
    code, out, err = run(hard, "--json")
    stopping = "lava, loihi1, loihi2"
    assert (code, err) == (1, f"spikeport: check: {hard}: cannot run on {stopping} [SP901]\n")
    told = json.loads(out)
    assert told["content_hash"] == everything().content_hash
    expected = check(everything())
    assert [one["target"] for one in told["targets"]] == [one.target for one in expected]
    for one, found in zip(told["targets"], expected, strict=True):
        assert one["runs"] == found.runs
        assert one["unsupported"] == [
            {name: getattr(feature, name) for name in FIELDS} for feature in found.unsupported
        ]
        assert one["not_judged"] == []
    code, out, err = run(hard, "--target", "native", "-t", "reference")
    assert (code, err) == (0, "")
    assert out == "native, reference: no limit is exceeded\n"
    code, out, _ = run(hard, "--target", "loihi1")
    assert code == 1
    assert "loihi1: CANNOT RUN IT, stopped by 4 of 7 exceeded limits" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100
    code, _, err = run(easy, "--target", "brain")
    assert (code, err.count("\n")) == (2, 1)
    assert "target 'brain' is unknown" in err


def test_the_page_shows_what_check_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = chain(3, delay=62)
    first, middle, last = network.populations
    middle = replace(require_lif(middle), v_init=7)
    path = tmp_path / "n.spikeport"
    save_network(network.replace(populations=(first, middle, last)), path)
    assert call(["check", str(path), "--target", "loihi1"]) == 1
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = page("check.md").split("```")[1].splitlines()[1:]
    assert printed[: len(shown)] == shown
    assert " ".join(printed[len(shown) :]) == (
        "limits from brian2_loihi, loihi_synapses.py (steps that its messages wait); lava-nc "
        "0.10.0, proc/lif/models.py (v_init)"
    )


def test_backends_tell_what_targets_do_not_support(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["backends", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    limitations = {one["name"]: one["limitations"] for one in told["backends"] + told["chips"]}
    assert set(limitations) == {"float", "norse"} | set(list_targets())
    assert limitations["reference"] == []
    assert all(limitations[name] for name in ("native", "norse", "lava", "loihi1", "loihi2"))
    *first, last = SUPPORTED
    assert limitations["norse"][0] == (
        f"nodes other than {', '.join(first)} and {last}, because Norse would drop them without an "
        "error"
    )
