"""Examine an installation: facts for a bug report, and checks of everything a run relies on.

Packages of others are imported by the checks only, so that this also works where one is missing.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import spikeport
from spikeport.cores import core_count
from spikeport.errors import SpikeportError
from spikeport.plugins import PluginKind, plugins
from spikeport.text import one_line
from spikeport.version import __version__

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DATA_FOLDER = "SPIKEPORT_DATA"
SETTINGS = (
    *(DATA_FOLDER, "SPIKEPORT_LAVA_PYTHON", "PYTHONPATH", "TMPDIR", "OMP_NUM_THREADS"),
    *("NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_DISABLE_JIT"),
)
"""Environment variables that decide what is found or how it runs."""
EXTENSIONS = ("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512bw", "avx512vl")
"""Extensions of the processor that compiled code may use, as Linux names them."""
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL"}
SHARED_MEMORY = Path("/dev/shm")
LITTLE_ROOM = 64 * 2**20
"""Free bytes of temporary files and of shared memory below which there is a note."""
Found = tuple["State", str, str]
"""State, text and fix."""


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    """It works, but is unusual."""
    MISSING = "not installed"
    """Something optional."""
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class InstallationCheck:
    """One part of the installation.

    Attributes:
        fix: what to do, if there is something to do.
    """

    name: str
    state: State
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """What was found; no text names the user or the home folder.

    Attributes:
        facts: of the machine, the interpreter and the packages.
    """

    facts: Mapping[str, str]
    checks: tuple[InstallationCheck, ...]

    @property
    def broken(self) -> tuple[InstallationCheck, ...]:
        """Everything that does not work although it is installed or set."""
        return tuple(check for check in self.checks if check.state is State.BROKEN)

    @property
    def problem(self) -> str | None:
        """Names of what is broken; None if nothing is."""
        names = ", ".join(one.name for one in self.broken)
        return f"doctor: broken: {names}" if names else None

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it as lines of text, for a bug report."""
        found = [f"{name}: {value}" for name, value in self.facts.items()]
        for check in self.checks:
            found.append(f"[{check.state}] {check.name}: {check.text}")
            if check.fix:
                found.append(f"    to fix: {check.fix}")
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        checks = [
            {"name": one.name, "state": str(one.state), "text": one.text, "fix": one.fix}
            for one in self.checks
        ]
        return {"well": not self.broken, "facts": dict(self.facts), "checks": checks}


def check_installation(*, run: bool = True) -> Installation:
    """Examine this installation of Spikeport, its dependencies, backends and folders.

    Args:
        run: also run a small network on every backend that is there, and write and read its files.
    """
    checks = [
        *_guarded("spikeport", _own_code),
        *(found for name in _required() for found in _guarded(name, _package, name)),
        *(found for one in _optional() for found in _guarded(one, _extra, one)),
        *_guarded("compiled code", _cache),
        *_guarded("temporary files", _temporary),
        *_guarded("shared memory", _shared_memory),
        *_guarded("data folder", _data_folder),
        *_several("backends", _backends),
        *_several("targets", _chips),
        *(_several("self-test", _self_tests) if run else ()),
    ]
    return Installation(_private(_facts()), tuple(map(_hidden, checks)))


def _guarded(
    name: str, examine: Callable[..., Found | None], *arguments: Any
) -> Iterator[InstallationCheck]:
    """The result of a check; any exception in it means that this part is broken."""
    try:
        found = examine(*arguments)
    except SpikeportError as error:
        yield InstallationCheck(name, State.BROKEN, str(error))
    except Exception as error:  # Whatever a damaged installation raises.
        told = f"{type(error).__name__}: {error}"
        yield InstallationCheck(name, State.BROKEN, told, _reinstall("spikeport"))
    else:
        if found is not None:
            yield InstallationCheck(name, *found)


def _several(
    name: str, examine: Callable[[], Iterator[InstallationCheck]]
) -> list[InstallationCheck]:
    """Like `_guarded`, for a number of checks that is not known beforehand."""
    found: list[InstallationCheck] = []

    def gather() -> None:
        found.extend(examine())

    return [*_guarded(name, gather), *found]


def _reinstall(package: str) -> str:
    return f"pip install --force-reinstall {package}"


