# SPDX-License-Identifier: Apache-2.0
"""Write docs/superposition.md from finished searches of a network's superposition, and keep their data.

intarsia explore studies/superposition-resnet8.yaml --workers 2
python benchmarks/superposition.py runs/studies/superposition-resnet8

The same with dscnn, mobilenet and autoencoder. Each study replaces what is kept of it in studies/results; the page is
of those that are kept there, and marks the scheme of the network's recipe.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from intarsia.explore.front import front as pareto_front
from intarsia.files import write_json, write_text
from intarsia.quantize import Scheme
from intarsia.recipes import BENCHMARKS
from intarsia.report.charts import Cloud, scatter, standalone
from intarsia.report.metrics import ACCURACY, AREA, BITS, CYCLES, ENERGY, Metric
from intarsia.report.study import Design, StudyResults, read_results
from intarsia.typed_json import to_json

STUDIES = Path("studies")
COSTS = {BITS: "bits", ENERGY: "energy", AREA: "area"}
COLUMNS = ("", "scheme", "validation", "bits per weight", "energy, nJ", "lane transistors", "cycles")
_GREY, _BLUE, _RED = "#9aa5b1", "#2f6db5", "#c0392b"

INTRODUCTION = """# Choosing the superposition

Written by `python benchmarks/superposition.py`. How many weights of a block are precise, how wide they are, whether
output channels share their positions, and where in the network: searched for each network with `intarsia explore`
(NSGA-II) for accuracy, bits, energy and area together.

- Designs are quantized after training and measured on validation inputs, never on the test set. Training lifts them
  all, ternary planes most, and keeps their order mostly ([regularity](regularity.md)). So the search says which designs
  are worth training.
- Energy is the [fast model](energy.md)'s, area that of the lanes ([execution units](execution-units.md)).
- **R** marks the scheme of the network's recipe (`src/intarsia/recipes`), which `intarsia run` trains.
- Tables show the designs that none beats in validation and bits together, and the recipe.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", type=Path, help="folders of finished searches")
    options = parser.parse_args()
    for one in map(read_results, options.studies):
        write_json(STUDIES / "results" / f"{one.name}.json", to_json(one))
    results = kept_in(STUDIES)
    for one in results:
        write_text(Path("docs") / f"{one.name}.svg", standalone(plot(one)))
    write_text(Path("docs/superposition.md"), page(results))


def kept_in(studies: Path) -> list[StudyResults]:
    """Return the searches that have been run, in the order of the networks."""
    paths = [studies / "results" / f"superposition-{name}.json" for name in BENCHMARKS]
    return [read_results(path) for path in paths if path.exists()]


def page(results: Sequence[StudyResults]) -> str:
    return "\n".join([INTRODUCTION, *map(section, results)])


def section(one: StudyResults) -> str:
    known = sorted(measured(one), key=lambda design: design.metrics[BITS.name] or 0.0)
    chosen = [design for design in known if design in front(known, (BITS,)) or is_recipe(one, design)]
    # Two that cost the same are the same planes in other words.
    shown = {(is_recipe(one, d), *(d.metrics[m.name] for m in (ACCURACY, *COSTS))): d for d in reversed(chosen)}
    lines = [
        f"## {one.network}\n",
        f"`studies/{one.name}.yaml`, {len(one.designs)} designs, {one.seconds / 60:.0f} minutes on a busy machine.\n",
        f"{recipe_words(one, known)}\n",
        f"![validation over bits per weight]({one.name}.svg)\n",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for design in reversed(shown.values()):
        cells = [metric.text(design.metrics[metric.name]) for metric in (ACCURACY, *COSTS, CYCLES)]
        mark = "R" if is_recipe(one, design) else ""
        lines.append(f"| {mark} | `{brief(design.scheme)}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def recipe_words(one: StudyResults, known: Sequence[Design]) -> str:
    """Say whether the recipe's scheme is on the front, and of which costs; if not, which designs beat it."""
    recipe = next((design for design in known if is_recipe(one, design)), None)
    if recipe is None:
        return "The recipe's scheme is not among them."
    if recipe in front(known, COSTS):
        alone = [name for metric, name in COSTS.items() if recipe in front(known, (metric,))]
        also = f", also of accuracy and {' or '.join(alone)} alone" if alone else ""
        return f"The recipe's scheme is on the front of accuracy, bits, energy and area{also}."
    better = [design for design in known if recipe not in front([design, recipe], COSTS)]
    best = max(better, key=lambda design: design.metrics[ACCURACY.name] or 0.0)
    gain = ACCURACY.difference((best.metrics[ACCURACY.name] or 0.0) - (recipe.metrics[ACCURACY.name] or 0.0))
    return (
        f"The recipe's scheme is not on the front: {len(better)} beat it in all, before training, the most accurate, "
        f"`{brief(best.scheme)}`, by {gain}."
    )


def brief(scheme: str) -> str:
    """Return a scheme without the layers that it names only to give them the default's planes."""
    return re.sub(r", (?!first|last|depthwise)[^=,]+=default\b", "", scheme)


def is_recipe(one: StudyResults, design: Design) -> bool:
    benchmark = BENCHMARKS[one.network]
    return design.transforms == benchmark.transforms and Scheme.parse(design.scheme) == Scheme.parse(benchmark.scheme)


def measured(one: StudyResults) -> list[Design]:
    """Return the designs that have every figure."""
    return [
        design
        for design in one.designs
        if None not in [design.metrics.get(metric.name) for metric in (ACCURACY, *COSTS, CYCLES)]
    ]


def front(designs: Sequence[Design], costs: Iterable[Metric]) -> list[Design]:
    """Return the designs that none beats in accuracy and these costs."""
    objectives = [ACCURACY.name, *(cost.name for cost in costs)]
    return [designs[index] for index in pareto_front([design.metrics for design in designs], objectives)]


def plot(one: StudyResults) -> str:
    """Return all designs, those of the front, and the recipe's, over bits."""
    known = measured(one)
    best = front(known, COSTS)
    groups = {
        ("others", _GREY): [design for design in known if design not in best and not is_recipe(one, design)],
        ("front of accuracy, bits, energy and area", _BLUE): [d for d in best if not is_recipe(one, d)],
        ("recipe", _RED): [design for design in known if is_recipe(one, design)],
    }
    clouds = [
        Cloud(
            name,
            colour,
            tuple((d.metrics[BITS.name] or 0.0, 100 * (d.metrics[ACCURACY.name] or 0.0), d.name) for d in group),
        )
        for (name, colour), group in groups.items()
        if group
    ]
    return scatter(clouds, "bits per weight", "validation [%]", f"{one.network}: validation over bits per weight")


if __name__ == "__main__":
    main()
