# SPDX-License-Identifier: Apache-2.0
"""Formats and patterns of the integer network: what a stored value may be, its bits, and where planes have any."""

import math
from dataclasses import dataclass, replace

from intarsia.errors import IntarsiaError
from intarsia.integer.plain import PlainNumbers
from intarsia.text import whole_number

#: Kinds of a pattern that takes some units whole, any of them.
UNIT_KINDS = ("inputs", "outputs", "blocks", "taps")
_KINDS = ("dense", "unstructured", "n:m", "fixed", *UNIT_KINDS)
_EXAMPLES = "dense, unstructured, 1:16, 1:16/16, fixed1:16, inputs, outputs, blocks4 or taps"
_REST = "rest-"

#: Greatest magnitude of a weight of 1 to 5 balanced-ternary digits: (3^d − 1) / 2.
DIGIT_LIMITS = {digits: (3**digits - 1) // 2 for digits in range(1, 6)}


#: Greatest binary shift of a plane.
MOST_TIE = 7


@dataclass(frozen=True)
class ActivationFormat(PlainNumbers):
    """Integers of `bits` bits (2, 4, 8 or 16), two's complement if `signed`; one scale per tensor, no zero-point."""

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        super().__post_init__()
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
    """What a stored weight may be: `binary`, `ternary`, `digits2` … `digits5` (balanced ternary), `int2` … `int8` or
    `int16`.

    `binary` is −1 or 1, never 0. `intN` is symmetric: −(2^(N−1) − 1) … 2^(N−1) − 1, so that a weight and its negative
    both exist.
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
    def has_zero(self) -> bool:
        """Whether a stored weight may be 0."""
        return self.name != "binary"

    @property
    def digits(self) -> int:
        """Balanced-ternary digits, that is dense passes on the engine; 0 if stored in bits."""
        if self.name == "ternary":
            return 1
        return int(self.name.removeprefix("digits")) if self.name.startswith("digits") else 0

    def stored_bits(self, count: int) -> int:
        """Bits that `count` consecutive values take: trits go five to a byte, a rest into the fewest bits."""
        if self.digits:
            return self.digits * trit_bits(count)
        if self.name == "binary":
            return count
        return count * int(self.name.removeprefix("int"))


def greatest_tie(sparse: WeightFormat) -> int:
    """Return the greatest binary shift of a dense plane that is worth having beside a sparse plane of a format: there,
    the sparse plane's greatest value is one dense step.
    """
    return min(MOST_TIE, int(math.log2(sparse.limit)))


_LIMITS: dict[str, int] = {"binary": 1, "ternary": 1} | {f"digits{d}": DIGIT_LIMITS[d] for d in range(2, 6)}
_LIMITS |= {f"int{bits}": (1 << (bits - 1)) - 1 for bits in (*range(2, 9), 16)}


def trit_bits(count: int) -> int:
    """Bits of `count` packed trits: five in a byte, a rest r < 5 in ⌈r·log2 3⌉ bits."""
    whole, rest = divmod(count, 5)
    return 8 * whole + (math.ceil(rest * math.log2(3)) if rest else 0)


@dataclass(frozen=True)
class Pattern(PlainNumbers):
    """Where a plane may be non-zero.

    `dense`: anywhere. `unstructured`: anywhere, each non-zero stored with its own index. `n:m`: at most n of every m
    consecutive input channels (of one kernel tap), for each output channel; with `group` > 1 the positions are shared
    by that many consecutive output channels. `fixed`: the first n of every m consecutive input channels, so that no
    index is stored. `inputs`, `outputs`: whole input or output channels. `blocks`: whole blocks of `edge` output
    channels × `edge` input channels of one tap. `taps`: kernel taps, the same for all channels.

    In a depthwise layer, whose filters have one input each, `inputs` are its channels and so equal to `outputs`, a
    block is `edge` channels of one tap, and `n:m` and `fixed` leave nothing out. A linear layer is a convolution whose
    kernel covers its input: the taps are the pixels of what is flattened, one where it is flat.

    With `rest`, of `inputs`, `outputs`, `blocks` or `taps`: all the units that no plane before it in the layer has
    taken; which they are needs no index.
    """

    kind: str = "dense"
    n: int = 0
    m: int = 0
    group: int = 1
    edge: int = 0
    rest: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in _KINDS:
            raise IntarsiaError(f"unknown pattern {self.kind!r}; known are {', '.join(_KINDS)}.")
        if self.kind in ("n:m", "fixed") and not (0 < self.n <= self.m and self.group >= 1):
            raise IntarsiaError(f"pattern n:m needs 0 < n <= m and a group of at least 1, not {self}.")
        if self.kind == "fixed" and self.group != 1:
            raise IntarsiaError("fixed positions are the same for all output channels; they have no groups.")
        if self.kind == "blocks" and self.edge < 2:
            raise IntarsiaError(f"pattern blocks needs an edge of at least 2 channels, not {self.edge}.")
        if self.rest and self.kind not in UNIT_KINDS:
            raise IntarsiaError(f"a rest is one of {', '.join(UNIT_KINDS)}, not of {self.kind}.")

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read `dense`, `unstructured`, `1:16`, `1:16/16` (positions shared by 16 output channels), `fixed1:16`,
        `inputs`, `outputs`, `blocks4` (4×4 blocks), `taps`, or one of these last four after `rest-`.

        Raises:
            IntarsiaError: the text is none of these.
        """
        if text.startswith(_REST) and not text.startswith(_REST * 2):
            return replace(cls.parse(text.removeprefix(_REST)), rest=True)
        if text in _KINDS and text not in ("n:m", "fixed", "blocks"):
            return cls(text)
        if text.startswith("blocks") and (edge := whole_number(text.removeprefix("blocks"))) is not None:
            return cls("blocks", edge=edge)
        kind = "fixed" if text.startswith("fixed") else "n:m"
        ratio, slash, shared = text.removeprefix("fixed").partition("/")
        n, m = (whole_number(part) for part in (*ratio.split(":", 1), "")[:2])
        group = whole_number(shared) if shared else 1
        if n is None or m is None or group is None or (kind == "fixed" and slash):
            raise IntarsiaError(f"cannot read pattern {text!r}; write {_EXAMPLES}.")
        return cls(kind, n, m, group)

    @property
    def has_density(self) -> bool:
        """Whether a part of its units is chosen, so that someone must say which part; `n:m` and `fixed` say it."""
        return self.kind == "unstructured" or (self.kind in UNIT_KINDS and not self.rest)

    def __str__(self) -> str:
        if self.kind in ("n:m", "fixed"):
            fixed = "fixed" if self.kind == "fixed" else ""
            return f"{fixed}{self.n}:{self.m}" + (f"/{self.group}" if self.group > 1 else "")
        return (_REST if self.rest else "") + self.kind + (str(self.edge) if self.kind == "blocks" else "")
