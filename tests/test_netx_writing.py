"""netx files written here: read back identically, run alike by their layers alone, or refused."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError, OutputError
from spikeport.export import read_netx, write_netx
from spikeport.export.netx.layout import layers_of
from spikeport.export.netx.metadata import ARRAYS, KEY
from spikeport.export.netx.synapse import kept_exactly
from spikeport.network import (
    BiasInjection,
    Coding,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
    Sparse,
    SumPool2d,
)
from spikeport.runs import SampleSet
from spikeport.simulators import run_native
from tests.helpers.strategies import networks, samples_for

RNG = np.random.default_rng(6)


def mixed(*shape: int) -> Any:
    """Even weights of both signs."""
    return 2 * RNG.integers(-60, 60, shape).astype(np.int16)


def numbers(*shape: int) -> Any:
    """0, 1, 2, ... as biases."""
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


def chain(**changes: Any) -> DeployedNetwork:
    """Convolution, dense and recurrent layer; netx can run all of it."""
    network = DeployedNetwork(
        (Input("image", (2, 5, 5), scale=3.0),),
        (
            Population("a", (4, 3, 3), 60, 900, 300, bias=numbers(4, 3, 3) * 4,
                       bias_exponent=4),
            Population("b", (2, 3), 40, bias=numbers(2, 3), bias_exponent=7),
            Population("c", (3,), 50, scale=2.5),
        ),
        (
            Conv2d("image", "a", mixed(4, 1, 3, 3), groups=2, name="kernels"),
            Dense("a", "b", mixed(6, 36) // 4 * 2, exponent=1, delay=3),
            Dense("b", "c", mixed(3, 6)),
            Dense("c", "c", mixed(3, 3), delay=1, name="loop"),
        ),
        (Readout("c"),),
        7,
        {"made": "by hand"},
    )  # fmt: skip
    return network.replace(**changes)


def alone(path: Path) -> None:
    """Leave only what other tools would write, or netx would read."""
    with h5py.File(path, "r+") as file:
        del file[KEY], file[ARRAYS]


def runs_alike(network: DeployedNetwork, path: Path, samples: Any) -> bool:
    """Whether the layers of a file, without what Spikeport adds, make the same spikes."""
    alone(path)
    read = read_netx(path, isolate=False)
    (part,) = network.inputs
    renamed = SampleSet({"input": samples[part.name]})
    if part.coding is Coding.GRADED:  # which a netx file cannot say
        (spikes,) = read.inputs
        source = Input("input", spikes.shape, Coding.GRADED, part.low, part.high)
        read = read.replace(inputs=(source,))
    traces = [
        run_native(net, given_to, record=("spikes", "v")).trace
        for net, given_to in ((network, samples), (read, renamed))
    ]
    first, second = traces
    assert first is not None
    assert second is not None
    return all(
        np.array_equal(np.ravel(first[kind][a]), np.ravel(second[kind][b]))
        for kind in ("spikes", "v")
        for a, b in zip(network.order, read.order, strict=True)
    )


def plain(network: DeployedNetwork) -> DeployedNetwork:
    """The network with the dynamics that netx has."""
    populations = []
    for part in network.populations:
        assert isinstance(part, Population)
        populations.append(
            Population(
                part.name, part.shape, part.vth, part.decay_u, part.decay_v, part.bias, 6,
                scale=part.scale,
            )
        )  # fmt: skip
    last = network.order[-1]
    return network.replace(populations=tuple(populations), readouts=(Readout(last),))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_networks_come_back_and_run_alike(data: st.DataObject) -> None:
    network = plain(
        data.draw(
            networks(
                feed_forward=data.draw(st.booleans()),
                pools=False,
                v_init=False,
                dense_exponents=(0, 0, 1, -1),
                conv_exponents=(0,),
                max_payloads=(1, 255),
            )
        )
    )
    samples = data.draw(samples_for(network))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "n.net"
        try:
            write_netx(network, path)
        except InputError:
            assert not path.exists()
            return
        again = read_netx(path, isolate=False)
        assert again == network
        assert again.provenance == network.provenance
        assert runs_alike(network, path, samples)


def test_a_chain_comes_back_and_runs_alike(tmp_path: Path) -> None:
    network, path = chain(), tmp_path / "a.net"
    write_netx(network, path)
    again = read_netx(path)
    assert again == network
    assert dict(again.provenance) == {"made": "by hand"}
    samples = SampleSet({"image": RNG.integers(0, 2, (7, 2, 2, 5, 5))})
    assert runs_alike(network, path, samples)


def test_layers_are_those_that_netx_needs() -> None:
    types = [layer.type for layer in layers_of(chain())]
    assert types == ["input", "conv", "flatten", "dense", "dense_rec"]


def test_delays_and_a_bias_input_come_back_and_run_alike(tmp_path: Path) -> None:
    weight = mixed(3, 4)
    network = DeployedNetwork(
        (Input("drive", (4,), Coding.BIAS, -90, 90, 40.0),),
        (Population("a", (4,), 30, bias=7, bias_exponent=6), Population("b", (3,), 30)),  # type: ignore[arg-type]
        (
            BiasInjection("drive", "a"),
            Dense("a", "b", weight * np.array([1, 0, 1, 0], np.int16), delay=2, name="late"),
            Sparse.from_matrix("a", "b", weight * np.array([0, 1, 0, 1]), delay=5, name="later"),
        ),
        (Readout("b", ReadoutKind.MEMBRANE),),
        9,
    )
    path = tmp_path / "a.net"
    write_netx(network, path)
    assert read_netx(path) == network
    assert runs_alike(network, path, SampleSet({"drive": RNG.integers(-90, 91, (3, 4))}))


def with_connection(connection: Any) -> DeployedNetwork:
    return DeployedNetwork(
        (Input("x", (2, 4, 4)),),
        (Population("a", connection.output_shape((2, 4, 4)), 30),),
        (connection,),
        (Readout("a"),),
        3,
    )


def test_what_netx_cannot_express(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    base = chain()

    def population(**changes: Any) -> DeployedNetwork:
        return base.replace(
            populations=(*base.populations[:2], Population("c", (3,), 50, **changes))
        )

    pool = SumPool2d((2, 2), (2, 2))
    pooled = DeployedNetwork(
        (Input("x", (2, 4, 4)),), (Population("a", (3, 1, 1), 30),),
        (Conv2d("x", "a", mixed(3, 2, 2, 2), pool=pool),), (Readout("a"),), 3,
    )  # fmt: skip
    one = with_connection(Dense("x", "a", mixed(3, 32)))
    line = DeployedNetwork(
        (Input("x", (2, 4)),), (Population("a", (3, 3), 30),),
        (Conv1d("x", "a", mixed(3, 2, 2)),), (Readout("a"),), 3,
    )  # fmt: skip
    two = one.replace(inputs=(*one.inputs, Input("y", (3,))))
    parts = {c.name: c for c in base.connections}
    early = [c for name, c in parts.items() if name != "b_to_c"]
    waiting = base.replace(connections=(*early, Dense("b", "c", mixed(3, 6), delay=1)))
    skip = base.replace(connections=(*base.connections, Dense("a", "c", mixed(3, 36), name="skip")))
    apart = base.replace(populations=(*base.populations, Population("d", (3,), 9)))
    back = Dense("c", "b", mixed(6, 3), delay=1, name="back")
    round_trip = base.replace(connections=(*base.connections, back))
    same = [c for name, c in parts.items() if name != "loop"]
    late = base.replace(connections=(*same, Dense("c", "c", mixed(3, 3), delay=2)))
    wide = Dense("x", "a", mixed(3, 32) * np.int16(2), exponent=2)
    overlap = one.replace(
        connections=(
            Dense("x", "a", np.full((3, 32), 6, np.int16)),
            Dense("x", "a", np.full((3, 32), 6, np.int16), delay=1, name="second"),
        )
    )
    both = base.replace(
        connections=(*base.connections, Dense("image", "a", mixed(36, 50), name="also"))
    )
    after = one.replace(
        populations=(Population("a", (2, 4, 4), 30), Population("b", (2, 3, 3), 9)),
        connections=(Dense("x", "a", mixed(32, 32)), Conv2d("a", "b", mixed(2, 2, 2, 2))),
        readouts=(Readout("b"),),
    )
    drive = DeployedNetwork(
        (Input("x", (2,), Coding.BIAS, -9, 9),),
        (Population("a", (2,), 30, bias=np.array([1, 2]), bias_exponent=6),),
        (BiasInjection("x", "a"),),
        (Readout("a"),),
        3,
    )
    loop = Dense("a", "a", mixed(2, 2), delay=1)
    fed = drive.replace(connections=(*drive.connections, loop))
    even = Population("a", (2,), 30, bias_exponent=6)
    wrapping = DeployedNetwork(
        (Input("x", (600,), Coding.GRADED, -(2**23), 2**23 - 1),),
        (Population("a", (3,), 30),),
        (Dense("x", "a", np.full((3, 600), 2, np.int16) * np.array([1, -1] * 300), exponent=-1),),
        (Readout("a"),),
        3,
    )
    size = 10_000
    huge = DeployedNetwork(
        (Input("x", (size,)),),
        (Population("a", (size,), 30),),
        (Sparse("x", "a", [2], [0], [0] + [1] * size, size),),  # type: ignore[arg-type]
        (Readout("a"),),
        3,
    )
    for network, message in (
        (population(reset=Reset.SUBTRACT), "population 'c': reset is subtract, must be zero"),
        (population(refractory=2), "population 'c': refractory is 2, must be 0 for netx"),
        (population(v_init=9), "population 'c': v_init is 9, must be 0 for netx"),
        (population(bias=np.array([1, 2, 3])), "bias 1 .* must be a multiple of 64"),
        (population(bias=np.full(3, 4095), bias_exponent=7), "bias 524160 .* within -262144"),
        (population(bias=np.full(3, -4095), bias_exponent=7), "bias -524160 .* within -262144"),
        (wrapping, "connection 'x_to_a': its sums may wrap, in netx without exponent at other val"),
        (huge, "connection 'x_to_a': netx needs a matrix of 10000 x 10000 entries, limit 67108864"),
        (two, "network: has 2 inputs, a netx file has one"),
        (base.replace(readouts=(Readout("b"),)), "netx gives the output of its last layer only"),
        (
            base.replace(readouts=(Readout("b"), Readout("c"))),
            "readouts: 'b', 'c', but netx gives the output of its last layer only, here 'c'",
        ),
        (pooled, "has a sum-pool, which netx cannot run"),
        (line, "is a Conv1d, which netx does not have"),
        (skip, "'a': goes to 'b', 'c', but netx runs one chain of layers"),
        (apart, "population 'd': is not in the one chain of layers"),
        (round_trip, "connection 'back': receives from 'c', but netx runs one chain"),
        (waiting, "recurrent layers only with delay 1 within and 0 into"),
        (late, "recurrent layers only with delay 1 within"),
        (with_connection(wide), "exponent is 2, but netx reads none"),
        (with_connection(Dense("x", "a", mixed(3, 32) * 0)), "no matrix of zeros"),
        (with_connection(Conv2d("x", "a", mixed(3, 2, 2, 2), delay=1)), "delay is 1, netx has"),
        (overlap, "netx has one delay for each synapse"),
        (both, "netx cannot add a convolution to other connections"),
        (after, "netx has no convolution after a dense layer"),
        (drive, "biases differ, but netx has one for all neurons of an input layer"),
        (fed, "netx has bias input 'x' in its first layer, and nothing else"),
        (drive.replace(populations=(Population("a", (2,), 30),)), "bias_exponent is 0, must be 6"),
        (
            drive.replace(populations=(even,), inputs=(Input("x", (2,), Coding.BIAS, -9, 9, 0.5),)),
            "scale is 0.5, must be an integer in 1..4095",
        ),
        (
            drive.replace(populations=(even,), inputs=(Input("x", (2,), Coding.BIAS, -9, 9, 1.5),)),
            "scale is 1.5, must be an integer in 1..4095",
        ),
    ):
        with pytest.raises(InputError, match=message):
            write_netx(network, path)
        assert not path.exists()


@pytest.mark.parametrize(
    ("matrices", "kept"),
    [
        ([[[2, -4, 254]]], True),
        ([[[1, -3, 127]]], True),
        ([[[255, 1]]], True),
        ([[[255, 0]]], True),
        ([[[-255, -1]]], True),
        ([[[1, -3, 129]]], False),
        ([[[255, -2]]], False),
        ([[[0, 0]]], False),
        ([[[-128, 0]]], False),  # becomes -256, beyond the 255 of one sign
        ([[[-254, -1]], [[1]]], False),
        ([[[-2, 4]], [[6, -8]]], True),
    ],
)
def test_what_netx_and_lava_keep_of_weights(matrices: Any, kept: bool) -> None:
    assert kept_exactly(*(np.array(one) for one in matrices)) is kept


def test_a_file_changed_after_writing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    write_netx(chain(), path)
    content = path.read_bytes()
    path.write_bytes(content[:-900] + bytes([content[-900] ^ 1]) + content[-899:])
    with pytest.raises(InputError, match="does not match its stored digest"):
        read_netx(path)

    def changed(message: str, name: str, value: Any) -> None:
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = value
        with pytest.raises(InputError, match=message):
            read_netx(path, isolate=False)

    changed("'/spikeport.netx' is stale", "layer/0/shape", np.array([5, 5, 2]))
    changed("'/spikeport.netx' is stale", "simulation/tSample", 8)
    for more in (True, False):
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            layers = file["layer"]
            last = len(layers) - 1
            if more:
                layers.copy(str(last), str(last + 1))
            else:
                del layers[str(last)]
        with pytest.raises(InputError, match=r"'/spikeport.netx' is stale"):
            read_netx(path, isolate=False)
    changed("'/spikeport.netx' is damaged", KEY, "{}")
    changed("'/spikeport.netx' is damaged: version is 9", KEY, '{"version": 9}')
    changed("'/spikeport.netx' is damaged: version is True, this", KEY, '{"version": true}')
    changed("a.bias|content hash", f"{ARRAYS}/a.bias", np.ones((4, 3, 3), np.int32))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"arguments \['steps'\]: the file contains a network"):
        read_netx(path, steps=3)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_netx(chain(), tmp_path / "missing" / "a.net")
