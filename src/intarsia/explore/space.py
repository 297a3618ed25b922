# SPDX-License-Identifier: Apache-2.0
"""Design spaces: which schemes and transformations of a network a study may try."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from intarsia.engine.units import NAMED_UNITS, UNITS, unit_named
from intarsia.errors import IntarsiaError
from intarsia.quantize.scheme import LayerScheme, Scheme
from intarsia.quantize.scheme_text import normalized, split
from intarsia.quantize.transforms.settings import Transforms

NONE = "none"
#: Where a layer's planes come from if no rule of `Scheme` names the layer.
DEFAULT = "default"
_UNIT = "unit "

SearchKind = Literal["grid", "random", "evolution"]


@dataclass(frozen=True)
class Point:
    """One design: a scheme, transformations and an execution unit, as texts.

    Attributes:
        scheme: as `Scheme.parse` reads it.
        transforms: of the float network before it is quantized; `none`, or names joined by `+`.
        unit: as `unit_named` reads it; empty: the first kind of unit that takes the network.
    """

    scheme: str
    transforms: str = NONE
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> "Point":
        """Read a scheme, optionally followed by a bar and transformations, and by a bar and a unit:
        `ternary+1:16xint4 | permute`, `int4 | unit dense4`.

        Raises:
            IntarsiaError: there is no such scheme, transformation or unit.
        """
        scheme, *rest = (part.strip() for part in split(text, "|"))
        unit = rest.pop().removeprefix(_UNIT).strip() if rest and rest[-1].startswith(_UNIT) else ""
        if any(part.split(" ")[0] in (_UNIT.strip(), *UNITS, *NAMED_UNITS) for part in rest):
            raise IntarsiaError(f"{text!r}: an execution unit is written once, at the end, as in `int4 | unit dense8`.")
        transforms = " | ".join(rest)
        Scheme.parse(scheme)
        if transforms:
            Transforms.parse(transforms)
        if unit:
            unit_named(unit)
        return cls(scheme, transforms or NONE, unit)

    @property
    def key(self) -> str:
        """What tells this point from others, as `parse` reads it."""
        parts = [self.scheme, *([] if self.transforms == NONE else [self.transforms])]
        return " | ".join([*parts, *([_UNIT + self.unit] if self.unit else [])])


@dataclass(frozen=True)
class Choice:
    """One coordinate of the space, with the texts that it may be."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class LayerSpace:
    """What the planes of a layer (or of all layers) may be: listed, or every combination of their parts.

    Attributes:
        planes: whole planes as `LayerScheme.parse` reads them, `ternary+1:16xint8 a4`, or `default` for those of the
            default; with these, the parts are empty.
        dense, sparse: formats, or `none`.
        pattern: where the sparse plane may be non-zero.
        density: for patterns that want one.
        activations: bits of the layer's output.
    """

    planes: tuple[str, ...] = ()
    dense: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()
    pattern: tuple[str, ...] = ()
    density: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()

    def choices(self, where: str) -> tuple[Choice, ...]:
        """Return the coordinates of these planes; those with one value are not a choice, but are still named."""
        parts = {
            name: getattr(self, name) for name in ("planes", "dense", "sparse", "pattern", "density", "activations")
        }
        return tuple(Choice(f"{where}.{name}", values) for name, values in parts.items() if values)

    def text(self, chosen: Mapping[str, str]) -> str:
        """Return the planes that a value for each part (by its name) means, as text that reads back the same.

        Parts without meaning next to the others (the pattern of no sparse plane) are dropped.

        Raises:
            IntarsiaError: there are no such planes.
        """
        if "planes" in chosen:
            return DEFAULT if chosen["planes"] == DEFAULT else str(LayerScheme.parse(chosen["planes"]))
        dense, sparse = chosen.get("dense", NONE), chosen.get("sparse", NONE)
        parts = [] if dense == NONE else [dense]
        if sparse != NONE:
            parts.append(f"{_placed(chosen)}x{sparse}")
        if not parts:
            raise IntarsiaError("neither a dense nor a sparse plane is left; name at least one format.")
        bits = chosen.get("activations", "8")
        return str(LayerScheme.parse("+".join(parts) + (f" a{bits}" if bits != "8" else "")))


