"""Write docs/regularity.md from the results of finished regularity studies, and keep their data.

intarsia explore studies/regularity-resnet8.yaml --workers 2
python benchmarks/regularity.py runs/studies/regularity-resnet8
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from intarsia.files import write_text
from intarsia.report.study import Design, StudyResults, read_results
from intarsia.report.study_page import family, figure

COLUMNS = ("planes of most layers", "accuracy", "bits a weight", "cycles", "transistors of the lanes")
#: Where the sparse weights may lie, step by step, at one density: from anywhere to where the hardware says.
STEPS = {
    0.0625: ("unstructured@0.0625", "blocks4@0.0625", "1:16", "1:16/4", "1:16/16", "inputs@0.0625", "outputs@0.0625",
             "taps@0.0625", "fixed1:16"),
    0.125: ("unstructured@0.125", "blocks4@0.125", "2:16", "2:16/16", "inputs@0.125", "outputs@0.125", "taps@0.125",
            "fixed2:16"),
}  # fmt: skip
SPARSE = ("int3", "int4", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, help="folders of finished studies")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--data", type=Path, default=Path("studies"), help="where tables of all designs are kept")
    options = parser.parse_args()
    results = [read_results(path) for path in options.studies]
    for one in results:
        write_text(options.data / f"{one.name}.csv", one.as_csv())
    write_text(options.docs / "regularity.md", page(results))


def page(results: Sequence[StudyResults]) -> str:
    return "\n".join([INTRODUCTION, *(study(one) for one in results)])


INTRODUCTION = """# What does regularity cost?

Written by `python benchmarks/regularity.py`. Every network is frozen to integers and executed on validation inputs,
never on the test set. Bits count everything that is stored for the weights. Transistors are of the lane array that the
design needs ([what execution units cost](execution-units.md)); the rest of the engine is the same for all. Where there
is a dash, no lanes run these planes. The first and the last layer have four balanced-ternary digits in all of them,
unless said.
"""


def study(one: StudyResults) -> str:
    trained = [epochs for epochs in one.epochs if epochs != 0]
    how = (
        "Post-training quantization with compensated rounding only: nothing here is trained, so these are floors, and "
        "their order need not be that of trained networks."
        if not trained
        else "The best of the cheap evaluation were trained."
    )
    parts = [f"\n## {one.network}\n", f"`studies/{one.name}.yaml`, {len(one.designs)} designs; all of them in"]
    parts.append(f"`studies/{one.name}.csv`. {how}\n")
    for density, steps in STEPS.items():
        parts += [f"\n### {density:.2%} of the weights in high precision\n", regularity(one, steps)]
    parts += ["\n### Beside them\n", others(one), "\n### The front\n", front(one), refused(one)]
    return "\n".join(parts)


def regularity(one: StudyResults, steps: Sequence[str]) -> str:
    by_scheme = {design.scheme: design for design in one.designs}
    rows = []
    for step in steps:
        found = [by_scheme.get(f"ternary+{step}x{form}") for form in SPARSE]
        if not any(found):
            continue
        cells = [figure("accuracy", None if d is None else d.metrics["accuracy"]) for d in found]
        last = next(design for design in reversed(found) if design is not None)
        bits = " / ".join(figure("bits", None if d is None else d.metrics["bits"]) for d in found)
        area = " / ".join(figure("area", None if d is None else d.metrics["area"]) for d in found)
        rows.append((f"`{step}`", *cells, bits, figure("cycles", last.metrics["cycles"]), area))
    head = ("pattern", *(f"accuracy, {form}" for form in SPARSE), "bits a weight", "cycles, int8", "transistors")
    return table(head, rows)


def others(one: StudyResults) -> str:
    kinds = ("uniform", "mix", "dense digits")
    shown = [design for design in one.designs if family(design.scheme) in kinds]
    return table(COLUMNS, [row(design) for design in sorted(shown, key=lambda d: d.metrics["bits"] or 0.0)])


def front(one: StudyResults) -> str:
    return table(COLUMNS, [row(design) for design in one.front])


def row(design: Design) -> tuple[str, ...]:
    name = design.scheme if design.transforms == "none" else f"{design.scheme}; {design.transforms}"
    return (f"`{name}`", *(figure(metric, design.metrics[metric]) for metric in ("accuracy", "bits", "cycles", "area")))


def refused(one: StudyResults) -> str:
    return "".join(f"\nNot evaluated: `{name}`: {reason}\n" for name, reason in one.refused.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
