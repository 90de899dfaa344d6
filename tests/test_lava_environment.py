"""Where Lava's interpreter is looked up, and what creating its environment never deletes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikeport.backends.lava import create_environment, environment, lava_status
from spikeport.backends.lava.environment import (
    FOLDER,
    PYTHON,
    RECORD,
    VARIABLE,
    lava_python,
    main,
    record_environment,
)
from spikeport.errors import InputError


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A repository, a running environment and a current folder, none of which has Lava."""
    found = {name: tmp_path / name for name in ("repository", "beside", "current")}
    for place in found.values():
        place.mkdir()
    (found["beside"] / "venv").mkdir()
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(environment, "HERE", found["repository"] / "backends" / "lava")
    monkeypatch.setattr(sys, "prefix", str(found["beside"] / "venv"))
    monkeypatch.chdir(found["current"])
    return found


def interpreter(place: Path) -> Path:
    """A file in `place` that could be mistaken for Lava's interpreter."""
    python = place / FOLDER / PYTHON
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    return python


def test_the_current_folder_is_not_looked_at(places: dict[str, Path]) -> None:
    interpreter(places["current"])
    assert lava_python() is None
    assert lava_status().reason == f"no environment '{FOLDER}' found, {VARIABLE} is not set"


def test_lookup_order_of_the_interpreter(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = interpreter(places["beside"])
    assert lava_python() == beside
    repository = interpreter(places["repository"])
    assert lava_python() == repository
    current = interpreter(places["current"])
    assert record_environment(current).startswith("recorded in ")
    assert lava_python() == current
    monkeypatch.setenv(VARIABLE, str(beside))
    assert lava_python() == beside
    assert record_environment(repository) == f"not used while {VARIABLE} is {beside}"
    monkeypatch.delenv(VARIABLE)
    current.unlink()
    assert lava_python() == repository
    for python in (repository, beside):
        python.unlink()
    assert "current" in lava_status().reason
    assert lava_status().reason.endswith("is not an executable interpreter")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
@pytest.mark.parametrize("place", ["repository", "beside"])
@pytest.mark.parametrize("linked", [False, True])
def test_an_interpreter_of_another_user_is_not_run(
    places: dict[str, Path], place: str, linked: bool
) -> None:
    """Anyone could put one next to an environment in /tmp."""
    interpreter(places["current"] if linked else places[place])
    folder = places[place] / FOLDER
    if linked:
        folder.symlink_to(places["current"] / FOLDER)
    assert lava_python() is not None
    os.chown(folder, 4321, 4321, follow_symlinks=False)
    assert lava_python() is None
    os.chown(sys.prefix, 4321, 4321)  # that user's environment is the one we run in
    assert lava_python() is not None


def test_what_is_found_anyway_is_not_recorded(places: dict[str, Path]) -> None:
    assert record_environment(interpreter(places["repository"])) == "it is found automatically"
    assert not (Path(sys.prefix) / RECORD).exists()


def test_a_running_environment_that_cannot_be_written(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (places["beside"] / "venv" / "share").write_text("in the way")
    current = interpreter(places["current"])
    said = record_environment(current)
    assert said.startswith(f"to use it, set {VARIABLE}={current} (")
    monkeypatch.setenv(VARIABLE, str(current))
    assert lava_python() == current


@pytest.mark.usefixtures("no_steps")
@pytest.mark.parametrize("name", [".", "home", "link"])
def test_a_folder_that_is_not_an_environment_is_not_emptied(
    places: dict[str, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (places["current"] / "home").mkdir()
    (places["current"] / "link").symlink_to("home")
    (places["current"] / name / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="would be emptied"):
        create_environment(name)
    assert main([name]) == 2
    assert "would be emptied" in capsys.readouterr().err
    assert (places["current"] / name / "thesis.tex").read_text() == "precious"


@pytest.fixture
def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that no test creates or empties an environment."""

    def step(command: list[str]) -> None:
        raise AssertionError(command)

    monkeypatch.setattr(environment, "_step", step)


@pytest.mark.usefixtures("no_steps")
def test_the_target_of_a_link_is_not_emptied(places: dict[str, Path]) -> None:
    """Also where it is a virtual environment: venv --clear would empty it, then fail."""
    made = interpreter(places["repository"]).parents[1]
    (made / "pyvenv.cfg").touch()
    (places["current"] / FOLDER).symlink_to(made)
    with pytest.raises(InputError, match="is a symbolic link"):
        create_environment(FOLDER)
    assert sorted(path.name for path in made.iterdir()) == ["bin", "pyvenv.cfg"]


@pytest.mark.usefixtures("no_steps")
def test_the_command_of_the_readme_makes_lava_found(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From any folder; an interpreter that answers like Lava's is already there."""
    python = interpreter(places["current"])
    python.write_text("#!/bin/sh\necho 0.10.0\n")
    assert lava_python() is None
    assert main([FOLDER]) == 0
    assert f"recorded in {Path(sys.prefix) / RECORD}" in capsys.readouterr().err
    monkeypatch.chdir("/")
    assert lava_python() == python
    assert lava_status().version == "0.10.0"


@pytest.mark.slow
def test_making_an_environment_runs_no_module_of_the_current_folder(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = places["current"] / "marks"
    marks.mkdir()
    for name in ("venv", "pip", "ensurepip"):
        mark = str(marks / name)
        (places["current"] / f"{name}.py").write_text(f"open({mark!r}, 'w')\n")
    commands: list[list[str]] = []

    def step(command: list[str]) -> None:
        if "install" not in command:
            subprocess.run(command, check=True)
        commands.append(command)

    monkeypatch.setattr(environment, "_step", step)
    monkeypatch.setattr(
        environment, "_ask", lambda python: environment.LavaStatus("0.10.0", "", "")
    )
    monkeypatch.setattr(environment._ask, "cache_clear", lambda: None, raising=False)
    create_environment(places["current"] / "new")
    assert list(marks.iterdir()) == []
    assert all("-I" in command for command in commands)
    assert len(commands) == 2
