# SPDX-License-Identifier: Apache-2.0
"""The built-in networks: all that a run of each one needs to know, declared once, in a file of its own."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args, get_type_hints

from intarsia.errors import IntarsiaError
from intarsia.recipes.training import QuantizationRecipe, Recipe
from intarsia.typed_json import from_json, to_json

Route = Literal["engine", "lane", "none"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A network with its data, and what its run does unless told otherwise.

    Attributes:
        title: one line for people.
        dataset: name in `intarsia.datasets`; empty for a user's own.
        scheme: what `superposition` means for this network, as text.
        recipe: of quantization-aware training.
        images: test images for the simulated engine.
        float_recipe: how the float weights are trained from scratch, where that is known.
        retrain: whether the float network is trained from scratch; else the weights of the zoo are taken.
        reference: where it is imported from instead, a file in the folder of data sets.
        official: whether its test set is the official one; else some of the inputs were held out.
        transforms: of the float network before it is quantized with that scheme.
        baselines: kinds of networks to report in addition.
        seeds: of quantization-aware training, one network of each kind for each.
        route: what is placed and routed on an FPGA; nextpnr takes long for the engine, seconds for a lane.
        threads: of PyTorch; one is fastest for a network whose iterations take milliseconds. None is PyTorch's choice.
    """

    title: str
    dataset: str
    scheme: str
    recipe: QuantizationRecipe
    images: int
    float_recipe: Recipe | None = None
    retrain: bool = False
    reference: str = ""
    official: bool = True
    transforms: str = "none"
    baselines: tuple[str, ...] = ("ternary", "int8")
    seeds: tuple[int, ...] = (0,)
    route: Route = "engine"
    threads: int | None = None

    @property
    def weights(self) -> str:
        """Where the float weights come from, for people."""
        if self.reference:
            return "imported from MLPerf Tiny's reference"
        return "trained from scratch" if self.retrain else "float weights in the zoo"


def _read(name: str) -> Benchmark:
    content = tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
    return from_json(Benchmark, _completed(Benchmark, content))


def _completed(kind: object, value: object) -> object:
    """Return what a file says with the defaults of the dataclass for what it leaves out."""
    if isinstance(value, list):
        (inner, *_) = get_args(kind)
        return [_completed(inner, entry) for entry in value]
    if get_args(kind) and isinstance(value, Mapping):
        (kind,) = [choice for choice in get_args(kind) if is_dataclass(choice)]
    if not is_dataclass(kind) or not isinstance(value, Mapping):
        return value
    types = get_type_hints(kind)
    defaults = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    given = {name: _completed(types.get(name, object), entry) for name, entry in value.items()}
    return to_json(defaults) | given


#: By name in `intarsia.networks`, which builds them.
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {name: _read(name) for name in ("digits", "resnet8", "dscnn", "mobilenet", "autoencoder")}
)
#: Of the recipe for data that nobody has tuned anything for.
OWN = "own"
_OWN = _read(OWN)

#: How quantized networks are trained, by the network that the recipe was made for.
QUANTIZATION_RECIPES: Mapping[str, QuantizationRecipe] = MappingProxyType(
    {OWN: _OWN.recipe} | {name: benchmark.recipe for name, benchmark in BENCHMARKS.items()}
)


def benchmark_of(network: str, model: Path | None = None) -> Benchmark:
    """Return a built-in network; with `model`, what a run of a user's own network does, imported from that file.

    Raises:
        IntarsiaError: the name is unknown.
    """
    if model is not None:
        return replace(_OWN, title=f"imported from {model.name}")
    if network not in BENCHMARKS:
        raise IntarsiaError(f"there is no network {network!r}; choose one of {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[network]


def float_recipe_of(network: str) -> Recipe:
    """Return how a built-in network's float weights are trained from scratch.

    Raises:
        IntarsiaError: the name is unknown, or the network is imported with its weights.
    """
    recipe = benchmark_of(network).float_recipe
    if recipe is None:
        raise IntarsiaError(f"{network} is imported with its float weights; there is no recipe for training them.")
    return recipe


def recipe_of(dataset: str) -> QuantizationRecipe:
    """Return the recipe of the first network with a data set, by name; that for data of one's own where there is
    none.
    """
    found = (benchmark.recipe for benchmark in BENCHMARKS.values() if benchmark.dataset == dataset)
    return next(found, _OWN.recipe)
