# SPDX-License-Identifier: Apache-2.0
"""Runs random layers on simulated engines and compares every value, cycle and memory access, until it is stopped.

make soak [MINUTES=60] [SEED=0]

Each layer follows from the seed and its number; a difference is reported with both. Exits with 1 if there was one.
"""

import argparse
import re
import time
from dataclasses import dataclass
from itertools import count

import numpy as np
from tqdm import tqdm

from engine_configs import COUNTED, LARGE, OTHERS, REFUSALS, SHIPPED
from intarsia.engine import EngineConfig, Program, compile_network
from intarsia.engine.cycles import predict
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.simulate import SimulatedEngine
from random_networks import Fit, random_images, random_layer_network

#: Layers are larger than those of the tests: some pass what a descriptor holds, or what an integer network may hold.
_TOO_LARGE = re.compile(
    r"the engine takes \d+ to \d|more than accumulators of 48 bits hold|accumulators can pass 2\^44"
)
ENGINES: dict[str, EngineConfig] = {"default": SHIPPED, **OTHERS, **LARGE}
_IMAGES = 4


@dataclass
class Tally:
    """What was compared: `values` of layers, on so many `layers`; `different` ones, cycles and accesses included."""

    layers: int = 0
    values: int = 0
    different: int = 0

    def __str__(self) -> str:
        return f"{self.layers:,} layers, {self.values:,} values compared, {self.different:,} different"


def main() -> int:
    """Run until the time is over or the user stops it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long (default: never)")
    parser.add_argument("--seed", type=int, default=0, help="draws the layers")
    options = parser.parse_args()
    end, tally = time.monotonic() + 60 * options.minutes, Tally()
    try:
        with tqdm(unit="value", unit_scale=True) as bar:
            for number in count():
                before = tally.values
                name = list(ENGINES)[number % len(ENGINES)]
                for fault in compare(ENGINES[name], np.random.default_rng([options.seed, number]), tally):
                    bar.write(f"seed {options.seed}, layer {number} on the engine {name!r}: {fault}")
                bar.update(tally.values - before)
                if time.monotonic() > end:
                    break
    except KeyboardInterrupt:
        pass
    print(tally)
    return int(tally.different > 0)


def compare(config: EngineConfig, rng: np.random.Generator, tally: Tally) -> list[str]:
    """Run one network of random layers; return what differs."""
    extreme = bool(rng.integers(2))
    fit, second = Fit.of(config), bool(rng.integers(2))
    try:
        network = random_layer_network(
            rng, size=(4, 32), channels=(1, 64), extreme=extreme, fit=fit, far=True, second=second
        )
        program = compile_network(network, config)
    except IntarsiaError as refusal:
        return [] if REFUSALS.search(str(refusal)) or _TOO_LARGE.search(str(refusal)) else [f"refused: {refusal}"]
    tally.layers += len(network.layers)
    return run(network, program, rng, tally, extreme=extreme)


def run(
    network: IntegerNetwork, program: Program, rng: np.random.Generator, tally: Tally, *, extreme: bool
) -> list[str]:
    """Compare a program on some inputs with the executor and the cycle model."""
    images, faults = random_images(rng, network, _IMAGES, extreme=extreme), []
    expected, predicted = Executor(network, 1).trace(images), predict(program)
    with SimulatedEngine(program, seed=int(rng.integers(1, 1 << 31))) as engine:
        for number, image in enumerate(images):
            found = engine.run(image, trace=True)
            for name, values in found.values.items():
                wrong = int((values != expected[name][number]).sum())
                tally.values += values.size
                tally.different += wrong
                faults += [f"{wrong} values of {name} differ"] if wrong else []
            for model, counted in zip(predicted, found.counts, strict=True):
                odd = [field for field in COUNTED if getattr(model, field) != getattr(counted, field)]
                tally.different += len(odd)
                faults += [f"{', '.join(odd)} of {model.name} differ"] if odd else []
    return faults


if __name__ == "__main__":
    raise SystemExit(main())
