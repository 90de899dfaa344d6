"""netx files: what is read from them, what is refused, and lava-dl's own networks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.backends.lava import run_lava
from spikeport.errors import InputError
from spikeport.export import read_netx
from spikeport.export.netx import reader
from spikeport.export.netx.hdf5 import read_isolated, read_raw
from spikeport.export.netx.layers import add_layer
from spikeport.network import (
    LOIHI,
    BiasInjection,
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Population,
    Readout,
    ReadoutKind,
    Sparse,
)
from spikeport.simulators import run_native, run_reference
from spikeport.storage import hdf5
from spikeport.trainer import load_dataset
from tests.helpers.lava import needs_lava
from tests.helpers.netx import NEURON, conv, dense, write_file
from tests.helpers.pilotnet import pilotnet

DATA = os.environ.get("SPIKEPORT_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SPIKEPORT_DATA names no data folder")
RNG = np.random.default_rng(4)


def mixed(*shape: int) -> Any:
    """Even weights of both signs."""
    return 2 * RNG.integers(-60, 60, shape)


def read(path: Path, *layers: Any, **options: Any) -> DeployedNetwork:
    """The network of a file of these layers."""
    return read_netx(write_file(path / "a.net", *layers), isolate=False, **options)


def spikes(network: DeployedNetwork, samples: Any, name: str) -> Any:
    """Spikes of a population, (T, N) for one sample."""
    trace = run_native(network, samples, record=("spikes",)).trace
    assert trace is not None
    return np.asarray(trace["spikes"][name]).reshape(network.steps, -1)


# ----------------------------------------------------------------------------------------- layers


def test_a_dense_layer_is_a_population_with_netx_units(tmp_path: Path) -> None:
    weight = mixed(3, 5)
    network = read(tmp_path, dense(weight, bias=np.array([1.0, -2, 3])))
    part = network.by_name["layer0"]
    assert isinstance(part, Population)
    assert (part.decay_u, part.decay_v, part.vth, part.bias_exponent) == (1024, 512, 40, 6)
    assert part.bias.tolist() == [1, -2, 3]
    (found,) = network.weighted_connections
    assert isinstance(found, Dense)
    assert (found.weight == weight).all()
    assert (found.exponent, found.delay) == (0, 0)
    assert network.inputs[0].shape == (5,)
    assert network.steps == 8


def test_odd_weights_of_both_signs_are_exact(tmp_path: Path) -> None:
    """As in netx, which shifts them left and the sum right."""
    (found,) = read(tmp_path, dense([[1, -3, 100]])).weighted_connections
    assert (found.weight * 2.0**found.exponent == [[1, -3, 100]]).all()
    (found,) = read(tmp_path, dense([[-256, -128]])).weighted_connections
    assert (found.weight * 2.0**found.exponent == [[-256, -128]]).all()


def test_a_chain_of_convolution_pool_and_dense(tmp_path: Path) -> None:
    layers = (
        {"type": "input", "shape": [2, 6, 6]},
        conv(mixed(4, 1, 3, 3, 1), (4, 4, 4), groups=2, bias=np.arange(4.0)),
        {"type": "pool", "shape": [4, 2, 2], "weight": np.full((1, 1, 2, 2), 16.0),
         "kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], "neuron": NEURON},
        {"type": "flatten", "shape": [16]},
        dense(mixed(3, 16)),
    )  # fmt: skip
    network = read(tmp_path, *layers)
    assert network.order == ("layer1", "layer2", "layer4")
    assert network.by_name["layer1"].bias[:, 0, 0].tolist() == [0, 1, 2, 3]
    pool = network.weighted_into("layer2")[0]
    assert isinstance(pool, Conv2d)
    assert (pool.groups, pool.stride, pool.weight.shape) == (4, (2, 2), (4, 1, 2, 2))
    samples = RNG.integers(0, 2, (8, 2, 2, 6, 6))
    ours, known = (run(network, samples).scores["layer4"] for run in (run_native, run_reference))
    assert np.array_equal(ours, known)


def test_strides_are_height_first(tmp_path: Path) -> None:
    layer = conv(mixed(1, 1, 3, 1), (1, 2, 4), stride=[2, 1])
    (found,) = read(tmp_path, {"type": "input", "shape": [1, 5, 4]}, layer).weighted_connections
    assert isinstance(found, Conv2d)
    assert found.stride == (2, 1)


def test_a_bias_of_each_neuron_has_width_first(tmp_path: Path) -> None:
    bias = np.arange(24).reshape(4, 3, 2)
    layer = conv(mixed(2, 1, 1, 1), (2, 3, 4), bias=bias)
    network = read(tmp_path, {"type": "input", "shape": [1, 3, 4]}, layer)
    assert (network.by_name["layer1"].bias == bias.transpose(2, 1, 0)).all()


def test_an_input_layer_with_neurons_takes_samples_as_biases(tmp_path: Path) -> None:
    first = {"type": "input", "shape": [1, 2, 2], "weight": 40.0, "bias": [36.0], "neuron": NEURON}
    network = read(tmp_path, first, {"type": "flatten", "shape": [4]}, dense(mixed(2, 4)))
    (source,) = network.inputs
    assert source.coding is Coding.BIAS
    assert (source.low, source.high, source.scale) == (-4096, 4059, 40.0)
    assert isinstance(network.injections[0], BiasInjection)
    assert network.by_name["layer0"].bias.tolist() == [[[36, 36], [36, 36]]]
    assert "round(40 x) + 36" in network.provenance["assumed"]


def test_delays_of_each_neuron_delay_its_input(tmp_path: Path) -> None:
    weight = np.full((3, 2), 254)
    layer = dense(weight, delay=np.array([0.0, 2, 5]))
    network = read(tmp_path, layer)
    assert {c.delay for c in network.weighted_connections} == {0, 2, 5}
    assert all(isinstance(c, Sparse) for c in network.weighted_connections)
    pulse = np.zeros((8, 1, 2), int)
    pulse[0] = 1
    fired = spikes(network, pulse, "layer0")
    assert fired.argmax(axis=0).tolist() == [0, 2, 5]
    delayed = {
        name: read(tmp_path, dense(weight, delay=value)).weighted_connections
        for name, value in (("one", 4), ("source", [1, 3]), ("each", np.eye(3, 2)))
    }
    assert [c.delay for c in delayed["one"]] == [4]
    assert sorted(c.delay for c in delayed["source"]) == [1, 3]
    assert sorted(c.delay for c in delayed["each"]) == [0, 1]


def test_recurrent_weights_act_a_step_later(tmp_path: Path) -> None:
    back = mixed(3, 3)
    layer = dense(mixed(3, 2), type="dense_rec", weight_rec=back)
    again = next(c for c in read(tmp_path, layer).weighted_connections if c.source == c.target)
    assert (again.delay, again.weight.tolist()) == (1, back.tolist())
    layer |= {"delay": np.array([1, 1, 1]), "delay_rec": np.array([2, 2, 2])}
    delays = {c.source: c.delay for c in read(tmp_path, layer).weighted_connections}
    assert delays == {"input": 1, "layer0": 3}
    layer |= {"delay_rec": np.array([0, 2, 5])}
    network = read(tmp_path, layer)
    loops = [c for c in network.weighted_connections if c.source == c.target]
    assert {c.delay for c in loops} == {1, 3, 6}
    assert (sum(c.matrix((3,)) * 2.0**c.exponent for c in loops) == back).all()


def test_a_last_layer_without_neurons_is_read_by_its_membrane(tmp_path: Path) -> None:
    layer = dense(mixed(3, 2))
    del layer["neuron"]
    network = read(tmp_path, layer)
    assert network.readouts == (Readout("layer0", ReadoutKind.MEMBRANE),)
    assert network.by_name["layer0"].vth == LOIHI.vth_max  # type: ignore[attr-defined]
    assert "never spike" in network.provenance["assumed"]


def test_a_last_layer_with_neurons_is_read_by_their_spikes(tmp_path: Path) -> None:
    layer = {**dense(mixed(3, 2)), "neuron": {**NEURON, "vThMant": LOIHI.vth_max}}
    network = read(tmp_path, layer)
    assert network.readouts == (Readout("layer0", ReadoutKind.SPIKES),)
    assert "never spike" not in network.provenance["assumed"]
    del layer["neuron"]
    network = read(tmp_path, layer, dense(mixed(4, 3)))
    assert network.readouts == (Readout("layer1", ReadoutKind.SPIKES),)


def test_provenance_names_the_file_and_every_assumption(tmp_path: Path) -> None:
    path = write_file(
        tmp_path / "a.net",
        {**dense(mixed(4, 2)), "neuron": {**NEURON, "theta": 1600}},
        {"type": "average", "shape": [2]},
        steps=None,
    )
    network = read_netx(path, steps=5)
    assert network.provenance["source"] == "a.net"
    assert network.provenance["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for word in ("T is 5, as given", "0/1 spikes", "layer/1 (average): left out", "not theta"):
        assert word in network.provenance["assumed"]


@pytest.mark.parametrize("isolate", [False, True])
def test_digest_and_layers_are_of_one_content(
    isolate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "a.net", dense(mixed(3, 5)))
    known = hashlib.sha256(path.read_bytes()).hexdigest()

    def replaced(*arguments: Any) -> None:
        write_file(path, dense(mixed(3, 6)))
        add_layer(*arguments)

    monkeypatch.setattr(reader, "add_layer", replaced)
    network = read_netx(path, isolate=isolate)
    assert network.inputs[0].shape == (5,)
    assert network.provenance["source_sha256"] == known


def test_a_file_beyond_all_limits_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "a.net", dense(mixed(3, 5)))
    monkeypatch.setattr(hdf5, "MAX_TOTAL_BYTES", 1000)
    message = rf"a\.net: has {path.stat().st_size} bytes, the limit is 1000$"
    with pytest.raises(InputError, match=message):
        read_netx(path, isolate=False)


def test_both_ways_of_reading_give_the_same(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.net", dense(mixed(3, 5), delay=np.array([0, 1, 0])))
    apart, here = read_isolated(path), read_raw(path)
    assert apart.layers[0].type == here.layers[0].type == "dense"
    assert apart.layers[0].fields.keys() == here.layers[0].fields.keys()
    assert read_netx(path) == read_netx(path, isolate=False)


# ---------------------------------------------------------------------------------------- refusals

Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(type="convT"), r"layer/0 \(convT\): this type of layer is not"),
        (lambda d: d.update(type="input"), r"\(input\): weight has shape \(3, 2\), must be"),
        (lambda d: d.update(surprise=1), r"layer/0 \(dense\): field 'surprise' is not supported"),
        (lambda d: d.pop("shape"), r"layer/0 \(dense\): shape is missing"),
        (lambda d: d.pop("weight"), r"layer/0 \(dense\): weight is missing"),
        (lambda d: d.update(weight=[[0.5, 1]] * 3), r"weight is 0.5 at \(0, 0\), must be integers"),
        (lambda d: d.update(weight=[[255, -1]] * 3), "is off the 8-bit grid"),
        (lambda d: d.update(weight=np.ones(7)), r"weight has shape \(7,\), must have 3 rows"),
        (lambda d: d.update(shape=[2**30]), "declares 1073741824 elements"),
        (lambda d: d.update(inFeatures=9), "inFeatures is '9', but its weight has 2"),
        (lambda d: d.update(outFeatures=9), "outFeatures is '9', but its weight has 3"),
        (lambda d: d.update(bias=[1.0, 2.0]), r"bias has shape \(2,\), must have 3 values"),
        (lambda d: d.update(bias=5000.0), "bias mantissa 5000 must lie in -4096..4095"),
        (lambda d: d.update(delay=63), r"delay spans 63..63, must lie in 0..62"),
        (lambda d: d.update(delay=[1, 2, 3, 4]), r"delay has shape \(4,\), but the weight"),
        (lambda d: d.update(delay=0.5), "delay is 0.5, must be integers"),
        (lambda d: d["neuron"].update(type="SDNN"), "type is 'SDNN', must be one of CUBA, LOIHI"),
        (lambda d: d["neuron"].pop("vDecay"), "neuron: vDecay is missing"),
        (lambda d: d["neuron"].update(iDecay=5000), "iDecay is 5000, must lie in 0..4096"),
        (lambda d: d["neuron"].update(iDecay=[1, 2]), r"iDecay has shape \(2,\), must be a single"),
        (lambda d: d["neuron"].update(refDelay=2), "refDelay is '2', must be 1: netx ignores any"),
        (lambda d: d["neuron"].update(wgtExp=1), "wgtExp is '1', must be 0: netx ignores any"),
        (lambda d: d["neuron"].update(gradedSpike=True), "gradedSpike is 'True', must be 0"),
        (lambda d: d["neuron"].update(sigma_output=1), "neuron: field 'sigma_output' is not"),
        (lambda d: d.update(weight={"real": 1, "imag": 2}), "'/layer/0/weight' holds complex"),
        (lambda d: d.update(type=""), "'/layer/0' has no type"),
        (lambda d: d.update(type="dense_rec"), "weight_rec is missing"),
        (lambda d: d.update(type="dense_rec", weight_rec=mixed(2, 2)), "weight_rec has shape"),
        (
            lambda d: d.update(type="dense_rec", weight_rec=mixed(3, 2)),
            r"weight_rec has shape \(3, 2\), must be \(3, 3\)",
        ),
        (
            lambda d: d.update(type="dense_rec", weight_rec=mixed(3, 3), delay=1),
            "has delays, but no delay_rec",
        ),
    ],
)  # fmt: skip
def test_what_a_layer_may_not_say(tmp_path: Path, change: Change, message: str) -> None:
    layer = {**dense(mixed(3, 2)), "neuron": dict(NEURON)}
    change(layer)
    with pytest.raises(InputError, match=message):
        read(tmp_path, layer)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": [2, 3, 9]}, r"gives shape \(2, 3, 3\), but 'layer1' has \(2, 3, 9\)"),
        ({"groups": 9}, r"layer/1 \(conv\): groups is 9, must lie in 1..2"),
        ({"inChannels": 4}, "inChannels is '4', but its weight has 1"),
        ({"outChannels": 4}, "outChannels is '4', but its weight has 2"),
        (
            {"weight": mixed(2, 1, 3, 3, 2)},
            r"weight has shape \(2, 1, 3, 3, 2\), must be \(out, in",
        ),
        ({"kernelSize": [2, 2]}, r"kernelSize is \(2, 2\), but the weight has shape"),
        ({"stride": [1, 1, 1]}, r"stride is \(?\[?1, 1, 1"),
        ({"delay": 3.0}, "has delays, which netx does not read from a conv layer"),
        ({"weight": mixed(2, 3)}, r"weight has shape \(2, 3\), must be \(out, in, height, width\)"),
        ({"neuron": {}}, "group 'neuron' is missing"),
        ({"type": "pool", "groups": 1}, r"layer/1 \(pool\): field 'groups' is not supported"),
    ],
)
def test_what_a_convolution_may_not_say(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    layer = conv(mixed(2, 1, 3, 3), (2, 3, 3)) | changed
    with pytest.raises(InputError, match=message):
        read(tmp_path, {"type": "input", "shape": [1, 5, 5]}, layer)


def test_what_layers_may_not_say_together(tmp_path: Path) -> None:
    source = {"type": "input", "shape": [1, 5, 5]}
    flat = {"type": "flatten", "shape": [25]}
    plain = dense(mixed(3, 25))
    average = {"type": "average", "shape": [1]}
    more = dense(mixed(2, 3))
    kernel = conv(mixed(2, 1, 3, 3), (2, 3, 3))
    pool = {"type": "pool", "shape": [1, 5, 5], "weight": mixed(2, 1, 1, 1), "neuron": NEURON}
    for layers, message in (
        ((kernel,), "does not state the shape of its input: give input_shape"),
        ((source, plain), "a flatten layer must come before it"),
        ((flat, plain), "is the first layer, needs one before it"),
        ((source, {**flat, "shape": [9]}, plain), r"shape is \[9\], but its source has"),
        ((source, flat, dense(mixed(3, 9))), r"\(3, 9\), but its source has 25 neurons"),
        ((source, flat, plain, kernel), r"its source has shape \(3,\), must be \(C, H, W\)"),
        ((source, source), "only the first layer may be an input"),
        ((source,), "contains no layer with neurons"),
        ((average, plain), "must be the last layer"),
        ((source, flat, plain, average, more), r"layer/3 \(average\): must be the last layer"),
        ((source, pool), r"weight has shape \(2, 1, 1, 1\), must be \(1, 1, height, width\)"),
        (({**source, "weight": 3},), "has a weight, but no neuron"),
        (({**source, "neuron": NEURON, "weight": -3},), "weight is -3, must lie in 1..4095"),
    ):
        with pytest.raises(InputError, match=message):
            read(tmp_path, *layers)
    with pytest.raises(InputError, match=r"input_shape is \(1, 5, 5\), but the file states"):
        read(tmp_path, source, kernel, input_shape=(1, 5, 5))
    again = {**plain, "type": "dense_rec", "weight_rec": mixed(3, 3)}
    for first in (kernel, plain, again):
        network = read(tmp_path, first, input_shape=(1, 5, 5))
        assert network.inputs[0].shape == (1, 5, 5)
        assert "the input has shape (1, 5, 5), as given" in network.provenance["assumed"]


def test_t_has_to_come_from_somewhere(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.net", dense(mixed(3, 2)), steps=None)
    with pytest.raises(InputError, match=r"give steps \(--steps\), or convert it by"):
        read_netx(path)


def test_files_that_are_not_netx(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    with pytest.raises(InputError, match=r"a\.net: no such file"):
        read_netx(path)
    path.write_text("text")
    with pytest.raises(InputError, match=r"not a netx \(HDF5\) file, or damaged"):
        read_netx(path)

    def fails(message: str, **values: Any) -> None:
        with h5py.File(path, "w") as file:
            for name, value in values.items():
                file[name] = value
        with pytest.raises(InputError, match=message):
            read_netx(path, steps=3, isolate=False)

    fails("contains no group 'layer', so it is not a netx file", node=1)
    fails("contains no group 'layer'|must be a group|is a group|not a netx", layer=1)
    fails("'/layer' holds '1', must be numbered 0, 1, 2", **{"layer/1/type": "dense"})
    fails("'/layer/0': a layer must be a group", **{"layer/0": 1})
    fails("must be a single text", **{"layer/0/type": np.array([b"dense", b"conv"])})
    fails("is a SoftLink, links are refused", layer=h5py.SoftLink("/elsewhere"))
    fails("'/spikeport.netx' must be text", **{"layer/0/type": "dense", "spikeport.netx": 3})
    fails("must be at most 1024 characters", **{"layer/0/type": "x" * 2000})
    fails("name has 2000 characters, limit 1024", **{f"layer/{'x' * 2000}": 1})
    fails("'/layer/0/weight' is empty", **{"layer/0/weight": h5py.Empty("f"), "layer/0/type": "a"})


# ----------------------------------------------------------------------- networks of lava-dl itself


def shared(name: str) -> Path:
    return Path(str(DATA)) / "lava-dl" / name


@pytest.mark.data
@needs_data
def test_ntidigits_equals_its_recording() -> None:
    """64 inputs, axonal delays of 0..62, 3,000 steps, recorded by lava-dl's own test."""
    network = read_netx(shared("ntidigits/network.net"))
    recorded = np.load(shared("ntidigits/recorded.npz"))
    samples = recorded["input"].T.astype(int).reshape(3000, 1, 1, 1, 64)
    fired, late = spikes(network, samples, "layer4"), recorded["output"].T[4:]
    assert late.size == 725_032
    assert (fired[:-4] != late).sum() == 0


