# SPDX-License-Identifier: Apache-2.0
"""Write docs/regularity.md and its plots from the results of finished regularity studies, and keep their data.

intarsia explore studies/regularity-resnet8.yaml --workers 2
intarsia explore studies/regularity-dscnn.yaml --workers 2
python benchmarks/regularity.py runs/studies/regularity-resnet8 runs/studies/regularity-dscnn

Studies that train, as studies/trained-resnet8.yaml does, may be added to the last line. Each replaces what is kept of
it in studies/results; the page is of those that are kept there (`STUDIES`).
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from intarsia.files import write_json, write_text
from intarsia.report.charts import Cloud, scatter, standalone
from intarsia.report.metrics import ACCURACY, AREA, BITS, CYCLES, DESIGN_METRICS, ENERGY, Metric
from intarsia.report.study import Design, StudyResults, read_results
from intarsia.report.study_page import FAMILIES, family
from intarsia.typed_json import to_json

#: What these studies have measured: of energy, that of memory accesses alone.
SHOWN = {name: metric for name, metric in DESIGN_METRICS.items() if metric is not ENERGY}
COLUMNS = (
    "planes of most layers",
    "accuracy",
    "bits per weight",
    "bytes",
    "cycles",
    "lane transistors",
    "memory energy, nJ",
)
#: In the order of the page.
STUDIES = ("regularity-resnet8", "trained-resnet8", "regularity-dscnn", "trained-dscnn")
#: Where the sparse weights may lie, step by step, at one density: from anywhere to where the hardware says.
STEPS = {
    0.03125: ("unstructured@0.03125", "blocks4@0.03125", "inputs@0.03125", "outputs@0.03125", "taps@0.03125"),
    0.0625: ("unstructured@0.0625", "blocks4@0.0625", "1:16", "1:16/4", "1:16/16", "inputs@0.0625", "outputs@0.0625",
             "taps@0.0625", "fixed1:16"),
    0.125: ("unstructured@0.125", "blocks4@0.125", "2:16", "2:16/16", "inputs@0.125", "outputs@0.125", "taps@0.125",
            "fixed2:16"),
}  # fmt: skip
#: As the search finds it for the bits of ternary+1:16xint4 on ResNet-8.
LAYER_WISE = "int2, stem=int8, stack1.conv1=int4, stack1.conv2=int4, stack2.shortcut=int8, fc=int4, scales=6"
#: Up to so many designs are labelled in the plots.
FEW = 30
SPARSE = ("int2", "int3", "int4", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", type=Path, help="folders of studies")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--data", type=Path, default=Path("studies"), help="where tables of all designs are kept")
    options = parser.parse_args()
    for one in map(read_results, options.studies):
        write_json(options.data / "results" / f"{one.name}.json", to_json(one))
        write_text(options.data / f"{one.name}.csv", one.as_csv())
    results = kept_in(options.data)
    if not results:
        parser.error(f"no study is kept in {options.data / 'results'}; give the folders of finished ones")
    for one in results:
        for name, plot in plots(one).items():
            write_text(options.docs / name, standalone(plot))
    write_text(options.docs / "regularity.md", page(results))


def kept_in(data: Path) -> list[StudyResults]:
    """Return the studies of the page that have been run."""
    paths = [data / "results" / f"{name}.json" for name in STUDIES]
    return [read_results(path) for path in paths if path.exists()]


def page(results: Sequence[StudyResults]) -> str:
    parts = [trained(one) if is_trained(one) else study(one) for one in results]
    return "\n".join([INTRODUCTION.rstrip("\n"), "", *map(findings, results), *parts]).rstrip("\n") + "\n"


INTRODUCTION = """# What does regularity cost?

Written by `python benchmarks/regularity.py`. Terms and conditions:

- Every network is frozen to integers and executed on validation inputs, never on the test set.
- Bits count everything stored for the weights, indices and scales included.
- Transistors are those of the lane array that the design needs ([what execution units cost](execution-units.md)); the
  rest of the engine is the same for all designs.
