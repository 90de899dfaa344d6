"""Files of every kind as earlier versions wrote them read equal; see `fixtures/README.md`."""

from __future__ import annotations

import ast
import base64
import dataclasses
import fnmatch
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

import spikeport as sp
from spikeport.cli import main
from spikeport.energy import SynapseKind
from spikeport.sharding import store
from spikeport.traces import trace_writer

FIXTURES = Path(__file__).parent / "fixtures"
OLD, SEALED = VERSIONS = "0.1.0", "0.1.0-sealed"
OLD_KINDS = (SynapseKind.DENSE, SynapseKind.CONV)
"""Storage formats of synapses that these versions know."""
NETWORKS = ("dense", "conv2d", "conv1d", "recurrent", "quantized")
FLOATS = ("float", "trained")
DRAWN_ANEW = ("conv1d", "conv2d")
"""Networks whose NIR graph has CubaLIF, or a delay of one step that closes a cycle."""
TRACES = ("whole", "probes", "floats")
STATES = ("recurrent", "conv1d")
CHECKPOINTS = ("float", "taught", "chip")

UNVERSIONED = "no version"
KINDS: Mapping[str, tuple[str, ...]] = {
    "spikeport.network 1": ("*.spikeport",),
    "spikeport 1": ("*.nir",),  # the NIR metadata
    "spikeport.trace 1": ("*.h5",),
    "spikeport.stream 1": ("*.state",),
    "spikeport.shard 1": ("*.shard",),
    "checkpoint 2": ("*.safetensors",),
    "schema 1": ("profile.toml",),
    "spikeport.netx 1": (),  # later than the fixtures
    "schema 2": (),  # target files, which are later than the fixtures
    "spikeport.map/1": (),  # not read
    "spikeport.devices/1": (),  # later than the fixtures
    "spikeport.report/1": (),  # not read by 0.1.0; see tests/test_report_document.py
    UNVERSIONED: ("recipe.toml", "front/front.json", "counts.json", "images.npz"),
}
"""Every format that the code names, with its version, and the fixtures that have it.

A new one, or a new version, needs a fixture or the reason why it has none.
"""


@dataclass(frozen=True)
class Written:
    """The files of one version, and their content in plain values.

    Attributes:
        folder: not to be written to.
        rounding: relative tolerance of float results; 0 where the same libraries on the same
            processor computed those in the fixture.
        same_hdf5: whether the libraries are those that decide the bytes of HDF5 files.
    """

    version: str
    folder: Path
    facts: Mapping[str, Any]
    rounding: float
    same_hdf5: bool

    def path(self, name: str) -> Path:
        return self.folder / name


def versions() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return {
        "numpy": np.__version__,
        "hdf5": h5py.version.hdf5_version,
        "nir": nir.version,
        "torch": torch.__version__,
        "cpu": f"{model}, {torch.backends.cpu.get_cpu_capability()}",
    }