def _facts() -> dict[str, str]:
    model, flags = _processor()
    facts = {
        "spikeport": f"{__version__} in {_source()}",
        "python": f"{platform.python_implementation()} {platform.python_version()} "
        f"in {sys.executable}",
        "platform": platform.platform(),
        "processor": f"{model}; {', '.join(flags) or 'no known extensions'}",
        "cores": f"{os.cpu_count()}, {core_count()} of them for this process, which native uses",
        "memory": _memory(),
    }
    for name in SETTINGS:
        if value := os.environ.get(name):
            facts[name] = value
    versions = [f"{name} {version}" for name in (*_required(), *_optional())
                if (version := _version(name))]  # fmt: skip
    return facts | {"packages": ", ".join(versions)}


def _processor() -> tuple[str, list[str]]:
    """Model and known extensions; only Linux has them in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    stated = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    flags = stated.get("flags", stated.get("Features", "")).split()
    return stated.get("model name", platform.machine()), [n for n in EXTENSIONS if n in flags]


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return "unknown"
    return f"{total / 2**30:.1f} GiB"


def _source() -> Path:
    return Path(spikeport.__file__).parents[1]


def _requirements() -> list[Requirement]:
    """The requirements of the installed package, with those of its extras."""
    from packaging.requirements import Requirement

    return [Requirement(text) for text in importlib.metadata.requires("spikeport") or ()]


def _required() -> list[str]:
    return [one.name for one in _requirements() if one.marker is None]


def _optional() -> list[str]:
    """Packages of extras for users."""
    marked = [one for one in _requirements() if one.marker and one.name != "spikeport"]
    users = [one for one in marked if "dev" not in str(one.marker)]
    return list(dict.fromkeys(one.name for one in users))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _own_code() -> Found:
    """Whether the code that runs is the installed one."""
    import json
    from urllib.parse import unquote, urlsplit

    installed = importlib.metadata.distribution("spikeport")
    stated = json.loads(installed.read_text("direct_url.json") or "{}")
    place = Path(str(installed.locate_file("")))
    if stated.get("dir_info", {}).get("editable"):
        place = Path(unquote(urlsplit(stated["url"]).path))
    running = _source()
    if running.resolve() == place.resolve():
        return State.OK, f"runs from {running}, as installed", ""
    return (
        State.NOTE,
        f"runs from {running}, but the installed one is in {place}",
        "unset PYTHONPATH, or change the folder, to run the installed one",
    )


def _package(name: str) -> Found | None:
    """A required package: its version, and whether another module hides it."""
    (needed,) = (one for one in _requirements() if one.name == name and one.marker is None)
    if (version := _version(name)) is None:
        return State.BROKEN, "is required, but not installed", f"pip install '{needed}'"
    if not needed.specifier.contains(version, prereleases=True):
        return State.BROKEN, f"{version} is not {needed.specifier}", f"pip install '{needed}'"
    return _hidden_by(name) or (State.OK, version, "")


def _extra(name: str) -> Found | None:
    """A package of an extra: only told if something is wrong with it."""
    if (version := _version(name)) is None:
        return None
    for needed in _requirements():
        if needed.name == name and not needed.specifier.contains(version, prereleases=True):
            fix = f"pip install '{name}{needed.specifier}'"
            return State.NOTE, f"{version} is not {needed.specifier}", fix
    return _hidden_by(name)


def _hidden_by(name: str) -> Found | None:
    """Whether a module of PYTHONPATH is imported instead of the installed package."""
    module = IMPORT_NAMES.get(name, name.replace("-", "_"))
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        text = f"is installed, but there is no module '{module}'"
        return State.BROKEN, text, _reinstall(name)
    origin = Path(spec.origin)
    imported = origin.parents[spec.submodule_search_locations is not None].resolve()
    place = Path(str(importlib.metadata.distribution(name).locate_file(""))).resolve()
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if imported == Path(entry).resolve() != place:
            return (
                State.BROKEN,
                f"is imported from {origin}, which hides the installed package in {place}",
                f"remove {entry} from PYTHONPATH",
            )
    return None


def _cache() -> Found:
    """Where kernels are stored after their compilation, and how many of them are of old code."""
    from spikeport.simulators.native.compiled import cache_folder, is_current

    if (folder := cache_folder()) is None:
        return (
            State.BROKEN,
            "no folder can hold it, so every process compiles for up to a minute",
            "make the folder of the package or of the user's cache writable, or set "
            "NUMBA_CACHE_DIR to a folder that is, before `import spikeport`",
        )
    files = [path for path in folder.iterdir() if path.suffix in (".nbi", ".nbc")]
    old = [path for path in files if not is_current(path.name)]
    text = f"{len(files)} files, {_megabytes(files)} in {folder}"
    if not old:
        return State.OK, text, ""
    fix = f"rm '{folder}'/*.nb[ic] frees the room; nothing else depends on them"
    return State.NOTE, f"{text}; {len(old)} of them, {_megabytes(old)}, of older code", fix


def _megabytes(files: Iterable[Path]) -> str:
    return f"{sum(path.stat().st_size for path in files) / 2**20:.1f} MiB"


def _temporary() -> Found:
    fix = "set TMPDIR to a folder that can be written and has room"
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 2**16)
    except OSError as error:
        return State.BROKEN, f"cannot be written: {error}", fix
    named = os.environ.get("TMPDIR")
    if named and Path(named).absolute() != Path(folder).absolute():
        return State.NOTE, f"TMPDIR is {named}, which cannot be written; {folder} is used", fix
    return _room(Path(folder), fix)


def _shared_memory() -> Found | None:
    """Room for the buffers between Lava's processes."""
    if not SHARED_MEMORY.is_dir():
        return None
    return _room(SHARED_MEMORY, "Lava needs more, in a container by --shm-size=1g")


