# SPDX-License-Identifier: Apache-2.0
"""What a C library is put together from: instances of kernel templates, constants, and calls of one with the other."""

import math
from dataclasses import dataclass, field

from intarsia.integer.formats import ActivationFormat
from intarsia.integer.layers import Ints

#: Bytes of an element, by its C type.
SIZES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "int64_t": 8}
_SHORT = {"int8_t": "i8", "uint8_t": "u8", "int16_t": "i16", "uint16_t": "u16", "int32_t": "i32", "int64_t": "i64"}


@dataclass(frozen=True)
class Kernel:
    """A function made from a template.

    Attributes:
        template: name of its header, without `intarsia_`.
        parameters: its macros, without `INTARSIA_`, and their values, in the order in which they name the function.
    """

    template: str
    parameters: tuple[tuple[str, str], ...]

    @property
    def function(self) -> str:
        """Its name without the library's prefix."""
        return "_".join((self.template, *(_SHORT.get(value, value) for _, value in self.parameters)))

    @property
    def header(self) -> str:
        """The file of the template."""
        return f"intarsia_{self.template}.h"


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant array of a layer; `values` has any shape."""

    name: str
    type: str
    values: Ints

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.values.size) * SIZES[self.type]


@dataclass(frozen=True, eq=False)
class Table:
    """A constant structure, or an array of them.

    Attributes:
        name: of the constant.
        type: tag of the structure.
        rows: values of the fields of each.
        bytes_each: size of one on a 32-bit machine.
        array: whether it is declared as an array; else it is passed by its address.
    """

    name: str
    type: str
    rows: tuple[tuple[int, ...], ...]
    bytes_each: int
    array: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return self.bytes_each * len(self.rows)


@dataclass(frozen=True)
class Use:
    """A tensor as an argument, seen as a C type; `writes` if the kernel writes it."""

    tensor: str
    type: str
    writes: bool = False


@dataclass(frozen=True)
class Scratch:
    """Memory that a kernel needs while it runs."""

    type: str
    elements: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.elements * SIZES[self.type]


@dataclass(frozen=True)
class Value:
    """A number as an argument."""

    number: int


Argument = Constant | Table | Use | Scratch | Value


@dataclass(frozen=True, eq=False)
class Lowered:
    """A layer as one call.

    Attributes:
        kernel: what is called.
        arguments: in the order of the kernel's parameters.
        cost: estimated instructions per inference, to choose between forms.
    """

    kernel: Kernel
    arguments: tuple[Argument, ...]
    cost: float = field(default=math.inf)

    @property
    def constants(self) -> tuple[Constant | Table, ...]:
        """The arguments that are stored."""
        return tuple(argument for argument in self.arguments if isinstance(argument, Constant | Table))

    @property
    def scratch(self) -> Scratch | None:
        """The memory that it needs while it runs."""
        return next((argument for argument in self.arguments if isinstance(argument, Scratch)), None)


def storage_type(form: ActivationFormat) -> str:
    """Return the C type of the values of a tensor."""
    return f"{'' if form.signed else 'u'}int{8 if form.bits <= 8 else 16}_t"


def written_type(form: ActivationFormat) -> str:
    """Return the C type through which kernels write a tensor: unsigned, so that one kernel serves both."""
    return f"uint{8 if form.bits <= 8 else 16}_t"


def narrowest(values: Ints) -> str:
    """Return the narrowest signed C type that holds all values."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    for bits in (8, 16, 32):
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return f"int{bits}_t"
    return "int64_t"
