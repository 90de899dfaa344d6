"""Arguments of kernels that stay the same from call to call, unpacked once and kept.

To take NamedTuples of forty arrays apart takes a call from Python 20 us, several times what a step
of a small population takes. `keeper` makes two functions for compiled code: one that stores such an
argument in a frame, an array of int64 in the layout of the compiler, and one that reads it there,
which costs next to nothing. Frames do not keep the arrays alive that they refer to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

Frame = NDArray[np.int64]
_WORD = 8


def keeper(example: Callable[[str], Any]) -> tuple[Callable[..., int], Callable[..., Any]]:
    """`keep(frame, value, kind)` and `kept(frame, kind)`, to be called by kernels.

    `keep` returns the number of int64 that it needs, and does nothing if the frame has fewer.

    Args:
        example: a value of each kind, which has the types of all others of the kind. Kinds are
            texts that are known when a kernel is compiled.
    """

    def type_of(kind: Any) -> Any:
        return cast(Any, numba.typeof)(example(kind.literal_value))

    def address(context: Any, builder: Any, frame: Any, array: Any, kind: Any) -> Any:
        data = context.make_array(frame)(context, builder, array).data
        return builder.bitcast(data, context.get_data_type(kind).as_pointer())

    def keep(typing: Any, frame: Any, value: Any, kind: Any) -> Any:
        if not isinstance(kind, types.StringLiteral):
            return None
        if value != (wanted := type_of(kind)):
            raise numba.TypingError(f"{kind.literal_value}: {value}, must be {wanted}")

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            size = context.get_abi_sizeof(context.get_data_type(value))
            words = ir.Constant(ir.IntType(64), -(-size // _WORD))
            array = context.make_array(frame)(context, builder, args[0])
            fits = builder.icmp_signed(">=", array.nitems, words)
            with builder.if_then(fits):
                place = address(context, builder, frame, args[0], value)
                context.pack_value(builder, value, args[1], place, align=_WORD)
            return words

        return types.int64(frame, value, kind), code

    def kept(typing: Any, frame: Any, kind: Any) -> Any:
        if not isinstance(kind, types.StringLiteral):
            return None
        value = type_of(kind)

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = address(context, builder, frame, args[0], value)
            return context.unpack_value(builder, value, place)

        return value(frame, kind), code

    return _intrinsic(keep), _intrinsic(kept)


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], intrinsic(prefer_literal=True)(function))


def frame_of(store: Callable[[Frame, Any], int], value: Any) -> Frame:
    """The frame that a kernel fills with `value` by `keep`, whose result it returns."""
    frame = np.empty(0, np.int64)
    while (words := store(frame, value)) > len(frame):
        frame = np.empty(words, np.int64)
    return frame
