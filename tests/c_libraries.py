# SPDX-License-Identifier: Apache-2.0
"""Compiles exported C libraries with every warning and sanitizer, and runs them."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.integer.kernels import storage
from intarsia.system.software import build_library, library_files

COMPILER = next((path for path in map(shutil.which, ("cc", "gcc", "clang")) if path), None)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
FLAGS = (*STRICT, "-O1", "-fsanitize=undefined,address")

#: Runs several networks in one program: a compiler takes longer to start and to link than a layer to compile.
_RUNNER = """
#include <stdio.h>
#include <string.h>
{includes}
int main(void)
{{
    char name[64];
    int count;
    while (scanf("%63s %d", name, &count) == 2) {{
        getchar();
{cases}
    }}
    return 0;
}}
"""
_CASE = """
        if (strcmp(name, "{name}") == 0) {{
            static {source} input[{upper}_INPUT_SIZE];
            static {output} output[{upper}_OUTPUT_SIZE];
            for (; count > 0 && fread(input, sizeof input, 1, stdin) == 1; --count) {{
                {name}_run(input, output);
                fwrite(output, sizeof output, 1, stdout);
            }}
        }}
"""


def assert_equal_in_c(
    cases: list[tuple[IntegerNetwork, NDArray[np.integer], str]], folder: Path, *, sanitized: bool = True
) -> None:
    """Assert that C libraries of networks compute what the executor does on images (N, C, H, W), bit for bit.

    Args:
        cases: networks, their images and the family of kernels.
        folder: for the sources.
        sanitized: whether undefined behaviour is looked for, which takes compilers many times as long for large
            functions; else with the optimization of a release.
    """
    sources, includes, code, asked = [], "", "", b""
    for number, (network, images, kernels) in enumerate(cases):
        library = build_library(network, kernels, f"net{number}")
        for name, text in library_files(library).items():
            (folder / name).write_text(text, encoding="utf-8")
        sources.append(folder / f"{library.name}.c")
        includes += f'#include "{library.name}.h"\n'
        source, output = (f"{storage(t.format)}_t" for t in (network.input, network.output))
        code += _CASE.format(name=library.name, upper=library.name.upper(), source=source, output=output)
        raw = images.transpose(0, 2, 3, 1).astype(storage(network.input.format)).tobytes()
        asked += f"{library.name} {len(images)}\n".encode() + raw
    (folder / "runner.c").write_text(_RUNNER.format(includes=includes, cases=code), encoding="utf-8")
    program = folder / "runner"
    assert COMPILER is not None
    subprocess.run(
        [COMPILER, *(FLAGS if sanitized else (*STRICT, "-O2")), "-o", program, folder / "runner.c", *sources],
        check=True,
    )
    done = subprocess.run([program], input=asked, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    rest = done.stdout
    for number, (network, images, kernels) in enumerate(cases):
        kind, (channels, height, width) = storage(network.output.format), network.output.shape
        size = len(images) * channels * height * width * kind.itemsize
        found = np.frombuffer(rest[:size], kind).reshape(len(images), height, width, channels)
        rest = rest[size:]
        expected = Executor(network, 1).run(images).reshape(len(images), channels, height, width)
        np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), expected, err_msg=f"{number} {kernels}")
    assert not rest
