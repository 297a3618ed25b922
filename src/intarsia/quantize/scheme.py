"""Schemes: which planes, formats, patterns and activation bits each layer has."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import Pattern, WeightFormat


@dataclass(frozen=True)
class LayerScheme:
    """What one weight layer is made of: a dense plane, a sparse plane, or their sum.

    Attributes:
        dense: format of the plane that carries every weight, or None.
        sparse: format of the plane that carries few, or None.
        pattern: where the sparse plane may be non-zero: `n:m` or `unstructured`.
        density: part of the weights that an `unstructured` plane covers, 0 to 1.
        activation_bits: of the layer's output, 2, 4, 8 or 16.
    """

    dense: WeightFormat | None
    sparse: WeightFormat | None = None
    pattern: Pattern = field(default_factory=lambda: Pattern("n:m", 1, 16))
    density: float = 0.0625
    activation_bits: int = 8

    def __post_init__(self) -> None:
        if self.dense is None and self.sparse is None:
            raise IntarsiaError("a layer needs a dense plane, a sparse plane or both; name at least one format.")
        if self.sparse is not None and self.sparse.digits:
            raise IntarsiaError(f"a sparse plane has the format int2 to int8, not {self.sparse.name}.")
        if self.sparse is not None and self.pattern.kind == "dense":
            raise IntarsiaError("a sparse plane needs the pattern n:m or unstructured, not dense.")
        if not 0.0 < self.density <= 1.0:
            raise IntarsiaError(f"a density lies between 0 and 1, not at {self.density}.")
        if self.activation_bits not in (2, 4, 8, 16):
            raise IntarsiaError(f"activations have 2, 4, 8 or 16 bits, not {self.activation_bits}.")

    @classmethod
    def parse(cls, text: str) -> "LayerScheme":
        """Read `DENSE`, `PATTERNxSPARSE` or `DENSE+PATTERNxSPARSE`, with `aBITS` after a space for activations.

        Examples: `ternary`, `digits4`, `ternary+1:16xint8`, `ternary+2:16/16xint4 a4`, `int4`,
        `ternary+unstructured0.05xint8`.

        Raises:
            IntarsiaError: the text is none of these.
        """
        planes, _, activations = text.strip().partition(" ")
        mark, bits = (activations.strip()[:1], activations.strip()[1:]) if activations else ("a", "8")
        if mark != "a" or not bits.isdecimal():
            raise IntarsiaError(f"cannot read {activations!r} in scheme {text!r}; write a8 or a4.")
        parts = planes.split("+")
        dense = next((part for part in parts if "x" not in part), None)
        sparse = next((part for part in parts if "x" in part), None)
        if len(parts) != (dense is not None) + (sparse is not None):
            raise IntarsiaError(f"cannot read scheme {text!r}; write for example ternary+1:16xint8.")
        scheme = cls(WeightFormat(dense) if dense else None, activation_bits=int(bits)) if dense else None
        if sparse is None:
            if scheme is None:
                raise IntarsiaError("an empty scheme; write for example ternary+1:16xint8.")
            return scheme
        where, _, name = sparse.partition("x")
        density = 0.0625
        if where.startswith("unstructured") and where != "unstructured":
            where, density = "unstructured", _number(where.removeprefix("unstructured"), text)
        return cls(
            WeightFormat(dense) if dense else None,
            WeightFormat(name),
            Pattern.parse(where),
            density,
            int(bits),
        )

    def __str__(self) -> str:
        parts = [self.dense.name] if self.dense else []
        if self.sparse:
            where = str(self.pattern) + (f"{self.density:g}" if self.pattern.kind == "unstructured" else "")
            parts.append(f"{where}x{self.sparse.name}")
        return "+".join(parts) + (f" a{self.activation_bits}" if self.activation_bits != 8 else "")


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

    def with_activations(self, bits: int) -> "Scheme":
        """Return this scheme with `bits`-bit activations wherever nothing is said by layer name."""

        def changed(layer: LayerScheme | None) -> LayerScheme | None:
            return None if layer is None else replace(layer, activation_bits=bits)

        return replace(
            self,
            default=replace(self.default, activation_bits=bits),
            first=changed(self.first),
            last=self.last,
            depthwise=changed(self.depthwise),
        )

    @classmethod
    def parse(cls, text: str) -> "Scheme":
        """Read `DEFAULT, WHERE=PLANES, ..., scales=BITS`, DEFAULT a preset's name or planes as in `LayerScheme.parse`.

        WHERE is `first`, `last`, `depthwise` or the name of a layer; `WHERE=default` takes an exception back. What is
        not said is as in the preset that DEFAULT names, else as in `superposition`.

        Examples: `ternary`, `ternary+2:16xint8`, `ternary+1:16xint5, depthwise=digits2, stack1.conv1=int4, scales=6`.

        Raises:
            IntarsiaError: the text is none of these.
        """
        default, *rules = text.split(",")
        preset = PRESETS.get(default.strip())
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

    def _with_rule(self, rule: str) -> "Scheme":
        where, equals, what = (part.strip() for part in rule.partition("="))
        if not (where and equals and what):
            raise IntarsiaError(f"cannot read the rule {rule.strip()!r} of a scheme; write for example last=digits4")
        if where == "scales":
            if not what.isdecimal():
                raise IntarsiaError(f"cannot read scales={what}; write the bits of a multiplier, scales=8 say")
            return replace(self, scale_bits=int(what))
        layer = None if what == "default" else LayerScheme.parse(what)
        if where == "first":
            return replace(self, first=layer)
        if where == "last":
            return replace(self, last=layer)
        if where == "depthwise":
            return replace(self, depthwise=layer)
        return replace(self, layers={**self.layers, where: layer or self.default})

    def __str__(self) -> str:
        """Return a text that `parse` reads back as this scheme, but for its name."""
        exceptions = {"first": self.first, "last": self.last, "depthwise": self.depthwise, **self.layers}
        rules = [f"{where}={'default' if layer is None else layer}" for where, layer in exceptions.items()]
        return ", ".join([str(self.default), *rules, f"scales={self.scale_bits}"])


def normalized(text: str) -> str:
    """Return the text of a scheme with spaces where `Scheme` writes them, so that equal schemes are equal texts."""
    rules = ("=".join(" ".join(side.split()) for side in rule.split("=")) for rule in text.split(","))
    return ", ".join(rules)


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
