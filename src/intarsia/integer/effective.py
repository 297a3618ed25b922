"""Effective bits: everything that is stored for a network's weights, over the number of weights.

Weights are counted as they lie in the weight stream: in blocks of 16 along the input channels of one tap (along
the taps of one channel, where a layer is depthwise or has at most four input channels), padding included, trits
packed five to a byte. A slot of an `n:m` plane is stored for every block of m, used or not, with its index.
"""

import math
from dataclasses import dataclass

from intarsia.integer.formats import Pattern
from intarsia.integer.network import SHIFT_BITS, IntegerNetwork, Plane, WeightLayer

BLOCK = 16
BIAS_BITS = 32
_FEW_CHANNELS = 4


@dataclass(frozen=True)
class LayerBits:
    """What one layer stores, in bits.

    Attributes:
        name: of the layer.
        weights: their number.
        planes: values of all planes, at real weights and slots.
        indices: positions of sparse values.
        padding: values and indices that only fill the last block of a row.
        scales: multipliers and shifts.
        biases: 32 bits a channel; reported apart, no part of the effective bits.
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
        """Effective bits a weight, over all layers."""
        return self.total / self.weights if self.weights else 0.0


def effective_bits(network: IntegerNetwork) -> EffectiveBits:
    """Count everything that a network stores for its weights."""
    return EffectiveBits(tuple(_layer_bits(layer, network.scale_bits) for layer in network.weight_layers()))


def _layer_bits(layer: WeightLayer, scale_bits: int) -> LayerBits:
    outputs = layer.output.shape[0]
    counts = [_plane_bits(plane) for plane in layer.planes]
    values, indices, padding = (sum(column) for column in zip(*counts, strict=True))
    scales = outputs * (scale_bits * len(layer.planes) + SHIFT_BITS)
    name, weights = layer.output.name, int(layer.planes[0].weights.size)
    return LayerBits(name, weights, values, indices, padding, scales, outputs * BIAS_BITS)


def _plane_bits(plane: Plane) -> tuple[int, int, int]:
    """Return the bits of values, indices and padding."""
    if plane.pattern.kind == "unstructured":
        count = int((plane.weights != 0).sum())
        return plane.format.stored_bits(count), count * _index_bits(plane.weights.size), 0
    if plane.pattern.kind == "n:m":
        return _slots(plane, plane.pattern)
    rows, length = _rows(plane)
    whole = plane.format.stored_bits(BLOCK) * -(-length // BLOCK)
    used = plane.format.stored_bits(BLOCK) * (length // BLOCK) + plane.format.stored_bits(length % BLOCK)
    return rows * used, 0, rows * (whole - used)


def _rows(plane: Plane) -> tuple[int, int]:
    """Return how many rows are cut into blocks each on its own, and their length."""
    shape = plane.weights.shape
    outputs, inputs = int(shape[0]), int(shape[1])
    taps = math.prod(int(size) for size in shape[2:])
    if len(shape) == 4 and inputs <= _FEW_CHANNELS:
        return outputs * inputs, taps
    return outputs * taps, inputs


def _slots(plane: Plane, pattern: Pattern) -> tuple[int, int, int]:
    shape = plane.weights.shape
    outputs, inputs = int(shape[0]), int(shape[1])
    taps = math.prod(int(size) for size in shape[2:])
    blocks = taps * -(-inputs // pattern.m)
    slots = outputs * blocks * pattern.n
    indices = -(-outputs // pattern.group) * blocks * pattern.n * _index_bits(pattern.m)
    return plane.format.stored_bits(slots), indices, 0


def _index_bits(positions: int) -> int:
    return max(1, (positions - 1).bit_length())
