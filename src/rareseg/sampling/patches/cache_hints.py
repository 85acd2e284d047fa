"""Emit cache hints (prefetch instructions) from compiled code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import types
from numba.extending import intrinsic

LINE = 64
"""Bytes that arrive together; more on some machines, which then get a few hints too many."""


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Hint that ``array[index]`` will soon be read; no index is wrong, also none outside.

    Rows of a patch lie a few hundred bytes apart, too far for the processor to foresee.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        whole = ir.IntType(32)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [address.type],
            ir.FunctionType(ir.VoidType(), [address.type, whole, whole, whole]),
        )
        # To be read, wanted in all caches, and data rather than instructions.
        builder.call(hint, [address, whole(0), whole(3), whole(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate
