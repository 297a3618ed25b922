# SPDX-License-Identifier: Apache-2.0
"""What a network needs of an engine: the least slots and widths that hold its planes, scales and sums."""

import numpy as np

from intarsia.engine.config import MOST_SLOTS, WIDEST_ACCUMULATOR, EngineConfig
from intarsia.engine.mapping import slots_needed, split_planes
from intarsia.engine.program import storage_offset
from intarsia.errors import IntarsiaError
from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Layer, Linear, MaxPool, Tensor, WeightLayer


def needed_widths(network: IntegerNetwork, config: EngineConfig) -> dict[str, int]:
    """Return the least values of `scale_bits`, `acc_bits` and, if there are sparse planes, `slots` and `slot_bits` that
    hold a network, by name.

    Args:
        network: in the form in which it is computed, its dense planes in digits.
        config: of the engine; only its lanes count.

    Raises:
        IntarsiaError: no engine holds some layer; the message names it and says what to change.
    """
    tensors = network.tensors
    sources = {layer.output.name: tensors[layer.inputs[0]] for layer in network.layers}
    needs = {
        "scale_bits": max(2, network.scale_bits),
        "acc_bits": max(_accumulator_bits(layer, sources[layer.output.name]) for layer in network.layers),
    }
    sparse = {layer: plane for layer in network.weight_layers() if (plane := split_planes(layer)[1]) is not None}
    if sparse:
        needs["slots"] = max(_slots(layer, sources[layer.output.name], config) for layer in sparse)
        needs["slot_bits"] = max(plane.format.stored_bits(1) for plane in sparse.values())
    return needs


def _slots(layer: WeightLayer, source: Tensor, config: EngineConfig) -> int:
    slots = slots_needed(layer, source, config)
    if slots > MOST_SLOTS:
        raise IntarsiaError(
            f"layer {layer.output.name}: a block of {config.lanes} inputs holds {slots} sparse weights, a lane of the "
            f"engine has at most {MOST_SLOTS} slots; use a regular pattern such as 1:{config.lanes}, or digits alone."
        )
    return slots


def _accumulator_bits(layer: Layer, source: Tensor) -> int:
    """Return bits in which no accumulator of a layer overflows, whatever the input, nor within a Horner pass."""
    bound = _greatest_sum(layer, source)
    bits = bound.bit_length() + 1
    if bits > WIDEST_ACCUMULATOR:
        raise IntarsiaError(
            f"layer {layer.output.name}: a sum may reach {bound}, more than accumulators of {WIDEST_ACCUMULATOR} bits "
            "hold; use fewer inputs or narrower weights."
        )
    return bits


def _greatest_sum(layer: Layer, source: Tensor) -> int:
    offset = storage_offset(source)
    magnitude = max(offset - source.format.lo, source.format.hi - offset)
    match layer:
        case Conv2d() | Linear():
            return _weight_bound(layer) * magnitude
        case AveragePool() | MaxPool():
            return layer.kernel[0] * layer.kernel[1] * magnitude
        case Add():
            return magnitude


def _weight_bound(layer: WeightLayer) -> int:
    """Σ|w| of the worst channel of any plane; one more per weight where digits are summed by Horner's rule."""
    worst = 0
    for plane in split_planes(layer):
        if plane is not None:
            magnitude = np.abs(plane.weights.astype(np.int64)).reshape(len(plane.weights), -1)
            worst = max(worst, int((magnitude + (plane.format.digits > 1)).sum(axis=1).max()))
    return worst
