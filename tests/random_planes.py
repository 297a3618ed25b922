# SPDX-License-Identifier: Apache-2.0
"""Seeded random planes: weights at their limits or not, in every pattern, alone or as a mix."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from intarsia.integer import Pattern, Plane, WeightFormat
from intarsia.integer.formats import UNIT_KINDS
from intarsia.integer.units import fixed_channels, unit_numbers

UNIT_PATTERNS = [Pattern.parse(text) for text in ("inputs", "outputs", "blocks2", "blocks5", "taps")]

T = TypeVar("T")


def random_plane(
    rng: Generator,
    shape: tuple[int, ...],
    form: str,
    pattern: Pattern,
    *,
    shift: int = 0,
    extreme: bool = False,
) -> Plane:
    """Return a plane in the format of a name; `extreme` puts weights at their limits."""
    limit = WeightFormat(form).limit
    weights = ends(rng, -limit, limit, shape) if extreme else rng.integers(-limit, limit, shape, endpoint=True)
    if extreme and rng.integers(2):  # all of one sign: the accumulators reach their bounds
        weights = weights * 0 + ends(rng, -limit, limit, (shape[0],) + (1,) * (len(shape) - 1))
    if not WeightFormat(form).has_zero:
        weights = ends(rng, -1, 1, shape)
    weights = weights * _support(rng, shape, pattern)
    return Plane(weights.astype(np.int8 if limit < 128 else np.int16), WeightFormat(form), pattern, shift)


def mixed_planes(rng: Generator, shape: tuple[int, ...], *, extreme: bool = False) -> list[Plane]:
    """Return planes that share out whole channels, blocks or taps, the last of them as the rest."""
    pattern = pick(rng, UNIT_PATTERNS)
    names = rng.choice(("int8", "int4", "ternary", "digits2"), int(rng.integers(1, 3)), replace=False).tolist()
    names.append(str(rng.choice(("binary", "int2", "ternary"))))
    units = unit_numbers(shape, pattern)
    owner = rng.integers(0, len(names), int(units.max()) + 1)[units]
    planes = [
        random_plane(
            rng, shape, name, Pattern(), shift=0 if name == "binary" else int(rng.integers(8)), extreme=extreme
        )
        for name in names
    ]
    return [
        replace(plane, weights=plane.weights * (owner == number), pattern=replace(pattern, rest=plane is planes[-1]))
        for number, plane in enumerate(planes)
    ]


def mixed_rows(rng: Generator, shape: tuple[int, ...], *, extreme: bool = False) -> list[Plane]:
    """Return planes that share out the output channels: mostly few are wide, now and then all have one format; or one
    that covers all channels with a few wide ones over it.
    """
    wide, middle, narrow = (pick(rng, names) for names in (("int8", "int5"), ("int4", "int3"), ("int2", "ternary")))
    if rng.random() < 0.2:
        return [random_plane(rng, shape, pick(rng, (wide, middle, narrow, "binary")), Pattern(), extreme=extreme)]
    owner = rng.choice(3, shape[0], p=pick(rng, ((0.06, 0.06, 0.88), (0.1, 0.3, 0.6), (0.12, 0, 0.88))))
    tie = int(rng.integers(3))
    if rng.random() < 0.3:
        dense = random_plane(rng, shape, narrow, Pattern(), shift=tie, extreme=extreme)
        names = (middle,)
    else:
        dense, names = random_plane(rng, shape, narrow, Pattern("outputs", rest=True), shift=tie), (wide, middle)
        dense = replace(dense, weights=dense.weights * (owner == 2).reshape(-1, 1, 1, 1))
    planes = [random_plane(rng, shape, name, Pattern(), extreme=extreme) for name in names]
    planes = [
        replace(plane, weights=plane.weights * (owner == number).reshape(-1, 1, 1, 1), pattern=Pattern("outputs"))
        for number, plane in enumerate(planes)
    ]
    return [*planes, dense]


def _support(rng: Generator, shape: tuple[int, ...], pattern: Pattern) -> NDArray[np.bool_]:
    if pattern.kind == "dense":
        return np.ones(shape, bool)
    if pattern.kind == "unstructured":
        return rng.random(shape) < 1 / 16
    if pattern.kind == "fixed":
        return np.broadcast_to(fixed_channels(shape[1], pattern).reshape(1, -1, 1, 1), shape)
    if pattern.kind in UNIT_KINDS:
        units = unit_numbers(shape, pattern)
        return (rng.random(int(units.max()) + 1) < 1 / 4)[units]
    outputs, inputs = shape[:2]
    groups, blocks = -(-outputs // pattern.group), -(-inputs // pattern.m)
    order = rng.random((groups, blocks, pattern.m, *shape[2:])).argsort(axis=2)
    support = (order < pattern.n).reshape(groups, blocks * pattern.m, *shape[2:])[:, :inputs]
    return np.repeat(support, pattern.group, axis=0)[:outputs]


def multipliers(rng: Generator, count: int, scale_bits: int, extreme: bool) -> NDArray[np.integer]:
    top = (1 << scale_bits) - 1
    values = rng.integers((top + 1) // 4, top, count, endpoint=True)
    edge = rng.random(count) < (0.5 if extreme else 0.03)
    return np.where(edge, ends(rng, 0, top, (count,)), values)


def ends(rng: Generator, lo: int, hi: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.where(rng.integers(0, 2, shape) == 0, lo, hi)


def pick(rng: Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
