"""The fault table of docs/faults.md names tests that exist; faults of the whole command."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikeport.cli import main
from spikeport.errors import InputError
from spikeport.network import save_network
from spikeport.trainer import load_checkpoint
from tests.helpers.lava import network

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "faults.md"
COMMAND = [sys.executable, "-c", "from spikeport.cli import main; main()"]


def defined() -> dict[str, set[str]]:
    """Names of the test functions in each test file."""
    return {
        path.stem: {
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        for path in (ROOT / "tests").glob("test_*.py")
    }


def test_every_test_that_the_fault_table_names_exists() -> None:
    files, missing, named = defined(), [], 0
    everywhere = set().union(*files.values())
    for name in re.findall(r"`(test_\w+)`", TABLE.read_text()):
        named += 1
        if name not in everywhere and name not in files:
            missing.append(name)
    assert missing == []
    assert named > 40


def test_every_fault_names_a_test_and_every_row_is_whole() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    faults = [row for row in rows if not row.startswith(("| fault", "|---"))]
    assert len(faults) > 30
    for row in faults:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) == 5, row
        assert all(cells), row
        assert "`test_" in cells[1], row


@pytest.mark.slow
def test_a_full_disk_stops_the_demo(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)); "
    command = [sys.executable, "-c", limit + COMMAND[-1], "demo", "--epochs", "1", "-o"]
    done = subprocess.run([*command, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.endswith("model.safetensors: cannot be written: File too large [SP701]")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_standard_output_to_a_full_disk(tmp_path: Path, options: list[str]) -> None:
    save_network(network(), tmp_path / "n.spikeport")
    command = [*COMMAND, "inspect", str(tmp_path / "n.spikeport"), *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "spikeport: standard output: No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_training_ended_from_outside_resumes(
    tmp_path: Path,
    number: signal.Signals,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "m.safetensors"
    epochs = 25
    arguments = ["train", "--model", "mlp", "--widths", "16", "-T", "4", "-o", str(path)]
    arguments += ["--epochs", str(epochs), "--json"]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None and not epochs_done(path):
            time.sleep(0.01)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in said
    assert 1 <= epochs_done(path) < epochs
    monkeypatch.setattr(sys, "argv", ["spikeport", *arguments, "--resume"])
    main_exits(0)
    assert f'"epochs": {epochs}' in capsys.readouterr().out
    assert epochs_done(path) == epochs
    if number == signal.SIGINT:
        assert os.listdir(tmp_path) == [path.name]


def epochs_done(path: Path) -> int:
    try:
        return len(load_checkpoint(path).history)
    except InputError:
        return 0


def main_exits(code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        main()
    assert (stop.value.code or 0) == code


def test_a_compiler_cache_that_cannot_be_written(tmp_path: Path) -> None:
    save_network(network(), tmp_path / "n.spikeport")
    script = (
        "import sys, numpy; from spikeport.network.file import load_network\n"
        "from spikeport.simulators.native import run_native\n"
        "run = run_native(load_network(sys.argv[1]), numpy.ones((1, 30), int))\n"
        "print(run.counts.spikes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path / "n.spikeport"],
        env=os.environ | {"NUMBA_CACHE_DIR": "/proc/nowhere"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "{'a': 600}\n"
