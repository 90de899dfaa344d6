"""Compiled kernels on disk: reused, renewed when sources change, survived when damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spikeport.simulators.native import compiled
from spikeport.simulators.native.compiled import kernel

SMALL_RUN = """
import numpy as np
from spikeport.network import Dense, DeployedNetwork, Input, Population, Readout
from spikeport.simulators.native import run_native
network = DeployedNetwork(
    (Input("x", (1,)),), (Population("p", (1,), vth=1),),
    (Dense("x", "p", np.array([[2]])),), (Readout("p"),), steps=7,
)
print(run_native(network, [[1]], threads=1).scores["p"][0, 0])
"""


NEVER_PREPARED = """
from numba.core.base import BaseContext
def refuse(context):
    raise RuntimeError("numba prepares itself to compile")
BaseContext.refresh = refuse
"""


def run_with_cache(folder: Path | None, before: str = "") -> str:
    """The score of a small run with the cache in `folder`, or where it usually is."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + SMALL_RUN],
        env=os.environ | ({} if folder is None else {"NUMBA_CACHE_DIR": str(folder)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return result.stdout.strip()


def cache_path(folder: Path | None) -> Path:
    """Where kernels are stored with the cache in `folder`, or where it usually is."""
    script = "from spikeport.simulators.native.compiled import cache_folder; print(cache_folder())"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | ({} if folder is None else {"NUMBA_CACHE_DIR": str(folder)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return Path(result.stdout.strip())


@pytest.mark.slow
def test_a_damaged_compiler_cache_does_no_harm(tmp_path: Path) -> None:
    good = tmp_path / "good"
    assert run_with_cache(None) == "7"
    shutil.copytree(cache_path(None), cache_path(good), dirs_exist_ok=True)
    copied = set(good.rglob("*"))
    assert run_with_cache(good) == "7"
    assert set(good.rglob("*")) == copied  # nothing had to be compiled
    # Those of the smallest kernels, because what is damaged is compiled again.
    codes = sorted(good.rglob("*.nbc"), key=lambda path: path.stat().st_size)[:2]
    indices = [path.with_name(path.name.rsplit(".", 2)[0] + ".nbi") for path in codes]
    for files, keep in ((indices, 3), (codes, 100)):
        damaged = tmp_path / files[0].suffix[1:]
        shutil.copytree(good, damaged)
        for file in files:
            path = damaged / file.relative_to(good)
            path.write_bytes(path.read_bytes()[:keep])
        assert run_with_cache(damaged) == "7"


def test_cached_kernels_are_loaded_without_preparing_numba_to_compile() -> None:
    """That takes longer than all else that a small run needs of numba."""
    assert run_with_cache(None) == "7"
    assert run_with_cache(None, NEVER_PREPARED) == "7"


def test_a_kernel_without_a_place_for_its_cache_still_runs() -> None:
    namespace: dict[str, object] = {}
    exec("def twice(x):\n    return x + x\n", namespace)
    assert kernel(namespace["twice"])(21) == 42  # type: ignore[arg-type]


ARRAYS = """
import numpy as np
from compiled import array_kernel
@array_kernel
def total(n):
    numbers = np.ones(n, np.int64)
    return numbers.sum()
print(total(7))
"""


def test_cached_kernels_may_allocate_arrays(tmp_path: Path) -> None:
    shutil.copy(compiled.__file__, tmp_path / "compiled.py")
    (tmp_path / "kernels.py").write_text(ARRAYS)
    for _ in range(2):
        command = [sys.executable, "-W", "error", "kernels.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout.strip()) == (0, "7")
    assert len(list(tmp_path.rglob("*.nbi"))) == 1


PART = """
from spikeport.simulators.native.compiled import part
@part
def scaled(x):
    return x * {factor}
"""
KERNEL = """
from compiled import kernel
from parts import scaled
@kernel
def compute(x):
    return scaled(x)
print(compute(21))
"""


def test_a_changed_part_renews_kernels_of_other_modules(tmp_path: Path) -> None:
    """numba itself looks at the module of the kernel only, and would give the old result."""
    shutil.copy(compiled.__file__, tmp_path / "compiled.py")
    (tmp_path / "kernels.py").write_text(KERNEL)
    for factor in (2, 3, 2):
        (tmp_path / "parts.py").write_text(PART.format(factor=factor))
        result = subprocess.run(
            [sys.executable, "-W", "error", "kernels.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert result.stdout.strip() == str(21 * factor)
    assert len(list(tmp_path.rglob("*.nbi"))) == 2
