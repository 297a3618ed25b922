# SPDX-License-Identifier: Apache-2.0
"""What an import may unpack: so much that every real file passes, and so little that no file fills the memory."""

#: Any file may unpack to so many bytes, and each of its bytes to so many more. A weight of one byte becomes
#: `PER_WEIGHT`; quantizers in a row keep some of these.
_ALWAYS = 64 << 20
_PER_BYTE = 64

#: Bytes of a weight in memory: a real value, an integer and its step.
PER_WEIGHT = 20


class Budget:
    """Counts what was made of one file. Files name the same bytes again and again, or compute constants of others.

    Args:
        size: of the file in bytes, with the data beside it.
    """

    def __init__(self, size: int) -> None:
        self.limit = _ALWAYS + _PER_BYTE * size
        self._left = self.limit

    def allows(self, amount: int) -> bool:
        """Take so many bytes off what is left; whether there were as many."""
        self._left -= max(amount, 0)
        return self._left >= 0

    @property
    def reason(self) -> str:
        """A clause about what the file does, where this does not allow it."""
        return f"unpacks to more than {self.limit >> 20:,} MiB, which its size does not justify"
