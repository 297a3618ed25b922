"""Write the figures of finished runs into the README, with pictures.

python benchmarks/results.py runs/digits runs/resnet8
"""

import argparse
import json
from io import BytesIO
from pathlib import Path

from PIL import Image

from intarsia.engine.cycles import LayerCycles
from intarsia.files import write_bytes, write_text
from intarsia.integer.file import load
from intarsia.report.charts import Bar, stacked_bars, standalone
from intarsia.report.page import CYCLE_SERIES, cycle_parts
from intarsia.report.pictures import pictures_of

#: Weights across the picture of a layer.
WIDEST = 400
START, END = "<!-- results: written by benchmarks/results.py from runs/*/results.json -->\n", "<!-- end of results -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs; the last one gives the picture")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    options = parser.parse_args()
    sections = []
    for run in options.runs:
        results = json.loads((run / "results.json").read_text())
        table = (run / "results.txt").read_text().rstrip()
        sections.append(f"**{results['title']}** — `{results['command']}`\n\n```\n{table}\n```\n")
    text = options.readme.read_text()
    before, rest = text.split(START)
    write_text(options.readme, f"{before}{START}\n{chr(10).join(sections)}\n{END}{rest.split(END)[1]}")
    draw(options.runs[-1], options.docs)


def draw(run: Path, docs: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    layers = [LayerCycles(**layer) for layer in results["cycles"]]
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
