# SPDX-License-Identifier: Apache-2.0
"""From a `Graph` whose tensors are quantized to an integer network.

A layer of the integer network is a weight layer, an addition or an average pool with all that follows it up to the
next quantized tensor: normalization goes into multipliers and biases, a ReLU into the clip. Normalization that follows
no weight layer is a 1×1 convolution of each channel. A tensor of zero-point z holds q − z, so that 0 stands for 0 and
padding with zeros is right; it takes as few of 2, 4, 8 or 16 bits as hold its values. Ties are rounded up, as
everywhere in the integer network, where QONNX rounds them to even.
"""

import math
from dataclasses import replace

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.integer import (
    Add,
    AveragePool,
    Conv2d,
    IntegerNetwork,
    Layer,
    Linear,
    MaxPool,
    Requantization,
    Tensor,
)
from intarsia.integer.validation import accumulator_bound
from intarsia.networks.importers._float import input_quantization
from intarsia.networks.importers._graph import (
    Addition,
    Clip,
    Convolution,
    Dense,
    Flatten,
    Four,
    Graph,
    Normalization,
    Op,
    Pad,
    Pool,
    Quantization,
    Requantize,
    Sign,
    Weights,
)
from intarsia.networks.importers._integer_layers import Pending, planes_of, signed_weights, weight_layer
from intarsia.networks.importers._layout import sum_padding
from intarsia.networks.importers._scales import fit, fit_shared, format_of

_WIDE = 16  # bits of a tensor that the file leaves unquantized, but whose values are known


def integer_network(graph: Graph, name: str, scale_bits: int) -> IntegerNetwork:
    """Return the integer network of a graph, with multipliers of `scale_bits`.

    Raises:
        IntarsiaError: a tensor or a layer's weights are not quantized, or need formats that do not exist.
    """
    return _Converter(graph, name, scale_bits).network()


