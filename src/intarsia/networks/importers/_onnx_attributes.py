# SPDX-License-Identifier: Apache-2.0
"""The attributes of ONNX operators."""

from collections.abc import Sequence
from typing import Any

from intarsia.networks.importers._graph import Four, Pair
from intarsia.networks.importers._layout import same_padding


class Unsupported(Exception):  # noqa: N818 (a clause that the caller makes a sentence of)
    """Says what an operator asks for in vain."""


class Attributes:
    """The attributes of one node, each read with its type.

    Raises (in all methods):
        Unsupported: an attribute has another type.
    """

    def __init__(self, node: Any) -> None:
        self._by_name = {attribute.name: attribute for attribute in node.attribute}

    def integer(self, name: str, default: int) -> int:
        """Return an integer."""
        found = self._typed(name, 2)
        return default if found is None else int(found.i)

    def real(self, name: str, default: float) -> float:
        """Return a number."""
        found = self._typed(name, 1)
        return default if found is None else float(found.f)

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        found = self._typed(name, 3)
        return default if found is None else found.s.decode(errors="replace")

    def integers(self, name: str, default: Sequence[int] | None) -> tuple[int, ...] | None:
        """Return a list of integers."""
        found = self._typed(name, 7)
        if found is None:
            return None if default is None else tuple(default)
        return tuple(int(value) for value in found.ints)

    def tensor(self, name: str) -> Any:
        """Return a stored tensor, None without one."""
        found = self._typed(name, 4)
        return None if found is None else found.t

    def _typed(self, name: str, kind: int) -> Any:
        found = self._by_name.get(name)
        if found is not None and found.type != kind:
            raise Unsupported(f"has the attribute {name} of another type than it must have")
        return found


def permutation(node: Any) -> tuple[int, ...]:
    """Return the order of axes that a Transpose makes, empty if it does not say."""
    return Attributes(node).integers("perm", None) or ()


def numbers(attributes: Attributes, name: str, count: int) -> tuple[int, ...]:
    """Return an attribute of `count` integers, by default 1."""
    values = attributes.integers(name, (1,) * count)
    if values is None or len(values) != count:
        raise Unsupported(f"has the attribute {name} = {values} instead of {count} integers")
    return values


def padding(attributes: Attributes, size: Pair, kernel: Pair, stride: Pair, axes: int = 2) -> Four:
    """Return a window's padding, (top, left, bottom, right); of a window with one axis, left and right."""
    mode = attributes.text("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = attributes.integers("pads", (0,) * (2 * axes))
        if pads is None or len(pads) != 2 * axes:
            raise Unsupported(f"has the attribute pads = {pads} instead of {2 * axes} integers")
        return (pads[0], pads[1], pads[2], pads[3]) if axes == 2 else (0, pads[0], 0, pads[1])
    if mode == "VALID" or min(*kernel, *stride) < 1:
        return (0, 0, 0, 0)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"has the attribute auto_pad = {mode!r}")
    return same_padding(size, kernel, stride, upper=mode == "SAME_UPPER")
