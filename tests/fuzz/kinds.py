"""Every kind of file that Spikeport reads: how to make a valid one, and how to read it."""

from __future__ import annotations

import gzip
import itertools
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from PIL import Image
from torch import nn

from spikeport.energy import builtin_profiles, load_devices, load_profile
from spikeport.energy.devices import FILE as DEVICES
from spikeport.errors import InputError
from spikeport.export import read_netx, read_nir, write_netx
from spikeport.export.netx.metadata import ARRAYS, KEY
from spikeport.export.nir import FloatNetwork, Semantics, preset
from spikeport.hardware import target_text
from spikeport.network import (
    BiasInjection,
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    Sparse,
    SumPool2d,
    load_network,
    save_network,
)
from spikeport.plugins import PluginKind, plugins
from spikeport.runs import check_samples, load_state, save_state
from spikeport.sharding.store import SUFFIX, load_shard, save_shard
from spikeport.simulators import Stream, run_reference
from spikeport.storage.hdf5_seal import SIZE
from spikeport.traces import compare_files, open_trace
from spikeport.traces.writer import write_trace
from spikeport.trainer import (
    LIF,
    Checkpoint,
    EpochRecord,
    ExitConfig,
    Node,
    SpikingNetwork,
    TrainConfig,
    build_network,
    load_checkpoint,
    save_checkpoint,
)
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.data import load_npz
from spikeport.trainer.data.events import Binning
from spikeport.trainer.data.files import read_cifar, read_idx
from spikeport.trainer.data.folder import load_folder
from spikeport.trainer.data.npz import load_events
from spikeport.trainer.data.pixels import PixelGrid
from spikeport.trainer.exits import Exits
from spikeport.trainer.recipe import load_recipe
from spikeport.workflow import write_nir

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        file: its name; what is damaged, beside whatever else `make` writes.
        make: write a valid one.
        read: read one; what it gives is compared by `mark`.
        form: how it is built, which decides what can happen to it besides changed bytes.
        digest: whether it has one, so that no changed byte can go unnoticed.
        write: the inverse of `read`, where there is one.
        verb: arguments of the command that reads it, if any.
        quick: `read` without a process of its own, for damage that libhdf5 does not mind.
    """

    file: str
    make: Callable[[Path], None]
    read: Read
    form: str
    digest: bool = False
    write: Callable[[Any, Path], object] | None = None
    verb: tuple[str, ...] = ()
    quick: Read | None = None


def weights(*shape: int) -> Any:
    """Mantissas of mixed signs."""
    return 2 * np.random.default_rng(shape).integers(-9, 9, shape).astype(np.int16)


@cache
def chip() -> DeployedNetwork:
    """A network with a part of every type."""
    return DeployedNetwork(
        (
            Input("image", (2, 8, 8), Coding.GRADED, -8, 7, 4.0),
            Input("drive", (5,), Coding.BIAS, -9, 9),
        ),
        (
            Population("a", (3, 2, 2), 40, 900, 300, weights(3, 2, 2)),
            Population("b", (5,), 60, v_init=7, refractory=2, reset=Reset.SUBTRACT),
        ),
        (
            Conv2d("image", "a", weights(3, 2, 3, 3), pool=SumPool2d((2, 2), (2, 2))),
            Dense("a", "b", weights(5, 12), exponent=1),
            Dense("b", "b", weights(5, 5), delay=2, name="again"),
            Sparse.from_matrix("a", "b", weights(5, 12) * (weights(5, 12) > 9), name="scarce"),
            BiasInjection("drive", "b"),
        ),
        (Readout("b"),),
        6,
        {"made": "for the fuzzer", "by": "hand"},
    )  # fmt: skip


def pixels(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).integers(0, 256, shape).astype(np.uint8)


@cache
def samples() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    given = {"image": rng.integers(-8, 8, (6, 3, 2, 8, 8)), "drive": rng.integers(-9, 10, (3, 5))}
    return dict(check_samples(chip().inputs, 6, given))


def float_network() -> FloatNetwork:
    rng = np.random.default_rng(3)

    def some(*shape: int) -> Any:
        return rng.uniform(0.01, 1, shape).astype(np.float32)

    nodes = {
        "x": nir.Input({"input": np.array([2, 6, 6])}),
        "conv": nir.Conv2d(None, some(4, 1, 3, 3), 1, "same", 1, 2, some(4)),
        "lif": nir.LIF(some(4, 6, 6), some(4, 6, 6), some(4, 6, 6), some(4, 6, 6)),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": None}, 0),
        "full": nir.Affine(some(5, 36), some(5)),
        "cuba": nir.CubaLIF(some(5), some(5), some(5), some(5), some(5)),
        "delay": nir.Delay(np.full(5, 3e-4)),
        "y": nir.Output({"output": np.array([5])}),
    }
    names = list(nodes)
    edges = list(itertools.pairwise(names))
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    semantics = Semantics(reset=Reset.SUBTRACT, strict=False)
    return FloatNetwork(graph, 1e-4, 7, (Input("x", (2, 6, 6)),), semantics)


def checkpoint(config: TrainConfig) -> Checkpoint:
    network = build_network(config, Input("input", (1, 4, 4), Coding.GRADED, 0, 16, 16.0), 4)
    momentum = {f"momentum_buffer.{name}": p * 0.5 for name, p in network.named_parameters()}
    history = (EpochRecord(1, 0.5, 0.5, 0.25, 0.3, 1.5),)
    return Checkpoint(network, config, 4, "toy", "abc", history, momentum)


def exits_checkpoint() -> Checkpoint:
    config = TrainConfig(widths=(2, 3), steps=3, seed=5, exits=ExitConfig())
    plain = checkpoint(replace(config, exits=None))
    assert isinstance(plain.model, SpikingNetwork)
    exits = Exits(plain.model, ExitConfig(), 5)
    momentum = {f"momentum_buffer.exits.{name}": p * 0.5 for name, p in exits.named_parameters()}
    return replace(plain, config=config, exits=exits, optimizer={**plain.optimizer, **momentum})


def chip_checkpoint() -> Checkpoint:
    template = DeployedNetwork(
        (Input("input", (6,), Coding.GRADED, 0, 16, 16.0),),
        (Population("p", (4,), 50), Population("q", (3,), 60)),
        (
            Dense("input", "p", weights(4, 6)),
            Dense("p", "q", weights(3, 4)),
        ),
        (Readout("q"),),
        4,
    )
    config = TrainConfig(steps=4, weight_bits=8)
    return Checkpoint(QATNetwork(template), config, 3, "toy", "abc")


def read_all(path: Path) -> Any:
    """Everything in a trace, and a comparison of the trace with itself."""
    with open_trace(path) as reader:
        parts = [reader.read(*block) for block in reader.blocks()]
        header = reader.header
    assert compare_files(path, path).equal
    return header, parts


def write_all(value: Any, path: Path) -> None:
    """For traces in one part only, as all of these are."""
    from spikeport.traces import trace_writer

    header, parts = value
    with trace_writer(path) as writer:
        writer.begin(header)
        for part in parts:
            writer.append(part)


def _trace(path: Path) -> None:
    run = run_reference(chip(), samples(), record=("spikes", "v"))
    write_trace(path, run, order=chip().order, provenance={"made": "for the fuzzer"})


def _state(path: Path) -> None:
    stream = Stream(chip(), 3)
    stream.push(samples())
    save_state(stream.state, path)


def _shard(path: Path) -> None:
    save_shard(path.parent, path.stem, run_reference(chip(), samples(), record=("v",)))


def _read_shard(path: Path) -> Any:
    if (run := load_shard(path.parent, path.stem)) is None:
        raise InputError("damaged: it is computed again")
    return run


def _images(path: Path) -> None:
    x, y = pixels(12, 5, 4), np.arange(12) % 3
    np.savez_compressed(path, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])


def _events(path: Path) -> None:
    rng = np.random.default_rng(4)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 6), ("test", 3)):
        t = np.sort(rng.integers(0, 9000, (count, 20)), axis=1).reshape(-1)
        arrays |= {f"{part}_{axis}": rng.integers(0, 8, 20 * count) for axis in "xy"}
        arrays |= {f"{part}_t": t, f"{part}_p": rng.integers(0, 2, 20 * count)}
        arrays |= {f"{part}_offsets": np.arange(0, 20 * count + 1, 20)}
        arrays[f"{part}_labels"] = np.arange(count) % 3
    np.savez(path, sensor=np.array([2, 8, 8]), **arrays)


def _recipe(path: Path) -> None:
    path.write_text(
        'title = "t"\nsource = "s"\n'
        '[data]\nname = "digits"\ntest = 0.25\nmean = [0.1]\nstd = [2.0]\n'
        '[training]\narchitecture = "mlp"\nwidths = [8, 9]\nsteps = 4\nlr = 0.1\n'
        'rule = "rate_m"\nchannels_last = false\naugment = { crop_padding = 2 }\n'
        '[chip]\nepochs = 2\n[published]\nrate_m = { "4" = 95.6 }\n'
    )


def _profile(path: Path) -> None:
    from importlib import resources

    name = builtin_profiles()[0]
    path.write_text(
        (resources.files("spikeport") / "backends" / "targets" / name / "target.toml").read_text(
            "utf-8"
        )
    )


def _all_in_profile(path: Path) -> None:
    path.write_text(target_text(plugins(PluginKind.TARGET)["loihi2"]))


def _devices(path: Path) -> None:
    path.write_text(DEVICES.read_text("utf-8"))


def _folder(path: Path) -> None:
    """A folder with more images next to the damaged one."""
    for number, name in enumerate(("train/a/1", "train/b/1", "val/a/1", "val/b/1")):
        target = path.parent / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(9, 8, 3) + np.uint8(number)).save(target)
    path.write_bytes((path.parent / "train/a/1.png").read_bytes())


def _read_folder(path: Path) -> Any:
    (path.parent / "train/a/1.png").write_bytes(path.read_bytes())
    data = load_folder(path.parent, 6, PixelGrid())
    return data.train_x[:], data.train_y, data.classes


def _idx(path: Path) -> None:
    array = pixels(6, 5, 4)
    raw = struct.pack(">HBB3I", 0, 8, 3, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def _read_idx(path: Path) -> Any:
    return read_idx(path, 3)


def _read_events(path: Path) -> Any:
    return load_events(path, Binning(5))


def _cifar(path: Path) -> None:
    path.write_bytes(b"\1" + bytes(3072))


def without(key: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A file as Spikeport 0.1.0 wrote it: its header has no `key`."""

    def made(path: Path) -> None:
        from tests.fuzz.tensors import join, split

        make(path)
        table, data = split(path.read_bytes())
        header = json.loads(table["__metadata__"]["spikeport"])
        del header[key]
        table["__metadata__"]["spikeport"] = json.dumps(header)
        path.write_bytes(join(table, data))

    return made


