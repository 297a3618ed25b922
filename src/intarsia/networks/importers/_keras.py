# SPDX-License-Identifier: Apache-2.0
"""From a .keras or .h5 file to a `Graph`: Keras' (N, height, width, channels) becomes (N, channels, height, width)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._arithmetic import Operator, combine
from intarsia.networks.importers._axes import CHANNELS_FIRST, CHANNELS_LAST, entry
from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._graph import Floats, Four, Graph, Pair, Weights
from intarsia.networks.importers._keras_calls import Call, Network, unfold
from intarsia.networks.importers._keras_file import damage_named, load
from intarsia.networks.importers._keras_shapes import (
    CALCULATIONS,
    INACTIVE,
    RESHAPES,
    after,
    legs_of,
    route,
)
from intarsia.networks.importers._layout import same_padding
from intarsia.networks.importers._views import IMPOSSIBLE, Views

_ENDS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "sigmoid": "Sigmoid"}
_CLIPS: Mapping[str, tuple[float, float | None]] = MappingProxyType(
    {"relu": (0.0, None), "relu6": (0.0, 6.0), "hard_tanh": (-1.0, 1.0)}
)


def read_keras(path: Path) -> Graph:
    """Read a .keras or .h5 file.

    Raises:
        IntarsiaError: Keras is missing; the file is damaged, has several inputs or results, a dynamic size, or a layer
            that is not supported.
    """
    model = load(path, HANDLERS.keys())
    with damage_named(path.name):
        network = unfold(model, path.name)
    return _Importer(path.name, network).graph()


class _Importer:
    def __init__(self, source: str, network: Network) -> None:
        self.source, self.network = source, network
        self.builder = GraphBuilder(source)
        formats = {call.config["data_format"] for call in network.calls if "data_format" in call.config}
        self.first = formats == {"channels_first"}
        if "channels_first" in formats and not self.first:
            raise IntarsiaError(f"{source} has layers with channels first and others with channels last.")
        self.views = Views(self.builder, CHANNELS_FIRST if self.first else CHANNELS_LAST)
        self.used: set[str] = set()

    def graph(self) -> Graph:
        try:
            for name, sizes in self.network.inputs:
                self._input(name, sizes)
            for call in self.network.calls:
                self.builder.enter(call.kind.removeprefix("ops."), call.name)
                if call.weights and call.name in self.used:
                    self.builder.dropped.append(f"the sharing of {call.name!r}: each of its calls got a copy")
                self.used.add(call.name)
                HANDLERS[call.kind](self, call)
            if len(self.network.results) != 1:
                raise IntarsiaError(f"{self.source} has {len(self.network.results)} outputs; only 1 is supported.")
            return self.builder.finish(self.views.result(self.network.results[0]))
        except IMPOSSIBLE as error:
            raise self.builder.fail("has missing or impossible settings") from error

    def _input(self, name: str, sizes: tuple[int | None, ...]) -> None:
        self.builder.enter("input", name)
        given = tuple(size for size in sizes if size is not None)
        if len(given) != len(sizes):
            raise self.builder.fail("has a dynamic shape; give keras.Input fixed sizes (the batch may be open)")
        found = entry(*route(self.network, name, given, first=self.first), self.views.order) if given else None
        if found is None:
            raise self.builder.fail(f"has {len(sizes) + 1} axes; 2, 3 or 4 are supported")
        self.views.input(name, *found)

    # Helpers.

    def _source(self, call: Call) -> str:
        if len(call.tensors) != 1:
            raise self.builder.fail(f"reads {len(call.tensors)} tensors; only 1 is supported")
        return call.tensors[0]

    def _activate(self, call: Call, name: str) -> None:
        """Add what `activation` does with a tensor."""
        activation = call.config.get("activation") or "linear"
        layer = call.name if call.kind == "Activation" else f"{call.name}_{activation}"
        if activation == "linear":
            self.views.alias(name, call.result)
        elif activation in _CLIPS:
            self.views.clip(name, call.result, layer, *_CLIPS[activation])
        elif activation in _ENDS:
            self._end(name, call.result, activation, -1)
        else:
            raise self.builder.fail(f"has the activation {activation!r}, which is not supported")

    def _end(self, name: str, result: str, activation: str, axis: int) -> None:
        axes = len(self.views.sizes(name))
        along = None if activation == "sigmoid" else axis % (axes + 1) - 1
        self.views.end(name, result, _ENDS[activation], along)

    def _pair(self, call: Call, key: str, along: int, default: Any = None) -> Pair:
        """Return a setting for height and width; that of a signal has `along` for the height."""
        value = call.config.get(key) or default
        values = [int(part) for part in (value if isinstance(value, list | tuple) else [value])]
        return (along, values[-1]) if call.kind.endswith("1D") else (values[0], values[-1])

    def _padding(self, call: Call, kernel: Pair, stride: Pair) -> Four:
        """Return the padding of a window of the reach `kernel`."""
        kind = call.config["padding"]
        if kind == "same":
            return same_padding(self.views.image(self._source(call))[1:], kernel, stride)
        return (0, kernel[1] - 1, 0, 0) if kind == "causal" else (0, 0, 0, 0)

    # Layers with weights.

    def _convolution(self, call: Call) -> None:
        kernel = _spatial(call.weights["kernel"]).transpose(3, 2, 0, 1)
        self._convolve(call, kernel, _groups(call), call.weights.get("bias"))

    def _depthwise(self, call: Call) -> None:
        kernel = _depthwise_kernel(call.weights["kernel"])
        self._convolve(call, kernel, self.views.image(self._source(call))[0], call.weights.get("bias"))

    def _separable(self, call: Call) -> None:
        kernel = _depthwise_kernel(call.weights["depthwise_kernel"])
        channels = self.views.image(self._source(call))[0]
        depthwise = Call(
            call.kind,
            f"{call.name}.depthwise",
            {**call.config, "activation": "linear"},
            {},
            call.operands,
            f"{call.result} depthwise",
        )
        self._convolve(depthwise, kernel, channels, None)
        settings = {"strides": 1, "dilation_rate": 1, "padding": "valid"}
        pointwise = Call(
            call.kind,
            f"{call.name}.pointwise",
            {**call.config, **settings},
            {},
            (depthwise.result,),
            call.result,
        )
        kernel = _spatial(call.weights["pointwise_kernel"]).transpose(3, 2, 0, 1)
        self._convolve(pointwise, kernel, 1, call.weights.get("bias"))

    def _convolve(self, call: Call, kernel: Floats, groups: int, bias: Floats | None) -> None:
        stride, dilation = self._pair(call, "strides", 1, 1), self._pair(call, "dilation_rate", 1, 1)
        height, width = kernel.shape[2:]
        reach = (dilation[0] * (height - 1) + 1, dilation[1] * (width - 1) + 1)
        self.views.convolution(
            self._source(call),
            f"{call.result} before",
            call.name,
            Weights(np.ascontiguousarray(kernel)),
            bias,
            stride=stride,
            padding=self._padding(call, reach, stride),
            groups=groups,
            dilation=dilation,
        )
        self._activate(call, f"{call.result} before")

    def _dense(self, call: Call) -> None:
        made = f"{call.result} before"
        weights, bias = call.weights["kernel"].T, call.weights.get("bias")
        self.views.dense(self._source(call), made, call.name, weights, bias)
        self._activate(call, made)

    def _normalization(self, call: Call) -> None:
        name = self._source(call)
        axis = _axis(call.config["axis"], len(self.views.sizes(name)))
        w, size = call.weights, self.views.sizes(name)[axis]
        arrays = (
            w["moving_mean"],
            w["moving_variance"],
            w.get("gamma", np.ones(size, np.float32)),
            w.get("beta", np.zeros(size, np.float32)),
        )
        epsilon = float(call.config["epsilon"])
        self.views.normalization(name, call.result, call.name, arrays, epsilon=epsilon, axis=axis)

    def _standardize(self, call: Call) -> None:
        """Add a `Normalization`: of the input, with the mean and variance of the training data."""
        c, name = call.config, self._source(call)
        sizes = (1, *self.views.sizes(name))
        axes = c["axis"] if isinstance(c["axis"], list | tuple) else [] if c["axis"] is None else [c["axis"]]
        kept = {int(axis) % len(sizes) for axis in axes}
        shape = [size if axis in kept else 1 for axis, size in enumerate(sizes)]
        given = (c.get("mean"), c.get("variance"))
        if given[0] is None or given[1] is None:
            given = (call.weights["mean"], call.weights["variance"])
        mean, variance = (np.asarray(values, np.float32) for values in given)
        mean, variance = (np.broadcast_to(v, [sizes[a] for a in sorted(kept)]).reshape(shape) for v in (mean, variance))
        deviation: Floats = np.maximum(np.sqrt(variance), np.float32(1e-7))  # as Keras
        if c.get("invert"):
            self.views.affine(name, call.result, call.name, deviation, mean)
        else:
            self.views.affine(name, call.result, call.name, np.float32(1) / deviation, -mean / deviation)

    # Arithmetic.

    def _rescale(self, call: Call) -> None:
        factor, term = (np.asarray(call.config[key], np.float32) for key in ("scale", "offset"))
        self.views.affine(self._source(call), call.result, call.name, factor, term)

    def _add(self, call: Call) -> None:
        if len(call.operands) < 2:
            raise self.builder.fail("reads fewer than 2 tensors")
        total = call.operands[0]
        for number, operand in enumerate(call.operands[1:], start=2):
            result = call.result if number == len(call.operands) else f"{call.result} of {number}"
            combine(self.views, "add", (total, operand), result, call.name)
            total = result

    def _arithmetic(self, call: Call) -> None:
        operator: Mapping[str, Operator] = {"Subtract": "sub", "Multiply": "mul", "Divide": "div", "TrueDivide": "div"}
        first, second = call.operands
        combine(self.views, operator[call.kind.removeprefix("ops.")], (first, second), call.result, call.name)

    def _negate(self, call: Call) -> None:
        minus = np.array(-1, np.float32)
        combine(self.views, "mul", (self._source(call), minus), call.result, call.name)

    def _activation(self, call: Call) -> None:
        self._activate(call, self._source(call))

    def _function(self, call: Call) -> None:
        """Add an activation that is called as a function or is a layer of its own."""
        kind = {"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "HardTanh": "hard_tanh"}.get(
            call.kind.removeprefix("ops."), "softmax"
        )
        if kind in _ENDS:
            axis = call.config.get("axis", -1)
            self._end(self._source(call), call.result, kind, int(axis[0] if isinstance(axis, list | tuple) else axis))
        else:
            self.views.clip(self._source(call), call.result, call.name, *_CLIPS[kind])

    def _rectify(self, call: Call) -> None:
        c = call.config
        if c.get("negative_slope") or c.get("threshold"):
            raise self.builder.fail("has a slope or a threshold; only a plain ReLU is supported")
        ceiling = c.get("max_value")
        self.views.clip(self._source(call), call.result, call.name, 0.0, None if ceiling is None else float(ceiling))

    def _clip(self, call: Call) -> None:
        lo, hi = float(call.config["x_min"]), float(call.config["x_max"])
        self.views.clip(self._source(call), call.result, call.name, lo, hi)

    # Pools and padding.

    def _pool(self, call: Call) -> None:
        maximum, kernel = call.kind.startswith("Max"), self._pair(call, "pool_size", 1)
        stride = self._pair(call, "strides", 1, call.config["pool_size"])
        padding = self._padding(call, kernel, stride)
        if not maximum and any(padding):
            raise self.builder.fail("has padding that does not count ('same'); only 'valid' is supported here")
        self.views.pool(
            self._source(call),
            call.result,
            call.name,
            maximum=maximum,
            kernel=kernel,
            stride=stride,
            padding=padding,
        )

    def _reduce(self, call: Call) -> None:
        name = self._source(call)
        axes = len(self.views.sizes(name))
        if call.kind.startswith("Global"):
            over = list(range(1, axes) if self.first else range(axes - 1))
        else:
            given = call.config["axis"]
            over = [int(axis) % (axes + 1) - 1 for axis in (given if isinstance(given, list | tuple) else [given])]
        if -1 in over:
            raise self.builder.fail("is over the batch")
        keep = bool(call.config.get("keepdims", False))
        self.views.reduce(name, call.result, call.name, over, keep=keep, maximum="Max" in call.kind)

    def _pad(self, call: Call) -> None:
        given = call.config["padding"]
        sides = [given] if call.kind.endswith("1D") else given
        pairs = [(side, side) if isinstance(side, int) else (int(side[0]), int(side[1])) for side in sides]
        (top, bottom), (left, right) = [(0, 0), *pairs][-2:]
        self.views.pad(self._source(call), call.result, (top, left, bottom, right))

    # Shapes.

    def _reshape(self, call: Call) -> None:
        name, made = self._source(call), call.result
        legs = legs_of(call, self.views.sizes(name), first=self.first) or []
        for number, leg in enumerate(legs, start=1):
            result = made if number == len(legs) else f"{made} of {number}"
            if leg.order is None:
                self.views.reshape(name, result, after(leg, call, leg.sizes))
            else:
                self.views.transpose(name, result, leg.order)
            name = result

    def _pass(self, call: Call) -> None:
        self.views.alias(self._source(call), call.result)


_Handler = Callable[[_Importer, Call], None]

#: What is read: layers by their classes; functions of `keras.ops` and `keras.activations` have `ops.` before theirs.
HANDLERS: Mapping[str, _Handler] = MappingProxyType(
    {"InputLayer": _Importer._pass}
    | dict.fromkeys(("Conv1D", "Conv2D"), _Importer._convolution)
    | dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _Importer._depthwise)
    | dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _Importer._separable)
    | {"Dense": _Importer._dense, "BatchNormalization": _Importer._normalization}
    | {"Normalization": _Importer._standardize, "Rescaling": _Importer._rescale}
    | dict.fromkeys(("Add", "ops.Add"), _Importer._add)
    | dict.fromkeys(("Subtract", *(f"ops.{kind}" for kind in CALCULATIONS)), _Importer._arithmetic)
    | {"ops.Negative": _Importer._negate, "ops.Clip": _Importer._clip, "Activation": _Importer._activation}
    | dict.fromkeys(("ReLU", "ops.ReLU"), _Importer._rectify)
    | dict.fromkeys(("Softmax", *(f"ops.{kind}" for kind in ("Softmax", "Sigmoid"))), _Importer._function)
    | dict.fromkeys(("ops.Relu", "ops.Relu6", "ops.HardTanh"), _Importer._function)
    | {f"{kind}Pooling{n}D": _Importer._pool for kind in ("Max", "Average") for n in (1, 2)}
    | {f"Global{kind}Pooling{n}D": _Importer._reduce for kind in ("Max", "Average") for n in (1, 2)}
    | dict.fromkeys(("ops.Mean", "ops.Max"), _Importer._reduce)
    | dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D"), _Importer._pad)
    | dict.fromkeys(RESHAPES, _Importer._reshape)
    | dict.fromkeys(INACTIVE, _Importer._pass)
)


def _spatial(kernel: Floats) -> Floats:
    """Return a kernel (L, …, …) or (H, W, …, …) with a height."""
    return kernel[None] if kernel.ndim == 3 else kernel


def _depthwise_kernel(kernel: Floats) -> Floats:
    """Return a kernel (…, I, M) as (I · M, 1, H, W): the M results of an input channel are consecutive."""
    by_input = _spatial(kernel).transpose(2, 3, 0, 1)
    return by_input.reshape(-1, 1, *by_input.shape[2:])


def _groups(call: Call) -> int:
    return int(call.config.get("groups", 1))


def _axis(value: Any, axes: int) -> int:
    """Return an axis without the batch."""
    axis = value[0] if isinstance(value, list | tuple) else value
    return int(axis) % (axes + 1) - 1
