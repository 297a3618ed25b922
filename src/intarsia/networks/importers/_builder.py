# SPDX-License-Identifier: Apache-2.0
"""Builds a `Graph` operator by operator: shapes, names and what must fit are checked here, once for all readers."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.integer.layers import LARGEST_TENSOR
from intarsia.networks.importers._budget import PER_WEIGHT
from intarsia.networks.importers._graph import (
    Addition,
    Clip,
    Convolution,
    Dense,
    Flatten,
    Floats,
    Four,
    Graph,
    Normalization,
    Pad,
    Pair,
    Pool,
    Quantization,
    Requantize,
    Sign,
    Weights,
)
from intarsia.networks.importers._layout import ceil_padding, channels_first, placed, placed_weights, window_count
from intarsia.networks.importers._tensors import Tensors

_MOST_WEIGHTS = 1 << 26  # of a layer

#: Why a network is refused whose outputs would come in another order.
REORDERED = (
    "flattens its result with the channels last, an order that the integer network's outputs cannot have; let it end "
    "before that flatten."
)


class GraphBuilder(Tensors):
    """Collects the operators of one file; tensors are known by the keys of the reader."""

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
        groups: int = 1,
        dilation: Pair = (1, 1),
        quantization: Quantization | None = None,
    ) -> None:
        """Add a convolution; `weights` are (O, I / groups, KH, KW)."""
        source = self._image(key)
        channels, height, width = self._shape_of(source)
        outputs, per_group, *kernel = weights.values.shape
        if groups < 1 or outputs < 1 or outputs % groups or per_group * groups != channels:
            raise self.fail(f"has weights of shape {weights.values.shape} in {groups} groups for {channels} channels")
        self._check_bias(bias, outputs)
        reach = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
        if min(dilation) < 1 or min(kernel) < 1:
            raise self.fail(f"has a kernel of {tuple(kernel)} and a dilation of {dilation}")
        if outputs * channels * math.prod(reach) > _MOST_WEIGHTS:
            raise self.fail(f"takes {outputs * channels * math.prod(reach):,} weights without groups and dilation")
        self._afford(weights.values.size * PER_WEIGHT)
        size = self._window((height, width), reach, stride, padding)
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
                groups=groups,
                dilation=dilation,
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
        self._afford(weights.values.size * PER_WEIGHT)
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
            raise self.fail(f"has a constant that is not one value per channel ({channels})")
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

    def clip(
        self,
        key: Hashable,
        result: Hashable,
        name: str,
        lo: float | None,
        hi: float | None,
        *,
        quantization: Quantization | None = None,
    ) -> None:
        """Add a clip to lo … hi, None for no limit: (0, None) is a ReLU."""
        source = self._find(key)
        least, greatest = -math.inf if lo is None else lo, math.inf if hi is None else hi
        if not least <= 0 <= greatest or least == greatest:  # NaN compares false
            raise self.fail(f"clips to {least:g} … {greatest:g}; only a range that holds 0 is supported")
        op = Clip(
            name=name,
            inputs=(source,),
            shape=self._shape_of(source),
            flat=self.flat(key),
            quantization=quantization,
            lo=least,
            hi=greatest,
        )
        self._add_like(result, source, op)

    def sign(self, key: Hashable, result: Hashable, name: str, step: float) -> None:
        """Add a bipolar quantizer: `step` where the tensor is at least 0, else −`step`."""
        source = self._find(key)
        if not (math.isfinite(step) and step > 0):
            raise self.fail(f"has the scale {step}")
        op = Sign(
            name=name,
            inputs=(source,),
            shape=self._shape_of(source),
            flat=self.flat(key),
            quantization=Quantization(step, 0, -1, 1),
            step=step,
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
        ceil: bool = False,
        quantization: Quantization | None = None,
    ) -> None:
        """Add an average or maximum pool; with `ceil`, a last window may reach beyond the padding."""
        source = self._image(key)
        channels, height, width = self._shape_of(source)
        if ceil and min(*kernel, *stride) > 0:
            wider = ceil_padding((height, width), kernel, stride, padding)
            if wider != padding and not maximum:
                raise self.fail(
                    "has a last window that reaches beyond the image (ceil_mode), with a divisor of its own"
                )
            padding = wider
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
        """Add rounding to integers; after an operator that only shapes the result both are left out."""
        if self._is_ended(key):
            self._keys[result] = self._keys[key]
            return
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
            raise IntarsiaError(f"{self.source} has no input; it is not a network.")
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
            raise IntarsiaError(f"{self.source} {REORDERED}")
        return Graph(self.source, self._shape, self._quantization, tuple(reversed(ops)), tuple(self.dropped))

    def _window(self, size: Pair, kernel: Pair, stride: Pair, padding: Four) -> Pair:
        if min(*kernel, *stride) < 1 or min(padding) < 0:
            raise self.fail(f"has a kernel of {kernel}, a stride of {stride} and a padding of {padding}")
        top, left, bottom, right = padding
        if (size[0] + top + bottom) * (size[1] + left + right) > LARGEST_TENSOR:
            raise self.fail(f"has the impossible padding {padding}")
        height, width = window_count(size, kernel, stride, padding)
        if height < 1 or width < 1:
            raise self.fail(f"has a kernel of {kernel}, which does not fit into {size}")
        return height, width

    def _check_bias(self, bias: Floats | None, outputs: int) -> None:
        if bias is not None and bias.shape != (outputs,):
            raise self.fail(f"has a bias of shape {bias.shape} for {outputs} channels")
