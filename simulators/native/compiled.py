"""Typed decorators for numba's compiler.

Compiled code counts no references and allocates no arrays (numba's `_nrt=False`): reference
counting costs more than most of these loops. Arrays are therefore allocated by the callers, or by a
kernel that is an `array_kernel`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core.caching import FunctionCache
from numba.extending import overload

P = ParamSpec("P")
R = TypeVar("R")
_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False, "error_model": "numpy"}


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Inline `function` into each kernel that calls it."""
    return cast(Callable[P, R], numba.njit(**_OPTIONS, forceinline=True)(function))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` on its first call, cached on disk if possible; it releases the GIL.

    A kernel itself raises nothing, so an exception during a call comes from the disk cache: the
    disk is full or a file is damaged. Then, or if no folder can hold a cache, no cache is used.
    """
    return _cached(function, _OPTIONS)


def array_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """A `kernel` that may allocate arrays."""
    return _cached(function, {**_OPTIONS, "_nrt": True})


def chosen_by_type(
    choices: Mapping[type[Any], Callable[..., Any]], *, argument: int
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Dispatch a call in compiled code to the `part` that belongs to the type of an argument.

    The decorated function makes the same choice where it is called from Python.

    Args:
        choices: the part for each NamedTuple class.
        argument: position of the tuple among the arguments.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        options: Any = {**_OPTIONS, "forceinline": True}

        def choose(*kinds: Any) -> Any:
            return choices[kinds[argument].instance_class].py_func  # type: ignore[attr-defined]

        overload(function, jit_options=options, strict=False)(choose)
        return function

    return decorate


class _Cache(FunctionCache):
    """numba's cache on disk, without preparing numba to compile where nothing is compiled.

    That takes 0.3 s, more than all else that a small run needs of numba. What is not in the cache
    is compiled, and numba then prepares itself. For functions that allocate no arrays only: numba
    prepares the allocation at the same time.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function of a signature; None if there is none."""
        with self._guard_against_spurious_io_errors():
            return cast(Any, self)._load_overload(sig, target_context)


def _cached(function: Callable[P, R], options: dict[str, Any]) -> Callable[P, R]:
    # numba names the file after the function and tracks only the source of its own module.
    function.__qualname__ = f"{function.__qualname__}_{_sources()}"
    uncached = cast(Callable[P, R], numba.njit(**options)(function))
    made: Any = numba.njit(**options)(function)
    try:
        made._cache = cast(Any, FunctionCache if options["_nrt"] else _Cache)(function)
    except RuntimeError:
        return uncached
    chosen = cast(Callable[P, R], made)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal chosen
        try:
            return chosen(*args, **kwargs)
        except Exception:
            chosen = uncached
            return uncached(*args, **kwargs)

    return call


def cache_folder() -> Path | None:
    """The folder that compiled kernels are cached in; None if none can hold them."""
    try:
        probe: Any = numba.njit(cache=True)(is_current)
    except RuntimeError:
        return None
    return Path(probe.stats.cache_path)


def is_current(name: str) -> bool:
    """Whether a file of the cache, by its name, is of the present sources."""
    return _sources() in name


@functools.cache
def _sources() -> str:
    """Digest of this package's sources, because parts of all modules are compiled into a kernel."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
