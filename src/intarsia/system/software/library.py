# SPDX-License-Identifier: Apache-2.0
"""A network as a C library before it is text: its calls, where its tensors lie, and what it takes."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from intarsia.errors import IntarsiaError
from intarsia.integer.layers import Tensor
from intarsia.integer.network import IntegerNetwork
from intarsia.system.software.lowering import lower
from intarsia.system.software.memory import Alive, allocate
from intarsia.system.software.pieces import SIZES, Kernel, Lowered, storage_type

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE)
_LONGEST_NAME = 40
#: Of C and of C++, which may include the header.
_KEYWORDS = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "alignas",
        "alignof",
        "asm",
        "bool",
        "class",
        "constexpr",
        "delete",
        "false",
        "main",
        "new",
        "nullptr",
        "private",
        "public",
        "template",
        "this",
        "true",
        "typename",
        "typeof",
        "using",
    ]
)
#: Headers of the C library: NAME.h on the include path would take the place of one.
_HEADERS = frozenset(
    [
        "assert",
        "complex",
        "ctype",
        "errno",
        "fenv",
        "float",
        "inttypes",
        "iso646",
        "limits",
        "locale",
        "math",
        "setjmp",
        "signal",
        "stdalign",
        "stdarg",
        "stdatomic",
        "stdbool",
        "stddef",
        "stdint",
        "stdio",
        "stdlib",
        "stdnoreturn",
        "string",
        "tgmath",
        "threads",
        "time",
        "uchar",
        "unistd",
        "wchar",
        "wctype",
    ]
)
_SCRATCH = "scratch of layer"


@dataclass(frozen=True, eq=False)
class Library:
    """A network as a C library.

    Attributes:
        network: that it runs.
        name: prefix of all that the library declares.
        kernels: family of the kernels.
        layers: one call for each of the network's.
        offsets: byte offset in the arena of each tensor that lies there, and of each layer's scratch memory.
        arena_type: C type of the arena's elements.
        arena_bytes: its size.
        scratch_type, scratch_bytes: of an array of its own for scratch memory, where it cannot lie in the arena.
    """

    network: IntegerNetwork
    name: str
    kernels: str
    layers: tuple[Lowered, ...]
    offsets: Mapping[str, int]
    arena_type: str
    arena_bytes: int
    scratch_type: str
    scratch_bytes: int

    @property
    def instances(self) -> tuple[Kernel, ...]:
        """The kernels that it needs, in the order of their first call."""
        return tuple(dict.fromkeys(layer.kernel for layer in self.layers))

    @property
    def ram_bytes(self) -> int:
        """Of the static memory, without the stack."""
        return self.arena_bytes + self.scratch_bytes

    @property
    def constant_bytes(self) -> int:
        """Of weights, multipliers and descriptions of layers, on a 32-bit machine."""
        return sum(constant.size for layer in self.layers for constant in layer.constants)

    def scratch_offset(self, number: int) -> int | None:
        """Return where layer `number` has its scratch memory in the arena; None if not there."""
        return self.offsets.get(f"{_SCRATCH} {number}")


def build_library(network: IntegerNetwork, kernels: str = "int8", name: str | None = None) -> Library:
    """Return a network as a C library.

    Args:
        network: any.
        kernels: family of kernels, one of `lowering.KERNELS`.
        name: C identifier; that of the network if None.

    Raises:
        IntarsiaError: the name is not a C identifier, or there are no such kernels.
    """
    name = network.name if name is None else name
    if not _IDENTIFIER.fullmatch(name) or name in _KEYWORDS or len(name) > _LONGEST_NAME:
        raise IntarsiaError(
            f"{name!r} is not a C identifier of up to {_LONGEST_NAME} characters; give one with --name."
        )
    if name.lower().startswith("intarsia"):
        raise IntarsiaError(f"the name {name!r} begins as those of the kernels do; give another one with --name.")
    if name.lower() in _HEADERS:
        raise IntarsiaError(f"{name}.h is a header of the C library; give another name with --name.")
    layers = lower(network, kernels)
    blocks = _tensor_blocks(network)
    kept = {block.name for block in blocks}
    halves = any(tensor.format.bits > 8 for key, tensor in network.tensors.items() if key in kept)
    scratch = {number: layer.scratch for number, layer in enumerate(layers) if layer.scratch is not None}
    kind = next((memory.type for memory in scratch.values()), "int16_t")
    # In C, memory that is declared with a type may be accessed as that type or as bytes.
    shared = not halves or kind in ("int16_t", "uint16_t")
    if shared:
        blocks += [Alive(f"{_SCRATCH} {number}", memory.size, number, number) for number, memory in scratch.items()]
    offsets, size = allocate(blocks)
    own = 0 if shared else max((memory.size for memory in scratch.values()), default=0)
    return Library(network, name, kernels, layers, offsets, kind if shared else "int16_t", size, kind, own)


def _tensor_blocks(network: IntegerNetwork) -> list[Alive]:
    """Return the tensors that lie in the arena: the caller has the input and the output."""
    last = {name: number for number, layer in enumerate(network.layers) for name in layer.inputs}
    return [
        Alive(layer.output.name, tensor_bytes(layer.output), number, last.get(layer.output.name, number))
        for number, layer in enumerate(network.layers[:-1])
    ]


def tensor_bytes(tensor: Tensor) -> int:
    """Return the size of a tensor."""
    return math.prod(tensor.shape) * SIZES[storage_type(tensor.format)]
