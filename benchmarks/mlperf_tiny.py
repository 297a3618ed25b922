# SPDX-License-Identifier: Apache-2.0
"""Write docs/mlperf-tiny.md from the results of finished runs, several of one network if need be.

python benchmarks/mlperf_tiny.py runs/resnet8 runs/dscnn runs/mobilenet runs/autoencoder

Each run replaces the rows of its folder in studies/results/mlperf-tiny.json; of folders that are not given, the rows
kept there stay: one network may be repeated without training the others again. Further seeds of a network may come from
a run in a folder of its own, `--seeds 1 2 --out runs/more`; they are shown with those of the first.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from intarsia.datasets import Metric as ScoreName
from intarsia.files import write_json, write_text
from intarsia.flow import BENCHMARKS
from intarsia.report import Results, read_run
from intarsia.report.metrics import BITS, SCORES
from intarsia.typed_json import read_typed, to_json

Row = tuple[str, ...]

ACCURACY = ("network", "kind", "planes and training", "score", "seeds", "bits per weight", "weights, bytes", "cycles")
#: In the order of the comparison.
KINDS = ("superposition", "layerwise", "ternary", "int8")
#: Bits per weight that a search may be off between seeds.
_SAME_BITS = 0.05
COMPARED = ("network", *KINDS, "bits per weight, in this order")
HARDWARE = (
    "network",
    "cycles",
    "compute",
    "weights",
    "activations",
    "largest per layer",
    "input over the bus, cycles",
    "verification",
)


@dataclass(frozen=True)
class Scored:
    """A network's score on the test set, the mean over its seeds; bytes and cycles are None where it has none.

    `by_seed` are the scores of the seeds, in their order; empty where they were not kept.
    """

    network: str
    kind: str
    made: str
    metric: ScoreName
    score: float
    seeds: tuple[int, ...]
    effective_bits: float
    weight_bytes: int | None
    cycles: int | None
    by_seed: tuple[float, ...]

    @property
    def spreads(self) -> bool:
        """Whether the scores of several seeds are known."""
        return len(self.by_seed) > 1


@dataclass(frozen=True)
class OnEngine:
    """Cycles of the network that a run builds, with their lower bounds; the rest is None where nothing was simulated.

    Attributes:
        roof: the largest lower bound of each layer, summed.
        input_cycles: to write an input over the bus.
        values: compared with the integer executor, on so many inputs; all were equal.
    """

    network: str
    cycles: int
    compute: float
    weights: int
    activations: int
    roof: float
    input_cycles: int | None
    values: int | None
    images: int | None


@dataclass(frozen=True)
class Findings:
    """What the page says of a run."""

    network: str
    command: str
    data: str
    scores: tuple[Scored, ...]
    engine: OnEngine | None


@dataclass(frozen=True)
class Kept:
    """The file of findings, by the folder of the run."""

    runs: Mapping[str, Findings] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument(
        "--data", type=Path, default=Path("studies/results/mlperf-tiny.json"), help="where findings are kept"
    )
    options = parser.parse_args()
    kept = read_typed(Kept, options.data).runs if options.data.exists() else {}
    found = {run.as_posix(): findings_of(read_run(run / "results.json")) for run in options.runs}
    runs = {**kept, **found}
    write_json(options.data, to_json(Kept(runs)))
    write_text(options.docs / "mlperf-tiny.md", page(runs))


def _place(run: str) -> tuple[int, str]:
    """Return where the findings of a run stand: in the order of the networks, which the folder is called as."""
    name = Path(run).name
    return (list(BENCHMARKS).index(name) if name in BENCHMARKS else len(BENCHMARKS), run)


def findings_of(run: Results) -> Findings:
    """Return what the page says of a run."""
    scores = tuple(
        Scored(
            run.network,
            entry.name,
            f"{entry.detail}; {entry.training}",
            run.metric,
            entry.mean,
            entry.seeds,
            entry.effective_bits,
            entry.weight_bits // 8 or None,
            entry.cycles,
            entry.accuracies if entry.seeds else (),
        )
        for entry in run.accuracies
    )
    return Findings(run.network, run.command, run.data, scores, on_engine(run) if run.cycles else None)


def on_engine(run: Results) -> OnEngine:
    proof = run.simulated
    return OnEngine(
        run.network,
        run.total_cycles,
        sum(layer.compute for layer in run.roofs),
        sum(layer.weights for layer in run.roofs),
        sum(layer.activations for layer in run.roofs),
        sum(layer.cycles for layer in run.roofs),
        proof.input_cycles if proof else None,
        proof.values if proof else None,
        proof.images if proof else None,
    )


def joined(kept: Mapping[str, Findings]) -> list[Findings]:
    """Return the findings of runs in the order of their networks, further seeds of a network with those of the first.

    Runs of one network whose seeds or bits do not fit each other stay apart.
    """
    found: list[Findings] = []
    for run in (kept[path] for path in sorted(kept, key=_place)):
        place = next((number for number, one in enumerate(found) if _same_apart_from_seeds(one, run)), None)
        if place is None:
            found.append(run)
        else:
            first = found[place]
            others = {one.kind: one for one in run.scores}
            scores = tuple(_with_seeds(one, others.get(one.kind)) for one in first.scores)
            found[place] = replace(first, command=f"{first.command}`, `{run.command}", scores=scores)
    return found


def _same_apart_from_seeds(one: Findings, other: Findings) -> bool:
    mine = {score.kind: score for score in one.scores}
    return one.network == other.network and all(
        score.kind in mine
        and not set(score.seeds) & set(mine[score.kind].seeds)
        and abs(score.effective_bits - mine[score.kind].effective_bits) < _SAME_BITS
        for score in other.scores
    )


def _with_seeds(one: Scored, other: Scored | None) -> Scored:
    """Return scores with those of further seeds; planes that a search found for these are named."""
    if other is None or not other.seeds:
        return one
    by_seed = one.by_seed + other.by_seed
    planes, others = (text.partition("; ")[0] for text in (one.made, other.made))
    seeds = ", ".join(map(str, other.seeds))
    made = one.made if planes == others else f"{one.made}; seeds {seeds}: {others}"
    mean = sum(by_seed) / len(by_seed)
    return replace(one, made=made, score=mean, seeds=one.seeds + other.seeds, by_seed=by_seed)


def page(kept: Mapping[str, Findings]) -> str:
    runs = joined(kept)
    # One row for a float network.
    accuracy = list(dict.fromkeys(accuracy_row(one) for run in runs for one in run.scores))
    hardware = [hardware_row(run.engine) for run in runs if run.engine is not None]
    sources = [f"- **{run.network}**: `{run.command}`. {run.data}" for run in runs]
    return f"""# The four networks of MLPerf Tiny

