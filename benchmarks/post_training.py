# SPDX-License-Identifier: Apache-2.0
"""Time of post-training quantization of ResNet-8 and of a perceptron of 7.3 million weights.

python benchmarks/post_training.py [--rounds 3] [--threads 1]

Both are quantized with the default calibration, on random images. The shortest of several rounds counts, in wall and in
processor time; the time of a matrix product of 2,048² tells how fast and how busy the machine is.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from intarsia.datasets import InputScaling
from intarsia.networks import load_zoo
from intarsia.quantize import Scheme, post_training
from intarsia.quantize.data import Samples, TrainingSet

IMAGES = 1000


def perceptron() -> nn.Module:
    """Return a perceptron of 7.3 million weights."""
    layers = [nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 784)]
    return nn.Sequential(nn.Flatten(), *layers).eval()


def data(*shape: int) -> TrainingSet:
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, *shape), dtype=np.uint8)
    samples = Samples(pixels, np.zeros(IMAGES, np.int64))
    return TrainingSet(samples, samples, InputScaling(offset=128, scale=1 / 128))


def best(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the least wall and processor seconds of several runs."""
    found = []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - wall, time.process_time() - processor))
    walls, processors = zip(*found, strict=True)
    return min(walls), min(processors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    square = torch.randn(2048, 2048)
    _, product = best(lambda: square @ square, 20)
    print(f"a product of matrices of 2,048 rows and columns: {product * 1000:.0f} ms of processor time")
    for name, model, inputs in (
        ("resnet8", load_zoo("resnet8").eval(), data(3, 32, 32)),
        ("perceptron, 7.3 million weights", perceptron(), data(1, 28, 28)),
    ):
        for scheme in ("superposition", "ternary", "int8"):
            wall, processor = best(partial(post_training, model, inputs, Scheme.parse(scheme)), options.rounds)
            ratio = processor / product
            print(f"{name}, {scheme}: {wall:.1f} s, {processor:.1f} s of processor time, {ratio:.0f} products")


if __name__ == "__main__":
    main()
