"""Sharded runs equal one process: workers, deaths, resuming, damage, and what is left behind."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.backends import run as run_backend
from spikeport.errors import BackendUnavailableError, InputError, OutputError
from spikeport.network import (
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    save_network,
)
from spikeport.runs import Probe, Run
from spikeport.sharding import cluster, dispatch, run_sharded, run_sweep
from spikeport.sharding.store import load_shard, save_shard
from spikeport.simulators import run_native, run_reference
from spikeport.storage import scratch
from tests.helpers.command import call
from tests.helpers.lava import needs_lava
from tests.helpers.leftovers import leaked, segments
from tests.helpers.networks import small_network
from tests.helpers.run_comparison import RECORD, assert_same
from tests.helpers.strategies import networks, samples_for

SAMPLES = 60

# Dask warns in its own threads when a busy machine is slow; there it would be an error.
pytestmark = pytest.mark.filterwarnings("ignore:Creating scratch directories is taking")


NETWORK = small_network()
PIXELS = np.random.default_rng(1).integers(0, 256, (SAMPLES, 1, 8, 8))


def workers_alive() -> list[psutil.Process]:
    """Worker processes of this one; not Python's own tracker, which stays until we end."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline())
    ]


@contextmanager
def somebody_elses(workers: int, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A scheduler's address and its process, the parent of as many workers as it is told."""
    script = (
        "import sys; from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        f"    with LocalCluster(n_workers={workers}, threads_per_worker=2,\n"
        "                      dashboard_address=None) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        for line in sys.stdin: cluster.scale(int(line))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module", autouse=True)
def port_taken() -> Iterator[None]:
    """Dask's usual port is taken, as by another cluster on this machine; nobody may mind."""
    with suppress(OSError), socket.create_server(("127.0.0.1", 8787)):
        yield
        return
    yield


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with somebody_elses(1, tmp_path_factory.mktemp("dask")) as (address, _):
        yield address


@pytest.mark.parametrize(("workers", "backend"), [(2, "native"), (4, "reference")])
def test_workers_one_killed_equal_one_process(workers: int, backend: str, tmp_path: Path) -> None:
    """A sweep with traces; then the same out of its folder, by nobody."""
    seen: list[int] = []

    def kill(done: int, total: int) -> None:
        assert total == SAMPLES
        if not seen:
            alive = workers_alive()
            assert len(alive) == workers
            os.kill(alive[0].pid, signal.SIGKILL)
        seen.append(done)

    pairs = [(NETWORK, PIXELS[:40]), (small_network(1), PIXELS[40:])]
    options: dict[str, Any] = {"shard": 3, "backend": backend, "record": RECORD, "folder": tmp_path}
    runs = run_sweep(pairs, workers=workers, progress=kill, **options)
    assert workers_alive() == []
    assert seen == sorted(seen)
    assert len(seen) == 14 + 7
    assert seen[-1] == SAMPLES
    again = run_sweep(pairs, address="tcp://127.0.0.1:1", **options)
    for (network, samples), *found in zip(pairs, runs, again, strict=True):
        whole = run_backend(backend, network, samples, record=RECORD)
        for run in found:
            assert_same(run, whole)


@pytest.mark.slow
@needs_lava
def test_lava_in_shards_one_worker_killed_equals_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = segments()
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if not killed:
            killed.append(workers_alive()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    run = run_sharded(NETWORK, PIXELS[:9], backend="lava", workers=2, shard=3, progress=kill)
    assert killed
    native = run_native(NETWORK, PIXELS[:9])
    assert_same(run, replace(native, backend=run.backend, version=run.version))
    wait_for(lambda: not any(tmp_path.iterdir()) and not leaked(before))


def test_shards_that_end_their_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a lack of memory does; here Lava's interpreter kills who asks for its version."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $PPID\n")
    python.chmod(0o755)
    monkeypatch.setenv("SPIKEPORT_LAVA_PYTHON", str(python))
    said = r"samples 0 to 59 killed every worker that ran them.*\(now 60\)"
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(BackendUnavailableError, match=said),
    ):
        run_sharded(NETWORK, PIXELS, backend="lava", workers=1)
    assert workers_alive() == []


def test_a_time_limit(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(
        BackendUnavailableError, match=r"longer than 2 s and was stopped, \d+ of 60 samples done"
    ) as error:
        run_sharded(
            small_network(steps=3000),
            PIXELS,
            backend="reference",
            workers=1,
            shard=1,
            timeout_s=2,
            folder=tmp_path,
        )
    assert error.value.exit_code == 3
    assert time.monotonic() - started < 30
    assert workers_alive() == []
    assert {path.suffix for path in tmp_path.iterdir()} <= {".shard"}


def test_a_failing_shard_ends_the_run_and_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEPORT_LAVA_PYTHON", str(tmp_path / "none"))
    with pytest.raises(BackendUnavailableError, match=r"spikeport\.backends\.lava\.environment"):
        run_sharded(NETWORK, PIXELS, backend="lava", workers=1, folder=tmp_path / "shards")
    assert workers_alive() == []
    assert not (tmp_path / "shards").exists()  # nothing was stored


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_random_networks_and_shard_sizes(scheduler: str, data: st.DataObject) -> None:
    pairs = []
    for network in data.draw(st.lists(networks(max_steps=4), min_size=1, max_size=3)):
        pairs.append((network, data.draw(samples_for(network, max_samples=5))))
    shard = data.draw(st.integers(1, 6))
    record = RECORD if data.draw(st.booleans()) else ()
    runs = run_sweep(pairs, address=scheduler, shard=shard, record=record)
    for (network, samples), run in zip(pairs, runs, strict=True):
        assert_same(run, run_native(network, samples, record=record))


def test_large_shards(scheduler: str) -> None:
    """Beyond 10 MB Dask would warn, and advise what does not outlive a worker."""
    network = DeployedNetwork(
        inputs=(Input("wide", (3000,), Coding.SPIKES, 0, 1),),
        populations=(
            Population("output", (2,), vth=9, decay_u=4096, decay_v=0, bias=np.zeros(2, np.int32)),
        ),
        connections=(Dense("wide", "output", np.full((2, 3000), 2, np.int16)),),
        readouts=(Readout("output", ReadoutKind.SPIKES),),
        steps=2,
    )
    samples = np.random.default_rng(2).integers(0, 2, (1000, 3000))
    run = run_sharded(network, samples, address=scheduler, shard=1000)
    assert_same(run, run_native(network, samples))


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_resuming_runs_only_what_is_missing(scheduler: str, tmp_path: Path) -> None:
    def run(samples: Any = PIXELS, **options: Any) -> Run:
        return run_sharded(
            NETWORK, samples, address=scheduler, shard=20, folder=tmp_path, **options
        )

    whole = run_native(NETWORK, PIXELS)
    assert_same(run(), whole)
    first = stamps(tmp_path)
    assert len(first) == 3
    lost = sorted(first)[1]
    (tmp_path / lost).unlink()
    assert_same(run(), whole)
    second = stamps(tmp_path)
    assert second.keys() == first.keys()
    assert {name for name in first if first[name] != second[name]} == {lost}
    # Whole shards of fewer samples are known already; nobody has to answer then.
    seen: list[tuple[int, int]] = []
    part = run_sharded(
        NETWORK,
        PIXELS[:40],
        address="tcp://127.0.0.1:1",
        shard=20,
        folder=tmp_path,
        progress=lambda *at: seen.append(at),
    )
    assert_same(part, run_native(NETWORK, PIXELS[:40]))
    assert seen == [(20, 40), (40, 40)]
    # Anything else asked is another shard.
    other = np.where(PIXELS == 255, 254, PIXELS)
    assert_same(run(other), run_native(NETWORK, other))
    assert_same(run(record=("spikes",)), run_native(NETWORK, PIXELS, record=("spikes",)))
    assert_same(run(backend="reference"), run_reference(NETWORK, PIXELS))
    assert {name: stamps(tmp_path)[name] for name in second} == second
    assert len(stamps(tmp_path)) == 3 + 3 * 3


def truncate(content: bytearray) -> None:
    del content[len(content) // 2 :]


def empty(content: bytearray) -> None:
    content.clear()


def flip_a_number(content: bytearray) -> None:
    content[-1] ^= 1


def flip_the_header(content: bytearray) -> None:
    at = content.index(b'\\"samples\\": ') + len(b'\\"samples\\": ')
    content[at] = ord("9")


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_number, flip_the_header])
def test_damaged_shards_are_run_again(
    scheduler: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytearray], None],
) -> None:
    def run() -> Run:
        return run_sharded(NETWORK, PIXELS, address=scheduler, shard=30, folder=tmp_path)

    run()
    good = {path: path.read_bytes() for path in tmp_path.iterdir()}
    broken = min(good)
    content = bytearray(good[broken])
    damage(content)
    broken.write_bytes(content)
    with caplog.at_level(logging.WARNING, "spikeport"):
        assert_same(run(), run_native(NETWORK, PIXELS))
    (record,) = [entry for entry in caplog.records if entry.name.startswith("spikeport")]
    assert f"{broken}: damaged (" in record.getMessage()
    assert load_shard(tmp_path, broken.stem) is not None
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in good}


