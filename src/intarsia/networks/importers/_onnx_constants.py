"""What an ONNX graph computes from constants alone: weights behind quantizers and transposes, sizes for a reshape."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intarsia.networks.importers._graph import Floats, Quantization
from intarsia.networks.importers._onnx_attributes import Attributes, Unsupported

#: Operators that round to integers by a scale, a zero-point and a width: QONNX's, by either of its names.
QUANTIZERS = ("Quant", "IntQuant")

_LARGEST = 1 << 26
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

    def moved(self, move: Callable[[NDArray[Any]], NDArray[Any]]) -> "Constant":
        """Return the constant with its elements rearranged."""
        quantized = self.integers is not None and self.scales is not None
        return Constant(
            move(self.values),
            self.roots,
            move(self.integers) if quantized and self.integers is not None else None,
            move(self.scales) if quantized and self.scales is not None else None,
        )


def floats(constant: Constant) -> Floats:
    """Return a constant's values.

    Raises:
        Unsupported: they are no floats, or not finite.
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
        Unsupported: it is none that integers with one scale express.
    """
    lo, hi = _limits(attributes, bits)
    mode = attributes.text("rounding_mode", "ROUND").upper()
    if mode not in NEAREST:
        raise Unsupported(f"has the rounding mode {mode!r} for activations; only rounding to the nearest is supported")
    if scale.values.size != 1 or zero.values.size != 1:
        raise Unsupported("has a scale or zero-point for each channel of an activation")
    return checked(float(scale.values.item()), float(zero.values.item()), lo, hi)


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
    if bits.values.size != 1 or not 1 <= float(bits.values.item()) <= 32 or float(bits.values.item()) % 1:
        raise Unsupported(f"has a bit width of {bits.values.ravel()[:4].tolist()}")
    width, narrow = int(bits.values.item()), attributes.integer("narrow", 0)
    if attributes.integer("signed", 1):
        return -(1 << (width - 1)) + bool(narrow), (1 << (width - 1)) - 1
    return 0, (1 << width) - 1 - bool(narrow)


def fold(kind: str, attributes: Attributes, inputs: Sequence[Constant | None]) -> Constant:
    """Return what an operator computes of constants.

    Raises:
        Unsupported: the operator is not known for constants, or its inputs do not fit.
    """
    given = [constant for constant in inputs if constant is not None]
    roots = tuple(root for constant in given for root in constant.roots)
    try:
        result = _fold(kind, attributes, given)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise Unsupported(f"cannot be computed of constants ({' '.join(str(error).split())[:120]})") from error
    return Constant(result.values, roots, result.integers, result.scales)


def _fold(kind: str, attributes: Attributes, given: list[Constant]) -> Constant:
    if kind in QUANTIZERS:
        return _quantized(attributes, *given)
    if kind == "BipolarQuant":
        scale = np.broadcast_to(given[1].values, given[0].values.shape)
        signs = np.where(given[0].values >= 0, 1, -1)
        return Constant(signs * scale, (), signs, scale)
    if kind == "DequantizeLinear":
        return _dequantized(attributes, given)
    if kind in _MOVES:
        arrays = [constant.values for constant in given[1:]]
        return given[0].moved(lambda values: _MOVES[kind](values, attributes, arrays))
    if kind not in _PLAIN:
        raise Unsupported("is not supported on constants")
    arrays = [constant.values for constant in given]
    if math.prod(np.broadcast_shapes(*(a.shape for a in arrays)) if kind in _ELEMENTWISE else (0,)) > _LARGEST:
        raise Unsupported("makes a constant of an impossible size")
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


def _dequantized(attributes: Attributes, given: list[Constant]) -> Constant:
    stored, axis = given[0].values, attributes.integer("axis", 1)

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        if values.ndim == 1 and values.size > 1:
            values = values.reshape(*[-1 if i == axis % stored.ndim else 1 for i in range(stored.ndim)])
        return np.broadcast_to(values, stored.shape)

    steps = spread(given[1].values.astype(np.float64))
    integers = stored.astype(np.int64)
    if len(given) > 2:
        integers = integers - spread(given[2].values.astype(np.int64))
    return Constant((integers * steps).astype(np.float32), (), integers, steps)


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
    "QuantizeLinear": lambda c, a: np.clip(
        np.round(c[0] / c[1] + (c[2] if len(c) > 2 else 0)), *_range(c[2] if len(c) > 2 else np.zeros(1, np.uint8))
    ).astype(c[2].dtype if len(c) > 2 else np.uint8),
} | {kind: (lambda c, a, f=function: f(c[0], c[1])) for kind, function in _ELEMENTWISE.items()}


def _range(zero: NDArray[Any]) -> tuple[int, int]:
    if zero.dtype not in (np.int8, np.uint8):
        raise Unsupported(f"makes {zero.dtype}; only int8 and uint8 are supported")
    limits = np.iinfo(zero.dtype)
    return int(limits.min), int(limits.max)


def integer_range(zero: Constant | None) -> tuple[int, int]:
    """Return the least and the greatest integer of a `QuantizeLinear` with this zero-point.

    Raises:
        Unsupported: the integers have no 8 bits.
    """
    return _range(np.zeros(1, np.uint8) if zero is None else zero.values)
