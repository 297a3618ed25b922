# SPDX-License-Identifier: Apache-2.0
"""Boolean expressions of Liberty (`function`, `when`) as truth tables."""

import re
from collections.abc import Mapping, Sequence

_TOKEN = re.compile(r"\s*([A-Za-z_]\w*|[01]|[!'()*&+|^]|\S)")


def truth_table(expression: str, inputs: Sequence[str]) -> int:
    """Return the truth table of an expression: bit i is its value where bit k of i is the value of `inputs[k]`.

    Operators, the tightest first, as Liberty has it: `!` before and `'` after an operand; `^`; `*`, `&` or nothing
    (and); `+`, `|` (or).

    Raises:
        ValueError: it is not such an expression, or names another pin.
    """
    size = 1 << len(inputs)
    columns = {name: sum(1 << i for i in range(size) if i >> bit & 1) for bit, name in enumerate(inputs)}
    parser = _Parser(expression, columns, (1 << size) - 1)
    return parser.whole()


class _Parser:
    def __init__(self, expression: str, columns: Mapping[str, int], ones: int) -> None:
        self._text, self._columns, self._ones = expression, columns, ones
        self._tokens = _TOKEN.findall(expression)
        self._at = 0

    def whole(self) -> int:
        value = self._either()
        if self._next():
            raise self._error()
        return value

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _taken(self, *tokens: str) -> bool:
        found = self._next() in tokens and bool(self._next())
        self._at += found
        return found

    def _error(self) -> ValueError:
        return ValueError(f"{self._text[:60]!r} is not a Boolean expression of the cell's pins")

    def _either(self) -> int:
        value = self._both()
        while self._taken("+", "|"):
            value |= self._both()
        return value

    def _both(self) -> int:
        value = self._differs()
        while self._taken("*", "&") or self._next() in ("!", "(") or self._next().isidentifier():
            value &= self._differs()
        return value

    def _differs(self) -> int:
        value = self._operand()
        while self._taken("^"):
            value ^= self._operand()
        return value

    def _operand(self) -> int:
        if self._taken("!"):
            return self._ones ^ self._operand()
        if self._taken("("):
            value = self._either()
            if not self._taken(")"):
                raise self._error()
        else:
            value = self._leaf()
        while self._taken("'"):
            value ^= self._ones
        return value

    def _leaf(self) -> int:
        token = self._next()
        self._at += 1
        if token in ("0", "1"):
            return self._ones * int(token)
        if token not in self._columns:
            raise self._error()
        return self._columns[token]
