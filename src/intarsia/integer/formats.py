"""Number formats of the integer network: what a stored value may be, and how many bits it takes."""

import math
from dataclasses import dataclass

from intarsia.errors import IntarsiaError

#: Greatest magnitude of a weight of 1 to 5 balanced-ternary digits: (3^d − 1) / 2.
DIGIT_LIMITS = {digits: (3**digits - 1) // 2 for digits in range(1, 6)}


@dataclass(frozen=True)
class ActivationFormat:
    """Integers of `bits` bits (2, 4, 8 or 16), two's complement if `signed`; one scale a tensor, no zero-point."""

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        if self.bits not in (2, 4, 8, 16):
            raise IntarsiaError(f"an activation has 2, 4, 8 or 16 bits, not {self.bits}.")

    @property
    def lo(self) -> int:
        """Least value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Greatest value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"


@dataclass(frozen=True)
class WeightFormat:
    """What a stored weight may be: `ternary`, `digits2` … `digits5` (balanced ternary) or `int2` … `int8`.

    `intN` is symmetric: −(2^(N−1) − 1) … 2^(N−1) − 1, so that a weight and its negative both exist.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in _LIMITS:
            raise IntarsiaError(f"unknown weight format {self.name!r}; known are {', '.join(_LIMITS)}.")

    @property
    def limit(self) -> int:
        """Greatest magnitude."""
        return _LIMITS[self.name]

    @property
    def digits(self) -> int:
        """Balanced-ternary digits, that is dense passes on the engine; 0 if stored in two's complement."""
        if self.name == "ternary":
            return 1
        return int(self.name.removeprefix("digits")) if self.name.startswith("digits") else 0

    def stored_bits(self, count: int) -> int:
        """Bits that `count` consecutive values take: trits go five to a byte, a rest into the fewest bits."""
        if self.digits:
            return self.digits * trit_bits(count)
        return count * int(self.name.removeprefix("int"))


_LIMITS: dict[str, int] = {"ternary": 1} | {f"digits{d}": DIGIT_LIMITS[d] for d in range(2, 6)}
_LIMITS |= {f"int{bits}": (1 << (bits - 1)) - 1 for bits in range(2, 9)}


def trit_bits(count: int) -> int:
    """Bits of `count` packed trits: five in a byte, a rest r < 5 in ⌈r·log2 3⌉ bits."""
    whole, rest = divmod(count, 5)
    return 8 * whole + (math.ceil(rest * math.log2(3)) if rest else 0)


@dataclass(frozen=True)
class Pattern:
    """Where a plane may be non-zero.

    `dense`: anywhere. `n:m`: at most n of every m consecutive input channels (of one kernel tap), for each output
    channel; with `group` > 1 the positions are shared by that many consecutive output channels. `unstructured`:
    anywhere, each non-zero stored with its own index.
    """

    kind: str = "dense"
    n: int = 0
    m: int = 0
    group: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("dense", "n:m", "unstructured"):
            raise IntarsiaError(f"unknown pattern {self.kind!r}; known are dense, n:m, unstructured.")
        if self.kind == "n:m" and not (0 < self.n <= self.m and self.group >= 1):
            raise IntarsiaError(f"pattern n:m needs 0 < n <= m and a group of at least 1, not {self}.")

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read `dense`, `unstructured`, `1:16` or `1:16/16` (positions shared by 16 output channels).

        Raises:
            IntarsiaError: the text is none of these.
        """
        if text in ("dense", "unstructured"):
            return cls(text)
        ratio, _, group = text.partition("/")
        n, _, m = ratio.partition(":")
        if not (n.isdecimal() and m.isdecimal() and (group.isdecimal() or not group)):
            raise IntarsiaError(f"cannot read pattern {text!r}; write dense, unstructured, 1:16 or 1:16/16.")
        return cls("n:m", int(n), int(m), int(group or 1))

    def __str__(self) -> str:
        if self.kind != "n:m":
            return self.kind
        return f"{self.n}:{self.m}" + (f"/{self.group}" if self.group > 1 else "")
