# SPDX-License-Identifier: Apache-2.0
"""The settings of a run that say what is learned: float network, scheme, training and baselines."""

from dataclasses import dataclass
from typing import Literal, get_args

from intarsia.errors import IntarsiaError
from intarsia.flow.schemes import LAYERWISE, SUPERPOSITION
from intarsia.quantize.scheme import LayerScheme
from intarsia.quantize.scheme_text import normalized
from intarsia.quantize.transforms.settings import Transforms
from intarsia.recipes import LARGEST_SEED, QUANTIZATION_RECIPES, Benchmark, QuantizationRecipe

#: What the layer-wise baseline must not cost more of than the network that is built.
Budget = Literal["bits", "cycles"]

#: Networks that a run can report in addition; `layerwise` has one format per layer, searched.
BASELINES = ("ternary", "int8", "int4", "int2", LAYERWISE)


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """What is learned.

    Attributes:
        scheme: preset or text, see `intarsia.quantize.scheme`.
        transforms: of the float network before it is quantized, see `intarsia.quantize.transforms`; None is the
            network's default with its default scheme, and none with another. int8 is never equalized.
        seeds: of quantization-aware training, one network of each kind for each, except int8, which is not trained;
            the first one is built in hardware. Empty is the network's default.
        epochs: of quantization-aware training; None is the recipe's, 0 is post-training quantization only.
        recipe: of quantization-aware training, by the network that it was made for; None is this network's.
        rate: its peak learning rate, relative to each tensor's size; None is the recipe's.
        baselines: to report in addition, of `BASELINES`; None is the network's.
        layerwise_formats: what the layer-wise baseline chooses from for each layer, the best first.
        layerwise_budget: what it must not cost more of than the network that is built.
        baseline_epochs: of their training, except int8, which needs none; None is as many as `epochs`.
        retrain: whether to train the float network from scratch; None is the network's default.
        float_epochs: of that training; None is the recipe's.
        device: where PyTorch trains.
    """

    scheme: str = SUPERPOSITION
    transforms: str | None = None
    seeds: tuple[int, ...] = ()
    epochs: int | None = None
    recipe: str | None = None
    rate: float | None = None
    baselines: tuple[str, ...] | None = None
    layerwise_formats: tuple[str, ...] = ("int8", "int4", "int2")
    layerwise_budget: Budget = "bits"
    baseline_epochs: int | None = None
    retrain: bool | None = None
    float_epochs: int | None = None
    device: str = "cpu"

    def normalize_learning(self, benchmark: Benchmark) -> None:
        """Write texts in one way only, and fill in the network's seeds and transforms.

        Raises:
            IntarsiaError: they cannot be read.
        """
        object.__setattr__(self, "seeds", self.seeds or benchmark.seeds)
        object.__setattr__(self, "scheme", normalized(self.scheme))
        default = benchmark.transforms if self.scheme == SUPERPOSITION else "none"
        chosen = default if self.transforms is None else self.transforms
        object.__setattr__(self, "transforms", str(Transforms.parse(chosen)))

    def check_learning(self, network: str, benchmark: Benchmark) -> None:
        """Refuse what cannot be learned.

        Raises:
            IntarsiaError: says which setting is wrong and what it may be.
        """
        within = all(0 <= seed <= LARGEST_SEED for seed in self.seeds)
        if len(set(self.seeds)) != len(self.seeds) or not within:
            raise IntarsiaError(f"the seeds must be different numbers from 0 to {LARGEST_SEED}, not {self.seeds}.")
        self._check_baselines(self.baselines_of(benchmark))
        self._check_layerwise()
        self._check_recipe(network, benchmark)
        for name in ("epochs", "baseline_epochs"):
            require_at_least(0, name, getattr(self, name))
        require_at_least(1, "float_epochs", self.float_epochs)

    def baselines_of(self, benchmark: Benchmark) -> tuple[str, ...]:
        """Return the kinds of networks to report in addition; by default not that which is built."""
        if self.baselines is not None:
            return self.baselines
        return tuple(name for name in benchmark.baselines if name != self.scheme)

    def recipe_of(self, benchmark: Benchmark) -> QuantizationRecipe:
        """Return how the quantized networks are trained, except for numbers of epochs."""
        return self._named_recipe(benchmark).with_rate(self.rate)

    def _named_recipe(self, benchmark: Benchmark) -> QuantizationRecipe:
        return benchmark.recipe if self.recipe is None else QUANTIZATION_RECIPES[self.recipe]

    @property
    def float_transforms(self) -> Transforms:
        """What the float network goes through before it is quantized."""
        return Transforms.parse(self.transforms or "none")

    def _check_baselines(self, baselines: tuple[str, ...]) -> None:
        if unknown := [name for name in baselines if name not in BASELINES]:
            raise IntarsiaError(f"there is no baseline {unknown[0]!r}; choose of {', '.join(BASELINES)}.")
        if len(set(baselines)) != len(baselines):
            raise IntarsiaError(f"the baselines must be different ones, not {' '.join(baselines)}.")
        if self.scheme in baselines:
            raise IntarsiaError(
                f"{self.scheme} is already in --baselines; choose another scheme or remove the baseline."
            )
        if self.scheme == LAYERWISE:
            raise IntarsiaError("layerwise is a baseline, with the bits of the scheme; give --baselines layerwise.")

    def _check_layerwise(self) -> None:
        if not self.layerwise_formats:
            raise IntarsiaError("a layer-wise network chooses from at least one format; give --layerwise-formats.")
        for text in self.layerwise_formats:
            LayerScheme.parse(text)
        if self.layerwise_budget not in get_args(Budget):
            raise IntarsiaError(f"there is no budget {self.layerwise_budget!r}; choose bits or cycles.")

    def _check_recipe(self, network: str, benchmark: Benchmark) -> None:
        if self.recipe is not None and self.recipe not in QUANTIZATION_RECIPES:
            raise IntarsiaError(f"there is no recipe {self.recipe!r}; choose one of {', '.join(QUANTIZATION_RECIPES)}.")
        wanted = benchmark.recipe.training.objective
        found = self.recipe_of(benchmark).training.objective
        if found != wanted:
            raise IntarsiaError(
                f"the recipe {self.recipe} trains for {found}, but {network} is a network for {wanted}; choose "
                "another --recipe."
            )
        if self.rate is not None and not 0 < self.rate <= 1:
            raise IntarsiaError(
                f"the rate is relative to each weight tensor's size, above 0 and at most 1, not {self.rate:g}: "
                "0.001 is cautious, 0.01 fast."
            )


def require_at_least(least: int, name: str, value: int | None) -> None:
    """Refuse a count that is too small; None is a default.

    Raises:
        IntarsiaError: says what it must be.
    """
    if value is not None and value < least:
        raise IntarsiaError(f"{name.replace('_', ' ')} must be {least} or more, not {value}.")