def _room(folder: Path, fix: str) -> Found:
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**20:,.0f} MiB free in {folder}"
    return (State.NOTE, f"only {text}", fix) if free < LITTLE_ROOM else (State.OK, text, "")


def _data_folder() -> Found:
    if not (named := os.environ.get(DATA_FOLDER)):
        return State.OK, f"{DATA_FOLDER} is not set; only built-in and named data can be used", ""
    try:
        count = len(os.listdir(named))
    except OSError as error:
        text = f"{DATA_FOLDER} is {named}, which cannot be read: {error.strerror}"
        return State.BROKEN, text, f"set {DATA_FOLDER} to the folder of your data sets, or unset it"
    return State.OK, f"{named} has {count} entries", ""


def _backends() -> Iterator[InstallationCheck]:
    """Every backend; one that is there but cannot run is broken."""
    from spikeport.backends import list_backends, status_of

    for name, one in list_backends().items():
        status, plugin = status_of(one), plugins(PluginKind.BACKEND)[name]
        by = f" of package '{plugin.distribution}'" if plugin.distribution else ""
        if status.version:
            yield InstallationCheck(f"backend {name}{by}", State.OK, status.version)
            continue
        state = State.BROKEN if status.broken or plugin.distribution else State.MISSING
        yield InstallationCheck(f"backend {name}{by}", state, status.reason, status.fix)


def _chips() -> Iterator[InstallationCheck]:
    """Targets of other packages."""
    from spikeport.backends.targets import list_chips

    for chip in list_chips():
        plugin = plugins(PluginKind.TARGET)[chip.name]
        if chip.reason or plugin.distribution:
            state = State.BROKEN if chip.reason else State.OK
            by = f" of package '{plugin.distribution}'"
            text = chip.reason or chip.title
            yield InstallationCheck(f"target {chip.name}{by}", state, text, chip.fix)


def _self_tests() -> Iterator[InstallationCheck]:
    from spikeport.workflow.self_test import SELF_TESTS, backend_tests

    def passes(test: Callable[[], str]) -> Found:
        return State.OK, test(), ""

    for name, test in {**SELF_TESTS, **backend_tests()}.items():
        yield from _guarded(f"self-test: {name}", passes, test)


def _private(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: _without_home(value) for name, value in facts.items()}


def _hidden(check: InstallationCheck) -> InstallationCheck:
    text, fix = _without_home(check.text), _without_home(check.fix)
    return InstallationCheck(_without_home(check.name), check.state, text, fix)


def _without_home(text: str) -> str:
    """On one line, with the home folder as `~`, and folders named after the user as USER."""
    home = os.path.expanduser("~")
    for path in (home, os.path.realpath(home)):
        text = re.sub(rf"{re.escape(path)}(?=/|\W|$)", "~", text) if len(path) > 1 else text
    with contextlib.suppress(KeyError, OSError):  # This user has no name.
        text = re.sub(rf"(?<=/){re.escape(getpass.getuser())}(?=/)", "USER", text)
    return one_line(text)
