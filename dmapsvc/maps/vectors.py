"""Vectors for compiled code: LINES numbers side by side, one of each of as many parallel lines.

numba has none. It leaves them to LLVM, which finds few in loops like ours: arrays might overlap, and what a
loop carries on goes through memory. These stay in registers, whatever the width that the CPU has. What is
computed with them is decided elsewhere.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LINES = 32  # 16 are slower, 64 no faster: docs/decisions/0008-cpu-passes.md

_INDEX = ir.IntType(32)
_SUFFIXES = {ir.IntType(1): "i1", ir.IntType(32): "i32", ir.FloatType(): "f32"}


class Vector(types.Type):
    """The numba type of LINES numbers of `dtype`, a type of numba."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        boolean = vector.dtype == types.boolean  # a byte in memory, but a bit where it is computed with
        element = ir.IntType(1) if boolean else manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, LINES))  # type: ignore[no-untyped-call]


def _instruction(typing: Callable[..., Any]) -> Callable[..., Any]:
    operation: Callable[..., Any] = intrinsic(typing)
    return operation


@_instruction
def load(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """The vector array[row, column : column + LINES], of an array of two axes, the second contiguous."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.intp, types.intp), emit


@_instruction
def store(typing: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
    """Put `vector` where `load` would find it."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        builder.store(arguments[3], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vector), emit


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    stride = builder.extract_value(array.strides, 0)
    line = builder.gep(
        builder.bitcast(array.data, ir.IntType(8).as_pointer()), [builder.mul(arguments[1], stride)]
    )
    first = builder.gep(builder.bitcast(line, array.data.type), [arguments[2]])
    return builder.bitcast(first, ir.VectorType(array.data.type.pointee, LINES).as_pointer())


@_instruction
def spread(typing: Any, number: Any) -> Any:
    """The vector that is `number` everywhere."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(ir.VectorType(arguments[0].type, LINES), ir.Undefined)
        one = builder.insert_element(undefined, arguments[0], _INDEX(0))
        return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_INDEX, LINES), None))

    return Vector(number)(number), emit


@_instruction
def choose(typing: Any, mask: Any, yes: Any, no: Any) -> Any:
    """`yes` where `mask` is true, `no` elsewhere."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return yes(mask, yes, no), emit


def _binary(instruct: Callable[..., Any], dtype: types.Type | None = None) -> Any:
    @_instruction
    def operation(typing: Any, left: Any, right: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return instruct(builder, *arguments)

        return Vector(dtype or left.dtype)(left, right), emit

    return operation


def _unary(instruct: Callable[..., Any], result: Callable[[Any], Any]) -> Any:
    @_instruction
    def operation(typing: Any, vector: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return instruct(builder, *arguments)

        return result(vector)(vector), emit

    return operation


def _call(builder: Any, name: str, result: Any, vector: Any) -> Any:
    """A call of LLVM's own function `name` for the type of `vector`."""
    kind = ir.FunctionType(result, [vector.type])
    suffix = _SUFFIXES[vector.type.element]
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LINES}{suffix}")
    return builder.call(function, [vector])


def _reduction(name: str) -> Any:
    def instruct(builder: Any, vector: Any) -> Any:
        return _call(builder, f"vector.reduce.{name}", vector.type.element, vector)

    return _unary(instruct, lambda vector: vector.dtype)


_add = _binary(lambda builder, left, right: builder.fadd(left, right))
_multiply = _binary(lambda builder, left, right: builder.fmul(left, right))
_less = _binary(lambda builder, left, right: builder.fcmp_ordered("<", left, right), types.boolean)
_equal = _binary(lambda builder, left, right: builder.icmp_unsigned("==", left, right), types.boolean)
_lower = _binary(
    lambda builder, left, right: builder.select(builder.fcmp_ordered("<", left, right), left, right)
)
_higher = _binary(
    lambda builder, left, right: builder.select(builder.fcmp_ordered(">", left, right), left, right)
)

root = _unary(lambda builder, vector: _call(builder, "sqrt", vector.type, vector), lambda vector: vector)
widened = _unary(  # to float64
    lambda builder, vector: builder.fpext(vector, ir.VectorType(ir.DoubleType(), LINES)),
    lambda vector: Vector(types.float64),
)
every = _reduction("and")  # of truths
least = _reduction("smin")  # of integers
greatest = _reduction("smax")


def _overload(function: Callable[..., Any], operation: Callable[..., Any]) -> None:
    def typing(left, right):  # type: ignore[no-untyped-def]  # numba compares its arguments with the lambda's
        return (lambda left, right: operation(left, right)) if isinstance(left, Vector) else None

    overload(function)(typing)


_overload(operator.add, _add)
_overload(operator.mul, _multiply)
_overload(operator.lt, _less)
_overload(operator.eq, _equal)
_overload(min, _lower)
_overload(max, _higher)