@pytest.fixture(scope="module", params=VERSIONS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return extracted(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return extracted(SEALED, tmp_path_factory)


def extracted(version: str, factory: pytest.TempPathFactory) -> Written:
    folder = factory.mktemp(version)
    with zipfile.ZipFile(FIXTURES / f"{version}.zip") as archive:
        archive.extractall(folder)
    facts = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    (folder / "expected.json").unlink()
    then, now = facts["versions"], versions()
    equal = all(then[name] == now[name] for name in ("numpy", "torch", "cpu"))
    same_hdf5 = all(then[name] == now[name] for name in ("hdf5", "nir"))
    return Written(version, folder, facts, 0.0 if equal else 1e-3, same_hdf5)


# Plain values


def array(stored: Mapping[str, Any]) -> Any:
    data = np.frombuffer(base64.b64decode(stored["base64"]), stored["dtype"])
    return data.reshape(stored["shape"])


def arrays(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array(entry) for name, entry in stored.items()}


def check(want: Any, found: Any, where: str, rounding: float = 0.0) -> None:
    """Compare plain values of a fixture with a value of today's code.

    A field that came later must have its default.
    """
    if isinstance(found, torch.Tensor):
        found = found.detach().numpy()
    if isinstance(want, Mapping) and want.keys() == {"dtype", "shape", "base64"}:
        value = array(want)
        assert isinstance(found, np.ndarray), where
        assert (found.dtype, found.shape) == (value.dtype, value.shape), where
        if rounding and value.dtype.kind == "f":
            assert np.allclose(found, value, rounding, rounding), where
        else:
            np.testing.assert_array_equal(found, value, where)
    elif isinstance(want, Mapping) and dataclasses.is_dataclass(found):
        for name, value in want.items():
            check(value, getattr(found, name), f"{where}.{name}", rounding)
        for field in dataclasses.fields(found):
            if field.name not in want:
                made = field.default_factory
                default = field.default if made is dataclasses.MISSING else made()
                assert getattr(found, field.name) == default, f"{where}.{field.name}"
    elif isinstance(want, Mapping):
        names = {"/".join(key) if isinstance(key, tuple) else key: key for key in found}
        assert names.keys() == want.keys(), where
        for name, value in want.items():
            check(value, found[names[name]], f"{where}.{name}", rounding)
    elif isinstance(want, list):
        assert len(found) == len(want), where
        for number, (one, other) in enumerate(zip(want, found, strict=True)):
            check(one, other, f"{where}[{number}]", rounding)
    else:
        value = found.value if isinstance(found, Enum) else found
        if rounding and isinstance(want, float):
            assert value == pytest.approx(want, rel=rounding, abs=rounding), where
        else:
            assert value == want, where


def check_network(want: Mapping[str, Any], found: sp.DeployedNetwork) -> None:
    assert found.content_hash == want["content_hash"]
    assert found.provenance == want["provenance"]
    assert found.steps == want["steps"]
    for group in ("inputs", "populations", "connections", "readouts"):
        parts = getattr(found, group)
        assert len(parts) == len(want[group])
        for fields, part in zip(want[group], parts, strict=True):
            assert type(part).__name__ == fields["type"]
            rest = {name: value for name, value in fields.items() if name != "type"}
            check(rest, part, f"{group} {fields}")


def check_run(want: Mapping[str, Any], found: sp.Run, rounding: float = 0.0) -> None:
    for name, value in want.items():
        if name == "trace" and value is not None:
            check_trace(value, found.trace, rounding)
        else:
            check(value, getattr(found, name), name, rounding)


def check_trace(want: Mapping[str, Any], found: Any, rounding: float = 0.0) -> None:
    for name, value in want.items():
        check(value, getattr(found, name), f"trace {name}", rounding)


# Deployed networks


@pytest.mark.parametrize("suffix", ["spikeport", "nir"])
@pytest.mark.parametrize("name", NETWORKS)
def test_deployed_networks(written: Written, name: str, suffix: str) -> None:
    path, want = written.path(f"{name}.{suffix}"), written.facts["networks"][name]
    network = sp.load_network(path) if suffix == "spikeport" else sp.read_nir(path)
    assert isinstance(network, sp.DeployedNetwork)
    check_network(want, network)
    samples = arrays(want["samples"])
    for run in (sp.run_native, sp.run_reference):
        check_run(want["run"], run(network, samples, record=("spikes", "u", "v")))


@pytest.mark.parametrize("name", NETWORKS)
def test_deployed_networks_are_written_as_before(
    sealed: Written, name: str, tmp_path: Path
) -> None:
    network = sp.load_network(sealed.path(f"{name}.spikeport"))
    sp.save_network(network, tmp_path / "a.spikeport")
    sp.write_nir(network, tmp_path / "a.nir")
    assert (tmp_path / "a.spikeport").read_bytes() == sealed.path(f"{name}.spikeport").read_bytes()
    then, now = sealed.path(f"{name}.nir"), tmp_path / "a.nir"
    same_graph_file(then, now, version=2, drawn_anew=name in DRAWN_ANEW)


def same_bytes(sealed: Written, name: str, path: Path) -> None:
    """Compare an HDF5 file with a fixture; with other libraries its bytes may differ."""
    if sealed.same_hdf5:
        assert path.read_bytes() == sealed.path(name).read_bytes()


def same_graph_file(then: Path, now: Path, *, version: int = 1, drawn_anew: bool = False) -> None:
    """Compare every dataset of two NIR files.

    Today's has no v_reset of zeros, states in one place what its convolutions were, and counts the
    axes of Flatten from the end.

    Args:
        version: that of the metadata today; in 2, thresholds of deployed networks are above vth.
        drawn_anew: the graph itself is another today (`CubaLIF`, one-step delays of cycles); only
            its integers are compared.
    """
    old, new = datasets(then), datasets(now)
    header = "node/metadata/spikeport"
    facts = [json.loads(found.pop(header)) for found in (old, new)]
    assert [one.pop("version") for one in facts] == [1, version]
    assert facts[0] == facts[1]
    if drawn_anew:
        arrays = "node/metadata/spikeport_arrays/"
        old, new = ({n: v for n, v in x.items() if n.startswith(arrays)} for x in (old, new))
    for name in [name for name in old if name.endswith("/v_threshold") and version > 1]:
        exact, moved = old.pop(name), new.pop(name)
        assert np.all((moved > exact) & (moved < exact * (1 + 1e-3)))
    for name in [name for name in old if name.endswith("/v_reset")]:
        assert not np.any(old.pop(name))
    forms = json.loads(new.pop("node/metadata/spikeport_portable", "{}"))
    for name in [name for name in old if name.endswith("/metadata/spikeport")]:
        assert json.loads(old.pop(name)) == forms.pop(name.split("/")[2])
    assert not forms or drawn_anew
    assert old.keys() == new.keys()
    for name in [name for name in old if name.endswith(("/start_dim", "/end_dim"))]:
        axes = len(old[f"{name.rpartition('/')[0]}/input_type"])
        assert new[name] < 0
        assert old.pop(name) % axes == new[name] % axes
    for name, value in old.items():
        assert np.asarray(value).dtype == np.asarray(new[name]).dtype
        np.testing.assert_array_equal(new[name], value, name)


def datasets(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, one: found.update({name: one[()]} if isinstance(one, h5py.Dataset) else {})
        )
    return found


# Float networks


@pytest.mark.parametrize("name", FLOATS)
def test_float_networks(written: Written, name: str) -> None:
    want = written.facts["float"][name]
    network = sp.read_nir(written.path(f"{name}.nir"))
    assert isinstance(network, sp.FloatNetwork)
    for key in ("dt_s", "steps", "inputs"):
        check(want[key], getattr(network, key), key)
    assert network.semantics == sp.Semantics(reset=want["reset"], strict=want["strict"])
    assert sorted([a, b] for a, b in network.graph.edges) == want["edges"]
    assert network.graph.nodes.keys() == want["nodes"].keys()
    for key, node in network.graph.nodes.items():
        fields = dict(want["nodes"][key])
        assert type(node).__name__ == fields.pop("type")
        now = node.to_dict()
        check(fields, {field: now[field] for field in fields}, key)
    run = sp.run_float(network, arrays(want["samples"]), record=("spikes", "v"))
    check_run(want["run"], run, written.rounding)


@pytest.mark.parametrize("name", FLOATS)
def test_float_networks_are_written_as_before(sealed: Written, name: str, tmp_path: Path) -> None:
    sp.write_nir(sp.read_nir(sealed.path(f"{name}.nir")), tmp_path / "a.nir")
    same_graph_file(sealed.path(f"{name}.nir"), tmp_path / "a.nir")


# Traces


@pytest.mark.parametrize("name", TRACES)
def test_traces(written: Written, name: str) -> None:
    want = written.facts["traces"][name]
    with sp.open_trace(written.path(f"{name}.h5")) as reader:
        check(want["header"], reader.header.facts(), "header")
        for sample in range(reader.header.samples):
            part = reader.read(sample, sample + 1)
            for variable in ("spikes", "u", "v"):
                table = arrays(want["trace"][variable])
                assert table.keys() == getattr(part, variable).keys()
                for population, values in table.items():
                    found = getattr(part, variable)[population]
                    assert found.dtype == values.dtype
                    np.testing.assert_array_equal(found, values[:, sample : sample + 1])
    _, trace = sp.read_trace(written.path(f"{name}.h5"))
    check_trace(want["trace"], trace)


@pytest.mark.parametrize(("name", "network"), [("whole", "recurrent"), ("probes", "conv2d")])
def test_a_run_equals_a_trace(written: Written, name: str, network: str, tmp_path: Path) -> None:
    deployed = sp.load_network(written.path(f"{network}.spikeport"))
    samples = arrays(written.facts["traces"][name]["samples"])
    sp.record_trace(tmp_path / "a.h5", deployed, samples)
    assert sp.compare_files(written.path(f"{name}.h5"), tmp_path / "a.h5").equal


@pytest.mark.parametrize("name", TRACES)
def test_traces_are_written_as_before(sealed: Written, name: str, tmp_path: Path) -> None:
    header, _ = sp.read_trace(sealed.path(f"{name}.h5"))
    with sp.open_trace(sealed.path(f"{name}.h5")) as reader, trace_writer(tmp_path / "a") as writer:
        writer.begin(header)
        for first in range(0, header.samples, 2):
            writer.append(reader.read(first, min(first + 2, header.samples)))
    same_bytes(sealed, f"{name}.h5", tmp_path / "a")


# Stream states


@pytest.mark.parametrize("name", STATES)
def test_streams_continue(written: Written, name: str) -> None:
    want = written.facts["states"][name]
    network = sp.load_network(written.path(f"{name}.spikeport"))
    state = sp.load_state(written.path(f"{name}.state"), network)
    check(want["state"], state, "state")
    stream = sp.Stream(network, state=state)
    check_run(want["run"], stream.push(arrays(want["chunk"]), record=("spikes", "u", "v")))


@pytest.mark.parametrize("name", STATES)
def test_stream_states_are_written_as_before(sealed: Written, name: str, tmp_path: Path) -> None:
    network = sp.load_network(sealed.path(f"{name}.spikeport"))
    sp.save_state(sp.load_state(sealed.path(f"{name}.state"), network), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == sealed.path(f"{name}.state").read_bytes()


# Shards


@pytest.fixture
def as_version_0_1_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard belongs to the version that computed it."""
    monkeypatch.setattr(store, "__version__", "0.1.0")


@pytest.mark.usefixtures("as_version_0_1_0")
def test_shards(written: Written, tmp_path: Path) -> None:
    for key, want in written.facts["shards"].items():
        network = sp.load_network(written.path(f"{want['network']}.spikeport"))
        samples, record = arrays(want["samples"]), want["record"]
        assert store.shard_key(network.content_hash, "native", samples, record) == key
        run = store.load_shard(written.folder, key)
        assert run is not None
        check_run(want["run"], run)
        store.save_shard(tmp_path, key, run)
        name = f"{key}{store.SUFFIX}"
        if written.version == SEALED:
            assert (tmp_path / name).read_bytes() == written.path(name).read_bytes()


@pytest.mark.usefixtures("as_version_0_1_0")
def test_a_sharded_run_takes_finished_shards(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unneeded(*_: object) -> None:
        raise AssertionError("a finished shard was computed again")

    monkeypatch.setattr("spikeport.sharding.engine.connected", unneeded)
    want = written.facts["networks"]["recurrent"]
    network = sp.load_network(written.path("recurrent.spikeport"))
    samples = arrays(want["samples"])
    run = sp.run_sharded(network, samples, shard=2, folder=written.folder)
    check_run({**want["run"], "trace": None}, run)


# Checkpoints


def settings(written: Written, stored: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's configuration; 0.1.0 fired on v >= v_threshold and did not state it."""
    return {"strict": False, **stored} if written.version == OLD else dict(stored)


@pytest.mark.parametrize("name", [*CHECKPOINTS, *(f"{name}.best" for name in CHECKPOINTS)])
def test_checkpoints(written: Written, name: str) -> None:
    want = written.facts["checkpoints"][name]
    state = sp.load_checkpoint(written.path(f"{name}.safetensors"))
    check(settings(written, want["config"]), state.config, "config")
    for key in ("classes", "data", "fingerprint", "history", "optimizer", "progress", "teacher"):
        check(want[key], getattr(state, key), key)
    check(want["input"], state.model.input, "input")
    check(want["tensors"], state.model.state_dict(), "tensors")
    if "scores" in want:
        with torch.no_grad():
            scores = state.model.inference(torch.from_numpy(array(want["test_x"]).copy()))
        check(want["scores"], scores, "scores", written.rounding)
    if "deployed" in want:
        assert isinstance(state.model, sp.QATNetwork)
        check_network(want["deployed"], state.model.deployed())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_resume(written: Written, name: str, tmp_path: Path) -> None:
    want = written.facts["checkpoints"][name]["resumed"]
    for part in (f"{name}.safetensors", f"{name}.best.safetensors"):
        shutil.copy(written.path(part), tmp_path / part)
    path = tmp_path / f"{name}.safetensors"
    state = sp.load_checkpoint(path)
    assert state.progress.batches > 0
    teacher = written.path("float.best.safetensors") if state.config.distillation else None
    data = sp.load_dataset(str(written.path("images.npz")))
    done = sp.train(state.config, data, checkpoint=path, resume=True, teacher=teacher, workers=0)
    # The loihi1 profile of 0.1.0 charged zeros in shared kernels at the nominal level.
    ignored = {"seconds"} | ({"energy_uj"} if written.version == OLD else set())
    for record, found in zip(want["history"], done.history, strict=True):
        kept = {key: value for key, value in record.items() if key not in ignored}
        now = {key: getattr(found, key) for key in kept}
        check(kept, now, f"epoch {record['epoch']}", written.rounding)
    check(want["tensors"], done.model.state_dict(), "tensors", written.rounding)
    assert done.best is not None
    check(want["best"], done.best.state_dict(), "best", written.rounding)
    if "deployed" in want and not written.rounding:
        assert isinstance(done.model, sp.QATNetwork)
        check_network(want["deployed"], done.model.deployed())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_are_written_as_before(sealed: Written, name: str, tmp_path: Path) -> None:
    path = sealed.path(f"{name}.safetensors")
    sp.save_checkpoint(tmp_path / "a", sp.load_checkpoint(path))
    assert (tmp_path / "a").read_bytes() == path.read_bytes()


# Settings, data and tables


def test_data_sets_are_the_same(written: Written) -> None:
    """Else no checkpoint could be resumed."""
    data = sp.load_dataset(str(written.path("images.npz")))
    assert data.fingerprint == written.facts["data"]["fingerprint"]
    check(written.facts["data"]["input"], data.input, "input")
    assert sp.load_dataset("digits").fingerprint == written.facts["digits"]


def test_recipes(written: Written) -> None:
    check(written.facts["recipe"], sp.load_recipe(written.path("recipe.toml")), "recipe")


def test_profiles(written: Written) -> None:
    profile = sp.load_profile(written.path("profile.toml"))
    want = dict(written.facts["profile"])
    if written.version == OLD:  # one rule for every storage format
        want["counts_zeros"] = dict.fromkeys(OLD_KINDS, want["counts_zeros"])
    known = {kind: profile.counts_zeros[kind] for kind in SynapseKind if kind in OLD_KINDS}
    check(want, dataclasses.replace(profile, counts_zeros=known), "profile")
    wanted = written.facts["energy"]
    network = sp.load_network(written.path(f"{wanted['network']}.spikeport"))
    counts = sp.EventCounts(**wanted["counts"])
    found = sp.estimate_energy(network, counts, profile).as_dict()
    for key in ("chips", "total", "dynamic", "static", "time_ns", "int8_ann"):
        check(wanted[key], found[key], key, 1e-12)
    for term, now in zip(wanted["terms"], found["terms"], strict=True):
        for key in ("events", "energy", "by_part"):
            check(term[key], now[key], f"{term['name']}: {key}", 1e-12)


def test_counts(sealed: Written) -> None:
    network = sp.load_network(sealed.path("quantized.spikeport"))
    check(sealed.facts["counts"], sp.load_counts(sealed.path("counts.json"), network), "counts")


def test_a_pareto_front_is_resumed(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(written.folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in Path("front").glob("*.safetensors")}
    change = ["--set", "training.distillation=0", "--set", "training.strict=false"]
    front = ["front", "recipe.toml", *(change if written.version == OLD else change[:2])]
    monkeypatch.setattr("sys.argv", ["spikeport", *front, "--budgets", "20nJ", "--out", "front"])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    assert {path: path.read_bytes() for path in before} == before
    found = json.loads(Path("front/front.json").read_text(encoding="utf-8"))
    check(written.facts["front"], found, "front", written.rounding)


# Completeness


def constants(tree: ast.Module) -> dict[str, Any]:
    """Literals and `Format(...)` calls at the top of a module, by name."""
    found: dict[str, Any] = {}
    for item in tree.body:
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            name, value = item.targets[0].id, item.value
            if isinstance(value, ast.Constant):
                found[name] = value.value
            elif isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Format":
                given = ast.unparse(value)
                name, version = re.findall(r"'([\w.]+)', (\d+)", given)[0]
                found |= {"FORMAT": name, "VERSION": version}
    return found


def formats() -> Iterator[str]:
    """Name and version of every file format in the code."""
    for folder, _, names in os.walk(Path(sp.__file__).parent, followlinks=True):
        for path in (Path(folder, name) for name in names if name.endswith(".py")):
            found = constants(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(schema := found.get("SCHEMA"), str):
                yield schema
            elif schema is not None:
                yield f"schema {schema}"
            elif "VERSION" in found:
                known = [found[key] for key in ("FORMAT", "KIND", "KEY") if key in found]
                assert known, f"{path}: VERSION of what?"
                yield f"{known[0]} {found['VERSION']}"
            else:
                assert "FORMAT" not in found, f"{path}: FORMAT without VERSION"


def test_every_format_has_fixtures() -> None:
    assert sorted(formats()) == sorted(KINDS.keys() - {UNVERSIONED})


def test_every_kind_is_in_the_fixtures(written: Written) -> None:
    names = [str(p.relative_to(written.folder)) for p in written.folder.rglob("*") if p.is_file()]
    for pattern in (pattern for patterns in KINDS.values() for pattern in patterns):
        if (written.version, pattern) != (OLD, "counts.json"):  # first printed later
            assert fnmatch.filter(names, pattern), pattern
    read = {
        *(f"{name}.spikeport" for name in NETWORKS),
        *(f"{name}.nir" for name in (*NETWORKS, *FLOATS)),
        *(f"{name}.h5" for name in TRACES),
        *(f"{name}.state" for name in STATES),
        *(f"{key}.shard" for key in written.facts["shards"]),
        *(f"{name}{best}.safetensors" for name in CHECKPOINTS for best in ("", ".best")),
        *(name for name in names if name.startswith("front/")),
        *KINDS["schema 1"],
        *KINDS[UNVERSIONED],
    }
    assert set(names) <= read
