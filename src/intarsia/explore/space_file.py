# SPDX-License-Identifier: Apache-2.0
"""Design spaces as YAML files, every error with its line."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

import yaml

from intarsia.engine.units import unit_named
from intarsia.errors import IntarsiaError, unreadable
from intarsia.explore.space import (
    DEFAULT,
    NONE,
    DesignSpace,
    LayerSpace,
    Point,
    Rung,
    Search,
    SearchKind,
)
from intarsia.integer.formats import Pattern, WeightFormat
from intarsia.quantize.scheme import LayerScheme
from intarsia.quantize.transforms.settings import Transforms
from intarsia.recipes import LARGEST_SEED
from intarsia.report.metrics import DESIGN_METRICS
from intarsia.text import whole_number

Value = TypeVar("Value")

_MOST_POINTS = 100_000
_MOST_CHECKED = 2_000  # combinations of a space that is not walked, checked before the study begins
_MOST_DIGITS = 12  # of a number
_MOST_SHOWN = 40  # characters of a wrong value
_PARTS = ("planes", "dense", "sparse", "pattern", "density", "activations")


def read_space(path: Path) -> DesignSpace:
    """Read a design space.

    Raises:
        IntarsiaError: the file cannot be read or is malformed; the sentence names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(path, error, "give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise IntarsiaError(
            f"the design space {path} is not a text ({error}); give the path of a YAML file."
        ) from error
    return parse_space(text, str(path))