def test_a_shard_under_another_key_is_not_taken(tmp_path: Path) -> None:
    run = run_native(NETWORK, PIXELS[:2])
    save_shard(tmp_path, "a", run)
    (tmp_path / "a.shard").rename(tmp_path / "b.shard")
    assert load_shard(tmp_path, "b") is None
    assert load_shard(tmp_path, "a") is None


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_stored_runs_come_back_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    network = data.draw(networks(max_steps=3))
    samples = data.draw(samples_for(network))
    record = data.draw(st.sampled_from([(), ("v",), RECORD]))
    run = run_reference(network, samples, record=record)
    folder = tmp_path_factory.mktemp("store")
    save_shard(folder, "key", run)
    again = load_shard(folder, "key")
    assert again is not None
    assert_same(again, run)
    assert again.wall_s == run.wall_s


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        run_sharded(NETWORK, PIXELS, folder=tmp_path / "file")


def test_no_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install '\.\[dask\]'"):
        run_sharded(NETWORK, PIXELS)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("tcp://127.0.0.1:1", BackendUnavailableError, "no scheduler answers at 'tcp://127.0.0"),
        ("tls://127.0.0.1:1", BackendUnavailableError, "no scheduler answers.*TLS configuration"),
        ("nonsense", InputError, "must be like tcp://host:8786"),
        ("odd://host:1", InputError, "must be like tcp://host:8786"),
    ],
)
def test_unreachable_and_malformed_addresses(
    monkeypatch: pytest.MonkeyPatch, address: str, error: type[Exception], message: str
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    with pytest.raises(error, match=message):
        run_sharded(NETWORK, PIXELS, address=address)


@pytest.mark.parametrize(
    ("answer", "said"), [(b"", "not in time"), (b"HTTP/1.0 200 OK\r\n\r\n" * 9, "Unable to alloc")]
)
def test_another_program_at_the_address(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    """One that only listens, as a hung scheduler does, and one that talks of something else."""
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "tcp://{}:{}".format(*server.getsockname())

        def serve() -> None:
            with server.accept()[0] as other:
                other.sendall(answer)
                while other.recv(4096):
                    pass

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(BackendUnavailableError, match=f"no scheduler answers .*{said}"):
            run_sharded(NETWORK, PIXELS, address=address)


def test_the_address_of_a_worker(scheduler: str) -> None:
    with cluster.connected(scheduler, None, 1) as client:
        (worker,) = client.scheduler_info()["workers"]
    with pytest.raises(BackendUnavailableError, match=r"that is the address of a Worker"):
        run_sharded(NETWORK, PIXELS, address=worker)


def test_a_scheduler_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WORKERS_S", 0.5)
    with (
        somebody_elses(0, tmp_path) as (address, _),
        pytest.raises(BackendUnavailableError, match="has had no worker for"),
    ):
        run_sharded(NETWORK, PIXELS, address=address)


def test_workers_that_leave_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "WORKERS_S", 0.5)
    with (
        somebody_elses(1, tmp_path) as (address, process),
        pytest.raises(
            BackendUnavailableError, match=r"all workers are gone, and none came back for 0\.5 s"
        ),
    ):
        run_sharded(
            small_network(steps=100),
            PIXELS,
            address=address,
            shard=1,
            backend="reference",
            progress=lambda *_: print(0, file=process.stdin, flush=True),
        )


def test_workers_of_another_version(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "__version__", "0.0.1")
    with pytest.raises(BackendUnavailableError, match=r"must have 0\.0\.1 as here"):
        run_sharded(NETWORK, PIXELS, address=scheduler)


def test_a_scheduler_lost_on_the_way(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    with (
        somebody_elses(1, tmp_path) as (address, process),
        pytest.raises(BackendUnavailableError, match="scheduler was lost"),
    ):
        run_sharded(
            small_network(steps=100),
            PIXELS,
            backend="reference",
            address=address,
            shard=1,
            folder=shards,
            progress=lambda done, total: process.kill(),
        )
    assert {path.suffix for path in shards.iterdir()} == {".shard"}


def test_a_scheduler_lost_before_a_finished_shard_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_all(client: Any, futures: Any, _: Any) -> set[Any]:
        with client.as_current():
            return set(cluster.require_dask().wait(futures).done)

    monkeypatch.setattr(dispatch, "_wait", wait_for_all)
    with (
        somebody_elses(1, tmp_path) as (address, process),
        pytest.raises(BackendUnavailableError, match="scheduler was lost"),
    ):
        run_sharded(NETWORK, PIXELS, address=address, shard=30, progress=lambda *_: process.kill())


def test_workers_lost_before_a_finished_shard_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = []

    def wait_for_all(client: Any, futures: Any, _: Any) -> set[Any]:
        clients.append(client)
        with client.as_current():
            return set(cluster.require_dask().wait(futures).done)

    def retire(*_: object) -> None:
        print(0, file=process.stdin, flush=True)
        while clients[0].nthreads():
            time.sleep(0.05)

    monkeypatch.setattr(dispatch, "_wait", wait_for_all)
    monkeypatch.setattr(dispatch, "WORKERS_S", 0.5)
    with (
        somebody_elses(1, tmp_path) as (address, process),
        pytest.raises(BackendUnavailableError, match="all workers are gone, and none came back"),
    ):
        run_sharded(NETWORK, PIXELS, address=address, shard=30, progress=retire)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": 0}, "shard is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"backend": "brain"}, "'brain' is unknown"),
        ({"backend": "float"}, "runs float networks"),
        (
            {"record": [Probe("hidden", ("v",), (1,))]},
            "record: shards record whole populations, not Probes of selected neurons",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_sharded(NETWORK, PIXELS, **options)


def test_command_line(scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chips = [tmp_path / f"{seed}.spikeport" for seed in range(3)]
    for seed, chip in enumerate(chips):
        save_network(small_network(seed), chip)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = call(["run", *map(str, arguments)])
        return code, *capsys.readouterr()

    sharded = ("--dask", scheduler, "--shard", 100, "--resume-folder", tmp_path / "shards")
    for asked in (chips[:1], chips):
        plain, spread = (run(*asked, "--json", *more) for more in ((), sharded))
        assert plain[::2] == spread[::2] == (0, "")
        wanted, found = json.loads(plain[1]), json.loads(spread[1])
        wanted.pop("wall_s", None), found.pop("wall_s", None)
        assert found == wanted
    rows = found["networks"]
    assert [row["network"] for row in rows] == [str(chip) for chip in chips]
    for row in rows:
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert 0 < row["energy_pj"]["low"] <= row["energy_pj"]["nominal"]
    assert len(list((tmp_path / "shards").iterdir())) == 3 * 4
    code, out, _ = run(*chips)
    assert code == 0
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100
    for arguments, message in (
        ((chips[0], "--shard", 5), "--shard 5: needs --dask"),
        ((chips[0], "--resume-folder", "x"), "--resume-folder x: needs --dask"),
        ((*chips, "--trace", "t.npz"), "--trace t.npz: needs a single network"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert message in err


@pytest.mark.parametrize("how", ["interrupt", "kill", "kill at the start"])
def test_nothing_remains_after_the_end(tmp_path: Path, how: str) -> None:
    """Ctrl-C goes to the whole process group, kill -9 to the parent alone."""
    chip, folder = tmp_path / "slow.spikeport", tmp_path / "shards"
    save_network(small_network(steps=300), chip)
    images = tmp_path / "images.npz"
    pixels = PIXELS[:, 0].astype(np.uint8)
    labels = np.arange(SAMPLES) % 10
    np.savez(images, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    arguments = ["run", chip, "--data", images, "-b", "reference", "--dask", "local"]
    command = [*arguments, "--shard", "1", "--resume-folder", folder]
    with subprocess.Popen(
        [sys.executable, "-c", "from spikeport.cli import main; main()", *map(str, command)],
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        sign = "spikeport-dask-*/*" if how == "kill at the start" else "shards/*.shard"
        wait_for(lambda: any(tmp_path.glob(sign)) or process.poll() is not None)
        assert process.poll() is None
        assert len(session(process.pid)) > 1
        assert len(keepers(tmp_path)) == 1
        if how == "interrupt":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        _, said = process.communicate(timeout=30)
    assert process.returncode == (130 if how == "interrupt" else -signal.SIGKILL)
    wait_for(lambda: not session(process.pid) and not keepers(tmp_path))
    # A worker that was just starting complains of a parent that was killed.
    assert "Traceback" not in said or how == "kill at the start"
    assert set(tmp_path.iterdir()) == {chip, images, folder}
    assert {path.suffix for path in folder.iterdir()} <= {".shard"}


def keepers(folder: Path) -> list[int]:
    """Processes that keep a folder of temporary files in `folder`, in sessions of their own."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if scratch.__file__ not in process.cmdline():
                continue
            # A process that is just ending has an empty environment.
            if process.environ().get("TMPDIR") == str(folder):
                found.append(process.pid)
    return found


def session(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
