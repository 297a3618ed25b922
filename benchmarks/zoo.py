# SPDX-License-Identifier: Apache-2.0
"""Put the network of a finished run into the zoo of frozen networks, with its card, and write docs/zoo.md.

python benchmarks/zoo.py dscnn runs/dscnn   # after: intarsia run dscnn --seeds 0 1 2
python benchmarks/zoo.py                    # the page alone

The network is that of the run's first seed; the card has the scores of all its seeds. All of it is read from the
records of the run, which must belong to each other and to the files.
"""

import argparse
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.files import replacing, sha256, write_json, write_text
from intarsia.flow import BENCHMARKS, Settings, last_settings
from intarsia.flow.collect import test_set
from intarsia.flow.results import Quantized, Score
from intarsia.flow.stages import Variant, variants
from intarsia.flow.task import Record, read_record
from intarsia.flow.trained import how_quantized
from intarsia.integer.effective import effective_bits
from intarsia.integer.file import load
from intarsia.integer.zoo import ZOO, ZooCard, frozen_names, read_card
from intarsia.report.metrics import BITS, SCORES
from intarsia.typed_json import to_json

#: Of the weights, by network. They describe where weights come from, and claim no more.
_REFERENCE = (
    "Quantized and trained from the weights of MLPerf Tiny's reference model (github.com/mlcommons/tiny), which are "
    "under {licence}; this file holds other numbers than they do. What this project added is under Apache-2.0."
)
LICENCES = {
    "resnet8": "Trained by this project from random weights; under Apache-2.0.",
    "dscnn": _REFERENCE.format(licence="Apache-2.0"),
    "mobilenet": _REFERENCE.format(licence="Apache-2.0"),
    "autoencoder": _REFERENCE.format(
        licence="the MIT License, Copyright (c) 2020 Hitachi, Ltd. (its text is LICENSE.autoencoder next to this card)"
    ),
}
#: By what the sentence about the data names.
DATA_LICENCES = {
    "CIFAR-10": "CIFAR-10 (Krizhevsky, 2009) was published without a licence; it is a subset of Tiny Images.",
    "clips of Speech Commands": "Speech Commands (Warden, 2018): CC BY 4.0.",
    "synthetic clips": "Synthetic speech of eSpeak NG, flite, SVOX Pico and festival, made for training only.",
    "COCO": "COCO 2014 (Lin and others, 2014): the use of its images is under the Flickr Terms of Use, its annotations "
    "are under CC BY 4.0.",
    "ToyCar": "ToyADMOS (Koizumi and others, 2019): CC BY-NC-SA 4.0, for non-commercial use only.",
}
DOCS = Path("docs/zoo.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", choices=list(LICENCES), help="which one of the zoo's")
    parser.add_argument("run", nargs="?", type=Path, help="folder of the finished run")
    options = parser.parse_args()
    if options.network is not None:
        if options.run is None:
            parser.error("give the folder of the run")
        put(options.network, options.run)
    write_text(DOCS, page([read_card(name) for name in BENCHMARKS if name in frozen_names()]))


def put(network: str, run: Path, zoo: Path = ZOO) -> None:
    """Write the frozen network of a run and its card into the zoo.

    Raises:
        IntarsiaError: the run is of another network or not finished, or its records do not belong to each other.
    """
    settings = last_settings(run)
    if settings is None or settings.network != network or settings.zoo:
        raise IntarsiaError(f"{run} holds no finished run that trained {network}; run intarsia run {network} first.")
    path = run / "quantize" / f"{variants(settings)[0].name}.safetensors"
    store(card_of(settings), path, zoo)


def store(card: ZooCard, network: Path, zoo: Path = ZOO) -> None:
    """Write a network's file and its card."""
    target = zoo / f"{card.network}.safetensors"
    with replacing(target) as temporary:
        shutil.copyfile(network, temporary)
    write_json(target.with_suffix(".json"), to_json(card))
    metric = SCORES[card.metric]
    scores = ", ".join(map(metric.text, card.scores))
    print(f"{target}: {metric.title} {scores} (seeds {', '.join(map(str, card.seeds))})")


def card_of(settings: Settings) -> ZooCard:
    """Return the card of the network that a run built."""
    chosen = [variant for variant in variants(settings) if variant.kind == settings.scheme]
    made = [_made(settings, variant) for variant in chosen]
    scores = [_score(settings, variant, record) for variant, record in zip(chosen, made, strict=True)]
    first, path = made[0].result, settings.folder / "quantize" / f"{chosen[0].name}.safetensors"
    return ZooCard(
        network=settings.network,
        title=settings.benchmark.title,
        sha256=sha256(path),
        command=shared(settings.command),
        training=how_quantized(first.epochs, [first.kept], first.transforms),
        scheme=chosen[0].scheme,
        bits_per_weight=effective_bits(load(path)).per_weight,
        seed=chosen[0].seed,
        seeds=tuple(variant.seed for variant in chosen),
        metric=scores[0].metric,
        scores=tuple(score.score for score in scores),
        test_set=test_set(settings),
        inputs=scores[0].images,
        data=first.data,
        licence=LICENCES[settings.network],
        data_licences=data_licences(first.data),
    )


