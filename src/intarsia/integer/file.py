# SPDX-License-Identifier: Apache-2.0
"""The file of an integer network: safetensors, with one JSON header that holds everything but the arrays.

The header stands under the key `intarsia` of the safetensors metadata. The arrays of layer i (counted from 0) are
`i.plane.p.weights` (int8, or int16 in the format of that name), `i.multiplier` (uint16), `i.bias` (int32, or int64
where one needs it) and `i.shift` (uint8). A reader refuses whatever it does not know, so a file either means the same
to everybody or nothing. There is no pickle.

The header's `sha256` is over the arrays, so that a changed weight is noticed.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import require_readable, save_tensors
from intarsia.integer._header import Fields, HeaderError
from intarsia.integer.formats import MOST_TIE, ActivationFormat, Pattern, WeightFormat
from intarsia.integer.layers import (
    Add,
    AveragePool,
    Conv2d,
    Ints,
    Layer,
    Linear,
    MaxPool,
    Plane,
    Requantization,
    Residual,
    Tensor,
    WeightLayer,
)
from intarsia.integer.network import IntegerNetwork

FORMAT = "integer network"
VERSION = 3  # 3: one multiplier per channel, shifts of planes, residuals

_KEY = "intarsia"
#: Types of arrays, the narrowest first; a writer takes the first that holds the values.
_DTYPES = {"weights": ("I8", "I16"), "multiplier": ("U16",), "bias": ("I32", "I64"), "shift": ("U8",)}
_NUMPY: dict[str, type[np.integer]] = {
    **{"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64},
    **{"U8": np.uint8, "U16": np.uint16},
}
_MAX_SIZE = 1 << 16  # of a kernel, stride, padding or tensor axis; keeps a damaged file from asking for all memory

Arrays = dict[str, Ints]


def save(network: IntegerNetwork, path: Path) -> None:
    """Write the network to `path` in one step: the old content or the new, never a part.

    The reader sees the content first, so what is written is always read.

    Raises:
        IntarsiaError: the file cannot be written, or the network has a value that a reader refuses; `path` keeps its
            old content.
    """
    arrays: Arrays = {}
    try:
        text = _header(network, arrays)
        _network(json.loads(text, parse_constant=_refuse_constant), dict(arrays))
    except (HeaderError, IntarsiaError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise IntarsiaError(f"the network {network.name} cannot be saved: {reason}; correct it.") from error
    save_tensors(path, arrays, {_KEY: text})


def _header(network: IntegerNetwork, arrays: Arrays) -> str:
    """Return the JSON header of a network's file, and put its arrays into `arrays`."""
    if odd := [name for name in network.metadata if not isinstance(name, str)]:
        raise TypeError(f"metadata has the name {odd[0]!r}, which is not a text")  # JSON would make it one
    header = {
        "format": FORMAT,
        "version": VERSION,
        "name": network.name,
        "scale_bits": network.scale_bits,
        "metadata": network.metadata,
        "input": _tensor_fields(network.input),
        "layers": [_layer_fields(layer, number, arrays) for number, layer in enumerate(network.layers)],
    }
    header["sha256"] = _sum(arrays)
    return json.dumps(header, default=_plain)


def _plain(value: object) -> object:
    """Return NumPy's numbers and truth values as JSON has them."""
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def load(path: Path) -> IntegerNetwork:
    """Read a network from `path`.

    Raises:
        IntarsiaError: the file is missing, truncated, foreign, of another version, has an unknown or missing field or
            array, arrays of another sum, or its layers do not fit together; the sentence names the file and the field.
    """
    require_readable(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if set(metadata) != {_KEY}:
                raise HeaderError("has no header of an integer network")
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no mapping)
            _check_dtypes(dtypes)
            arrays: Arrays = {name: file.get_tensor(name) for name in dtypes}
        return _network(json.loads(metadata[_KEY], parse_constant=_refuse_constant), arrays)
    except OSError as error:
        raise unreadable(path, error) from error
    except SafetensorError as error:
        raise IntarsiaError(f"{path} is truncated or no network file ({error}); make it again.") from error
    except (HeaderError, IntarsiaError) as error:
        reason = str(error).rstrip(".")
        raise IntarsiaError(f"{path} is not a network that this version can read: {reason}; make it again.") from error
    except (ValueError, RecursionError) as error:
        raise IntarsiaError(f"{path} has a damaged header ({error}); make it again.") from error


def _refuse_constant(text: str) -> NoReturn:
    raise HeaderError(f"a number in its header is {text}")


def _check_dtypes(dtypes: dict[str, str]) -> None:
    for name, dtype in dtypes.items():
        expected = _DTYPES.get(name.rpartition(".")[2])
        if expected is None:
            raise HeaderError(f"array {name!r} is unknown")
        if dtype not in expected:
            raise HeaderError(f"array {name!r} is {dtype} instead of {' or '.join(expected)}")