- Memory energy is an estimate from IHP's 130 nm macros: the accesses of the engine's memories while it runs, without
  the lanes ([where the costs come from](explore.md#where-the-costs-come-from)).
- Patterns without slots run on dense lanes, as wide as the sum of their planes. A dash means that no lane array runs
  these planes.
- The first and the last layer have four balanced-ternary digits in all designs, unless stated otherwise (the names of
  DS-CNN's designs say so). The smallest possible choice of whole taps is one of nine, so all densities of taps are the
  same design.

## Findings

One change at a time, of the planes of most layers. ± is the standard error of a difference, seed by seed; a difference
without ± is of a single seed, whose noise is half a point.

"""


def findings(one: StudyResults) -> str:
    """Return what each change costs and gains."""
    designs = {planes_of(design): design for design in (trained_designs(one) if is_trained(one) else one.designs)}
    return f"### {one.network}, {_how(one, designs)}\n\n{steps_of(designs)}\n"


def _how(one: StudyResults, designs: Mapping[str, Design]) -> str:
    if not is_trained(one):
        return "post-training only"
    epochs = max(number or 0 for number in one.epochs)
    return f"trained for {epochs} epochs"


def is_trained(one: StudyResults) -> bool:
    return any(epochs != 0 for epochs in one.epochs)


def plots(one: StudyResults) -> dict[str, str]:
    """Return the study's plots by the name of their file."""
    cost = clouds(one, lambda d: (d.metrics["bytes"], 100 * (d.metrics["accuracy"] or 0.0)))
    found = {
        f"{one.name}.svg": scatter(
            cost, "weights [bytes]", "validation accuracy [%]", f"{one.name}: accuracy over bytes"
        )
    }
    if is_trained(one):
        pairs = clouds(one, lambda d: (100 * d.accuracies[0], 100 * d.accuracies[-1]) if d.rung else (None, 0.0))
        title = f"{one.name}: accuracy after training over accuracy before it"
        found[f"{one.name}-cheap.svg"] = scatter(
            pairs, "accuracy after post-training quantization [%]", "accuracy after training [%]", title
        )
    return found


def clouds(one: StudyResults, place: Callable[[Design], tuple[float | None, float]]) -> list[Cloud]:
    """Return the designs by their family, each where `place` says; those without a place are left out."""
    found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in FAMILIES}
    labels: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for design in one.designs:
        x, y = place(design)
        if x is not None:
            found[family(design.scheme)].append((x, y, name_of(design)))
            labels[family(design.scheme)].append(label_of(design))
    few = len(one.designs) <= FEW
    return [
        Cloud(name, FAMILIES[name], tuple(points), tuple(labels[name]) if few else ())
        for name, points in found.items()
        if points
    ]


def label_of(design: Design) -> str:
    """Return a design's planes as briefly as the legend of a plot allows."""
    if family(design.scheme) == "layer-wise":
        return "layer-wise"
    planes = planes_of(design).removeprefix("ternary+").replace(" | ", ", ")
    return planes.replace("@0.0625", "").replace("mix-outputs:", "mix ")


def figure(metric: Metric, design: Design | None) -> str:
    """Return a metric of a design as text; a dash where there is no such design."""
    return metric.text(None if design is None else design.metrics.get(metric.name))


def trained(one: StudyResults) -> str:
    """Return the section of a study whose designs were trained."""
    designs = trained_designs(one)
    rows = []
    for design in sorted(designs, key=lambda d: -d.accuracies[-1]):
        seeds = len(design.seeds)
        spread = f" ({min(design.by_seed):.2%} to {max(design.by_seed):.2%}, {seeds} seeds)" if seeds > 1 else ""
        cells = [figure(metric, design) for metric in list(SHOWN.values())[1:]]
        rows.append(
            (f"`{name_of(design)}`", f"{design.accuracies[0]:.2%}", f"{design.accuracies[-1]:.2%}{spread}", *cells)
        )
    correlation = next((value for value in one.correlations if value is not None), None)
    words = "–" if correlation is None else f"{correlation:.2f}"
    epochs = max(number or 0 for number in one.epochs)
    seeded = sum(len(design.seeds) >= 3 for design in designs)
    parts = [
        f"\n## {one.network}, trained\n",
        f"`studies/{one.name}.yaml`: {trained_of(one)}, for {epochs} epochs from compensated rounding, "
        + ("with one seed." if not seeded else f"{seeded} of them with three seeds."),
        f"Spearman's rank correlation of the post-training accuracy with the trained accuracy is {words}.\n",
        f"![accuracy over bytes]({one.name}.svg)\n",
        f"![accuracy after training over accuracy before it]({one.name}-cheap.svg)\n",
        "Labels leave out `ternary+` and the density.\n",
        table((COLUMNS[0], "before training", "trained", *COLUMNS[2:]), rows),
    ]
    return "\n".join(parts)


def trained_designs(one: StudyResults) -> list[Design]:
    """Return the designs that reached a rung that trains."""
    return [design for design in one.designs if one.epochs[design.rung] != 0]


def trained_of(one: StudyResults) -> str:
    """Say how many designs are trained, and that there are more to come, if so."""
    done = len(trained_designs(one))
    whole = f"{len(one.designs)} designs"
    return f"{whole}, trained" if done == len(one.designs) else f"{whole}, {done} of them trained so far"


def changes_among(by_name: Mapping[str, Design]) -> Iterator[tuple[str, Design, Design]]:
    """Yield each of `STEPS_BETWEEN` of which both designs are there."""
    for title, first, second in STEPS_BETWEEN:
        if first in by_name and second in by_name:
            yield title, by_name[first], by_name[second]


def changed(metric: Metric, one: Design, other: Design) -> str:
    """Return by which part of it another design has more of a metric; a dash where one has no figure."""
    a, b = one.metrics.get(metric.name), other.metrics.get(metric.name)
    return "–" if a is None or b is None else f"{round((b - a) / a, 3) + 0.0:+.1%}"  # never -0.0%


def steps_of(by_name: Mapping[str, Design]) -> str:
    """Return what each choice gains over another one that it differs from in one thing."""
    rows = []
    for title, one, other in changes_among(by_name):
        differences = [changed(metric, one, other) for metric in list(SHOWN.values())[2:]]
        rows.append((title, f"`{planes_of(one)}`", f"`{planes_of(other)}`", gained(one, other), *differences))
    return table(("change", "from", "to", "accuracy, points", *COLUMNS[3:]), rows)


def gained(one: Design, other: Design) -> str:
    """Return by how many points another design is better with the seeds that both have, and its standard error."""
    if (one.rung == 0) != (other.rung == 0):
        return "–"  # one of them is not trained
    known = dict(zip(one.seeds, one.by_seed, strict=True))
    pairs = [
        100 * (value - known[seed]) for seed, value in zip(other.seeds, other.by_seed, strict=True) if seed in known
    ]
    error = f" ± {stdev(pairs) / len(pairs) ** 0.5:.2f}" if len(pairs) > 1 else ""
    return f"{mean(pairs):+.2f}{error}" if pairs else "–"


#: What is compared: a title, a design, and one that differs in one thing.
STEPS_BETWEEN = (
    ("add a sparse plane", "ternary", "ternary+1:16xint4"),
    ("n:m instead of unstructured", "ternary+unstructured@0.0625xint4", "ternary+1:16xint4"),
    ("blocks instead of unstructured", "ternary+unstructured@0.0625xint4", "ternary+blocks4@0.0625xint4"),
    ("shared by 4 outputs", "ternary+1:16xint4", "ternary+1:16/4xint4"),
    ("shared by 16 outputs", "ternary+1:16xint4", "ternary+1:16/16xint4"),
    ("fixed", "ternary+1:16/16xint4", "ternary+fixed1:16xint4"),
    ("whole inputs", "ternary+1:16/16xint4", "ternary+inputs@0.0625xint4"),
    ("whole outputs", "ternary+1:16xint4", "ternary+outputs@0.0625xint4"),
    ("taps", "ternary+1:16xint4", "ternary+taps@0.0625xint4"),
    ("int3 instead of int4", "ternary+1:16xint4", "ternary+1:16xint3"),
    ("int8 instead of int4", "ternary+1:16xint4", "ternary+1:16xint8"),
    ("twice as many", "ternary+1:16xint4", "ternary+2:16xint4"),
    ("twice as many, shared", "ternary+1:16/16xint4", "ternary+2:16/16xint4"),
    ("permuting", "ternary+1:16xint4", "ternary+1:16xint4 | permute"),
    ("permuting, shared by 16", "ternary+1:16/16xint4", "ternary+1:16/16xint4 | permute"),
    ("permuting, fixed", "ternary+fixed1:16xint4", "ternary+fixed1:16xint4 | permute"),
    ("equalizing", "ternary", "ternary | equalize"),
    ("equalizing, with a sparse plane", "ternary+1:16xint4", "ternary+1:16xint4 | equalize"),
    ("widening", "ternary", "ternary | widen1.25"),
    ("superposition instead of widening", "ternary | widen1.25", "ternary+1:16xint4"),
    ("superposition instead of int2", "int2", "ternary+1:16xint4"),
    ("layer-wise precision instead of superposition", "ternary+1:16xint4", LAYER_WISE),
    ("int3 instead of superposition", "ternary+2:16xint4", "int3"),
)


def study(one: StudyResults) -> str:
    parts = [
        f"\n## {one.network}, post-training only\n",
        f"`studies/{one.name}.yaml`, {len(one.designs)} designs; all of them in",
    ]
    parts.append(f"`studies/{one.name}.csv`. Post-training quantization with compensated rounding: nothing here is")
    parts.append(
        f"trained, so accuracies are lower bounds, and trained networks may rank differently. {seeds_of(one)}\n"
    )
    parts.append(f"![accuracy over bytes]({one.name}.svg)\n")
    for density, steps in STEPS.items():
        parts += [f"\n### {density:.2%} of the weights in high precision\n", regularity(one, steps)]
    parts += ["\n### Other designs\n", others(one), "\n### Pareto front\n", front(one), refused(one)]
    return "\n".join(parts)


def seeds_of(one: StudyResults) -> str:
    """Say how many draws of calibration inputs the figures are of, and how far they spread."""
    seeds = min(len(design.seeds) for design in one.designs)
    if seeds == 1:
        return "Figures are measured with one draw of calibration inputs."
    spread = 100 * mean(stdev(design.by_seed) for design in one.designs)
    return (
        f"Figures are means over {seeds} draws of calibration inputs, one draw's standard deviation is {spread:.1f} "
        "points on average; ± is the standard error of the difference, draw by draw."
    )


def regularity(one: StudyResults, steps: Sequence[str]) -> str:
    by_scheme = {planes_of(design): design for design in one.designs if design.transforms == "none"}
    rows = []
    for step in steps:
        found = [by_scheme.get(f"ternary+{step}x{form}") for form in SPARSE]
        if not any(found):
            continue
        cells = [figure(ACCURACY, d) for d in found]
        last = next(design for design in reversed(found) if design is not None)
        bits = " / ".join(figure(BITS, d) for d in found)
        area = " / ".join(figure(AREA, d) for d in found)
        rows.append((f"`{step}`", *cells, bits, figure(CYCLES, last), area))
    head = ("pattern", *(f"accuracy, {form}" for form in SPARSE), "bits per weight", "cycles, int8", "transistors")
    return table(head, rows)


def others(one: StudyResults) -> str:
    kinds = ("uniform", "mix", "dense digits")
    shown = [design for design in one.designs if family(design.scheme) in kinds or design.transforms != "none"]
    return table(COLUMNS, [row(design) for design in sorted(shown, key=lambda d: d.metrics["bits"] or 0.0)])


def front(one: StudyResults) -> str:
    return table(COLUMNS, [row(design) for design in one.front])


def row(design: Design) -> tuple[str, ...]:
    return (f"`{name_of(design)}`", *(figure(metric, design) for metric in SHOWN.values()))


def planes_of(design: Design) -> str:
    """Return a design's planes of most layers, and its transforms behind a bar."""
    planes = design.scheme
    if family(planes) != "layer-wise":
        planes, *_ = planes.split(",")
    return planes if design.transforms == "none" else f"{planes} | {design.transforms}"


def name_of(design: Design) -> str:
    return design.scheme if design.transforms == "none" else f"{design.scheme} | {design.transforms}"


def refused(one: StudyResults) -> str:
    return "".join(f"\nNot evaluated: `{name}`: {reason}\n" for name, reason in one.refused.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
