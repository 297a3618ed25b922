# SPDX-License-Identifier: Apache-2.0
"""Strict reading of a JSON header: every field has one type and one range, and none is left over."""

import sys
from typing import Any, NoReturn

from intarsia.text import escaped

_LARGEST_REAL = sys.float_info.max


class HeaderError(Exception):
    """A field is missing, unknown, or not what it must be; the message is a clause that names the field."""


class Fields:
    """The fields of one JSON object, taken one by one; `where` is the object's own path for messages."""

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, dict):
            raise HeaderError(f"field {where} must be an object")
        self._left: dict[str, Any] = dict(content)
        self.where = where

    def finish(self) -> None:
        """Refuse fields that nobody took."""
        if self._left:
            raise HeaderError(f"field {self.where}.{escaped(min(self._left))} is unknown")

    def has(self, key: str) -> bool:
        """Whether the object has a field that nobody took yet."""
        return key in self._left

    def integer(self, key: str, lo: int, hi: int | None = None) -> int:
        """Take an integer of lo … hi."""
        return self._integer(key, self._take(key), lo, hi)

    def integers(self, key: str, count: int, lo: int, hi: int) -> list[int]:
        """Take a list of `count` integers of lo … hi."""
        return [self._integer(key, value, lo, hi) for value in self._list(key, count)]

    def positive(self, key: str) -> float:
        """Take a finite number above 0."""
        value = self._take(key)
        # An integer of hundreds of digits is a number, but does not fit a float.
        if type(value) not in (int, float) or not 0 < value <= _LARGEST_REAL:
            self._refuse(key, "a finite number above 0")
        return float(value)

    def boolean(self, key: str) -> bool:
        """Take true or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            self._refuse(key, "true or false")
        return value

    def text(self, key: str) -> str:
        """Take a string."""
        return self._text(key, self._take(key))

    def text_list(self, key: str, count: int) -> list[str]:
        """Take a list of `count` strings."""
        return [self._text(key, value) for value in self._list(key, count)]

    def texts(self, key: str) -> dict[str, str]:
        """Take an object whose values are strings."""
        member = self.member(key)
        return {name: member.text(name) for name in list(member._left)}

    def member(self, key: str) -> "Fields":
        """Take an object."""
        return Fields(self._take(key), f"{self.where}.{key}")

    def members(self, key: str) -> list["Fields"]:
        """Take a list of objects."""
        return [Fields(value, f"{self.where}.{key}[{i}]") for i, value in enumerate(self._list(key, None))]

    def _take(self, key: str) -> Any:
        if key not in self._left:
            raise HeaderError(f"field {self.where}.{key} is missing")
        return self._left.pop(key)

    def _list(self, key: str, count: int | None) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list) or count not in (None, len(value)):
            self._refuse(key, "a list" if count is None else f"a list of {count}")
        return value

    def _integer(self, key: str, value: object, lo: int, hi: int | None) -> int:
        if type(value) is not int or value < lo or (hi is not None and value > hi):
            self._refuse(key, f"an integer of {lo} … {hi}" if hi is not None else f"an integer of at least {lo}")
        return value

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str):
            self._refuse(key, "a text")
        return value

    def _refuse(self, key: str, expected: str) -> NoReturn:
        raise HeaderError(f"field {self.where}.{key} must be {expected}")
