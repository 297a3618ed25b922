# SPDX-License-Identifier: Apache-2.0
"""From a program of `torch.export` to a `Graph`."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._arithmetic import Operator, combine
from intarsia.networks.importers._aten_arguments import Importing, integer, number
from intarsia.networks.importers._aten_constants import RESHAPES, SAME, TRANSPOSES, folded, limit, transposed
from intarsia.networks.importers._axes import CHANNELS_FIRST, Leg, entry
from intarsia.networks.importers._graph import Floats, Graph, Weights
from intarsia.networks.importers._program import LARGEST, Argument, Call, Program, Ref, Stored
from intarsia.networks.importers._views import IMPOSSIBLE

_ENDS = {"softmax": "Softmax", "_softmax": "Softmax", "log_softmax": "LogSoftmax", "_log_softmax": "LogSoftmax"}
#: Operators that only ask something of a tensor.
_QUERIES = ("sym_size", "_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size")
_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "native_dropout")


def read_program(program: Program) -> Graph:
    """Read a program.

    Raises:
        IntarsiaError: it has several inputs or results, a dynamic size, or an operator that is not supported.
    """
    return _Importer(program).graph()


class _Importer(Importing):
    def graph(self) -> Graph:
        try:
            for name in self.program.inputs:
                self._input(name)
            for call in self.program.calls:
                if call.results and call.operator not in _QUERIES:
                    self._read(call)
            if len(self.program.results) != 1:
                raise IntarsiaError(f"{self.program.name} returns several values; let it return one tensor.")
            return self.builder.finish(self.views.result(self.program.results[0]))
        except IMPOSSIBLE as error:
            raise self.builder.fail("has missing or impossible arguments") from error

    def _read(self, call: Call) -> None:
        place = call.layer or call.results[0].partition("[")[0]  # one of several results has a number
        self.builder.enter(call.operator, place)
        if not any(self.views.knows(name) for name in call.refs):
            self._fold(call)
        elif call.operator in HANDLERS:
            HANDLERS[call.operator](self, call)
        else:
            self.builder.enter(f"{call.operator} ({call.module})" if call.module else call.operator, place)
            raise self.builder.fail("is not supported")

    def _input(self, name: str) -> None:
        self.builder.enter("input", name)
        kind = self.program.kinds.get(name)
        if kind is None:
            raise self.builder.fail("is not a tensor")
        sizes = self.sizes(name)
        route, end = self._route(name)
        found = entry(route, end, CHANNELS_FIRST) if sizes else None
        if found is None:
            raise self.builder.fail(
                f"has {len(kind.sizes)} axes; 2 (N, features), 3 (N, C, L) or 4 (N, C, H, W) are supported"
            )
        self.views.input(name, *found)

    def _route(self, name: str) -> tuple[list[Leg], tuple[int, ...]]:
        """Return the reshapes from the input to the first operator that computes, and the shape that this one reads."""
        route: list[Leg] = []
        while True:
            sizes = self.sizes(name)
            readers = [call for call in self.readers.get(name, []) if call.operator not in _QUERIES and call.results]
            if len(readers) != 1:
                return route, sizes
            call = readers[0]
            if call.operator in TRANSPOSES:
                order = transposed(call, len(sizes) + 1)
                if order[:1] != (0,):
                    return route, sizes
                route.append(Leg(sizes, tuple(axis - 1 for axis in order[1:])))
            elif call.operator in RESHAPES:
                route.append(Leg(sizes))
            elif call.operator not in _POINTWISE or self.sizes(call.results[0]) != sizes:
                return route, sizes
            name = call.results[0]

    def _fold(self, call: Call) -> None:
        constants = {name: self.stored[name].values for name in call.refs if name in self.stored}
        kind = self.program.kinds.get(call.results[0])
        if kind is None or not kind.floating or len(constants) != len(set(call.refs)) or None in kind.sizes:
            return  # a size, or a counter of batches: whoever needs another result than these will say so
        sizes = tuple(size for size in kind.sizes if size is not None)
        values = folded(call, constants, sizes) if math.prod(sizes) <= LARGEST else None
        if values is not None:
            names = [self.stored[name].name for name in call.refs]
            self.stored[call.results[0]] = Stored(names[0] if names else call.results[0], values)

    # Layers.

    def _weights(self, call: Call, argument: Argument) -> Floats:
        weights = self.constant(argument, "weights")
        assert isinstance(argument, Ref)  # noqa: S101 (else it is not a constant)
        root = self.stored[argument.name].name
        if root in self.used:
            self.builder.dropped.append(f"the sharing of {root!r}: each layer that has it got a copy")
        self.used.add(root)
        return weights

    def _convolution(self, call: Call) -> None:
        a = call.arguments
        name, weights = self.source(call), self._weights(call, a["weight"])
        if a.get("transposed"):
            raise self.builder.fail("is a transposed convolution, which is not supported")
        axes = len(self.views.sizes(name))
        if weights.ndim not in (3, 4) or axes != weights.ndim - 1:
            raise self.builder.fail(
                f"has weights of {weights.ndim} axes for a tensor of {axes + 1}; 1-D and 2-D convolutions of batches "
                "are supported"
            )
        kernel = weights.reshape(*weights.shape[:2], 1, -1) if weights.ndim == 3 else weights
        dilation = self.pair(a.get("dilation", 1), axes, 1)
        self.views.convolution(
            name,
            call.results[0],
            self.name(call),
            Weights(kernel),
            self.optional(a.get("bias"), "bias"),
            stride=self.pair(a.get("stride", 1), axes, 1),
            padding=self.padding(a.get("padding", 0), (kernel.shape[2], kernel.shape[3]), dilation, axes),
            groups=integer(a.get("groups", 1)),
            dilation=dilation,
        )

    def _linear(self, call: Call) -> None:
        a = call.arguments
        weights, bias = self._weights(call, a["weight"]), self.optional(a.get("bias"), "bias")
        self.views.dense(self.source(call), call.results[0], self.name(call), weights, bias)

    def _addmm(self, call: Call) -> None:
        a = call.arguments
        if a.get("beta", 1) != 1 or a.get("alpha", 1) != 1:
            raise self.builder.fail("has factors of its own")
        weights, bias = self._weights(call, a["mat2"]).T, self.constant(a["self"], "bias")
        self.views.dense(self.source(call, 1), call.results[0], self.name(call), weights, bias)

    def _matmul(self, call: Call) -> None:
        weights = self._weights(call, list(call.arguments.values())[1]).T
        self.views.dense(self.source(call), call.results[0], self.name(call), weights, None)

    def _normalization(self, call: Call) -> None:
        a = call.arguments
        if a.get("training"):
            raise self.builder.fail("is in training mode; export the network after .eval()")
        mean, variance = self.constant(a["running_mean"], "mean"), self.constant(a["running_var"], "variance")
        gamma, beta = self.optional(a.get("weight"), "weight"), self.optional(a.get("bias"), "bias")
        arrays = (
            mean,
            variance,
            np.ones_like(mean) if gamma is None else gamma,
            np.zeros_like(mean) if beta is None else beta,
        )
        self.views.normalization(self.source(call), call.results[0], self.name(call), arrays, epsilon=number(a["eps"]))

    # Arithmetic.

    def _clip(self, call: Call) -> None:
        numbers = list(call.arguments.values())[1:]
        defaults = _LIMITS[call.operator]
        try:
            if call.operator == "clamp_max":
                lo, hi = None, limit(numbers[0])
            else:
                lo, hi = (limit(value) for value in (*numbers, *defaults[len(numbers) :])[:2])
        except ValueError:
            raise self.builder.fail("has limits that are computed; only numbers are supported") from None
        self.views.clip(self.source(call), call.results[0], self.name(call), lo, hi)

    def _extreme(self, call: Call) -> None:
        """Add a maximum or minimum with a constant number, or the maximum over axes."""
        a = call.arguments
        if "dim" in a:
            self._reduce(call)
            return
        operands = [self.operand(value) for value in list(a.values())[:2]]
        constants = [operand for operand in operands if isinstance(operand, np.ndarray)]
        sources = [operand for operand in operands if isinstance(operand, str)]
        if len(sources) != 1 or len(constants) != 1 or (constants[0] != constants[0].flat[0]).any():
            raise self.builder.fail("compares tensors; only a number is supported")
        bound, source = float(constants[0].flat[0]), sources[0]
        lo, hi = (bound, None) if call.operator in ("max", "maximum") else (None, bound)
        self.views.clip(source, call.results[0], self.name(call), lo, hi)

    def _arithmetic(self, call: Call) -> None:
        a = call.arguments
        first, second = list(a.values())[:2]
        if call.operator == "rsub":
            first, second = second, first
        if a.get("rounding_mode") is not None:
            raise self.builder.fail("rounds its result")
        names = [argument.name for argument in (first, second) if isinstance(argument, Ref)]
        combine(
            self.views,
            _ARITHMETIC[call.operator],
            (self.operand(first), self.operand(second)),
            call.results[0],
            self.name(call),
            alpha=number(a.get("alpha", 1)),
            only=all(len(self.readers[name]) == 1 for name in names),
        )

    def _negate(self, call: Call) -> None:
        minus = np.array(-1, np.float32)
        combine(self.views, "mul", (self.source(call), minus), call.results[0], self.name(call))

    # Pools and padding.

    def _reduce(self, call: Call) -> None:
        a, name = call.arguments, self.source(call)
        if a.get("dim") is None:
            raise self.builder.fail("has no axes; name those of height and width (2, 3)")
        axes, maximum = self.axes(a["dim"], name), call.operator != "mean"
        keep = bool(a.get("keepdim", False))
        self.views.reduce(name, call.results[0], self.name(call), axes, keep=keep, maximum=maximum)

    def _adaptive(self, call: Call) -> None:
        name = self.source(call)
        axes = self._spatial(call, name)
        height, width = self.views.image(name)[1:]
        wanted = self.pair(call.arguments["output_size"], axes, 1)
        if min(wanted) < 1 or height % wanted[0] or width % wanted[1]:
            raise self.builder.fail(f"makes {wanted} of {(height, width)}, which are not whole windows")
        kernel = (height // wanted[0], width // wanted[1])
        maximum = "max" in call.operator
        self.views.pool(name, call.results[0], self.name(call), maximum=maximum, kernel=kernel, stride=kernel)

    def _pool(self, call: Call) -> None:
        a, maximum, name = call.arguments, call.operator.startswith("max"), self.source(call)
        axes = self._spatial(call, name)
        kernel, own = self.pair(a["kernel_size"], axes, 1), self.pair(a.get("padding", 0), axes, 0)
        divisor = a.get("divisor_override")
        if self.pair(a.get("dilation", 1), axes, 1) != (1, 1) or divisor not in (None, kernel[0] * kernel[1]):
            raise self.builder.fail("has a dilation or a divisor of its own")
        if not maximum and any(own) and not a.get("count_include_pad", True):
            raise self.builder.fail("has padding that does not count (count_include_pad)")
        self.views.pool(
            name,
            call.results[0],
            self.name(call),
            maximum=maximum,
            kernel=kernel,
            stride=self.pair(a.get("stride") or a["kernel_size"], axes, 1),
            padding=(*own, *own),
            ceil=bool(a.get("ceil_mode", False)),
        )

    def _spatial(self, call: Call, name: str) -> int:
        """Return how many axes a tensor has, of which a pool wants those of a batch of signals or of images."""
        axes, wanted = len(self.views.sizes(name)), 2 if "1d" in call.operator else 3
        if axes != wanted:
            raise self.builder.fail(f"reads a tensor of {axes + 1} axes; a batch of {wanted + 1} is supported")
        return axes

    def _pad(self, call: Call) -> None:
        a, name = call.arguments, self.source(call)
        sizes = [integer(size) for size in a["pad"]] if isinstance(a["pad"], tuple) else []
        zeros = a.get("mode", "constant") == "constant" and (a.get("value") or 0) == 0
        if not zeros or len(sizes) not in (2, 4) or len(sizes) // 2 >= len(self.views.sizes(name)):
            raise self.builder.fail("pads with anything but zeros, or other axes than height and width")
        left, right, top, bottom = (*sizes, 0, 0)[:4]
        self.views.pad(name, call.results[0], (top, left, bottom, right))

    # Shapes.

    def _reshape(self, call: Call) -> None:
        name, result = self.source(call), call.results[0]
        if self.program.kinds[name].sizes[:1] != self.program.kinds[result].sizes[:1]:
            raise self.builder.fail("changes the batch, which is not supported")
        self.views.reshape(name, result, self.sizes(result))

    def _transpose(self, call: Call) -> None:
        name = self.source(call)
        order = transposed(call, len(self.views.sizes(name)) + 1)
        if order[:1] != (0,):
            raise self.builder.fail("transposes the batch")
        self.views.transpose(name, call.results[0], [axis - 1 for axis in order[1:]])

    def _pass(self, call: Call) -> None:
        if call.operator in _DROPOUTS and call.arguments.get("train", False):
            raise self.builder.fail("is in training mode; export the network after .eval()")
        if not self.program.kinds[call.results[0]].floating:
            raise self.builder.fail("makes integers of an activation")
        self.views.alias(self.source(call), call.results[0])

    def _end(self, call: Call) -> None:
        name, dim = self.source(call), call.arguments.get("dim")
        axis = None if call.operator == "sigmoid" else self.axes(dim, name)[0]
        self.views.end(name, call.results[0], _ENDS.get(call.operator, "Sigmoid"), axis)


_Handler = Callable[[_Importer, Call], None]
_LIMITS: Mapping[str, tuple[float | None, float | None]] = MappingProxyType(
    {"relu": (0.0, None), "relu6": (0.0, 6.0), "hardtanh": (-1.0, 1.0)}
    | dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max"), (None, None))
)
_ARITHMETIC: Mapping[str, Operator] = MappingProxyType(
    {"add": "add", "sub": "sub", "rsub": "sub", "mul": "mul", "div": "div"}
)
_EXTREMES = ("max", "min", "maximum", "minimum")
#: Operators that leave every element in its place.
_POINTWISE = (*SAME, *_DROPOUTS, *_LIMITS, *_ARITHMETIC, "neg")

#: What is read, by the names of ATen.
HANDLERS: Mapping[str, _Handler] = MappingProxyType(
    dict.fromkeys(("conv1d", "conv2d", "convolution"), _Importer._convolution)
    | {"linear": _Importer._linear, "addmm": _Importer._addmm}
    | dict.fromkeys(("mm", "matmul"), _Importer._matmul)
    | dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), _Importer._normalization)
    | dict.fromkeys(_LIMITS, _Importer._clip)
    | {"neg": _Importer._negate}
    | dict.fromkeys(_EXTREMES, _Importer._extreme)
    | dict.fromkeys(_ARITHMETIC, _Importer._arithmetic)
    | dict.fromkeys(("mean", "amax"), _Importer._reduce)
    | {f"adaptive_{kind}_pool{n}d": _Importer._adaptive for kind in ("avg", "max") for n in (1, 2)}
    | {"_adaptive_avg_pool2d": _Importer._adaptive}
    | {f"{kind}_pool{n}d": _Importer._pool for kind in ("avg", "max") for n in (1, 2)}
    | dict.fromkeys(("max_pool1d_with_indices", "max_pool2d_with_indices"), _Importer._pool)
    | dict.fromkeys(("pad", "constant_pad_nd"), _Importer._pad)
    | dict.fromkeys((*RESHAPES, "select", "slice", "expand"), _Importer._reshape)  # of the whole tensor
    | dict.fromkeys(TRANSPOSES, _Importer._transpose)
    | dict.fromkeys((*SAME, *_DROPOUTS), _Importer._pass)
    | dict.fromkeys((*_ENDS, "sigmoid"), _Importer._end)
)
