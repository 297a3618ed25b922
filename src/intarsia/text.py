# SPDX-License-Identifier: Apache-2.0
"""Text: small matters of wording, and numbers as people write them."""

import re
from collections.abc import Sequence

_MOST_DIGITS = 9  # more than any count of this project; Python refuses to convert thousands
# Control characters, surrogates without a partner (bytes of a file name that are not UTF-8), separators of lines and
# paragraphs, and marks that turn the direction of what follows: with them a name could write a line of its own.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, `1 image` or `1,000 images`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def whole_number(text: str) -> int | None:
    """Return the whole number that a text is, of at most nine decimal digits; None if it is anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def is_printable(text: str) -> bool:
    """Whether a text is one line that shows as it is, on any terminal and in any file."""
    return _UNPRINTABLE.search(text) is None


def escaped(text: str) -> str:
    r"""Return a text as one line that cannot steer a terminal: a line break becomes `\n`, an escape `\x1b`."""
    return _UNPRINTABLE.sub(lambda character: repr(character[0])[1:-1], text)


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of equal length as lines with right-aligned columns; the last column is left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row[:-1], widths, strict=False)) for row in rows]
    return "\n".join(f"{line}  {row[-1]}".rstrip() for line, row in zip(lines, rows, strict=True))