def unsealed(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A file as Spikeport 0.1.0 wrote it."""

    def made(path: Path) -> None:
        make(path)
        path.write_bytes(path.read_bytes()[:-SIZE])

    return made


def _network(path: Path) -> None:
    save_network(chip(), path)


def _float(path: Path) -> None:
    write_nir(float_network(), path)


def _rules(path: Path) -> None:
    origin = {"source": "theirs.nir", "stated": "dt_s=0.0001"}
    network = replace(float_network(), semantics=preset("rockpool"), provenance=origin)
    write_nir(network, path)


def _deployed(path: Path) -> None:
    write_nir(chip(), path)


def _for_reader(path: Path) -> None:
    write_nir(float_network(), path, reader="snntorch", allow_unsupported=True)


def _deployed_for_reader(path: Path) -> None:
    write_nir(chip(), path, reader="norse", allow_unsupported=True)


@cache
def netx_chain() -> DeployedNetwork:
    """A network that netx can run."""
    return DeployedNetwork(
        (Input("image", (2, 8, 8)),),
        (
            Population("a", (3, 6, 6), 40, 900, 300),
            Population("b", (5,), 60, bias=weights(5), bias_exponent=6),
            Population("c", (4,), 60),
        ),
        (
            Conv2d("image", "a", weights(3, 2, 3, 3)),
            Dense("a", "b", weights(5, 108)),
            Dense("b", "b", weights(5, 5), delay=1, name="again"),
            Dense("b", "c", weights(4, 5), delay=2),
        ),
        (Readout("c"),),
        6,
    )


def _netx(path: Path) -> None:
    write_netx(netx_chain(), path)


def _foreign_netx(path: Path) -> None:
    """A file of another tool: without a seal, and without what Spikeport adds."""
    _netx(path)
    path.write_bytes(path.read_bytes()[:-SIZE])
    with h5py.File(path, "r+") as file:
        del file[KEY], file[ARRAYS]


def _quick_netx(path: Path) -> Any:
    return read_netx(path, isolate=False)


def _checkpoint(path: Path) -> None:
    save_checkpoint(path, checkpoint(TrainConfig(widths=(2, 3), steps=3, seed=5)))


def _exits_checkpoint(path: Path) -> None:
    save_checkpoint(path, exits_checkpoint())


def _own_checkpoint(path: Path) -> None:
    """A network that no architecture describes: branches, and a layer that is used twice."""
    value = Input("input", (2, 6, 6), Coding.GRADED, 0, 16, 16.0)
    shared = nn.Conv2d(4, 4, (3, 1), padding=(1, 0), groups=2)
    nodes = [
        Node("conv1", ("input",), nn.Conv2d(2, 4, 3, padding=1)),
        Node("norm", ("conv1",), nn.BatchNorm2d(4, eps=1e-3)),
        Node("lif1", ("norm",), LIF(0.25, 0.5)),
        Node("conv2", ("lif1",), shared),
        Node("lif2", ("conv2",), LIF()),
        Node("conv3", ("lif2",), shared),
        Node("lif3", ("conv3",), LIF()),
        Node("sum", ("lif2", "lif3"), nn.Identity()),
        Node("pool", ("sum",), nn.AvgPool2d(2)),
        Node("drop", ("pool",), nn.Dropout(0.5)),
        Node("readout", ("drop",), nn.Linear(36, 4)),
    ]
    network = SpikingNetwork(value, nodes, 3)
    config = TrainConfig(steps=3, seed=5)
    save_checkpoint(path, Checkpoint(network, config, 4, "toy", "abc", own=True))


def _chip_checkpoint(path: Path) -> None:
    save_checkpoint(path, chip_checkpoint())


def _read_network(path: Path) -> Any:
    network = load_network(path)
    return network.content_hash, network.provenance, network


def _rewrite(value: Any, path: Path) -> None:
    save_network(value[2], path)


def _read_state(path: Path) -> Any:
    return load_state(path, chip())


def quick(path: Path) -> Any:
    return read_nir(path, isolate=False)


def _save_checkpoint(value: Any, path: Path) -> None:
    save_checkpoint(path, value)


INSPECT = ("inspect",)
COMPARE = ("compare", "t.h5", "--trace")
KINDS: Mapping[str, Kind] = {
    "network": Kind("n.spikeport", _network, _read_network, "tensors", True, _rewrite, INSPECT),
    "network 0.1.0": Kind(
        "n.spikeport", without("digest", _network), _read_network, "tensors", False, _rewrite
    ),
    "float NIR": Kind("f.nir", _float, read_nir, "hdf5", True, write_nir, INSPECT, quick),
    "float NIR with rules": Kind("r.nir", _rules, read_nir, "hdf5", True, write_nir, quick=quick),
    "float NIR 0.1.0": Kind(
        "f.nir", unsealed(_float), read_nir, "hdf5", False, write_nir, quick=quick
    ),
    "deployed NIR": Kind("d.nir", _deployed, read_nir, "hdf5", True, write_nir, INSPECT, quick),
    "float NIR for a reader": Kind(
        "s.nir", unsealed(_for_reader), read_nir, "hdf5", False, write_nir, quick=quick
    ),
    "deployed NIR for a reader": Kind(
        "e.nir", unsealed(_deployed_for_reader), read_nir, "hdf5", False, write_nir, quick=quick
    ),
    "deployed NIR 0.1.0": Kind(
        "d.nir", unsealed(_deployed), read_nir, "hdf5", False, write_nir, quick=quick
    ),
    "netx": Kind("n.net", _netx, read_netx, "hdf5", True, write_netx, INSPECT, _quick_netx),
    "foreign netx": Kind("n.net", _foreign_netx, read_netx, "hdf5", quick=_quick_netx),
    "checkpoint": Kind(
        "c.safetensors", _checkpoint, load_checkpoint, "tensors", True, _save_checkpoint, INSPECT
    ),
    "checkpoint 0.1.0": Kind(
        "c.safetensors",
        without("digest", _checkpoint),
        load_checkpoint,
        "tensors",
        write=_save_checkpoint,
    ),
    "checkpoint with exits": Kind(
        "c.safetensors", _exits_checkpoint, load_checkpoint, "tensors", True, _save_checkpoint
    ),
    "own checkpoint": Kind(
        "c.safetensors",
        _own_checkpoint,
        load_checkpoint,
        "tensors",
        True,
        _save_checkpoint,
        INSPECT,
    ),
    "own checkpoint, no digest": Kind(
        "c.safetensors",
        without("digest", _own_checkpoint),
        load_checkpoint,
        "tensors",
        write=_save_checkpoint,
    ),
    "chip checkpoint": Kind(
        "c.safetensors",
        _chip_checkpoint,
        load_checkpoint,
        "tensors",
        True,
        _save_checkpoint,
        INSPECT,
    ),
    "trace": Kind("t.h5", _trace, read_all, "hdf5", True, write_all, COMPARE),
    "trace 0.1.0": Kind("t.h5", unsealed(_trace), read_all, "hdf5", False, write_all),
    "stream state": Kind("s.state", _state, _read_state, "tensors", True, save_state),
    "stream state 0.1.0": Kind(
        "s.state", without("digest", _state), _read_state, "tensors", True, save_state
    ),
    "shard": Kind(f"k{SUFFIX}", _shard, _read_shard, "tensors", True),
    "images": Kind("i.npz", _images, load_npz, "npz"),
    "events": Kind("e.npz", _events, _read_events, "npz"),
    "recipe": Kind("r.toml", _recipe, load_recipe, "toml"),
    "profile": Kind("p.toml", _profile, load_profile, "toml"),
    "all-in profile": Kind("a.toml", _all_in_profile, load_profile, "toml"),
    "devices": Kind("d.toml", _devices, load_devices, "toml"),
    "image folder": Kind("1.png", _folder, _read_folder, "png"),
    "IDX": Kind("x-idx3-ubyte", _idx, _read_idx, "bytes"),
    "IDX, packed": Kind("x-idx3-ubyte.gz", _idx, _read_idx, "bytes"),
    "CIFAR": Kind("c.bin", _cifar, read_cifar, "bytes"),
}
