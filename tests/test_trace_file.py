"""Traces on disk: exact, in parts, whole or not at all, and safe against any file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError, OutputError
from spikeport.runs import RECORDABLE, Chosen, Probe, Run, Trace, check_samples, sample_count
from spikeport.simulators import run_native, run_reference
from spikeport.traces import open_trace, read_trace, trace_writer
from spikeport.traces import reader as trace_reader
from spikeport.traces.header import header_of
from spikeport.traces.writer import write_trace
from spikeport.workflow import record_trace, trace_chunk
from spikeport.workflow import run as workflow
from tests.helpers.probes import chain, inputs, probes_for
from tests.helpers.strategies import networks, samples_for


def same(a: Trace, b: Trace) -> None:
    """Every array is the same in type, shape and value, and nothing is there once only."""
    for variable in RECORDABLE:
        tables = getattr(a, variable), getattr(b, variable)
        assert tables[0].keys() == tables[1].keys()
        for name, array in tables[0].items():
            assert array.dtype == tables[1][name].dtype
            np.testing.assert_array_equal(array, tables[1][name], strict=True)
    assert a.neurons.keys() == b.neurons.keys()
    for key, chosen in a.neurons.items():
        assert chosen.shape == b.neurons[key].shape
        np.testing.assert_array_equal(chosen.flat, b.neurons[key].flat)


def traced(run: Run) -> Trace:
    assert run.trace is not None
    return run.trace


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_trace_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network, max_samples=5))
    record = data.draw(probes_for(network))
    run = run_native(network, samples, record=record)
    path = tmp_path_factory.mktemp("trace") / "t.h5"
    write_trace(path, run, order=network.order, provenance={"made": "here"})
    header, trace = read_trace(path)
    same(trace, traced(run))
    assert (header.samples, header.steps) == (run.samples, run.steps)
    assert (header.backend, header.backend_version) == (run.backend, run.version)
    assert header.network_hash == network.content_hash
    assert header.order == network.order
    assert header.provenance == {"made": "here"}
    first = data.draw(st.integers(0, run.samples - 1))
    stop = data.draw(st.integers(first + 1, run.samples))
    with open_trace(path) as reader:
        part = reader.read(first, stop)
    for variable in RECORDABLE:
        for name, array in getattr(part, variable).items():
            np.testing.assert_array_equal(
                array, getattr(traced(run), variable)[name][:, first:stop]
            )


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_recording_in_chunks_equals_one_run(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network, max_samples=6))
    count = sample_count(network.inputs, check_samples(network.inputs, network.steps, samples))
    folder = tmp_path_factory.mktemp("chunks")
    whole = run_reference(network, samples, record=RECORDABLE)
    chunk = data.draw(st.integers(1, count + 1))
    done: list[tuple[int, int]] = []
    run = record_trace(
        folder / "a.h5", network, samples, chunk=chunk, progress=lambda *now: done.append(now)
    )
    header, trace = read_trace(folder / "a.h5")
    same(trace, traced(whole))
    assert run.trace is None
    assert run.samples == header.samples == count
    assert run.counts == whole.counts
    np.testing.assert_array_equal(run.predictions, whole.predictions)
    assert done[-1] == (count, count)
    assert len(done) == -(-count // chunk)


def test_memory_is_bounded_by_the_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = chain(), inputs(50)
    each = 6 * 48 * (1 + 4 + 4)
    assert trace_chunk(network, RECORDABLE) == workflow.RECORD_BYTES // each
    assert trace_chunk(network, [Probe("a", ("v",), (1, 2))]) == workflow.RECORD_BYTES // (
        6 * 2 * 4
    )
    monkeypatch.setattr(workflow, "RECORD_BYTES", 7 * each)
    seen: list[int] = []

    def spying(*arguments: Any, **options: Any) -> Run:
        run = run_native(*arguments[1:], **options)
        tables = (traced(run).spikes, traced(run).u, traced(run).v)
        seen.append(sum(array.nbytes for table in tables for array in table.values()))
        return run

    monkeypatch.setattr(workflow, "run_backend", spying)
    record_trace(tmp_path / "t.h5", network, x)
    assert max(seen) == 7 * each
    assert len(seen) == 8
    with open_trace(tmp_path / "t.h5") as reader:
        assert reader.bytes_per_sample == each
        blocks = list(reader.blocks(7 * each))
        assert blocks[:2] == [(0, 7), (7, 14)]
        assert blocks[-1] == (49, 50)
        part = reader.read(*blocks[0])
        assert part.u["a"].nbytes == 7 * 6 * 40 * 4


def sparse_run(samples: int, steps: int, size: int) -> Run:
    """A million neuron-steps and more, of which a few fire."""
    rng = np.random.default_rng(0)
    spikes = np.zeros((steps, samples, size), np.uint8)
    spikes.reshape(-1)[rng.integers(0, spikes.size, 2000)] = 1
    return Run(
        backend="native", version="1", network_hash="ab", samples=samples, steps=steps,
        scores={"a": np.zeros((samples, size))}, spike_counts={"a": spikes.sum(axis=(0, 1))},
        counts=None, trace=Trace(spikes={"a": spikes}), wall_s=0.0,
    )  # fmt: skip


def test_sparse_spikes_stay_sparse_on_disk(tmp_path: Path) -> None:
    run = sparse_run(samples=20, steps=100, size=20_000)
    write_trace(tmp_path / "t.h5", run)
    events = int(run.spike_counts["a"].sum())
    with h5py.File(tmp_path / "t.h5") as file:
        stored = file["spikes/a"]
        assert stored["step"].dtype == np.uint8
        assert stored["neuron"].dtype == np.uint16
        assert stored["step"].shape == stored["neuron"].shape == (events,)
    assert (tmp_path / "t.h5").stat().st_size < traced(run).spikes["a"].nbytes / 1000
    same(read_trace(tmp_path / "t.h5")[1], traced(run))


def test_many_events_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_native(chain(), inputs(9), record=["spikes", Probe("a", ("v",), (3, 5))])
    write_trace(tmp_path / "t.h5", run)
    monkeypatch.setattr(trace_reader, "_EVENTS", 7)
    same(read_trace(tmp_path / "t.h5")[1], traced(run))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    record: list[str | Probe] = ["spikes", "u", Probe("a", ("v",), (3, 5, 39))]
    run = run_native(chain(), inputs(), record=record)
    assert all(array.any() for array in traced(run).spikes.values())
    write_trace(tmp_path / "t.h5", run)
    return tmp_path / "t.h5"


def test_equal_runs_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        record_trace(tmp_path / name, chain(), inputs(9), chunk=4)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.slow
def test_every_truncation_is_one_clear_error(written: Path) -> None:
    data = written.read_bytes()
    for size in [*range(0, len(data), len(data) // 60), len(data) - 1]:
        written.write_bytes(data[:size])
        with pytest.raises(InputError, match=str(written)):
            read_trace(written)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_no_damage_gives_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damage") / "t.h5"
    write_trace(path, run_native(chain(), inputs(), record=("spikes", "v")))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_trace(path)


def rewrite(file: h5py.File, name: str, values: Any) -> None:
    del file[name]
    file[name] = values


def header(file: h5py.File, **changes: Any) -> None:
    found = json.loads(file["header"][:].tobytes())
    found.update(changes)
    rewrite(file, "header", np.frombuffer(json.dumps(found).encode(), np.uint8))


def elsewhere(file: h5py.File) -> None:
    rewrite_source = Path(file.filename).with_name("other.h5")
    shutil.copy(file.filename, rewrite_source)
    del file["u/a/values"]
    file["u/a/values"] = h5py.ExternalLink("other.h5", "/u/a/values")


def soft(file: h5py.File) -> None:
    del file["u/a"]
    file["u/a"] = h5py.SoftLink("/u/b")


def twice(file: h5py.File) -> None:
    del file["spikes/a/step"]
    file["spikes/a/step"] = file["spikes/a/neuron"]


def virtual(file: h5py.File) -> None:
    shape = file["u/a/values"].shape
    layout = h5py.VirtualLayout(shape, np.int32)
    layout[:] = h5py.VirtualSource("other.h5", "x", shape)
    del file["u/a/values"]
    file.create_virtual_dataset("u/a/values", layout)


def repeat(file: h5py.File) -> None:
    step = file["spikes/a/step"][:]
    neuron = file["spikes/a/neuron"][:]
    step[1], neuron[1] = step[0], neuron[0]
    rewrite(file, "spikes/a/step", step)
    rewrite(file, "spikes/a/neuron", neuron)


def big_chunk(file: h5py.File) -> None:
    shape = file["u/a/values"].shape
    del file["u/a/values"]
    chunks = (1, 3000, 3000)
    file["u/a"].create_dataset(
        "values", shape, np.int32, maxshape=(None, None, None), chunks=chunks, compression="gzip"
    )


def giant(file: h5py.File) -> None:
    """Declares 2^40 samples and holds none."""
    for name in ("u", "v"):
        del file[name]
    header(file, samples=2**40, recorded=[["spikes", "a"]])
    del file["spikes/a/count"]
    file["spikes/a"].create_dataset("count", (2**40,), np.uint16, chunks=(1000,))


def silent(file: h5py.File) -> None:
    """A sample of 2^40 steps."""
    for name in ("u", "v"):
        del file[name]
    header(file, steps=2**40, recorded=[["spikes", "a"]])


FAULTS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "no header": (lambda f: f.__delitem__("header"), "contains no trace header"),
    "text header": (lambda f: rewrite(f, "header", "{}"), "contains no trace header"),
    "not JSON": (lambda f: rewrite(f, "header", np.zeros(9, np.uint8)), "damaged header"),
    "foreign": (lambda f: header(f, format="other"), "not a Spikeport trace"),
    "later version": (lambda f: header(f, version=2), "format version 2, this Spikeport reads 1"),
    "bad samples": (lambda f: header(f, samples="3"), "samples is '3', must be an integer"),
    "other samples": (lambda f: header(f, samples=4), "count has shape"),
    "bad backend": (lambda f: header(f, backend=3), "must be strings"),
    "no shapes": (lambda f: header(f, shapes=3), "damaged header"),
    "other shape": (lambda f: header(f, shapes={"a": [41], "b": [2, 2, 2]}), "has shape"),
    "unknown": (lambda f: header(f, recorded=[["w", "a"]]), "'a' cannot be recorded"),
    "nothing": (lambda f: header(f, recorded=[]), "must have entries"),
    "missing": (lambda f: f.__delitem__("u/a"), "'/u/a' is missing"),
    "no values": (lambda f: f.__delitem__("u/a/values"), "'/u/a/values' is missing"),
    "external link": (elsewhere, "links are refused"),
    "soft link": (soft, "links are refused"),
    "one object twice": (twice, "linked more than once"),
    "virtual": (virtual, "outside of the file"),
    "event twice": (repeat, "out of order or duplicated"),
    "late event": (
        lambda f: rewrite(f, "spikes/a/step", f["spikes/a/step"][:] + 6),
        "is outside of the recorded range",
    ),
    "signed": (
        lambda f: rewrite(f, "spikes/a/step", f["spikes/a/step"][:].astype(np.int8)),
        "spikes of 'a'",
    ),
    "fewer events": (
        lambda f: rewrite(f, "spikes/a/step", f["spikes/a/step"][1:]), "step has shape"
    ),
    "too many spikes": (
        lambda f: rewrite(f, "spikes/a/count", np.full(3, 999, np.uint16)), "at most 240 fit"
    ),
    "neurons in disorder": (
        lambda f: rewrite(f, "v/a/neurons", np.array([5, 3, 39], np.uint8)), "must ascend"
    ),
    "neuron too high": (
        lambda f: rewrite(f, "v/a/neurons", np.array([3, 5, 40], np.uint8)), "within 0..39"
    ),
    "fewer neurons": (
        lambda f: rewrite(f, "v/a/neurons", np.array([3, 5], np.uint8)), "has shape (3, 6, 3)"
    ),
    "text values": (lambda f: rewrite(f, "u/a/values", "x"), "must be numbers"),
    "big chunk": (big_chunk, "in chunks of"),
    "giant": (giant, "declares"),
    "endless": (silent, "limit"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_gives_one_clear_error(written: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    with h5py.File(written, "r+") as file:
        spoil(file)
    with pytest.raises(InputError) as caught:
        read_trace(written)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{written}: ")


def test_foreign_files(tmp_path: Path) -> None:
    for name, content in (("a.h5", b"text"), ("b.h5", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a Spikeport trace"):
            read_trace(tmp_path / name)
    for path, told in ((tmp_path / "gone.h5", "no such file"), (tmp_path, "is not a file")):
        with pytest.raises(InputError) as caught:
            read_trace(path)
        assert str(caught.value) == f"{path}: {told}"


def write(path: Path, samples: int, run: Run, part: Trace | None = None) -> None:
    with trace_writer(path) as writer:
        writer.begin(header_of(run, samples))
        writer.append(part or traced(run))


def test_an_interrupted_or_short_recording_leaves_nothing(tmp_path: Path) -> None:
    run = run_native(chain(), inputs(), record=RECORDABLE)
    path = tmp_path / "t.h5"
    path.write_text("precious")
    with pytest.raises(InputError, match="3 samples given, not 4"):
        write(path, 4, run)
    with pytest.raises(InputError, match="3 further samples after 0, header has 2"):
        write(path, 2, run)

    def stop(done: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_trace(path, chain(), inputs(), chunk=1, progress=stop)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def change(trace: Trace, **fields: Any) -> Trace:
    return dataclasses.replace(trace, **fields)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: change(t, u={}), "u of 'a' is missing"),
        (lambda t: change(t, u={"a": t.u["a"][:5]}), "header has T = 6 and 40 neurons"),
        (lambda t: change(t, spikes={n: s * 2 for n, s in t.spikes.items()}), "must be 0 or 1"),
        (
            lambda t: change(t, neurons={("u", "a"): Chosen(np.arange(40), (40,))}),
            "for other neurons",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    run = run_native(chain(), inputs(), record=RECORDABLE)
    with pytest.raises(InputError, match=message):
        write(tmp_path / "t.h5", 3, run, spoil(traced(run)))
    assert list(tmp_path.iterdir()) == []


def test_wrong_uses(tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = chain()
    blind = run_native(network, inputs())
    with pytest.raises(InputError, match="recorded nothing"):
        write_trace(tmp_path / "x.h5", blind)
    with pytest.raises(InputError, match="record: nothing selected, needs a variable or a probe"):
        record_trace(tmp_path / "x.h5", network, inputs(), record=())
    with pytest.raises(InputError, match="chunk is 0"):
        record_trace(tmp_path / "x.h5", network, inputs(), chunk=0)
    with pytest.raises(OutputError, match="cannot be written"):
        record_trace(tmp_path / "none" / "x.h5", network, inputs())
    with (
        pytest.raises(InputError, match=r"trace: call begin\(\) before appending samples"),
        trace_writer(tmp_path / "x.h5") as writer,
    ):
        writer.append(Trace())
    with open_trace(written) as reader, pytest.raises(InputError, match=r"samples 2\.\.4 are not"):
        reader.read(2, 4)
    monkeypatch.setattr(trace_reader, "MAX_READ_BYTES", 100)
    with pytest.raises(InputError, match="limit 100: read fewer"):
        read_trace(written)
