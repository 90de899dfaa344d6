"""The instructions that compiled code consists of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

MASKED_STORE = frozenset({"vpmaskmovd", "vpmaskmovq", "vmaskmovps", "vmaskmovpd", "maskmovdqu"})
"""Stores under a mask, before AVX-512."""


def instructions(compiled: Callable[..., Any]) -> frozenset[str]:
    """Names of the instructions of a function that numba compiled, all signatures together."""
    text = "\n".join(cast(Any, compiled).inspect_asm().values())
    return frozenset(re.findall(r"^\t([a-z]\w*)", text, re.MULTILINE))
