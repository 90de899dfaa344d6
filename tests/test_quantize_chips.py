"""Quantization for a chip or a backend: what comes out runs there, anything else is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.backends import check_deployed
from spikeport.backends.targets import load_target
from spikeport.errors import InputError
from spikeport.export import FloatNetwork, QuantizeConfig
from spikeport.export.nir import read_nir_float
from spikeport.export.quantize.input_precision import halved
from spikeport.export.quantize.target import constraints_of
from spikeport.ladder import LadderConfig, run_ladder
from spikeport.network import (
    LOIHI,
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    population_bound,
    require_lif_populations,
    save_network,
)
from spikeport.plugins import PluginKind, plugins
from spikeport.runs import encode_samples
from spikeport.simulators import run_native
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.chip.limits import TargetLimits, fit_sums
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.data import Dataset, load_digits_split
from spikeport.trainer.loop import load_checkpoint, train
from spikeport.trainer.measure import measure_accuracy
from spikeport.trainer.network import SpikingNetwork
from spikeport.workflow import export_float, prepare_qat, quantize
from spikeport.workflow.recipes import qat_start
from tests.helpers.command import Spikeport
from tests.helpers.quantize_networks import (
    DT,
    affine,
    chain,
    conv,
    integrate_and_fire,
    leaky,
    quantized,
    spikes_in,
)
from tests.helpers.random_floats import float_networks
from tests.helpers.strategies import networks
from tests.helpers.target_networks import dense

SUM_MAX = 32767
LOIHI1 = QuantizeConfig(target="loihi1")
REASONS = re.compile(
    "population '.*': sums of up to .* thresholds in a step, but the accumulator of loihi1 holds "
    "32767 weight units; train with smaller weights|below one weight unit|"
    "reset subtract .limit: zero.; train with reset to zero"
)


def pixels(shape: tuple[int, ...], high: int = 255) -> Input:
    return Input("input", shape, Coding.GRADED, 0, high, float(high))


def kept(network: DeployedNetwork, target: str = "loihi1") -> None:
    """Nothing stops the network on the target, and no sum wraps."""
    (found,) = check_deployed(network, [target])
    assert [str(one) for one in found.unsupported if one.stops or "sums" in one.construct] == []


@settings(max_examples=30, deadline=None)
@given(float_networks(low=0), st.sampled_from([2, 4, 8, 8]), st.sampled_from([0, 0, 1000]))
def test_what_is_quantized_for_loihi_1_runs_there(
    source: FloatNetwork, bits: int, wide: int
) -> None:
    rng = np.random.default_rng(1)
    shape = source.inputs[0].shape
    spiking = source.inputs[0].coding is Coding.SPIKES
    samples = rng.integers(0, 2, (5, *shape)) if spiking else rng.uniform(0, 1, (5, *shape))
    if wide:  # so large that sums do not fit
        nodes = dict(source.graph.nodes)
        name = next(n for n, node in nodes.items() if hasattr(node, "weight"))
        nodes[name] = copy.copy(nodes[name])
        nodes[name].weight = wide * nodes[name].weight
        graph = nir.NIRGraph(nodes, source.graph.edges, type_check=False)
        source = dataclasses.replace(source, graph=graph)
    try:
        found = quantized(source, samples, QuantizeConfig(bits, target="loihi1"))
    except InputError as error:
        refused = str(error)
    else:
        refused = ""
        kept(found.network)
        assert found.report.target is not None
    assert not refused or REASONS.search(refused), refused


@settings(max_examples=10, deadline=None)
@given(float_networks(), st.sampled_from(["loihi2", "lava", "native", "digital"]))
def test_other_targets_take_all_that_a_loihi_core_does(source: FloatNetwork, target: str) -> None:
    """They change no number."""
    rng = np.random.default_rng(1)
    shape = source.inputs[0].shape
    samples = rng.integers(0, 2, (5, *shape))
    try:
        free = quantized(source, samples)
    except InputError as error:
        with pytest.raises(InputError, match=re.escape(str(error))):
            quantized(source, samples, QuantizeConfig(target=target))
        return
    found = quantized(source, samples, QuantizeConfig(target=target))
    kept(found.network, target)
    assert found.network == free.network
    assert found.report.target is not None
    assert not found.report.target.changes
    assert not found.report.target.constraints


def test_constraints_are_the_limits_that_check_applies() -> None:
    limits = load_target(plugins(PluginKind.TARGET)["loihi1"]).limits
    found = constraints_of("loihi1")
    assert found.graded == bool(limits["graded_payloads"].value) is False
    assert found.sum_max == (1 << limits["sum_bits"].value - 6) - 1 == SUM_MAX
    assert found.bias_min == limits["bias_mantissa_min"].value
    for other in ("loihi2", "lava", "digital"):
        assert constraints_of(other) == dataclasses.replace(
            constraints_of("native"), bias_min=constraints_of(other).bias_min
        )


def test_pixels_become_as_many_digits_as_fit() -> None:
    """784 pixels of 256 values would need 6,272 of 4,096 axons, so they have 5 digits or fewer."""
    rng = np.random.default_rng(0)
    nodes = {"fc": affine(rng.normal(0, 0.003, (8, 784))), "lif": leaky((8,), 0.5)}
    net = chain(nodes, pixels((784,)), steps=4)
    x = rng.uniform(0, 1, (4, 784))
    found = quantized(net, x, LOIHI1)
    (part,) = found.network.inputs
    assert part.coding is Coding.BINARY
    assert part.high + 1 == 1 << part.digits <= 1 << 5
    assert part.scale == part.high
    kept(found.network)
    changes = {(one.part, one.quantity): one.kept for one in found.report.target.changes}  # type: ignore[union-attr]
    assert changes["input 'input'", "lines"] == part.digits


def test_a_digit_less_leaves_all_values_of_the_others() -> None:
    """1,000 values of 0..16 would need 5,000 of 4,096 axons; with 4 digits, they have 0..15."""
    nodes = {"fc": affine(np.full((1, 1000), 0.01)), "lif": leaky((1,), 0.5)}
    coded = quantized(chain(nodes, pixels((1000,), 16)), np.ones((1, 1000)), LOIHI1).network
    (part,) = coded.inputs
    assert part.high in (15, 7, 3, 1)
    assert part.scale == part.high
    assert [halved(dataclasses.replace(part, high=16, scale=16.0), n).high for n in range(5)] == [
        16,
        15,
        7,
        3,
        1,
    ]


def test_sums_fit_and_the_report_shows_what_that_costs() -> None:
    rng = np.random.default_rng(0)
    nodes = {"fc": affine(rng.uniform(0.005, 0.01, (8, 300))), "lif": leaky((8,), 0.5)}
    net = chain(nodes, spikes_in(300))
    x = (rng.uniform(0, 1, (6, 16, 300)) < 0.1).astype(float)
    free, found = quantized(net, x), quantized(net, x, LOIHI1)
    assert population_bound(free.network, "lif") > SUM_MAX >= population_bound(found.network, "lif")
    assert population_bound(found.network, "lif") > 0.65 * SUM_MAX
    told = found.report.target
    assert told is not None
    assert [one.constraint for one in told.constraints] == ["sums of at most 32767 in a step"]
    assert told.constraints[0].agreement_without == told.agreement_without
    changes = {(one.part, one.quantity): (one.without, one.kept) for one in told.changes}
    assert changes["population 'lif'", "sum_bound"] == (
        population_bound(free.network, "lif"), population_bound(found.network, "lif"),
    )  # fmt: skip


def test_a_scale_that_sums_limit_is_not_blamed_on_the_threshold() -> None:
    net = chain({"fc": affine(np.full((1, 400), 0.01)), "lif": leaky((1,), 0.5)}, spikes_in(400))
    found = quantized(net, np.ones((1, 400)), LOIHI1)
    bound, (part,) = population_bound(found.network, "lif"), found.network.populations
    most = int(found.network.weighted_connections[0].weight.max())
    assert found.report.warnings[0] == (
        f"population 'lif': scale {part.scale:g} is limited by its sums of up to {bound} in a step "
        f"(limit: {SUM_MAX}); weights use {most} of 256"
    )


def test_what_the_chip_cannot_do_is_refused_with_a_remedy() -> None:
    dense: dict[str, Any] = {"fc": affine([[0.7, -0.3]]), "if": integrate_and_fire((1,))}
    late = {"wait": nir.Delay(np.full((2,), 63 * DT)), **dense}
    many = {"fc": affine(np.ones((1, 4097))), "if": integrate_and_fire((1,))}
    weight = np.linspace(250.3, 317.7, 200)
    large = {"fc": affine(weight[None]), "if": integrate_and_fire((1,))}
    most = int(np.clip(np.rint(weight), 0, 255).sum())
    signed = Input("input", (2,), Coding.GRADED, -5, 5, 5.0)
    start = "network: cannot be quantized for loihi1, 1 limit exceeded:\n  - "
    for net, message in (
        (
            chain(dense, spikes_in(2), reset=Reset.SUBTRACT),
            f"{start}population 'if': reset subtract (limit: zero); train with reset to zero "
            "(`train --reset zero`)",
        ),
        (
            chain(many, spikes_in(4097)),
            f"{start}population 'if' (1 of 1 neurons): input axons of a neuron 4097 (limit: "
            "4096); let each neuron read at most 4096 sources, such as by a pool or a convolution "
            "in front of it",
        ),
        (
            chain(dense, signed),
            "input 'input': its values -5..5 include negative ones, which have no binary digits, "
            "and spikes of loihi1 carry no value; give positive and negative parts as channels of "
            "their own, or add an offset to all values",
        ),
        (
            chain(large, spikes_in(200)),
            f"population 'if': sums of up to {most} thresholds in a step, but the accumulator of "
            "loihi1 holds 32767 weight units; train with smaller weights or a larger threshold, or "
            "let each neuron read fewer sources",
        ),
    ):
        with pytest.raises(InputError) as error:
            quantized(net, np.zeros((1, *net.inputs[0].shape)), LOIHI1)
        assert str(error.value) == message
    with pytest.raises(InputError, match=r"delay is 63, must lie in 0\.\.62"):
        quantized(chain(late, spikes_in(2)), np.zeros((1, 2)), LOIHI1)
    explicit = QuantizeConfig(target="loihi1", input_coding="graded")
    with pytest.raises(InputError) as error:
        quantized(chain(dense, pixels((2,))), np.zeros((1, 2)), explicit)
    assert str(error.value) == (
        "input 'input': values 0..255 are to be sent as graded spikes, but spikes of loihi1 carry "
        "no value; leave out input coding 'graded', or ask for 'binary' or 'rate'"
    )


def test_options() -> None:
    with pytest.raises(
        InputError, match="must be one of 'netx', 'native', 'cuda', 'reference', 'lava', 'l"
    ):
        QuantizeConfig(target="norse")
    with pytest.raises(InputError, match="input_coding is 'bias', must be one of 'graded', 'bin"):
        QuantizeConfig(input_coding="bias")
    net = chain({"fc": affine([[0.7, -0.3]]), "lif": leaky((1,), 0.9)}, pixels((2,), 15))
    made = quantized(net, np.eye(2), QuantizeConfig(input_coding="binary"))
    free = quantized(net, np.eye(2))
    assert made.network.inputs[0].coding is Coding.BINARY
    assert json.loads(made.network.provenance["quantize"])["input_coding"] == "binary"
    assert "input_coding" not in json.loads(free.network.provenance["quantize"])
    assert made.network.replace(inputs=free.network.inputs) == free.network


def test_a_recurrent_network_with_pools_and_convolutions() -> None:
    rng = np.random.default_rng(0)
    side, two = np.array([2, 2]), np.array([0, 0])
    nodes = {
        "conv": conv(rng.normal(0, 0.3, (4, 1, 3, 3)), rng.normal(0, 0.1, 4), padding=1),
        "one": leaky((4, 8, 8), 0.5),
        "pool": nir.AvgPool2d(side, side, two),
        "flat": nir.Flatten({"input": np.array((4, 4, 4))}, 0, -1),
        "fc": affine(rng.normal(0, 0.3, (10, 64))),
        "lif": leaky((10,), 0.8),
    }
    net = chain(nodes, pixels((1, 8, 8)))
    graph = nir.NIRGraph(
        {**net.graph.nodes, "again": nir.Linear(rng.normal(0, 0.3, (10, 10)))},
        [*net.graph.edges, ("lif", "again"), ("again", "lif")],
        type_check=False,
    )
    recurrent = dataclasses.replace(net, graph=graph)
    found = quantized(recurrent, rng.uniform(0, 1, (16, 1, 8, 8)), LOIHI1)
    kept(found.network)
    assert found.report.agreement > 0.8


# --------------------------------------------------------------------------- trained networks


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_split()


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> SpikingNetwork:
    config = TrainConfig(widths=(6, 12), steps=4, epochs=4, batch_size=32)
    model = train(config, digits).model
    assert isinstance(model, SpikingNetwork)
    return model


def accuracy(network: DeployedNetwork, data: Dataset) -> float:
    samples = encode_samples(network.inputs, network.steps, data.test_x, static=True)
    return float(np.mean(run_native(network, samples).predictions == data.test_y))


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_digits_lose_less_than_a_point(
    trained: SpikingNetwork, digits: Dataset, target: str
) -> None:
    graph, x = export_float(trained), digits.train_x[:128]
    free = quantize(graph, x, static=True)
    config = QuantizeConfig(target=target)
    found = quantize(graph, x, config, labels=digits.train_y[:128], static=True)
    kept(found.network, target)
    assert abs(accuracy(found.network, digits) - accuracy(free.network, digits)) < 0.01
    told = found.report.target
    assert told is not None
    assert told.accuracy is not None
    assert told.accuracy_without is not None
    assert told.accuracy_float is not None
    assert min(told.accuracy, told.accuracy_without, told.accuracy_float) > 0.9
    assert json.dumps(found.report.as_dict())


def test_rate_coding_costs_accuracy(trained: SpikingNetwork, digits: Dataset) -> None:
    """Its neurons fire at least at every second, third, ... step, so few values have their rate."""
    graph, x = export_float(trained), digits.train_x[:128]
    config = QuantizeConfig(target="loihi1", input_coding="rate")
    found = quantize(graph, x, config, labels=digits.train_y[:128], static=True)
    kept(found.network)
    (source,), (injected,) = found.network.inputs, found.network.injections
    assert source.coding is Coding.BIAS
    samples = encode_samples([source], 4, digits.test_x[:2], static=True)
    run = run_native(found.network, samples, record="spikes")
    assert run.trace is not None
    fired = run.trace.spikes[injected.target].sum(0)
    values = np.rint(16 * digits.test_x[:2])
    every = np.ceil(15.5 / np.maximum(values, 1))
    assert np.array_equal(fired, np.where(values > 0, 4 // every, 0))
    got = accuracy(found.network, digits)
    assert 0.7 < got < accuracy(quantize(graph, x, LOIHI1, static=True).network, digits)
    assert "are biases of 'input_rate', neurons whose rates follow them" in " ".join(
        found.report.rewrites
    )
    with pytest.raises(InputError, match="input_coding is rate, whose neurons cannot be trained"):
        prepare_qat(trained, x, config)
    with pytest.raises(InputError, match="ladder: input_coding rate adds neurons"):
        LadderConfig(quantize=config)
    signed = chain(
        {"fc": affine([[0.7, -0.3]]), "if": integrate_and_fire((1,))},
        Input("input", (2,), Coding.GRADED, -5, 5, 5.0),
    )
    with pytest.raises(InputError, match=r"its values -5.* are no rates; give"):
        quantized(signed, np.zeros((1, 2)), config)


def test_a_ladder_for_loihi_1(trained: SpikingNetwork, digits: Dataset, tmp_path: Path) -> None:
    config = LadderConfig(
        samples=40, calibration=64, reference_samples=1, lava_samples=0, quantize=LOIHI1
    )
    done = run_ladder(trained, digits, tmp_path, config)
    kept(done.network)
    assert done.report.passed


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_weights_in_training_are_shrunk_until_their_sums_fit(data: st.DataObject) -> None:
    """By the bound of `check`; what fits is not touched."""
    drawn = data.draw(
        networks(feed_forward=True, dense_exponents=(0,), conv_exponents=(0,), max_payloads=(1, 7))
    )
    made = drawn.replace(
        populations=tuple(
            dataclasses.replace(part, decay_u=LOIHI.decay_unity, refractory=0)
            for part in require_lif_populations(drawn.populations)
        )
    )
    limit = data.draw(st.integers(200, 40_000))
    network = QATNetwork(made, limits=TargetLimits("chip", limit, -4095))
    before = {name: value.clone() for name, value in network.weights.items()}
    deployed = network.deployed()
    for part in made.populations:
        first, now = (population_bound(n, part.name) for n in (made, deployed))
        (into,) = made.weighted_into(part.name)
        assert now <= limit
        if first <= limit:
            assert now == first
            assert before[into.name].equal(network.weights[into.name])
        else:
            assert now < first
    assert network.deployed() == deployed
    for part in made.populations:
        parts, whole = network.incoming(part.name), dict(network.integers().weights)
        masters = dict(network.weights)
        assert fit_sums(made, parts, network.grids, masters, whole, limit) == {}


def test_training_in_chip_arithmetic_keeps_to_the_target(
    trained: SpikingNetwork, digits: Dataset, tmp_path: Path
) -> None:
    start = prepare_qat(trained, digits.train_x[:64], QuantizeConfig(4, target="loihi1"))
    assert start.limits == TargetLimits("loihi1", SUM_MAX, -4095)
    tight = max(population_bound(start.template, name) for name in start.layer_names) // 2
    start.limits = TargetLimits("loihi1", tight, -4095)
    config = TrainConfig(
        widths=(6, 12), steps=4, epochs=1, batch_size=32, weight_bits=4, lr=2e-3,
        optimizer="adamw",  # type: ignore[arg-type]
    )  # fmt: skip
    path = tmp_path / "q.safetensors"
    model = train(config, digits, start=start, checkpoint=path).model
    assert isinstance(model, QATNetwork)
    deployed = model.deployed()
    kept(deployed)
    assert max(population_bound(deployed, name) for name in model.layer_names) <= tight
    assert measure_accuracy(model, digits.test_x, digits.test_y) > 0.9
    again = load_checkpoint(path).model
    assert isinstance(again, QATNetwork)
    assert again.limits == start.limits
    assert again.deployed() == deployed
    with pytest.raises(
        InputError, match=r"target is 'loihi2', but the start .* 'loihi1'; start fr"
    ):
        qat_start(again, 4, digits.train_x[:8], "loihi2")
    assert qat_start(again, 4, digits.train_x[:8], "loihi1") is again


def test_limits_in_a_checkpoint_are_checked() -> None:
    good = {"name": "loihi1", "sum_max": None, "bias_min": -4095}
    assert TargetLimits.of(good) == TargetLimits("loihi1", None, -4095)
    for wrong, message in (
        ({**good, "name": 3}, "chip: target name is 3, must be a string"),
        ({**good, "sum_max": 0}, "chip: target sum_max"),
        ({**good, "bias_min": -5000}, "chip: target bias_min"),
        ({"name": "x"}, "chip: target is"),
    ):
        with pytest.raises(InputError, match=message):
            TargetLimits.of(wrong)


def test_only_neurons_whose_own_sums_are_too_large_are_shrunk() -> None:
    """What excites and what inhibits a neuron counts apart, over all its connections."""
    more, less = (
        Dense(name, "a", np.array(rows, np.int16), name=f"from_{name}")
        for name, rows in (("one", [[100], [40], [90]]), ("two", [[-100], [60], [90]]))
    )
    made = DeployedNetwork(
        (Input("x", (1,)),),
        (
            Population("one", (1,), vth=1),
            Population("two", (1,), vth=1),
            Population("a", (3,), vth=9),
        ),
        (dense("x", "one", 1, 1), dense("x", "two", 1, 1), more, less),
        (Readout("a"),),
        1,
    )
    assert population_bound(made, "a") == 180
    found = QATNetwork(made, limits=TargetLimits("chip", 120, -4095)).deployed()
    assert population_bound(found, "a") == 120
    weights = [c.weight.ravel().tolist() for c in found.weighted_into("a")]
    assert weights == [[100, 40, 60], [-100, 60, 60]]


def test_weights_that_are_not_trained_are_not_shrunk() -> None:
    net = chain({"fc": affine(np.full((1, 9), 0.1)), "lif": leaky((1,), 0.5)}, spikes_in(9))
    made = quantized(net, np.zeros((1, 9))).network
    network = QATNetwork(made, frozen=["fc"], limits=TargetLimits("chip", 100, -4095))
    with pytest.raises(InputError) as error:
        network.deployed()
    assert str(error.value) == (
        "population 'lif': weights that are not trained add up to "
        f"{population_bound(made, 'lif')} in a step, limit 100"
    )


def test_the_command_line(tmp_path: Path, folder: Path, spikeport: Spikeport) -> None:
    graph, chip = folder / "m.nir", tmp_path / "c.spikeport"
    code, out, err = spikeport(
        "quantize", graph, "-o", chip, "--target", "loihi1", "--calibration", 32
    )
    assert code == 0, err
    words = " ".join(out.split())
    assert "Quantization for loihi1" in words
    assert "% in floats" in words
    assert "spikes carry no value" in words
    assert "accuracy without it, %" in words
    assert spikeport("check", chip, "--target", "loihi1")[0] == 0
    model = folder / "m.safetensors"
    code, _, err = spikeport(
        "train", "digits", "-o", tmp_path / "q.safetensors", "--target", "loihi1"
    )
    assert (code, "--target loihi1: needs --bits, training in chip arithmetic" in err) == (2, True)
    code, out, err = spikeport(
        *("train", "digits", "--from", model, "--bits", 4, "--target", "loihi1", "-T", 4),
        *("--set", "chip.epochs=1", "-o", tmp_path / "q.safetensors"),
    )
    assert code == 0, err
    trained_chip = tmp_path / "q.spikeport"
    trained_network = load_checkpoint(tmp_path / "q.safetensors").model
    assert isinstance(trained_network, QATNetwork)
    save_network(trained_network.deployed(), trained_chip)
    assert spikeport("check", trained_chip, "--target", "loihi1")[0] == 0


SHARED = os.environ.get("SPIKEPORT_DATA")


@pytest.mark.data
@pytest.mark.skipif(SHARED is None, reason="SPIKEPORT_DATA names no data folder")
def test_a_published_graph() -> None:
    path = Path(str(SHARED)) / "nir/neuromorphs-NIR/paper/03_rnn/braille_noDelay_bias_zero.nir"
    net = read_nir_float(path, dt_s=1e-4, steps=64, isolate=False, reset=Reset.ZERO)
    x = (np.random.default_rng(0).uniform(size=(64, 8, 12)) < 0.1).astype(float)
    found = quantized(net, x, LOIHI1)
    kept(found.network)
    assert LOIHI.name == found.network.arithmetic.name
