"""Vector instructions not available in numba, written as LLVM vectors of any length.

LLVM maps them to the processor's instructions (AVX-512, AVX2, NEON, ...); all are exact for
integers, and those for float32 add in the order of the rows. Sums of rows are kept in registers
over all rows, which compilers do not achieve for a loop over an array of sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = (256, 128, 64, 32, 16)
"""Widths of `sum_rows_N`; rows must be padded to the smallest."""
MASK = 64
"""Number of values examined by `nonzero_mask` and `equal_mask`, and of bits in `add_bit_rows`."""

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_F32 = ir.FloatType()


def _instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an intrinsic of `function`; compiled code calls it without the first argument."""
    return cast(Callable[..., Any], intrinsic(function))


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Address of the first element of an array."""
    return context.make_array(kind)(context, builder, array).data


@_instruction
def nonzero_mask(typing: Any, array: Any, at: Any) -> Any:
    """Bit i of the result is set if array[at + i], a byte, is not zero, for i in 0..63; uint64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(_data(context, builder, array, args[0]), [args[1]])
        bytes_64 = ir.VectorType(ir.IntType(8), MASK)
        loaded = builder.load(builder.bitcast(place, bytes_64.as_pointer()), align=1)
        bits = builder.icmp_unsigned("!=", loaded, ir.Constant(bytes_64, None))
        return builder.bitcast(bits, _I64)

    return types.uint64(array, types.int64), code


@_instruction
def equal_mask(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Bit i of the result is set if array[at + i] equals `value`, both float32; uint64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        floats = ir.VectorType(_F32, MASK)
        place = builder.gep(_data(context, builder, array, args[0]), [args[1]])
        loaded = builder.load(builder.bitcast(place, floats.as_pointer()), align=4)
        bits = builder.fcmp_ordered("==", loaded, _spread(builder, args[2], floats))
        return builder.bitcast(bits, _I64)

    return types.uint64(array, types.int64, types.float32), code


@_instruction
def add_bit_rows(typing: Any, mask: Any, table: Any, first: Any, to: Any, at: Any) -> Any:
    """Add rows of 64 float32 to to[at : at + 64], in order: row i if bit i of `mask` is set.

    Row i is table[first + 64 i : first + 64 i + 64]; `mask`, a uint64, must not be zero.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        floats = ir.VectorType(_F32, MASK)
        base = builder.gep(_data(context, builder, table, args[1]), [args[2]])
        target = builder.bitcast(
            builder.gep(_data(context, builder, to, args[3]), [args[4]]), floats.as_pointer()
        )
        old = builder.load(target, align=4)
        before = builder.block
        body, end = (builder.append_basic_block(name) for name in ("row", "summed"))
        builder.branch(body)
        builder.position_at_end(body)
        left, sums = builder.phi(_I64), builder.phi(floats)
        left.add_incoming(args[0], before)
        sums.add_incoming(old, before)
        bit = builder.cttz(left, ir.Constant(ir.IntType(1), 1))
        place = builder.gep(base, [builder.mul(bit, ir.Constant(_I64, MASK))])
        row = builder.load(builder.bitcast(place, floats.as_pointer()), align=4)
        total = builder.fadd(sums, row)
        rest = builder.and_(left, builder.sub(left, ir.Constant(_I64, 1)))
        left.add_incoming(rest, body)
        sums.add_incoming(total, body)
        builder.cbranch(builder.icmp_unsigned("!=", rest, ir.Constant(_I64, 0)), body, end)
        builder.position_at_end(end)
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return types.void(types.uint64, table, types.int64, to, types.int64), code


@_instruction
def transpose_16(
    typing: Any, source: Any, at: Any, stride: Any, to: Any, place: Any, step: Any
) -> Any:
    """to[place + step * c + j] = source[at + stride * j + c] for c and j in 0..15, all float32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = ir.VectorType(_F32, 16)

        def row(array: int, first: Any, apart: Any, i: int) -> Any:
            index = builder.add(first, builder.mul(apart, ir.Constant(_I64, i)))
            data = _data(context, builder, signature.args[array], args[array])
            return builder.bitcast(builder.gep(data, [index]), line.as_pointer())

        rows = [builder.load(row(0, args[1], args[2], i), align=4) for i in range(16)]
        for bit in (1, 2, 4, 8):  # lane i + bit of row i changes places with lane i of row i + bit
            for i in (i for i in range(16) if not i & bit):
                pair = rows[i], rows[i + bit]
                for more in (0, bit):
                    lanes = [lane & ~bit | more | 16 * bool(lane & bit) for lane in range(16)]
                    mask = ir.Constant(ir.VectorType(_I32, 16), lanes)
                    rows[i + more] = builder.shuffle_vector(*pair, mask)
        for i, values in enumerate(rows):
            builder.store(values, row(3, args[4], args[5], i), align=4)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, to, types.int64, types.int64), code


