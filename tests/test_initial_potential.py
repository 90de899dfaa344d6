"""Neurons whose membrane starts at v_init: the same in training, in floats and on the chip."""

from __future__ import annotations

import itertools
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.export.nir import READERS, Fidelity, FloatNetwork, read_nir
from spikeport.export.nir.plausibility import implausible
from spikeport.export.nir.readers import judge
from spikeport.export.nir.semantics import StartValue
from spikeport.network import (
    LOIHI,
    Coding,
    Input,
    LIFLayer,
    LinearLayer,
    Reset,
    TrainedModel,
    load_network,
    require_lif,
    save_network,
)
from spikeport.runs import encode_samples
from spikeport.simulators import run_float, run_native, run_reference
from spikeport.simulators.float_counts import float_counts
from spikeport.trainer import (
    LIF,
    Node,
    QATNetwork,
    SpikingNetwork,
    evaluate,
    from_module,
)
from spikeport.trainer.measure.topology import unbiased
from spikeport.trainer.network import describe_graph, rebuild_graph
from spikeport.trainer.neurons import Neurons, charge_and_fire
from spikeport.trainer.neurons.lif import through_time
from spikeport.workflow import export_float, prepare_qat, write_nir
from tests.helpers.quantize_networks import chain, integrate_and_fire, leaky, quantized
from tests.helpers.run_comparison import assert_equal_runs

UNIT = 64
"""All numbers are multiples of 1 / 64: exact in every precision."""


@st.composite
def converted(draw: st.DrawFn) -> tuple[int, int, int]:
    """Threshold and start of a neuron in units of 1 / 64, and T."""
    theta = draw(st.sampled_from([1, 2, 3, 10, 64, 100, 127, 640]))
    half = theta // 2 if theta % 2 == 0 else theta
    return (
        theta,
        draw(st.sampled_from([0, half, theta]) | st.integers(0, theta)),
        draw(st.integers(1, 12)),
    )


def formula(x: NDArray[np.int64], theta: int, start: int, steps: int) -> NDArray[np.int64]:
    """clip(floor((T x + v_0) / theta), 0, T) in whole numbers."""
    return np.clip((steps * x + start) // theta, 0, steps)


def neuron(theta: int, start: int) -> LIF:
    return LIF(1.0, theta / UNIT, Reset.SUBTRACT, strict=False, v_init=start / UNIT)


@settings(max_examples=60, deadline=None)
@given(converted(), st.sampled_from([torch.float32, torch.float64]))
def test_a_constant_input_is_rounded_to_a_number_of_spikes_in_training(
    numbers: tuple[int, int, int], dtype: torch.dtype
) -> None:
    theta, start, steps = numbers
    x = np.arange(-theta, 2 * theta + 2)
    lif, given = neuron(theta, start), torch.tensor(x / UNIT, dtype=dtype)[None, None]
    wanted = torch.tensor(formula(x, theta, start, steps), dtype=dtype)
    for record in (True, False):
        layer = Neurons(lif, steps, record=record)
        assert torch.equal(layer.advance(given, steps).sum((0, 1)), wanted)
    literal = torch.stack([s for _, _, s in charge_and_fire(lif, given, steps)])
    assert torch.equal(literal.sum((0, 1)), wanted)
    assert torch.equal(through_time(lif, given, steps, None)[0], literal)
    assert torch.equal(lif(given[0]), literal[0])


def single(theta: int, start: int, steps: int) -> TrainedModel:
    source = Input("input", (1,), Coding.GRADED, -2048, 2048, float(UNIT))
    layers = (
        LinearLayer("fc", ("input",), np.ones((1, 1)), None),
        LIFLayer("lif", ("fc",), 1.0, theta / UNIT, Reset.SUBTRACT, False, start / UNIT),
    )
    return TrainedModel(source, layers, "lif", steps)


@settings(max_examples=25, deadline=None)
@given(converted())
def test_and_in_floats_and_on_the_chip(numbers: tuple[int, int, int]) -> None:
    theta, start, steps = numbers
    x = np.arange(-theta, 2 * theta + 2)
    wanted, samples = formula(x, theta, start, steps), (x / UNIT)[:, None]
    graph = export_float(single(theta, start, steps))
    assert float(graph.graph.nodes["lif"].v_reset[0]) == start / UNIT
    for dtype in (np.float64, np.float32):
        assert np.array_equal(run_float(graph, samples, dtype=dtype).scores["output"][:, 0], wanted)
    made = quantized(graph, samples)
    part = require_lif(made.network.populations[0])
    assert part.v_init == part.vth * 64 * start // theta + 1  # and one, by which ties fire
    assert made.report.populations[0].start_error == 0
    integers = encode_samples(made.network.inputs, steps, samples)
    ours = run_native(made.network, integers, record=("spikes", "u", "v"))
    assert np.array_equal(next(iter(ours.scores.values()))[:, 0], wanted)
    assert_equal_runs(run_reference(made.network, integers, record=("spikes", "u", "v")), ours)


@st.composite
def networks(draw: st.DrawFn) -> tuple[SpikingNetwork, Tensor]:
    """Convolutions on a grid of 1 / 16, thresholds and starts of their own, some decays."""
    torch.manual_seed(draw(st.integers(0, 1 << 16)))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))

    def lif(decay: float) -> LIF:
        theta = int(rng.integers(1, 5)) / 2
        start = draw(st.sampled_from([theta / 2, theta / 2, -0.75, 0.0, 1.25 * theta]))
        return LIF(decay, theta, Reset.SUBTRACT, strict=strict, v_init=start)

    strict = draw(st.booleans())
    decay = draw(st.sampled_from([1.0, 1.0, 0.5]))
    layers: list[nn.Module] = [nn.Conv2d(1, 3, 3, padding=1), lif(decay)]
    if draw(st.booleans()):
        layers += [nn.MaxPool2d(2)]
    layers += [nn.Conv2d(3, 4, 3, stride=2), lif(1.0), nn.Flatten()]
    size = nn.Sequential(*layers)(torch.zeros(1, 1, 8, 8)).shape[1]
    layers += [nn.Linear(size, 3), lif(decay)]
    with torch.no_grad():
        for layer in layers:
            for part in layer.parameters():
                part.copy_((part * 32).round() / 16)
    source = Input("input", (1, 8, 8), Coding.GRADED, 0, 16, 16.0)
    module = nn.Sequential(*layers).eval()
    x = torch.randint(0, 17, (6, 1, 8, 8)) / 16
    return from_module(module, source, draw(st.integers(1, 8))), x