def _placed(chosen: Mapping[str, str]) -> str:
    """Return a pattern with its density, if it takes one that it does not have."""
    pattern, density = chosen.get("pattern", ""), chosen.get("density", "")
    if not pattern:
        raise IntarsiaError("a sparse plane needs a pattern; add one, 1:16 say.")
    regular = ":" in pattern or "@" in pattern
    if not regular and not density:
        raise IntarsiaError(f"the pattern {pattern} needs a density; add density, 0.0625 say.")
    return pattern if regular else f"{pattern}@{density}"


@dataclass(frozen=True)
class Rung:
    """A stage of evaluation that only the best of the stage before reach (successive halving; Jamieson and Talwalkar,
    2016).

    Attributes:
        epochs: of distillation; 0 is post-training quantization, None the network's whole recipe.
        keep: share of the points before that get here, 0 to 1; None takes only the Pareto front.
        seeds: one training each.
        rate: peak learning rate, a part of each tensor's size; None takes the recipe's.
    """

    epochs: int | None
    keep: float | None = 1.0
    seeds: tuple[int, ...] = (0,)
    rate: float | None = None

    @property
    def training(self) -> tuple[int | None, float | None]:
        """The settings that decide how a design is trained here."""
        return self.epochs, self.rate


@dataclass(frozen=True)
class Search:
    """How a space is walked.

    Attributes:
        kind: every point (`grid`), some drawn evenly (`random`), or a multi-objective search that learns from what it
            has seen (`evolution`: NSGA-II, Deb et al., 2002).
        trials: points to evaluate at the first rung; 0 takes all of a grid.
        seed: draws them.
    """

    kind: SearchKind = "grid"
    trials: int = 0
    seed: int = 0


@dataclass(frozen=True)
class DesignSpace:
    """A design space, and how a study evaluates it.

    Attributes:
        network: as the command line takes it: a name, or the file of a float network.
        layers: by `default`, `first`, `last`, `depthwise` or a layer's name.
        scales: bits of the multipliers.
        transforms: of the float network.
        units: execution units, as `unit_named` reads them; none: the first kind that takes the network.
        schemes: additional complete designs, such as uniform ones, as `Point.parse` reads them.
        objectives: metrics that the Pareto front compares, of `intarsia.report.metrics.DESIGN_METRICS`.
        calibration: training images that post-training quantization sees.
        images: validation images that accuracy is measured on; None takes all.
        search: how the space is walked.
        rungs: the stages of evaluation, the cheapest first.
    """

    network: str
    layers: Mapping[str, LayerSpace]
    scales: tuple[str, ...] = ()
    transforms: tuple[str, ...] = (NONE,)
    units: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ("accuracy", "bits")
    calibration: int = 256
    images: int | None = None
    search: Search = field(default_factory=Search)
    rungs: tuple[Rung, ...] = (Rung(epochs=0),)

    def choices(self) -> tuple[Choice, ...]:
        """Return the coordinates of the space, in the order of the file."""
        found = [choice for where, layer in self.layers.items() for choice in layer.choices(where)]
        found += [Choice("scales", self.scales)] if self.scales else []
        found += [Choice("units", self.units)] if self.units else []
        return (*found, Choice("transforms", self.transforms))

    def point(self, chosen: Mapping[str, str]) -> Point:
        """Return the design that a value for each choice means.

        Raises:
            IntarsiaError: there is no such design.
        """
        rules = []
        for where, layer in self.layers.items():
            own = {name.rpartition(".")[2]: value for name, value in chosen.items() if _place(name) == where}
            text = layer.text(own)
            rules.append(text if where == DEFAULT else f"{where}={text}")
        rules += [f"scales={chosen['scales']}"] if "scales" in chosen else []
        text = normalized(",".join(rules))
        Scheme.parse(text)
        return Point(text, chosen.get("transforms", NONE), chosen.get("units", ""))

    def designs(self) -> dict[Point, Mapping[str, str]]:
        """Return every design once, in order, with the coordinates that it has first; combinations that mean the same
        are one, and listed schemes have none.

        Raises:
            IntarsiaError: a combination means no design.
        """
        found: dict[Point, Mapping[str, str]] = {}
        choices = self.choices() if self.layers else ()
        for values in itertools.product(*(choice.values for choice in choices)) if choices else ():
            chosen = {choice.name: value for choice, value in zip(choices, values, strict=True)}
            found.setdefault(self.point(chosen), chosen)
        for text in self.schemes:
            found.setdefault(Point.parse(text), {})
        return found

    def points(self) -> Iterator[Point]:
        """Yield every design once, in order.

        Raises:
            IntarsiaError: a combination means no design.
        """
        return iter(self.designs())


def _place(name: str) -> str:
    return name.rpartition(".")[0]
