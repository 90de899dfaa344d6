"""What is recorded: names, populations and chosen neurons mean the same everywhere."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.backends import run as run_backend
from spikeport.backends.lava import lava_status, run_lava
from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, check_graph
from spikeport.network import Dense, DeployedNetwork, Input, Population, Readout
from spikeport.runs import RECORDABLE, Chosen, Probe, Run, Trace, parse_probe, selection
from spikeport.simulators import run_native, run_reference
from spikeport.simulators.results import empty_trace
from spikeport.trainer import evaluate_deployed
from tests.helpers.effort import examples
from tests.helpers.probes import chain, inputs, probes_for
from tests.helpers.strategies import networks, samples_for


def check(probed: Run, whole: Run, record: list[str | Probe], network: DeployedNetwork) -> None:
    """The probed trace is the part of the whole one that `record` asks for; all else is equal."""
    assert probed.trace is not None
    assert whole.trace is not None
    expected: dict[tuple[str, str], set[int]] = {}
    for item in record:
        for part in network.populations:
            if isinstance(item, str):
                expected.setdefault((item, part.name), set()).update(range(part.size))
            elif item.population == part.name:
                some = range(part.size) if item.neurons is None else item.neurons
                for variable in item.variables or RECORDABLE:
                    expected.setdefault((variable, part.name), set()).update(some)
    for variable in RECORDABLE:
        for part in network.populations:
            array = getattr(probed.trace, variable).get(part.name)
            if (variable, part.name) not in expected:
                assert array is None
                continue
            flat = sorted(expected[variable, part.name])
            full = getattr(whole.trace, variable)[part.name]
            chosen = probed.trace.neurons.get((variable, part.name))
            if chosen is None:
                assert array.shape == full.shape
            else:
                assert chosen.flat.tolist() == flat
                assert chosen.shape == part.shape
            wanted = full.reshape(*full.shape[:2], -1)[..., flat]
            np.testing.assert_array_equal(array.reshape(*array.shape[:2], -1), wanted)
    np.testing.assert_array_equal(probed.predictions, whole.predictions)
    assert probed.counts == whole.counts


@settings(max_examples=examples(30), deadline=None)
@given(st.data())
def test_every_simulator_records_what_probes_choose(data: st.DataObject) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    record = data.draw(probes_for(network))
    whole = run_reference(network, samples, record=RECORDABLE)
    for simulate in (run_reference, run_native, evaluate_deployed):
        check(simulate(network, samples, record=record), whole, record, network)
    assert whole.trace is not None
    replayed = run_native(network, samples, record=record, recorded=whole.trace.spikes)
    check(replayed, whole, record, network)


@pytest.mark.skipif(lava_status()[0] is None, reason="needs Lava")
def test_lava_records_what_probes_choose() -> None:
    network, x = chain(), inputs()
    record: list[str | Probe] = [Probe("a", ("v", "spikes"), (3, 39)), Probe("b", ("u",))]
    lava = run_lava(network, x, record=record)
    check(lava, run_native(network, x, record=RECORDABLE), record, network)
    assert lava.trace is not None
    assert set(lava.trace.u) == {"b"}


def test_nothing_is_allocated_for_what_is_not_probed() -> None:
    wide = Population("wide", (1_000_000,), vth=1)
    network = DeployedNetwork(
        inputs=(Input("x", (1,)),),
        populations=(wide, Population("out", (2,), vth=1)),
        connections=(
            Dense("x", "wide", np.ones((1_000_000, 1), np.int16)),
            Dense("x", "out", np.ones((2, 1), np.int16), name="direct"),
        ),
        readouts=(Readout("out"),),
        steps=1000,
    )
    record = [Probe("out"), Probe("wide", ("v",), (5, 999_999))]
    trace = empty_trace(network, 1000, record)
    assert set(trace.spikes) == set(trace.u) == {"out"}
    assert trace.v["wide"].shape == (1000, 1000, 2)
    total = sum(
        array.nbytes for kind in (trace.spikes, trace.u, trace.v) for array in kind.values()
    )
    assert total == 1000 * 1000 * 2 * (1 + 4 + 4 + 4)


def test_what_is_asked_for_twice_is_kept_once() -> None:
    network = chain()
    both = selection(network, [Probe("a", ("v",), (4, 2, 4)), Probe("a", ("v",), (7,))])
    ((key, chosen),) = both.items()
    assert key == ("v", "a")
    assert isinstance(chosen, Chosen)
    assert chosen.flat.tolist() == [2, 4, 7]
    orders: tuple[list[str | Probe], ...] = (
        ["v", Probe("a", ("v",), (1,))],
        [Probe("a", ("v",), (1,)), "v"],
    )
    for record in orders:
        assert selection(network, record) == {("v", "a"): None, ("v", "b"): None}
    assert selection(network, ()) == {}
    assert empty_trace(network, 1, ()) == Trace()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Probe("a", ("w",)), "'w' cannot be recorded, only spikes, u, v"),
        (lambda: Probe("a", ("v",), ()), "neurons (), needs at least one"),
        (lambda: Probe("a", ("v",), (-1,)), "neurons (-1,), needs at least one, from 0 on"),
        (
            lambda: selection(chain(), [Probe("c")]),
            "'c' is not a population of the network, it has a, b",
        ),
        (lambda: selection(chain(), [Probe("b", ("v",), (8,))]), "neuron 8 of 'b', which has 8"),
        (lambda: parse_probe("a:v:x"), "'x' is not a neuron, must be like 3 or 3-8"),
        (lambda: parse_probe("a:v:3-"), "'3-' is not a neuron"),
        (lambda: parse_probe("a:v:5-4"), "needs at least one"),
        (lambda: parse_probe("a:"), "'' cannot be recorded"),
    ],
)
def test_wrong_probes_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_probes_are_written_on_one_line() -> None:
    assert parse_probe("lif1") == Probe("lif1")
    assert parse_probe("lif1:spikes,v") == Probe("lif1", ("spikes", "v"))
    assert parse_probe("lif1:v:0,4-6,5") == Probe("lif1", ("v",), (0, 4, 5, 6))


def test_float_graphs_are_recorded_whole() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "lif": nir.IF(np.ones(3), np.ones(3)),
        "output": nir.Output({"output": np.array([3])}),
    }
    made = check_graph(nodes, [("input", "lif"), ("lif", "output")], 1e-3).graph
    network = FloatNetwork(made, 1e-3, 4, (Input("input", (3,)),))
    with pytest.raises(InputError, match="records whole float graphs; probes need deployed"):
        run_backend("float", network, np.ones((1, 3)), record=[Probe("lif")])