def parse_space(text: str, name: str = "the design space") -> DesignSpace:
    """Read the text of a design space; `name` is what errors call it.

    Raises:
        IntarsiaError: it is malformed; the sentence names the line.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise IntarsiaError(f"{name}, line {line}: {error.problem or 'this is not YAML'}; correct it.") from error
    except yaml.YAMLError as error:
        raise IntarsiaError(f"{name} is not YAML ({' '.join(str(error).split())}); correct it.") from error
    except RecursionError as error:
        raise IntarsiaError(f"{name} nests lists or names too deeply; a design space needs three levels.") from error
    if root is None:
        raise IntarsiaError(f"{name} is empty; write network: and layers: at least.")
    return _space(_Node(root, name))


@dataclass(frozen=True)
class _Node:
    """A node of the file, which knows where it stands. Scalars are kept as written: `1:16` is not a number."""

    node: yaml.Node
    file: str

    def fail(self, reason: str) -> IntarsiaError:
        return IntarsiaError(f"{self.file}, line {self.node.start_mark.line + 1}: {reason}")

    def fields(self, known: tuple[str, ...] | None = None) -> dict[str, "_Node"]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.fail("expected names with values, `name: value`.")
        found: dict[str, _Node] = {}
        for key, value in self.node.value:
            label = _Node(key, self.file)
            name = label.text()
            if known is not None and name not in known:
                raise label.fail(f"unknown name {name!r}; known are {', '.join(known)}.")
            if name in found:
                raise label.fail(f"{name} stands here twice; keep one.")
            found[name] = _Node(value, self.file)
        return found

    def text(self) -> str:
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.fail("expected one value, not a list or names.")
        return str(self.node.value).strip()

    def items(self) -> list["_Node"]:
        if isinstance(self.node, yaml.SequenceNode):
            return [_Node(item, self.file) for item in self.node.value]
        return [self]

    def each(self, read: Callable[["_Node"], Value]) -> tuple[Value, ...]:
        """Read a list (or a single value) whose items are all different."""
        found = tuple(read(item) for item in self.items())
        if not found:
            raise self.fail("the list is empty; give at least one value.")
        for number, item in enumerate(found):
            if item in found[:number]:
                raise self.items()[number].fail(f"{item} stands here twice; keep one.")
        return found

    def number(self, least: int, most: int = LARGEST_SEED) -> int:
        text = self.text()
        if not text.isdecimal() or len(text) > _MOST_DIGITS or not least <= int(text) <= most:
            raise self.fail(f"expected a whole number from {least} to {most:,}, not {_cut(text)!r}.")
        return int(text)

    def share(self) -> float:
        try:
            value = float(self.text())
        except ValueError:
            value = 0.0
        if not 0.0 < value <= 1.0:
            raise self.fail(f"expected a number above 0 and at most 1, not {self.text()!r}.")
        return value

    def checked(self, check: Callable[[str], object]) -> str:
        """Return the text if `check` takes it; its error gets the line."""
        text = self.text()
        try:
            check(text)
        except IntarsiaError as error:
            raise self.fail(str(error)) from error
        return text


def _space(root: _Node) -> DesignSpace:
    known = ("network", "layers", "scales", "transforms", "units", "schemes", "objectives", "calibration", "images",
             "search", "rungs")  # fmt: skip
    fields = root.fields(known)
    if "network" not in fields:
        raise root.fail("there is no network; add network: resnet8, say.")
    if "layers" not in fields and "schemes" not in fields:
        raise root.fail("there are neither layers nor schemes; add layers: with a default.")
    options: dict[str, object] = {}
    readers: Mapping[str, Callable[[_Node], object]] = {
        "scales": lambda node: node.each(lambda item: item.checked(_scale)),
        "transforms": lambda node: node.each(lambda item: item.checked(Transforms.parse)),
        "units": lambda node: node.each(lambda item: item.checked(unit_named)),
        "schemes": lambda node: node.each(lambda item: item.checked(Point.parse)),
        "objectives": lambda node: node.each(lambda item: _one_of(item, tuple(DESIGN_METRICS))),
        "calibration": lambda node: node.number(1),
        "images": lambda node: node.number(1),
        "search": _search,
        "rungs": lambda node: tuple(_rungs(node)),
    }
    for name, read in readers.items():
        if name in fields:
            options[name] = read(fields[name])
    layers = _layers(fields["layers"]) if "layers" in fields else {}
    space = DesignSpace(fields["network"].text(), layers, **options)  # type: ignore[arg-type]
    if space.units and not space.layers:
        raise fields["units"].fail("units are chosen beside layers; of listed schemes write `SCHEME | unit NAME`.")
    if "accuracy" not in space.objectives:
        raise fields["objectives"].fail("accuracy is missing among the objectives; add it.")
    return _possible(space, fields.get("layers", root))


def _layers(node: _Node) -> dict[str, LayerSpace]:
    fields = node.fields()
    if DEFAULT not in fields:
        raise node.fail("there is no default; say what the planes of all other layers are.")
    ordered = {DEFAULT: fields.pop(DEFAULT)} | fields
    return {where: _layer(found) for where, found in ordered.items()}


def _layer(node: _Node) -> LayerSpace:
    if not isinstance(node.node, yaml.MappingNode):
        return LayerSpace(planes=_texts(node, _planes))
    fields = node.fields(_PARTS)
    if "planes" in fields and len(fields) > 1:
        raise node.fail("planes are given whole or by their parts, not both; leave one out.")
    readers: Mapping[str, Callable[[str], object]] = {
        "planes": _planes,
        "dense": lambda text: text == NONE or WeightFormat(text),
        "sparse": lambda text: text == NONE or WeightFormat(text),
        "pattern": lambda text: Pattern.parse(text.partition("@")[0]),
        "density": _density,
        "activations": _bits,
    }
    return LayerSpace(**{name: _texts(part, readers[name]) for name, part in fields.items()})


def _texts(node: _Node, check: Callable[[str], object]) -> tuple[str, ...]:
    return node.each(lambda item: item.checked(check))


def _planes(text: str) -> None:
    if text != DEFAULT:
        LayerScheme.parse(text)


def _search(node: _Node) -> Search:
    fields = node.fields(("kind", "trials", "seed"))
    kind = _one_of(fields["kind"], get_args(SearchKind)) if "kind" in fields else "grid"
    trials = fields["trials"].number(1) if "trials" in fields else 0
    if kind != "grid" and not trials:
        raise node.fail(f"a search of the kind {kind} needs trials; say how many.")
    return Search(kind, trials, fields["seed"].number(0) if "seed" in fields else 0)  # type: ignore[arg-type]


def _rungs(node: _Node) -> Iterator[Rung]:
    if not node.items():
        raise node.fail("the list is empty; leave rungs out, or write - {epochs: 0}.")
    for number, item in enumerate(node.items()):
        fields = item.fields(("epochs", "keep", "seeds", "rate"))
        if "epochs" not in fields:
            raise item.fail("a rung needs epochs: 0 for post-training quantization, a number, or recipe.")
        epochs = None if fields["epochs"].text() == "recipe" else fields["epochs"].number(0)
        keep: float | None = 1.0
        if "keep" in fields:
            if number == 0:
                raise fields["keep"].fail("the first rung takes every point; leave keep out.")
            keep = None if fields["keep"].text() == "front" else fields["keep"].share()
        seeds = fields["seeds"].each(lambda seed: seed.number(0)) if "seeds" in fields else (0,)
        if "rate" in fields and not epochs:
            raise fields["rate"].fail("a rate is of a training of some epochs, 1 or more; leave it out.")
        yield Rung(epochs, keep, seeds, fields["rate"].share() if "rate" in fields else None)


def _possible(space: DesignSpace, node: _Node) -> DesignSpace:
    """Return the space if every combination of its values means a design, and a grid of it can be walked."""
    count = 1
    for choice in space.choices():
        count *= len(choice.values)
    if space.search.kind == "grid" and count > _MOST_POINTS:
        raise node.fail(f"a grid of {count:,} combinations cannot be walked; search it at random, or make it smaller.")
    if space.search.kind != "grid" and not space.layers:
        raise node.fail(f"a search of the kind {space.search.kind} needs layers to choose for; add layers:.")
    if space.search.kind == "evolution" and len(space.rungs[0].seeds) > 1:
        raise node.fail(
            "an evolution compares designs at the first rung with one seed; leave the others to a later rung."
        )
    if space.search.kind == "grid" or count <= _MOST_CHECKED:
        try:
            space.designs()
        except IntarsiaError as error:
            raise node.fail(f"impossible combination: {error}") from error
    return space


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _one_of(node: _Node, known: tuple[str, ...]) -> str:
    if node.text() not in known:
        raise node.fail(f"unknown {node.text()!r}; choose of {', '.join(known)}.")
    return node.text()


def _scale(text: str) -> None:
    bits = whole_number(text)
    if bits is None or not 2 <= bits <= 16:
        raise IntarsiaError(f"multipliers have 2 to 16 bits, not {text!r}.")


def _density(text: str) -> None:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise IntarsiaError(f"the density must be in (0, 1], not {text!r}.")


def _bits(text: str) -> None:
    if text not in ("2", "4", "8", "16"):
        raise IntarsiaError(f"activations have 2, 4, 8 or 16 bits, not {text!r}.")
