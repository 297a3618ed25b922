# SPDX-License-Identifier: Apache-2.0
"""The executor compared with that of an earlier commit: images per second of processor time, in one run.

    git worktree add build/before 758467c
    python benchmarks/executor_before.py build/before [--images 500] [--threads 1] [--rounds 9]

Each commit runs a random network of ResNet-8's shape of its own, because their files differ: one has as many multiply-
accumulates as the other. Both work in turn, in processes of their own, and the best round of each counts.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


class Contestant:
    """A process that runs the executor of a checkout whenever it is told to."""

    def __init__(self, checkout: Path, images: int, threads: int) -> None:
        command = [sys.executable, __file__, str(checkout.resolve()), "--serve"]
        command += ["--images", str(images), "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.best = float("inf")
        self._answer()

    def round(self) -> None:
        """Run all images once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.best = min(self.best, float(self._answer()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a contestant has failed, see its error above")
        return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="of the earlier commit")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.checkout, options.images, options.threads)
        return
    before, now = (Contestant(place, options.images, options.threads) for place in (options.checkout, HERE))
    for _ in range(options.rounds):
        before.round()
        now.round()
    for name, one in (("before", before), ("now", now)):
        print(f"{name:<7} {options.images / one.best:,.0f} images per second of processor time")
        one.close()
    print(f"ratio   {before.best / now.best:.2f}")


def serve(checkout: Path, images: int, threads: int) -> None:
    """Time a run for each line of the input; print the seconds of processor time."""
    sys.path[:0] = [str(checkout / "src"), str(checkout / "tests")]
    import numpy as np  # noqa: PLC0415 (the packages are those of the checkout)

    from intarsia.integer import executor  # noqa: PLC0415
    from random_networks import random_images, resnet8_like  # noqa: PLC0415

    if not Path(executor.__file__).is_relative_to(checkout):
        raise SystemExit(f"{executor.__file__} is not of {checkout}")
    rng = np.random.default_rng(0)
    network = resnet8_like(rng)
    given, runner = random_images(rng, network, images), executor.Executor(network, threads)
    runner.run(given)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        runner.run(given)
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