@settings(max_examples=10, deadline=None)
@given(networks())
def test_a_network_has_the_same_spikes_everywhere(drawn: tuple[SpikingNetwork, Tensor]) -> None:
    network, x = drawn[0].eval(), drawn[1].numpy()
    wanted = evaluate(network, x, ("spikes",)).trace
    graph = export_float(network)
    with tempfile.TemporaryDirectory() as folder:
        write_nir(graph, Path(folder) / "n.nir")
        again = read_nir(Path(folder) / "n.nir", isolate=False)
    assert isinstance(again, FloatNetwork)
    assert again.semantics == graph.semantics
    found = run_float(graph, x, record=("spikes",)).trace
    reread = run_float(again, x, record=("spikes",)).trace
    assert wanted is not None
    assert found is not None
    assert reread is not None
    assert wanted.spikes.keys() == found.spikes.keys()
    for name, spikes in wanted.spikes.items():
        assert np.array_equal(spikes, found.spikes[name]), name
        assert np.array_equal(spikes, reread.spikes[name]), name
    made = quantized(graph, x).network
    integers = encode_samples(made.inputs, network.steps, x[:2])
    record = ("spikes", "u", "v")
    ours = run_native(made, integers, record=record)
    assert_equal_runs(run_reference(made, integers, record=record), ours)
    with tempfile.TemporaryDirectory() as folder:
        save_network(made, Path(folder) / "n.spikeport")
        assert load_network(Path(folder) / "n.spikeport") == made


def both(v_init: float = 0.5, reset: Reset = Reset.SUBTRACT, decay: float = 1.0) -> TrainedModel:
    layers = (
        LinearLayer("a", ("input",), np.ones((2, 3)), None),
        LIFLayer("first", ("a",), decay, 1.0, reset, False, v_init),
        LinearLayer("b", ("first",), np.ones((2, 2)), None),
        LIFLayer("last", ("b",), decay, 1.5, reset, False),
    )
    return TrainedModel(Input("input", (3,), Coding.SPIKES), layers, "last", 4)


@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
def test_a_start_is_the_v_reset_that_a_subtraction_does_not_use(decay: float) -> None:
    graph, plain = export_float(both(decay=decay)), export_float(both(0.0, decay=decay))
    assert plain.semantics.start is StartValue.ZERO
    assert graph.semantics == plain.semantics.changed(start=StartValue.V_RESET)
    first, last = graph.graph.nodes["first"], graph.graph.nodes["last"]
    assert not last.v_reset.any()
    assert np.array_equal(first.v_threshold, plain.graph.nodes["first"].v_threshold)
    # half a threshold, up to the float32 steps by which thresholds are moved off their ties
    np.testing.assert_allclose(first.v_reset / first.v_threshold, 0.5, rtol=5e-7)
    assert decay < 1 or (first.v_reset == 0.5).all()
    assert not implausible(graph.graph, graph.dt_s, graph.semantics)


