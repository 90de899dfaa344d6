"""CHANGELOG, CONTRIBUTING, CITATION and the CI file against the code."""

from __future__ import annotations

import importlib
import re
import tomllib
from typing import Any

import spikeport
from spikeport.energy import devices, profile
from spikeport.export.netx import metadata as netx_metadata
from spikeport.export.nir import metadata
from spikeport.hardware import target_file
from spikeport.mapping import core_map
from spikeport.network import file as network_file
from spikeport.report import document
from spikeport.runs import stream_file
from spikeport.traces import header
from spikeport.trainer.loop import checkpoint
from tests.helpers.layout import ROOT
from tests.helpers.pages import table

CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORMATS = {
    "deployed network": (network_file.FORMAT.name, network_file.FORMAT.version),
    "checkpoint": (checkpoint.KIND, checkpoint.VERSION),
    "NIR graph": (metadata.KEY, metadata.VERSION),
    "netx network": (netx_metadata.KEY, netx_metadata.VERSION),
    "trace": (header.FORMAT, header.VERSION),
    "stream state": (stream_file.FORMAT.name, stream_file.FORMAT.version),
    "target": ("schema", target_file.SCHEMA),
    "hardware profile": ("schema", profile.SCHEMA),
    "devices to compare with": tuple(devices.SCHEMA.split("/")),
    "map": tuple(core_map.SCHEMA.split("/")),
    "report": tuple(document.SCHEMA.split("/")),
}


def test_every_format_stands_with_its_version() -> None:
    rows = table(CHANGELOG, "file", "written by", "stated as", "version")
    found = {re.split(",| [(]", row["file"])[0]: row for row in rows}
    assert set(found) == set(FORMATS)
    for name, (key, version) in FORMATS.items():
        assert key in found[name]["stated as"].replace("`", "").split(), name
        assert found[name]["version"] == str(version), name


def test_writers_are_public() -> None:
    for row in table(CHANGELOG, "file", "written by", "stated as", "version"):
        for name in re.findall(r"\w+", row["written by"]):
            assert name == "users" or hasattr(spikeport, name), name


def test_renamed_names() -> None:
    rows = table(CHANGELOG, "0.1.0", "now")
    assert rows
    for row in rows:
        owner, _, old = row["0.1.0"].strip("`").rpartition(".")
        now = row["now"].strip("`").removeprefix(f"{owner}.")
        place = (
            importlib.import_module(owner)
            if owner.startswith("spikeport")
            else getattr(spikeport, owner)
            if owner
            else spikeport
        )
        assert not hasattr(place, old), row
        assert hasattr(place, now), row


def test_names_that_the_changelog_calls_public_are() -> None:
    (listed,) = re.findall(r"^- Public: (.*?)\.$", CHANGELOG, re.S | re.M)
    for name in re.findall(r"`(\w+)`", listed):
        assert name in dir(spikeport)


def test_the_version_is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in citation
    (date,) = re.findall(rf"^## \[{re.escape(version)}\] - (.*)$", CHANGELOG, re.M)
    assert f"\ndate-released: {date}\n" in citation


def test_commands_of_the_contributing_guide_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert {"quick", "check", "test", "demo", "coverage", "docs"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_ci_runs_the_tests_and_the_demonstration_on_every_python() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    assert "make test" in text
    assert "make demo" in text
    assert "make docs" in text
    (listed,) = re.findall(r"python: \[(.*)\]", text)
    versions = re.findall(r"\d+\.\d+", listed)
    assert f">={versions[0]}" == PROJECT["requires-python"]
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    assert f"Python {versions[0]} to {versions[-1]}," in guide


def test_hooks_run_the_tools_of_this_environment() -> None:
    entries = re.findall(r"entry: (\S+) ?(\S*)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert entries == [
        (".venv/bin/ruff", "check"),
        (".venv/bin/ruff", "format"),
        (".venv/bin/mypy", ""),
    ]
