# SPDX-License-Identifier: Apache-2.0
"""What is known of each built-in network: its data, its scheme, and how it is trained; one TOML file each.

from intarsia.recipes import BENCHMARKS
print(BENCHMARKS["dscnn"].scheme, BENCHMARKS["dscnn"].recipe)
"""

from intarsia.recipes.benchmark import (
    BENCHMARKS,
    OWN,
    QUANTIZATION_RECIPES,
    Benchmark,
    Route,
    benchmark_of,
    float_recipe_of,
    recipe_of,
)
from intarsia.recipes.training import (
    LARGEST_SEED,
    Criterion,
    Phase,
    QuantizationRecipe,
    Recipe,
    Rounding,
    with_epochs,
)

__all__ = [
    "BENCHMARKS",
    "LARGEST_SEED",
    "OWN",
    "QUANTIZATION_RECIPES",
    "Benchmark",
    "Criterion",
    "Phase",
    "QuantizationRecipe",
    "Recipe",
    "Rounding",
    "Route",
    "benchmark_of",
    "float_recipe_of",
    "recipe_of",
    "with_epochs",
]
