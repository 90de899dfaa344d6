"""`doctor`: installations that are broken in one way, and a self-test that really runs."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

import spikeport
from spikeport.backends import run
from spikeport.simulators.native import compiled
from spikeport.version import __version__
from spikeport.workflow import installation, self_test
from spikeport.workflow.self_test import SELF_TESTS, backend_tests
from tests.helpers.command import Spikeport, one_line
from tests.helpers.layout import ROOT
from tests.helpers.mounts import in_mounts, needs_mounts

DOCTOR = ["-c", "from spikeport.cli import main; main()", "doctor", "--quick", "--json"]
PACKAGES = Path(numba.__file__).parents[1]
ABSENT = ("torch", "norse", "nirtorch", "safetensors")


def problems(found: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The checks that are not fine, by name, except for what this test environment decides."""
    ours = ("spikeport", "compiled code", "shared memory", "temporary files", "backend lava")
    return {one["name"]: one for one in found["checks"]
            if one["state"] != "ok" and one["name"] not in ours}  # fmt: skip


def in_process() -> dict[str, Any]:
    return spikeport.check_installation(run=False).as_dict()


def check(found: dict[str, Any], name: str) -> dict[str, str]:
    (one,) = (one for one in found["checks"] if one["name"] == name)
    return {key: one[key] for key in ("state", "text", "fix")}


def test_this_installation_is_well(spikeport: Spikeport) -> None:
    code, out, err = spikeport("doctor", "--quick")
    assert (code, err) == (0, "")
    assert "BROKEN" not in out
    for name in ("python: CPython 3.", "processor: ", "packages: numpy ", "[ok] numba: "):
        assert name in out
    assert f"spikeport: {__version__} in " in out
    code, out, _ = spikeport("doctor", "--quick", "--json")
    found = json.loads(out)
    assert (code, found["well"]) == (0, True)
    assert {"spikeport", "numpy", "compiled code", "data folder"} <= {
        one["name"] for one in found["checks"]
    }


@pytest.mark.parametrize("name", SELF_TESTS)
def test_files_and_native_pass_their_self_test(name: str) -> None:
    assert SELF_TESTS[name]()


@pytest.mark.parametrize(
    "name", ["reference", "norse", "cuda", pytest.param("lava", marks=pytest.mark.slow)]
)
def test_a_backend_passes_its_self_test(name: str) -> None:
    test = backend_tests().get(f"{name} runs a network")
    if test is None:
        pytest.skip(f"{name} cannot run here")
    assert re.fullmatch(r"[1-9]\d* spikes, the same as (native|float)", test())


def test_a_backend_with_other_spikes_fails_its_self_test(
    monkeypatch: pytest.MonkeyPatch, spikeport: Spikeport
) -> None:
    tests = {"odd": lambda: self_test._runs("reference")}
    other = run("native", self_test._chip(), 0 * self_test.SAMPLES)
    monkeypatch.setattr(self_test, "_first", lambda name: other)
    monkeypatch.setattr(self_test, "SELF_TESTS", tests)
    monkeypatch.setattr(self_test, "backend_tests", dict)
    code, out, err = spikeport("doctor")
    assert code == 1
    assert one_line(err) == "spikeport: doctor: broken: self-test: odd"
    assert "[BROKEN] self-test: odd: backend 'reference' counts {'out': [" in out
    assert "'native' {'out': [0, 0, 0]}" in out


def test_a_data_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setenv("SPIKEPORT_DATA", str(gone))
    assert check(in_process(), "data folder") == {
        "state": "BROKEN",
        "text": f"SPIKEPORT_DATA is {gone}, which cannot be read: No such file or directory",
        "fix": "set SPIKEPORT_DATA to the folder of your data sets, or unset it",
    }


def test_a_folder_for_temporary_files_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = check(in_process(), "temporary files")
    assert found["state"] == "note"
    assert found["text"].startswith(f"TMPDIR is {tmp_path}/gone, which cannot be written; /")


def test_a_lava_that_is_named_but_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'no module lava' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv("SPIKEPORT_LAVA_PYTHON", str(python))
    found = check(in_process(), "backend lava")
    assert found["state"] == "BROKEN"
    assert found["text"] == f"{python} cannot import Lava: no module lava"
    assert found["fix"].startswith("unset SPIKEPORT_LAVA_PYTHON, or set it to Lava's interpreter")


def test_the_home_folder_and_the_user_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "somebody"
    (home / "data").mkdir(parents=True)
    (home / "data" / "one").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.setenv("SPIKEPORT_DATA", str(home / "data"))
    found = in_process()
    assert getpass.getuser() == "somebody"
    assert check(found, "data folder")["text"] == "~/data has 1 entries"
    assert found["facts"]["SPIKEPORT_DATA"] == "~/data"
    assert "somebody" not in json.dumps(found)
    monkeypatch.setenv("SPIKEPORT_DATA", "/scratch/somebody/mnist")
    assert "/scratch/USER/mnist" in check(in_process(), "data folder")["text"]


