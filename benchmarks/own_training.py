# SPDX-License-Identifier: Apache-2.0
"""Accuracy and time of the default command on a network that it was not tuned for.

python benchmarks/own_training.py [--images 8000] [--out runs/own-training] [--option ...]

The network is MLPerf Tiny's ResNet-8 from its float .tflite file, its data the first of CIFAR-10's training images as
.npz files; the official test set tests. Runs `intarsia execute` twice, with post-training quantization only and with
the default training, and prints the accuracies of the float network and of both, what training kept, and wall and
processor time. Needs the file and CIFAR-10's test set in the folder INTARSIA_DATA; training images are fetched where
they are missing. Options after `--` go to both commands.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np

from intarsia.cli import main as intarsia
from intarsia.datasets import load_dataset
from intarsia.flow.results import Quantized, Score
from intarsia.flow.task import read_record

MODEL = "mlperf_tiny/pretrainedResnet.tflite"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--out", type=Path, default=Path("runs/own-training"))
    parser.add_argument("options", nargs="*", help="of `intarsia execute`")
    options = parser.parse_args()
    folder = Path(os.environ["INTARSIA_DATA"])
    write_data(options.out / "data", options.images, folder)
    rows = {}
    for name, epochs in (("post-training", ("--epochs", "0")), ("default", ())):
        before, start = processor_seconds(), time.monotonic()
        out = options.out / name
        command = ["execute", folder / MODEL, "--data", options.out / "data", "--out", out, *epochs, *options.options]
        status = intarsia([str(word) for word in command])
        assert status == 0, f"{name}: exit status {status}"
        rows[name] = time.monotonic() - start, processor_seconds() - before, out / Path(MODEL).stem
    for name, (wall, processor, run) in rows.items():
        print(f"\n{name}: {wall:.0f} s, {processor:.0f} s of processor time, all networks of the command together")
        for record in sorted((run / "execute").glob("*.json")):
            made = run / "quantize" / record.name
            told = read_record(made, Quantized) if made.exists() else None
            how = f"{told.result.summary}, {told.seconds:.0f} s" if told else "not quantized"
            print(f"  {record.stem:24} {read_record(record, Score).result.score:.2%}  {how}")


def write_data(folder: Path, images: int, source: Path) -> None:
    """Write train.npz and test.npz, as a user of the network would."""
    data = load_dataset("cifar10", source, progress=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in (("train", data.train.take(images)), ("test", data.test)):
        np.savez(folder / f"{name}.npz", x=split.images.transpose(0, 2, 3, 1), y=split.labels)


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it started and that ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
