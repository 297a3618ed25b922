# SPDX-License-Identifier: Apache-2.0
"""From the layers of an integer network to calls of C kernels."""

from intarsia.errors import IntarsiaError
from intarsia.integer.layers import Add, AveragePool, Layer, MaxPool, Tensor, WeightLayer
from intarsia.integer.network import IntegerNetwork
from intarsia.system.software.direct import lower_add, lower_pool, lower_weights
from intarsia.system.software.packed import lower_packed
from intarsia.system.software.pieces import Lowered
from intarsia.system.software.ranges import Range, tensor_ranges
from intarsia.system.software.sum_together import lower_sum_together
from intarsia.system.software.ternary import lower_ternary

#: Families of kernels for weight layers.
KERNELS = ("int8", "packed", "ternary", "sum-together")


def lower(network: IntegerNetwork, kernels: str = "int8") -> tuple[Lowered, ...]:
    """Return a call for each layer.

    Args:
        network: any.
        kernels: one of `KERNELS`.

    Raises:
        IntarsiaError: there is no such family.
    """
    if kernels not in KERNELS:
        raise IntarsiaError(f"there are no kernels {kernels!r}; choose one of {', '.join(KERNELS)}.")
    tensors, ranges = network.tensors, tensor_ranges(network)
    return tuple(
        _lower(layer, [tensors[name] for name in layer.inputs], [ranges[name] for name in layer.inputs], kernels)
        for layer in network.layers
    )


def _lower(layer: Layer, inputs: list[Tensor], ranges: list[Range], kernels: str) -> Lowered:
    if isinstance(layer, Add):
        return lower_add(layer, inputs, ranges)
    if isinstance(layer, AveragePool | MaxPool):
        return lower_pool(layer, inputs[0], ranges[0])
    return _lower_weights(layer, inputs, ranges, kernels)


def _lower_weights(layer: WeightLayer, inputs: list[Tensor], ranges: list[Range], kernels: str) -> Lowered:
    forms: list[Lowered | None] = [lower_weights(layer, inputs, ranges)]
    if kernels == "sum-together":
        return lower_sum_together(layer, inputs, ranges) or lower_weights(layer, inputs, ranges)
    if kernels in ("packed", "ternary"):
        forms.append(lower_packed(layer, inputs, ranges))
    if kernels == "ternary":
        forms.append(lower_ternary(layer, inputs, ranges))
    return min((form for form in forms if form is not None), key=lambda form: form.cost)
