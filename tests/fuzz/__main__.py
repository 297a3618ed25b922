# SPDX-License-Identifier: Apache-2.0
"""Runs many damaged inputs through every reader, in processes of their own, and lists what goes wrong.

make fuzz [COUNT=50000] [SEED=0]

Every input follows from its format and number: `python -m fuzz --format onnx --first 17 --count 1` repeats one. Exits
with 1 if any reader raised what it should not, took more than 10 s or 2 GB, or died.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from fuzz.formats import FORMATS

_BATCH = 500  # inputs that a process reads; then a fresh one, so that memory counts for them alone
#: Inputs of a format per one of the cheapest formats.
_WEIGHTS = {"tflite": 4, "onnx": 6, "pt2": 1, "keras": 0.5, "frozen": 4}
_SILENCE = 120  # seconds until a process that says nothing is taken for dead: the first input loads PyTorch
_MEMORY = 2 << 30  # bytes of a process, PyTorch included
_READY = "ready\n"


@dataclass(frozen=True)
class Batch:
    """Some inputs of a format, by number."""

    format: str
    first: int
    count: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000, help="inputs of all formats together")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each format")
    parser.add_argument("--format", choices=FORMATS, help="only this one")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = [options.format] if options.format else list(FORMATS)
    if options.worker:
        work(Batch(names[0], options.first, options.count))
        return
    faults = 0
    with tqdm(total=options.count, unit="input") as bar:
        for batch in batches(names, options.first, options.count):
            for done, found in run(batch):
                bar.update(done)
                if found:
                    faults += 1
                    bar.write(found)
    print(f"{options.count:,} inputs, {faults:,} faults")
    sys.exit(faults > 0)


def batches(names: list[str], first: int, count: int) -> Iterator[Batch]:
    """Share the inputs out among formats."""
    weights = [_WEIGHTS.get(name, 1) for name in names]
    shares = [int(count * weight / sum(weights)) for weight in weights]
    shares[0] += count - sum(shares)
    for name, share in zip(names, shares, strict=True):
        for start in range(0, share, _BATCH):
            yield Batch(name, first + start, min(_BATCH, share - start))


def run(batch: Batch) -> Iterator[tuple[int, str]]:
    """Read a batch in processes; yield how many inputs were read since, and what went wrong, if it did."""
    first, end = batch.first, batch.first + batch.count
    while first < end:
        for number, found in _process(Batch(batch.format, first, end - first)):
            yield number + 1 - first, found
            first = number + 1


def _process(batch: Batch) -> Iterator[tuple[int, str]]:
    numbers = ["--format", batch.format, "--first", str(batch.first), "--count", str(batch.count)]
    command = ["timeout", str(_SILENCE + batch.count), sys.executable, "-m", "fuzz", "--worker", *numbers]
    last, ready = batch.first - 1, False
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline() == _READY
        for line in process.stdout:
            number, _, found = line.rstrip("\n").partition(" ")
            last = int(number)
            where = f"{batch.format} {last}: " + found.replace("\\n", "\n")
            yield last, where if found else ""
        _, errors = process.communicate()
    if not ready:
        sys.exit(f"the inputs of {batch.format} cannot be made: {errors}")
    if process.returncode and last < batch.first + batch.count - 1:
        yield last + 1, f"{batch.format} {last + 1}: the process ended with {process.returncode}: {errors[-500:]}"


def work(batch: Batch) -> None:
    """Read a batch in this process; print the number of each input, and behind it what went wrong."""
    from fuzz.trial import fault  # noqa: PLC0415 (loads the readers)

    warnings.simplefilter("ignore")
    FORMATS[batch.format].seeds()
    print(end=_READY, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(batch.first, batch.first + batch.count):
            found = fault(batch.format, number, Path(folder))
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            if used > _MEMORY and not found:
                found = f"takes {used >> 20} MiB"
            print(number, found.replace("\n", "\\n"), flush=True)
            if used > _MEMORY:
                return  # the next ones want a process that counts from the beginning


if __name__ == "__main__":
    main()
