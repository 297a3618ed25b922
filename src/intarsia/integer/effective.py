# SPDX-License-Identifier: Apache-2.0
"""Effective bits: everything that is stored for a network's weights, over the number of weights.

Weights are counted as a stream of words for 16 lanes holds them: in blocks of 16 along the input channels of one tap
(along the taps of one channel, where a layer is depthwise or has at most four input channels and that takes fewer
blocks), trits packed five to a byte, the last block of a row and the last 16 output channels filled up. A linear layer
is the convolution that it is. A slot of an `n:m` plane is stored for every block of m, used or not, with its index; an
index that a group of output channels shares is stored once. A `fixed` plane stores the values of its channels and no
index.

A plane of whole channels, blocks or taps is counted as one stream of the values of those it takes, zeros included, and
one index for each; a block that the edge of the layer cuts is filled up. A channel, block or tap without any non-zero
is not taken. The `rest` of a mix stores all that planes before it have not taken, without an index; a binary one, which
cannot store zeros, needs an index for each of what is zero in every plane.

What an engine stores is for its compiler to say: fitted to the network (`config_for`) it equals this count for planes
`1:16` and kernels of up to 4 x 4; it is less for an unfolded input of few channels, and more where depthwise kernels
are larger, a shared index is repeated for each lane, a pattern is sparser than a slot for every 16, formats differ from
layer to layer, or dense integers are stored as digits.
"""

import math
from dataclasses import dataclass

import numpy as np

from intarsia.integer.formats import UNIT_KINDS, Pattern
from intarsia.integer.layers import SHIFT_BITS, Conv2d, Plane, WeightLayer
from intarsia.integer.network import IntegerNetwork
from intarsia.integer.units import block_size, support, taken_units, unit_numbers

BLOCK = 16
LANES = 16
STORED_BIAS_BITS = 32
_FEW_CHANNELS = 4


@dataclass(frozen=True)
class LayerBits:
    """What one layer stores, in bits.

    Attributes:
        name: of the layer.
        weights: their number.
        planes: values of all planes, at real weights and slots.
        indices: positions of sparse values.
        padding: values and indices that only fill the last block of a row or the last lanes, and their scales.
        scales: multipliers and shifts of real channels.
        biases: 32 bits per channel; reported apart, no part of the effective bits.
    """

    name: str
    weights: int
    planes: int
    indices: int
    padding: int
    scales: int
    biases: int

    @property
    def total(self) -> int:
        """All bits but the biases'."""
        return self.planes + self.indices + self.padding + self.scales

    @property
    def per_weight(self) -> float:
        """Effective bits of this layer."""
        return self.total / self.weights


@dataclass(frozen=True)
class EffectiveBits:
    """What a network stores, by layer; the properties sum over the layers."""

    layers: tuple[LayerBits, ...]

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def planes(self) -> int:
        """Bits of the values of all planes."""
        return sum(layer.planes for layer in self.layers)

    @property
    def indices(self) -> int:
        """Bits of the positions of sparse values."""
        return sum(layer.indices for layer in self.layers)

    @property
    def padding(self) -> int:
        """Bits that only fill blocks."""
        return sum(layer.padding for layer in self.layers)

    @property
    def scales(self) -> int:
        """Bits of multipliers and shifts."""
        return sum(layer.scales for layer in self.layers)

    @property
    def biases(self) -> int:
        """Bits of the biases, no part of `total`."""
        return sum(layer.biases for layer in self.layers)

    @property
    def total(self) -> int:
        """All bits but the biases'."""
        return sum(layer.total for layer in self.layers)

    @property
    def per_weight(self) -> float:
        """Effective bits per weight, over all layers."""
        return self.total / self.weights if self.weights else 0.0


def effective_bits(network: IntegerNetwork) -> EffectiveBits:
    """Count everything that a network stores for its weights."""
    return EffectiveBits(tuple(_layer_bits(layer, network.scale_bits) for layer in network.weight_layers()))