def _sum(arrays: Arrays) -> str:
    """Return the SHA-256 sum over the names, shapes and little-endian bytes of arrays."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<"), order="C", copy=False).tobytes())
    return digest.hexdigest()


# Writing


def _tensor_fields(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "bits": tensor.format.bits,
        "signed": tensor.format.signed,
        "scale": tensor.scale,
    }


def _layer_fields(layer: Layer, number: int, arrays: Arrays) -> dict[str, Any]:
    fields: dict[str, Any] = {"output": _tensor_fields(layer.output)}
    match layer:
        case Conv2d():
            window = {"stride": list(layer.stride), "padding": list(layer.padding), "depthwise": layer.depthwise}
            return {"kind": "conv2d", "input": layer.input} | fields | window | _weights_fields(layer, number, arrays)
        case Linear():
            return {"kind": "linear", "input": layer.input} | fields | _weights_fields(layer, number, arrays)
        case Add():
            multipliers = {"multipliers": [int(m) for m in layer.multipliers]}
            return {"kind": "add", "inputs": list(layer.inputs)} | fields | multipliers | _scaling_fields(layer)
        case AveragePool():
            multiplier = {"multiplier": int(layer.multiplier)}
            kind = {"kind": "average_pool", "input": layer.input}
            return kind | fields | _window_fields(layer) | multiplier | _scaling_fields(layer)
        case MaxPool():
            return {"kind": "max_pool", "input": layer.input} | fields | _window_fields(layer)


def _window_fields(layer: AveragePool | MaxPool) -> dict[str, Any]:
    return {"kernel": list(layer.kernel), "stride": list(layer.stride), "padding": list(layer.padding)}


def _scaling_fields(layer: Add | AveragePool) -> dict[str, Any]:
    return {"shift": int(layer.shift), "lo": int(layer.lo), "hi": int(layer.hi)}


def _weights_fields(layer: WeightLayer, number: int, arrays: Arrays) -> dict[str, Any]:
    requantization = layer.requantization
    for field in ("multiplier", "bias", "shift"):
        _store(arrays, f"{number}.{field}", getattr(requantization, field))
    for index, plane in enumerate(layer.planes):
        _store(arrays, f"{number}.plane.{index}.weights", plane.weights)
    fields = {
        "lo": int(requantization.lo),
        "hi": int(requantization.hi),
        "planes": [
            {"format": plane.format.name, "pattern": str(plane.pattern), "shift": int(plane.shift)}
            for plane in layer.planes
        ],
    }
    return fields | ({} if layer.residual is None else {"residual": _residual_fields(layer.residual)})


def _residual_fields(residual: Residual) -> dict[str, Any]:
    return {"input": residual.input, "multiplier": int(residual.multiplier), "shift": int(residual.shift)}


def _store(arrays: Arrays, name: str, values: Ints) -> None:
    types = [_NUMPY[dtype] for dtype in _DTYPES[name.rpartition(".")[2]]]
    fitting = (dtype for dtype in types if np.array_equal(values.astype(dtype), values))
    arrays[name] = np.ascontiguousarray(values, next(fitting, types[-1]))  # the network checked its ranges


# Reading


def _network(content: object, arrays: Arrays) -> IntegerNetwork:
    header, found_sum = Fields(content, "header"), _sum(arrays)
    if (found := header.text("format")) != FORMAT:
        raise HeaderError(f"field format is {found!r} instead of {FORMAT!r}")
    if (version := header.integer("version", 0)) < VERSION:
        raise HeaderError(f"it has version {version}, which computed otherwise; freeze or run the network again")
    if version != VERSION:
        raise HeaderError(f"field version is {version}, but only {VERSION} is known")
    layers = tuple(_layer(fields, number, arrays) for number, fields in enumerate(header.members("layers")))
    name, scale_bits = header.text("name"), header.integer("scale_bits", 1, 16)
    metadata, source = header.texts("metadata"), _tensor(header.member("input"))
    stored_sum = header.text("sha256")
    header.finish()
    if arrays:
        raise HeaderError(f"array {min(arrays)!r} belongs to no layer")
    if stored_sum != found_sum:
        raise HeaderError("its arrays are not the saved ones, their SHA-256 sum is another")
    return IntegerNetwork(name, source, layers, scale_bits, metadata)


def _tensor(fields: Fields) -> Tensor:
    channels, height, width = fields.integers("shape", 3, 1, _MAX_SIZE)
    form = ActivationFormat(fields.integer("bits", 1, 16), fields.boolean("signed"))
    tensor = Tensor(fields.text("name"), (channels, height, width), form, fields.positive("scale"))
    fields.finish()
    return tensor


def _layer(fields: Fields, number: int, arrays: Arrays) -> Layer:
    kind = fields.text("kind")
    readers: dict[str, Callable[[Fields, int, Arrays], Layer]] = {
        "conv2d": _conv2d,
        "linear": _linear,
        "add": _add,
        "average_pool": _average_pool,
        "max_pool": _max_pool,
    }
    if kind not in readers:
        raise HeaderError(f"field {fields.where}.kind is {kind!r}; known are {', '.join(readers)}")
    layer = readers[kind](fields, number, arrays)
    fields.finish()
    return layer


def _conv2d(fields: Fields, number: int, arrays: Arrays) -> Conv2d:
    stride = fields.integers("stride", 2, 1, _MAX_SIZE)
    padding = fields.integers("padding", 4, 0, _MAX_SIZE)
    depthwise = fields.boolean("depthwise")
    planes, requantization, residual = _weights(fields, number, arrays)
    source, output = fields.text("input"), _tensor(fields.member("output"))
    return Conv2d(source, output, planes, requantization, _two(stride), _four(padding), depthwise, residual)


def _linear(fields: Fields, number: int, arrays: Arrays) -> Linear:
    planes, requantization, residual = _weights(fields, number, arrays)
    return Linear(fields.text("input"), _tensor(fields.member("output")), planes, requantization, residual)


def _add(fields: Fields, number: int, arrays: Arrays) -> Add:
    inputs = fields.text_list("inputs", 2)
    multipliers = fields.integers("multipliers", 2, 0, _MAX_SIZE)
    shift, lo, hi = _scaling(fields)
    output = _tensor(fields.member("output"))
    return Add((inputs[0], inputs[1]), output, _two(multipliers), shift, lo, hi)


def _average_pool(fields: Fields, number: int, arrays: Arrays) -> AveragePool:
    kernel, stride, padding = _window(fields)
    multiplier = fields.integer("multiplier", 0, _MAX_SIZE)
    source, output = fields.text("input"), _tensor(fields.member("output"))
    shift, lo, hi = _scaling(fields)
    return AveragePool(source, output, kernel, stride, padding, multiplier, shift, lo, hi)


def _max_pool(fields: Fields, number: int, arrays: Arrays) -> MaxPool:
    kernel, stride, padding = _window(fields)
    return MaxPool(fields.text("input"), _tensor(fields.member("output")), kernel, stride, padding)


def _window(fields: Fields) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    kernel = fields.integers("kernel", 2, 1, _MAX_SIZE)
    stride = fields.integers("stride", 2, 1, _MAX_SIZE)
    padding = fields.integers("padding", 4, 0, _MAX_SIZE)
    return _two(kernel), _two(stride), _four(padding)


def _scaling(fields: Fields) -> tuple[int, int, int]:
    return fields.integer("shift", 0, 31), *_clip(fields)


def _clip(fields: Fields) -> tuple[int, int]:
    return fields.integer("lo", -_MAX_SIZE, _MAX_SIZE), fields.integer("hi", -_MAX_SIZE, _MAX_SIZE)


def _weights(fields: Fields, number: int, arrays: Arrays) -> tuple[tuple[Plane, ...], Requantization, Residual | None]:
    planes = tuple(
        _plane(plane, f"{number}.plane.{index}", arrays) for index, plane in enumerate(fields.members("planes"))
    )
    lo, hi = _clip(fields)
    multiplier, bias, shift = (_take(arrays, f"{number}.{field}", 1) for field in ("multiplier", "bias", "shift"))
    residual = _residual(fields.member("residual")) if fields.has("residual") else None
    return planes, Requantization(multiplier, bias, shift, lo, hi), residual


def _residual(fields: Fields) -> Residual:
    residual = Residual(
        fields.text("input"), fields.integer("multiplier", 0, _MAX_SIZE), fields.integer("shift", 0, 31)
    )
    fields.finish()
    return residual


def _plane(fields: Fields, prefix: str, arrays: Arrays) -> Plane:
    form, pattern = WeightFormat(fields.text("format")), Pattern.parse(fields.text("pattern"))
    shift = fields.integer("shift", 0, MOST_TIE)
    fields.finish()
    return Plane(_take(arrays, f"{prefix}.weights", 4), form, pattern, shift)


def _take(arrays: Arrays, name: str, axes: int) -> NDArray[Any]:
    if name not in arrays:
        raise HeaderError(f"array {name!r} is missing")
    values = arrays.pop(name)
    if values.ndim != axes or 0 in values.shape:
        raise HeaderError(f"array {name!r} of shape {values.shape} must have {axes} axes, none of them empty")
    return values


def _two(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]


def _four(values: list[int]) -> tuple[int, int, int, int]:
    return values[0], values[1], values[2], values[3]
