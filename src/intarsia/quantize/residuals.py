# SPDX-License-Identifier: Apache-2.0
"""Additions become residual inputs of the weight layers before them, whose results are then rounded once, not twice."""

from collections.abc import Sequence
from dataclasses import replace

from intarsia.quantize.step import Step


def fuse_residuals(steps: Sequence[Step]) -> list[Step]:
    """Return steps of the same function in which weight layers add what they can.

    An addition goes into the later of the two layers whose results it adds, if that is a weight layer that nothing else
    reads and that does not clip; the layer keeps its name. Other additions stay.

    Args:
        steps: in order, as `read_plan` returns them.
    """
    fused: dict[str, Step] = {}
    renamed: dict[str, str] = {}
    for original in steps:
        inputs = tuple(renamed.get(name, name) for name in original.inputs)
        step = replace(original, inputs=inputs)
        layer = _last_before(step, fused) if step.kind == "add" else None
        if layer is None or not _can_add(layer, steps, renamed):
            fused[step.name] = step
            continue
        other = inputs[0] if inputs[1] == layer.name else inputs[1]
        fused[layer.name] = replace(layer, inputs=(*layer.inputs, other), floor=step.floor, ceiling=step.ceiling)
        renamed[step.name] = layer.name
    return list(fused.values())


def _last_before(addition: Step, steps: dict[str, Step]) -> Step | None:
    """Return the last of the steps that an addition reads, None if it reads only one."""
    sources = [step for step in steps.values() if step.name in addition.inputs]
    return sources[-1] if len(set(addition.inputs)) == 2 and sources else None


def _can_add(layer: Step, steps: Sequence[Step], renamed: dict[str, str]) -> bool:
    readers = [step for step in steps if layer.name in (renamed.get(name, name) for name in step.inputs)]
    return layer.module is not None and len(layer.inputs) == 1 and not layer.clipped and len(readers) == 1