def _layer_bits(layer: WeightLayer, scale_bits: int) -> LayerBits:
    outputs = layer.output.shape[0]
    depthwise = isinstance(layer, Conv2d) and layer.depthwise
    counts = [_plane_bits(layer.planes, number, depthwise) for number in range(len(layer.planes))]
    values, indices, padding = (sum(column) for column in zip(*counts, strict=True))
    scales = (scale_bits + SHIFT_BITS) * outputs
    padding += (_filled(outputs) - outputs) * (scale_bits + SHIFT_BITS)
    name, weights = layer.output.name, int(layer.planes[0].weights.size)
    return LayerBits(name, weights, values, indices, padding, scales, outputs * STORED_BIAS_BITS)


def _plane_bits(planes: tuple[Plane, ...], number: int, depthwise: bool) -> tuple[int, int, int]:
    """Return the bits of values, indices and padding of one of a layer's planes."""
    plane = planes[number]
    if plane.pattern.kind == "unstructured":
        count = int((plane.weights != 0).sum())
        return plane.format.stored_bits(count), count * _index_bits(plane.weights.size), 0
    if plane.pattern.kind == "n:m":
        return _slots(plane, plane.pattern)
    if plane.pattern.kind == "fixed":
        return _fixed(plane)
    if plane.pattern.kind in UNIT_KINDS:
        return _whole_units(plane, planes[:number], depthwise)
    rows, length = _rows(plane)
    outputs = int(plane.weights.shape[0])
    whole = plane.format.stored_bits(BLOCK) * -(-length // BLOCK)
    used = plane.format.stored_bits(BLOCK) * (length // BLOCK) + plane.format.stored_bits(length % BLOCK)
    return outputs * rows * used, 0, rows * (_filled(outputs) * whole - outputs * used)


def _fixed(plane: Plane) -> tuple[int, int, int]:
    outputs = int(plane.weights.shape[0])
    channel = plane.format.stored_bits(int(support(plane.weights, plane.pattern)[0].sum()))
    return outputs * channel, 0, (_filled(outputs) - outputs) * channel


def _whole_units(plane: Plane, before: tuple[Plane, ...], depthwise: bool) -> tuple[int, int, int]:
    units = unit_numbers(plane.weights.shape, plane.pattern, depthwise=depthwise)
    stored = taken_units(plane.weights, units)
    indexed = int(stored.sum())
    if plane.pattern.rest:
        free = ~np.logical_or.reduce([taken_units(other.weights, units) for other in before])
        indexed = 0 if plane.format.has_zero else int((free & ~stored).sum())
        stored = free if plane.format.has_zero else stored
    count = int(stored[units].sum())
    padded = count
    if plane.pattern.kind == "blocks":
        padded = int(stored.sum()) * math.prod(block_size(plane.weights.shape, plane.pattern))
    values = plane.format.stored_bits(count)
    return values, indexed * _index_bits(stored.size), plane.format.stored_bits(padded) - values


def _rows(plane: Plane) -> tuple[int, int]:
    """Return how many rows an output channel has, each cut into blocks on its own, and their length."""
    inputs = int(plane.weights.shape[1])
    taps = math.prod(plane.weights.shape[2:])
    if inputs <= _FEW_CHANNELS and inputs * -(-taps // BLOCK) < taps:
        return inputs, taps
    return taps, inputs


def _slots(plane: Plane, pattern: Pattern) -> tuple[int, int, int]:
    shape = plane.weights.shape
    outputs, inputs = int(shape[0]), int(shape[1])
    taps = math.prod(shape[2:])
    slots = taps * -(-inputs // pattern.m) * pattern.n  # of an output channel
    index = slots * _index_bits(pattern.m)
    groups, all_groups = -(-outputs // pattern.group), -(-_filled(outputs) // pattern.group)
    padding = (_filled(outputs) - outputs) * plane.format.stored_bits(slots) + (all_groups - groups) * index
    return outputs * plane.format.stored_bits(slots), groups * index, padding


def _filled(outputs: int) -> int:
    """Return the output channels with those that only fill the lanes."""
    return -(-outputs // LANES) * LANES


def _index_bits(positions: int) -> int:
    return max(1, (positions - 1).bit_length())
