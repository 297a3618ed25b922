# SPDX-License-Identifier: Apache-2.0
"""What a program computes of its parameters alone: weight normalization, reshaped scales, constants it makes itself."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from intarsia.networks.importers._graph import Floats
from intarsia.networks.importers._program import Argument, Call, Ref

#: Operators that change nothing but, perhaps, the type or the place in memory.
SAME = ("clone", "contiguous", "alias", "detach", "lift_fresh_copy", "lift_fresh", "to", "_to_copy", "type_as")
#: Operators whose results have the elements of what they read, in the same order, in another shape.
RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
TRANSPOSES = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "numpy_T", "mT")


def transposed(call: Call, rank: int) -> tuple[int, ...]:
    """Return which axis of what a transpose reads each axis of its result is."""
    given = [value for value in call.arguments.values() if not isinstance(value, Ref)]
    axes = [
        tuple(int(str(axis)) % rank for axis in (value if isinstance(value, tuple) else (value,))) for value in given
    ]
    order = list(range(rank))
    match call.operator:
        case "permute":
            return axes[0]
        case "t" | "numpy_T":
            return tuple(reversed(order))
        case "movedim" | "moveaxis":
            return _moved(axes[0], axes[1], rank)
        case _:
            first, second = (rank - 2, rank - 1) if call.operator == "mT" else (axes[0][0], axes[1][0])
            order[first], order[second] = second, first
            return tuple(order)


def _moved(source: tuple[int, ...], destination: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Return the order in which axes `source` are at `destination`, and the others in their order around them."""
    others = iter(axis for axis in range(rank) if axis not in source)
    return tuple(source[destination.index(axis)] if axis in destination else next(others) for axis in range(rank))


def folded(call: Call, constants: Mapping[str, Floats], sizes: tuple[int, ...]) -> Floats | None:
    """Return what a call computes of constants; None if that is not known.

    Args:
        call: all that it reads is among the constants.
        constants: by name.
        sizes: shape of its first result.
    """
    try:
        with np.errstate(all="ignore"):
            result = _folded(call, {key: _value(value, constants) for key, value in call.arguments.items()}, sizes)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):  # arguments of a damaged file
        return None
    return None if result is None or np.shape(result) != sizes else np.asarray(result, np.float32)


def _folded(call: Call, given: Mapping[str, Any], sizes: tuple[int, ...]) -> Any:
    if call.operator in _FILLS:
        return np.full(sizes, _FILLS[call.operator](given))
    values = list(given.values())
    if call.operator in RESHAPES:
        return values[0].reshape(sizes)
    if call.operator == "expand":
        return np.broadcast_to(values[0], sizes)
    positional = [value for key, value in given.items() if key not in ("alpha", "rounding_mode", "dtype")]
    options = {key: given[key] for key in ("alpha", "rounding_mode") if key in given}
    return _FOLDS[call.operator](call, *positional, **options) if call.operator in _FOLDS else None


def _value(argument: Argument, constants: Mapping[str, Floats]) -> Any:
    return constants[argument.name] if isinstance(argument, Ref) else argument


def _transpose(call: Call, values: Floats) -> Any:
    return values.transpose(transposed(call, values.ndim))


def _sum(call: Call, first: Any, second: Any, alpha: float = 1) -> Any:
    if call.operator == "rsub":
        return second - alpha * first
    return first + (alpha if call.operator == "add" else -alpha) * second


def _divide(call: Call, first: Any, second: Any, rounding_mode: None = None) -> Any:
    return None if rounding_mode is not None else np.divide(first, second)


def _weight_norm(call: Call, direction: Floats, length: Floats, dim: int = 0) -> Any:
    over = tuple(axis for axis in range(direction.ndim) if axis != dim % direction.ndim)
    norm = np.sqrt(np.square(direction).sum(axis=over, keepdims=True))
    return direction * (length / norm)


def _norm(call: Call, values: Floats, order: float = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return None if order != 2 else np.sqrt(np.square(values).sum(axis=dim, keepdims=keepdim))


def _plain(function: Callable[..., Any]) -> "_Fold":
    return lambda call, *values: function(*values)


_Fold = Callable[..., Any]
_FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "neg": np.negative, "tanh": np.tanh}
    | {"rsqrt": lambda x: 1 / np.sqrt(x), "reciprocal": lambda x: 1 / x, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
    | {"relu": lambda x: np.maximum(x, 0), "softplus": lambda x: np.logaddexp(x, 0)}
    | {"mul": np.multiply, "pow": np.power, "maximum": np.maximum, "minimum": np.minimum}
)
#: What each operator makes of the call and its arguments, in the order of its schema.
_FOLDS: Mapping[str, _Fold] = MappingProxyType(
    {operator: _plain(function) for operator, function in _FUNCTIONS.items()}
    | dict.fromkeys(SAME, lambda call, values, *_: values)
    | dict.fromkeys(TRANSPOSES, lambda call, values, *_: _transpose(call, values))
    | dict.fromkeys(("add", "sub", "rsub"), _sum)
    | {"div": _divide, "_weight_norm": _weight_norm, "linalg_vector_norm": _norm}
)
#: Operators that fill a tensor with a number.
_FILLS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = MappingProxyType(
    {"zeros": lambda _: 0, "ones": lambda _: 1, "full": lambda a: a["fill_value"], "scalar_tensor": lambda a: a["s"]}
)


def limit(value: Argument) -> float | None:
    """Return a limit of a clip, None for none.

    Raises:
        ValueError: it is computed.
    """
    if value is None:
        return None
    if isinstance(value, Ref | tuple):
        raise ValueError("computed")
    number = float(value)
    return None if math.isinf(number) else number
