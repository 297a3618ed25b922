# SPDX-License-Identifier: Apache-2.0
"""Text: small matters of wording, and numbers as people write them."""

_MOST_DIGITS = 9  # more than any count of this project; Python refuses to convert thousands


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, `1 image` or `1,000 images`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def whole_number(text: str) -> int | None:
    """Return the whole number that a text is, of at most nine decimal digits; None if it is anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None
