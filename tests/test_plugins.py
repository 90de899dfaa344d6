"""Backends and targets that other packages register, sound and broken."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport import check, plugins
from spikeport.backends import backend, list_backends, run
from spikeport.energy import estimate_energy, load_profile
from spikeport.errors import BackendUnavailableError, InputError
from spikeport.hardware import target_text
from spikeport.network import LOIHI, save_network
from spikeport.plugins import OWN, Plugin, PluginKind
from spikeport.simulators import assumed_counts
from tests.helpers.command import call
from tests.helpers.target_networks import plain

ROOT = Path(__file__).parent.parent
OWN_TARGETS = ["native", "cuda", "reference", "lava", "loihi1", "loihi2", "digital"]
SOUND = """
import dataclasses
from spikeport.backends import Backend, Limitation, Status, UnsupportedFeature

def _run(network, samples, **options):
    from spikeport.simulators import run_reference
    return dataclasses.replace(run_reference(network, samples, **options), backend="theirs")

THEIRS = Backend("theirs", "another package's", "deployed", lambda: Status("7.1"), _run)

def limitations(limits):
    def find(network):
        if network.steps > limits["steps"].value:
            yield UnsupportedFeature(
                "the network", "steps", network.steps, limits["steps"].value, "use fewer",
                limits["steps"].citation, True,
            )
    return [Limitation(f"more than {limits['steps'].value} steps", find)]
"""
LIMITS = """
schema = 2
name = "theirs-chip"
title = "Their chip"
no_prices = "nobody published any"
[limits]
steps = { value = 3, source = "them", verified = true }
[sources.them]
citation = "Their data sheet"
url = ""
basis = "published"
conditions = "none"
includes_static = false
"""
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package with entry points, as pip would leave it, on the path."""
    count = 0

    def put(code: str, entries: str, toml: str | None = None, package: str = "theirs") -> Path:
        nonlocal count
        count += 1
        folder = tmp_path / f"site{count}"
        module, metadata = folder / f"{package}_pkg", folder / f"{package}-1.0.dist-info"
        module.mkdir(parents=True)
        metadata.mkdir()
        (module / "__init__.py").write_text(code)
        if toml is not None:
            (module / "target.toml").write_text(toml)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        (metadata / "entry_points.txt").write_text(entries)
        monkeypatch.syspath_prepend(folder)
        plugins._registered.cache_clear()
        return folder

    before = set(sys.modules)
    yield put
    plugins._registered.cache_clear()
    for name in set(sys.modules) - before:
        if name.endswith("_pkg"):
            del sys.modules[name]


BACKEND = "[spikeport.backends]\ntheirs = theirs_pkg:THEIRS\n"
TARGET = "[spikeport.targets]\ntheirs-chip = theirs_pkg\n"


def inputs() -> Any:
    return np.ones((2, 5), np.int32)


