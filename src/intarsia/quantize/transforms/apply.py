# SPDX-License-Identifier: Apache-2.0
"""Taking a float network through the transforms that were asked for."""

from collections.abc import Mapping, Sequence

from intarsia.quantize.scheme import LayerScheme
from intarsia.quantize.step import Step
from intarsia.quantize.transforms.equalize import equalize
from intarsia.quantize.transforms.permute import permute
from intarsia.quantize.transforms.settings import Transforms
from intarsia.quantize.transforms.widen import widen


def apply(steps: Sequence[Step], transforms: Transforms, schemes: Mapping[str, LayerScheme]) -> list[Step]:
    """Return steps of the same function, transformed; the given ones stay as they are.

    Scales come first, because they decide which weights are hard to quantize; then the number of channels; then their
    order.

    Args:
        steps: of a float network, as `read_plan` returns them.
        transforms: which.
        schemes: of every weight layer, by name: what its weights will be quantized to.
    """
    changed = list(steps)
    if transforms.equalize:
        changed = equalize(changed)
    if transforms.widen > 1.0:
        changed = widen(changed, schemes, transforms.widen, transforms.multiple)
    if transforms.permute:
        changed = permute(changed, schemes)
    return changed
