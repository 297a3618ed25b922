# SPDX-License-Identifier: Apache-2.0
"""How many instructions does an inference take in software? Exported C libraries on a simulated RV32IM core.

python benchmarks/software/measure.py

Exports the networks of studies/networks with each family of kernels, compiles them with the C compiler of ziglang
(`pip install 'intarsia[bench]'`) and counts the executed instructions with rv32_counter.c. The outputs must be those of
the executor. Prints the tables of docs/export-c.md.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.integer import Conv2d, IntegerNetwork, Linear, file
from intarsia.integer.executor import Executor
from intarsia.integer.kernels import storage
from intarsia.packages import require
from intarsia.system.software import KERNELS, Library, export

HERE = Path(__file__).parent
NETWORKS = HERE.parents[1] / "studies" / "networks"
NAMES = ("resnet8", "dscnn", "mobilenet", "autoencoder")
TARGET = ("--target=riscv32-freestanding-none", "-mcpu=generic_rv32+m", "-ffreestanding", "-nostdlib")
TRACE = "-DINTARSIA_TRACE_LAYER(i)=(*(volatile int32_t *)0xfff000 = (i))"


@dataclass(frozen=True)
class Measured:
    """An inference: instructions of each layer, and bytes."""

    library: Library
    layers: tuple[int, ...]
    multiplications: int
    program_bytes: int

    @property
    def instructions(self) -> int:
        """Of the whole inference."""
        return sum(self.layers)


def measure(network: IntegerNetwork, name: str, kernels: str, optimization: str, folder: Path) -> Measured:
    """Compile a network and run it on one random input.

    Raises:
        IntarsiaError: the result is not the executor's.
    """
    library = export(network, folder, kernels=kernels, name=name)
    image = np.random.default_rng(0).integers(
        network.input.format.lo, network.input.format.hi + 1, (1, *network.input.shape)
    )
    (folder / "input").write_bytes(image.transpose(0, 2, 3, 1).astype(storage(network.input.format)).tobytes())
    types = [f"-D{key}={storage(t.format)}_t" for key, t in (("IN_TYPE", network.input), ("OUT_TYPE", network.output))]
    sources = [HERE / "start.c", folder / f"{name}.c"]
    zig = [sys.executable, "-m", "ziglang"]
    flags = [*TARGET, f"-{optimization}", "-std=c99", "-fno-sanitize=all", f"-DNAME={name}", *types, TRACE]
    subprocess.run(
        [*zig, "cc", *flags, *sources, f"-Wl,-T,{HERE / 'flat.ld'}", "-o", folder / "program.elf"], check=True
    )
    subprocess.run([*zig, "objcopy", "-O", "binary", folder / "program.elf", folder / "program"], check=True)
    output_bytes = int(np.prod(network.output.shape)) * storage(network.output.format).itemsize
    counter = [folder.parent / "rv32_counter", folder / "program", folder / "input", str(output_bytes)]
    *lines, last = subprocess.run(counter, capture_output=True, text=True, check=True).stdout.splitlines()
    found = np.array(last.split()[1:], int).astype(np.uint8).view(storage(network.output.format))
    channels, height, width = network.output.shape
    expected = Executor(network).run(image).reshape(channels, height, width).transpose(1, 2, 0).reshape(-1)
    if not np.array_equal(found, expected):
        raise IntarsiaError(f"{name} with {kernels} kernels computes something else than the executor.")
    counts = [_counts(line) for line in lines]
    totals = [sum(value for kind, value in count.items() if kind != "taken") for count in counts]
    layers = tuple(after - before for before, after in pairwise(totals))
    return Measured(library, layers, counts[-1]["multiply"], (folder / "program").stat().st_size)


def _counts(line: str) -> dict[str, int]:
    words = line.split()[2:]
    return {kind: int(value) for kind, value in zip(words[::2], words[1::2], strict=True)}


def macs(network: IntegerNetwork) -> list[int]:
    """Return the multiply-accumulates of each layer, padding included."""
    return [
        layer.planes[0].weights[0].size * int(np.prod(layer.output.shape)) if isinstance(layer, Conv2d | Linear) else 0
        for layer in network.layers
    ]


def rows(optimization: str, *, layers: bool) -> Iterator[str]:
    """Yield the lines of the tables."""
    columns = "instructions | per MAC | multiplications | RAM, bytes | constants, bytes | code, bytes"
    yield f"| network | kernels | {columns} |"
    yield "|---|---|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        counter = ["cc", "-O2", "-o", folder / "rv32_counter", HERE / "rv32_counter.c"]
        subprocess.run(counter, check=True)
        for name in NAMES:
            network = file.load(NETWORKS / f"{name}-seed0.safetensors")
            for kernels in KERNELS:
                made = measure(network, name, kernels, optimization, folder / f"{name}-{kernels}")
                code = made.program_bytes - made.library.constant_bytes
                per_mac = made.instructions / sum(macs(network))
                yield (
                    f"| {name} | {kernels} | {made.instructions:,} | {per_mac:.2f} | {made.multiplications:,} | "
                    f"{made.library.ram_bytes:,} | {made.library.constant_bytes:,} | {code:,} |"
                )
                if layers:
                    yield from _layer_rows(network, made)


def _layer_rows(network: IntegerNetwork, made: Measured) -> Iterator[str]:
    for layer, own, count, work in zip(network.layers, made.library.layers, made.layers, macs(network), strict=True):
        each = f"{count / work:.2f}" if work else ""
        yield f"|  | {layer.output.name}: {own.kernel.template} | {count:,} | {each} | | | | |"


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimization", default="O2", help="O2 (default), O3, Os")
    parser.add_argument("--layers", action="store_true", help="also print each layer")
    options = parser.parse_args()
    require("ziglang", "bench")
    for row in rows(options.optimization, layers=options.layers):
        print(row, flush=True)


if __name__ == "__main__":
    main()
