# SPDX-License-Identifier: Apache-2.0
"""The ternary form: lists of taps to add or subtract, and of taps and weights of sparse planes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from intarsia.integer.layers import Conv2d, Ints, Plane, Tensor, WeightLayer
from intarsia.system.software.direct import accumulator, finish
from intarsia.system.software.geometry import Window, convolution, flat_matrix
from intarsia.system.software.packed import FINISHING, LANE, LARGEST_PATCH, PACKING, PIXEL, UNPACKING
from intarsia.system.software.pieces import Constant, Kernel, Lowered, Scratch, Use, storage_type
from intarsia.system.software.ranges import Range, rounded_bias, sum_magnitude

#: Digits of a plane that are worth a list each; wider weights are multiplied.
_MOST_DIGITS = 2
_MOST_WORDS = 8
_LARGEST_CODE = (1 << 16) - 1
#: Instructions for a listed tap besides its words, and to begin a list.
_TAP, _LIST = 3.5, 10.0


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a layer's matrix, (O, taps): it counts `scale`-fold; all weights are −1, 0 or 1 if `ternary`."""

    matrix: NDArray[np.int64]
    scale: int
    ternary: bool


@dataclass(frozen=True)
class _Stream:
    """Numbers for the kernel.

    Attributes:
        numbers: with taps as their numbers; `places` are where these stand.
        places: indices of taps in `numbers`.
        added: taps that are added.
        multiplied: taps that are multiplied.
        lists: how many lists there are.
        read: how often the words of an output channel are brought from lanes to sums.
    """

    numbers: list[int]
    places: list[int]
    added: int
    multiplied: int
    lists: int
    read: int


def lower_ternary(layer: WeightLayer, inputs: list[Tensor], ranges: list[Range]) -> Lowered | None:
    """Return a weight layer as a call of the ternary kernel; None if it does not take the layer."""
    if inputs[0].format.bits > 8 or (isinstance(layer, Conv2d) and layer.depthwise):
        return None
    window, _ = convolution(layer, inputs[0])
    parts = [part for plane in layer.planes for part in _parts(_alone(layer, plane), inputs[0], plane)]
    if not any(part.ternary for part in parts) or window.pixels < 2:
        return None
    parts = _merged(parts)
    whole = np.asarray(sum(part.matrix * part.scale for part in parts))
    reach = sum_magnitude(whole, ranges[0])
    stream = _stream(parts, window.taps, ranges[0])
    if stream is None or accumulator(reach) != "int32_t":
        return None
    options = list(_costs(window, stream))
    if not options:
        return None
    cost, words = min(options)
    ending, arguments = finish(layer, inputs, ranges, reach, rounded_bias(layer.requantization))
    source = storage_type(inputs[0].format)
    numbers = np.array(stream.numbers, np.int64)
    numbers[stream.places] *= 4 * words
    return Lowered(
        Kernel("ternary", (("X", source), ("WORDS", str(words)), *ending)),
        (
            window.table(),
            Use(inputs[0].name, source),
            Constant("code", "uint16_t", numbers & _LARGEST_CODE),
            Scratch("uint32_t", (window.taps + 1) * words),
            *arguments,
        ),
        cost,
    )


def _alone(layer: WeightLayer, plane: Plane) -> WeightLayer:
    """Return a layer with one of its planes only, not shifted."""
    return replace(layer, planes=(replace(plane, shift=0),))


