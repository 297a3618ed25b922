# SPDX-License-Identifier: Apache-2.0
"""The meaning of a scheme's name for a network, and the number of slots that the engine needs."""

import math

from intarsia.engine.config import MOST_SLOTS
from intarsia.integer.formats import Pattern
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.scheme_text import read_scheme, write_scheme

#: Kinds of schemes that a run knows by name; `layerwise` has one format per layer, searched.
SUPERPOSITION, TERNARY, INT8, LAYERWISE = "superposition", "ternary", "int8", "layerwise"

#: Patterns whose positions the engine's slots hold.
SLOT_PATTERNS = ("n:m", "fixed")

_LONGEST_GROUP = 1 << 16  # of channels; more than any layer of the engine has


def scheme_text(own: str, kind: str) -> str:
    """Return the planes that a user's name for a scheme means for a network.

    Args:
        own: what `superposition` means for it.
        kind: `superposition`, perhaps with rules, or the name or text of another scheme.
    """
    default, rules = read_scheme(own)
    first, added = read_scheme(kind)
    if first == SUPERPOSITION:
        return write_scheme(default, (*rules, *added))
    if kind == TERNARY:
        # Rules for all networks of this kind; those for named layers are the superposition's.
        return write_scheme(TERNARY, tuple(rule for rule in rules if rule.layer is None))
    return kind


def slots_for(scheme: Scheme, lanes: int) -> int:
    """Return how many slots an engine needs for the sparse weights of a scheme in every block of a lane, from 1 to the
    most that there can be; the fit refuses schemes that need more or that slots cannot hold.
    """
    planes = (scheme.default, scheme.first, scheme.last, scheme.depthwise, *scheme.layers.values())
    patterns = [layer.pattern for layer in planes if layer is not None and layer.sparse is not None]
    held = [most_in_block(pattern, lanes) for pattern in patterns if pattern.kind in SLOT_PATTERNS]
    return min(max(held, default=1), MOST_SLOTS)


def most_in_block(pattern: Pattern, lanes: int) -> int:
    """Return how many weights of a pattern `n:m` or `fixed` lie at most in a block of `lanes` inputs, all that begin at
    multiples of `lanes`.
    """
    n, m = pattern.n, pattern.m
    if m > _LONGEST_GROUP:
        return min(n, lanes)  # one group holds all channels
    firsts = range(0, math.lcm(m, lanes), lanes)
    if pattern.kind == "fixed":
        return max(sum(channel % m < n for channel in range(first, first + lanes)) for first in firsts)
    return max(
        sum(min(n, first + lanes - start, start + m - first) for start in range(first - first % m, first + lanes, m))
        for first in firsts
    )
