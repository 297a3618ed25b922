# SPDX-License-Identifier: Apache-2.0
"""Small matters of wording."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, `1 image` or `1,000 images`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