def test_with_reset_to_zero_it_has_no_place_in_nir() -> None:
    with pytest.raises(InputError) as caught:
        export_float(both(-0.25, Reset.ZERO))
    assert str(caught.value) == (
        "layer 'first': v_init is -0.25, must be 0 with reset zero, whose v_reset is where a spike "
        "resets v to and cannot also be where v starts"
    )


def test_a_reader_that_starts_elsewhere_says_so() -> None:
    graph = export_float(both())
    for reader in READERS.keys() - {"nirtorch"}:  # whose neurons are what its user makes of them
        by_name = {one.node: one for one in judge(graph, reader).nodes}
        assert by_name["first"].word is not Fidelity.EXACT
        causes = [one.cause for one in by_name["first"].findings]
        if reader == "spikingjelly":  # it starts there, and resets to there
            assert "it resets to v_reset, this network by subtraction of the threshold" in causes
        else:
            assert any(f"v starts at {v} there, here at v_reset" in causes for v in ("0", "v_leak"))


def test_a_start_is_rounded_to_units_of_v_and_the_report_says_so() -> None:
    """Weights of 1 and 0.7 leave no scale at which all is whole."""
    source = Input("input", (2,), Coding.SPIKES)
    weight = LinearLayer("fc", ("input",), np.array([[1.0, 0.7301]]), None)
    for start in (0.5, -0.25, 1 / 7, math.pi):
        lif = LIFLayer("lif", ("fc",), 1.0, 1.0, Reset.SUBTRACT, True, start)
        graph = export_float(TrainedModel(source, (weight, lif), "lif", 4))
        made = quantized(graph, np.ones((2, 2)))
        part = require_lif(made.network.populations[0])
        (found,) = made.report.populations
        assert part.vth == pytest.approx(part.scale, rel=1e-6)
        assert found.v_init == part.v_init == np.rint(64 * part.vth * start)
        error = part.v_init / (64 * part.vth) - start
        assert found.start_error == pytest.approx(error, abs=1e-6)
        assert (found.start_error == 0) == (64 * part.vth * start % 1 == 0)


def test_half_of_a_rounded_threshold_stays_half_of_it() -> None:
    """An injected input fixes the scale, at which the threshold is no whole unit."""
    node = integrate_and_fire((2,), 0.7301)
    node.v_reset = node.v_threshold / 2
    source = Input("input", (2,), Coding.BIAS, -64, 64, 64.0)
    graph = chain({"lif": node}, source, reset=Reset.SUBTRACT, start=StartValue.V_RESET)
    made = quantized(graph, np.full((3, 2), 0.25))
    part = require_lif(made.network.populations[0])
    assert abs(part.scale * 0.7301 % 1 - 0.5) < 0.45
    assert part.v_init // 2 == part.vth * 32 // 2
    assert made.report.populations[0].start_error != 0


@pytest.mark.parametrize("start", [-1e6, 1e6])
def test_a_start_beyond_the_range_of_v_is_refused(start: float) -> None:
    source = Input("input", (1,), Coding.SPIKES)
    weight = LinearLayer("fc", ("input",), np.ones((1, 1)), None)
    for part, fits in ((start / 20, True), (start, False)):
        lif = LIFLayer("lif", ("fc",), 1.0, 1.0, Reset.SUBTRACT, False, part)
        graph = export_float(TrainedModel(source, (weight, lif), "lif", 4))
        if fits:
            made = quantized(graph, np.ones((2, 1))).network.populations[0]
            assert abs(require_lif(made).v_init) <= LOIHI.state_max
            continue
        message = (
            f"population 'lif': threshold 1 is below one weight unit at the largest possible scale "
            f"0.065536; the start of v, {start:g}, is too large in comparison"
        )
        with pytest.raises(InputError, match=re.escape(message)):
            quantized(graph, np.ones((2, 1)))


