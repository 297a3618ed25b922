# SPDX-License-Identifier: Apache-2.0
"""Schemes: which planes, formats, patterns and activation bits each layer has."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import UNIT_KINDS, Pattern, WeightFormat
from intarsia.quantize.scheme_text import Rule, read_scheme, write_scheme
from intarsia.text import whole_number

_DENSITY = 0.0625
_MIX = "mix-"


@dataclass(frozen=True)
class Mix:
    """Formats that share out the weights of a layer by whole channels, blocks or taps.

    Attributes:
        pattern: what is shared out: `inputs`, `outputs`, `blocks` or `taps`.
        parts: formats with their parts of these (over 0, together below 1), the most sensitive weights go to the first.
        rest: format of what is left.
    """

    pattern: Pattern
    parts: tuple[tuple[WeightFormat, float], ...]
    rest: WeightFormat

    def __post_init__(self) -> None:
        if self.pattern.kind not in UNIT_KINDS or self.pattern.rest:
            raise IntarsiaError(f"a mix shares out {', '.join(UNIT_KINDS)} (blocks16, say), not {self.pattern}.")
        if not self.parts:
            raise IntarsiaError(f"a mix has two formats at least; write for example {_MIX}outputs:int8@0.1/int2.")
        shares = [share for _, share in self.parts]
        if not all(share > 0 for share in shares) or not sum(shares) < 1:
            raise IntarsiaError(f"the fractions of a mix must be positive and sum to less than 1: {self}.")

    @classmethod
    def parse(cls, text: str) -> "Mix":
        """Read `mix-PATTERN:FORMAT@PART/FORMAT@PART/FORMAT`, the last of what is left: `mix-blocks16:int8@0.1/int2`.

        Raises:
            IntarsiaError: the text is none of these.
        """
        where, _, formats = text.removeprefix(_MIX).partition(":")
        *parts, rest = formats.split("/")
        if "@" in rest or not all("@" in part for part in parts):
            raise IntarsiaError(f"cannot read {text!r}; write a part for all formats but the last, int8@0.1/int2 say.")
        read = [(name, _number(share, text)) for name, _, share in (part.partition("@") for part in parts)]
        return cls(Pattern.parse(where), tuple((WeightFormat(name), share) for name, share in read), WeightFormat(rest))

    def __str__(self) -> str:
        parts = [f"{form.name}@{share!r}" for form, share in self.parts]
        return f"{_MIX}{self.pattern}:{'/'.join([*parts, self.rest.name])}"


@dataclass(frozen=True)
class LayerScheme:
    """What one weight layer is made of: a dense plane, a sparse plane, their sum, or a mix of formats.

    Attributes:
        dense: format of the plane that carries every weight, or None.
        sparse: format of the plane that carries few, or None.
        pattern: where the sparse plane may be non-zero: any but `dense`.
        density: part of all weights, channels, blocks or taps that the sparse plane covers, 0 to 1; `n:m` and `fixed`
            patterns have their own.
        activation_bits: of the layer's output, 2, 4, 8 or 16.
        mix: formats of disjoint parts of the layer, or None; there are no other planes then.
    """

    dense: WeightFormat | None
    sparse: WeightFormat | None = None
    pattern: Pattern = field(default_factory=lambda: Pattern("n:m", 1, 16))
    density: float = _DENSITY
    activation_bits: int = 8
    mix: Mix | None = None

    def __post_init__(self) -> None:
        if self.dense is None and self.sparse is None and self.mix is None:
            raise IntarsiaError("a layer needs a dense plane, a sparse plane or both; name at least one format.")
        if self.mix is not None and not (self.dense is None and self.sparse is None):
            raise IntarsiaError(f"a mix carries all weights of a layer; {self.mix} takes no further plane.")
        if self.sparse is not None and not (self.sparse.name.startswith("int") and self.sparse.limit < 128):
            raise IntarsiaError(f"a sparse plane has the format int2 to int8, not {self.sparse.name}.")
        if self.sparse is not None and (self.pattern.kind == "dense" or self.pattern.rest):
            raise IntarsiaError(f"a sparse plane needs a pattern such as 1:16 or unstructured, not {self.pattern}.")
        if not 0.0 < self.density <= 1.0:
            raise IntarsiaError(f"the density must be in (0, 1], not {self.density}.")
        if self.activation_bits not in (2, 4, 8, 16):
            raise IntarsiaError(f"activations have 2, 4, 8 or 16 bits, not {self.activation_bits}.")

    @classmethod
    def parse(cls, text: str) -> "LayerScheme":
        """Read `DENSE`, `PATTERNxSPARSE`, `DENSE+PATTERNxSPARSE` or a mix (`Mix.parse`), with `aBITS` after a space for
        activations, and `@DENSITY` after a pattern other than `n:m` or `fixed`.

        Examples: `ternary`, `digits4`, `ternary+1:16xint8`, `ternary+2:16/16xint4 a4`, `int4`,
        `ternary+unstructured@0.05xint8`, `binary+blocks4@0.1xint8`, `mix-outputs:int8@0.1/int4@0.3/int2`.

        Raises:
            IntarsiaError: the text is none of these.
        """
        planes, _, activations = text.strip().partition(" ")
        mark, bits = (activations.strip()[:1], whole_number(activations.strip()[1:])) if activations else ("a", 8)
        if mark != "a" or bits is None:
            raise IntarsiaError(f"cannot read {activations!r} in scheme {text!r}; write a8 or a4.")
        if not planes:
            raise IntarsiaError("an empty scheme; write for example ternary+1:16xint8.")
        if _MIX in planes:
            if "+" in planes:
                raise IntarsiaError(f"a mix carries all weights of a layer, so nothing is added to it in {text!r}.")
            return cls(None, activation_bits=bits, mix=Mix.parse(planes))
        parts = planes.split("+")
        dense = next((part for part in parts if "x" not in part), None)
        sparse = next((part for part in parts if "x" in part), None)
        if len(parts) != (dense is not None) + (sparse is not None):
            raise IntarsiaError(f"cannot read scheme {text!r}; write for example ternary+1:16xint8.")
        carrier = None if dense is None else WeightFormat(dense)
        if sparse is None:
            return cls(carrier, activation_bits=bits)
        where, _, name = sparse.rpartition("x")  # "fixed" also has one
        pattern, density = _pattern(where, text)
        return cls(carrier, WeightFormat(name), pattern, density, bits)

    def __str__(self) -> str:
        parts = [self.dense.name] if self.dense else []
        if self.mix:
            parts.append(str(self.mix))
        if self.sparse:
            where = str(self.pattern) + (f"@{self.density!r}" if self.pattern.has_density else "")
            parts.append(f"{where}x{self.sparse.name}")
        return "+".join(parts) + (f" a{self.activation_bits}" if self.activation_bits != 8 else "")


def _pattern(text: str, whole: str) -> tuple[Pattern, float]:
    """Read a pattern and the density after it, if it is of a kind that has one."""
    where, mark, density = text.partition("@")
    pattern = Pattern.parse(where)
    if mark and not pattern.has_density:
        raise IntarsiaError(f"the pattern {where} in scheme {whole!r} fixes its own density; remove '@'.")
    return pattern, _number(density, whole) if mark else _DENSITY


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise IntarsiaError(
            f"cannot read the density {text!r} in scheme {whole!r}; write a number, 0.05 for 5 %."
        ) from None


@dataclass(frozen=True)
class Scheme:
    """The scheme of a network.

    The first layer, the last linear layer and depthwise layers have few weights and much influence, so they
    have schemes of their own; `layers` overrides all of them by layer name (`stack1.conv1`).

    Attributes:
        name: for people.
        default: of every layer that nothing below names.
        first: of the first weight layer.
        last: of the last weight layer, if that is linear.
        depthwise: of depthwise convolutions.
        layers: overrides by name.
        scale_bits: of the multipliers, 2 to 16.
    """

    name: str
    default: LayerScheme
    first: LayerScheme | None = None
    last: LayerScheme | None = None
    depthwise: LayerScheme | None = None
    layers: Mapping[str, LayerScheme] = field(default_factory=dict)
    scale_bits: int = 6

    def __post_init__(self) -> None:
        if not 2 <= self.scale_bits <= 16:
            raise IntarsiaError(f"multipliers have 2 to 16 bits, not {self.scale_bits}.")

    def layer(self, name: str, *, first: bool, last: bool, depthwise: bool) -> LayerScheme:
        """Return the scheme of one layer; the most specific rule wins."""
        if name in self.layers:
            return self.layers[name]
        for applies, scheme in ((first, self.first), (last, self.last), (depthwise, self.depthwise)):
            if applies and scheme is not None:
                return scheme
        return self.default

    @classmethod
    def parse(cls, text: str) -> "Scheme":
        """Read `DEFAULT, WHERE=PLANES, ..., scales=BITS`, DEFAULT a preset's name or planes as in `LayerScheme.parse`.

        WHERE is `first`, `last`, `depthwise` or the name of a layer, in double quotes where it could be mistaken for
        something else (`"first"`, `"a, b"`); `WHERE=default` takes an exception back. What is not said is as in the
        preset that DEFAULT names, else as in `superposition`.

        Examples: `ternary`, `ternary+2:16xint8`, `ternary+1:16xint5, depthwise=digits2, stack1.conv1=int4, scales=6`.

        Raises:
            IntarsiaError: the text is none of these.
        """
        default, rules = read_scheme(text)
        preset = PRESETS.get(default)
        if preset is not None and not rules:
            return preset
        try:
            if preset is not None:
                scheme = replace(preset, name=text)
            else:
                scheme = replace(PRESETS["superposition"], name=text, default=LayerScheme.parse(default))
            for rule in rules:
                scheme = scheme._with_rule(rule)
            return scheme
        except IntarsiaError as error:
            reason = str(error).rstrip(".")
            raise IntarsiaError(f"{reason}; the presets are {', '.join(PRESETS)}.") from error

    def _with_rule(self, rule: Rule) -> "Scheme":
        if rule.word == "scales":
            bits = whole_number(rule.what)
            if bits is None:
                raise IntarsiaError(f"cannot read scales={rule.what}; write the bits of a multiplier, scales=8 say")
            return replace(self, scale_bits=bits)
        layer = None if rule.what == "default" else LayerScheme.parse(rule.what)
        if rule.layer is not None:
            return replace(self, layers={**self.layers, rule.layer: layer or self.default})
        if rule.word == "first":
            return replace(self, first=layer)
        if rule.word == "last":
            return replace(self, last=layer)
        return replace(self, depthwise=layer)

    @property
    def exceptions(self) -> tuple[tuple[Rule, LayerScheme | None], ...]:
        """The rules that give some layers other planes than the default (None: these), and the planes."""
        general = (("first", self.first), ("last", self.last), ("depthwise", self.depthwise))
        return (
            *((Rule(None, word, _text(layer)), layer) for word, layer in general),
            *((Rule(name, "", _text(layer)), layer) for name, layer in self.layers.items()),
        )

    def __str__(self) -> str:
        """Return a text that `parse` reads back as this scheme, but for its name."""
        rules = [rule for rule, _ in self.exceptions]
        return write_scheme(str(self.default), (*rules, Rule(None, "scales", str(self.scale_bits))))


def _text(layer: LayerScheme | None) -> str:
    return "default" if layer is None else str(layer)


def _preset(name: str, default: str, *, exceptions: bool) -> Scheme:
    if not exceptions:
        return Scheme(name, LayerScheme.parse(default))
    return Scheme(
        name,
        LayerScheme.parse(default),
        first=LayerScheme.parse("digits4"),
        last=LayerScheme.parse("digits4"),
        depthwise=LayerScheme.parse("digits4"),
    )


#: `superposition` and `ternary` run on the engine; `int8`, `int4` and `int2` are baselines for the executor.
PRESETS: Mapping[str, Scheme] = MappingProxyType(
    {
        "superposition": _preset("superposition", "ternary+1:16xint8", exceptions=True),
        "ternary": _preset("ternary", "ternary", exceptions=True),
        "int8": _preset("int8", "int8", exceptions=False),
        "int4": replace(
            _preset("int4", "int4", exceptions=False),
            first=LayerScheme.parse("int8"),
            last=LayerScheme.parse("int8"),
        ),
        "int2": replace(
            _preset("int2", "int2", exceptions=False),
            first=LayerScheme.parse("int8"),
            last=LayerScheme.parse("int8"),
        ),
    }
)
