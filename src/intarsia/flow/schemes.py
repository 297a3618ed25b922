# SPDX-License-Identifier: Apache-2.0
"""The meaning of a scheme's name for a network, and the number of slots that the engine needs."""

from intarsia.quantize.scheme_text import read_scheme, write_scheme

#: Kinds of schemes that a run knows by name; `layerwise` has one format per layer, searched.
SUPERPOSITION, TERNARY, INT8, LAYERWISE = "superposition", "ternary", "int8", "layerwise"


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
