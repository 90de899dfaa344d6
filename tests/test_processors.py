"""What is exact here is exact with AVX2 only as well: the same tests in a limited process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from benchmarks.children import ROOT
from benchmarks.processors import AVX2
from spikeport.workflow.installation import check_installation

LIMITS = """
import numba, numpy, torch
from spikeport.trainer.chip.sums import largest_byte
from tests.helpers.processors import instructions
@numba.njit
def double(x):
    for i in range(x.size):
        x[i] *= 2
double(numpy.ones(100))
assert torch.backends.cpu.get_cpu_capability() == "AVX2"
assert not any(name.startswith("vmovdqu6") for name in instructions(double))
print(largest_byte())
"""


def has_avx2() -> bool:
    found = check_installation(run=False)
    return platform.machine() == "x86_64" and "avx2" in found.facts["processor"]


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_avx2(), reason="this processor has no AVX2"),
]


def limited(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | AVX2,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_limit_leaves_convolutions_of_spikes_in_bytes() -> None:
    assert limited("-c", LIMITS).strip() == "128"


@pytest.mark.parametrize(
    "tests",
    [
        ("tests/test_native_neurons.py",),
        ("tests/test_chip_training.py", "-k", "bytes or convolutions_of_spikes or float32"),
    ],
    ids=lambda tests: tests[0],
)
def test_the_same_tests_pass(tests: tuple[str, ...]) -> None:
    assert " passed" in limited("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
