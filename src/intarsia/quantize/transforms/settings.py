# SPDX-License-Identifier: Apache-2.0
"""Which transforms a float network goes through before it is quantized, and how people write them."""

import re
from dataclasses import dataclass

from intarsia.errors import IntarsiaError

_WIDEST = 16.0
_WIDEN = re.compile(r"widen(\d{1,9}(?:\.\d{1,20})?)(?:/(\d{1,9}))?")


@dataclass(frozen=True)
class Transforms:
    """The transforms to apply, always in the order of these fields; by default none.

    Attributes:
        equalize: even out the sizes of weights over input channels; outputs have scales of their own.
        widen: factor, 1 to 16, by which the channels between layers grow; see `widened_channels`.
        multiple: of which widened channel counts are.
        permute: reorder channels so that sparse planes of n:m and fixed positions save most.
    """

    equalize: bool = False
    widen: float = 1.0
    multiple: int = 1
    permute: bool = False

    def __post_init__(self) -> None:
        if not 1.0 <= self.widen <= _WIDEST:
            raise IntarsiaError(f"layers widen by a factor from 1 to {_WIDEST:g}, not by {self.widen:g}.")
        if self.multiple < 1:
            raise IntarsiaError(f"widened channel counts are multiples of at least 1, not of {self.multiple}.")
        if self.multiple > 1 and self.widen == 1.0:
            raise IntarsiaError(f"widen1/{self.multiple} widens nothing; give a factor above 1, as widen1.25/16.")

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return self != Transforms()

    def __str__(self) -> str:
        """Return a text that `parse` reads back as these transforms."""
        widen = f"widen{float(self.widen)}" + (f"/{self.multiple}" if self.multiple > 1 else "")
        chosen = {"equalize": self.equalize, widen: self.widen > 1.0, "permute": self.permute}
        return "+".join(name for name, wanted in chosen.items() if wanted) or "none"

    @classmethod
    def parse(cls, text: str) -> "Transforms":
        """Read `none`, or transforms joined by `+`: `equalize`, `widenFACTOR`, `widenFACTOR/MULTIPLE`, `permute`.

        Examples: `permute`, `equalize+permute`, `widen1.25`, `widen1.5/16+permute`. Their order means nothing.

        Raises:
            IntarsiaError: the text is none of these, names a transform twice, or a factor is out of range.
        """
        names = [part.strip() for part in text.split("+")]
        if names == ["none"]:
            return cls()
        found: dict[str, bool | float | int] = {}
        for name in names:
            widen = _WIDEN.fullmatch(name)
            kind = "widen" if widen else name
            if kind in found or not (widen or kind in ("equalize", "permute")):
                why = "it is listed twice" if kind in found else "there is no such transform"
                raise IntarsiaError(
                    f"cannot read {name!r} in transforms {text!r}: {why}; write none, or some of "
                    "equalize, widen1.25 and permute, joined by +."
                )
            found[kind] = float(widen[1]) if widen else True
            if widen and widen[2]:
                found["multiple"] = int(widen[2])
        return cls(**found)  # type: ignore[arg-type]


#: The network as it is.
NO_TRANSFORMS = Transforms()
