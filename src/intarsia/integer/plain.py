# SPDX-License-Identifier: Apache-2.0
"""Plain numbers in dataclasses, whatever their author computed them with."""

from dataclasses import fields
from typing import Any

import numpy as np


class PlainNumbers:
    """A dataclass whose NumPy scalars, in tuples too, become Python's numbers.

    NumPy's wrap around: −(−128) in 8 bits is −128, and a bound computed with it would let sums overflow. Arrays stay.
    """

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if (plain := _plain(value)) is not value:
                object.__setattr__(self, field.name, plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple) and any(isinstance(each, np.generic) for each in value):
        return tuple(map(_plain, value))
    return value
