"""numba's compiler behind one typed decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")
_compile = functools.partial(numba.njit, nogil=True, error_model="numpy")
"""Division by zero gives infinity: a check for it would stand in the way of vector code."""


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into the kernels of its own module that call it."""
    return cast(Callable[P, R], _compile()(function))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call, kept on disk if possible; it runs without the GIL.

    A kernel itself raises nothing, so an exception of a call comes from the disk cache: the disk
    is full or a file is damaged. Then, and where no folder can hold a cache, it does without.
    """
    uncached = cast(Callable[P, R], _compile()(function))
    try:
        chosen = cast(Callable[P, R], _compile(cache=True)(function))
    except RuntimeError:
        return uncached

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal chosen
        try:
            return chosen(*args, **kwargs)
        except Exception:
            chosen = uncached
            return uncached(*args, **kwargs)

    return call