Written by `python benchmarks/mlperf_tiny.py`. Scores are those of integer networks, except the float rows, on the full
official test set: accuracy, or the area under the ROC curve (AUC) of the autoencoder. Bits per weight are all bits
stored for the weights (without biases) divided by the number of weights; bytes include the biases. Cycles are those of
the engine with 16 superposition lanes; networks with int8 layers have none, because they need dense lanes. Where
several seeds were trained, the score is their mean, with the least and the greatest in brackets. Training is repeated
bit for bit only with as many threads: the README's seeds 1 and 2 of ResNet-8 were trained with two, those here with
one, and they differ.

{table(ACCURACY, accuracy)}

## On the engine

The network that each run builds, in the order above. Lower bounds are sums over the layers: cycles to multiply all
digits with every input of every lane busy (compute), to read each weight word once, and to read or write each
activation word once; "largest per layer" sums the largest of the three for each layer.

{table(HARDWARE, hardware)}

## Runs and data

{chr(10).join(sources)}

## Comparison at equal bits

Points between the score of each quantized network and that of its float network, with the least and the greatest of
several seeds in brackets. A layer-wise network gets the bits of the superposition, or fewer.

{table(COMPARED, [comparison(run) for run in runs if len(run.scores) > 2])}

Standard errors of one score: 0.3 points for ResNet-8 (10,000 test images), 1.0 and 1.2 for DS-CNN and MobileNetV1
(1,000 inputs each). The networks of one row share their test inputs, so that differences are somewhat less uncertain.

## Notes

**How recipes were chosen.** On validation data alone: of ResNet-8 5,000 of CIFAR-10's training images; of DS-CNN 2,038
clips of the official validation split of Speech Commands and 199 synthetic clips of On and Off, which that part lacks;
of MobileNetV1 308 images with labels and the agreement with the float network on 1,016 without; of the autoencoder the
error of 32 clips of cars. The recipes of DS-CNN and MobileNetV1 are new, and their test sets were read once for them.
Test figures of earlier recipes were seen before, and the scheme of MobileNetV1 and the recipe of the autoencoder go
back to these, so that they are not entirely blind.

**Training without the original training set.** DS-CNN is trained with a part of its own training set (four variants of
each clip, and synthetic speech for two words), MobileNetV1 with COCO images without labels. Three things matter there:

- Learning rates must be relative to the size of each tensor, because sizes differ a hundredfold once normalization is
  folded into them.
- MobileNetV1 has few images, and its rate must be small: at 0.002 and more, training ends below the post-training
  quantization that it begins with.
- The networks that calibration and training compare with must read the input as the integers represent it. Digital
  silence lies outside the input's range, and the clipping error would go into every bias.

**Autoencoder.** Nearly all of its training clips come from one machine, so its loss is the distance from the float
network, which was trained on all machines.
"""


def comparison(run: Findings) -> Row:
    """Return how far each kind of network of a run is from its float network, in points."""
    scores = {one.kind: one for one in run.scores}

    def points(kind: str) -> str:
        if kind not in scores:
            return "–"
        one = scores[kind]
        bounds = (min(one.by_seed), max(one.by_seed)) if one.spreads else ()
        mean, *rest = (f"{100 * (score - scores['float'].score):+.2f}" for score in (one.score, *bounds))
        return f"{mean} ({' to '.join(rest)})" if rest else mean

    bits = [BITS.text(scores[kind].effective_bits) for kind in KINDS if kind in scores]
    return (run.network, *map(points, KINDS), " / ".join(bits))


def accuracy_row(one: Scored) -> Row:
    metric = SCORES[one.metric]
    score = metric.text(one.score) if metric.unit else f"{metric.title} {metric.text(one.score)}"
    return (
        one.network,
        one.kind,
        one.made,
        f"{score} ({metric.range_text(one.by_seed)})" if one.spreads else score,
        ", ".join(map(str, one.seeds)) or "–",
        BITS.text(one.effective_bits),
        count(one.weight_bytes),
        count(one.cycles),
    )


def hardware_row(engine: OnEngine) -> Row:
    return (
        engine.network,
        count(engine.cycles),
        f"{engine.compute:,.0f}",
        count(engine.weights),
        count(engine.activations),
        f"{engine.roof:,.0f}",
        count(engine.input_cycles),
        "not simulated" if engine.values is None else f"{engine.values:,} values equal on {engine.images} inputs",
    )


def count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
