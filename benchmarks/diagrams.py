# SPDX-License-Identifier: Apache-2.0
"""Draw the block diagrams of the documentation: docs/flow.svg and docs/engine.svg.

python benchmarks/diagrams.py
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from intarsia.files import write_text
from intarsia.report.charts import standalone

PLAIN, CONTRACT, MEMORY = "#ffffff", "#f3dfd8", "#dde6ee"
_LINE = "#6d665d"
BOLD = ' style="font-weight:bold"'


@dataclass(frozen=True)
class Box:
    """A box: its lines of text, the first one bold, and where it stands."""

    text: tuple[str, ...]
    x: int
    y: int
    width: int = 130
    height: int = 56
    fill: str = PLAIN

    @property
    def left(self) -> tuple[int, int]:
        return self.x, self.y + self.height // 2

    @property
    def right(self) -> tuple[int, int]:
        return self.x + self.width, self.y + self.height // 2

    @property
    def top(self) -> tuple[int, int]:
        return self.x + self.width // 2, self.y

    @property
    def bottom(self) -> tuple[int, int]:
        return self.x + self.width // 2, self.y + self.height

    def svg(self) -> str:
        middle, first = self.x + self.width / 2, self.y + self.height / 2 - 8 * (len(self.text) - 1) + 4
        lines = "".join(
            f'<text x="{middle:g}" y="{first + 16 * number:g}" text-anchor="middle"'
            f"{BOLD if number == 0 else ''}>{escape(line)}</text>"
            for number, line in enumerate(self.text)
        )
        return (
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="5" fill="{self.fill}" '
            f'stroke="{_LINE}"/>{lines}'
        )


@dataclass(frozen=True)
class Arrow:
    """An arrow along straight pieces, with a word at its middle piece."""

    points: tuple[tuple[int, int], ...]
    word: str = ""
    dashed: bool = False

    def svg(self) -> str:
        path = " ".join(f"{x},{y}" for x, y in self.points)
        dashes = ' stroke-dasharray="4 3"' if self.dashed else ""
        look = f'fill="none" stroke="{_LINE}" stroke-width="1.5" marker-end="url(#tip)"'
        line = f'<polyline points="{path}" {look}{dashes}/>'
        if not self.word:
            return line
        middle = (len(self.points) - 1) // 2
        (x1, y1), (x2, y2) = self.points[middle : middle + 2]
        x, y = (x1 + x2) / 2, (y1 + y2) / 2 - 6
        return f'{line}<text class="tick" x="{x:g}" y="{y:g}" text-anchor="middle">{escape(self.word)}</text>'


def picture(title: str, width: int, height: int, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> str:
    """Return boxes and arrows as an SVG file."""
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{_LINE}"/></marker></defs>'
    )
    body = "".join(part.svg() for part in (*boxes, *arrows))
    svg = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{tip}{body}</svg>'
    return standalone(svg)


def flow() -> str:
    """Return the diagram of the flow, from a float network to the report."""
    source = Box(("Float network", "PyTorch, TFLite,", "ONNX, Keras"), 10, 20, height=70)
    data = Box(("Data set",), 10, 110, height=36)
    quantize = Box(("Quantize", "planes, training,", "freezing"), 180, 30, height=70)
    network = Box(("Integer network", "safetensors"), 350, 37, fill=CONTRACT)
    compile_ = Box(("Compile", "cycle model"), 520, 37)
    program = Box(("Program", "descriptors,", "memory images"), 690, 30, height=70, fill=CONTRACT)
    execute = Box(("Execute", "accuracy, ONNX"), 350, 150)
    synthesize = Box(("Synthesize", "area, FPGA"), 520, 150)
    simulate = Box(("Simulate RTL", "bit for bit"), 690, 150)
    report = Box(("Report", "one HTML page"), 520, 250)
    boxes = (source, data, quantize, network, compile_, program, execute, synthesize, simulate, report)
    drop = quantize.x + 40
    arrows = (
        Arrow((source.right, (quantize.x, source.right[1]))),
        Arrow((data.right, (drop, data.right[1]), (drop, quantize.bottom[1]))),
        Arrow((quantize.right, network.left)),
        Arrow((network.right, compile_.left)),
        Arrow((compile_.right, program.left)),
        Arrow((network.bottom, execute.top)),
        Arrow((program.bottom, simulate.top)),
        Arrow((compile_.bottom, synthesize.top)),
        Arrow((execute.bottom, (execute.bottom[0], report.left[1]), report.left)),
        Arrow((synthesize.bottom, report.top)),
        Arrow((simulate.bottom, (simulate.bottom[0], report.right[1]), report.right)),
    )
    title = "Flow: float network and data set, quantize, integer network, compile, program, simulate, report"
    return picture(title, 830, 320, boxes, arrows)


def engine() -> str:
    """Return the diagram of the engine, from the activation memory through the lanes and back."""
    host = Box(("Host bus", "32 bits"), 10, 20)
    control = Box(("Control", "layer descriptors"), 190, 20)
    sequencer = Box(("Sequencer", "issues steps"), 350, 20, width=140)
    fetcher = Box(("Weight fetcher",), 540, 20, width=120)
    weights = Box(("Weight memory", "blocks, requantization"), 710, 20, width=160, fill=MEMORY)
    activations = Box(("Activation memory", "banks of one port"), 10, 130, width=160, fill=MEMORY)
    loader = Box(("Loader",), 220, 130, width=90)
    window = Box(("Window", "16 words"), 370, 130, width=100)
    lanes = Box(("16 lanes", "dot product, slots,", "one accumulator"), 520, 123, width=150, height=70)
    drain = Box(("Drain", "requantization,", "residual"), 735, 123, width=120, height=70)
    boxes = (host, control, sequencer, fetcher, weights, activations, loader, window, lanes, drain)
    back, residual = 250, 220
    arrows = (
        Arrow((host.right, control.left), "start"),
        Arrow((control.right, sequencer.left)),
        Arrow((activations.right, loader.left)),
        Arrow((loader.right, window.left)),
        Arrow((window.right, lanes.left)),
        Arrow((lanes.right, drain.left)),
        Arrow((weights.left, fetcher.right)),
        Arrow(((600, fetcher.bottom[1]), (600, lanes.y))),
        Arrow(((weights.bottom[0], weights.bottom[1]), (weights.bottom[0], drain.y))),
        Arrow((sequencer.right, fetcher.left), dashed=True),
        Arrow((window.top, (window.top[0], sequencer.bottom[1])), dashed=True),
        Arrow(((470, sequencer.bottom[1]), (470, 100), (540, 100), (540, lanes.y))),
        Arrow(((60, activations.bottom[1]), (60, residual), (770, residual), (770, drain.bottom[1])), "residuals"),
        Arrow(((820, drain.bottom[1]), (820, back), (120, back), (120, activations.bottom[1])), "outputs"),
    )
    return picture("Engine: activation memory, loader, window, lanes, drain", 880, 275, boxes, arrows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args()
    for name, svg in (("flow.svg", flow()), ("engine.svg", engine())):
        write_text(options.docs / name, svg)


if __name__ == "__main__":
    main()
