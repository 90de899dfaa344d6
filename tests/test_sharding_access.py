"""Local workers serve only the run that started them and import no one else's modules."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

from spikeport.network import save_network
from spikeport.sharding import cluster
from spikeport.workflow import write_nir
from tests.helpers.networks import small_network

pytestmark = pytest.mark.filterwarnings("ignore:Creating scratch directories is taking")

ROUTES = ("/", "/health", "/metrics", "/json/counts.json", "/info/main/workers.html", "/status")
SHADOWED = (
    *("numpy", "multiprocessing", "pickle", "struct", "json", "socket", "resource", "hashlib"),
    *("distributed", "dask", "spikeport", "h5py", "safetensors", "worker", "lava", "venv"),
)


def processes() -> list[psutil.Process]:
    here = psutil.Process()
    return [here, *here.children(recursive=True)]


def listening() -> set[tuple[str, int]]:
    """Addresses at which this process and its children accept connections."""
    return {
        tuple(found.laddr)
        for process in processes()
        for found in process.net_connections("inet")
        if found.status == psutil.CONN_LISTEN
    }


def accepting_unix_sockets() -> list[str]:
    """Unix sockets, also abstract ones, on which one of these processes accepts connections."""
    inodes = set()
    for process in processes():
        with suppress(OSError):
            for entry in Path(f"/proc/{process.pid}/fd").iterdir():
                with suppress(OSError):
                    inodes.add(os.readlink(entry))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [
        " ".join(row) for row in rows if f"socket:[{row[6]}]" in inodes and row[3] != "00000000"
    ]


def answer_to(address: tuple[str, int], request: bytes, *, tls: bool) -> bytes:
    """What a client without a certificate can read."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError),
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain) if tls else plain as connection,
    ):
        connection.sendall(request)
        return connection.recv(1 << 16)
    return b""


def identities(places: list[tuple[str, Any]]) -> list[Any]:
    """What each address says of itself to a client with these credentials, or the error."""
    rpc: Any = distributed.rpc

    async def ask(address: str, security: Any) -> Any:
        given = security.get_connection_args("client")
        async with rpc(address, timeout=1, connection_args=given) as peer:
            return await peer.identity()

    async def ask_all() -> list[Any]:
        asked = [asyncio.wait_for(ask(*place), 10) for place in places]
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(ask_all())


@pytest.mark.slow
def test_local_workers_refuse_other_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    security: Any = distributed.security.Security
    before = listening()
    with cluster.connected(None, 1, 1) as client:
        info = client.scheduler_info()
        (worker,) = info["workers"]
        addresses = [info["address"], worker, info["workers"][worker]["nanny"]]
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
        found = listening() - before
        ports = {int(address.rpartition(":")[2]) for address in addresses}
        assert ports < {port for _, port in found}
        assert {host for host, _ in found} == {"127.0.0.1"}
        assert accepting_unix_sockets() == []
        own = identities([(address, client.security) for address in addresses])
        assert [who["type"] for who in own] == ["Scheduler", "Worker", "Nanny"]
        refused = identities(
            [
                (address.replace("tls", scheme, 1), stranger)
                for address in addresses
                for stranger in (security.temporary(), security())
                for scheme in ("tls", "tcp")
            ]
        )
        assert len(refused) == 12
        assert all(isinstance(what, (OSError, TypeError, RuntimeError)) for what in refused)
        for place in found:
            for route in ROUTES:
                request = f"GET {route} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
                said = answer_to(place, request, tls=False)
                assert said == b"" or said.startswith(b"HTTP/1.1 404 ")
            assert answer_to(place, b"x" * 4096, tls=True) == b""
        (folder,) = tmp_path.glob("spikeport-dask-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        keys = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.pem")}
        assert keys == {"key.pem": 0o600, "cert.pem": 0o600}
    assert listening() == before
    assert list(tmp_path.iterdir()) == []


def test_no_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeport.errors import BackendUnavailableError

    monkeypatch.setitem(sys.modules, "cryptography", None)
    with (
        pytest.raises(BackendUnavailableError, match=r"'cryptography'.*pip install '\.\[dask\]'"),
        cluster.connected(None, 1, 1),
    ):
        raise AssertionError


def test_modules_in_the_current_folder_are_never_imported(tmp_path: Path) -> None:
    """Not by workers, the reader of NIR, Lava's interpreter, or numba's settings."""
    good, planted, marks = (tmp_path / name for name in ("good", "planted", "marks"))
    for folder in (good, planted, marks):
        folder.mkdir()
    script = good / "script.py"
    script.write_text("from spikeport.cli import main\nif __name__ == '__main__':\n    main()\n")
    save_network(small_network(), good / "n.spikeport")
    write_nir(small_network(), good / "n.nir")
    mark = f"import os; os.close(os.open({str(marks)!r} + '/' + __name__, os.O_CREAT))\n"
    for name in SHADOWED:
        (planted / f"{name}.py").write_text(mark)
    (planted / ".numba_config.yaml").write_text(f"cache_dir: {marks}\n")
    python = planted / ".venv-lava" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ntouch {marks}/lava\n")
    python.chmod(0o755)
    for command in (
        ("run", good / "n.spikeport", "-n", 20, "--dask", "local", "--shard", 10),
        ("inspect", good / "n.nir"),
        ("backends",),
    ):
        done = subprocess.run(
            [sys.executable, script, *map(str, command)],
            cwd=planted,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert os.listdir(marks) == []