def _parts(alone: WeightLayer, source: Tensor, plane: Plane) -> Iterator[_Part]:
    """Yield the parts of one plane: its balanced-ternary digits if they are few, else all of it."""
    flat = flat_matrix(convolution(alone, source)[1])
    digits = next((d for d in range(1, _MOST_DIGITS + 1) if np.abs(flat).max() <= (3**d - 1) // 2), 0)
    sparse = plane.pattern.kind != "dense"
    if not digits or (sparse and digits > 1):
        yield _Part(flat << plane.shift, 1, ternary=False)
        return
    rest = flat
    for digit in range(digits):
        trits = (rest + 1) % 3 - 1
        yield _Part(trits, 3**digit << plane.shift, ternary=True)
        rest = (rest - trits) // 3


def _merged(parts: Sequence[_Part]) -> list[_Part]:
    """Return the parts with all that are not ternary as one."""
    others = [part.matrix for part in parts if not part.ternary]
    merged = [_Part(np.asarray(sum(others)), 1, ternary=False)] if others else []
    return [*(part for part in parts if part.ternary), *merged]


def _stream(parts: Sequence[_Part], taps: int, source: Range) -> _Stream | None:
    """Return the numbers for the kernel; None if a weight alone could leave a lane or its type."""
    stream = _Stream([], [], 0, 0, 0, 0)
    outputs = len(parts[0].matrix)
    for first in range(0, outputs, 2):
        segments, others = [], []
        for part in parts:
            rows = part.matrix[first : first + 2]
            if part.ternary:
                both = np.concatenate([rows, np.zeros((2 - len(rows), taps), np.int64)])
                segments += [(part.scale, both, *cut) for cut in _cuts(both, source)]
                continue
            for channel, row in enumerate(rows):
                cuts = _cuts(row[None], source)
                if not cuts:
                    return None
                others += [(channel, row, *cut) for cut in cuts if row[slice(*cut)].any()]
        if max(len(segments), len(others)) > _LARGEST_CODE:
            return None
        stream.numbers.extend((len(segments), len(others)))
        for scale, both, start, stop in segments:
            stream = _ternary(stream, scale, both[:, start:stop], start, taps)
        for channel, row, start, stop in others:
            stream = _other(stream, channel, row[start:stop], start)
    return stream


def _cuts(rows: Ints, source: Range) -> list[tuple[int, int]]:
    """Return the longest runs of taps over which no sum of any row leaves a lane; none if a weight does so alone."""
    positive, negative = np.maximum(rows, 0), np.minimum(rows, 0)
    greatest = (positive * source.hi + negative * source.lo).cumsum(axis=1)
    least = (positive * source.lo + negative * source.hi).cumsum(axis=1)
    cuts, start, taps = [], 0, rows.shape[1]
    while start < taps:
        above = greatest - (greatest[:, start - 1 : start] if start else 0)
        below = least - (least[:, start - 1 : start] if start else 0)
        outside = ((above > LANE.hi) | (below < LANE.lo)).any(axis=0)
        outside[:start] = False
        stop = int(outside.argmax()) if outside.any() else taps
        if stop == start:
            return []
        cuts.append((start, stop))
        start = stop
    return cuts


def _ternary(stream: _Stream, scale: int, both: Ints, start: int, zero: int) -> _Stream:
    """Append a segment of two rows of trits."""
    one, other = both
    kinds = ((one == other) & (one != 0), (one == -other) & (one != 0), (one != 0) & (other == 0), one == 0)
    stream.numbers.append(scale)
    count = 0
    for number, kind in enumerate(kinds):
        signs = other if number == 3 else one
        for sign in (1, -1):
            taps = (np.flatnonzero(kind & (signs == sign)) + start).tolist()
            taps += [zero] * (len(taps) % 2)
            stream.numbers.append(len(taps) // 2)
            stream.places.extend(range(len(stream.numbers), len(stream.numbers) + len(taps)))
            stream.numbers.extend(taps)
            count += len(taps)
    return replace(stream, added=stream.added + count, lists=stream.lists + 8, read=stream.read + 2)


def _other(stream: _Stream, channel: int, row: Ints, start: int) -> _Stream:
    """Append a segment of the weights of one row."""
    taps = np.flatnonzero(row).tolist()
    stream.numbers.extend((channel, len(taps)))
    for tap in taps:
        stream.places.append(len(stream.numbers))
        stream.numbers.extend((tap + start, int(row[tap])))
    return replace(stream, multiplied=stream.multiplied + len(taps), lists=stream.lists + 1, read=stream.read + 1)


def _costs(window: Window, stream: _Stream) -> Iterator[tuple[float, int]]:
    """Return for every number of words at a time the estimated instructions, and the number."""
    for words in range(1, _MOST_WORDS + 1):
        if window.taps * words * 4 > _LARGEST_CODE or (words > 1 and window.taps * words * 4 > LARGEST_PATCH):
            continue
        blocks = -(-window.pixels // (2 * words))
        lists = stream.added * (_TAP + 2 * words) + stream.multiplied * (_TAP + 3 + 3 * words) + stream.lists * _LIST
        sums = 2 * words * (stream.read * (UNPACKING + 1) + window.outputs * FINISHING)
        yield blocks * (lists + sums + 2 * words * (window.taps * PACKING + PIXEL)), words