def test_files_of_older_code_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    (tmp_path / f"k.a_{compiled._sources()}-1.py311.1.nbc").write_bytes(b"x" * 2**20)
    assert check(in_process(), "compiled code")["state"] == "ok"
    (tmp_path / "k.a_0123456789ab-1.py311.1.nbc").write_bytes(b"x" * 2**21)
    (tmp_path / "other.pyc").touch()
    found = check(in_process(), "compiled code")
    assert found["state"] == "note"
    assert found["text"] == (f"2 files, 3.0 MiB in {tmp_path}; 1 of them, 2.0 MiB, of older code")


def doctor(
    *, path: list[Path], options: tuple[str, ...] = (), **variables: str
) -> tuple[int, dict[str, Any], str]:
    """The command in a process of its own."""
    environment = os.environ | variables | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-P", *options, *DOCTOR], env=environment, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_modules_that_hide_the_installed_ones(tmp_path: Path) -> None:
    (tmp_path / "safetensors.py").touch()
    (tmp_path / "spikeport").symlink_to(ROOT / "spikeport")
    code, found, err = doctor(path=[tmp_path])
    assert check(found, "safetensors") == {
        "state": "BROKEN",
        "text": f"is imported from {tmp_path}/safetensors.py, which hides the installed package in "
        f"{PACKAGES.resolve()}",
        "fix": f"remove {tmp_path} from PYTHONPATH",
    }
    assert code == 1
    assert one_line(err).startswith("spikeport: doctor: broken: safetensors")
    noted = check(found, "spikeport")
    assert noted["state"] == "note"
    assert noted["text"].startswith(f"runs from {tmp_path}, but the installed one is in ")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of this environment except for some, and one of somebody's that is broken."""
    made = tmp_path_factory.mktemp("stub")
    for entry in PACKAGES.iterdir():
        if re.split(r"[-._]", entry.name)[0] not in ABSENT and entry.suffix != ".pth":
            (made / entry.name).symlink_to(entry)
    theirs = made / "theirs-1.0.dist-info"
    theirs.mkdir()
    (theirs / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (theirs / "entry_points.txt").write_text("[spikeport.backends]\ntheirs = theirs:BACKEND\n")
    return made


def test_missing_packages_and_broken_plugins(stub: Path) -> None:
    code, found, err = doctor(path=[ROOT, stub], options=("-S",))
    told = problems(found)
    missing = {"backend norse", "backend cuda"}
    assert told.keys() == {"safetensors", *missing, "backend theirs of package 'theirs'"}
    assert check(found, "safetensors") == {
        "state": "BROKEN",
        "text": "is required, but not installed",
        "fix": "pip install 'safetensors>=0.5'",
    }
    for name, extra in (("backend norse", "norse"), ("backend cuda", "cuda")):
        assert check(found, name) == {
            "state": "not installed",
            "text": "torch is not installed",
            "fix": f"pip install '.[{extra}]'",
        }
    plugin = told["backend theirs of package 'theirs'"]
    assert plugin["state"] == "BROKEN"
    assert "cannot be imported (ModuleNotFoundError: No module named 'theirs')" in plugin["text"]
    assert plugin["fix"] == "pip install --upgrade theirs, or: pip uninstall theirs"
    assert code == 1
    assert one_line(err).startswith("spikeport: doctor: broken: safetensors, backend theirs of")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{stub}"}
    (stub / "n.spikeport").touch()
    other = [sys.executable, "-S", *DOCTOR[:2], "inspect", str(stub / "n.spikeport")]
    done = subprocess.run(other, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr) == (
        "spikeport: installation: No module named 'safetensors'; "
        "`spikeport doctor` says how to fix it"
    )


@needs_mounts
def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    folder = Path(compiled.__file__).resolve().parent
    mounts = "; ".join(
        f"mount --bind {place} {place}; mount -o remount,ro,bind {place}"
        for place in (folder, tmp_path)
    )
    command = ["env", f"HOME={tmp_path}", f"PYTHONPATH={ROOT}", sys.executable, *DOCTOR]
    done = in_mounts(mounts, command, ROOT)
    found = json.loads(done.stdout)
    broken = check(found, "compiled code")
    assert broken["state"] == "BROKEN"
    assert broken["text"].startswith("no folder can hold it")
    assert "NUMBA_CACHE_DIR" in broken["fix"]
    assert (done.returncode, one_line(done.stderr)) == (
        1,
        "spikeport: doctor: broken: compiled code",
    )


def test_an_exception_in_a_check_is_told_and_ends_nothing() -> None:
    def fails() -> Any:
        raise RuntimeError("odd\nodd")

    guarded: Callable[..., Any] = installation._guarded
    (found,) = guarded("part", fails)
    assert (found.state, found.text) == ("BROKEN", "RuntimeError: odd\nodd")
    assert installation._hidden(found).text == "RuntimeError: odd\\nodd"
    assert found.fix == "pip install --force-reinstall spikeport"
