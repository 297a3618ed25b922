# SPDX-License-Identifier: Apache-2.0
"""Cores, address map and memory sizes of the system; rtl/soc/intarsia_soc.sv and firmware/platform.h have the same."""

from dataclasses import dataclass
from typing import Literal, get_args

from intarsia.errors import IntarsiaError

Core = Literal["picorv32", "ibex"]
#: In the order of the parameter `Core` of intarsia_soc.
CORES: tuple[Core, ...] = get_args(Core)

CODE_BASE = 0x0000_0000
DATA_BASE = 0x1000_0000

LEAST_BYTES, MOST_BYTES = 64, 4 << 20
#: The stack pointer is a multiple of it, as the calling convention has it.
STACK_ALIGNMENT = 16


@dataclass(frozen=True)
class SystemMemory:
    """RAM of the system in bytes: a code bank for the program, a data bank for constants, variables and stack.

    Attributes:
        code_bytes, data_bytes: 64 to 4,194,304, multiples of 16.
    """

    code_bytes: int = 128 << 10
    data_bytes: int = 128 << 10

    def __post_init__(self) -> None:
        for name in ("code_bytes", "data_bytes"):
            value = getattr(self, name)
            if not LEAST_BYTES <= value <= MOST_BYTES or value % STACK_ALIGNMENT:
                raise IntarsiaError(
                    f"{name} is {value}, it must be {LEAST_BYTES} to {MOST_BYTES:,} and a multiple of "
                    f"{STACK_ALIGNMENT}."
                )


def core_number(core: str) -> int:
    """Return the parameter `Core` of intarsia_soc for a core.

    Raises:
        IntarsiaError: there is no such core.
    """
    if core not in CORES:
        raise IntarsiaError(f"there is no core {core!r}; choose one of {', '.join(CORES)}.")
    return CORES.index(core)
