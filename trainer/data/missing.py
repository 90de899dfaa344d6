"""Error messages for a missing data set: what was found in its place, and why it cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
PICKLES = (".pkl", ".pickle", ".pt", ".pth")
IDX_FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
_IDX = tuple(name.replace("-", "") for name in IDX_FILES)
ALIASES = {
    "mnist": ("mnist", *_IDX),
    "fashion-mnist": ("fashion", *_IDX),
    "cifar10": ("cifar10", "databatch"),
    "cifar100": ("cifar100",),
    "nmnist": ("nmnist",),
    "dvs-gesture": ("dvsgesture", "ibmgesture", "dvs128gesture"),
    "cifar10-dvs": ("cifar10dvs", "dvscifar10"),
    "shd": ("shd", "heidelberg"),
}
"""Prefixes of file and folder names, reduced to lower-case letters and digits."""
SHOWN = 4


def explain_missing(name: str, roots: Sequence[Path]) -> str:
    """The end of the error message: entries that look like the data set, and why they are unusable.

    Empty if nothing looks like it.
    """
    notes = [note for root in roots for note in _notes(name, root)]
    if not any(root.exists() for root in roots):
        notes = [f"no folder {roots[0]}"]
    return "".join(f"; {note}" for note in notes[:SHOWN])


def _notes(name: str, root: Path) -> Iterator[str]:
    """One note per entry of `root` that looks like the data set, and one if `root` itself does."""
    try:
        entries = sorted(root.iterdir())
    except OSError:  # missing or unreadable; the caller reports that
        return
    for entry in entries:
        if _resembles(name, entry.name):
            yield f"found {entry}{_reason(name, entry)}"
    if _resembles(name, root.name) and entries:
        yield f"{root} looks like the data set itself: give its parent folder"


def _resembles(name: str, entry: str) -> bool:
    plain = _reduced(entry)
    begins = [a for a in ALIASES.get(name, (_reduced(name),)) if plain.startswith(a)]
    others = [a for n, some in ALIASES.items() if n != name for a in some if plain.startswith(a)]
    # cifar100 starts with cifar10, so the longest matching prefix wins.
    return bool(begins) and max(map(len, begins)) >= max(map(len, others), default=0)


def _reduced(text: str) -> str:
    """Lower-case letters and digits only."""
    return re.sub("[^a-z0-9]", "", text.lower())


def _reason(name: str, entry: Path) -> str:
    lower = entry.name.lower()
    if lower.startswith(IDX_FILES):
        return f": it belongs in a folder '{name}'"
    if lower.endswith(PICKLES) or lower.endswith(tuple(f"{p}.gz" for p in PICKLES)):
        return ", a pickle: pickles are never read"
    if lower.endswith(("-py", "-python", "python.tar.gz")):
        return (
            ", the Python version: pickles are never read, the binary version is needed "
            f"({_binary(name)})"
        )
    if lower.endswith(("-mat", "-matlab", "matlab.tar.gz")):
        return f", the Matlab version: the binary version is needed ({_binary(name)})"
    if lower.endswith(ARCHIVES) and entry.is_file():
        return ": unpack it"
    return f", which contains {describe_folder(entry)}" if entry.is_dir() else ""


def describe_folder(folder: Path) -> str:
    """List the first few names in a folder."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        return f"nothing readable ({error.strerror})"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}" if names else "nothing"


def _binary(name: str) -> str:
    return "cifar-10-binary.tar.gz" if name == "cifar10" else "cifar-100-binary.tar.gz"


def describe_file(path: Path) -> str:
    """Why a file cannot be read as a data set."""
    lower = path.name.lower()
    if lower.endswith(".npy"):
        return "is a single array (.npy): put x_train, y_train, x_test and y_test in one .npz file"
    if lower.endswith(PICKLES):
        return "is a pickle: pickles are never read"
    if lower.endswith(ARCHIVES):
        return "is an archive: unpack it"
    return "has an unknown suffix, must be an .npz file, a folder of images or a recipe (.toml)"
