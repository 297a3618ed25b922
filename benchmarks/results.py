# SPDX-License-Identifier: Apache-2.0
"""Write the figures of finished runs into the README and docs/results.md, with pictures.

python benchmarks/results.py runs/digits runs/dscnn --main runs/resnet8 --own runs/mine   # or any of these alone

Each run replaces the section of its network in docs/results.md; the main one goes into the README and gives the
pictures. The accuracies of the digits network also go where the README tells what `make run` does.
"""

import argparse
from io import BytesIO
from pathlib import Path

from PIL import Image

from intarsia.files import write_bytes, write_text
from intarsia.integer.file import load
from intarsia.report import read_run
from intarsia.report.charts import Bar, stacked_bars, standalone
from intarsia.report.page import CYCLE_SERIES, cycle_parts
from intarsia.report.pictures import pictures_of

#: Weights across the picture of a layer.
WIDEST = 400
RESULTS = ("<!-- results: written by benchmarks/results.py from runs/*/results.json -->\n", "<!-- end of results -->")
DIGITS = ("<!-- digits: written by benchmarks/results.py -->\n", "<!-- end of digits -->")
OWN = ("<!-- own: written by benchmarks/results.py -->\n", "<!-- end of own -->")
QUICK = ("<!-- quick: written by benchmarks/results.py -->\n", "<!-- end of quick -->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs, for docs/results.md")
    parser.add_argument("--main", type=Path, help="folder of the run for the README and the pictures")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    parser.add_argument("--own", type=Path, help="folder of the run of examples/own_file.py, for docs/own-network.md")
    parser.add_argument("--quick", type=Path, help="folder of the run of post-training quantization, for the README")
    options = parser.parse_args()
    for run, path, marks in (
        (options.own, options.docs / "own-network.md", OWN),
        (options.quick, options.readme, QUICK),
    ):
        if run:
            table = (run / "results.txt").read_text().rstrip()
            insert(path, marks, f"\n```\n{table}\n```\n\n")
    for run in options.runs:
        replace_section(options.docs / "results.md", run)
        if read_run(run / "results.json").network == "digits":
            table = (run / "results.txt").read_text(encoding="utf-8")
            accuracies = [line for line in table.splitlines() if line.startswith("accuracy")]
            insert(options.readme, DIGITS, "\n```\n{}\n```\n\n".format("\n".join(accuracies)))
    if options.main:
        insert(options.readme, RESULTS, f"\n{section_of(options.main)}\n")
        draw(options.main, options.docs)


def section_of(run: Path) -> str:
    """Return a run's title, command and table."""
    results = read_run(run / "results.json")
    table = (run / "results.txt").read_text(encoding="utf-8").rstrip()
    return f"**{results.title}** — `{results.command}`\n\n```\n{table}\n```\n"


def replace_section(path: Path, run: Path) -> None:
    """Replace the section of a run's network, or add one at the end."""
    section = section_of(run)
    title = section.partition(" — ")[0]
    inside = path.read_text(encoding="utf-8").split(RESULTS[0])[1].split(RESULTS[1])[0]
    sections = [f"**{text.strip()}\n" for text in f"\n{inside.strip()}".split("\n**") if text.strip()]
    if not any(one.startswith(title) for one in sections):
        sections.append(section)
    found = [section if one.startswith(title) else one for one in sections]
    insert(path, RESULTS, "\n" + "\n".join(found) + "\n")


def insert(path: Path, marks: tuple[str, str], text: str) -> None:
    """Replace what stands between two marks of a file."""
    before, rest = path.read_text(encoding="utf-8").split(marks[0])
    write_text(path, f"{before}{marks[0]}{text}{marks[1]}{rest.split(marks[1])[1]}")


def draw(run: Path, docs: Path) -> None:
    layers = read_run(run / "results.json").cycles
    bars = [Bar(layer.name, cycle_parts(layer), f"{layer.cycles:,}") for layer in layers]
    chart = stacked_bars(CYCLE_SERIES, bars, "cycles", "cycles by layer and where they go")
    write_text(docs / "cycles.svg", standalone(chart))
    network = load(next((run / "quantize").glob("superposition-seed*.safetensors")))
    fitting = [picture for picture in pictures_of(network) if picture.nonzero_sparse > 0 and picture.width <= WIDEST]
    picture = max(fitting, key=lambda picture: picture.height * picture.width)
    factor = 2 * WIDEST // picture.width
    pixels = Image.open(BytesIO(picture.png)).convert("RGB")
    grown = BytesIO()
    pixels.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST).save(grown, "PNG")
    write_bytes(docs / "planes.png", grown.getvalue())
    print(f"wrote {docs / 'cycles.svg'} and {docs / 'planes.png'} ({picture.layer})")


if __name__ == "__main__":
    main()
