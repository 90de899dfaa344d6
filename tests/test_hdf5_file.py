"""Writing HDF5: a failing disk gives one error, harms nothing and does not crash the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeport.storage.hdf5 import reading, writing

SCRIPT = """
import resource, sys
import numpy as np
from spikeport.errors import OutputError
from spikeport.storage.hdf5 import writing
path, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(0)
try:
    with writing(path) as (file, check):
        for i in range(40):
            noise = rng.integers(0, 2**62, 1000)
            file.create_dataset(f"g{i}/x", data=noise, chunks=(100,), compression="gzip")
            if len(sys.argv) == 3:
                check()
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 100, 5_000, 100_000, 300_000])
@pytest.mark.parametrize("heedless", [(), ("heedless",)], ids=["checked", "checked at the end"])
def test_a_full_disk_is_one_error(tmp_path: Path, limit: int, heedless: tuple[str, ...]) -> None:
    path = tmp_path / "x.h5"
    path.write_text("precious")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), str(limit), *heedless],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**62, (1000, 30))
    with writing(tmp_path / "x.h5") as (file, check):
        stored = file.create_dataset("x", (0, 30), "i8", maxshape=(None, 30), compression="gzip")
        for first in range(0, 1000, 70):
            stored.resize(min(first + 70, 1000), axis=0)
            stored[first:] = values[first : first + 70]
            check()
    with reading(tmp_path / "x.h5", "test") as (file, _):
        np.testing.assert_array_equal(file["x"][:], values)
    with h5py.File(tmp_path / "x.h5") as file:
        assert list(file) == ["x"]