@pytest.mark.data
@needs_data
def test_tiny_equals_its_recording() -> None:
    network = read_netx(shared("tiny/network.net"), steps=16)
    recorded = np.load(shared("tiny/recorded.npz"))
    image = recorded["input_bias"].transpose(2, 1, 0).astype(int)
    samples = (image - network.by_name["layer0"].bias)[None]
    for name, key, size in (
        ("layer0", "input", 11_520),
        ("layer1", "layer1", 12_960),
        ("layer2", "output", 540),
    ):
        late = recorded[key][0].transpose(3, 0, 1, 2)[1:].reshape(15, -1)
        assert late.size == size
        assert (spikes(network, samples, name)[:-1] != late).sum() == 0


@pytest.mark.data
@needs_data
def test_pilotnet_is_read_as_netx_builds_it() -> None:
    """`tests/helpers/pilotnet.py` gives the events that Loihi 2 counted."""
    path = shared("pilotnet_snn/network.net")
    network, known = read_netx(path), pilotnet(path)
    image = np.zeros((1, 3, 66, 200), int)
    biased = known.by_name["layer0"].bias - network.by_name["layer0"].bias
    assert (biased == -36).all()
    ours, theirs = (
        run_native(net, samples, record=("spikes",)).trace
        for net, samples in ((network, image - 36), (known, image))
    )
    assert ours is not None
    assert theirs is not None
    for name in network.order:
        assert np.array_equal(np.ravel(ours["spikes"][name]), np.ravel(theirs["spikes"][name]))
    assert ours["spikes"]["layer1"].any()


