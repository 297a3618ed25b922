# SPDX-License-Identifier: Apache-2.0
"""Sums, differences, products and quotients as users write them, of activations and constants."""

from typing import Literal

import numpy as np

from intarsia.networks.importers._graph import Floats
from intarsia.networks.importers._views import Views

Operator = Literal["add", "sub", "mul", "div"]
#: A tensor by its name, or a constant.
Operand = str | Floats


def combine(
    views: Views,
    operator: Operator,
    operands: tuple[Operand, Operand],
    result: str,
    layer: str,
    *,
    alpha: float = 1.0,
    only: bool = False,
) -> None:
    """Add what an operator makes of two operands, of which at least one is a tensor.

    Args:
        views: the network so far.
        operator: what is done.
        operands: left and right of the operator; the right one counts `alpha` times in a sum or difference.
        result: name of what is made.
        layer: of the operator.
        alpha: see `operands`.
        only: whether nothing else reads the tensor, if there is one only.

    Raises:
        IntarsiaError: it is not linear in the tensors, or a constant is not finite.
    """
    first, second = operands
    constants = [operand for operand in operands if isinstance(operand, np.ndarray)]
    if not all(np.isfinite(constant).all() for constant in constants):
        raise views.builder.fail("calculates with a constant that is not finite")
    sign = np.array(alpha if operator == "add" else -alpha, np.float32)
    match first, second:
        case str(), np.ndarray():
            factor, term = _right(operator, second, sign)
            if factor is not None and not np.isfinite(factor).all():
                raise views.builder.fail("divides by zero")
            views.affine(first, result, layer, factor, term, only=only)
        case np.ndarray(), str() if operator != "div":
            factor, term = (first, None) if operator == "mul" else (None if sign == 1 else sign, first)
            views.affine(second, result, layer, factor, term, only=only)
        case str(), str() if operator in ("add", "sub"):
            scaled = second
            if sign != 1:
                scaled = f"{result} term"
                views.affine(second, scaled, f"{layer}_term", sign, None)
            views.addition(first, scaled, result, layer)
        case _:
            what = "multiplies" if operator == "mul" else "divides by"
            raise views.builder.fail(f"{what} activations; only constants are supported")


def _right(operator: Operator, constant: Floats, sign: Floats) -> tuple[Floats | None, Floats | None]:
    """Return factor and term of a tensor on the left of a constant."""
    if operator == "mul":
        return constant, None
    if operator == "div":
        with np.errstate(divide="ignore"):
            return np.float32(1) / constant, None
    return None, constant * sign