def _made(settings: Settings, variant: Variant) -> Record[Quantized]:
    """Return what a run says of one of its networks, whose file is still the one that it wrote."""
    path = settings.folder / "quantize" / f"{variant.name}.json"
    record, file = read_record(path, Quantized), path.with_suffix("").with_name(f"{variant.name}.safetensors")
    if not file.is_file() or record.files.get(file.name) != sha256(file):
        raise IntarsiaError(f"{file} is not the network of {path}; run it again.")
    return record


def _score(settings: Settings, variant: Variant, made: Record[Quantized]) -> Score:
    """Return the score of one of a run's networks, measured on that very network."""
    path = settings.folder / "execute" / f"{variant.name}.json"
    record = read_record(path, Score)
    inputs = record.key.get("inputs")
    if not isinstance(inputs, dict) or inputs.get(f"quantize/{variant.name}") != made.digest:
        raise IntarsiaError(f"{path} is the score of another network; run it again.")
    return record.result


def shared(command: str) -> str:
    """Return a command without what holds on one machine only: its folders."""
    words, kept = shlex.split(command), []
    while words:
        word = words.pop(0)
        if word in ("--data", "--out"):
            words = words[1:]
        elif not word.startswith(("--data=", "--out=")):
            kept.append(word)
    return shlex.join(kept)


def data_licences(data: str) -> tuple[str, ...]:
    """Return the licences of the data that a sentence names.

    Raises:
        IntarsiaError: it names none that is known.
    """
    learned = data.partition("the MLPerf Tiny accuracy set")[0]  # the test set left no trace in the weights
    found = tuple(text for name, text in DATA_LICENCES.items() if name in learned)
    if not found:
        raise IntarsiaError(f"no licence is known of the data {data!r}; add it to benchmarks/zoo.py.")
    return found


def page(cards: Sequence[ZooCard]) -> str:
    """Return docs/zoo.md."""
    head = ("network", "score", "seed", "all seeds", "bits per weight", "planes")
    rows = [head, ("---",) * len(head), *map(_row, cards)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    details = "\n\n".join(map(_details, cards))
    return TEXT.replace("TABLE", table).replace("DETAILS", details)


def _row(card: ZooCard) -> tuple[str, ...]:
    metric = SCORES[card.metric]
    title = "" if metric.unit else f"{metric.title} "
    several = "–"
    if len(card.seeds) > 1:
        limits = " to ".join(metric.text(limit) for limit in (min(card.scores), max(card.scores)))
        several = f"mean {metric.text(card.mean)}, {limits}"
    score = f"{title}{metric.text(card.score)}"
    return card.network, score, str(card.seed), several, BITS.text(card.bits_per_weight), card.scheme


def _details(card: ZooCard) -> str:
    licences = " ".join(card.data_licences)
    return (
        f"**{card.title}** — `{card.command}`\n\n"
        f"- {card.training[0].upper()}{card.training[1:]}. Scores are of the {card.test_set}, {card.inputs:,} inputs.\n"
        f"- Data: {card.data}\n"
        f"- Weights: {card.licence}\n"
        f"- Licences of the data: {licences}"
    )


TEXT = """# The zoo of frozen networks

Written by `python benchmarks/zoo.py` from the cards in `src/intarsia/integer/zoo`. These trained integer networks come
with Intarsia. They are simulated and synthesized without their data and without PyTorch:
`pip install 'intarsia[onnx,simulate,synthesize,report]'` is enough.

TABLE

```sh
intarsia run dscnn --zoo
intarsia simulate resnet8 --zoo --images 3
intarsia system mobilenet --zoo --core ibex
```

- A run starts at the frozen network: no float network, no quantization, no baselines. Options of training are refused.
- Where the test set is at hand, the score is measured, and simulation, ONNX and energy use test inputs. Where it is
  not, nothing is downloaded: the report repeats the score of the card and says so, and the rest uses random inputs, the
  same in each run. The energy of a random input is not that of a real one.
- `intarsia networks` lists scores and bits. All commands that take a network file take the `NETWORK.safetensors` next
  to each card.

```python
from intarsia.integer.zoo import load_frozen, read_card

network, card = load_frozen("dscnn"), read_card("dscnn")
print(network.input.shape, card.score, card.bits_per_weight)
```

`python benchmarks/zoo.py NETWORK RUN_FOLDER` replaces a network by that of a finished run.

## Cards

Licences are stated as far as they are known, and this is not legal advice. The files hold no training data. Whether the
licence of data reaches weights that were trained on it is not settled: look at the data's licence too, above all for
commercial use.

DETAILS
"""


if __name__ == "__main__":
    main()