def test_a_leaky_start_decays_as_the_membrane_does() -> None:
    node = leaky((1,), 0.5, 1.0)
    node.v_reset = np.full(1, 4.0)
    source = Input("input", (1,), Coding.SPIKES)
    weights = chain_of(node, source)
    run = run_float(weights, np.zeros((1, 1)), record=("v_charged", "spikes"))
    assert run.trace is not None
    assert run.trace.v_charged["lif"].ravel().tolist() == [2.0, 0.5, 0.25, 0.125]
    assert run.trace.spikes["lif"].ravel().tolist() == [1, 0, 0, 0]


def chain_of(node: Any, source: Input) -> FloatNetwork:
    import nir

    nodes = {"fc": nir.Linear(np.ones((1, 1))), "lif": node}
    rules: dict[str, Any] = {"reset": Reset.SUBTRACT, "start": StartValue.V_RESET}
    return chain(nodes, source, steps=4, **rules)


@pytest.mark.parametrize("bits", [8, 4])
def test_training_in_chip_arithmetic_starts_there_too(bits: int) -> None:
    from spikeport.export.quantize import QuantizeConfig

    torch.manual_seed(0)
    layers = (
        nn.Linear(6, 8),
        LIF(1.0, 0.8, Reset.SUBTRACT, strict=False, v_init=0.4),
        nn.Linear(8, 3),
    )
    source = Input("input", (6,), Coding.GRADED, 0, 16, 16.0)
    network = from_module(nn.Sequential(*layers).eval(), source, 5)
    x = np.random.default_rng(0).integers(0, 17, (20, 6)) / 16
    trained = prepare_qat(network, x, QuantizeConfig(weight_bits=bits))
    assert isinstance(trained, QATNetwork)
    deployed = trained.deployed()
    part = require_lif(deployed.by_name["_1"])
    assert part.v_init in (32 * part.vth, 32 * part.vth + 1)
    ours = evaluate(trained, x, ("spikes",)).trace
    chip = run_native(deployed, encode_samples(deployed.inputs, 5, x), record=("spikes",)).trace
    assert ours is not None
    assert chip is not None
    assert chip.spikes["_1"].any()
    assert np.array_equal(ours.spikes["_1"], chip.spikes["_1"])


def idle(lif: LIF) -> SpikingNetwork:
    nodes = [Node("fc", ("input",), nn.Linear(2, 2, bias=False)), Node("lif", ("fc",), lif)]
    return SpikingNetwork(Input("input", (2,)), nodes, 4).eval()


def test_a_membrane_that_starts_away_from_zero_is_updated_without_any_input() -> None:
    for decay, updates in ((1.0, 8), (0.0, 2), (0.5, 8)):
        network = idle(LIF(decay, 1.0, Reset.SUBTRACT, v_init=0.5))
        counts = evaluate(network, np.zeros((1, 2))).counts
        assert counts is not None
        assert counts.updates == {"lif": updates}
        graph = export_float(network)
        run = run_float(graph, np.zeros((1, 2)), record=("spikes", "v"))
        assert float_counts(graph, np.zeros((1, 2)), run).updates == {"lif": updates}
        made = quantized(graph, np.zeros((1, 2))).network
        chip = run_native(made, encode_samples(made.inputs, 4, np.zeros((1, 2)))).counts
        assert chip is not None
        assert chip.updates["lif"] == updates


def test_only_neurons_that_forget_their_start_are_idle_without_messages() -> None:
    assert unbiased(idle(LIF(1.0))) == ("lif",)
    assert unbiased(idle(LIF(1.0, v_init=0.5))) == ()
    assert unbiased(idle(LIF(0.5, v_init=0.5))) == ("lif",)


def test_checkpoints_state_it_only_where_it_is_not_zero() -> None:
    for v_init, reset in itertools.product((0.0, 0.5, -2), Reset):
        network = idle(LIF(1.0, 1.0, reset, v_init=v_init))
        graph = describe_graph(network)
        options = graph[1]["options"]
        assert ("v_init" in options) == (v_init != 0)
        again = rebuild_graph(graph, network.input, 4).layers["lif"]
        assert isinstance(again, LIF)
        assert again.v_init == v_init
    options["v_init"] = "half"
    with pytest.raises(InputError, match="layer 'lif': v_init is 'half', must be a finite number"):
        rebuild_graph(graph, network.input, 4)


def test_it_is_shown_and_checked() -> None:
    assert repr(LIF(1.0, v_init=0.5)) == "LIF(decay=1.0, v_threshold=1.0, zero, v_init=0.5)"
    assert "v_init" not in repr(LIF(1.0))
    for value in (math.nan, math.inf, 1e39):
        message = re.escape(f"LIF: v_init is {value}, must be finite in float32")
        with pytest.raises(InputError, match=message):
            LIF(v_init=value)