class _Converter:
    def __init__(self, graph: Graph, name: str, scale_bits: int) -> None:
        self.graph, self.name, self.scale_bits = graph, name, scale_bits
        self.layers: list[Layer] = []
        self.tensors: dict[str, Tensor] = {}
        self.ranges: dict[str, tuple[int, int]] = {}  # least and greatest value of a tensor, within its format
        self.alias: dict[str, str] = {}  # name in the graph → tensor of the network
        self.pending: dict[str, Pending] = {}
        self.pads: dict[str, Four] = {}

    def network(self) -> IntegerNetwork:
        quantization = input_quantization(self.graph)
        if quantization is None:
            raise IntarsiaError(
                f"{self.graph.name}: its input is not quantized; import it as a float network and quantize that, "
                "or export it with integer inputs."
            )
        lo, hi = quantization.lo - quantization.zero_point, quantization.hi - quantization.zero_point
        source = Tensor("input", self.graph.shape, format_of(lo, hi, self.graph.name), quantization.scale)
        self.tensors["input"], self.ranges["input"], self.alias["input"] = source, (lo, hi), "input"
        for op in self.graph.ops:
            self._convert(op)
        last = self.graph.ops[-1].name
        if last in self.pending:
            pending = self.pending.pop(last)
            self._finish(last, pending, self._widest(pending))
        metadata = {"source": self.graph.name, "input": self._describe(quantization)}
        if self.graph.dropped:
            metadata["dropped"] = "; ".join(self.graph.dropped)
        return IntegerNetwork(self.name, source, tuple(self.layers), self.scale_bits, metadata)

    def _convert(self, op: Op) -> None:
        match op:
            case Requantize():
                self._requantize(op)
            case Flatten() | Pad():
                self._rearrange(op)
            case Normalization():
                self._normalize(op)
            case Clip():
                self._clip(op)
            case Sign():
                self._sign(op)
            case Pool() if op.maximum:
                self._max_pool(op)
            case _:
                self._start(op)
        if op.name in self.pending and op.quantization is not None:
            self._finish(op.name, self.pending.pop(op.name), op.quantization)

    def _tensor(self, name: str, reader: str) -> Tensor:
        if name in self.pending:
            raise IntarsiaError(
                f"{self.graph.name}: tensor {name!r} is not quantized, but layer {reader!r} reads it; quantize the "
                "activation between them, or import the file as a float network."
            )
        return self.tensors[self.alias[name]]

    def _take(self, op: Op) -> Pending | None:
        """Take over the unfinished layer that an operator follows; None if it follows a tensor."""
        source = op.inputs[0]
        if source not in self.pending:
            return None
        if self.graph.readers(source) != 1:
            raise IntarsiaError(f"{self.graph.name}: tensor {source!r} is not quantized, but read several times.")
        return self.pending.pop(source)

    def _identity(self, op: Op) -> Pending:
        """Return a layer that only requantizes what `op` reads."""
        source = self._tensor(op.inputs[0], op.name)
        ones = np.full(op.shape[0], source.scale)
        pool = Pool(
            name=op.name,
            inputs=op.inputs,
            shape=op.shape,
            maximum=False,
            kernel=(1, 1),
            stride=(1, 1),
            padding=(0,) * 4,
        )
        return Pending(pool, (source.name,), self._padding_of(op), ones, np.zeros(op.shape[0]))

    def _channelwise(self, op: Op) -> Pending:
        """Return a layer that gives every channel of what `op` reads a gain and a term of its own."""
        source = self._tensor(op.inputs[0], op.name)
        channels = op.shape[0]
        if source.shape[0] != channels:
            raise IntarsiaError(
                f"{self.graph.name}: {op.name!r} follows a flatten; fold it into a layer before export."
            )
        ones = np.ones((channels, 1, 1, 1), np.float32)
        convolution = Convolution(
            name=op.name,
            inputs=op.inputs,
            shape=op.shape,
            weights=Weights(ones, ones.astype(np.int8), np.ones(channels)),
            bias=None,
            stride=(1, 1),
            padding=(0, 0, 0, 0),
            groups=channels,
        )
        gain = np.full(channels, source.scale)
        return Pending(convolution, (source.name,), self._padding_of(op), gain, np.zeros(channels))

    def _linear(self, op: Op) -> Pending:
        """Return the weight layer that `op` follows, to be changed channel by channel; else one made for that."""
        pending = self._take(op)
        if pending is None:
            return self._channelwise(op)
        clipped = math.isfinite(pending.lo) or math.isfinite(pending.hi)
        if isinstance(pending.op, Convolution | Dense) and not clipped:
            return pending
        exact = None if clipped else self._exact(pending)
        if exact is None:
            raise IntarsiaError(
                f"{self.graph.name}: tensor {op.inputs[0]!r} is not quantized, but {op.name!r} scales it; quantize the "
                "activation between them, or import the file as a float network."
            )
        self._finish(op.inputs[0], pending, exact)
        return self._channelwise(op)

    def _padding_of(self, op: Op) -> Four:
        """Return the explicit padding of what an operator reads, if it is a window's."""
        padding = self.pads.get(op.inputs[0], (0, 0, 0, 0))
        if any(padding) and not isinstance(op, Convolution | Pool):
            raise IntarsiaError(f"{self.graph.name}: {op.inputs[0]!r} pads what no convolution or pool reads.")
        own = op.padding if isinstance(op, Convolution | Pool) else (0, 0, 0, 0)
        return sum_padding(padding, own)

    def _start(self, op: Op) -> None:
        sources = [self._tensor(name, op.name) for name in op.inputs]
        scales = np.array([source.scale for source in sources])
        names, channels = tuple(source.name for source in sources), op.shape[0]
        term = np.zeros(channels)
        if isinstance(op, Convolution | Dense):
            if op.weights.integers is None or op.weights.scales is None:
                raise IntarsiaError(f"{self.graph.name}: the weights of layer {op.name!r} are not quantized.")
            gain = op.weights.scales * scales[0]
            term = term if op.bias is None else op.bias.astype(np.float64)
        elif isinstance(op, Addition):
            for source in op.inputs:
                self._padding_of(replace(op, inputs=(source,)))
            gain = scales
        elif isinstance(op, Pool):
            gain = np.full(channels, scales[0] / (op.kernel[0] * op.kernel[1]))
        else:
            raise AssertionError(f"no integer layer for {type(op).__name__}")
        pending = Pending(op, names, self._padding_of(op), gain, term)
        self.pending[op.name] = pending
        exact = self._exact(pending)
        if exact is not None and self._next_quantization(op) is None:
            self._finish(op.name, self.pending.pop(op.name), exact)

    def _next_quantization(self, op: Op) -> Quantization | None:
        """Return what the result of an operator is rounded to, if no other layer comes before that."""
        while op.quantization is None:
            readers = [other for other in self.graph.ops if op.name in other.inputs]
            if len(readers) != 1 or not isinstance(readers[0], Normalization | Clip | Requantize | Flatten):
                return None
            op = readers[0]
        return op.quantization

    def _exact(self, pending: Pending) -> Quantization | None:
        """Return the quantization that holds an unquantized sum or average exactly, if 16 bits do."""
        if isinstance(pending.op, Convolution | Dense) or len(set(pending.gain.tolist())) != 1:
            return None
        window = pending.op.kernel[0] * pending.op.kernel[1] if isinstance(pending.op, Pool) else 1
        lo, hi = (sum(self.ranges[name][end] for name in pending.sources) * window for end in (0, 1))
        if lo < -(1 << 15) or hi >= (1 << 16 if lo == 0 else 1 << 15):
            return None
        return Quantization(float(pending.gain[0]), 0, lo, hi)

    def _normalize(self, op: Normalization) -> None:
        pending = self._linear(op)
        if op.shape[0] != pending.op.shape[0]:
            raise IntarsiaError(
                f"{self.graph.name}: {op.name!r} follows a flatten; fold it into a layer before export."
            )
        variance = op.variance.astype(np.float64) + op.epsilon
        if not (variance > 0).all():
            raise IntarsiaError(f"{self.graph.name}: normalization {op.name!r} has a variance that is not above 0.")
        factor = op.gamma / np.sqrt(variance)
        term = (pending.term - op.mean) * factor + op.beta
        self.pending[op.name] = replace(pending, gain=pending.gain * factor, term=term)

    def _clip(self, op: Clip) -> None:
        pending = self._take(op)
        if pending is not None:
            self.pending[op.name] = replace(pending, lo=max(pending.lo, op.lo), hi=min(pending.hi, op.hi))
            return
        source = self._tensor(op.inputs[0], op.name)
        least, greatest = (bound * source.scale for bound in self.ranges[source.name])
        if op.lo <= least and greatest <= op.hi and op.quantization is None:
            self.alias[op.name] = source.name
            return
        self.pending[op.name] = replace(self._identity(op), lo=op.lo, hi=op.hi)
        if self._next_quantization(op) is None:  # what is rounded already stays as it is
            self._finish(op.name, self.pending.pop(op.name), Quantization(source.scale, 0, *self.ranges[source.name]))

    def _sign(self, op: Sign) -> None:
        """Add the weight layer before a bipolar quantizer, exactly: it compares a whole number with a threshold.

        Where total ≥ t, 2·(total − t) + 1 is above 0, else below, and it is never 0: clipped to ±1 it is the sign.
        """
        if self._is_input(op):
            self.alias[op.name] = "input"
            return
        if self.scale_bits < 2:
            raise IntarsiaError(f"{self.graph.name}: {op.name!r} needs multipliers of at least 2 bits.")
        pending = self._linear(op)
        assert isinstance(pending.op, Convolution | Dense)  # noqa: S101 (what `_linear` returns)
        output = Tensor(pending.op.name, pending.op.shape, format_of(-1, 1, self.graph.name), op.step)
        integers = signed_weights(pending)
        bound = accumulator_bound(integers, self._reach(pending.sources[0])).astype(np.float64) + 1
        gain = np.abs(pending.gain)
        with np.errstate(divide="ignore", invalid="ignore"):
            threshold = np.where(gain > 0, np.ceil(-pending.term / gain), np.where(pending.term >= 0, -bound, bound))
        threshold = np.clip(threshold, -bound, bound).astype(np.int64)
        channels = len(threshold)
        requantization = Requantization(
            np.full(channels, 2, np.int32),
            (1 - 2 * threshold).astype(np.int32),
            np.zeros(channels, np.int32),
            output.format.lo + 1,
            output.format.hi,
        )
        planes = planes_of(integers, f"{self.graph.name}: layer {output.name!r}")
        self._emit(weight_layer(pending, self.tensors[pending.sources[0]], output, planes, requantization), (-1, 1))
        self.alias[op.name] = output.name

    def _requantize(self, op: Requantize) -> None:
        assert op.quantization is not None  # noqa: S101 (that is what the operator is)
        pending = self._take(op)
        if pending is not None:
            self.pending[op.name] = pending
            return
        source = self._tensor(op.inputs[0], op.name)
        lo, hi = (bound - op.quantization.zero_point for bound in (op.quantization.lo, op.quantization.hi))
        least, greatest = self.ranges[source.name]
        same = math.isclose(source.scale, op.quantization.scale, rel_tol=1e-6)
        if (same and lo <= least and greatest <= hi) or self._is_input(op):
            self.alias[op.name] = source.name
            return
        self.pending[op.name] = self._identity(op)

    def _is_input(self, op: Requantize | Sign) -> bool:
        """Whether an operator only makes the network's integers of its input."""
        alone = self.graph.readers(op.inputs[0]) == 1 and self.graph.readers("input") == 1
        return self.graph.quantization is None and self.alias.get(op.inputs[0]) == "input" and alone

    def _rearrange(self, op: Flatten | Pad) -> None:
        if isinstance(op, Flatten) and (pending := self._take(op)) is not None:
            self.pending[op.name] = pending
            return
        source = self._tensor(op.inputs[0], op.name)
        self.alias[op.name] = source.name
        if isinstance(op, Pad):
            before = self.pads.get(op.inputs[0], (0, 0, 0, 0))
            self.pads[op.name] = sum_padding(before, op.padding)
        elif op.inputs[0] in self.pads:
            self._padding_of(op)

    def _max_pool(self, op: Pool) -> None:
        later = self._next_quantization(op)
        if later is not None and (pending := self._take(op)) is not None:
            # Rounding and ReLU keep the order of values, so that they may come before the maximum.
            self._finish(op.inputs[0], pending, later)
        source = self._tensor(op.inputs[0], op.name)
        if op.inputs[0] in self.pads and self.ranges[source.name][0] != 0:
            raise IntarsiaError(
                f"{self.graph.name}: pool {op.name!r} takes the maximum of padding; remove the padding."
            )
        if op.quantization is not None and not math.isclose(op.quantization.scale, source.scale, rel_tol=1e-6):
            raise IntarsiaError(f"{self.graph.name}: pool {op.name!r} has another scale than the tensor that it reads.")
        output = Tensor(op.name, op.shape, source.format, source.scale)
        self._emit(MaxPool(source.name, output, op.kernel, op.stride, self._padding_of(op)), self.ranges[source.name])
        self.alias[op.name] = op.name

    def _widest(self, pending: Pending) -> Quantization:
        """Return 16 bits that hold whatever an unquantized result can be."""
        sources = [self.tensors[name] for name in pending.sources]
        if isinstance(pending.op, Convolution | Dense):
            assert pending.op.weights.integers is not None  # noqa: S101 (checked when the layer began)
            bound = accumulator_bound(pending.op.weights.integers, self._reach(pending.sources[0])) * np.abs(
                pending.gain
            )
        else:
            reach = sum(max(-source.format.lo, source.format.hi) * source.scale for source in sources)
            bound = np.full(pending.op.shape[0], reach)
        greatest = float((bound + np.abs(pending.term)).max())
        top = (1 << (_WIDE - 1)) - 1
        return Quantization(max(greatest, 1e-30) / top, 0, -top - 1, top)

    def _reach(self, name: str) -> int:
        """Return the greatest magnitude that a tensor has."""
        lo, hi = self.ranges[name]
        return max(-lo, hi)

    def _finish(self, name: str, pending: Pending, quantization: Quantization) -> None:
        """Add the layer: its output is `name`."""
        scale, zero = quantization.scale, quantization.zero_point
        lo, hi = quantization.lo - zero, quantization.hi - zero
        lo = max(lo, math.floor(pending.lo / scale + 0.5)) if math.isfinite(pending.lo) else lo
        hi = min(hi, math.floor(pending.hi / scale + 0.5)) if math.isfinite(pending.hi) else hi
        # What follows a layer, a ReLU for example, is part of it: the layer keeps its own name.
        output = Tensor(pending.op.name, pending.op.shape, format_of(lo, max(lo, hi), self.graph.name), scale)
        where = f"{self.graph.name}: layer {output.name!r}"
        match pending.op:
            case Convolution() | Dense():
                layer: Layer = self._weight_layer(pending, output, (lo, max(lo, hi)), where)
            case Addition():
                (first, second), shift = fit_shared(pending.gain / scale, self.scale_bits, where)
                sources = (pending.sources[0], pending.sources[1])
                layer = Add(sources, output, (first, second), shift, lo, max(lo, hi))
            case Pool():
                (multiplier,), shift = fit_shared(pending.gain[:1] / scale, self.scale_bits, where)
                kernel, stride = pending.op.kernel, pending.op.stride
                layer = AveragePool(
                    pending.sources[0], output, kernel, stride, pending.padding, multiplier, shift, lo, max(lo, hi)
                )
            case _:
                raise AssertionError(f"no integer layer for {type(pending.op).__name__}")
        self._emit(layer, (lo, max(lo, hi)))
        self.alias[name] = output.name

    def _weight_layer(self, pending: Pending, output: Tensor, clip: tuple[int, int], where: str) -> Conv2d | Linear:
        multiplier, shift, bias = fit(
            np.abs(pending.gain) / output.scale, pending.term / output.scale, self.scale_bits, where
        )
        planes = planes_of(signed_weights(pending), where)
        requantization = Requantization(multiplier, bias, shift, *clip)
        return weight_layer(pending, self.tensors[pending.sources[0]], output, planes, requantization)

    def _emit(self, layer: Layer, values: tuple[int, int]) -> None:
        self.layers.append(layer)
        self.tensors[layer.output.name], self.ranges[layer.output.name] = layer.output, values

    def _describe(self, quantization: Quantization) -> str:
        """Say in words how the integers of the input stand for what the file takes."""
        text = f"{quantization.dtype}, scale {quantization.scale:g}, zero_point {quantization.zero_point:g}"
        signs = any(isinstance(op, Sign) and self._is_input(op) for op in self.graph.ops)
        return f"{text}; −1 for what is below 0, else 1" if signs else text