def backend_rows(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert call(["backends", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    return {row["name"]: row for row in told["backends"] + told["chips"]}


def test_spikeports_own_need_no_entry_points() -> None:
    for kind, own in OWN.items():
        found = plugins.plugins(kind)
        assert list(found)[: len(own)] == list(own)
        for name in own:
            assert found[name].load() is not None
            assert found[name].distribution == ""


def test_an_own_module_that_cannot_be_imported_is_a_bug_not_a_broken_package() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        Plugin(PluginKind.BACKEND, "native", "no_such_module:NATIVE").load()


def test_those_of_other_packages_follow_in_order_of_name(install: Install) -> None:
    names = ("zeta", "alpha", "mu")
    install(SOUND, "[spikeport.targets]\n" + "".join(f"{n} = theirs_pkg\n" for n in names))
    install(SOUND, "[spikeport.targets]\nbeta = others_pkg\n", package="others")
    assert list(plugins.plugins(PluginKind.TARGET)) == [
        *("loihi1", "loihi2", "digital"),
        *("alpha", "beta", "mu", "zeta"),
    ]


@pytest.mark.parametrize(
    ("stated", "supported"), [("", "loihi"), ('arithmetic = "mine"\n', "mine")]
)
def test_check_and_prices_know_the_arithmetic_of_a_chip(
    stated: str, supported: str, install: Install
) -> None:
    """That of its file, by default Loihi's; its module need not say so."""
    prices = target_text(plugins.plugins(PluginKind.TARGET)["loihi1"])
    text = prices.replace('arithmetic = "loihi"\n', stated).replace('"loihi1"', '"theirs-chip"')
    install("def limitations(limits): return []", TARGET, text)
    profile = load_profile("theirs-chip")
    for given in (
        LOIHI,
        dataclasses.replace(LOIHI, name="mine", state_bits=20),
        dataclasses.replace(LOIHI, name="yours", vth_bits=9),
    ):
        network = plain().replace(arithmetic=given)
        (found,) = check(network, ["theirs-chip"])
        warnings = estimate_energy(network, assumed_counts(network, 0.1), profile).warnings
        told = [text for text in warnings if "arithmetic" in text]
        if given.name == supported:
            assert (found.unsupported, told) == ((), [])
            continue
        assert not found.runs
        assert [str(one) for one in found.unsupported] == [
            f"the network: arithmetic {given.name} (limit: {supported}); run it on the reference "
            "simulator (`run --backend reference`), which has any"
        ]
        assert told == [
            f"The network has arithmetic '{given.name}', but Intel Loihi, 14 nm has the widths of "
            f"'{supported}': its prices are for numbers of those widths."
        ]


def test_a_backend_and_a_target_of_another_package(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(SOUND, BACKEND + TARGET, LIMITS)
    rows = backend_rows(capsys)
    assert rows["theirs"]["version"] == "7.1"
    assert rows["theirs-chip"]["limitations"] == [
        "more than 3 steps",
        "numbers of other widths than those of 'loihi', which the reference simulator runs",
    ]
    assert list(list_backends()) == [*OWN[PluginKind.BACKEND], "theirs"]
    found = {one.target: one for one in check(plain(steps=4))}
    assert list(found) == [
        "native",
        "cuda",
        "reference",
        "lava",
        "theirs",
        "loihi1",
        "loihi2",
        "digital",
        "theirs-chip",
    ]
    assert found["theirs"].unsupported == ()
    assert [str(one) for one in found["theirs-chip"].unsupported] == [
        "the network: steps 4 (limit: 3); use fewer"
    ]
    assert not found["theirs-chip"].runs
    assert check(plain(), ["theirs-chip"])[0].runs
    theirs, ours = (run(name, plain(), inputs()) for name in ("theirs", "reference"))
    assert theirs.backend == "theirs"
    assert (theirs.scores["a"] == ours.scores["a"]).all()


def test_prices_of_another_packages_target(install: Install) -> None:
    own = target_text(plugins.plugins(PluginKind.TARGET)["loihi1"])
    toml = own.replace('name = "loihi1"', 'name = "theirs-chip"')
    install("raise SystemError('pricing imports no code')", TARGET, toml)
    priced = load_profile("theirs-chip")
    assert priced.name == "theirs-chip"
    assert priced.energy_pj == load_profile("loihi1").energy_pj
    known = r"\(loihi1, loihi2, digital, theirs-chip\); did you mean 'theirs-chip'"
    with pytest.raises(InputError, match=known):
        load_profile("theirs-chp")


def test_a_target_without_prices_is_refused_with_its_reason(install: Install) -> None:
    install(SOUND, TARGET, LIMITS)
    with pytest.raises(InputError, match="Their chip has no prices: nobody published any; price"):
        load_profile("theirs-chip")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", r"cannot be imported \(ModuleNotFoundError: No module named 'no"),
        ("1 / 0", r"cannot be imported \(ZeroDivisionError: division by zero\)"),
        ("raise SystemExit(0)", r"cannot be imported \(SystemExit: 0\)"),
        ("x = 1", r"cannot be imported \(AttributeError: .*'THEIRS'"),
        ("THEIRS = 3", "'theirs_pkg:THEIRS' is of type int, must be a Backend"),
        (SOUND.replace('Backend("theirs"', 'Backend("other"'), "is named 'other', must be"),
        (SOUND.replace('"deployed"', '"chips"'), "takes 'chips', must be one of deployed, float"),
    ],
)
def test_a_broken_backend_is_named_and_breaks_nothing_else(
    code: str,
    reason: str,
    install: Install,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    install(code, BACKEND)
    row = backend_rows(capsys)["theirs"]
    assert row["version"] is None
    assert row["reason"].startswith("backend 'theirs' (package 'theirs'): ")
    assert row["fix"] == "pip install --upgrade theirs, or: pip uninstall theirs"
    assert row["fix"] not in row["reason"]
    message = rf"^backend 'theirs' \(package 'theirs'\): .*{reason}.*; to fix: pip install"
    for use in (
        lambda: run("theirs", plain(), inputs()),
        lambda: check(plain(), ["theirs"]),
    ):
        with pytest.raises(BackendUnavailableError, match=message):
            use()
    assert run("native", plain(), inputs()).backend == "native"
    caplog.clear()
    assert [one.target for one in check(plain())] == OWN_TARGETS
    assert [record.getMessage() for record in caplog.records] == [
        f"check: skipped: {row['reason']}; to fix: {row['fix']}"
    ]


def test_a_status_that_fails_is_told(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(SOUND.replace('Status("7.1")', "1 / 0"), BACKEND)
    row = backend_rows(capsys)["theirs"]
    assert row["version"] is None
    assert "failed (ZeroDivisionError: division by zero)" in row["reason"]


@pytest.mark.parametrize(
    ("code", "toml", "reason"),
    [
        ("import no_such_module", LIMITS, r"cannot be imported \(ModuleNotFoundError"),
        ("", LIMITS, "'theirs_pkg' has no function 'limitations'"),
        (SOUND, None, "'.*target.toml' cannot be read: "),
        (SOUND, "schema = ", "is not TOML: "),
        (
            SOUND,
            LIMITS.replace("theirs-chip", "chip"),
            "has the name 'chip', must be 'theirs-chip'",
        ),
        (SOUND, LIMITS.replace("verified", "verifed"), "unknown key 'verifed'; did you mean 'ver"),
        (SOUND, LIMITS.replace("steps =", "step ="), "limits: 'steps' is missing; did you mean"),
        ("def limitations(limits): return 1 / 0", LIMITS, r"failed \(ZeroDivisionError"),
        ("def limitations(limits): return ['a']", LIMITS, "gave str, must give Limitation"),
    ],
)
def test_a_broken_target_is_named_and_breaks_nothing_else(
    code: str,
    toml: str | None,
    reason: str,
    install: Install,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    install(code, TARGET, toml)
    row = backend_rows(capsys)["theirs-chip"]
    assert row["limitations"] == []
    assert row["reason"].startswith("target 'theirs-chip' (package 'theirs'): ")
    assert row["reason"].count("(package 'theirs')") == 1
    assert row["fix"] == "pip install --upgrade theirs, or: pip uninstall theirs"
    message = rf"^target 'theirs-chip' \(package 'theirs'\): .*{reason}.*; to fix: pip install"
    with pytest.raises(BackendUnavailableError, match=message):
        check(plain(), ["theirs-chip"])
    caplog.clear()
    assert [one.target for one in check(plain())] == OWN_TARGETS
    assert [record.getMessage() for record in caplog.records] == [
        f"check: skipped: {row['reason']}; to fix: {row['fix']}"
    ]
    assert call(["backends"]) == 0
    assert "pip uninstall theirs" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_limitation_that_fails_on_a_network_is_told(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install(SOUND.replace("network.steps >", "network.stepz >"), TARGET, LIMITS)
    with pytest.raises(BackendUnavailableError, match=r"'theirs-chip'.*failed \(AttributeError"):
        check(plain(), ["theirs-chip"])
    assert [one.target for one in check(plain())] == OWN_TARGETS
    assert "skipped: target 'theirs-chip'" in caplog.text


@pytest.mark.parametrize(
    ("entries", "owner"),
    [
        ("[spikeport.backends]\nnative = theirs_pkg:THEIRS\n", "Spikeport's own backend"),
        ("[spikeport.targets]\nloihi1 = theirs_pkg\n", "Spikeport's own target"),
        ("[spikeport.targets]\nlava = theirs_pkg\n", "Spikeport's own backend"),
        (
            f"{BACKEND}[spikeport.targets]\ntheirs = theirs_pkg\n",
            "the backend 'theirs' (package 'theirs')",
        ),
    ],
)
def test_a_name_that_is_taken_is_an_error(
    entries: str, owner: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(SOUND, entries, LIMITS)
    for use in (
        list_backends,
        lambda: backend("reference"),
        lambda: check(plain(), ["reference"]),
        lambda: load_profile("loihi1"),
    ):
        with pytest.raises(InputError) as caught:
            use()
        assert f"(package 'theirs'): this name is already {owner}; " in str(caught.value)
        assert str(caught.value).endswith("to fix: pip uninstall theirs")
    assert call(["backends"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_two_packages_with_one_name_are_an_error(install: Install) -> None:
    install(SOUND, BACKEND)
    install(SOUND, BACKEND.replace("theirs_pkg", "others_pkg"), package="others")
    with pytest.raises(
        InputError, match=r"this name is already the backend 'theirs' \(package '\w+'\)"
    ):
        list_backends()


def test_nothing_is_imported_before_it_is_asked_for(install: Install, tmp_path: Path) -> None:
    site = install(SOUND, BACKEND + TARGET, LIMITS)
    network, data = tmp_path / "n.spikeport", tmp_path / "x.npz"
    save_network(plain(), network)
    np.savez(data, x_test=np.ones((2, 5), np.uint8), y_test=np.array([0, 1]))
    script = (
        "import sys\n"
        "from spikeport.cli._app import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "watched = ('theirs_pkg', 'spikeport.backends.lava.description',"
        " 'spikeport.backends.targets.loihi2', 'spikeport.backends.norse.description')\n"
        "print(sorted(name for name in watched if name in sys.modules))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}

    def imported(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.splitlines()[-1]

    chip = str(network)
    assert imported("check", chip, "--target", "loihi1") == "[]"
    assert imported("check", chip, "-t", "theirs-chip") == "['theirs_pkg']"
    assert imported("energy", chip, "--activity", "0.1", "--profile", "loihi1") == "[]"


@pytest.mark.parametrize("reference", ["no_such_package", "theirs_pkg.inner", "json.decoder:x", ""])
def test_a_target_that_is_no_package(reference: str, install: Install) -> None:
    install(SOUND, "")
    plugin = Plugin(PluginKind.TARGET, "chip", reference, "theirs")
    with pytest.raises(BackendUnavailableError, match="does not name a package's folder"):
        plugin.folder()
