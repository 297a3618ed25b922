# SPDX-License-Identifier: Apache-2.0
"""Compiling: what does not fit or compile is said in one sentence; images have what the linker laid out."""

import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.errors import IntarsiaError
from intarsia.system import CORES, Core, SystemMemory, compile_program
from intarsia.system.elf import read_elf
from intarsia.system.program_source import program_source
from intarsia.system.toolchain import firmware_folder
from random_networks import random_network
from systems import program

pytest.importorskip("ziglang")


def source(folder: Path, text: str) -> Path:
    path = folder / "program.c"
    path.write_text(text)
    return path


@pytest.mark.parametrize("core", CORES)
def test_images_begin_with_vectors_and_start_at_0x80(core: Core) -> None:
    image = program("small", core)
    assert image.symbols["_start"].address == 0x80
    assert image.code[:4] != bytes(4)
    assert image.code[4:0x80] == bytes(0x7C) if core == "picorv32" else image.code[0x7C:0x80] != bytes(4)
    source_of_variables = image.symbols["data_source"].address
    assert image.code[source_of_variables:][:4] == bytes((1, 2, 3, 0))
    assert image.symbols["table"].size == 256
    assert 256 + 4 <= image.data_used < 1024


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'int main(void) { __asm__ volatile(".skip 200000"); return 0; }',
            r"code bank, [\d,]+ more",
        ),
        (
            "char x[130000]; int main(void) { return x[*(volatile int *)0x10000000]; }",
            r"data bank, of which 4,096 .* 3,\d{3} more",
        ),
        (
            "const char x[200000] = {1}; int main(void) { return x[*(volatile int *)0x10000000]; }",
            r"data bank, of which 4,096 .* 73,\d{3} more",
        ),
    ],
    ids=["code", "data", "constants"],
)
def test_a_program_that_does_not_fit_is_refused_with_its_bytes(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=message):
        compile_program([source(tmp_path, text)], "picorv32")
    compile_program([source(tmp_path, text)], "picorv32", memory=SystemMemory(256 << 10, 256 << 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int main(void) { return missing; }\nint other(void) { return 1 }", "program.c:1:25: error: .*missing"),
        ("int f(void); int main(void) { return f(); }", "undefined symbol: f"),
        ("#include <none.h>\nint main(void) {}", "none.h"),
    ],
    ids=["compile", "link", "include"],
)
def test_the_first_error_of_the_compiler_is_shown(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=message):
        compile_program([source(tmp_path, text)], "picorv32")


def test_missing_files_and_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IntarsiaError, match="there is no file"):
        compile_program([tmp_path / "none.c"], "picorv32")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IntarsiaError, match="riscv64-unknown-elf-gcc is missing"):
        compile_program([source(tmp_path, "int main(void) {}")], "picorv32", compiler="gcc")
    with pytest.raises(IntarsiaError, match="there is no core 'arm'"):
        compile_program([source(tmp_path, "int main(void) {}")], "arm")  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [(63, 4096), (4096, 4 << 21), (4096, 4100)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(IntarsiaError, match="a multiple of 16"):
        SystemMemory(*sizes)


def test_whatever_the_bytes_are_reading_succeeds_or_says_what_is_wrong() -> None:
    header = b"\x7fELF\x01\x01\x01" + bytes(9) + bytes((2, 0, 243, 0)) + bytes(4)
    whole = header + (0x80).to_bytes(4, "little") + (52).to_bytes(4, "little") + bytes(8)
    whole += b"".join(value.to_bytes(2, "little") for value in (52, 32, 1, 40, 0, 0))
    whole += b"".join(value.to_bytes(4, "little") for value in (1, 84, 16, 32, 4, 8, 5, 4)) + b"code"
    elf = read_elf(whole)
    assert elf.entry == 0x80
    [segment] = elf.segments
    assert (segment.address, segment.size, segment.source, segment.content) == (16, 8, 32, b"code")
    draw = random.Random(1)
    for _ in range(5000):
        damaged = bytearray(whole[: draw.randrange(len(whole) + 1)])
        for _ in range(draw.randrange(4)):
            if damaged:
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            read_elf(bytes(damaged))
        except IntarsiaError as error:
            assert "linked program" in str(error)


def test_the_drivers_headers_and_a_program_compile_with_all_warnings(tmp_path: Path) -> None:
    network = random_network(np.random.default_rng(0))
    program_file = source(tmp_path, program_source(compile_network(network, config_for(network, EngineConfig()))))
    both = tmp_path / "both.cpp"
    both.write_text('#include "intarsia.h"\n#include "intarsia_registers.h"\nint main() {}\n')
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{firmware_folder()}", "-c", "-o", str(tmp_path / "o")]
    for file in (firmware_folder() / "intarsia.c", program_file):
        subprocess.run(["gcc", "-std=c11", *warnings, file], check=True)
    subprocess.run(["g++", "-std=c++17", *warnings, both], check=True)


def test_the_example_of_the_page_compiles(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "benchmarks" / "system.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```c\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    network = random_network(np.random.default_rng(0))
    made = program_source(compile_network(network, config_for(network, EngineConfig())))
    parts = [source(tmp_path, example), firmware_folder() / "intarsia.c"]
    for name, text in (("made.c", made), ("image.c", "const signed char image[1];\n")):
        parts.append(tmp_path / name)
        parts[-1].write_text(text)
    compile_program(parts, "ibex", memory=SystemMemory(256 << 10, 1 << 20))
