# SPDX-License-Identifier: Apache-2.0
"""The C text of a library."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from intarsia.integer.layers import Layer, Tensor
from intarsia.system.software.library import Library
from intarsia.system.software.pieces import (
    SIZES,
    Argument,
    Constant,
    Kernel,
    Scratch,
    Table,
    Use,
    Value,
    storage_type,
)

#: First lines of every file that is written for a network; by it a later export knows its own.
MARK = "// Written by `intarsia export-c`"
_WIDTH = 116


def header_text(library: Library) -> str:
    """Return `NAME.h`."""
    name, upper, network = library.name, library.name.upper(), library.network
    lines = [
        f"{MARK}: {_plain(network.name)} as a C99 library.",
        "//",
        f"// {name}_run computes one inference. Tensors are (height, width, channels) arrays of integers without a",
        "// zero-point: real value = integer * scale. Input and output must not overlap. Its working memory is static:",
        "// it must not be called again before it has returned.",
        "//",
        f"// Static memory: {library.ram_bytes:,} bytes. Constants: {library.constant_bytes:,} bytes. Kernels: "
        f"{library.kernels}.",
        "",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#define restrict",
        "#endif",
        "",
        *_tensor_macros(f"{upper}_INPUT", network.input),
        "",
        *_tensor_macros(f"{upper}_OUTPUT", network.output),
        "",
        "// Calls of the trace macro, see intarsia_kernels.h, are numbered from 0 to this.",
        f"#define {upper}_LAYERS {len(library.layers)}",
        "// Bytes of static memory and of constants.",
        f"#define {upper}_ARENA_BYTES {library.ram_bytes}",
        f"#define {upper}_CONSTANT_BYTES {library.constant_bytes}",
        "",
        f"{_signature(library)};",
        "",
        "#ifdef __cplusplus",
        "#undef restrict",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return _text(lines)


def _tensor_macros(prefix: str, tensor: Tensor) -> list[str]:
    channels, height, width = tensor.shape
    return [
        f"// {tensor.format}, {tensor.format.lo} to {tensor.format.hi}, in {storage_type(tensor.format)}.",
        f"#define {prefix}_HEIGHT {height}",
        f"#define {prefix}_WIDTH {width}",
        f"#define {prefix}_CHANNELS {channels}",
        f"#define {prefix}_SIZE {math.prod(tensor.shape)}",
        f"#define {prefix}_SCALE {tensor.scale!r}f",
    ]


def _signature(library: Library) -> str:
    source, output = (storage_type(t.format) for t in (library.network.input, library.network.output))
    return f"void {library.name}_run(const {source} *restrict input, {output} *restrict output)"


def source_text(library: Library) -> str:
    """Return `NAME.c`."""
    lines = [
        f"{MARK}: {_plain(library.network.name)}; see {library.name}.h.",
        "",
        f'#include "{library.name}.h"',
        "",
        '#include "intarsia_kernels.h"',
    ]
    for kernel in library.instances:
        lines += ["", *_instance(library, kernel)]
    for number, (layer, own) in enumerate(zip(library.network.layers, library.layers, strict=True)):
        lines += ["", f"// Layer {number}: {_describe(layer)}"]
        for constant in own.constants:
            lines += _constant(number, constant)
    if library.arena_bytes:
        elements = library.arena_bytes // SIZES[library.arena_type]
        lines += ["", "// Tensors and scratch memory that are never needed at the same time share it."]
        lines += [f"static {library.arena_type} arena[{elements}];"]
    if library.scratch_bytes:
        elements = library.scratch_bytes // SIZES[library.scratch_type]
        lines += [f"static {library.scratch_type} scratch[{elements}];"]
    lines += ["", _signature(library), "{"]
    for number, own in enumerate(library.layers):
        arguments = ", ".join(_argument(library, number, argument) for argument in own.arguments)
        lines += [f"    INTARSIA_TRACE_LAYER({number});", f"    {_function(library, own.kernel)}({arguments});"]
    lines += [f"    INTARSIA_TRACE_LAYER({len(library.layers)});", "}"]
    return _text(lines)


def _function(library: Library, kernel: Kernel) -> str:
    return f"{library.name}_{kernel.function}"


def _instance(library: Library, kernel: Kernel) -> list[str]:
    macros = (("FUNCTION", _function(library, kernel)), *kernel.parameters)
    return [*(f"#define INTARSIA_{name} {value}" for name, value in macros), f'#include "{kernel.header}"']


def _describe(layer: Layer) -> str:
    kind = "Depthwise convolution" if getattr(layer, "depthwise", False) else _words(type(layer).__name__)
    channels, height, width = layer.output.shape
    return f"{kind} {_plain(layer.output.name)}, {height} x {width} x {channels} {layer.output.format}."


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def _constant(number: int, constant: Constant | Table) -> Iterator[str]:
    name = _name(number, constant)
    if isinstance(constant, Constant):
        values = constant.values.reshape(-1).tolist()
        yield f"static const {constant.type} {name}[{len(values)}] = {{"
        yield from _filled(_number(value, constant.type) for value in values)
        yield "};"
        return
    rows = ["{" + ", ".join(map(_field, row)) + "}" for row in constant.rows]
    if not constant.array:
        yield f"static const struct {constant.type} {name} = {rows[0]};"
        return
    yield f"static const struct {constant.type} {name}[{len(rows)}] = {{"
    yield from _filled(rows)
    yield "};"


def _number(value: int, kind: str) -> str:
    return _field(value) if SIZES[kind] > 2 else str(value)


def _field(value: int) -> str:
    """Return a number as C has it; the least one of a type has no literal."""
    if value == -(1 << 31):
        return "(-2147483647 - 1)"
    if -(1 << 31) < value < 1 << 32:
        return f"{value}" if value < 1 << 31 else f"{value}u"
    return f"INT64_C({value})"


def _filled(values: Iterable[str]) -> Iterator[str]:
    line = "   "
    for value in values:
        if len(line) + len(value) > _WIDTH:
            yield line
            line = "   "
        line += f" {value},"
    yield line


def _name(number: int, constant: Constant | Table) -> str:
    return f"layer{number}_{constant.name}"


def _argument(library: Library, number: int, argument: Argument) -> str:
    if isinstance(argument, Constant):
        return _name(number, argument)
    if isinstance(argument, Table):
        return ("" if argument.array else "&") + _name(number, argument)
    if isinstance(argument, Scratch):
        offset = library.scratch_offset(number)
        return "scratch" if offset is None else f"arena + {offset // SIZES[argument.type]}"
    if isinstance(argument, Value):
        return str(argument.number)
    return _tensor(library, argument)


def _tensor(library: Library, use: Use) -> str:
    if use.tensor == library.network.input.name:
        return "input"
    if use.tensor == library.network.output.name:
        own = storage_type(library.network.output.format)
        return "output" if use.type == own else f"({use.type} *)output"
    constant = "" if use.writes else "const "
    offset = library.offsets[use.tensor] // SIZES[use.type]
    return f"({constant}{use.type} *)arena + {offset}"


def example_text(library: Library) -> str:
    """Return `NAME_test.c`: reads inputs from the standard input, and prints the outputs of each."""
    upper = library.name.upper()
    source, output = (storage_type(t.format) for t in (library.network.input, library.network.output))
    return _text(
        [
            f"{MARK}: how to use {library.name}.h.",
            "//",
            "// Reads inputs, one after the other, as raw bytes from the standard input, and prints a line of outputs",
            "// for each. On a microcontroller, fill `input` and read `output` instead.",
            "",
            "#include <stdio.h>",
            "",
            f'#include "{library.name}.h"',
            "",
            "int main(void)",
            "{",
            f"    static {source} input[{upper}_INPUT_SIZE];",
            f"    static {output} output[{upper}_OUTPUT_SIZE];",
            "    while (fread(input, sizeof input, 1, stdin) == 1) {",
            f"        {library.name}_run(input, output);",
            f"        for (int i = 0; i < {upper}_OUTPUT_SIZE; ++i) {{",
            '            printf(i == 0 ? "%d" : " %d", output[i]);',
            "        }",
            '        printf("\\n");',
            "    }",
            "    return 0;",
            "}",
        ]
    )


def makefile_text(library: Library) -> str:
    """Return the Makefile of the example."""
    name = library.name
    return _text(
        [
            f"{MARK.replace('//', '#')}: `make` builds the example {name}_test.",
            "CFLAGS ?= -std=c99 -O2 -Wall -Wextra -Wpedantic",
            "",
            f"{name}_test: {name}_test.c {name}.c {name}.h $(wildcard intarsia_*.h)",
            f"\t$(CC) $(CFLAGS) -o $@ {name}_test.c {name}.c",
        ]
    )


def _plain(text: str) -> str:
    """Return a name as it may stand in a comment: no line can be continued and nothing closed."""
    return re.sub(r"[^A-Za-z0-9_.:+ -]", "?", text)


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
