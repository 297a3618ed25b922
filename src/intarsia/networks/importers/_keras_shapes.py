# SPDX-License-Identifier: Apache-2.0
"""What Keras' layers do to the shapes of tensors, and what they only do in training."""

import math

from intarsia.networks.importers._axes import Leg, Sizes
from intarsia.networks.importers._keras_calls import Call, Network

#: Layers that do nothing at inference.
INACTIVE = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"),
    *("ActivityRegularization", "Identity", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom"),
    *("RandomContrast", "RandomBrightness", "ops.Identity"),
)
POINTWISE = ("Rescaling", "Normalization", "BatchNormalization", "Activation", "ReLU", *INACTIVE)
RESHAPES = ("Flatten", "Reshape", "Permute", "ops.Reshape", "ops.Transpose")
CALCULATIONS = ("Subtract", "Multiply", "Divide", "TrueDivide")


def route(network: Network, name: str, sizes: Sizes, *, first: bool) -> tuple[list[Leg], Sizes]:
    """Return the reshapes from the input to the first layer that computes, and the shape that this one reads.

    Args:
        network: that the input is of.
        name: of the input.
        sizes: its shape, without the batch.
        first: whether channels are the first axis.
    """
    legs: list[Leg] = []
    while True:
        readers = [call for call in network.calls if name in call.tensors]
        found = legs_of(readers[0], sizes, first=first) if len(readers) == 1 else None
        if found is None:
            return legs, sizes
        for leg in found:
            legs.append(leg)
            sizes = after(leg, readers[0], sizes)
        name = readers[0].result


def legs_of(call: Call, sizes: Sizes, *, first: bool) -> list[Leg] | None:
    """Return what a layer does to the shape of its input; None if it computes with several of its elements."""
    if call.kind in POINTWISE or call.kind in [f"ops.{kind}" for kind in CALCULATIONS]:
        return [] if len(call.tensors) == 1 else None
    if call.kind not in RESHAPES:
        return None
    if call.kind == "Permute":
        return [Leg(sizes, tuple(int(axis) - 1 for axis in call.config["dims"]))]
    if call.kind == "ops.Transpose":
        order = tuple(int(axis) for axis in call.config["axes"])
        return [Leg(sizes, tuple(axis - 1 for axis in order[1:]))] if order[:1] == (0,) else None
    if call.kind == "Flatten" and first and len(sizes) > 1:
        order = (*range(1, len(sizes)), 0)
        return [Leg(sizes, order), Leg(tuple(sizes[axis] for axis in order))]
    return [Leg(sizes)]


def after(leg: Leg, call: Call, sizes: Sizes) -> Sizes:
    """Return the shape after a leg."""
    if leg.order is not None:
        return tuple(sizes[axis] for axis in leg.order)
    if call.kind == "Flatten":
        return (math.prod(sizes),)
    wanted = call.config["target_shape"] if call.kind == "Reshape" else call.config["newshape"][1:]
    rest = math.prod(size for size in wanted if size != -1)
    return tuple(math.prod(sizes) // rest if size == -1 else int(size) for size in wanted)
