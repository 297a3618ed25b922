# SPDX-License-Identifier: Apache-2.0
"""Units: what a pattern takes or leaves as a whole: single weights, channels, blocks or kernel taps.

They are numbered here, once, for whoever chooses positions, checks a frozen plane or counts what it stores.
"""

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.formats import UNIT_KINDS, Pattern


def unit_numbers(shape: tuple[int, ...], pattern: Pattern, *, depthwise: bool = False) -> NDArray[np.int64]:
    """Return for every weight the number, from 0, of the unit that it belongs to: a channel, block, tap or itself.

    Args:
        shape: (O, I, KH, KW), I = 1 if depthwise.
        pattern: `unstructured`, `inputs`, `outputs`, `blocks` or `taps`.
        depthwise: whether input channels are output channels.

    Returns:
        An array of `shape`; every unit has at least one weight.

    Raises:
        ValueError: the pattern has no units.
    """
    outputs, inputs = shape[:2]
    rows, columns, taps = np.ix_(np.arange(outputs), np.arange(inputs), np.arange(int(np.prod(shape[2:]))))
    if pattern.kind == "unstructured":
        numbers = (rows * inputs + columns) * taps.size + taps
    elif pattern.kind == "outputs" or (pattern.kind == "inputs" and depthwise):
        numbers = rows
    elif pattern.kind == "inputs":
        numbers = columns
    elif pattern.kind == "taps":
        numbers = taps
    elif pattern.kind == "blocks":
        high, wide = block_size(shape, pattern)
        numbers = (taps * -(-outputs // high) + rows // high) * -(-inputs // wide) + columns // wide
    else:
        raise ValueError(f"pattern {pattern} has no units")
    return np.broadcast_to(numbers, (outputs, inputs, taps.size)).reshape(shape).astype(np.int64)


def block_size(shape: tuple[int, ...], pattern: Pattern) -> tuple[int, int]:
    """Return output and input channels of a block, which is no larger than the layer."""
    return min(pattern.edge, shape[0]), min(pattern.edge, shape[1])


def taken_units(weights: NDArray[np.integer], units: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for every unit of `unit_numbers` whether any weight (same shape) of it is not zero."""
    taken = np.zeros(int(units.max(initial=-1)) + 1, bool)
    taken[units[weights != 0]] = True
    return taken


def fixed_channels(inputs: int, pattern: Pattern) -> NDArray[np.bool_]:
    """Return which of `inputs` input channels a `fixed` pattern covers, (I,)."""
    # A longer period covers the same channels.
    return np.arange(inputs) % min(pattern.m, inputs) < min(pattern.n, inputs)


def support(weights: NDArray[np.integer], pattern: Pattern, *, depthwise: bool = False) -> NDArray[np.bool_]:
    """Return where a frozen plane has a value, same shape: zeros too, if a unit that is taken has another weight."""
    if pattern.kind == "dense":
        return np.ones(weights.shape, bool)
    if pattern.kind == "fixed":
        covered = fixed_channels(weights.shape[1], pattern).reshape(1, -1, 1, 1)
        return np.broadcast_to(covered, weights.shape)
    if pattern.kind in UNIT_KINDS:
        units = unit_numbers(weights.shape, pattern, depthwise=depthwise)
        return taken_units(weights, units)[units]
    return np.asarray(weights != 0)
