"""Codes of errors: stable, on the command line, and each explained by an example that is run."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spikeport
from spikeport.errors import (
    FileFormatError,
    FileMissingError,
    InputError,
    SpikeportError,
    error_classes,
)
from spikeport.storage import run_isolated
from tests.helpers.command import Spikeport, call, one_line
from tests.helpers.layout import ROOT
from tests.helpers.pages import page

TEXT = page("errors.md")
START, *ENTRIES = re.split(r"^## (?=SP\d+ )", TEXT, flags=re.M)
(PREPARED,) = re.findall(r"```python\n(.*?)```", START, re.S)

CODES = {
    "SP100": "SpikeportError", "SP101": "InputError", "SP102": "OptionError",
    "SP103": "UnknownNameError", "SP104": "ValueRangeError", "SP105": "SettingsError",
    "SP201": "FileMissingError", "SP202": "FileFormatError", "SP203": "FileVersionError",
    "SP204": "FileLimitError", "SP301": "NetworkError", "SP302": "GraphError",
    "SP303": "UnstatedError", "SP304": "UnsupportedError", "SP305": "ModuleReadingError",
    "SP306": "ConversionError",
    "SP401": "SamplesError", "SP402": "LabelsError", "SP403": "DataSetError",
    "SP501": "TrainingError", "SP502": "EnergyError", "SP701": "OutputError",
    "SP801": "BackendUnavailableError", "SP802": "MissingPackageError",
    "SP901": "CheckFailedError",
}  # fmt: skip
"""Users search for them and match on them: an entry never changes."""


def test_codes_never_change() -> None:
    found = {code: one.__name__ for code, one in error_classes().items()}
    assert found == CODES


def test_every_class_is_public_and_has_a_code_of_its_own() -> None:
    for one in error_classes().values():
        assert getattr(spikeport, one.__name__) is one
        assert "code" in vars(one)


def test_the_page_explains_every_code() -> None:
    headings = [entry.splitlines()[0] for entry in ENTRIES]
    explained = {code: name for code, name in CODES.items() if code != "SP100"}  # never raised
    assert headings == [f"{code} `{name}`" for code, name in explained.items()]
    for entry in ENTRIES:
        explanation = " ".join(entry.split())
        assert "Usual cause: " in explanation
        assert "What to do: " in explanation


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[:5])
def test_every_example_gives_its_message(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, name = re.findall(r"(SP\d+) `(\w+)`", entry.splitlines()[0])[0]
    (message,) = re.findall(r"```text\n(.*?)\n```", entry, re.S)
    (script,) = re.findall(r"```python\n(.*?)```", entry, re.S)
    commands = re.findall(r"```sh\n(.*?)\n```", entry, re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for module in re.findall(r'sys.modules\["(.*?)"\] = None', script):
        monkeypatch.setitem(sys.modules, module, importlib.import_module(module))
    names: dict[str, Any] = {}
    exec(PREPARED, names)
    if commands:
        exec(script, names)
        capsys.readouterr()
        assert call(shlex.split(commands[0])[1:]) == error_classes()[code].exit_code
        assert capsys.readouterr().err == f"{message}\n"
        return
    with pytest.raises(SpikeportError) as caught:
        exec(script, names)
    assert caught.value.coded == message
    assert type(caught.value).__name__ == name
    assert caught.value.code == code


def test_the_command_prints_the_code(spikeport: Spikeport, tmp_path: Path) -> None:
    code, _, err = spikeport("inspect", tmp_path / "gone.spikeport")
    assert (code, err) == (2, f"spikeport: {tmp_path}/gone.spikeport: no such file [SP201]\n")
    assert one_line(err) == f"spikeport: {tmp_path}/gone.spikeport: no such file"


def test_words_that_cannot_be_parsed_have_no_code(spikeport: Spikeport) -> None:
    code, _, err = spikeport("compare", "--bogus")
    assert code == 2
    assert err.endswith("Error: No such option: --bogus\n")


def test_the_code_stands_before_the_details() -> None:
    error = FileFormatError("a: damaged", "first", "second")
    assert str(error) == "a: damaged\n  first\n  second"
    assert error.coded == "a: damaged [SP202]\n  first\n  second"


@pytest.mark.parametrize(
    ("call", "family"),
    [
        (lambda: spikeport.QuantizeConfig(weight_bits=9), "ValueRangeError"),
        (lambda: spikeport.TrainConfig(lr=-1.0), "ValueRangeError"),
        (lambda: spikeport.LIF(2.0), "ValueRangeError"),
        (lambda: spikeport.TrainConfig(widths=()), "TrainingError"),
        (lambda: spikeport.load_checkpoint("gone.safetensors"), "FileMissingError"),
        (lambda: spikeport.load_recipe("digits", {"training.lr": -1.0}), "SettingsError"),
    ],
)
def test_an_error_is_of_the_family_of_its_cause(call: Callable[[], Any], family: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert type(caught.value).__name__ == family


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("check", "n.spikeport", "--data", "digits"),
            "--data: is for what is not trained yet, n.spikeport is a network [SP102]",
        ),
        (
            ("check", "gone.py:Mine", "--data", "digits"),
            "architecture 'gone.py:Mine': gone.py does not exist or is not a file [SP201]",
        ),
        (
            ("check", "digits", "--semantics", "norse", "--dt", "1"),
            "digits: --dt and --semantics must not be given, for NIR files only [SP102]",
        ),
        (("check", "digits", "--bits", "12"), "weight_bits is 12, must lie in 2..8 [SP104]"),
        (
            ("compare", "gone.safetensors"),
            "gone.safetensors: no such file [SP201]",
        ),
    ],
)
def test_check_refuses_by_the_family_of_the_cause(
    spikeport: Spikeport, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = spikeport(*arguments)
    assert (code, out, err) == (2, "", f"spikeport: {message}\n")


@pytest.mark.parametrize("suffix", ["spikeport", "nir", "net", "safetensors"])
def test_a_folder_is_not_a_missing_file(spikeport: Spikeport, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / f"n.{suffix}"
    folder.mkdir()
    code, _, err = spikeport("inspect", folder)
    assert (code, err) == (2, f"spikeport: {folder}: is not a file [SP201]\n")


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_a_file_that_may_not_be_read_is_not_damaged(tmp_path: Path) -> None:
    path, user = tmp_path / "n.spikeport", os.getuid()
    path.touch(0)
    if user == 0:
        os.setreuid(65534, -1)  # root may read everything; rights are judged by the real user
    try:
        with pytest.raises(FileMissingError) as caught:
            spikeport.load_network(path)
    finally:
        os.setreuid(user, -1)
    assert str(caught.value) == f"{path}: its rights forbid to read it"


def refuse(path: str) -> None:
    spikeport.UnknownNameError.fail(f"{path}: [odd] [SP999]\nanother line")


def test_the_code_survives_an_isolated_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.touch()
    monkeypatch.syspath_prepend(ROOT)
    with pytest.raises(spikeport.UnknownNameError) as caught:
        run_isolated(path, f"{__name__}:refuse")
    assert str(caught.value) == f"{path}: [odd] [SP999]\\nanother line"


def test_an_error_of_another_package_has_the_code_of_its_family() -> None:
    class TheirError(InputError):
        pass

    assert TheirError("x").coded == "x [SP101]"
    assert error_classes()["SP101"] is InputError
