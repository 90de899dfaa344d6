"""Training in chip arithmetic: what computes in training is what runs on the chip."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from spikeport.energy import estimate_energy, load_profile
from spikeport.errors import InputError
from spikeport.export import QuantizeConfig
from spikeport.network import (
    LOIHI,
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
    SumPool2d,
    require_lif_populations,
)
from spikeport.runs import SampleSet, encode_samples
from spikeport.simulators import run_native, run_reference
from spikeport.trainer import (
    LI,
    LIF,
    Dataset,
    Node,
    QATNetwork,
    SpikingNetwork,
    TrainConfig,
    evaluate,
    load_checkpoint,
    load_digits_split,
    measure_accuracy,
    small_conv,
    train,
)
from spikeport.trainer.chip.grid import Grid, bias_integers
from spikeport.trainer.chip.network import rate_scores, spiking_pass
from spikeport.trainer.chip.neurons import _stepwise, run_population
from spikeport.trainer.chip.sums import in_bytes, largest_byte, weighted, weighted_sum
from spikeport.trainer.energy.loss import model_of
from spikeport.trainer.energy.model import message_rate
from spikeport.trainer.loop.start import first_network
from spikeport.trainer.measure.metrics import count_and_price, energy_uj
from spikeport.workflow import export_float, prepare_qat, quantize
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for

CONFIG = TrainConfig(widths=(6, 12), steps=4, epochs=4, batch_size=32)
CHIP = dataclasses.replace(
    CONFIG,
    optimizer="adamw",  # type: ignore[arg-type]
    lr=2e-3,
    weight_decay=0.0,
    weight_bits=4,
    epochs=3,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_split()


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> SpikingNetwork:
    model = train(CONFIG, digits).model
    assert isinstance(model, SpikingNetwork)
    return model


def chip(model: SpikingNetwork, data: Dataset, bits: int) -> QATNetwork:
    return prepare_qat(model, data.train_x[:128], QuantizeConfig(weight_bits=bits))


def test_training_starts_from_scales_that_leave_outliers_their_range(
    trained: SpikingNetwork, digits: Dataset
) -> None:
    model, x = copy.deepcopy(trained), digits.train_x[:64]
    with torch.no_grad():
        model.weight_parameters()[-1].view(-1)[0] *= 300
    graph, config = export_float(model), QuantizeConfig(weight_bits=4)
    narrow = quantize(graph, x, dataclasses.replace(config, search_wider=False)).network
    assert quantize(graph, x, config).network.content_hash != narrow.content_hash
    assert prepare_qat(model, x, config).template.content_hash == narrow.content_hash


def plain(network: DeployedNetwork) -> DeployedNetwork:
    """The same without synaptic filters and refractory time, which this training refuses."""
    return network.replace(
        populations=tuple(
            dataclasses.replace(part, decay_u=LOIHI.decay_unity, refractory=0)
            for part in require_lif_populations(network.populations)
        )
    )


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_its_spiking_pass_is_the_reference(data: st.DataObject) -> None:
    drawn = data.draw(
        networks(
            feed_forward=True,
            dense_exponents=(0, 2, 7),
            conv_exponents=(0, 3),
            max_payloads=(1, 255),
        )
    )
    network = QATNetwork(plain(drawn).replace(readouts=drawn.readouts[:1]))
    deployed = network.deployed()
    part = deployed.inputs[0]
    samples = data.draw(samples_for(deployed))
    x = SampleSet({name: np.asarray(values) / part.scale for name, values in samples.items()})
    ours = evaluate(network, x, ("spikes",))
    assert_equal_runs(ours, run_reference(deployed, samples, record=("spikes",)))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    geometry=st.tuples(*[st.tuples(st.integers(1, 3), st.integers(1, 3))] * 3),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_convolutions_of_spikes_of_any_geometry_are_exact(
    seed: int,
    sizes: tuple[int, ...],
    geometry: tuple[tuple[int, int], ...],
    padding: tuple[int, int],
) -> None:
    """Windows that lie in the padding alone crash oneDNN, one channel may come out wrong there."""
    rng = np.random.default_rng(seed)
    kernel, stride, dilation = geometry
    weight = 2 * rng.integers(-128, 128, (sizes[0], sizes[1], *kernel)).astype(np.int16)
    weight.flat[0], weight.flat[-1] = -2, 2
    connection = Conv2d("x", "a", weight, stride=stride, padding=padding, dilation=dilation)
    side = [p * -2 + d * (k - 1) + 1 for k, d, p in zip(kernel, dilation, padding, strict=True)]
    shape = (sizes[1], max(side[0], 1) + sizes[2], max(side[1], 1) + sizes[3])
    spikes = torch.from_numpy(rng.integers(0, 2, (2, 3, *shape)).astype(np.uint8))
    grid = Grid(-256, 254, 2, 1.0)
    found = weighted(connection, grid, torch.from_numpy(weight), spikes, torch.float32)
    whole = torch.from_numpy(weight).double()
    rows = spikes.flatten(0, 1).double()
    wanted = functional.conv2d(rows, whole, None, stride, padding, dilation)
    assert torch.equal(found.double().flatten(0, 1), wanted)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    reset=st.sampled_from(Reset),
    decay=st.integers(0, LOIHI.decay_unity),
    vth=st.sampled_from([0, 1, 100, 3000, LOIHI.vth_max]),
    size=st.sampled_from([1, 7, 33]),
    reach=st.sampled_from([300, 20_000, 2**19]),
    still=st.booleans(),
)
def test_compiled_neurons_equal_torchs_operations(
    seed: int, reset: Reset, decay: int, vth: int, size: int, reach: int, still: bool
) -> None:
    rng = np.random.default_rng(seed)
    part = Population("p", (size,), vth=vth, decay_v=decay, reset=reset, v_init=3, scale=50.0)
    current = torch.tensor(
        rng.integers(-reach, reach, (1 if still else 5, 3, size)), dtype=torch.float32
    )
    bias = torch.tensor(rng.integers(-9000, 9000, size), dtype=torch.float32)
    ran = run_population(part, bias, current, 5)
    spikes, sums, last, updates = _stepwise(part, bias.to(torch.int32), current, 5)
    assert torch.equal(ran.spikes, spikes)
    assert torch.equal(ran.last, last)
    assert ran.updates == updates
    torch.testing.assert_close(ran.rate, sums[0] / 5)
    theta = max(vth, 1) / part.scale
    torch.testing.assert_close(ran.gain * theta, sums[1] / 5, rtol=1e-4, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(2, 8),
    signs=st.sampled_from([(-1, 1), (0, 1), (-1, 0)]),
    later=st.sampled_from([(-1, 1), (0, 1), (-1, 0)]),
    spread=st.floats(0.01, 10),
)
def test_integers_are_always_legal(
    seed: int, bits: int, signs: tuple[int, int], later: tuple[int, int], spread: float
) -> None:
    rng = np.random.default_rng(seed)

    def matrix(signs: tuple[int, int]) -> NDArray[np.int16]:
        mixed = signs == (-1, 1)
        low, high, step = LOIHI.weight_grid(mixed=mixed, bits=bits)
        values = rng.integers(0, (high - low) // step + 1, (4, 5)) * step + low
        if mixed:
            values[0, :2] = low, high
        return (values if signs[1] else -values).astype(np.int16)

    connection = Dense("input", "p", matrix(signs), weight_bits=bits, name="c")
    grid = Grid.of(connection, 2.0, Population("p", (4,), vth=10, scale=37.0))
    same, _ = grid.integers(torch.tensor(connection.weight * grid.unit, dtype=torch.float32))
    assert torch.equal(same, torch.tensor(connection.weight))
    master = torch.tensor(spread * matrix(later) * grid.unit, dtype=torch.float32)
    apart = master.repeat_interleave(2, 1)[:, ::2]  # not dense: rounded by torch itself
    whole, largest = grid.integers(master)
    assert not LOIHI.off_grid(whole.numpy().astype(np.int64), bits).any()
    assert largest == np.abs(whole.numpy().astype(np.int64)).sum(1).max()
    again, bound = grid.integers(apart)
    assert torch.equal(again, whole)
    assert torch.equal(apart, master)
    assert bound == largest
    # the nearest that the ends allow: masters stay within half a step of what they stand for
    distance, single = (master / grid.unit - whole).abs().max(), len(np.unique(whole)) == 1
    assert distance <= (2 if single else 1.001) * grid.step


def test_ties_of_weights_go_to_the_even_number_of_steps_and_images_keep_their_order() -> None:
    grid = Grid(-256, 254, 2, 1.0)
    master = torch.arange(-8.0, 8.0).reshape(2, 2, 2, 2)
    whole, largest = grid.integers(master.contiguous(memory_format=torch.channels_last))
    assert whole.flatten().tolist() == [-8, -8, -6, -4, -4, -4, -2, 0, 0, 0, 2, 4, 4, 4, 6, 8]
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert largest == 36


@pytest.mark.parametrize("dense", [True, False])
def test_a_weight_that_is_no_number_is_named(
    trained: SpikingNetwork, digits: Dataset, dense: bool
) -> None:
    network = chip(trained, digits, 8)
    name = network.template.weighted_connections[0].name
    values = network.weights[name].data
    values.view(-1)[3] = torch.nan
    if not dense:
        network.weights[name].data = values.repeat_interleave(2, 1)[:, ::2]
    with pytest.raises(InputError, match=rf"connection '{name}': a weight is NaN, must be finite"):
        network(torch.tensor(digits.test_x[:2]))


def test_biases_take_the_smallest_exponent_that_holds_them() -> None:
    mantissa, exponent = bias_integers(torch.tensor([0.5, -0.25]), 100.0)
    assert (mantissa.tolist(), exponent) == ([3200.0, -1600.0], 0)
    mantissa, exponent = bias_integers(torch.tensor([5.0, 0.01]), 100.0)
    assert (mantissa.tolist(), exponent) == ([4000.0, 8.0], 3)
    mantissa, exponent = bias_integers(torch.tensor([1e6]), 100.0)
    assert (mantissa.tolist(), exponent) == ([LOIHI.bias_mantissa_max], LOIHI.bias_exponent_max)


def test_gains_are_those_of_the_rule_at_one_neuron() -> None:
    part = Population("p", (1,), vth=100, decay_v=1024, scale=200.0)
    currents = [60, 70, 10]
    x = torch.tensor(currents, dtype=torch.float32).view(3, 1, 1)
    ran = run_population(part, torch.zeros(1), x, 3)
    theta, keep, v, rho, fired, response = 0.5, 0.75, 0.0, 1.0, [], 0.0
    for current in currents:
        v = keep * v + current / 200
        z = 1 / (1 + np.exp(-4 * (v / theta - 1)))
        response += rho * 4 / theta * z * (1 - z)
        spike = v > theta
        fired.append(spike)
        rho = 1 + keep * (1 - spike) * rho
        v = 0.0 if spike else v
    assert ran.spikes.flatten().tolist() == fired == [0, 1, 0]
    assert float(ran.gain) == pytest.approx(response / 3, rel=1e-3)  # v is truncated to 1/64


def test_its_gradients_are_those_of_the_float_network(digits: Dataset) -> None:
    torch.manual_seed(0)
    nodes = (
        Node("conv", ("input",), nn.Conv2d(1, 6, 3)),
        Node("lif1", ("conv",), LIF(0.5)),
        Node("pool", ("lif1",), nn.AvgPool2d(2)),
        Node("dense", ("pool",), nn.Linear(54, 16)),
        Node("lif2", ("dense",), LIF(0.5)),
        Node("readout", ("lif2",), nn.Linear(16, 10)),
    )
    model = SpikingNetwork(digits.input, nodes, 6)
    for node in nodes[:1] + nodes[3:4]:
        assert isinstance(node.op.weight, Tensor)
        node.op.weight.data.mul_(3)  # so that neurons fire
    network = chip(model, digits, 8).train()
    model.train()
    x, y = torch.tensor(digits.train_x[:64]), torch.tensor(digits.train_y[:64])
    for net in (model, network):
        functional.cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]
    for name in ("conv", "dense", "readout"):
        ours = network.weights[name].grad
        theirs = model.layers[name].weight.grad
        assert isinstance(ours, Tensor)
        assert isinstance(theirs, Tensor)
        if name == "dense":  # the mean over each window is part of the weights after it
            theirs = theirs * 4
        assert functional.cosine_similarity(ours.flatten(), theirs.flatten(), 0) > 0.98
        assert float(ours.norm() / theirs.norm()) == pytest.approx(1, abs=0.1)


def test_the_rate_pass_gives_the_chips_scores(trained: SpikingNetwork, digits: Dataset) -> None:
    network = chip(trained, digits, 4)
    whole, messages = network.integers(), network.messages(torch.tensor(digits.test_x[:50]))
    record = spiking_pass(network, whole, messages)
    scores, rates = rate_scores(network, whole, messages, record)
    torch.testing.assert_close(scores.detach(), record.scores, rtol=0, atol=5e-6)
    assert rates.keys() == record.rates.keys() == {"lif1", "lif2"}
    for name, rate in rates.items():
        assert torch.equal(rate.detach(), record.rates[name])


def windows(last: nn.Module) -> SpikingNetwork:
    """A residual network with a max-pool of spikes, batch norms and `last` at its end."""
    torch.manual_seed(1)
    lif = LIF(0.75)
    nodes = [
        Node("conv1", ("input",), nn.Conv2d(1, 4, 3, padding=1)),
        Node("bn1", ("conv1",), nn.BatchNorm2d(4)),
        Node("lif1", ("bn1",), lif),
        Node("largest", ("lif1",), nn.MaxPool2d(2)),
        Node("conv2", ("largest",), nn.Conv2d(4, 4, 3, padding=1)),
        Node("bn2", ("conv2",), nn.BatchNorm2d(4)),
        Node("lif2", ("bn2", "largest"), lif),
        Node("readout", ("lif2",), nn.Linear(64, 10)),
    ]
    if not isinstance(last, nn.Identity):
        nodes.append(Node("last", ("readout",), last))  # type: ignore[arg-type]
    return SpikingNetwork(Input("input", (1, 8, 8), Coding.GRADED, 0, 16, 16.0), nodes, 5)


@pytest.mark.parametrize("last", [nn.Identity(), LIF(0.5), LI(0.75)], ids=lambda op: str(op)[:3])
def test_residuals_max_pools_and_readouts(last: nn.Module, digits: Dataset) -> None:
    model = windows(last).train()
    x = torch.tensor(digits.train_x[:200])
    for _ in range(3):
        model.spiking_pass(x)
    network = chip(model.eval(), digits, 6)
    fixed = {name for name, p in network.weights.items() if not p.requires_grad}
    assert fixed == {"largest_any", "largest_to_lif2"}
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    labels = torch.tensor(digits.train_y[:200])
    network.train()
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    deployed = network.deployed()
    assert deployed != network.template
    samples = encode_samples(deployed.inputs, 5, digits.test_x[:40])
    ours = evaluate(network, digits.test_x[:40], ("spikes",))
    assert_equal_runs(ours, run_native(deployed, samples, record=("spikes",)))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_what_is_trained_is_what_is_deployed(
    bits: int, trained: SpikingNetwork, digits: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    config = dataclasses.replace(CHIP, weight_bits=bits)
    start = chip(trained, digits, bits)
    assert start.deployed() == start.template
    before = measure_accuracy(start, digits.test_x, digits.test_y)
    result = train(config, digits, checkpoint=path, start=start)
    assert isinstance(result.model, QATNetwork)
    deployed = result.model.deployed()
    samples = encode_samples(deployed.inputs, deployed.steps, digits.test_x)
    run = run_native(deployed, samples)
    after = measure_accuracy(result.model, digits.test_x, digits.test_y)
    assert after == float((run.predictions == digits.test_y).mean())
    assert_equal_runs(evaluate(result.model, digits.test_x), run)
    floats = measure_accuracy(trained, digits.test_x, digits.test_y)
    assert after >= floats - 0.02
    # of 8 bits rounding alone loses nothing that training could win back
    assert after >= before - (0.01 if bits == 8 else 0)
    assert result.history[-1].loss < result.history[0].loss
    loaded = load_checkpoint(path)
    assert isinstance(loaded.model, QATNetwork)
    assert loaded.model.deployed() == deployed


class StopError(Exception):
    """Ends a run between two epochs."""


def test_a_stopped_run_ends_in_the_same_weights(
    trained: SpikingNetwork, digits: Dataset, tmp_path: Path
) -> None:
    def stop(record: object) -> None:
        if record.epoch == 2:  # type: ignore[attr-defined]
            raise StopError

    whole = train(CHIP, digits, start=chip(trained, digits, 4)).model
    path = tmp_path / "m.safetensors"
    with pytest.raises(StopError):
        train(CHIP, digits, stop, checkpoint=path, start=chip(trained, digits, 4))
    resumed = train(CHIP, digits, checkpoint=path, resume=True).model
    assert isinstance(whole, QATNetwork)
    assert isinstance(resumed, QATNetwork)
    for (name, a), (_, b) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert whole.deployed() == resumed.deployed()


def test_a_checkpoint_whose_masters_were_changed_is_refused(
    trained: SpikingNetwork, digits: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    short = dataclasses.replace(CHIP, epochs=1)
    train(short, digits, checkpoint=path, start=chip(trained, digits, 4))
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def refusal(changes: dict[str, Tensor], document: dict[str, object] | None = None) -> str:
        header = metadata if document is None else {"spikeport": json.dumps(document)}
        save_file(tensors | changes, path, header)
        with pytest.raises(InputError) as caught:
            load_checkpoint(path)
        return str(caught.value)

    name = "network.weights.conv1"
    assert "master weights round to network" in refusal({name: tensors[name] + 0.3})
    assert "NaN or infinity" in refusal({"exp_avg.weights.conv1": tensors[name] * torch.nan})
    document = json.loads(metadata["spikeport"])
    document["config"]["weight_bits"] = None
    assert "weight_bits is None" in refusal({}, document)
    document = json.loads(metadata["spikeport"])
    del document["chip"]["frozen"]
    assert "description is invalid" in refusal({}, document)


def test_what_cannot_be_trained_so_is_listed() -> None:
    network = DeployedNetwork(
        inputs=(Input("input", (2,), Coding.SPIKES),),
        populations=(Population("p", (2,), vth=10, decay_u=100, refractory=2),),
        connections=(
            Dense("input", "p", np.eye(2, dtype=np.int16), exponent=-1, name="a"),
            Dense("p", "p", np.eye(2, dtype=np.int16), delay=1, name="b"),
        ),
        readouts=(Readout("p", ReadoutKind.SPIKES),),
        steps=3,
    )
    with pytest.raises(InputError) as caught:
        QATNetwork(network)
    for reason in ("decay_u is 100", "refractory is 2", "exponent is -1", "delay is 1"):
        assert reason in str(caught.value)


def test_a_sum_that_is_not_exact_is_refused() -> None:
    wide = np.full((1, 2**14), 254, np.int16)
    network = QATNetwork(
        DeployedNetwork(
            inputs=(Input("input", (2**14,), Coding.GRADED, 0, 2**22, 1.0),),
            populations=(Population("p", (1,), vth=10),),
            connections=(Dense("input", "p", wide, name="a"),),
            readouts=(Readout("p", ReadoutKind.SPIKES),),
            steps=1,
        )
    )
    x = torch.full((1, 2**14), 2.0**22)  # 2^44: exact in float64, in int32 it wraps
    assert float(network.eval()(x)) in (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weight_bits": 9}, "weight_bits is 9"),
        ({"weight_bits": 4, "rule": "bptt_m"}, "must be 'rate_m'"),
        ({"weight_bits": 4, "compile": True}, "compile is true"),
        ({"optimizer": "adam"}, "optimizer is 'adam'"),
    ],
)
def test_configurations_that_make_no_sense(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        dataclasses.replace(CONFIG, **change)  # type: ignore[arg-type]


def test_it_starts_from_a_trained_network_only(digits: Dataset, trained: SpikingNetwork) -> None:
    with pytest.raises(InputError, match="weight_bits is 4"):
        train(CHIP, digits)
    with pytest.raises(InputError, match="weight_bits is None"):
        train(CONFIG, digits, start=chip(trained, digits, 4))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3, 16, 40]),
    pool=st.sampled_from([None, SumPool2d((2, 2), (2, 2)), SumPool2d((2, 3), (2, 3))]),
    stride=st.sampled_from([(1, 1), (2, 1)]),
    padding=st.sampled_from([(0, 0), (1, 2)]),
    dilation=st.sampled_from([(1, 1), (2, 1)]),
    inner=st.booleans(),
)
def test_sums_in_bytes_are_exact(
    seed: int,
    channels: int,
    pool: SumPool2d | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    inner: bool,
) -> None:
    rng = np.random.default_rng(seed)
    connection = Conv2d(
        "input",
        "p",
        (rng.integers(-128, 128, (5, channels, 2, 2)) * 2).astype(np.int16),
        stride=stride,
        padding=padding,
        dilation=dilation,
        pool=pool,
        name="c",
    )
    spikes = torch.tensor(rng.integers(0, 2, (2, 3, channels, 9, 9)), dtype=torch.uint8)
    if inner:
        spikes = spikes.movedim(2, -1).contiguous().movedim(-1, 2)
    weight = torch.tensor(connection.weight)
    grid = Grid.of(connection, 1.0, Population("p", (5, 9, 9), vth=1))
    found = weighted(connection, grid, weight, spikes, torch.float32)
    exact = weighted_sum(connection, weight.double(), spikes.flatten(0, 1).double())
    assert torch.equal(found.flatten(0, 1).double(), exact)


@pytest.mark.parametrize("window", [(1, 127), (8, 16), (3, 43), (15, 17), (16, 16)])
@pytest.mark.parametrize("most", [127, -128])
def test_windows_full_of_spikes_are_summed_in_bytes_while_no_pair_of_products_saturates(
    window: tuple[int, int], most: int
) -> None:
    """In 16 bits, which processors without VNNI have, 129 * 127 twice is too much."""
    weight = np.full((3, 4, 1, 2), 2 * most, np.int16)
    weight[0, 0] = -2 * np.sign(most)  # weights of one sign have a grid of their own
    connection = Conv2d("x", "p", weight, pool=SumPool2d(window, window))
    shape = (2, 1, 2 * window[0], 3 * window[1], 4)
    spikes = torch.ones(shape, dtype=torch.uint8).movedim(-1, 2)
    grid = Grid(-256, 254, 2, 1.0)
    area = window[0] * window[1]
    assert largest_byte() in (0, 128, 255)
    assert in_bytes(connection, grid, spikes.flatten(0, 1)) == (area <= largest_byte())
    found = weighted(connection, grid, torch.from_numpy(weight), spikes, torch.float32)
    assert (found == area * weight.reshape(3, -1).sum(1)[:, None, None]).all()


def test_sums_beyond_float32_are_not_rounded_to_it() -> None:
    weight = np.full((2, 300, 1, 1), 254, np.int16)
    weight[1, 0] = 252
    connection = Conv2d("x", "p", weight, pool=SumPool2d((15, 17), (15, 17)))
    spikes = torch.ones((1, 1, 15, 17, 300), dtype=torch.uint8).movedim(-1, 2)
    spikes[0, 0, 0, 0, 0] = 0
    found = weighted(
        connection, Grid(-256, 254, 2, 1.0), torch.from_numpy(weight), spikes, torch.float64
    )
    assert found.flatten().tolist() == [255 * 300 * 254 - 254, 255 * 299 * 254 + 254 * 252]


def test_wide_inputs_share_the_room_for_sums_with_the_weights(digits: Dataset) -> None:
    wide = Input("input", (1, 8, 8), Coding.GRADED, 0, 4080, 4080.0)
    torch.manual_seed(2)
    model = small_conv(wide, 10, (6, 8), 4, LIF(0.5)).train()
    x = torch.tensor(digits.train_x[:200])
    for _ in range(3):
        model.spiking_pass(x)
    config = QuantizeConfig(weight_bits=4)
    network = prepare_qat(model.eval(), digits.train_x[:64], config)
    assert (
        len(
            np.unique(
                next(c for c in network.template.weighted_connections if c.name == "conv1").weight
            )
        )
        >= 7
    )
    assert (network.input.low, network.input.high) == (0, math.ceil(network.input.scale))
    assert math.log2(4080 / network.input.scale).is_integer()
    # the rest is as before: its deployed network takes the same samples, rounded further
    deployed = network.deployed()
    samples = encode_samples(deployed.inputs, 4, digits.test_x[:30])
    ours = evaluate(network, digits.test_x[:30], ("spikes",))
    assert_equal_runs(ours, run_native(deployed, samples, record=("spikes",)))
    data = dataclasses.replace(digits, input=wide)
    assert first_network(CHIP, data, network).input == network.input


@pytest.mark.parametrize("scale", [255.0, 127.5, 31.875, 8.0, 3.0])
def test_messages_are_those_that_a_simulator_is_sent(scale: float) -> None:
    input = Input("input", (256,), Coding.GRADED, 0, 255, scale)
    network = QATNetwork(
        DeployedNetwork(
            inputs=(input,),
            populations=(Population("p", (1,), vth=10),),
            connections=(Dense("input", "p", np.ones((1, 256), np.int16), name="a"),),
            readouts=(Readout("p", ReadoutKind.SPIKES),),
            steps=2,
        )
    )
    for divisor in (255, 64, 16):  # bytes halved are ties, which float32 and float64 see apart
        x = (np.arange(256, dtype=np.float32) / np.float32(divisor))[None]
        sent = encode_samples((input,), 2, x, clip=True)["input"]
        np.testing.assert_array_equal(network.messages(torch.tensor(x))[0].numpy(), sent)


@pytest.mark.parametrize("bits", [2, 4])
def test_energy_in_training_follows_weights_that_round_to_zero(
    trained: SpikingNetwork, digits: Dataset, bits: int
) -> None:
    profile = load_profile("loihi1")
    network = chip(trained, digits, bits).train()
    model, x = model_of(network, profile), torch.tensor(digits.train_x[:32])
    stored: list[int] = []
    nonzero: list[int] = []
    for _ in range(2):
        record = network.training_pass(x)[1]
        sent = {"input": message_rate(network.messages(x), network.input.shape)}
        seen = float(model()(sent | dict(record.rates), record.updates).detach())
        deployed = network.deployed()
        run = run_native(deployed, encode_samples(deployed.inputs, 4, digits.train_x[:32]))
        assert run.counts is not None
        priced = estimate_energy(deployed, run.counts, profile).dynamic.nominal / 32e6
        assert seen == pytest.approx(priced, rel=1e-6)
        stored.append(run.counts.total("synaptic_events_all"))
        nonzero.append(run.counts.total("synaptic_events"))
        kernel = next(w for w in network.weights.values() if w.ndim == 4)
        with torch.no_grad():
            kernel[: len(kernel) // 2] = 0.0
    assert nonzero[0] < stored[0]
    assert nonzero[1] / stored[1] < nonzero[0] / stored[0]


def test_an_energy_budget_in_chip_arithmetic(trained: SpikingNetwork, digits: Dataset) -> None:
    profile = load_profile("loihi1")
    start = chip(trained, digits, 4)
    before, _ = count_and_price(start, digits.train_x[:64], profile)
    spent = energy_uj(start, digits.train_x[:64], profile)
    assert spent is not None
    # what training takes for its energy is what the deployed network is priced at
    x = torch.tensor(digits.train_x[:64])
    record = start.train().training_pass(x)[1]
    sent = {"input": message_rate(start.messages(x), start.input.shape)}
    model = model_of(start, profile)()
    seen = model(sent | dict(record.rates), record.updates)
    assert float(seen.detach()) == pytest.approx(spent, rel=1e-6)
    deployed = start.deployed()
    run = run_native(deployed, encode_samples(deployed.inputs, 4, digits.train_x[:64]))
    assert run.counts is not None
    priced = estimate_energy(deployed, run.counts, profile).dynamic.nominal / 64e6
    assert float(seen.detach()) == pytest.approx(priced, rel=1e-6)

    budget = 0.75 * spent
    config = dataclasses.replace(CHIP, epochs=6, energy_budget_uj=budget, lr=3e-3)
    result = train(config, digits, start=start)
    counts, report = count_and_price(result.model, digits.test_x[:360], profile)
    assert report.dynamic.nominal / counts.samples / 1e6 <= budget
    per_sample = counts.total("synaptic_events") / counts.samples
    assert per_sample < 0.8 * before.total("synaptic_events") / before.samples
    after = measure_accuracy(result.model, digits.test_x, digits.test_y)
    assert after > measure_accuracy(trained, digits.test_x, digits.test_y) - 0.03
