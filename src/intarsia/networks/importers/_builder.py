"""Builds a `Graph` operator by operator: shapes, names and what must fit are checked here, once for all readers."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._graph import (
    Addition,
    Convolution,
    Dense,
    Flatten,
    Floats,
    Four,
    Graph,
    Normalization,
    Op,
    Pad,
    Pair,
    Pool,
    Quantization,
    Rectifier,
    Requantize,
    Shape,
    Weights,
)
from intarsia.networks.importers._layout import channels_first, placed, placed_weights
from intarsia.networks.importers._names import Names, shortened

_LARGEST = 1 << 26  # elements of a tensor; more is a damaged file, not a network for this hardware


class GraphBuilder:
    """Collects the operators of one file; tensors are known by the keys of the reader."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.dropped: list[str] = []
        self._ops: dict[str, Op] = {}
        self._names = Names()
        self._keys: dict[Hashable, str] = {}
        self._ended: dict[str, str] = {}
        self._order: dict[str, Shape] = {}  # flat tensors whose features are in (row, column, channel) order
        self._where = ""
        self._shape: Shape | None = None
        self._quantization: Quantization | None = None

    def enter(self, operator: str, tensor: str) -> None:
        """Say which operator is read from now on, for messages."""
        self._where = f"operator {operator} of {shortened(tensor)!r}"

    def fail(self, what: str) -> IntarsiaError:
        """Return an error about the present operator."""
        return IntarsiaError(f"{self.source}: {self._where} {what}.")

    def input(self, key: Hashable, shape: Shape, quantization: Quantization | None = None) -> None:
        """Declare the input."""
        if self._shape is not None:
            raise IntarsiaError(f"{self.source} has several inputs; only networks with one are supported.")
        self._check_size(shape)
        self._shape, self._quantization, self._keys[key] = shape, quantization, "input"

    def reshape_input(self, key: Hashable, result: Hashable, shape: Shape) -> bool:
        """Let the input have another shape of as many elements, if nothing but this reshape reads it."""
        first = self._keys.get(key) == "input" and not self._ops
        if not first or self._shape is None or math.prod(shape) != math.prod(self._shape):
            return False
        self._check_size(shape)
        self._shape, self._keys = shape, {result: "input"}  # nobody can read it in its old shape any more
        return True

    def knows(self, key: Hashable) -> bool:
        """Whether a tensor depends on the input."""
        return key in self._keys

    def shape(self, key: Hashable) -> Shape:
        """Return a tensor's shape."""
        return self._shape_of(self._keys[key] if self.knows(key) else self._find(key))

    def flat(self, key: Hashable) -> bool:
        """Whether a tensor is (N, features)."""
        name = self._find(key)
        return name in self._ops and self._ops[name].flat

    def quantization(self, key: Hashable) -> Quantization | None:
        """Return how integers stand for a tensor."""
        name = self._find(key)
        return self._quantization if name == "input" else self._ops[name].quantization

    def alias(self, key: Hashable, result: Hashable) -> None:
        """Let a tensor stand for another."""
        self._keys[result] = self._find(key)

    def end(self, key: Hashable, result: Hashable, what: str) -> None:
        """Leave out an operator that only shapes the result; nothing may follow it."""
        name = self._find(key)
        self._keys[result] = name
        self._ended[name] = what
        self.dropped.append(f"{what} at the end")

    def convolution(
        self,
        key: Hashable,
        result: Hashable,
        name: str,
        weights: Weights,
        bias: Floats | None,
        *,
        stride: Pair,
        padding: Four,
        depthwise: bool,
        quantization: Quantization | None = None,
    ) -> None:
        """Add a convolution."""
        source = self._image(key)
        channels, height, width = self._shape_of(source)
        outputs, per_group, *kernel = weights.values.shape
        if per_group != (1 if depthwise else channels) or (depthwise and outputs != channels):
            raise self.fail(f"has weights of shape {weights.values.shape} for {channels} channels")
        self._check_bias(bias, outputs)
        size = self._window((height, width), (kernel[0], kernel[1]), stride, padding)
        self._add(
            result,
            Convolution(
                name=name,
                inputs=(source,),
                shape=(outputs, *size),
                quantization=quantization,
                weights=weights,
                bias=bias,
                stride=stride,
                padding=padding,
                depthwise=depthwise,
            ),
        )

    def dense(
        self,
        key: Hashable,
        result: Hashable,
        name: str,
        weights: Weights,
        bias: Floats | None,
        *,
        quantization: Quantization | None = None,
    ) -> None:
        """Add a fully connected layer over a flat tensor."""
        source = self._find(key)
        outputs, features = weights.values.shape
        if not self.flat(key):
            raise self.fail("reads a tensor that is not flattened")
        if features != self._shape_of(source)[0] or outputs == 0:
            raise self.fail(f"has weights of shape {weights.values.shape} for {self._shape_of(source)[0]} features")
        self._check_bias(bias, outputs)
        if source in self._order:
            weights = placed_weights(weights, self._order[source])
        self._add(
            result,
            Dense(
                name=name,
                inputs=(source,),
                shape=(outputs, 1, 1),
                flat=True,
                quantization=quantization,
                weights=weights,
                bias=bias,
            ),
        )

    def normalization(
        self, key: Hashable, result: Hashable, name: str, arrays: Sequence[Floats], epsilon: float
    ) -> None:
        """Add a normalization; `arrays` are mean, variance, gamma and beta."""
        source = self._find(key)
        shape = self._shape_of(source)
        if any(array.shape != shape[:1] for array in arrays):
            raise self.fail(f"has parameters that do not fit {shape[0]} channels")
        if not math.isfinite(epsilon) or epsilon < 0:
            raise self.fail(f"has an epsilon of {epsilon}")
        if source in self._order:
            to = channels_first(self._order[source])
            arrays = [placed(array, to) for array in arrays]
        mean, variance, gamma, beta = arrays
        self._add_like(
            result,
            source,
            Normalization(
                name=name,
                inputs=(source,),
                shape=shape,
                flat=self.flat(key),
                mean=mean,
                variance=variance,
                gamma=gamma,
                beta=beta,
                epsilon=epsilon,
            ),
        )

    def affine(
        self, key: Hashable, result: Hashable, name: str, factor: Floats | None, term: Floats | None, *, only: bool
    ) -> None:
        """Add x · factor + term for each channel (arrays of (C,) or one element): a folded normalization.

        A term alone becomes the bias of the layer before it, if that has none and `only` this reads it.
        """
        source = self._find(key)
        channels = self._shape_of(source)[0]
        zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        if any(array is not None and array.size not in (1, channels) for array in (factor, term)):
            raise self.fail(f"has a constant that is not one value a channel ({channels})")
        term = zeros if term is None else np.broadcast_to(term.reshape(-1), channels).astype(np.float32)
        layer = self._ops.get(source)
        takes = isinstance(layer, Convolution | Dense) and layer.bias is None and layer.quantization is None
        if factor is None and only and takes:
            assert isinstance(layer, Convolution | Dense)  # noqa: S101 (for the type checker)
            self._ops[source] = replace(layer, bias=term)
            self._keys[result] = source
            return
        factor = ones if factor is None else np.broadcast_to(factor.reshape(-1), channels).astype(np.float32)
        self.normalization(key, result, name, (zeros, ones, factor, term), 0.0)

    def rectifier(
        self,
        key: Hashable,
        result: Hashable,
        name: str,
        ceiling: float | None,
        quantization: Quantization | None = None,
    ) -> None:
        """Add a ReLU, clipped at `ceiling`."""
        source = self._find(key)
        if ceiling is not None and not (math.isfinite(ceiling) and ceiling > 0):
            raise self.fail(f"clips at {ceiling}")
        op = Rectifier(
            name=name,
            inputs=(source,),
            shape=self._shape_of(source),
            flat=self.flat(key),
            quantization=quantization,
            ceiling=ceiling,
        )
        self._add_like(result, source, op)

    def addition(
        self,
        first: Hashable,
        second: Hashable,
        result: Hashable,
        name: str,
        quantization: Quantization | None = None,
    ) -> None:
        """Add a sum of two tensors."""
        sources = (self._find(first), self._find(second))
        shapes = [self._shape_of(source) for source in sources]
        if shapes[0] != shapes[1] or self.flat(first) != self.flat(second):
            raise self.fail(f"adds tensors of shapes {shapes[0]} and {shapes[1]} (broadcasting is not supported)")
        if self._order.get(sources[0]) != self._order.get(sources[1]):
            raise self.fail("adds flattened tensors of different layouts")
        op = Addition(name=name, inputs=sources, shape=shapes[0], flat=self.flat(first), quantization=quantization)
        self._add_like(result, sources[0], op)

    def pool(
        self,
        key: Hashable,
        result: Hashable,
        name: str,
        *,
        maximum: bool,
        kernel: Pair,
        stride: Pair,
        padding: Four,
        quantization: Quantization | None = None,
    ) -> None:
        """Add an average or maximum pool."""
        source = self._image(key)
        channels, height, width = self._shape_of(source)
        size = self._window((height, width), kernel, stride, padding)
        if maximum and any(p >= k for p, k in zip(padding, (*kernel, *kernel), strict=True)):
            raise self.fail("has padding as large as its window")
        self._add(
            result,
            Pool(
                name=name,
                inputs=(source,),
                shape=(channels, *size),
                quantization=quantization,
                maximum=maximum,
                kernel=kernel,
                stride=stride,
                padding=padding,
            ),
        )

    def pad(self, key: Hashable, result: Hashable, name: str, padding: Four) -> None:
        """Add explicit padding with zeros."""
        source = self._image(key)
        channels, height, width = self._shape_of(source)
        top, left, bottom, right = padding
        if min(padding) < 0:
            raise self.fail(f"has the padding {padding}")
        shape = (channels, height + top + bottom, width + left + right)
        self._add(
            result,
            Pad(name=name, inputs=(source,), shape=shape, quantization=self.quantization(key), padding=padding),
        )

    def flatten(self, key: Hashable, result: Hashable, *, channels_last: bool = False) -> None:
        """Make a tensor (N, features), in (row, column, channel) order if `channels_last`."""
        source = self._find(key)
        if self.flat(key):
            self._keys[result] = source
            return
        shape = self._shape_of(source)
        features = (math.prod(shape), 1, 1)
        op = Flatten(name="flatten", inputs=(source,), shape=features, flat=True, quantization=self.quantization(key))
        self._add(result, op)
        if channels_last and shape[0] != 1 and shape[1] * shape[2] != 1:
            self._order[self._keys[result]] = shape

    def requantize(self, key: Hashable, result: Hashable, name: str, quantization: Quantization) -> None:
        """Add rounding to integers."""
        source = self._find(key)
        op = Requantize(
            name=name,
            inputs=(source,),
            shape=self._shape_of(source),
            flat=self.flat(key),
            quantization=quantization,
        )
        self._add_like(result, source, op)

    def finish(self, result: Hashable) -> Graph:
        """Return the graph; operators that the result does not need are left out."""
        if self._shape is None:
            raise IntarsiaError(f"{self.source} has no input; it is no network.")
        if result not in self._keys:
            raise IntarsiaError(f"{self.source}: nothing computes the network's output from its input.")
        name = self._keys[result]
        needed, ops = {name}, []
        for op in reversed(self._ops.values()):
            if op.name in needed:
                needed.update(op.inputs)
                ops.append(op)
        if not any(isinstance(op, Convolution | Dense) for op in ops):
            raise IntarsiaError(f"{self.source} has no convolution and no fully connected layer; nothing to import.")
        if name in self._order:
            self.dropped.append("the order of the result, which is now (channel, row, column)")
        return Graph(self.source, self._shape, self._quantization, tuple(reversed(ops)), tuple(self.dropped))

    def _find(self, key: Hashable) -> str:
        if key not in self._keys:
            raise self.fail("reads a tensor that nothing before it makes from the input")
        name = self._keys[key]
        if name in self._ended:
            raise self.fail(f"follows {self._ended[name]}, which is supported as the last operator only")
        return name

    def _image(self, key: Hashable) -> str:
        name = self._find(key)
        if self.flat(key):
            raise self.fail("reads a flattened tensor")
        return name

    def _shape_of(self, name: str) -> Shape:
        if name == "input":
            assert self._shape is not None  # noqa: S101 (the key exists because the input was declared)
            return self._shape
        return self._ops[name].shape

    def _add(self, result: Hashable, op: Op) -> None:
        self._check_size(op.shape)
        op = replace(op, name=self._names.unique(op.name))
        self._ops[op.name] = op
        self._keys[result] = op.name

    def _add_like(self, result: Hashable, source: str, op: Op) -> None:
        """Add an operator that leaves every element in its place."""
        self._add(result, op)
        if source in self._order:
            self._order[self._keys[result]] = self._order[source]

    def _window(self, size: Pair, kernel: Pair, stride: Pair, padding: Four) -> Pair:
        if min(*kernel, *stride) < 1 or min(padding) < 0:
            raise self.fail(f"has a kernel of {kernel}, a stride of {stride} and a padding of {padding}")
        top, left, bottom, right = padding
        height = (size[0] + top + bottom - kernel[0]) // stride[0] + 1
        width = (size[1] + left + right - kernel[1]) // stride[1] + 1
        if height < 1 or width < 1:
            raise self.fail(f"has a kernel of {kernel}, which does not fit into {size}")
        return height, width

    def _check_bias(self, bias: Floats | None, outputs: int) -> None:
        if bias is not None and bias.shape != (outputs,):
            raise self.fail(f"has a bias of shape {bias.shape} for {outputs} channels")

    def _check_size(self, shape: Shape) -> None:
        if min(shape) < 1 or math.prod(shape) > _LARGEST:
            raise IntarsiaError(f"{self.source}: {self._where or 'the input'} has the impossible shape {shape}.")