@_instruction
def lowest_bit(typing: Any, mask: Any) -> Any:
    """Position of the lowest set bit of a uint64; 64 if there is none."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), code


@_instruction
def bit_count(typing: Any, mask: Any) -> Any:
    """Number of set bits of a uint64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), code


@_instruction
def select(typing: Any, condition: Any, yes: Any, no: Any) -> Any:
    """`yes if condition else no` without a branch, for two values of one type.

    LLVM may split a loop into the cases of conditional expressions and store each under a mask,
    which takes AVX2 several times as long as the rest of a neuron.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(types.boolean, yes, no), code


@_instruction
def shift_8(typing: Any, source: Any, at: Any, shift: Any, to: Any, place: Any) -> Any:
    """to[place : place + 8] = source[at : at + 8] + shift, all uint32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        eight = ir.VectorType(_I32, 8)
        first, last = (
            builder.bitcast(
                builder.gep(_data(context, builder, kind, args[i]), [args[i + 1]]),
                eight.as_pointer(),
            )
            for kind, i in ((source, 0), (to, 3))
        )
        shifts = _spread(builder, args[2], eight)
        builder.store(builder.add(builder.load(first, align=4), shifts), last, align=4)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.uint32, to, types.int64), code


def _spread(builder: Any, single: Any, vector: Any) -> Any:
    """A vector with the same value in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    lane = builder.insert_element(undefined, single, ir.Constant(_I32, 0))
    everywhere = ir.Constant(ir.VectorType(_I32, vector.count), None)
    return builder.shuffle_vector(lane, undefined, everywhere)


def _sum_rows(lanes: int, weighted: bool) -> Callable[..., None]:
    """sum_rows(table, column, rows, first, stop, values, to, at, onto, left, right).

    Sets to[at : at + lanes], or adds to it if `onto`, to (sum << left) >> right of the sum over k
    in first..stop - 1 of table[rows[k], column : column + lanes], in int16; if `weighted`, each row
    is multiplied by values[k], in int32. Shifts are those of int32.
    """

    @_instruction
    def sum_rows(
        typing: Any,
        table: Any,
        column: Any,
        rows: Any,
        first: Any,
        stop: Any,
        values: Any,
        to: Any,
        at: Any,
        onto: Any,
        left: Any,
        right: Any,
    ) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            loaded = ir.VectorType(ir.IntType(table.dtype.bitwidth), lanes)
            summed = ir.VectorType(_I32 if weighted else _I16, lanes)
            result = ir.VectorType(_I32, lanes)
            matrix = context.make_array(table)(context, builder, args[0])
            stride = builder.extract_value(matrix.strides, 0)
            base = builder.ptrtoint(builder.gep(matrix.data, [args[1]]), _I64)
            ids = _data(context, builder, rows, args[2])
            factors = _data(context, builder, values, args[5])
            before = builder.block
            head, body, end = (builder.append_basic_block(n) for n in ("head", "row", "summed"))
            builder.branch(head)
            builder.position_at_end(head)
            k, sums = builder.phi(_I64), builder.phi(summed)
            k.add_incoming(args[3], before)
            sums.add_incoming(ir.Constant(summed, None), before)
            builder.cbranch(builder.icmp_signed("<", k, args[4]), body, end)
            builder.position_at_end(body)
            row = builder.zext(builder.load(builder.gep(ids, [k])), _I64)
            place = builder.inttoptr(
                builder.add(base, builder.mul(row, stride)), loaded.as_pointer()
            )
            weights = builder.load(place, align=1)
            if loaded != summed:
                weights = builder.sext(weights, summed)
            if weighted:
                single = builder.load(builder.gep(factors, [k]))
                weights = builder.mul(weights, _spread(builder, single, summed))
            sums.add_incoming(builder.add(sums, weights), body)
            k.add_incoming(builder.add(k, ir.Constant(_I64, 1)), body)
            builder.branch(head)
            builder.position_at_end(end)
            target = builder.bitcast(
                builder.gep(_data(context, builder, to, args[6]), [args[7]]),
                result.as_pointer(),
            )
            wide = sums if weighted else builder.sext(sums, result)
            wide = builder.shl(wide, _spread(builder, args[9], result))
            wide = builder.ashr(wide, _spread(builder, args[10], result))
            old = builder.load(target, align=4)
            none = ir.Constant(result, None)
            # A select of whole vectors: unwanted lanes are not added.
            builder.store(builder.add(wide, builder.select(args[8], old, none)), target, align=4)
            return context.get_dummy_value()

        signature = types.void(
            table, types.int64, rows, types.int64, types.int64, values, to, types.int64,
            types.boolean, types.int32, types.int32,
        )  # fmt: skip
        return signature, code

    return sum_rows


sum_rows_256, sum_rows_128, sum_rows_64, sum_rows_32, sum_rows_16 = (
    _sum_rows(lanes, weighted=False) for lanes in LANES
)
add_products_64, add_products_16 = (_sum_rows(lanes, weighted=True) for lanes in (64, 16))
