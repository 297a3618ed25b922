# SPDX-License-Identifier: Apache-2.0
"""How many bits do the multipliers need? Narrow those of finished runs, without retraining, and measure.

python benchmarks/scale_bits.py runs/resnet8 runs/dscnn runs/mobilenet runs/autoencoder

Each run gives two networks: int8, quantized after training with multipliers of 16 bits, and the superposition that was
trained, with those of its scheme. The narrowest that costs nothing is chosen on validation inputs; the test set is only
reported. Writes docs/scale-bits.md and docs/scale-bits.svg. Needs the data of the runs (INTARSIA_DATA); a PDK adds
areas in kGE. Each run replaces the figures of its network in studies/results/scale-bits.json; those of networks that
are not given stay.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from intarsia.datasets import Dataset
from intarsia.engine import EngineConfig
from intarsia.engine.sources import write_sources
from intarsia.errors import IntarsiaError
from intarsia.files import write_json, write_text
from intarsia.flow import BENCHMARKS, Settings, last_settings
from intarsia.flow.data import load_data
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.integer.file import load
from intarsia.integer.scales import narrow_scales
from intarsia.networks import load_weights
from intarsia.networks.importers import import_float
from intarsia.quantize import Scheme, freeze, post_training
from intarsia.quantize.data import Samples, labelled
from intarsia.quantize.objectives import objective_of
from intarsia.report.charts import Line, lines, standalone
from intarsia.synthesize.pdk import load_pdk, pdk_root
from intarsia.synthesize.requantizer_sweep import requantizer_areas

COLOURS = ("#b5482f", "#2f6db5", "#3d8a4f", "#8a5fb0")
#: What the explained part of the variance may fall by, to be "nothing".
NOTHING = 0.01


@dataclass(frozen=True)
class Point:
    """One network with multipliers of one width: its figures on validation and test inputs."""

    network: str
    kind: str
    bits: int
    power_of_two: bool
    validation: float
    test: float
    inputs: int
    metric: str

    @property
    def tolerance(self) -> float:
        """What the validation figure may fall by, to be "nothing": for accuracy one standard error."""
        spread = self.validation * (1 - self.validation) / self.inputs
        return spread**0.5 if self.metric == "accuracy" else NOTHING


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument(
        "--data", type=Path, default=Path("studies/results/scale-bits.json"), help="where figures are kept"
    )
    options = parser.parse_args()
    found = [point for run in options.runs for point in sweep(run)]
    kept = [Point(**point) for point in json.loads(options.data.read_text())] if options.data.exists() else []
    made = {point.network for point in found}
    points = [point for point in kept if point.network not in made] + found
    known = list(BENCHMARKS)
    points.sort(key=lambda point: known.index(point.network) if point.network in known else len(known))
    write_json(options.data, [asdict(point) for point in points])
    write_text(options.docs / "scale-bits.svg", standalone(plot(points)))
    write_text(options.docs / "scale-bits.md", page(points))


def sweep(run: Path) -> Iterator[Point]:
    settings = last_settings(run)
    if settings is None:
        raise IntarsiaError(f"{run} holds no finished run; run intarsia run {run.name} first.")
    data, model = load_data(settings), float_model(run)
    known = labelled(data, model).validation
    int8 = freeze(
        post_training(model, data, replace(Scheme.parse("int8"), scale_bits=16), rounding="nearest"), name="int8"
    )
    built = load(run / "quantize" / f"superposition-seed{settings.seeds[0]}.safetensors")
    for kind, network in (("int8", int8), ("superposition", built)):
        widths = [(bits, False) for bits in range(network.scale_bits, 0, -1)] + [(network.scale_bits, True)]
        for bits, power_of_two in widths:
            narrow = narrow_scales(network, bits, power_of_two=power_of_two)
            figures = merit(narrow, known, data, settings), score(narrow, data)
            point = Point(run.name, kind, bits, power_of_two, *figures, len(known.images), data.metric)
            print(f"{point.network} {kind} {bits} bits{' 2^n' * power_of_two}: {point.validation:.4f} {point.test:.4f}")
            yield point


def float_model(run: Path) -> nn.Module:
    path = next(path for path in sorted((run / "train").glob("float.*")) if path.suffix != ".json")
    return load_weights(path)[0] if path.suffix == ".safetensors" else import_float(path).module


def merit(network: IntegerNetwork, known: Samples, data: Dataset, settings: Settings) -> float:
    objective = objective_of(settings.benchmark.recipe.training)
    outputs = Executor(network).run(data.scaling.integers(known.images)) * network.output.scale
    x = torch.from_numpy(data.scaling.reals(known.images))
    return float(objective.merit(torch.from_numpy(outputs).float(), x, torch.from_numpy(known.labels)))


def score(network: IntegerNetwork, data: Dataset) -> float:
    outputs = Executor(network).run(data.scaling.integers(data.test.images)) * network.output.scale
    return data.score(outputs, data.test)


def plot(points: list[Point]) -> str:
    entries = []
    for colour, name in zip(COLOURS, dict.fromkeys(point.network for point in points), strict=False):
        chosen = [p for p in points if p.network == name and p.kind == "superposition" and not p.power_of_two]
        entries.append(Line(name, colour, tuple((p.bits, p.test) for p in chosen)))
    return lines(
        entries,
        "multiplier width [bits]",
        "test score (accuracy or AUC)",
        "test score of superposition networks over the width of the multipliers",
    )


def narrowest(points: list[Point], kind: str) -> int:
    """Return the fewest bits down to which no network's validation figure falls by more than its tolerance."""
    mine = [p for p in points if p.kind == kind and not p.power_of_two]
    widest = {p.network: p for p in reversed(mine)}
    bad = [p.bits for p in mine if p.validation < widest[p.network].validation - widest[p.network].tolerance]
    return max(bad, default=0) + 1


