# SPDX-License-Identifier: Apache-2.0
"""What an ONNX graph computes from constants alone: weights after quantizers and transposes, sizes for a reshape."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.networks.importers._budget import PER_WEIGHT, Budget
from intarsia.networks.importers._graph import Floats, Quantization
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported

#: Operators that round to integers by a scale, a zero-point and a width: QONNX's, by either of its names.
QUANTIZERS = ("Quant", "IntQuant")

_ROUNDING: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc,
    "DOWN": np.trunc,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}
NEAREST = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN")


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant; `integers` and `scales` (both of its shape) if a quantizer made it: values = integers · scales.

    `roots` are the names of the stored tensors that it comes from, the first of them the one it mainly is.
    """

    values: NDArray[Any]
    roots: tuple[str, ...] = ()
    integers: NDArray[Any] | None = None
    scales: NDArray[Any] | None = None

    def number(self, what: str) -> float:
        """Return the constant's only value.

        Raises:
            Unsupported: it has several, or is not a number.
        """
        if self.values.size != 1 or self.values.dtype.kind not in "biuf":
            raise Unsupported(f"has a {what} that is not one number")
        return float(self.values.item())

    def moved(self, move: Callable[[NDArray[Any]], NDArray[Any]]) -> "Constant":
        """Return the constant with its elements rearranged."""
        quantized = self.integers is not None and self.scales is not None
        return Constant(
            move(self.values),
            self.roots,
            move(self.integers) if quantized and self.integers is not None else None,
            move(self.scales) if quantized and self.scales is not None else None,
        )

    def scaled(self, factor: float) -> "Constant":
        """Return the constant times a number."""
        scales = None if self.scales is None else self.scales * factor
        return Constant(self.values * np.asarray(factor, self.values.dtype), self.roots, self.integers, scales)


def floats(constant: Constant) -> Floats:
    """Return a constant's values.

    Raises:
        Unsupported: they are not floats, or not finite.
    """
    if constant.values.dtype not in (np.float32, np.float64, np.float16):
        raise Unsupported(f"has a constant of type {constant.values.dtype} where floats must be")
    values = np.asarray(constant.values, np.float32)
    if not np.isfinite(values).all():
        raise Unsupported("has a constant that is not finite")
    return values


def quantization(attributes: Attributes, scale: Constant, zero: Constant, bits: Constant) -> Quantization:
    """Return what a QONNX quantizer of an activation rounds to.

    Raises:
        Unsupported: integers with one scale do not express it.
    """
    lo, hi = _limits(attributes, bits)
    mode = attributes.text("rounding_mode", "ROUND").upper()
    if mode not in NEAREST:
        raise Unsupported(f"has the rounding mode {mode!r} for activations; only rounding to the nearest is supported")
    if scale.values.size != 1 or zero.values.size != 1:
        raise Unsupported("has a scale or zero-point for each channel of an activation")
    return checked(scale.number("scale"), zero.number("zero-point"), lo, hi)


