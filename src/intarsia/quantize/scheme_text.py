# SPDX-License-Identifier: Apache-2.0
"""The text of a scheme, taken apart and put together: `DEFAULT, PLACE=PLANES, PLACE=PLANES, …`.

A place is one of `WORDS`, or the name of a layer. Names that the language could mistake for something else stand in
double quotes, with the escapes of a JSON string: `"first"=int4` is of the layer called so, `first=int4` of the first
layer, whatever it is called.
"""

import json
import re
from dataclasses import dataclass

from intarsia.errors import IntarsiaError

#: Places that are not layers' names.
WORDS = ("first", "last", "depthwise", "scales")

_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
_BARE = re.compile(r'[^\s",=|\\]+')


@dataclass(frozen=True)
class Rule:
    """What a scheme says of one place.

    Attributes:
        layer: a layer's name, or None where `word` is given.
        word: of `WORDS`, or empty.
        what: the planes, `default`, or a number of bits.
    """

    layer: str | None
    word: str
    what: str

    def __str__(self) -> str:
        return f"{self.word if self.layer is None else place_of(self.layer)}={self.what}"


def place_of(layer: str) -> str:
    """Return a layer's name as a scheme writes it: in quotes where it needs them."""
    plain = _BARE.fullmatch(layer) and layer not in WORDS
    return layer if plain else json.dumps(layer, ensure_ascii=False)


def read_scheme(text: str) -> tuple[str, tuple[Rule, ...]]:
    """Return the default planes of a scheme and its rules, in order; runs of spaces count as one.

    Raises:
        IntarsiaError: a rule is not PLACE=PLANES, or a quote is not closed.
    """
    default, *rules = split(text, ",")
    return _spaced(default), tuple(_rule(rule) for rule in rules)


def write_scheme(default: str, rules: tuple[Rule, ...]) -> str:
    """Return the text that `read_scheme` takes apart into these."""
    return ", ".join([default, *map(str, rules)])


def normalized(text: str) -> str:
    """Return the text of a scheme with the spaces and quotes that `write_scheme` writes, so that equal schemes are
    equal texts.

    Raises:
        IntarsiaError: as for `read_scheme`.
    """
    return write_scheme(*read_scheme(text))


def split(text: str, separator: str) -> list[str]:
    """Return the parts of a text between separators (one character) that stand outside quotes."""
    parts = [""]
    for piece in _PIECES.findall(text):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _rule(text: str) -> Rule:
    place, *rest = (part.strip() for part in split(text, "="))
    what = _spaced("=".join(rest))
    if not (place and what):
        raise IntarsiaError(f"cannot read the rule {text.strip()!r} of a scheme; write for example last=digits4.")
    if not place.startswith('"'):
        if '"' in place:
            raise IntarsiaError(f"cannot read the layer {place!r} of a scheme; put its whole name into double quotes.")
        return Rule(None, place, what) if place in WORDS else Rule(_spaced(place), "", what)
    try:
        return Rule(str(json.loads(place, strict=False)), "", what)
    except ValueError:
        raise IntarsiaError(
            f'cannot read the layer {place} of a scheme; a name in double quotes ends with one, and has \\" and \\\\ '
            'for " and \\ inside.'
        ) from None


def _spaced(text: str) -> str:
    return " ".join(text.split())