def page(points: list[Point]) -> str:
    names = list(dict.fromkeys((p.network, p.kind) for p in points))
    titles = [f"{network}, {kind}" for network, kind in names]
    head = "| bits | " + " | ".join(titles) + " |"
    rule = "|---|" + "---|" * len(names)
    rows = [row(str(bits), points, names, bits, power_of_two=False) for bits in range(16, 0, -1)]
    rows.append(row("powers of two", points, names, None, power_of_two=True))
    return f"""# Requantization multiplier width

Written by `python benchmarks/scale_bits.py`. Test scores (accuracy, or AUC of the autoencoder) by the width of the
multipliers, with the validation figure in brackets (accuracy, agreement with the float network where labels are
unknown, or the explained part of the variance). Multipliers were narrowed after training. Nothing was retrained;
retraining with narrow multipliers may give better scores.

{head}
{rule}
{chr(10).join(rows)}

The narrowest multipliers for which no network's validation figure falls by more than one standard error (explained
variance: by more than {NOTHING}):

- int8: **{narrowest(points, "int8")} bits**;
- superposition, compared with the width that each network was trained with:
  **{narrowest(points, "superposition")} bits**.

The default engine has {EngineConfig().scale_bits} bits.

![Test score over the width of the multipliers](scale-bits.svg)

## Area

Area of one requantizer, synthesized for each width; the engine has {EngineConfig().requant_lanes} of them.

{areas()}
"""


def row(title: str, points: list[Point], names: list[tuple[str, str]], bits: int | None, *, power_of_two: bool) -> str:
    cells = []
    for name in names:
        found = [
            p
            for p in points
            if (p.network, p.kind) == name and p.power_of_two == power_of_two and bits in (None, p.bits)
        ]
        cells.append(f"{found[0].test:.4f} ({found[0].validation:.4f})" if found else "–")
    return f"| {title} | " + " | ".join(cells) + " |"


def areas() -> str:
    root = pdk_root()
    pdk = None if root is None else load_pdk(root)
    with tempfile.TemporaryDirectory() as folder:
        found = requantizer_areas(tuple(write_sources(Path(folder))), pdk=pdk)
    lines_ = ["| bits | transistors | kGE |", "|---|---|---|"]
    for area in found:
        kge = "–" if area.kge is None else f"{area.kge:.3f}"
        lines_.append(f"| {area.scale_bits} | {area.transistors:,.0f} | {kge} |")
    return chr(10).join(lines_)


if __name__ == "__main__":
    main()