def checked(scale: float, zero: float, lo: int, hi: int) -> Quantization:
    """Return a quantization after a check of its numbers.

    Raises:
        Unsupported: a number is impossible.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise Unsupported(f"has the scale {scale}")
    if not (zero == zero // 1 and abs(zero) < 1 << 16):
        raise Unsupported(f"has the zero-point {zero}")
    return Quantization(scale, int(zero), lo, hi)


def _limits(attributes: Attributes, bits: Constant) -> tuple[int, int]:
    wide = bits.number("bit width")
    if not 1 <= wide <= 32 or wide % 1:
        raise Unsupported(f"has a bit width of {wide:g}")
    width, narrow = int(wide), attributes.integer("narrow", 0)
    if attributes.integer("signed", 1):
        return -(1 << (width - 1)) + bool(narrow), (1 << (width - 1)) - 1
    return 0, (1 << width) - 1 - bool(narrow)


def fold(kind: str, attributes: Attributes, inputs: Sequence[Constant | None], budget: Budget) -> Constant:
    """Return what an operator computes of constants.

    Raises:
        Unsupported: the operator is not known for constants, its inputs do not fit, or its result is larger than the
            budget allows.
    """
    roots = tuple(dict.fromkeys(root for constant in inputs if constant is not None for root in constant.roots))
    try:
        if not budget.allows(_size(kind, attributes, [constant.values for constant in inputs if constant is not None])):
            raise Unsupported(f"makes a constant with which the file {budget.reason}")
        if kind == "Clip":  # the only one with an input to leave out before another
            low, high = (_limit(inputs, i, attributes, name) for i, name in ((1, "min"), (2, "max")))
            assert inputs[0] is not None  # noqa: S101 (ONNX has it)
            return Constant(np.clip(inputs[0].values, low, high), roots)
        given = [constant for constant in inputs if constant is not None]
        if given != list(inputs[: len(given)]):
            raise Unsupported("leaves out an input before another")
        result = _fold(kind, attributes, given)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise Unsupported(f"cannot be computed of constants ({' '.join(str(error).split())[:120]})") from error
    return Constant(result.values, roots, result.integers, result.scales)


def _size(kind: str, attributes: Attributes, arrays: Sequence[NDArray[Any]]) -> int:
    """Return how many bytes the result of an operator takes at most."""
    if kind in _MOVES or kind == "Shape" or not arrays:
        return 0  # another view of the same values
    if kind == "ConstantOfShape":
        return math.prod(max(int(size), 0) for size in arrays[0].ravel()) * PER_WEIGHT
    if kind == "Gather":
        along = arrays[0].shape[attributes.integer("axis", 0)]
        return int(arrays[0].size // max(along, 1) * arrays[1].size * PER_WEIGHT)
    if kind in _ELEMENTWISE or kind == "Clip":
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays))) * PER_WEIGHT
    return sum(array.size for array in arrays) * PER_WEIGHT


def _limit(inputs: Sequence[Constant | None], index: int, attributes: Attributes, name: str) -> Any:
    found = inputs[index] if index < len(inputs) else None
    if found is not None:
        return found.values
    limit = attributes.real(name, np.nan)
    return None if math.isnan(limit) else limit


def _fold(kind: str, attributes: Attributes, given: list[Constant]) -> Constant:
    if kind in QUANTIZERS:
        return _quantized(attributes, *given)
    if kind == "BipolarQuant":
        scale = np.broadcast_to(given[1].values, given[0].values.shape)
        signs = np.where(given[0].values >= 0, 1, -1)
        return Constant(signs * scale, (), signs, scale)
    if kind == "DequantizeLinear":
        _refuse_blocks(attributes)
        return dequantized(given[0].values, given[1].values, _values(given, 2), attributes.integer("axis", 1))
    if kind == "QuantizeLinear":
        return Constant(_quantized_linear(attributes, given))
    if kind in _MOVES:
        arrays = [constant.values for constant in given[1:]]
        return given[0].moved(lambda values: _MOVES[kind](values, attributes, arrays))
    if kind not in _PLAIN:
        raise Unsupported("is not supported on constants")
    arrays = [constant.values for constant in given]
    return Constant(np.asarray(_PLAIN[kind](arrays, attributes)))


def _quantized(attributes: Attributes, x: Constant, scale: Constant, zero: Constant, bits: Constant) -> Constant:
    lo, hi = _limits(attributes, bits)
    mode = attributes.text("rounding_mode", "ROUND").upper()
    if mode not in _ROUNDING:
        raise Unsupported(f"has the rounding mode {mode!r}")
    if not (np.isfinite(scale.values).all() and (scale.values > 0).all()):
        raise Unsupported("has a scale that is not above 0")
    steps = np.broadcast_to(scale.values.astype(np.float64), x.values.shape)
    rounded = _ROUNDING[mode](x.values.astype(np.float64) / steps + zero.values)
    if not np.isfinite(rounded).all():
        raise Unsupported("rounds a value that is not finite")
    integers = (np.clip(rounded, lo, hi) - zero.values).astype(np.int64)
    return Constant((integers * steps).astype(np.float32), (), integers, steps)


def _values(given: Sequence[Constant], index: int) -> NDArray[Any] | None:
    return given[index].values if index < len(given) else None


def _spread(values: NDArray[Any], shape: tuple[int, ...], axis: int) -> NDArray[Any]:
    """Return one number, or one for each place along an axis, in a whole shape."""
    if values.ndim == 1 and values.size > 1:
        values = values.reshape(*[-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    return np.broadcast_to(values, shape)


def dequantized(stored: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None, axis: int) -> Constant:
    """Return (stored − zero) · scale; scale and zero-point are one number each, or one for each place along `axis`.

    Raises:
        Unsupported: the numbers are not integers.
    """
    if not _is_integer(stored.dtype):
        raise Unsupported(f"stands for a constant of type {stored.dtype}; only integers are supported")
    steps = _spread(scale.astype(np.float64), stored.shape, axis)
    integers = stored.astype(np.int64)
    if zero is not None:
        integers = integers - _spread(zero.astype(np.int64), stored.shape, axis)
    return Constant((integers * steps).astype(np.float32), (), integers, steps)


def _quantized_linear(attributes: Attributes, given: Sequence[Constant]) -> NDArray[Any]:
    x, scale, zero = given[0].values, given[1].values, _values(given, 2)
    lo, hi = linear_range(None if zero is None else zero.dtype, attributes.integer("output_dtype", 0))
    axis = attributes.integer("axis", 1)
    _refuse_blocks(attributes)
    shift = 0 if zero is None else _spread(zero.astype(np.int64), x.shape, axis)
    rounded = np.round(x / _spread(scale, x.shape, axis)) + shift
    if not np.isfinite(rounded).all():
        raise Unsupported("rounds a value that is not finite")
    integers: NDArray[np.int64] = np.clip(rounded, lo, hi).astype(np.int64)
    return integers


def _refuse_blocks(attributes: Attributes) -> None:
    if attributes.integer("block_size", 0):
        raise Unsupported("has scales for blocks (attribute block_size)")


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or dtype.name in ("int2", "uint2", "int4", "uint4")


def _filled(attributes: Attributes, shape: NDArray[Any]) -> NDArray[Any]:
    """Return a constant of one value everywhere, as exporters begin a list of paddings."""
    from onnx import numpy_helper  # noqa: PLC0415 (an extra)

    tensor = attributes.tensor("value")
    value = np.zeros(1, np.float32) if tensor is None else numpy_helper.to_array(tensor)
    sizes = [int(size) for size in shape.ravel()]
    if min(sizes, default=0) < 0 or value.size != 1:
        raise Unsupported("makes a constant of an impossible size")
    return np.full(sizes, value.ravel()[0])


def _axes(attributes: Attributes, arrays: Sequence[NDArray[Any]]) -> tuple[int, ...] | None:
    if arrays:
        return tuple(int(axis) for axis in arrays[0].ravel())
    return attributes.integers("axes", None)


def _reshape(values: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    sizes = [int(size) for size in target.ravel()]
    return values.reshape([values.shape[i] if size == 0 else size for i, size in enumerate(sizes)])


def _slice(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    values, starts, ends = arrays[:3]
    axes = arrays[3].ravel() if len(arrays) > 3 else np.arange(starts.size)
    steps = arrays[4].ravel() if len(arrays) > 4 else np.ones(starts.size, np.int64)
    for axis, start, end, step in zip(axes, starts.ravel(), ends.ravel(), steps, strict=True):
        index = [slice(None)] * values.ndim
        index[int(axis)] = slice(int(start), int(end), int(step))
        values = values[tuple(index)]
    return values


_MOVES: Mapping[str, Callable[[NDArray[Any], Attributes, Sequence[NDArray[Any]]], NDArray[Any]]] = {
    "Identity": lambda x, a, c: x,
    "Transpose": lambda x, a, c: x.transpose(a.integers("perm", range(x.ndim)[::-1])),
    "Reshape": lambda x, a, c: _reshape(x, c[0]),
    "Squeeze": lambda x, a, c: x.squeeze(_axes(a, c)),
    "Unsqueeze": lambda x, a, c: np.expand_dims(x, _axes(a, c) or ()),
}

_ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": lambda x, y: x // y if np.issubdtype(x.dtype, np.integer) else x / y,
    "Pow": lambda x, y: np.power(x.astype(float), y).astype(x.dtype),
}

_DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 10: np.float16, 11: np.float64}


def _cast(x: NDArray[Any], to: int) -> NDArray[Any]:
    if to not in _DTYPES:
        raise Unsupported(f"casts to type number {to}")
    return x.astype(_DTYPES[to])


_PLAIN: Mapping[str, Callable[[Sequence[NDArray[Any]], Attributes], Any]] = {
    "Cast": lambda c, a: _cast(c[0], a.integer("to", 1)),
    "Concat": lambda c, a: np.concatenate(c, a.integer("axis", 0)),
    "Gather": lambda c, a: np.take(c[0], c[1].astype(np.int64), a.integer("axis", 0)),
    "Slice": lambda c, a: _slice(c),
    "Shape": lambda c, a: np.array(c[0].shape, np.int64),
    "Sqrt": lambda c, a: np.sqrt(c[0]),
    "ConstantOfShape": lambda c, a: _filled(a, c[0]),
} | {kind: (lambda c, a, f=function: f(c[0], c[1])) for kind, function in _ELEMENTWISE.items()}


#: Types of `QuantizeLinear` by the numbers of ONNX, and what their integers may be.
_LINEAR: Mapping[int, tuple[str, int, int]] = MappingProxyType(
    {
        2: ("uint8", 0, 255),
        3: ("int8", -128, 127),
        4: ("uint16", 0, 65535),
        5: ("int16", -32768, 32767),
        21: ("uint4", 0, 15),
        22: ("int4", -8, 7),
        25: ("uint2", 0, 3),
        26: ("int2", -2, 1),
    }
)


def linear_range(zero: "np.dtype[Any] | None", number: int = 0) -> tuple[int, int]:
    """Return the least and the greatest integer of a `QuantizeLinear` whose zero-point has the type `zero`.

    Without a zero-point, `number` (the attribute `output_dtype`) says the type; without both it is uint8.

    Raises:
        Unsupported: the type is not one of integers of at most 16 bits.
    """
    by_name = {name: (lo, hi) for name, lo, hi in _LINEAR.values()}
    if zero is not None:
        if zero.name not in by_name or number not in (0, *(n for n, entry in _LINEAR.items() if entry[0] == zero.name)):
            raise Unsupported(f"makes {zero}; only {', '.join(by_name)} are supported")
        return by_name[zero.name]
    if number and number not in _LINEAR:
        raise Unsupported(f"makes type number {number}; only {', '.join(by_name)} are supported")
    _, lo, hi = _LINEAR[number or 2]
    return lo, hi