@pytest.mark.slow
@pytest.mark.data
@needs_data
def test_mnist_reaches_its_accuracy() -> None:
    """Pixels above 127 as constant spikes for 16 steps, all 10,000 test images."""
    data = load_dataset("mnist", 16)
    images = (data.test_x[:] * 255 > 127).reshape(-1, 784).astype(int)
    run = run_native(read_netx(shared("mnist/network.net"), steps=16), images)
    assert len(images) == 10_000
    assert (run.predictions == data.test_y).mean() == 0.9487


def oxford_events(steps: int) -> Any:
    """The tutorial's input events (neuron, polarity, ms) as spikes (T, 1, 200)."""
    neuron, _, time = np.load(shared("oxford/input.npy")).T
    step, samples = np.round(time).astype(int), np.zeros((steps, 1, 200), int)
    samples[step[step < steps], 0, neuron[step < steps].astype(int)] = 1
    return samples


@pytest.mark.slow
@pytest.mark.data
@needs_data
@needs_lava
@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *(("mnist", 16), ("oxford", 200), ("tiny", 16), ("pilotnet_snn", 4)),
        pytest.param(
            *("ntidigits", 60),
            marks=pytest.mark.scale("test_lava_and_native_run_lava_dls_networks_alike"),
        ),
    ],
)
def test_lava_and_native_run_lava_dls_networks_alike(name: str, steps: int) -> None:
    network = read_netx(shared(f"{name}/network.net"), steps=steps)
    (part,) = network.inputs
    if part.coding is Coding.BIAS:
        samples = RNG.integers(0, 20, (2, *part.shape))
    elif name == "oxford":
        samples = oxford_events(steps)
    else:
        count = 1 if name == "ntidigits" else 2  # Lava needs 15 s for one of these.
        samples = RNG.integers(0, 2, (steps, count, *part.shape))
    ours = run_native(network, samples, record=("spikes",)).trace
    lava = run_lava(network, samples, record=("spikes",)).trace
    assert ours is not None
    assert lava is not None
    for population in network.order:
        assert np.array_equal(ours["spikes"][population], lava["spikes"][population])
    assert ours["spikes"][network.order[0]].any()
